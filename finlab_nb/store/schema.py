"""The schema of the database file: its versions, and how a file is recognised.

The numbered files in `migrations` are the only DDL. SQLite's `application_id` marks a file as ours and `user_version`
holds the number of the newest migration applied. A file of the original storage layer has no such marks; its five
tables identify it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from finlab_nb.errors import StorageError
from finlab_nb.records.tables import TABLES

APPLICATION_ID: Final = int.from_bytes(b"FLnb", "big")
# The tables of the original layer, each with its last column: those added since stand after it.
ORIGINAL_TABLES: Final = {
    table: TABLES[table].names[: TABLES[table].names.index(last) + 1]
    for table, last in {
        "strategies": "parent_strategy_id",
        "iterations": "timestamp",
        "metrics": "total_trades",
        "suggestions": "learning_references",
        "trades": "profit_loss",
    }.items()
}

# What a file without a schema of ours is, in the place of a version.
EMPTY: Final = 0
ORIGINAL: Final = -1  # of the storage layer before finlab_nb

# Invalidates all caches of earlier contents of the file.
NEW_GENERATION: Final = "UPDATE store_state SET generation = lower(hex(randomblob(8)))"

_OBJECTS: Final = "SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
_NEEDS: Final = "SELECT needs_release FROM store_state"


@cache
def migrations() -> tuple[str, ...]:
    """Return the migrations as SQL text, in order."""
    folder = resources.files("finlab_nb.store") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return tuple(file.read_text(encoding="utf-8") for file in files)


def newest_version() -> int:
    """Return the schema version that this release writes."""
    return len(migrations())


def found_in(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema version of a file; EMPTY or ORIGINAL if it has none.

    Raises
    ------
    StorageError
        If the file comes from a newer release or belongs to another program.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application == APPLICATION_ID:
        if version > newest_version():
            raise StorageError(_too_new(connection, path, version))
        return int(version)
    objects = connection.execute(_OBJECTS).fetchall()
    if not (application or version or objects):
        return EMPTY
    if not (application or version) and _is_original(connection, objects):
        return ORIGINAL
    names = ", ".join(name for _, name in objects[:3])
    holds = f"it holds {names}" if names else f"its application_id is {application}"
    raise StorageError(f"{path} is the database of another program ({holds}); it was not touched")


def statements(script: str) -> Iterator[str]:
    """Split a script into statements, whose ends SQLite itself recognises, including those of triggers."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _too_new(connection: sqlite3.Connection, path: Path, version: int) -> str:
    needs = None
    with contextlib.suppress(sqlite3.Error, TypeError):
        (needs,) = connection.execute(_NEEDS).fetchone()
    release = f"finlab_nb {needs} or later" if needs else "a newer finlab_nb"
    return (
        f"{path} needs {release} (it has schema {version}; this release knows {newest_version()}): upgrade with "
        "'pip install --upgrade finlab-nb'; the file was not touched"
    )


def _is_original(connection: sqlite3.Connection, objects: list[tuple[str, str]]) -> bool:
    """Tell whether a file has exactly the tables and columns of the original layer; it may have its own indexes."""
    if {name for kind, name in objects if kind != "index"} != set(ORIGINAL_TABLES):
        return False
    return all(
        {row[1] for row in connection.execute(f"PRAGMA table_info({table})")} == set(columns)
        for table, columns in ORIGINAL_TABLES.items()
    )
