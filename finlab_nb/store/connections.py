"""The open connections of this process to one file: opened, kept while nobody uses them, closed."""

from __future__ import annotations

import contextlib
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from finlab_nb.errors import StorageError, StoreClosedError
from finlab_nb.store import checkpoint, waiting
from finlab_nb.store.connection import PATIENCE_SECONDS, Connection, FileIdentity, connect, file_identity, spoils
from finlab_nb.store.forks import leave_to_parent
from finlab_nb.store.watch import SchemaWatch


class OpenConnections:
    """The connections to one file, by their use; those to a file that had its name before are closed when met.

    Parameters
    ----------
    path, prepare, watch
        As in `ConnectionPool`.
    """

    def __init__(
        self, path: Path, prepare: Callable[[sqlite3.Connection, Path], None] | None, watch: SchemaWatch | None
    ) -> None:
        self.closed = False
        self.forked_in_use = False
        self.path = path
        self._prepare = prepare
        self._watch = watch
        self._prepared: FileIdentity | None = None
        self._reset()

    def _reset(self) -> None:
        self._open: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._opening: list[None] = []  # one entry for each connection that a thread is opening
        # Not in use.
        self._stacks: dict[str, list[Connection]] = {use: [] for use in ("reader", "writer", "appender", "keeper")}

    def __len__(self) -> int:
        return len(self._open) + len(self._opening)

    def refuse_if_unusable(self) -> None:
        """Refuse to work after the end, or after a fork that inherited connections in use."""
        if self.closed:
            raise StoreClosedError(f"the store of {self.path} is closed; open it again")
        self.refuse_if_forked_in_use()

    def refuse_if_forked_in_use(self) -> None:
        """Refuse to work after a fork that inherited connections in use."""
        if self.forked_in_use:
            raise StorageError(
                f"this process was forked while a connection to {self.path} was in use, which SQLite does not "
                "survive; open the store in the child process, or start the process by 'spawn'"
            )

    @contextlib.contextmanager
    def lent(self, use: str, taken: Connection | None = None) -> Iterator[Connection]:
        """Lend a connection, or one that was taken already, until the end of the block or an error that spoils it."""
        connection = taken or self.take(use)
        try:
            yield connection
        except BaseException as error:
            if spoils(error):
                self.shut(connection)
            raise
        finally:
            self.put_back(use, connection)

    def first(self) -> Connection:
        """Open the first connection, which makes the file if there is none."""
        try:
            there = self.path.stat().st_size > 0
        except OSError:
            there = False
        return self.connect(create=not there)

    def take(self, use: str) -> Connection:
        """Return a connection to the present file, an open one if there is one.

        An appender looks for no parent of the rows that it inserts: of new iterations it has just inserted them itself.
        """
        connection = self.take_open(use)
        if connection is None:
            connection = self.connect()
            if use == "appender":
                connection.execute("PRAGMA foreign_keys = OFF")
        return connection

    def take_open(self, use: str) -> Connection | None:
        """Return an open connection to the present file, if there is one."""
        stack = self._stacks[use]
        with contextlib.suppress(IndexError):
            while True:
                connection = stack.pop()
                if connection.file == file_identity(self.path):
                    return connection
                self.shut(connection)
        return None

    def put_back(self, use: str, connection: Connection) -> None:
        """Keep a connection for the next one, outside of any transaction, unless it was shut."""
        if self.can_roll_back(connection):
            connection.rollback()
        if connection in self._open:
            self._stacks[use].append(connection)
        if self.closed:
            self.shut_idle()

    def can_roll_back(self, connection: Connection) -> bool:
        """Tell whether a connection is in a transaction of this process."""
        try:
            return connection.in_transaction and not self.forked_in_use  # a fork leaves a transaction to the parent
        except sqlite3.ProgrammingError:  # closed: a context cut off by Ctrl-C ends after the ones around it
            return False

    def shut(self, connection: Connection) -> None:
        """Close a connection, except one of the parent of a fork."""
        if not self.forked_in_use:
            try:
                connection.close()
            finally:
                self._open.discard(connection)

    def shut_idle(self) -> None:
        """Close all that are not in use."""
        for stack in self._stacks.values():
            with contextlib.suppress(IndexError):
                while not self.forked_in_use:
                    self.shut(stack.pop())

    def leave_to_parent(self) -> None:
        """Start empty in a forked child; what is open is never touched again, because closing it touches the file."""
        self.forked_in_use = self.forked_in_use or len(self) > 0
        leave_to_parent(*self._open)
        self._reset()

    def connect(self, *, create: bool = False) -> Connection:
        """Open a connection to a file that is prepared."""
        # Read before opening: if the file is swapped in between, the next use notices.
        file = None if create else file_identity(self.path)
        if file != self._prepared:
            self.shut_idle()  # connections of one process share what they know of the log
        self._opening.append(None)
        try:
            connection = connect(self.path, create=create)
            self._open.add(connection)
        finally:
            self._opening.pop()
        try:
            if file is None or file != self._prepared:
                self._make_ready(connection)
                if self._watch is not None:
                    self._watch.forget()
                self._prepared = file or file_identity(self.path)
            connection.file = file
            swapped = file is not None and file != file_identity(self.path)
        except BaseException:
            self.shut(connection)
            raise
        if swapped:  # it has the old file and the new file's log: close it before it can write
            self.shut(connection)
            return self.connect()
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
            time.sleep(waiting.pause(0.0))
