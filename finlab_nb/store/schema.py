"""The schema of the database file: create it, bring it up to date, refuse what is not ours.

The numbered files in `migrations` are the only DDL. SQLite's `application_id` marks a file as ours and `user_version`
holds the number of the newest migration applied; each migration is committed together with its number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from finlab_nb.errors import StorageError

APPLICATION_ID: Final = int.from_bytes(b"FLnb", "big")
_OTHER_OBJECTS: Final = (
    "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name LIMIT 3"
)


@cache
def migrations() -> tuple[str, ...]:
    """Return the migrations as SQL text, the first one first."""
    folder = resources.files("finlab_nb.store") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return tuple(file.read_text(encoding="utf-8") for file in files)


def newest_version() -> int:
    """Return the schema version that this release writes."""
    return len(migrations())


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the schema in a new file or bring an older one up to date.

    Raises
    ------
    StorageError
        If the file comes from a newer release or belongs to another program; it is left untouched.
    """
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if _version(connection, path) == newest_version() and mode == "wal":
        return  # a copy that was put in place by hand may have another mode
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StorageError(
            f"{path} cannot be used with a write-ahead log (journal mode {mode!r}); network folders and some file "
            "systems do not allow it: put the database on a local disk"
        )
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked again under the write lock: another process may have been quicker.
        for number in range(_version(connection, path), newest_version()):
            for statement in _statements(migrations()[number]):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {newest_version()}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.rollback()


def _version(connection: sqlite3.Connection, path: Path) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application == APPLICATION_ID:
        if version > newest_version():
            raise StorageError(
                f"{path} was written by a newer finlab_nb (schema {version}; this release knows {newest_version()}): "
                "upgrade with 'pip install --upgrade finlab-nb'; the file was not touched"
            )
        return int(version)
    found = [name for (name,) in connection.execute(_OTHER_OBJECTS)]
    if application or version or found:
        holds = f"it holds {', '.join(found)}" if found else f"its application_id is {application}"
        raise StorageError(f"{path} is the database of another program ({holds}); it was not touched")
    return 0


def _statements(script: str) -> Iterator[str]:
    """Split a script at the ends of its statements, which SQLite itself recognises, triggers included."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
