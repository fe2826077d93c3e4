"""The connections to one database file: who may use them, transactions, and what happens on fork.

Every access of this process to the database goes through here, with Python's own SQLite library: a second copy of
SQLite in the process, or a mere `open()` and `close()` of the file, would drop the POSIX locks that these connections
hold, and the file would be corrupted under load.

A fork must not inherit open connections: SQLite counts the locks of a process in its memory, and a child that
inherits the count relies on locks that it does not have. So idle connections are closed before a fork, and a child
that was forked while one was in use refuses to work instead of risking the file.

Ctrl-C can strike between any two steps. So the locks here are plain ones in `with` statements, where it cannot strike
between taking and holding a lock (conditions, semaphores and queues written in Python can leave theirs taken), and what
is lent is counted by weak references: a connection that is lost is lent no more.

A pool that nobody holds any more closes itself. So nothing that outlives it may hold it: the thread that brings the log
back knows the log and the connections, but not the pool.
"""

from __future__ import annotations

import contextlib
import gc
import queue
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from finlab_nb.errors import PoolTimeoutError, StorageError, StorePicklingError
from finlab_nb.store import registry, waiting
from finlab_nb.store.connection import Connection, spoils, translated_errors
from finlab_nb.store.connections import OpenConnections
from finlab_nb.store.forks import TemporaryFolder
from finlab_nb.store.transaction import Owner, Transaction
from finlab_nb.store.watch import SchemaWatch
from finlab_nb.store.write_ahead_log import WriteAheadLog

WRITE_LOCK_SECONDS: Final = 60.0
_FORK_PATIENCE_SECONDS: Final = 2.0
_RECHECK_SECONDS: Final = 0.1


