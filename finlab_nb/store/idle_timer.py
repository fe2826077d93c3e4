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
    find
        Returns what is to be done, a function that tells whether it succeeded; or None once nobody wants it any more.

    Attributes
    ----------
    running
        Whether something is left to be done.
    """

    def __init__(self, seconds: float, find: Callable[[], Callable[[], bool] | None]) -> None:
        self.running = False
        self._seconds = seconds
        self._find = find
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
                    task = self._find()
                    self._due = due = due + _AGAIN_SECONDS
                    self.running = task is not None and not task()
                    del task  # else it would live on while this waits
                    if self._due != due:  # something has happened meanwhile
                        self.running = True
