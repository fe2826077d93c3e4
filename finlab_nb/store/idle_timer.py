"""What is to be done when nothing has happened for a while, in a thread that ends when it is done."""

from __future__ import annotations

import contextlib
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
    """

    def __init__(self, seconds: float, find: Callable[[], Callable[[], bool] | None]) -> None:
        self._seconds = seconds
        self._find = find
        self._due = 0.0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def restart(self) -> None:
        """Note that something has happened."""
        self._due = time.monotonic() + self._seconds
        with self._lock:
            if self._thread is None:
                self._stopped.clear()
                self._thread = threading.Thread(target=self._run, name="finlab_nb idle", daemon=True)
                with contextlib.suppress(RuntimeError):  # the interpreter is ending
                    self._thread.start()

    def stop(self) -> bool:
        """End it, after what is being done, and tell whether something is left to be done."""
        self._stopped.set()
        thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join()
        with self._lock:
            thread, self._thread = self._thread, None
        return thread is not None

    def _run(self) -> None:
        while not self._stopped.wait(max(0.0, self._due - time.monotonic())):
            due = self._due
            if due > time.monotonic():
                continue
            task = self._find()
            done = task is None or task()
            del task  # else it would live on while this waits
            with self._lock:
                if self._due == due:  # nothing has happened meanwhile
                    self._due = time.monotonic() + _AGAIN_SECONDS
                    if done:
                        self._thread = None
                        return
