"""Copies of an open store that stand for themselves."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from finlab_nb.errors import StorageError
from finlab_nb.store.backup.making import copy_moment
from finlab_nb.store.connection import translated_errors
from finlab_nb.store.forks import TemporaryFolder
from finlab_nb.store.fsync import flush_folder, translated_os_errors
from finlab_nb.store.integrity import inspected
from finlab_nb.store.pool import ConnectionPool
from finlab_nb.store.registry import is_open_here, refuse_in_transaction
from finlab_nb.store.schema import NEW_GENERATION


def snapshot(pool: ConnectionPool, path: Path, *, overwrite: bool) -> Path:
    """See `StorageManager.snapshot`."""
    refuse_in_transaction(pool.path, "a copy")
    with translated_os_errors(path):
        _check_target(path, overwrite=overwrite)
        with TemporaryFolder("snapshot", path.parent) as folder:  # beside it: a rename reaches no other disk
            copy = folder.path / path.name
            copy_moment(pool, copy)
            with translated_errors(copy), contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as connection:
                connection.execute(NEW_GENERATION)  # it may take a way of its own, and no cache of the old way fits
            inspected(copy)
            _check_target(path, overwrite=overwrite)
            copy.replace(path)
            flush_folder(path.parent)
    return path


def _check_target(path: Path, *, overwrite: bool) -> None:
    if is_open_here(path) or any(path.with_name(path.name + suffix).exists() for suffix in ("-wal", "-journal")):
        raise StorageError(f"{path} is a database in use, or has the log of one beside it; name another file")
    if path.exists() and not overwrite:
        raise StorageError(f"{path} exists already; name another file, or replace it by overwrite=True")
