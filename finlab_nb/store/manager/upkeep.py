"""What keeps a store sound, and tells how it is."""

from __future__ import annotations

import sqlite3
from typing import Any

from finlab_nb.records import arguments
from finlab_nb.store import check, checkpoint, loading
from finlab_nb.store.manager.base import Base
from finlab_nb.store.statistics import file_sizes


class Upkeep(Base):
    """Checking and statistics."""

    def check(self, limit: int = 1000) -> list[dict[str, Any]]:
        """Return the stored values that today's rules would not accept.

        They are kept, but NULL in DataFrames, except ids. Such values come from other programs that write to the file,
        or from a file of the original layer.

        Parameters
        ----------
        limit
            At most this many findings per table.

        Returns
        -------
        list of dict
            table, row (its rowid), column, value, problem. If another program has changed the table itself, row and
            value are None, and so is the column if the problem concerns none; the table's values are not checked.

        Raises
        ------
        ValueError
            If the limit is not a whole number of at least 1.
        """
        most = arguments.whole("limit", limit, 1)
        with self.pool.read(watched=False) as connection:
            return check.findings(connection, most)

    def statistics(self) -> dict[str, Any]:
        """Return how the store is used; collecting this costs a microsecond per call.

        Returns
        -------
        dict
            pool (size, in_use, waits: how often a caller waited for a connection, longest_wait in seconds), calls (by
            operation since the store was opened: count, mean and p95 in seconds), files (database and wal in bytes),
            last_backup (path, created_at) or None, sqlite (version; wal_reset_bug: whether it can damage a file when
            another program that uses it checkpoints by itself while a store writes).
        """
        with self.pool.read() as connection:
            last_backup = loading.last_backup(connection)
        return {
            "pool": {
                "size": self.pool.size,
                "in_use": self.pool.in_use,
                "waits": self.pool.waits,
                "longest_wait": self.pool.longest_wait,
            },
            "calls": self.timings.summary(),
            "files": file_sizes(self.path),
            "last_backup": last_backup,
            "sqlite": {"version": sqlite3.sqlite_version, "wal_reset_bug": checkpoint.may_corrupt()},
        }
