"""How a backup is made, or a copy that stands for itself: copied, verified, and only then given its name.

The copy is made within one read transaction of a separate pool, which is open only for that long, so writers can go on
meanwhile. That pool prepares nothing: a file of an older schema or of the original layer is backed up as it is.
The copy grows under a temporary name in the backup folder: a file there with the name of a backup is whole.

The lock file ``.backup.writing.lock`` belongs to the backup in progress. Temporary files that exist while the lock is
free were left by a killed backup.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from finlab_nb.errors import BadDataWarning, StorageError, warn
from finlab_nb.records.days import utc_text
from finlab_nb.store.backup import files
from finlab_nb.store.connection import translated_errors
from finlab_nb.store.file_lock import FileLock
from finlab_nb.store.forks import TemporaryFolder
from finlab_nb.store.fsync import flush_folder, flushed, translated_os_errors
from finlab_nb.store.integrity import inspected, state_of
from finlab_nb.store.pool import ConnectionPool
from finlab_nb.store.registry import is_open_here, refuse_in_transaction
from finlab_nb.store.schema import NEW_GENERATION

_LOCK: Final = ".backup.writing.lock"
_PATIENCE_SECONDS: Final = 120.0
_NOTE: Final = "UPDATE store_state SET last_backup = ?, last_backup_at = ?"
_COPY_SETTINGS: Final = ("PRAGMA synchronous = OFF", "PRAGMA cache_size = -16384")

_log = logging.getLogger(__name__)


def make_backup(database: Path, folder: Path, *, compress: bool) -> Path:
    """Make a verified backup of the present moment and return its file."""
    refuse_in_transaction(database, "a backup")
    store_id_of(database)  # refuses what is no database of ours before anything is written
    with translated_os_errors(folder), writing(folder):
        path, created_at = _make(database, folder, compress=compress)
    try:  # to tell `StorageManager.statistics`; read-only files and older schemas have no place for it
        with contextlib.closing(ConnectionPool(database)) as pool, pool.write() as connection:
            connection.execute(_NOTE, (str(path), utc_text(created_at)))
    except StorageError as error:
        _log.info("%s was backed up to %s, but cannot note it: %s", database, path, error)
    return path


def store_id_of(database: Path) -> str | None:
    """Return the id of a store, None before schema 4.

    Raises
    ------
    StorageError
        If there is no such file, or it cannot be read or is no database of finlab_nb.
    """
    with translated_os_errors(database):
        if not database.is_file():
            raise StorageError(f"{database} does not exist or is a folder; db_path must name the database file")
        if database.stat().st_size == 0:
            raise StorageError(f"{database} is empty; save something before it is backed up")
    with contextlib.closing(ConnectionPool(database)) as pool, pool.snapshot(watched=False) as connection:
        store_id: str | None = state_of(connection, database)["store_id"]
    return store_id


@contextlib.contextmanager
def writing(folder: Path, patience: float = _PATIENCE_SECONDS) -> Iterator[None]:
    """Be the only one in any process that makes or removes backups in the folder; leave nothing unfinished there."""
    lock = FileLock(folder / _LOCK)
    if not lock.acquire(patience):
        raise StorageError(
            f"{lock.holder()} has been writing a backup into {folder} for {patience:.0f} s; wait for it or end it"
        )
    try:
        files.remove_leftovers(folder)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                files.remove_leftovers(folder)
    finally:
        lock.release()


def _make(database: Path, folder: Path, *, compress: bool) -> tuple[Path, datetime]:
    created_at = _free_moment(folder)
    name = files.PREFIX + created_at.strftime(files.STAMP)
    made = copy = folder / f"{name}{files.PLAIN}{files.TEMPORARY}"
    with contextlib.closing(ConnectionPool(database)) as pool:
        copy_moment(pool, copy)
    summary, digest = inspected(copy)
    if summary.schema_faults:
        warn(
            f"another program has changed the tables of {database}: {'; '.join(summary.schema_faults)}. It is backed "
            f"up as it is, to {name}, which cannot be restored; undo the change, or restore an earlier backup",
            BadDataWarning,
        )
    manifest = {"created_at": created_at.isoformat(), "database": str(database), "plain_size": copy.stat().st_size}
    if compress:
        made = folder / f"{name}{files.COMPRESSED}{files.TEMPORARY}"
        made.touch(exist_ok=False)
        digest = files.pack(copy, made, digest)
    final = made.with_suffix("")
    files.publish(made, final, manifest | asdict(summary) | {"sha256": digest})
    return final, created_at


def copy_moment(pool: ConnectionPool, target: Path) -> None:
    """Copy one moment of a database, with all that is committed, into a new single file without a log.

    Writers go on meanwhile. The copy is on the disk when this returns, but nobody has checked it yet; see
    `finlab_nb.store.integrity.inspected`. What a failure leaves of it is for the caller to remove.

    Raises
    ------
    StorageError
        If the file cannot be written, or there is one of that name.
    """
    with translated_os_errors(target), translated_errors(target):
        target.touch(exist_ok=False)
        with flushed(target), contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:
            for setting in _COPY_SETTINGS:
                copy.execute(setting).fetchall()
            with pool.snapshot(watched=False) as source:  # briefly: the log of the database grows until this ends
                source.backup(copy, pages=-1)  # all at once, which is fastest
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()


def _free_moment(folder: Path) -> datetime:
    """Return this second, or the next one for which there is no backup yet."""
    while True:
        moment = datetime.now(UTC)
        if not any(folder.glob(f"{files.PREFIX}{moment.strftime(files.STAMP)}{files.PLAIN}*")):
            return moment
        time.sleep(0.02)


# A copy that stands for itself ------------------------------------------------------------------------------------


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
