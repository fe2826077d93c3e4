"""Put a backup in place of a database: either the old one or the new one is there, never a mixture.

The danger is the old database's log beside the new file: SQLite would replay the log into the new file, and not even
an integrity check would notice.
"""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from finlab_nb.errors import StorageError
from finlab_nb.records import arguments
from finlab_nb.store import registry
from finlab_nb.store.backup import files
from finlab_nb.store.checkpoint import is_busy
from finlab_nb.store.connection import translated_errors
from finlab_nb.store.fsync import flush_folder, translated_os_errors
from finlab_nb.store.schema import NEW_GENERATION

_SIDE_FILES: Final = ("-wal", "-shm", "-journal")
_LOCK_PATIENCE_SECONDS: Final = 2.0
_LEFTOVER_SECONDS: Final = 3600.0


def restore_backup(
    backup_path: str | os.PathLike[str], db_path: str | os.PathLike[str], *, force: bool = False
) -> list[Path]:
    """Verify a backup and put it in place of a database, whose files are kept under other names.

    Close the stores, labs and programs that have the database open first; stores and labs that nobody holds any more
    have closed themselves. The restored store has a new generation, so all caches of the old one are invalid.

    Parameters
    ----------
    backup_path
        A backup, compressed or not; without a manifest it is accepted after the checks of integrity and foreign keys.
        One of an older schema or of the original layer is put in place as it is, and upgraded when it is next opened.
    db_path
        The database to replace, or a path without a file.
    force
        Replace the database even if it is open elsewhere. The restored store lacks everything that was committed since
        the backup; stores of finlab_nb switch to the restored file by themselves, other programs must be restarted.

    Returns
    -------
    list of Path
        The replaced files, now ``<database>.replaced-YYYYMMDD_HHMMSS`` and its ``-wal``, ``-shm`` and ``-journal``.

    Raises
    ------
    StorageError
        If the backup is damaged, is not a backup or holds tables that another program had changed, the database is in
        use, or the folder cannot be written. The database is as it was.
    ValueError
        If an argument is wrong.
    """
    source, database = arguments.path("backup_path", backup_path), arguments.path("db_path", db_path)
    forced = arguments.flag("force", force)
    _check_paths(source, database)
    if registry.is_open_here(database) and not forced:
        raise StorageError(f"{database} is open in this process; close() its stores and labs first, or use force=True")
    with translated_os_errors(database), _prepared(source, database) as fresh:
        if not database.exists():
            return _swap(fresh, database)
        with _held(database, forced):
            return _swap(fresh, database)


def _check_paths(source: Path, database: Path) -> None:
    with translated_os_errors(source):
        if not source.is_file():
            raise StorageError(
                f"{source} does not exist or is a folder; BackupScheduler.list_backups() shows the backups there are"
            )
    with translated_os_errors(database):
        if database.is_dir():
            raise StorageError(f"{database} is a folder; db_path must name the database file")
        if not database.parent.is_dir():
            raise StorageError(f"the folder {database.parent} does not exist; create it first")
        if database.exists() and database.samefile(source):
            raise StorageError(f"{source} is the database itself; name a backup of it")
    files.refuse_live(source)


@contextlib.contextmanager
def _prepared(source: Path, database: Path) -> Iterator[Path]:
    """Make the new database ready for use, next to its final place; it is removed if it never gets there."""
    _remove_leftovers(database)
    fresh = database.with_name(f".{database.name}.restoring-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        summary = files.unpack(files.described(source), fresh)
        if summary.schema_faults:
            raise StorageError(
                f"{source} was made after another program had changed the tables: {'; '.join(summary.schema_faults)}; "
                "restore an earlier backup"
            )
        with (
            translated_errors(fresh),
            contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as connection,
        ):
            connection.execute("PRAGMA synchronous = FULL")
            if summary.generation:
                connection.execute(NEW_GENERATION)
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        if database.exists():
            shutil.copymode(database, fresh)
        yield fresh
    finally:
        for suffix in ("", *_SIDE_FILES):
            fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)


