"""When the write-ahead log goes back into the database, and how that is done safely.

SQLite 3.7.0 to 3.51.2 can corrupt a database if one connection checkpoints at the moment when another one restarts
the log (fixed in 3.51.3, 3.50.7 and 3.44.6). So automatic checkpoints are off, and a checkpoint runs only while
this process itself holds the write lock: then no writer, in any process, can restart the log.

The checkpoint is PASSIVE, because RESTART and TRUNCATE wait for readers for as long as the busy timeout, with every
writer waiting behind them. It is due when the log has outgrown `WAL_BYTES`. Copying the log back is not enough to keep
it small: only a write that finds no reader in the log restarts it and cuts it to this size (`journal_size_limit`). If
readers always overlap, no such moment comes by itself, and the log would grow without end. Two steps create one:

1. While the write lock is held, nothing is added to the log. Readers of older moments end, new ones read the newest
   moment, and so the checkpoint can complete.
2. Readers that begin after a complete checkpoint read only the database. When the earlier ones have ended, an empty
   write restarts the log.

Each step lasts as long as the readers do. At first there is no waiting, which is enough if nobody is reading at that
moment. Once the log is twice as large as it should be, both steps together wait up to `_PATIENCE_SECONDS`, and longer
the more the log has outgrown its bound, because a long log slows every reader. A reader that stays open longer, such as
a copy of the whole database, lets the log grow until an attempt after its end.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

WAL_BYTES: Final = 8 * 2**20
_GROWTH_BYTES: Final = 2**20
_RETRY_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 0.05
_MOST_PATIENCE: Final = 6  # the wait grows with a log over four times its bound, up to this many times
_POLL_SECONDS: Final = 0.002
_LOCK_SECONDS: Final = 0.5


class Checkpoints:
    """Decides after each commit whether a checkpoint is due, and runs it."""

    def __init__(self, database: Path) -> None:
        self._log = f"{database}-wal"
        self._size_at_last = 0
        self._size_at_patient = WAL_BYTES
        self._last = 0.0

    def due(self) -> bool:
        """Tell whether the log is too large, and has grown or aged since the last attempt."""
        size = self._size()
        if size <= WAL_BYTES:
            self._size_at_last, self._size_at_patient = 0, WAL_BYTES
            return False
        grown = size >= self._size_at_last + _GROWTH_BYTES
        return grown or time.monotonic() >= self._last + _RETRY_SECONDS

    @property
    def lock_seconds(self) -> float:
        """How long to wait for the write lock, which others want too: not at all until it is urgent."""
        return _LOCK_SECONDS if self._size() >= 2 * WAL_BYTES else 0.0

    def run(self, writer: sqlite3.Connection, keeper: sqlite3.Connection, most: int) -> None:
        """Copy the log into the database on `keeper`, while `writer` is in a write transaction, and restart the log.

        A log of at most `most` bytes is left as it is: another process was quicker. If readers stay in the log, it is
        left for a later commit. The transaction of `writer` is ended.
        """
        size = self._size()
        if size <= most:
            writer.rollback()
            return
        self._last = time.monotonic()
        deadline = self._last + self._patience(size)
        complete = False
        with no_waiting(writer):
            while True:
                was_complete, (busy, complete) = complete, _copy_back(keeper)
                if was_complete and complete:  # so `writer` began after it, and is not in the log itself
                    time.sleep(max(0.0, deadline - time.monotonic()))
                    _write_nothing(writer)
                    break
                if busy or (not complete and time.monotonic() >= deadline):
                    break
                if not complete:
                    time.sleep(_POLL_SECONDS)
                writer.rollback()
                if not begin(writer):
                    break
        writer.rollback()
        if busy:  # another program is at it, and needs the write lock for a moment
            time.sleep(max(0.0, deadline - time.monotonic()))
        self._size_at_last = self._size()

    def _patience(self, size: int) -> float:
        if size < self._size_at_patient + WAL_BYTES:
            return 0.0
        self._size_at_patient = size
        return _PATIENCE_SECONDS * min(max(size / (4 * WAL_BYTES), 1), _MOST_PATIENCE)

    def _size(self) -> int:
        try:
            return os.stat(self._log).st_size  # noqa: PTH116 - after every commit, and this is the fast way
        except OSError:
            return 0


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
