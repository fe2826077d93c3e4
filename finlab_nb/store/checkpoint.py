"""When the write-ahead log goes back into the database, and how that is done safely.

SQLite 3.7.0 to 3.51.2 can corrupt a database if one connection checkpoints at the moment when another one restarts
the log (fixed in 3.51.3, 3.50.7 and 3.44.6). So automatic checkpoints are off, and a checkpoint runs only while
this process itself holds the write lock: then no writer, in any process, can restart the log.

The checkpoint is PASSIVE, because RESTART and TRUNCATE wait for readers for as long as the busy timeout, with every
writer waiting behind them. It is due when the log has outgrown `WAL_BYTES`, and when nobody has written for a while.
Copying the log back is not enough to keep it small: only a write that finds no reader in the log restarts it and cuts
it to this size (`journal_size_limit`). If readers always overlap, no such moment comes by itself, and the log would
grow without end. Two steps create one:

1. While the write lock is held, nothing is added to the log. Readers of older moments end, new ones read the newest
   moment, and so the checkpoint can complete.
2. Readers that begin after a complete checkpoint read only the database. When the earlier ones have ended, an empty
   write restarts the log.

Each step lasts as long as the readers do. First there is no waiting, which is enough if nobody is reading at that
moment. If that was in vain and the log is twice as large as it should be, both steps together wait, and longer the
larger it is, because a long log slows every reader. A reader that stays open longer, such as a copy of the whole
database, lets the log grow until an attempt after its end.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from finlab_nb.store.statistics import size_of

WAL_BYTES: Final = 8 * 2**20
_GROWTH: Final = 1.25  # of the log since the last attempt, before the next one
_RETRY_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 0.05
_MOST_PATIENCE: Final = 6  # the wait grows with the log, from twice its bound up to this many times
_POLL_SECONDS: Final = 0.002
_LOCK_SECONDS: Final = 0.02
# From the first version without the bug to the next one with it: https://sqlite.org/wal.html#walresetbug
_REPAIRED: Final = (((3, 44, 6), (3, 45)), ((3, 50, 7), (3, 51)), ((3, 51, 3), (4,)))


def may_corrupt(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Tell whether a version of SQLite has the bug, so that no program may use it for automatic checkpoints."""
    return not any(first <= version < end for first, end in _REPAIRED)


class Checkpoints:
    """Decides after each commit whether a checkpoint is due, and runs it."""

    def __init__(self, database: Path) -> None:
        self._log = f"{database}-wal"
        self._size_at_last = 0
        self._last = 0.0

    def due(self) -> bool:
        """Tell whether the log is too large, and has grown or aged since the last attempt."""
        size = size_of(self._log)
        if size <= WAL_BYTES:
            self._size_at_last = 0
            return False
        return size >= self._size_at_last * _GROWTH or time.monotonic() >= self._last + _RETRY_SECONDS

    def run(self, writer: sqlite3.Connection, copier: sqlite3.Connection) -> bool:
        """Copy the log into the database on `copier`, while `writer` is in a write transaction, and restart a long log.

        Returns
        -------
        bool
            Whether all was copied. If not, others are writing or reading, and it is left for later.
        """
        size, self._last = size_of(self._log), time.monotonic()
        urgent = size >= 2 * WAL_BYTES
        patience = _PATIENCE_SECONDS * min(size / (2 * WAL_BYTES), _MOST_PATIENCE)
        deadline = self._last + (_LOCK_SECONDS if urgent else 0.0)
        with no_waiting(writer):
            while not begin(writer):
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_POLL_SECONDS)
            try:
                copied = _run(writer, copier, 0.0, restart=size > WAL_BYTES)
                if urgent and size_of(self._log) > WAL_BYTES and (writer.in_transaction or begin(writer)):
                    copied = _run(writer, copier, time.monotonic() + patience, restart=True)
                return copied
            finally:
                writer.rollback()
                self._size_at_last = size_of(self._log)


def _run(writer: sqlite3.Connection, copier: sqlite3.Connection, deadline: float, *, restart: bool) -> bool:
    complete = False
    while True:
        was_complete, (busy, complete) = complete, _copy_back(copier)
        if complete and (was_complete or not restart):
            break
        if busy or (not complete and time.monotonic() >= deadline):
            return False
        if not complete:
            time.sleep(_POLL_SECONDS)
        writer.rollback()
        if not begin(writer):
            return complete
    if restart:  # `writer` began after a complete checkpoint, and is not in the log itself
        time.sleep(max(0.0, deadline - time.monotonic()))
        _write_nothing(writer)
    return True


@contextlib.contextmanager
def no_waiting(connection: sqlite3.Connection) -> Iterator[None]:
    """Let the connection give up at once if another one holds a lock."""
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        yield
    finally:
        with contextlib.suppress(sqlite3.ProgrammingError):  # after Ctrl-C it may already be closed
            connection.execute(f"PRAGMA busy_timeout = {patience}")


def begin(writer: sqlite3.Connection) -> bool:
    """Take the write lock, unless another connection has it."""
    try:
        writer.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if is_busy(error):
            return False
        raise
    return True


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Tell whether SQLite refused because another connection holds a lock."""
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _copy_back(keeper: sqlite3.Connection) -> tuple[bool, bool]:
    """Copy back what readers allow, and tell whether another program was doing so, and whether all was copied."""
    busy, frames, copied = keeper.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return bool(busy), not busy and frames == copied


def _write_nothing(writer: sqlite3.Connection) -> None:
    """Commit a write that changes nothing."""
    (version,) = writer.execute("PRAGMA user_version").fetchone()
    writer.execute(f"PRAGMA user_version = {version}")
    writer.execute("COMMIT")
