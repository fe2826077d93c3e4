"""The pools of this process: which files are open here, who writes to them, what they do at a fork and at the end."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from finlab_nb.errors import StorageError
from finlab_nb.store.transaction import Transaction

if TYPE_CHECKING:
    from finlab_nb.store.connections import OpenConnections
    from finlab_nb.store.pool import ConnectionPool

Known = TypeVar("Known")

_ENDING_SECONDS: Final = 2.0

_FORKING = threading.RLock()  # held while this process forks
# Both by the same number. The references in a dictionary can be copied in one step, which those in a WeakSet can not.
_POOLS: weakref.WeakValueDictionary[int, ConnectionPool] = weakref.WeakValueDictionary()
_CONNECTIONS: weakref.WeakValueDictionary[int, OpenConnections] = weakref.WeakValueDictionary()


def add(pool: ConnectionPool, connections: OpenConnections) -> None:
    """Make a pool known, before its first connection."""
    with _FORKING:
        _POOLS[id(connections)], _CONNECTIONS[id(connections)] = pool, connections


def _alive(known: weakref.WeakValueDictionary[int, Known]) -> list[Known]:
    return [one for reference in known.valuerefs() if (one := reference()) is not None]


def transaction_on(path: Path) -> Transaction | None:
    """Return the transaction in which this process is on a file."""
    found = (pool.transaction for pool in _alive(_POOLS) if pool.path == path)
    return next((transaction for transaction in found if transaction is not None), None)


def refuse_in_transaction(path: Path, what: str) -> None:
    """Refuse something that would wait for the caller's own transaction, or miss what it has saved."""
    transaction = transaction_on(path)
    if transaction is not None and transaction.owner.thread is threading.current_thread():
        raise StorageError(
            f"{what} cannot run within a transaction of this process itself on {path}, which it would wait for; end "
            "the transaction first"
        )


def is_open_here(path: Path) -> bool:
    """Tell whether this process has the file open under any name, or a pool will open it at the next use.

    Pools that nobody holds any more do not count, also if they are held by a cycle, such as that of an error.
    """
    if not _has_open(path):
        return False
    gc.collect()
    _left()
    return _has_open(path)


def _has_open(path: Path) -> bool:
    wanted = _file_named(path)
    return any(_file_named(one.path) == wanted for one in _alive(_CONNECTIONS) if len(one) or not one.closed)


def _left() -> list[OpenConnections]:
    """Return what pools that nobody holds any more have left, after waiting for threads that are closing it."""
    deadline = time.monotonic() + _ENDING_SECONDS
    while left := [one for one in _alive(_CONNECTIONS) if len(one) and id(one) not in _POOLS]:
        if time.monotonic() >= deadline:
            break
        time.sleep(0.001)
    return left


def _file_named(path: Path) -> object:
    """Return what all names of one file share; a name without a file is only itself."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return path


_forking: list[ConnectionPool] = []
_closing: list[OpenConnections] = []


def _before_fork() -> None:
    _FORKING.acquire()
    _forking[:] = _alive(_POOLS)  # others may be opened before the fork is over
    for pool in _forking:
        pool.before_fork()
    _closing[:] = _left()


def _after_fork_in_parent() -> None:
    try:
        _closing.clear()
        while _forking:
            _forking.pop().after_fork_in_parent()
    finally:
        _FORKING.release()


def _after_fork_in_child() -> None:
    try:
        while _closing:
            _closing.pop().leave_to_parent()
        while _forking:
            _forking.pop().after_fork_in_child()
    finally:
        _FORKING.release()


@atexit.register
def _close_all() -> None:
    for pool in _alive(_POOLS):
        pool.close()
    _left()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
