"""Giving free space back to the disk.

VACUUM works in place: it copies what is live to a temporary file, and from there through the log into the database. So
readers in all processes keep their moment and see no difference, a kill or a full disk leaves the database as it was,
and nothing that others save can get lost, as it would if another file took the place of this one. The file becomes
shorter when the whole log has been copied back, which readers of older moments can delay.

SQLite reserves the right to renumber rows of tables without an INTEGER PRIMARY KEY, by which the search index and the
caches know them. It makes no use of it where a table has an index, as all of ours have; if it ever does, both are built
anew.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

from finlab_nb.errors import StorageError
from finlab_nb.records.tables import TABLES
from finlab_nb.store.fsync import translated_os_errors
from finlab_nb.store.pool import ConnectionPool
from finlab_nb.store.progress import ProgressBar
from finlab_nb.store.schema import NEW_GENERATION
from finlab_nb.store.statistics import size_of
from finlab_nb.store.watch import FILL_SEARCH

_PAGES: Final = """
    SELECT page_count * page_size, freelist_count * page_size
    FROM pragma_page_count, pragma_freelist_count, pragma_page_size"""
_ROWIDS: Final = " UNION ALL ".join(
    f"SELECT total(rowid) FROM {table.name}" for table in TABLES.values() if table.row_key is None
)
_BUILD_ANEW: Final = ("BEGIN IMMEDIATE", *FILL_SEARCH, NEW_GENERATION, "COMMIT")
_POLL_SECONDS: Final = 0.1
# Where SQLite puts temporary files (https://sqlite.org/tempfiles.html, 5).
_TEMPORARY: Final = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp")  # noqa: S108


def compact(pool: ConnectionPool, *, progress: bool) -> dict[str, int]:
    """See `StorageManager.compact`."""
    with pool.maintain() as connection:
        before, free = connection.execute(_PAGES).fetchone()
        if free:
            _check_room(pool.path, before - free)
            numbers = connection.execute(_ROWIDS).fetchall()
            _vacuum(connection, pool.path, before - free, shown=progress)
            if connection.execute(_ROWIDS).fetchall() != numbers:  # or another program has saved meanwhile
                for statement in _BUILD_ANEW:
                    connection.execute(statement)
    with pool.read() as connection:
        needed, _ = connection.execute(_PAGES).fetchone()
    return {"freed": max(0, before - needed), "pending": max(0, size_of(pool.path) - needed)}


def _check_room(database: Path, live: int) -> None:
    """Refuse to begin what would fill a disk: the log and the temporary copy each grow to the size of what is live."""
    folders = (database.parent, _temporary_folder())
    with translated_os_errors(database):
        disks = [folder.stat().st_dev for folder in folders]
        for folder, disk in zip(folders, disks, strict=True):
            needed, free = live * disks.count(disk), shutil.disk_usage(folder).free
            if free < needed:
                raise StorageError(
                    f"compacting {database} takes {needed / 1e6:.0f} MB in {folder} for a while, and {free / 1e6:.0f} "
                    "MB are free there; free some space and try again, nothing was changed (SQLITE_TMPDIR, set before "
                    "Python starts, names the folder of the temporary copy)"
                )


def _temporary_folder() -> Path:
    usable = (one for one in _TEMPORARY if one and os.path.isdir(one) and os.access(one, os.W_OK | os.X_OK))  # noqa: PTH112
    return Path(next(usable, tempfile.gettempdir()) if os.name != "nt" else tempfile.gettempdir())


def _vacuum(connection: sqlite3.Connection, database: Path, live: int, *, shown: bool) -> None:
    """Compact in a thread, so that meanwhile the bar moves and Ctrl-C can end it.

    SQLite tells nothing of its way. The bar stands for the second half of the work, in which all goes into the log.
    """
    log = f"{database}-wal"
    before = size_of(log)
    with ThreadPoolExecutor(1) as thread, ProgressBar("compact", live, "B", shown=shown) as bar:
        vacuum = thread.submit(connection.execute, "VACUUM")
        try:
            while wait([vacuum], _POLL_SECONDS).not_done:
                bar.update(min(live, max(0, size_of(log) - before)) - bar.n)
        except BaseException:
            connection.interrupt()
            raise
    vacuum.result()
