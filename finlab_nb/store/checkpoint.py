"""When the write-ahead log goes back into the database, and how that is done safely.

SQLite 3.7.0 to 3.51.2 can corrupt a database when one connection checkpoints at the moment when another one starts
the log anew (fixed in 3.51.3, 3.50.7 and 3.44.6). So automatic checkpoints are off, and a checkpoint runs only while
this process itself holds the write lock: then no writer, in any process, can start the log anew.

It is PASSIVE, because RESTART and TRUNCATE wait for readers with every writer waiting behind them. It is due when the
log has outgrown `WAL_BYTES`. Readers that begin after a complete checkpoint no longer read from the log, so the next
writer starts it anew, and `journal_size_limit` cuts the file back to this size. A reader that stays open for long
merely lets the log grow until it ends; then the next attempt succeeds.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Final

WAL_BYTES: Final = 8 * 2**20
_GROWTH_BYTES: Final = 2**20
_RETRY_SECONDS: Final = 1.0


class Checkpoints:
    """Decides after each commit whether a checkpoint is due, and runs it."""

    def __init__(self, database: Path) -> None:
        self._log = f"{database}-wal"
        self._size_at_last = 0
        self._last = 0.0

    def due(self) -> bool:
        """Tell whether the log is too large, and has grown or aged since the last attempt."""
        try:
            size = os.stat(self._log).st_size  # noqa: PTH116 - after every commit, and this is the fast way
        except OSError:
            return False
        if size <= WAL_BYTES:
            self._size_at_last = 0
            return False
        grown = size >= self._size_at_last + _GROWTH_BYTES
        return grown or time.monotonic() >= self._last + _RETRY_SECONDS

    def run(self, writer: sqlite3.Connection, keeper: sqlite3.Connection) -> None:
        """Copy the log into the database on `keeper`, while `writer` holds the write lock.

        When another process is writing it is left for the next commit.
        """
        self._last = time.monotonic()
        (patience,) = writer.execute("PRAGMA busy_timeout").fetchone()
        writer.execute("PRAGMA busy_timeout = 0")
        try:
            writer.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return
            raise
        finally:
            writer.execute(f"PRAGMA busy_timeout = {patience}")
        try:
            keeper.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._size_at_last = os.stat(self._log).st_size  # noqa: PTH116
        finally:
            writer.rollback()
