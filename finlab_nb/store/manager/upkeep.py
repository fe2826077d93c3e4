"""What keeps a store sound, and tells how it is."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from finlab_nb.records import arguments
from finlab_nb.store import check, checkpoint, compacting, loading
from finlab_nb.store.manager.base import Base, timed
from finlab_nb.store.statistics import size_of


class Upkeep(Base):
    """Checking, copying, compacting and statistics."""

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

    @timed
    def snapshot(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Copy the store, as it is at one moment, to a single file that is complete and verified.

        It is the way to copy a store that is open: to another machine, into a folder that is synchronised, for DuckDB
        or another program. Others can save meanwhile. The copy is a store of its own, with the id of this one and a
        cache of its own.

        Parameters
        ----------
        path
            The new file, in a folder that exists. It appears there when it is complete.
        overwrite
            Whether an existing file is replaced.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        StorageError
            If there is a file and `overwrite` is False, the file is a database in use, this thread is in a transaction,
            the copy is not sound, or the disk is full; what was there is as it was.
        ValueError
            If an argument is wrong.
        """
        from finlab_nb.store.backup.making import snapshot

        target, replacing = arguments.path("path", path), arguments.flag("overwrite", overwrite)
        return snapshot(self.pool, target, overwrite=replacing)

    @timed
    def compact(self, *, progress: bool = True) -> dict[str, int]:
        """Give the space of what was deleted back to the disk.

        Others can read meanwhile, in any process, and saves wait until it is done: about a second for 100 MB that are
        live. Ctrl-C, a kill or a full disk leaves everything as it was.

        Parameters
        ----------
        progress
            Show a bar if it takes more than a second.

        Returns
        -------
        dict
            freed: the bytes by which the database is smaller than before; pending: those that its file keeps, because
            somebody is reading, until that has ended and the store is saved to, compacted again or closed.

        Raises
        ------
        StorageError
            If this thread is in a transaction, another program writes for too long, or there is no room: for a while it
            takes the bytes that are live once beside the database, and once in the folder for temporary files.
        ValueError
            If an argument is wrong.
        """
        return compacting.compact(self.pool, progress=arguments.flag("progress", progress))

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
            "files": {"database": size_of(self.path), "wal": size_of(f"{self.path}-wal")},
            "last_backup": last_backup,
            "sqlite": {"version": sqlite3.sqlite_version, "wal_reset_bug": checkpoint.may_corrupt()},
        }
