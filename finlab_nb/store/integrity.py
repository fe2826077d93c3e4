"""Whether a copy of a database is sound, and what it holds. Never use it on a live database: it bypasses the locks."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from finlab_nb.errors import StorageError
from finlab_nb.store import schema, watch
from finlab_nb.store.connection import translated_errors
from finlab_nb.store.fsync import beside

_MAPPED_BYTES: Final = 1 << 31
_READ_SETTINGS: Final = (
    f"PRAGMA mmap_size = {_MAPPED_BYTES}",
    # The values of a row were checked when it was written. Here the question is whether the copy is sound, and checking
    # the dates of millions of trades would take most of the time.
    "PRAGMA ignore_check_constraints = ON",
)
_TABLES: Final = (
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1"
)
_STATE: Final = "SELECT * FROM store_state"  # older schemas have fewer columns
_MOST_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Summary:
    """What a sound database holds; one of the original layer has schema 0, no generation and no store_id."""

    schema_version: int
    store_id: str | None
    generation: str
    change_counter: int
    rows: dict[str, int]
    schema_faults: list[str]  # what another program has changed in the tables


def inspected(path: Path) -> tuple[Summary, str]:
    """Check integrity and foreign keys of a database file that nobody uses; return its summary and its SHA-256.

    Raises
    ------
    StorageError
        If the file is damaged, belongs to another program or comes from a newer release.
    """
    with _open_copy(path) as connection:
        summary = _identify(connection, path)
        with beside(lambda _: check_integrity(path)):  # SQLite works outside the interpreter's lock: both at once
            # The check itself fails if a key that others refer to is gone. Adopting the original layer mends its keys.
            checked = summary.schema_version > 0 and not summary.schema_faults
            orphans = connection.execute("PRAGMA foreign_key_check").fetchmany(_MOST_SHOWN) if checked else []
            summary.rows.update(row_counts(connection))
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
    if orphans:
        shown = "; ".join(
            f"row {row} of {table} names a row of {parent} that is missing" for table, row, parent, _ in orphans
        )
        raise StorageError(
            f"{path} breaks foreign keys: {shown}. Another program has written or removed rows without "
            "PRAGMA foreign_keys = ON; remove or complete them (PRAGMA foreign_key_check lists them)"
        )
    return summary, digest


@contextlib.contextmanager
def _open_copy(path: Path) -> Iterator[sqlite3.Connection]:
    # Immutable: no lock, no journal, and a stale log beside the file is not read.
    with translated_errors(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
        with contextlib.closing(connection):
            for setting in _READ_SETTINGS:
                connection.execute(setting).fetchall()
            yield connection


def row_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the number of rows of each table."""
    counts = {}
    for (table,) in connection.execute(_TABLES).fetchall():
        quoted = '"' + table.replace('"', '""') + '"'
        (counts[table],) = connection.execute(f"SELECT count(*) FROM {quoted}").fetchone()
    return counts


def compare_rows(path: Path, expected: dict[str, int]) -> None:
    """Refuse a copy without as many rows as its original, which an integrity check would not notice."""
    with _open_copy(path) as connection:
        found = row_counts(connection)
    if found != expected:
        table = next(name for name in expected if found.get(name) != expected[name])
        raise StorageError(
            f"{path} has {found.get(table)} rows in {table} instead of {expected[table]}; check the disk"
        )


def check_integrity(path: Path) -> None:
    """Refuse a copy that SQLite finds damaged."""
    with _open_copy(path) as connection:
        found = [text for (text,) in connection.execute("PRAGMA integrity_check").fetchmany(_MOST_SHOWN)]
    if found != ["ok"]:
        raise StorageError(f"{path} is damaged: {'; '.join(found)}; use another backup")


def state_of(connection: sqlite3.Connection, path: Path) -> dict[str, Any]:
    """Return what store_state says, and the schema_version; refuse a file that is no database of ours."""
    version = schema.found_in(connection, path)
    if version == schema.EMPTY:
        raise StorageError(f"{path} is no database of finlab_nb; it was left alone")
    state = {"store_id": None, "generation": "", "change_counter": 0}
    if version != schema.ORIGINAL:
        cursor = connection.execute(_STATE)
        state |= dict(zip((name for name, *_ in cursor.description), cursor.fetchone(), strict=True))
    return state | {"schema_version": max(version, 0)}


def _identify(connection: sqlite3.Connection, path: Path) -> Summary:
    state = state_of(connection, path)
    # An older schema is compared after its upgrade.
    newest = state["schema_version"] == schema.newest_version()
    faults = list(map(str, watch.differences(connection).faults)) if newest else []
    known = {field: state[field] for field in ("schema_version", "store_id", "generation", "change_counter")}
    return Summary(**known, rows={}, schema_faults=faults)
