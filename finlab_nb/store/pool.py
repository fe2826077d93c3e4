"""The connections to one database file: a bounded queue of them, transactions, and what happens on fork.

Every access of this process to the database goes through here, by Python's own SQLite library: a second copy of
SQLite in the process, or a mere `open()` and `close()` of the file, would drop the POSIX locks that these connections
hold, and the file would be corrupted under load.

Two waits are kept apart. For a connection a caller waits `timeout` seconds, because a pool that is exhausted that long
means a program that does not give back. For the write lock it waits up to a minute: SQLite's own busy handler sleeps
ever longer and starves under load, so writers of one process queue at a lock and those of several processes poll
it at short random intervals.

A fork must not inherit open connections: SQLite counts the locks of a process in its memory, and a child that
inherits the count believes in locks that it does not have. So idle connections are closed before a fork, and a child
that was forked while one was in use refuses to work instead of risking the file.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import queue
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from finlab_nb.errors import PoolTimeoutError, StorageError, StoreClosedError
from finlab_nb.store import checkpoint

WRITE_LOCK_SECONDS: Final = 60.0
_READ_BUSY_MILLISECONDS: Final = 10_000
_FORK_PATIENCE_SECONDS: Final = 2.0
_CONNECTION_SETTINGS: Final = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA cache_size = -16384",
    f"PRAGMA journal_size_limit = {checkpoint.WAL_BYTES}",
    f"PRAGMA busy_timeout = {_READ_BUSY_MILLISECONDS}",
)

FileIdentity: TypeAlias = tuple[int, int]

_log = logging.getLogger(__name__)
_pools: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()


class _Connection(sqlite3.Connection):
    """A connection that knows which file it opened, and can be watched by a weak reference."""

    file: FileIdentity | None


class ConnectionPool:
    """A thread-safe queue of up to `size` connections, opened on demand.

    Parameters
    ----------
    path
        The database file.
    size
        How many connections may be in use at once.
    timeout
        Seconds to wait for a free one.
    prepare
        Called with the first connection: creates, migrates or refuses the file.

    Raises
    ------
    StorageError
        If the file cannot be opened; see `prepare`.
    """

    def __init__(
        self,
        path: Path,
        size: int = 5,
        timeout: float = 5.0,
        prepare: Callable[[sqlite3.Connection, Path], None] | None = None,
    ) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"pool_size is {size!r}; it must be a whole number of at least 1")
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
            raise ValueError(f"timeout is {timeout!r}; it must be a number of seconds, 0 or more")
        self.path = path
        self.size = size
        self.timeout = float(timeout)
        self.waits = 0
        self.longest_wait = 0.0
        self._closed = False
        self._forked_in_use = False
        self._reset()
        with translated_errors(path), contextlib.closing(self._connect(create=True)) as connection:
            if prepare is not None:
                prepare(connection, path)
        _pools.add(self)

    def _reset(self) -> None:
        self._slots: queue.LifoQueue[_Connection | None] = queue.LifoQueue()
        for _ in range(self.size):
            self._slots.put(None)
        self._leased: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._local = threading.local()
        self._write_lock = threading.Lock()
        self._keeper_lock = threading.Lock()
        self._keeper: _Connection | None = None
        self._keepers = 0
        self._drained = 0
        self._checkpoints = checkpoint.Checkpoints(self.path)

    # Transactions -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside one read transaction; within a write transaction of this thread, its own."""
        writer = getattr(self._local, "writer", None)
        if writer is not None:
            with translated_errors(self.path):
                yield writer
            return
        with self.snapshot() as connection:
            yield connection

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside one read transaction, which sees committed rows only."""
        with translated_errors(self.path), self._lease() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside a write transaction; inside another one of this thread, inside a savepoint.

        Commits at the end, rolls back on any exception, KeyboardInterrupt included.

        Raises
        ------
        PoolTimeoutError
            If no connection, or no write lock, is free in time.
        """
        if getattr(self._local, "writer", None) is not None:
            with self._savepoint() as connection:
                yield connection
            return
        with translated_errors(self.path), self._lease() as connection:
            with self._writing(connection):
                yield connection
                connection.execute("COMMIT")
            self._checkpoint_if_due(connection)

    @contextlib.contextmanager
    def _writing(self, connection: _Connection) -> Iterator[None]:
        self._local.writer, self._local.depth = connection, 0
        try:
            self._begin_immediate(connection)
            yield
        finally:
            self._local.writer = None
            if connection.in_transaction:
                connection.rollback()

    @contextlib.contextmanager
    def _savepoint(self) -> Iterator[sqlite3.Connection]:
        connection, name = self._local.writer, f"level_{self._local.depth}"
        self._local.depth += 1
        with translated_errors(self.path):
            connection.execute(f"SAVEPOINT {name}")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:  # a full disk has already rolled back everything
                    connection.execute(f"ROLLBACK TO {name}")
                    connection.execute(f"RELEASE {name}")
                raise
            else:
                connection.execute(f"RELEASE {name}")
            finally:
                self._local.depth -= 1

    def _begin_immediate(self, connection: _Connection) -> None:
        deadline = time.monotonic() + WRITE_LOCK_SECONDS
        if not self._write_lock.acquire(timeout=WRITE_LOCK_SECONDS):
            raise PoolTimeoutError(f"no write lock on {self.path} within {WRITE_LOCK_SECONDS:.0f} s: {_WHO_HOLDS}")
        try:
            connection.execute("PRAGMA busy_timeout = 0")
            while True:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                        raise
                    if time.monotonic() > deadline:
                        raise PoolTimeoutError(
                            f"no write lock on {self.path} within {WRITE_LOCK_SECONDS:.0f} s: {_WHO_HOLDS}"
                        ) from error
                time.sleep(random.uniform(0.0005, 0.005))  # noqa: S311 - spreads the writers, guards nothing
        finally:
            self._write_lock.release()
            connection.execute(f"PRAGMA busy_timeout = {_READ_BUSY_MILLISECONDS}")

    def _checkpoint_if_due(self, connection: sqlite3.Connection) -> None:
        if not self._checkpoints.due():
            return
        try:
            with self._keeping() as keeper:
                self._checkpoints.run(connection, keeper)
        except (sqlite3.Error, StorageError):
            # The commit before it stands, and the caller must learn just that.
            _log.warning("the write-ahead log of %s could not be copied back yet", self.path, exc_info=True)

    # Freshness ----------------------------------------------------------------------------------------------------

    def data_version(self) -> tuple[int, ...]:
        """Return a value that differs after every commit of any connection and after a swap of the file.

        It costs microseconds, so that asking before every question is free.
        """
        with translated_errors(self.path), self._keeping() as keeper:
            (version,) = keeper.execute("PRAGMA data_version").fetchone()
            return (self._keepers, version)

    @contextlib.contextmanager
    def _keeping(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection outside the queue that watches the file and does the checkpoints."""
        self._refuse_if_unusable()
        with self._keeper_lock:
            file = self._file_identity()
            if self._keeper is not None and self._keeper.file != file:
                self._keeper.close()
                self._keeper = None
            if self._keeper is None:
                self._keeper = self._connect()
                self._keepers += 1
            yield self._keeper

    # The queue ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _lease(self) -> Iterator[_Connection]:
        connection = self._take()
        try:
            yield connection
        finally:
            self._give_back(connection)

    def _take(self) -> _Connection:
        self._refuse_if_unusable()
        connection = self._next_slot()
        try:
            if connection is not None and connection.file != self._file_identity():
                connection.close()  # another file stands under the name now
                connection = None
            if connection is None:
                connection = self._connect()
            self._leased.add(connection)
        except BaseException:
            if connection is not None:
                connection.close()
            self._slots.put(None)
            raise
        return connection

    def _next_slot(self) -> _Connection | None:
        try:
            return self._slots.get_nowait()
        except queue.Empty:
            pass
        started = time.monotonic()
        try:
            return self._slots.get(timeout=self.timeout)
        except queue.Empty:
            # An exception can strike between a lease and its `with`; such a connection is gone, its slot is not.
            gc.collect()
            if len(self._leased) < self.size:
                return None
            raise PoolTimeoutError(
                f"no free connection to {self.path} within {self.timeout:g} s: all {self.size} are in use; "
                "give them back sooner or open the store with a larger pool_size"
            ) from None
        finally:
            self.waits += 1
            self.longest_wait = max(self.longest_wait, time.monotonic() - started)

    def _give_back(self, connection: _Connection) -> None:
        self._leased.discard(connection)
        if connection.in_transaction:
            connection.rollback()
        if self._closed:
            connection.close()
            self._slots.put(None)
        else:
            self._slots.put(connection)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def in_use(self) -> int:
        """How many connections are lent at this moment."""
        return len(self._leased)

    def _connect(self, *, create: bool = False) -> _Connection:
        # Asked before: should the file be swapped in between, the next use notices.
        file = None if create else self._file_identity()
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode={'rwc' if create else 'rw'}",  # a file that has gone does not come back empty
            uri=True,
            timeout=_READ_BUSY_MILLISECONDS / 1000,
            isolation_level=None,
            check_same_thread=False,
            factory=_Connection,
        )
        try:
            for setting in _CONNECTION_SETTINGS:
                connection.execute(setting).fetchall()
            connection.file = file
            swapped = file is not None and file != self._file_identity()
        except BaseException:
            connection.close()
            raise
        if swapped:  # it has opened the old file, and the log of the new one: closed before it can write
            connection.close()
            return self._connect()
        return connection

    def _file_identity(self) -> FileIdentity:
        try:
            status = os.stat(self.path)  # noqa: PTH116 - called before every question, and this is the fast way
        except FileNotFoundError as error:
            raise StorageError(
                f"the database {self.path} has disappeared; put the file back, or restore a backup, and go on"
            ) from error
        except OSError as error:
            raise StorageError(f"the database {self.path} cannot be reached: {error}") from error
        return status.st_dev, status.st_ino

    # End of life --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connections; those in use close when they are given back. Closing twice is fine."""
        self._closed = True
        if self._forked_in_use:
            return
        with self._keeper_lock:
            if self._keeper is not None:
                self._keeper.close()
                self._keeper = None
        for _ in range(self._close_idle()):
            self._slots.put(None)

    def _close_idle(self) -> int:
        taken = 0
        with contextlib.suppress(queue.Empty):
            while True:
                connection = self._slots.get_nowait()
                taken += 1
                if connection is not None:
                    connection.close()
        return taken

    def _refuse_if_unusable(self) -> None:
        if self._closed:
            raise StoreClosedError(f"the store of {self.path} is closed; open it again")
        if self._forked_in_use:
            raise StorageError(
                f"this process was forked while a connection to {self.path} was in use, which SQLite does not survive; "
                "open the store in the child process, or start the process by 'spawn'"
            )

    def before_fork(self) -> None:
        """Close what is open, so that the child inherits nothing."""
        self._drained = self._close_idle()
        patience = time.monotonic() + _FORK_PATIENCE_SECONDS
        own = getattr(self._local, "writer", None)
        while self._drained < self.size and own is None and time.monotonic() < patience and self._leased:
            with contextlib.suppress(queue.Empty):
                connection = self._slots.get(timeout=0.01)
                self._drained += 1
                if connection is not None:
                    connection.close()
        self._keeper_lock.acquire()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def after_fork_in_parent(self) -> None:
        """Open for business again."""
        self._keeper_lock.release()
        for _ in range(self._drained):
            self._slots.put(None)

    def after_fork_in_child(self) -> None:
        """Start empty; connections that were in use are left alone for good, for closing them would touch the file."""
        inherited = list(self._leased)
        self._forked_in_use = bool(inherited)
        _never_closed.extend(inherited)
        self._reset()


_WHO_HOLDS: Final = "another process is in a long write transaction; wait for it or end it, nothing was saved"
_never_closed: list[Any] = []

_EXPLANATIONS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space and save again, nothing of this save was written",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only; make both writable, or work on a copy elsewhere",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that the folder exists, that it and the file are readable and "
    "writable, and that the path is no folder",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database; nothing was changed",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; keep a copy of it and restore the newest backup",
    sqlite3.SQLITE_IOERR: "the disk failed or is full; free some space, check the disk, and save again",
    sqlite3.SQLITE_BUSY: "another program holds a lock on it for too long; end that program or wait for it",
    sqlite3.SQLITE_TOOBIG: "a text is larger than SQLite can store (1 GB)",
}


@contextlib.contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into StorageError that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        explanation = _EXPLANATIONS.get(code)
        raise StorageError(f"{path}: {explanation} ({error})" if explanation else f"{path}: {error}") from error


def is_open_here(path: Path) -> bool:
    """Tell whether a pool of this process has the database open, or will open it at its next use."""
    return any(pool.path == path and not pool.closed for pool in list(_pools))


def _each(method: Callable[[ConnectionPool], None]) -> Callable[[], None]:
    def call() -> None:
        for pool in list(_pools):
            method(pool)

    return call


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_each(ConnectionPool.before_fork),
        after_in_parent=_each(ConnectionPool.after_fork_in_parent),
        after_in_child=_each(ConnectionPool.after_fork_in_child),
    )
atexit.register(_each(ConnectionPool.close))
