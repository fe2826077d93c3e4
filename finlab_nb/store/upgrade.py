"""Create the schema in a new file, upgrade an older one, adopt one of the original layer.

An existing file is first copied to ``<database>.before-schema-<n>-YYYYMMDD_HHMMSS`` beside it, and the copy is checked.
All the rest happens in one transaction together with the new version number, so that a failed migration leaves the
file as it was.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from finlab_nb.errors import StorageError, UpgradeWarning, warn
from finlab_nb.store import adoption, integrity, schema, triggers
from finlab_nb.store.fsync import flush_folder, translated_os_errors

_OLDER_DEFINITIONS: Final = (1, 2)  # the schemas whose metrics were computed by other definitions
_LEAST_SQLITE: Final = (3, 34, 0)  # the first version with the trigram index

_log = logging.getLogger(__name__)


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make a file ready for use; a file that is ready is only looked at.

    Raises
    ------
    StorageError
        If the file comes from a newer release or belongs to another program, or cannot be copied; it is left
        untouched.
    """
    if sqlite3.sqlite_version_info < _LEAST_SQLITE:
        raise StorageError(
            f"Python has SQLite {sqlite3.sqlite_version} here; finlab_nb needs 3.34 or later: use a newer Python"
        )
    connection.execute("BEGIN")  # one moment: another process may be creating the file
    try:
        version = schema.found_in(connection, path)
    finally:
        connection.rollback()
    if version != schema.newest_version():
        # Rows of ours that another program has orphaned stay as they are.
        connection.execute(f"PRAGMA foreign_keys = {'ON' if version in (schema.EMPTY, schema.ORIGINAL) else 'OFF'}")
        try:
            _upgrade(connection, path)
        finally:
            connection.execute("PRAGMA foreign_keys = ON")
    # Nearly always it is in this mode; a copy put in place by hand may have another.
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StorageError(
            f"{path} cannot be used with a write-ahead log (journal mode {mode!r}); network folders and some file "
            "systems do not allow it: put the database on a local disk"
        )


def _upgrade(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    recomputed = None
    try:
        # Checked again under the write lock: another process may have been quicker.
        version = schema.found_in(connection, path)
        if version == schema.newest_version():
            return
        if version != schema.EMPTY:
            copy = _copy_beside(connection, path)
            _log.info("%s is brought to schema %s; its copy is %s", path, schema.newest_version(), copy)
        if version == schema.ORIGINAL:
            adoption.adopt(connection, _migrate)
        else:
            _migrate(connection, version)
            if version in _OLDER_DEFINITIONS:
                from finlab_nb.store.recomputing import recompute

                recomputed = recompute(connection)
        triggers.create(connection)
        connection.execute("COMMIT")
    finally:
        connection.rollback()  # of what was not committed
    if recomputed is not None and (recomputed.metrics or recomputed.given):
        warn(
            f"{path} was brought to schema {schema.newest_version()}, whose metrics follow other definitions: "
            f"{recomputed.metrics} metrics of {recomputed.iterations} iterations were computed anew from their curves, "
            f"and {recomputed.given} that were given by the caller were kept (the view given_metrics has them beside "
            f"what the curves give); {copy.name} is the file as it was",
            UpgradeWarning,
        )


def _migrate(connection: sqlite3.Connection, version: int = 0) -> None:
    for script in schema.migrations()[version:]:
        for statement in schema.statements(script):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {schema.newest_version()}")
    connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")


def _copy_beside(connection: sqlite3.Connection, path: Path) -> Path:
    """Copy the file while we hold the write lock, check the copy, and only then give it its name."""
    from finlab_nb.store.backup.making import copy_moment
    from finlab_nb.store.pool import ConnectionPool

    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    final = path.with_name(f"{path.name}.before-schema-{schema.newest_version()}-{stamp}")
    growing = final.with_name(f"{final.name}.tmp")
    try:
        # By another connection, because one that has begun to write cannot be a source.
        with contextlib.closing(ConnectionPool(path)) as pool:
            copy_moment(pool, growing)
        with translated_os_errors(growing):
            integrity.check_integrity(growing)
            integrity.compare_rows(growing, integrity.row_counts(connection))
            growing.replace(final)
            flush_folder(final.parent)
    except (StorageError, sqlite3.Error) as error:
        raise StorageError(
            f"{path} must be brought to schema {schema.newest_version()}, but the copy that is made first failed: "
            f"{error}; nothing was changed"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            growing.unlink(missing_ok=True)
    return final
