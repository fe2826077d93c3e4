"""Files that survive a crash: locks between processes, flushes that hold nobody up, errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from finlab_nb.errors import StorageError

_FLUSH_SECONDS: Final = 0.005
_POLL_SECONDS: Final = 0.05

_locks: weakref.WeakSet[FileLock] = weakref.WeakSet()

_ADVICE: Final = {
    errno.ENOSPC: "the disk is full; free some space and try again",
    errno.EDQUOT: "the disk quota is used up; free some space and try again",
    errno.EFBIG: "the file may not grow so large here; use another disk or raise the limit",
    errno.EACCES: "access is denied; make the folder and the file writable, or choose another folder",
    errno.EPERM: "access is denied; make the folder and the file writable, or choose another folder",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.ENOENT: "it does not exist; check the path, and create the folder if it is missing",
    errno.ENOTDIR: "a part of the path is a file; choose a folder",
    errno.EEXIST: "a file of this name is in the way; choose another folder",
    errno.EISDIR: "it is a folder; name a file",
}


@contextlib.contextmanager
def translated_os_errors(path: Path) -> Iterator[None]:
    """Turn OSError into StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        advice = _ADVICE.get(error.errno or 0)
        raise StorageError(f"{where}: {advice} ({error.strerror})" if advice else f"{where}: {error}") from error


def flush_folder(folder: Path) -> None:
    """Make new and changed names of a folder survive a power loss."""
    if os.name == "nt":  # it has no such call, and needs none
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def flushed(path: Path) -> Iterator[None]:
    """Flush a file to the disk all the while it is written, and wholly at the end.

    One flush of hundreds of megabytes at the end would hold up every commit on the same disk for its duration (200 ms
    measured for 500 MB on ext4). The file must not be a live database: this opens it past SQLite.
    """
    descriptor = os.open(path, os.O_RDWR)
    finished = threading.Event()
    failures: list[OSError] = []

    def flush() -> None:
        while not finished.wait(_FLUSH_SECONDS):
            try:
                getattr(os, "fdatasync", os.fsync)(descriptor)
            except OSError as error:
                failures.append(error)  # the system reports a failed write only once
                return

    thread = threading.Thread(target=flush, name="finlab_nb flush", daemon=True)
    try:
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()
        if failures:
            raise failures[0]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FileLock:
    """A lock between processes, and between objects of one process, on a file of its own.

    The system drops it when the process ends, however it ends. The file stays: removing it would let two processes
    lock two files of the same name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        _locks.add(self)

    def acquire(self, patience: float = 0.0) -> bool:
        """Take the lock within so many seconds, and tell whether that worked."""
        deadline = time.monotonic() + patience
        with translated_os_errors(self.path):
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                while not _locked(descriptor):
                    if time.monotonic() >= deadline:
                        os.close(descriptor)
                        return False
                    time.sleep(_POLL_SECONDS)
                # Beyond the byte that Windows locks, so that others can read who it is.
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f" {os.getpid()}\n".encode())
            except OSError:
                os.close(descriptor)
                raise
        self._descriptor = descriptor
        return True

    def holder(self) -> str:
        """Name the process that holds the lock, as far as it is known."""
        try:
            with self.path.open("rb") as file:
                file.seek(1)
                number = file.read(20).decode("ascii", "replace").strip()
        except OSError:
            number = ""
        return f"process {number}" if number.isdigit() else "another process"

    def release(self) -> None:
        """Give the lock back; twice is fine."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            _unlock(descriptor)
            os.close(descriptor)

    def forget(self) -> None:
        """Let go in a forked child, so that the lock ends with the parent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _forget_all() -> None:
    for lock in list(_locks):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)

if os.name == "nt":  # pragma: no cover
    import msvcrt

    def _locked(descriptor: int) -> bool:
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]

else:
    import fcntl

    def _locked(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