def _remove_leftovers(database: Path) -> None:
    """Remove what killed restores have left, except young files, which may belong to a restore in progress."""
    for path in database.parent.glob(f".{glob.escape(database.name)}.restoring-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                path.unlink()


# Holding the old database -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _held(database: Path, force: bool) -> Iterator[None]:
    """Lock the old database against all others, with its log copied back into it.

    Every open connection in WAL mode holds a shared lock on the file. So the exclusive lock is available only if there
    is no other connection, and while it is held no one can read or write. When the holder closes after the swap, SQLite
    sees that another file has the name and touches neither that file nor its log.
    """
    with translated_errors(database), contextlib.ExitStack() as stack:
        try:
            holder = stack.enter_context(contextlib.closing(_connect(database)))
            holder.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
            if _begin(holder, "BEGIN EXCLUSIVE"):
                holder.execute("COMMIT")
                # After this the file is complete without its log, so that a crash during the swap loses nothing.
                holder.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            elif not force:
                raise StorageError(
                    f"{database} is open in another program, or in a connection of this one; close it there and "
                    "restore again, or use force=True to replace it all the same"
                )
            else:
                holder.close()
                _stop_writers(database, stack)
        except sqlite3.DatabaseError as error:
            # The file is damaged, perhaps the reason for this restore: SQLite can neither lock nor complete it.
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) and not force:
                raise
            stack.close()
        if os.name == "nt":  # Windows cannot rename an open file
            stack.close()
        yield


def _stop_writers(database: Path, stack: contextlib.ExitStack) -> None:
    """Keep others from writing during a forced swap, and copy the log back as far as their readers allow."""
    writer = stack.enter_context(contextlib.closing(_connect(database)))
    if _begin(writer, "BEGIN IMMEDIATE"):
        copier = stack.enter_context(contextlib.closing(_connect(database)))
        copier.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _connect(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0)


def _begin(connection: sqlite3.Connection, statement: str) -> bool:
    """Begin a transaction, and tell whether others allowed it; this waits for their short queries."""
    deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
    while True:
        try:
            connection.execute(statement)
            return True
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            if time.monotonic() > deadline:
                return False
        time.sleep(0.02)


# The swap ---------------------------------------------------------------------------------------------------------


def _swap(fresh: Path, database: Path) -> list[Path]:
    """Put the new file in place of the old one, which goes aside with its log.

    The order matters. First the log and journal are moved aside, durably: no old log can now get beside the new file,
    and the old file is complete without it, because `_held` has copied the log back. Then the old file gets a second
    name, and one atomic rename puts the new file in place of the first name. A crash before that rename leaves the old
    database in use, a crash after it the new one.

    The log can hold more than the file when it is moved aside only if the database is damaged, or if `force` overrode
    readers in other programs. Then a crash between the two renames leaves the old file without its last commits, which
    are in the log that was moved aside.
    """
    aside = _free_name(database)
    moved = []
    for suffix in _SIDE_FILES:
        old = database.with_name(database.name + suffix)
        with contextlib.suppress(FileNotFoundError):
            moved.append(old.rename(aside.with_name(aside.name + suffix)))
    flush_folder(database.parent)
    if database.exists():
        try:
            aside.hardlink_to(database)
        except OSError:  # a file system without links: for an instant there is no database
            database.rename(aside)
        moved.insert(0, aside)
    fresh.replace(database)
    flush_folder(database.parent)
    return moved


def _free_name(database: Path) -> Path:
    stamp = datetime.now(UTC).strftime(files.STAMP)
    name, number = f"{database.name}.replaced-{stamp}", 1
    while any(database.with_name(name + suffix).exists() for suffix in ("", *_SIDE_FILES)):
        number += 1
        name = f"{database.name}.replaced-{stamp}-{number}"
    return database.with_name(name)
