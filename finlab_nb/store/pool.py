"""The connections to one database file: a bounded stack of them, transactions, and what happens on fork.

Every access of this process to the database goes through here, with Python's own SQLite library: a second copy of
SQLite in the process, or a mere `open()` and `close()` of the file, would drop the POSIX locks that these connections
hold, and the file would be corrupted under load.

There are two different waits. A caller waits `timeout` seconds for a connection, because a pool exhausted that long
means a program that does not return connections. It waits up to a minute for the write lock: SQLite's own busy handler
sleeps ever longer and starves under load, so writers of one process queue at a lock and those of several processes
poll it at short random intervals.

A fork must not inherit open connections: SQLite counts the locks of a process in its memory, and a child that
inherits the count relies on locks that it does not have. So idle connections are closed before a fork, and a child
that was forked while one was in use refuses to work instead of risking the file.

Ctrl-C can strike between any two steps. So the locks here are plain ones in `with` statements, where it cannot strike
between taking and holding a lock (conditions, semaphores and queues written in Python can leave theirs taken). Places
in the pool are counted by weak references: a place that is lost is free again.
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
from typing import Any, Final

from finlab_nb.errors import PoolTimeoutError, StorageError, StoreClosedError, StorePicklingError
from finlab_nb.store import checkpoint
from finlab_nb.store.connection import (
    PATIENCE_SECONDS,
    Connection,
    FileIdentity,
    connect,
    file_identity,
    spoils,
    translated_errors,
)
from finlab_nb.store.forks import TemporaryFolder, leave_to_parent
from finlab_nb.store.watch import SchemaWatch

WRITE_LOCK_SECONDS: Final = 60.0
_FORK_PATIENCE_SECONDS: Final = 2.0
_RECHECK_SECONDS: Final = 0.1
_log = logging.getLogger(__name__)
_pools: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()


class _Slot:
    """A place in the pool, taken as long as anything refers to it, with the connection of its holder."""

    __slots__ = ("__weakref__", "connection")

    def __init__(self) -> None:
        self.connection: Connection | None = None

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


class ConnectionPool:
    """A thread-safe stack of up to `size` connections, opened on demand.

    Parameters
    ----------
    path
        The database file.
    size
        How many connections may be in use at once.
    timeout
        Seconds to wait for a free one.
    prepare
        Called with the first connection to a file, and again if another file takes its name: creates, migrates or
        refuses the file.
    watch
        What notices that another program has changed the schema; asked in every transaction.
    folder
        The temporary folder of the file, if it is in one: removed with the last connection.

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
        watch: SchemaWatch | None = None,
        folder: TemporaryFolder | None = None,
    ) -> None:
        self.path = path
        self.size = size
        self.timeout = timeout
        self.waits = 0
        self.longest_wait = 0.0
        self._prepare = prepare
        self._watch = watch
        self._folder = folder
        self._prepared: FileIdentity | None = None
        self._closed = False
        self._forked_in_use = False
        self._reset()
        with translated_errors(path), contextlib.closing(self._connect(create=True)) as connection:
            connection.execute("BEGIN")
            self._watch_schema(connection, "BEGIN")
        _pools.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as path and arguments: whoever loads it opens connections of its own."""
        self._refuse_if_unusable()
        if self._folder is not None:
            raise StorePicklingError(
                'a ":memory:" database is private to its process and cannot be pickled or copied; open a file instead, '
                'such as "research.db"'
            )
        return _reopened, (self.path, self.size, self.timeout, self._prepare, self._watch)

    def _reset(self) -> None:
        self._slots: weakref.WeakSet[_Slot] = weakref.WeakSet()
        self._slots_lock = threading.Lock()
        self._idle: list[_Slot] = []
        self._given_back: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._drained: list[_Slot] = []
        self._local = threading.local()
        self._write_lock = threading.Lock()
        self._keeper_lock = threading.Lock()
        self._keeper: Connection | None = None
        self._keepers = 0
        self._checkpoints = checkpoint.Checkpoints(self.path)

    # Transactions -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def read(self, *, watched: bool = True) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside a read transaction; inside a write transaction of this thread, the writer's own."""
        writer = self._own_writer()
        if writer is not None:
            with translated_errors(self.path):
                yield writer
            return
        with self.snapshot(watched=watched) as connection:
            yield connection

    @contextlib.contextmanager
    def snapshot(self, *, watched: bool = True) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside a read transaction, which sees only committed rows.

        Raises
        ------
        SchemaChangedError
            If another program has changed the schema, unless the schema is not watched.
        """
        with translated_errors(self.path), self._lease() as connection:
            try:
                connection.execute("BEGIN")
                if watched:
                    self._watch_schema(connection, "BEGIN")
                yield connection
            finally:
                self._end_transaction(connection)

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside a write transaction; inside another one of this thread, inside a savepoint.

        Commits at the end, rolls back on any exception, including KeyboardInterrupt.

        Raises
        ------
        PoolTimeoutError
            If no connection, or no write lock, is free in time.
        SchemaChangedError
            If another program has changed the schema.
        """
        if self._own_writer() is not None:
            with self._savepoint() as connection:
                yield connection
            return
        with translated_errors(self.path), self._lease() as connection:
            with self._writing(connection):
                yield connection
                self._own_writer()
                connection.execute("COMMIT")
            self._checkpoint_if_due(connection)

    def _own_writer(self) -> Connection | None:
        """Return the connection of this thread's write transaction, if it is in one."""
        self._refuse_if_forked_in_use()  # else a child that leaves the transaction would commit it, as its parent will
        writer: Connection | None = getattr(self._local, "writer", None)
        if writer is not None and not writer.in_transaction:
            raise StorageError(
                f"the transaction on {self.path} has failed as a whole, nothing of it was saved; "
                "do away with the cause and begin it again"
            )
        return writer

    @contextlib.contextmanager
    def _writing(self, connection: Connection) -> Iterator[None]:
        try:
            self._begin_immediate(connection, WRITE_LOCK_SECONDS)
            self._watch_schema(connection)
            self._local.writer, self._local.depth = connection, 0
            yield
        finally:
            self._end_transaction(connection)

    def _end_transaction(self, connection: Connection) -> None:
        """Roll back what was not committed, and forget that this thread writes. Called twice: Ctrl-C may stop one."""
        if getattr(self._local, "writer", None) is connection:
            self._local.writer = None
        if self._can_roll_back(connection):
            connection.rollback()

    def _can_roll_back(self, connection: Connection) -> bool:
        try:
            return connection.in_transaction and not self._forked_in_use  # a fork leaves a transaction to the parent
        except sqlite3.ProgrammingError:  # closed: a context cut off by Ctrl-C ends after the ones around it
            return False

    @contextlib.contextmanager
    def _savepoint(self) -> Iterator[sqlite3.Connection]:
        connection, name = self._local.writer, f"level_{self._local.depth}"
        self._local.depth += 1
        with translated_errors(self.path):
            connection.execute(f"SAVEPOINT {name}")
            try:
                yield connection
            except BaseException:
                if self._can_roll_back(connection):  # SQLite has already rolled back everything if the disk is full
                    connection.execute(f"ROLLBACK TO {name}")
                    connection.execute(f"RELEASE {name}")
                raise
            else:
                connection.execute(f"RELEASE {name}")
            finally:
                self._local.depth -= 1

    def _begin_immediate(self, connection: Connection, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with self._write_lock, checkpoint.no_waiting(connection):
            while not checkpoint.begin(connection):
                if time.monotonic() >= deadline:
                    raise PoolTimeoutError(f"no write lock on {self.path} within {seconds:.0f} s: {_WHO_HOLDS}")
                time.sleep(random.uniform(0.0005, 0.005))  # noqa: S311 - spreads the writers, guards nothing

    def _watch_schema(self, connection: Connection, begin: str | None = None) -> None:
        """Compare the schema if it has changed; repair what can be repaired, and restart the transaction."""
        while self._watch is not None and not self._watch.holds(connection):
            if not self._watch.compare(connection):
                continue
            connection.rollback()
            self._begin_immediate(connection, WRITE_LOCK_SECONDS)
            self._watch.repair(connection)
            connection.execute("COMMIT")
            if begin is None:
                self._begin_immediate(connection, WRITE_LOCK_SECONDS)
            else:
                connection.execute(begin)

    def _checkpoint_if_due(self, connection: Connection) -> None:
        if not self._checkpoints.due():
            return
        try:
            self._begin_immediate(connection, self._checkpoints.lock_seconds)
            with self._keeping() as keeper:
                self._checkpoints.run(connection, keeper)
        except PoolTimeoutError:
            _log.debug("the write-ahead log of %s is left to a later commit: others are writing", self.path)
        except (sqlite3.Error, StorageError):
            # The commit before the checkpoint succeeded, and that is all that the caller must learn.
            _log.warning("the write-ahead log of %s could not be copied back yet", self.path, exc_info=True)
        finally:
            self._end_transaction(connection)

    # Freshness ----------------------------------------------------------------------------------------------------

    def data_version(self) -> tuple[int, ...]:
        """Return a value that differs after every commit of any connection and after a swap of the file.

        It costs microseconds, so it can be read before every question.
        """
        with translated_errors(self.path), self._keeping() as keeper:
            (version,) = keeper.execute("PRAGMA data_version").fetchone()
            return (self._keepers, version)

    @contextlib.contextmanager
    def _keeping(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection, outside the pool, that watches the file and does the checkpoints."""
        self._refuse_if_unusable()
        with self._keeper_lock:
            file = file_identity(self.path)
            if self._keeper is not None and self._keeper.file != file:
                self._keeper.close()
                self._keeper = None
            if self._keeper is None:
                self._keeper = self._connect()
                self._keepers += 1
            try:
                yield self._keeper
            except sqlite3.Error:
                self._keeper.close()
                self._keeper = None
                raise

    # The stack ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _lease(self) -> Iterator[Connection]:
        self._refuse_if_unusable()
        slot = self._next_slot()
        try:
            yield self._connected(slot)
        except BaseException as error:
            if spoils(error) and not self._forked_in_use:
                slot.close()
            raise
        finally:
            self._give_back(slot)

    def _connected(self, slot: _Slot) -> Connection:
        self._refuse_if_unusable()
        if slot.connection is not None and slot.connection.file != file_identity(self.path):
            slot.close()  # the name now belongs to another file
        if slot.connection is None:
            slot.connection = self._connect()
        return slot.connection

    def _next_slot(self) -> _Slot:
        slot = self._free_slot()
        if slot is not None:
            return slot
        started = time.monotonic()
        try:
            while (slot := self._free_slot()) is None:
                left = started + self.timeout - time.monotonic()
                if left <= 0:
                    break
                with contextlib.suppress(queue.Empty):
                    self._given_back.get(timeout=min(left, _RECHECK_SECONDS))
        finally:
            self.waits += 1
            self.longest_wait = max(self.longest_wait, time.monotonic() - started)
        if slot is None:
            gc.collect()  # a place lost in an exception may be held by a cycle through its traceback
            slot = self._free_slot()
        if slot is None:
            raise PoolTimeoutError(
                f"no free connection to {self.path} within {self.timeout:g} s: all {self.size} are in use; "
                "give them back sooner or open the store with a larger pool_size"
            )
        return slot

    def _free_slot(self) -> _Slot | None:
        with self._slots_lock:  # a fork holds it, so that nothing is lent meanwhile
            if self._idle:
                return self._idle.pop()
            if len(self._slots) >= self.size:
                return None
            slot = _Slot()
            self._slots.add(slot)
            return slot

    def _give_back(self, slot: _Slot) -> None:
        connection = slot.connection
        if connection is not None:
            self._end_transaction(connection)
        self._idle.append(slot)
        if self._given_back.qsize() < self.size:  # enough to wake all who wait, and perhaps nobody does
            self._given_back.put(None)
        if self._closed:
            self._close_idle()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def in_use(self) -> int:
        """How many connections are lent at this moment."""
        return max(0, len(self._slots) - len(self._idle))

    def _connect(self, *, create: bool = False) -> Connection:
        # Read before opening: if the file is swapped in between, the next use notices.
        file = None if create else file_identity(self.path)
        connection = connect(self.path, create=create)
        try:
            if file is None or file != self._prepared:
                self._make_ready(connection)
                if self._watch is not None:
                    self._watch.forget()
                self._prepared = file or file_identity(self.path)
            connection.file = file
            swapped = file is not None and file != file_identity(self.path)
        except BaseException:
            connection.close()
            raise
        if swapped:  # it has the old file and the new file's log: close it before it can write
            connection.close()
            return self._connect()
        return connection

    def _make_ready(self, connection: Connection) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._prepare is not None:
            try:
                self._prepare(connection, self.path)
                break
            except sqlite3.OperationalError as error:
                # If two processes create a new file's log at once, SQLite refuses one without waiting.
                if not checkpoint.is_busy(error) or time.monotonic() >= deadline:
                    raise
            time.sleep(random.uniform(0.0005, 0.005))  # noqa: S311 - spreads the processes, guards nothing

    # End of life --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connections; those in use close when they are returned. Closing twice is fine."""
        self._closed = True
        if self._forked_in_use:
            return
        with self._keeper_lock:
            if self._keeper is not None:
                self._keeper.close()
                self._keeper = None
        self._close_idle()
        if self._folder is not None:
            self._folder.remove()

    def _close_idle(self) -> list[_Slot]:
        taken = []
        with contextlib.suppress(IndexError):
            while not self._forked_in_use:
                taken.append(self._idle.pop())
                taken[-1].close()
        return taken

    def _refuse_if_unusable(self) -> None:
        if self._closed:
            raise StoreClosedError(f"the store of {self.path} is closed; open it again")
        self._refuse_if_forked_in_use()

    def _refuse_if_forked_in_use(self) -> None:
        if self._forked_in_use:
            raise StorageError(
                f"this process was forked while a connection to {self.path} was in use, which SQLite does not survive; "
                "open the store in the child process, or start the process by 'spawn'"
            )

    def before_fork(self) -> None:
        """Close what is open, so that the child inherits nothing."""
        self._slots_lock.acquire()
        patience = time.monotonic() + _FORK_PATIENCE_SECONDS
        own = getattr(self._local, "writer", None)
        self._drained = self._close_idle()
        while len(self._drained) < len(self._slots) and own is None and time.monotonic() < patience:
            time.sleep(0.001)
            self._drained += self._close_idle()
        self._keeper_lock.acquire()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def after_fork_in_parent(self) -> None:
        """Open for business again."""
        self._keeper_lock.release()
        self._idle += self._drained
        self._drained = []
        self._slots_lock.release()

    def after_fork_in_child(self) -> None:
        """Start empty; connections in use are never touched again, because closing them would touch the file."""
        inherited = set(self._slots) - set(self._drained)
        self._forked_in_use = self._forked_in_use or bool(inherited)
        leave_to_parent(*inherited)
        self._reset()


def _reopened(path: Path, *arguments: Any) -> ConnectionPool:
    if not path.exists():  # a new one would answer as if nothing had ever been saved
        raise StorageError(f"{path} does not exist here; a pickled store reopens its database by path")
    return ConnectionPool(path, *arguments)


_WHO_HOLDS: Final = "another process is in a long write transaction; wait for it or end it, nothing was saved"


def is_open_here(path: Path) -> bool:
    """Tell whether a pool of this process has the file open under any name, or will open it at the next use."""
    return any(_file_named(pool.path) == _file_named(path) for pool in list(_pools) if not pool.closed)


def _file_named(path: Path) -> object:
    """Return what all names of one file share; a name without a file is only itself."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return path


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
