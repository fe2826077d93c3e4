"""Waiting for the write lock of a file, and what is said to those who wait in vain.

SQLite's own busy handler sleeps ever longer and starves under load. So the lock is asked for again and again. Where
several processes want it, they queue at a file of their own in the folder for temporary files, which the system hands
on in turn, and only the first of them asks. The queue is for fairness alone: whoever is not in it, or has been at its
head for long, asks at random intervals. A lock file beside the database would be left behind by whoever is killed.

Who holds the lock may be waiting for the very caller: a thread that waits within a transaction for a worker that wants
to save, a task of the same event loop, another connection of the same notebook that was never committed. Then there is
nothing to wait for, and the error says so.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

from finlab_nb.errors import PoolTimeoutError, StorageError
from finlab_nb.store import checkpoint
from finlab_nb.store.transaction import Owner, Transaction

_PAUSE_AT_HEAD: Final = 0.0003
_PAUSE_BESIDE: Final = 0.008
_HEAD_SECONDS: Final = 0.3  # longer transactions hold up more than those who queue
_LOOK_SECONDS: Final = 0.5
_TELL_SECONDS: Final = 3.0
# SQLite's write lock in WAL mode is a byte of the file -shm (https://sqlite.org/walformat.html, 2.3.1).
_WRITE_LOCK_BYTE: Final = 120
_LOCKS: Final = Path("/proc/locks")  # Linux; opening the file itself would drop the locks of this process

_WORKING: Final = {"threading", "concurrent.futures._base", "concurrent.futures.thread", "multiprocessing.pool"}

_log = logging.getLogger(__name__)


def refuse_to_wait_for_oneself(path: Path, holder: Transaction | None) -> None:
    """Refuse to wait for a transaction of the calling thread: it could never end meanwhile."""
    if holder is None or holder.owner.thread is not threading.current_thread():
        return
    if holder.owner == Owner.here():
        where = "in a transaction of another store of this very thread; save by that one, or after it"
    else:
        where = (
            "in a task of this very thread that awaits something within `with store.transaction()`, and would never go "
            "on if this call waited for it; await nothing there, or save after it"
        )
    raise StorageError(f"this process itself holds the write lock on {path}, {where}. Nothing was saved")


def take_write_lock(
    connection: sqlite3.Connection, path: Path, seconds: float, holder: Callable[[Path], Transaction | None]
) -> None:
    """Begin a write transaction as soon as nobody else is in one.

    Parameters
    ----------
    connection
        The connection that is to write.
    path
        The file.
    seconds
        How long to wait.
    holder
        Finds the transaction of this process on the file, if there is one.

    Raises
    ------
    PoolTimeoutError
        If the lock is not free in time, or not before the caller goes on.
    """
    started = time.monotonic()
    with checkpoint.no_waiting(connection):
        if checkpoint.begin(connection):
            return
        with _head_of_queue(path):
            patience = time.monotonic() + _HEAD_SECONDS
            while time.monotonic() < patience:
                if checkpoint.begin(connection):
                    return
                time.sleep(_PAUSE_AT_HEAD)
        looked = 0.0
        while not checkpoint.begin(connection):
            waited = time.monotonic() - started
            if waited >= min(looked + _LOOK_SECONDS, seconds):
                _look(path, waited, seconds, holder(path))
                looked = waited
            time.sleep(pause())


def pause() -> float:
    """Return for how many seconds to leave alone what others use."""
    return random.uniform(0.1, 1.0) * _PAUSE_BESIDE  # noqa: S311 - spreads the writers, guards nothing


@contextlib.contextmanager
def _head_of_queue(path: Path) -> Iterator[None]:
    """Wait until all who came before have had their turn, where the system has such locks."""
    descriptor = None
    with contextlib.suppress(OSError, ImportError):
        import fcntl

        file = path.stat()
        queue = Path(tempfile.gettempdir(), f"finlab_nb_writers_{file.st_dev:x}_{file.st_ino:x}")
        descriptor = os.open(queue, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _look(path: Path, waited: float, seconds: float, holder: Transaction | None) -> None:
    """Look who holds the lock, raise if waiting is in vain, and tell it once if it takes long."""
    if holder is not None:
        who = f"this process itself, in a transaction of the thread {holder.owner.thread.name!r}"
        in_vain = _waits_for_caller(holder.owner.thread)
        advice = "which waits for this call; save after it, or in the same thread" if in_vain else "which goes on"
    else:
        number = _process_with_lock(path)
        in_vain = number == os.getpid() and waited >= _TELL_SECONDS
        who, advice = _described(number)
    message = f"no write lock on {path} within {waited:.0f} s: it is held by {who}, {advice}"
    if in_vain or waited >= seconds:
        raise PoolTimeoutError(f"{message}; nothing was saved")
    if waited - _LOOK_SECONDS < _TELL_SECONDS <= waited:
        _log.warning("%s; waiting up to %.0f s", message, seconds)


def _described(number: int | None) -> tuple[str, str]:
    if number == os.getpid():
        return (
            "this process itself, by a connection of another library",
            "such as an open sqlite3.connect that was not committed; commit or close it",
        )
    who = "another process" if number is None else f"process {number}"
    return who, "which is in a long write transaction; wait for it or end it"


def _process_with_lock(path: Path) -> int | None:
    """Return the number of the process with the write lock, where the system tells it."""
    try:
        number = path.with_name(f"{path.name}-shm").stat().st_ino
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return None
    held = (line.split() for line in lines)  # 1: POSIX ADVISORY WRITE 4711 08:01:131 120 120
    return next(
        (
            int(fields[4])
            for fields in held
            if fields[3:4] == ["WRITE"]
            and fields[5].endswith(f":{number}")
            and int(fields[6]) <= _WRITE_LOCK_BYTE <= float(fields[7].replace("EOF", "inf"))
        ),
        None,
    )


def _waits_for_caller(holder: threading.Thread) -> bool:
    """Tell whether a thread waits for this one: joins it, or waits for the future or the job that it works on."""
    frames = sys._current_frames()  # noqa: SLF001 - documented
    mine: set[object] = {threading.current_thread()}
    for name, variables in _stack(frames.get(threading.get_ident())):
        if name == "run" and hasattr(variables.get("self"), "future"):  # of a worker of concurrent.futures
            mine.add(variables["self"].future)
        elif name == "worker":  # of multiprocessing.pool
            mine.add(("job", variables.get("job")))
    for _, variables in _stack(frames.get(holder.ident or 0)):
        for value in variables.values():
            several = value if isinstance(value, list | set | tuple) else [value]
            if any(_key(one) in mine for one in several):
                return True
    return False


def _key(value: object) -> object:
    job = getattr(value, "_job", None)
    return id(value) if job is None and value.__hash__ is None else value if job is None else ("job", job)


def _stack(frame: FrameType | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the functions that run or await work in other threads, each with its variables."""
    while frame is not None:
        if frame.f_globals.get("__name__") in _WORKING:
            yield frame.f_code.co_name, frame.f_locals
        frame = frame.f_back
