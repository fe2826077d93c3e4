"""How a backup is made: copied, verified, and only then given its name.

The copy is made within one read transaction of a separate pool, which is open only for that long, so writers can go on
meanwhile. It grows under a temporary name in the backup folder: a file there with the name of a backup is whole.

The lock file ``.backup.writing.lock`` belongs to the backup in progress. Temporary files that exist while the lock is
free were left by a killed backup.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from finlab_nb.errors import BadDataWarning, StorageError, warn
from finlab_nb.records.days import utc_text
from finlab_nb.store import upgrade
from finlab_nb.store.backup import files
from finlab_nb.store.connection import translated_errors
from finlab_nb.store.file_lock import FileLock
from finlab_nb.store.fsync import flushed, translated_os_errors
from finlab_nb.store.integrity import inspected
from finlab_nb.store.pool import ConnectionPool
from finlab_nb.store.registry import refuse_in_transaction

_LOCK: Final = ".backup.writing.lock"
_PATIENCE_SECONDS: Final = 120.0
_POOL_SIZE: Final = 2
_POOL_TIMEOUT: Final = 5.0
_NOTE: Final = "UPDATE store_state SET last_backup = ?, last_backup_at = ?"
_COPY_SETTINGS: Final = ("PRAGMA synchronous = OFF", "PRAGMA cache_size = -16384")

_log = logging.getLogger(__name__)


def make_backup(database: Path, folder: Path, *, compress: bool) -> Path:
    """Make a verified backup of the present moment and return its file."""
    refuse_in_transaction(database, "a backup")
    _check_database(database)
    make_folder(folder)
    with translated_os_errors(folder), writing(folder):
        files.remove_leftovers(folder)
        try:
            path, created_at = _make(database, folder, compress=compress)
        finally:
            with contextlib.suppress(OSError):
                files.remove_leftovers(folder)
    _note_in_store(database, path, created_at)
    return path


def _note_in_store(database: Path, backup: Path, created_at: datetime) -> None:
    """Tell `StorageManager.statistics` about it; the backup is valid even if this fails."""
    try:
        with contextlib.closing(_pool(database)) as pool, pool.write() as connection:
            connection.execute(_NOTE, (str(backup), utc_text(created_at)))
    except StorageError:
        _log.warning("%s cannot note that it was backed up to %s", database, backup, exc_info=True)


def _pool(database: Path) -> ConnectionPool:
    return ConnectionPool(database, _POOL_SIZE, _POOL_TIMEOUT, upgrade.prepare)


def make_folder(folder: Path) -> None:
    """Create the folder of the backups if it is missing."""
    with translated_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def clean_up(folder: Path) -> None:
    """Remove what killed backups left, unless a backup is in progress, which does so itself."""
    lock = FileLock(folder / _LOCK)
    if lock.acquire():
        try:
            with translated_os_errors(folder):
                files.remove_leftovers(folder)
        finally:
            lock.release()


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be the only one in any process that makes or removes backups in the folder."""
    lock = FileLock(folder / _LOCK)
    if not lock.acquire(_PATIENCE_SECONDS):
        raise StorageError(
            f"{lock.holder()} has been writing a backup into {folder} for {_PATIENCE_SECONDS:.0f} s; wait for it or "
            "end it"
        )
    try:
        yield
    finally:
        lock.release()


def _make(database: Path, folder: Path, *, compress: bool) -> tuple[Path, datetime]:
    created_at = _free_moment(folder)
    name = files.PREFIX + created_at.strftime(files.STAMP)
    plain, packed = folder / (name + files.PLAIN), folder / (name + files.COMPRESSED)
    copy, packing = _temporary(plain), _temporary(packed)
    with contextlib.closing(_pool(database)) as pool:
        copy_moment(pool, copy)
    summary, digest = inspected(copy)
    if summary.schema_faults:
        warn(
            f"another program has changed the tables of {database}: {'; '.join(summary.schema_faults)}. It is backed "
            f"up as it is, to {name}, which cannot be restored; undo the change, or restore an earlier backup",
            BadDataWarning,
        )
    if not compress:
        files.publish(copy, plain, digest, summary, database, created_at)
        return plain, created_at
    packing.touch(exist_ok=False)
    digest = files.pack(copy, packing)
    files.publish(packing, packed, digest, summary, database, created_at)
    return packed, created_at


def _temporary(path: Path) -> Path:
    return path.with_name(path.name + files.TEMPORARY)


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
                source.backup(copy, pages=-1)  # all at once: in steps it would restart at every commit of others
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()


def _free_moment(folder: Path) -> datetime:
    """Return this second, or the next one for which there is no backup yet."""
    while True:
        moment = datetime.now(UTC)
        name = files.PREFIX + moment.strftime(files.STAMP)
        if not any((folder / (name + end)).exists() for end in (files.PLAIN, files.COMPRESSED)):
            return moment
        time.sleep(0.02)


def _check_database(database: Path) -> None:
    with translated_os_errors(database):
        if not database.exists():
            raise StorageError(f"{database} does not exist; check db_path, nothing was backed up")
        if database.is_dir():
            raise StorageError(f"{database} is a folder; db_path must name the database file")
        if database.stat().st_size == 0:
            raise StorageError(f"{database} is empty; save something before it is backed up")
