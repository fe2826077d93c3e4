"""Locks between processes, each on its own file."""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from pathlib import Path
from typing import Final

from finlab_nb.store.fsync import translated_os_errors

_POLL_SECONDS: Final = 0.05

_locks: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """A lock between processes, and between objects of one process, on its own file.

    The system drops it when the process ends, however that happens. The file stays: removing it would let two processes
    lock two files of the same name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        _locks.add(self)

    def acquire(self, patience: float = 0.0) -> bool:
        """Take the lock within this many seconds, in a folder created as needed, and tell whether that worked."""
        deadline = time.monotonic() + patience
        with translated_os_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                while not _took(descriptor):
                    if time.monotonic() >= deadline:
                        return False
                    time.sleep(_POLL_SECONDS)
                # Beyond the byte that Windows locks, so that others can read who holds it.
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f" {os.getpid()}\n".encode())
                self._descriptor = descriptor
                return True
            finally:
                if self._descriptor != descriptor:
                    os.close(descriptor)

    def holder(self) -> str:
        """Name the process that holds the lock, as far as it is known."""
        number = ""
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            file.seek(1)
            number = file.read(20).decode("ascii", "replace").strip()
        return f"process {number}" if number.isdigit() else "another process"

    def release(self) -> None:
        """Release the lock; releasing it twice is fine."""
        if self._descriptor is not None:
            _lock(self._descriptor, _DROP)
        self.forget()

    def forget(self) -> None:
        """Let go in a forked child, so that the lock ends with the parent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _took(descriptor: int) -> bool:
    try:
        _lock(descriptor, _TAKE)
    except (BlockingIOError, PermissionError):  # on Linux and macOS, on Windows
        return False
    return True


def _forget_all() -> None:
    for lock in list(_locks):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)

if os.name == "nt":  # pragma: no cover
    import msvcrt

    _TAKE, _DROP = msvcrt.LK_NBLCK, msvcrt.LK_UNLCK  # type: ignore[attr-defined,unused-ignore]

    def _lock(descriptor: int, how: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, how, 1)  # type: ignore[attr-defined,unused-ignore]

else:
    import fcntl

    _TAKE, _DROP = fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN

    def _lock(descriptor: int, how: int) -> None:
        fcntl.flock(descriptor, how)
