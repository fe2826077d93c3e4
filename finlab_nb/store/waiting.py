"""Waiting for the write lock of a file, and what is said to those who wait in vain.

SQLite's own busy handler sleeps ever longer and starves under load. So the lock is asked for again and again, at random
intervals that shrink with the fourth power of the time that somebody has waited: this makes writers of several
processes take turns, without a queue that someone who is stopped or killed could block.

Who holds the lock may be waiting for the very caller: a thread that waits within a transaction for a worker that wants
to save, a task of the same event loop, another connection of the same notebook that was never committed. Then there is
nothing to wait for, and the error says so.
"""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

from finlab_nb.errors import PoolTimeoutError, StorageError
from finlab_nb.store import checkpoint
from finlab_nb.store.transaction import Owner, Transaction

_LONGEST_PAUSE: Final = 0.03
_SHORTEST_PAUSE: Final = 0.0005
_PATIENT_SECONDS: Final = 0.05  # after so long a wait, the pauses are a sixteenth as long
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
    looked = 0.0
    with checkpoint.no_waiting(connection):
        while not checkpoint.begin(connection):
            waited = time.monotonic() - started
            if waited >= min(looked + _LOOK_SECONDS, seconds):
                _look(path, waited, seconds, holder(path))
                looked = waited
            time.sleep(pause(waited))


def pause(waited: float) -> float:
    """Return for how many seconds to leave alone what others use, after so many of waiting."""
    longest = max(_SHORTEST_PAUSE, _LONGEST_PAUSE / (1 + waited / _PATIENT_SECONDS) ** 4)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads the writers, guards nothing


def _look(path: Path, waited: float, seconds: float, holder: Transaction | None) -> None:
    """Look who holds the lock, raise if waiting is in vain, and tell it once if it takes long."""
    if holder is not None:
        who = f"this process itself, in a transaction of the thread {holder.owner.thread.name!r}"
        in_vain = _waits_for_caller(holder.owner.thread) or (waited >= _TELL_SECONDS and _works_for(holder.owner.task))
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
    mine: list[object] = [threading.current_thread()]
    for name, variables in _stack(frames.get(threading.get_ident())):
        if name == "run":  # of a worker of concurrent.futures
            mine.append(getattr(variables.get("self"), "future", mine))
        elif name == "worker":  # of multiprocessing.pool, where jobs have numbers
            mine.append(variables.get("job"))
    for _, variables in _stack(frames.get(holder.ident or 0)):
        for value in variables.values():
            several = value if isinstance(value, list | set) else (value, *getattr(value, "_threads", ()))
            if any(getattr(one, "_job", one) is my for one in list(several) for my in mine):
                return True
    return False


def _works_for(task: Any) -> bool:
    """Tell whether this thread is a worker of the event loop of a task, which awaits, very likely, such a worker."""
    executor = getattr(task and task.get_loop(), "_default_executor", None)
    return threading.current_thread() in getattr(executor, "_threads", ())


def _stack(frame: FrameType | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the functions that run or await work in other threads, each with its variables."""
    while frame is not None:
        if frame.f_globals.get("__name__") in _WORKING:
            yield frame.f_code.co_name, frame.f_locals
        frame = frame.f_back
