"""A write transaction: whose it is, its savepoints, and in which order they must be left."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from finlab_nb.errors import StorageError
from finlab_nb.store.connection import Connection


class Owner(NamedTuple):
    """Who is running: a thread and, in an event loop, the task that it is at."""

    thread: threading.Thread
    task: Any

    @classmethod
    def here(cls) -> Owner:
        """Return who asks."""
        asyncio = sys.modules.get("asyncio")  # where nobody has imported it, there are no tasks
        looping = asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001 - the fast way
        return cls(threading.current_thread(), asyncio.current_task() if asyncio is not None and looping else None)


class Transaction:
    """A write transaction of the thread and task that made this.

    Blocks that are entered within it are savepoints. They must be left in reverse order, by the owner: a generator or a
    coroutine that leaves elsewhere would commit, or roll back, what others have saved meanwhile.

    Parameters
    ----------
    path
        The file, for messages.
    use
        What it takes a connection for; see `OpenConnections.take`.
    """

    def __init__(self, path: Path, use: str) -> None:
        self.use = use
        self.owner = Owner.here()
        self.connection: Connection | None = None  # until it begins, and after its end
        self._path = path
        self._blocks: list[object] = []

    @property
    def begun(self) -> Connection:
        """The connection between begin and end."""
        assert self.connection is not None  # noqa: S101 - for the type checker
        return self.connection

    @property
    def goes_on(self) -> bool:
        """Whether it has neither been committed nor rolled back."""
        try:
            return self.connection is not None and self.connection.in_transaction
        except sqlite3.ProgrammingError:  # closed
            return False

    def is_callers(self) -> bool:
        """Tell whether the caller is in it.

        Raises
        ------
        StorageError
            If so, but it has been rolled back before its end.
        """
        if self.owner != Owner.here():
            return False
        if not self.goes_on:
            raise StorageError(
                f"the transaction on {self._path} has failed as a whole, nothing of it was saved; "
                "do away with the cause and begin it again"
            )
        return True

    @contextlib.contextmanager
    def whole(self) -> Iterator[Connection]:
        """Enclose everything that it consists of, and commit."""
        with self._block():
            yield self.begun
        self.begun.execute("COMMIT")

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[Connection]:
        """Enclose a part that may fail alone."""
        name = f"level_{len(self._blocks)}"
        self.begun.execute(f"SAVEPOINT {name}")
        try:
            with self._block():
                yield self.begun
        except BaseException:
            if self.goes_on:
                self.begun.execute(f"ROLLBACK TO {name}")
                self.begun.execute(f"RELEASE {name}")
            raise
        self.begun.execute(f"RELEASE {name}")

    @contextlib.contextmanager
    def _block(self) -> Iterator[None]:
        block = object()
        self._blocks.append(block)
        try:
            yield
        finally:
            in_order = self.owner == Owner.here() and self._blocks[-1:] == [block]
            self._blocks = self._blocks[: self._blocks.index(block)] if block in self._blocks else []
            if not in_order and self.goes_on:
                self.begun.rollback()
        if not in_order:
            raise StorageError(
                f"a block of a transaction on {self._path} was left by another thread or task than entered it, or "
                "before a block that was entered later (a generator or coroutine held it?); all of it was rolled "
                "back, nothing of it was saved"
            )
        self.is_callers()
