"""The pools of this process: which files are open here, who writes to them, what they do at a fork and at the end."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from finlab_nb.errors import StorageError
from finlab_nb.store.transaction import Transaction

if TYPE_CHECKING:
    from finlab_nb.store.pool import ConnectionPool

FORKING = threading.RLock()  # held while this process forks
POOLS: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()


def transaction_on(path: Path) -> Transaction | None:
    """Return the transaction in which this process is on a file."""
    found = (pool.transaction for pool in list(POOLS) if pool.path == path)
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
    """Tell whether a pool of this process has the file open under any name, or will open it at the next use."""
    return any(_file_named(pool.path) == _file_named(path) for pool in list(POOLS) if not pool.closed)


def _file_named(path: Path) -> object:
    """Return what all names of one file share; a name without a file is only itself."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return path


_forking: list[ConnectionPool] = []


def _before_fork() -> None:
    FORKING.acquire()
    _forking[:] = POOLS  # others may be opened before the fork is over
    for pool in _forking:
        pool.before_fork()


def _after_fork(method: str) -> Callable[[], None]:
    def call() -> None:
        try:
            while _forking:
                getattr(_forking.pop(), method)()
        finally:
            FORKING.release()

    return call


@atexit.register
def _close_all() -> None:
    for pool in list(POOLS):
        pool.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork("after_fork_in_parent"),
        after_in_child=_after_fork("after_fork_in_child"),
    )