class ConnectionPool:
    """The connections of this process to one file.

    ::

        read, snapshot ---> readers: up to `size`, each lent to one caller at a time
        write ------------> queue of this process ---> write lock of the file ---> writer: one transaction at a time
        data_version -----> keeper: never in a transaction, sees that anybody has committed
        after a commit ---> the log goes back into the file: at once if it is long, else when nobody writes any more

    A transaction belongs to the thread and the asyncio task that began it (`Transaction`): whatever these save and read
    meanwhile is part of it. All others read what is committed, and queue to write. Nobody holds a reader while waiting
    to write. A reader is waited for `timeout` seconds, because readers that are out for so long mean a program that
    does not return them; the write lock is waited for a minute (`waiting`).

    Parameters
    ----------
    path
        The database file.
    size
        How many callers may read at once.
    timeout
        Seconds to wait for a reader.
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
        self._connections = OpenConnections(path, prepare, watch)
        self._wal = WriteAheadLog(path, self._connections)
        self._reset()
        weakref.finalize(self, _leave, self._connections, self._wal, folder).atexit = False
        registry.add(self, self._connections)  # before the first connection, of which a fork must know
        with translated_errors(path), self._connections.lent("reader", self._connections.first()) as connection:
            self._begin_reading(connection)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as path and arguments: whoever loads it opens connections of its own."""
        self._connections.refuse_if_unusable()
        if self._folder is not None:
            raise StorePicklingError(
                'a ":memory:" database is private to its process and cannot be pickled or copied; open a file instead, '
                'such as "research.db"'
            )
        return _reopened, (self.path, self.size, self.timeout, self._prepare, self._watch)

    def _reset(self) -> None:
        self._listener: weakref.WeakMethod[Callable[[int], None]] | None = None
        self._lock = threading.Lock()  # of what is lent, and of the keeper
        self._lent: weakref.WeakSet[Connection] = weakref.WeakSet()  # to readers
        self._given_back: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._transaction: weakref.ref[Transaction] | None = None
        self._keepers = 0

    # Transactions -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def read(self, *, watched: bool = True) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside a read transaction; inside a write transaction of the caller, the writer's own."""
        transaction = self.own_transaction()
        if transaction is not None:
            with translated_errors(self.path):
                yield transaction.begun
            return
        with self.snapshot(watched=watched) as connection:
            yield connection

    @contextlib.contextmanager
    def snapshot(self, *, watched: bool = True) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside a read transaction, which sees only committed rows.

        Raises
        ------
        PoolTimeoutError
            If no connection is free in time.
        SchemaChangedError
            If another program has changed the schema, unless the schema is not watched.
        """
        with translated_errors(self.path), self._lease() as connection:
            self._begin_reading(connection, watched=watched)
            yield connection

    @contextlib.contextmanager
    def write(self, *, appends: bool = False) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside a write transaction; inside another one of the caller, inside a savepoint.

        Commits at the end, rolls back on any exception, including KeyboardInterrupt.

        Parameters
        ----------
        appends
            Whether all that is done is to insert many rows, each after the one that it belongs to. They are not looked
            for, which takes an eighth of the time; nothing may be deleted, because nothing would go with it.

        Raises
        ------
        PoolTimeoutError
            If the write lock is not free in time, or would never be.
        StorageError
            If it is left by another thread or task than entered it, or before one that was entered later.
        SchemaChangedError
            If another program has changed the schema.
        """
        transaction = self.own_transaction()
        with translated_errors(self.path):
            if transaction is not None:
                with transaction.savepoint() as connection:
                    yield connection
                return
            transaction = Transaction(self.path, "appender" if appends else "writer")
            with self._ending(transaction), self._ending(transaction):  # twice: Ctrl-C may stop one
                self._begin(transaction)
                with transaction.whole() as connection:
                    before = connection.total_changes
                    yield connection
                    self._connections.refuse_if_forked_in_use()  # it is the parent's
                    changed_rows = connection.total_changes - before
        self._wal.after_commit()
        self._tell_listener(changed_rows)

    def listen(self, listener: weakref.WeakMethod[Callable[[int], None]]) -> None:
        """Have a method called after each commit of this pool, with the number of rows that it changed."""
        self._listener = listener

    def _tell_listener(self, changed_rows: int) -> None:
        listener = None if self._listener is None else self._listener()
        if listener is not None:
            listener(changed_rows)

    @contextlib.contextmanager
    def maintain(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection outside of any transaction while no thread begins to write; then bring the log back.

        A StorageError says so if this thread is in a transaction.
        """
        registry.refuse_in_transaction(self.path, "this")
        with self.snapshot():  # so that the schema is one that can be relied on
            pass
        with translated_errors(self.path), self._wal.queue:
            with self._lease() as connection:
                yield connection
            self._wal.bring_back()
        self._wal.wait_for_idleness()

    @property
    def transaction(self) -> Transaction | None:
        """The transaction of whoever writes by this pool, if anybody does."""
        return None if self._transaction is None else self._transaction()

    def own_transaction(self) -> Transaction | None:
        """Return the transaction that the caller is in, if any."""
        self._connections.refuse_if_forked_in_use()  # else a child would go on with the transaction of its parent
        transaction = self.transaction
        return transaction if transaction is not None and transaction.is_callers() else None

    def _begin_reading(self, connection: sqlite3.Connection, *, watched: bool = True) -> None:
        connection.execute("BEGIN")
        if watched:
            self._watch_schema(connection, lambda: connection.execute("BEGIN"))

    def _begin(self, transaction: Transaction) -> None:
        self._connections.refuse_if_unusable()
        waiting.refuse_to_wait_for_oneself(self.path, registry.transaction_on(self.path))
        deadline = time.monotonic() + WRITE_LOCK_SECONDS
        with self._wal.queue:
            transaction.connection = connection = self._connections.take(transaction.use)
            self._begin_immediate(connection, deadline)
            self._watch_schema(connection, lambda: self._begin_immediate(connection, deadline))
            self._transaction = weakref.ref(transaction)

    def _begin_immediate(self, connection: sqlite3.Connection, deadline: float) -> None:
        with self._wal.queue:
            waiting.take_write_lock(connection, self.path, deadline - time.monotonic(), registry.transaction_on)

    @contextlib.contextmanager
    def _ending(self, transaction: Transaction) -> Iterator[None]:
        """Take the connection of a transaction back when it ends, without what was not committed."""
        try:
            yield
        except BaseException as error:
            if spoils(error) and transaction.connection is not None:
                self._connections.shut(transaction.connection)
            raise
        finally:
            if self.transaction is transaction:
                self._transaction = None
            connection, transaction.connection = transaction.connection, None
            if connection is not None:
                self._connections.put_back(transaction.use, connection)

    def _watch_schema(self, connection: sqlite3.Connection, begin: Callable[[], object]) -> None:
        """Compare the schema if it has changed; repair what can be repaired, and begin the transaction again."""
        while self._watch is not None and not self._watch.holds(connection):
            if self._watch.compare(connection):
                connection.rollback()
                self._begin_immediate(connection, time.monotonic() + WRITE_LOCK_SECONDS)
                self._watch.repair(connection)
                connection.execute("COMMIT")
                begin()

    # Freshness ----------------------------------------------------------------------------------------------------

    def data_version(self) -> tuple[int, ...]:
        """Return a value that differs after every commit of any connection and after a swap of the file.

        It costs microseconds, so it can be read before every question.
        """
        self._connections.refuse_if_unusable()
        with translated_errors(self.path), self._lock:
            keeper = self._connections.take_open("keeper")
            self._keepers += keeper is None
            with self._connections.lent("keeper", keeper) as keeper:
                return (self._keepers, *keeper.execute("PRAGMA data_version").fetchone())

    # Connections --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _lease(self) -> Iterator[Connection]:
        reader = self._free_reader() or self._wait_for_reader()
        try:
            with self._connections.lent("reader", reader):
                yield reader
        finally:
            self._lent.discard(reader)
            if self._given_back.qsize() < self.size:  # enough to wake all who wait, and perhaps nobody does
                self._given_back.put(None)

    def _wait_for_reader(self) -> Connection:
        started = time.monotonic()
        self.waits += 1
        try:
            while (left := started + self.timeout - time.monotonic()) > 0:
                with contextlib.suppress(queue.Empty):
                    self._given_back.get(timeout=min(left, _RECHECK_SECONDS))
                if (reader := self._free_reader()) is not None:
                    return reader
        finally:
            self.longest_wait = max(self.longest_wait, time.monotonic() - started)
        gc.collect()  # one that was lost in an exception may be held by a cycle through its traceback
        if (reader := self._free_reader()) is not None:
            return reader
        raise PoolTimeoutError(
            f"no free connection to {self.path} within {self.timeout:g} s: all {self.size} are in use; "
            "give them back sooner or open the store with a larger pool_size"
        )

    def _free_reader(self) -> Connection | None:
        with self._lock:  # a fork holds it, so that nothing is lent meanwhile
            if self.in_use >= self.size:
                return None
            self._connections.refuse_if_unusable()
            reader = self._connections.take("reader")
            self._lent.add(reader)
            return reader

    @property
    def in_use(self) -> int:
        """How many readers are lent at this moment."""
        return len(self._lent)

    # End of life --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connections; those in use close when they are returned. Closing twice is fine."""
        self._connections.closed = True
        if not self._connections.forked_in_use:
            _end(self._connections, self._wal if self._wal.stop() else None, self._folder)

    def before_fork(self) -> None:
        """Close what is open, so that the child inherits nothing."""
        own = self.transaction
        patience = 0.0 if own is not None and own.owner == Owner.here() else _FORK_PATIENCE_SECONDS
        deadline = time.monotonic() + patience
        self._log_waits = self._wal.stop()
        self._queue_held = self._wal.queue.acquire(timeout=patience)
        self._lock.acquire()
        self._connections.shut_idle()
        while len(self._connections) and time.monotonic() < deadline:
            time.sleep(0.001)
            self._connections.shut_idle()

    def after_fork_in_parent(self) -> None:
        """Open for business again."""
        self._lock.release()
        if self._queue_held:
            self._wal.queue.release()
        if self._log_waits:
            self._wal.wait_for_idleness()

    def after_fork_in_child(self) -> None:
        """Start empty; connections in use are never touched again, because closing them would touch the file."""
        transaction = self.transaction
        if transaction is not None:
            transaction.connection = None
        self._connections.leave_to_parent()
        self._wal.reset()
        self._reset()


def _leave(connections: OpenConnections, wal: WriteAheadLog, folder: TemporaryFolder | None) -> None:
    """Close what belonged to a pool that nobody holds any more.

    This happens in any thread, between any two of its steps, so it waits for no lock: if there may be a log to be
    copied back, a thread is there that waits to do so, and does all of this.
    """
    connections.closed = True
    if not (connections.forked_in_use or wal.hand_over(partial(_end, connections, wal, folder))):
        _end(connections, None, folder)


def _end(connections: OpenConnections, wal: WriteAheadLog | None, folder: TemporaryFolder | None) -> bool:
    """Close the connections, after the log that may be left, and remove the folder if there is one; return True."""
    if wal is not None and folder is None:  # others may have the file open, so that SQLite itself leaves the log
        wal.bring_back_if_idle()
    connections.shut_idle()
    if folder is not None:
        folder.remove()
    return True


def _reopened(path: Path, *arguments: Any) -> ConnectionPool:
    if not path.exists():  # a new one would answer as if nothing had ever been saved
        raise StorageError(f"{path} does not exist here; a pickled store reopens its database by path")
    return ConnectionPool(path, *arguments)
