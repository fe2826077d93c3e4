"""What is to be done when nothing has happened for a while, in a thread that ends when it is done.

Ctrl-C may strike between any two steps of whoever restarts or stops it. So `threading.Thread` and `Event` are of no use
here: they are written in Python, and can leave the locks inside them taken.
"""

from __future__ import annotations

import _thread
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

_AGAIN_SECONDS: Final = 1.0


class IdleTimer:
    """Does something once nothing has happened for some seconds, and again each second until it succeeds.

    Parameters
    ----------
    seconds
        For how long nothing must have happened.
    task
        What is to be done; it tells whether it succeeded.

    Attributes
    ----------
    running
        Whether something is left to be done.
    """

    def __init__(self, seconds: float, task: Callable[[], bool]) -> None:
        self.running = False
        self._seconds = seconds
        self._task = task
        self._due = 0.0
        self._lock = threading.Lock()  # held while something is done
        self._woken: queue.SimpleQueue[None] = queue.SimpleQueue()

    def restart(self) -> None:
        """Note that something has happened."""
        self._due = time.monotonic() + self._seconds
        if not self.running:
            with self._lock, contextlib.suppress(RuntimeError):  # the interpreter is ending
                try:
                    self.running = True
                    _thread.start_new_thread(self._run, ())
                except BaseException:
                    self.running = False
                    raise

    def hand_over(self, task: Callable[[], bool]) -> bool:
        """Do this at once and nothing else any more; tell whether there is a thread to do it.

        This waits for nothing, so that it can be called between any two steps of any thread.
        """
        self._task, self._due = task, time.monotonic()
        self._woken.put(None)
        return self.running

    def stop(self) -> bool:
        """End it, after what is being done, and tell whether something is left to be done."""
        with self._lock:
            was_running, self.running = self.running, False
        self._woken.put(None)
        return was_running

    def _run(self) -> None:
        while self.running:
            due = self._due
            with contextlib.suppress(queue.Empty):
                self._woken.get(timeout=max(0.0, due - time.monotonic()))
            with self._lock:
                if self.running and due == self._due <= time.monotonic():
                    self._due = due = due + _AGAIN_SECONDS
                    self.running = not self._task()
                    if self._due != due:  # something has happened meanwhile
                        self.running = True
