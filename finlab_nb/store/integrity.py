"""Whether a copy of a database is sound, and what it holds. Never use it on a live database: it bypasses the locks."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from finlab_nb.errors import StorageError
from finlab_nb.store import schema, watch
from finlab_nb.store.connection import translated_errors

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
_STATE: Final = "SELECT generation, change_counter FROM store_state"
_MOST_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Summary:
    """What a sound database holds."""

    schema_version: int
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
    faults: list[BaseException] = []
    integrity = threading.Thread(target=_note_damage, args=(path, faults), daemon=True)
    with _open_copy(path) as connection:
        summary = _identify(connection, path)
        integrity.start()  # SQLite works outside the interpreter's lock, so both run at once
        try:
            # The check itself fails if a key that others refer to is gone.
            check = "PRAGMA foreign_key_check"
            orphans = [] if summary.schema_faults else connection.execute(check).fetchmany(_MOST_SHOWN)
            summary.rows.update(row_counts(connection))
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        finally:
            integrity.join()
    if faults:
        raise faults[0]
    if orphans:
        shown = "; ".join(
            f"row {row} of {table} names a row of {parent} that is missing" for table, row, parent, _ in orphans
        )
        raise StorageError(
            f"{path} breaks foreign keys: {shown}. Another program has written or removed rows without "
            "PRAGMA foreign_keys = ON; remove or complete them (PRAGMA foreign_key_check lists them)"
        )
    return summary, digest


def _note_damage(path: Path, faults: list[BaseException]) -> None:
    try:
        check_integrity(path)
    except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
        faults.append(error)


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


def _identify(connection: sqlite3.Connection, path: Path) -> Summary:
    version = schema.found_in(connection, path)
    if version in (schema.EMPTY, schema.ORIGINAL):
        raise StorageError(f"{path} is no database of finlab_nb; it was left alone")
    generation, counter = connection.execute(_STATE).fetchone()
    # An older schema is compared after its upgrade.
    faults = watch.differences(connection).faults if version == schema.newest_version() else ()
    return Summary(version, generation, counter, {}, list(map(str, faults)))
