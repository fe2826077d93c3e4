"""What one read transaction of the pool tells about the store, as far as the replica needs it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from finlab_nb.query.replica.ranges import Range
from finlab_nb.query.tables import TABLES, Table
from finlab_nb.store.broken_text import fetched

_STATE: Final = "SELECT generation FROM store_state"
_EDITED: Final = "SELECT table_name, bucket, stamp FROM edited_rows WHERE typeof(bucket) = 'integer'"
_ENDS: Final = "SELECT '{name}', (SELECT min(rowid) FROM {name}), (SELECT max(rowid) FROM {name})"
_ZONES: Final = """
    SELECT timezone FROM iterations WHERE timezone IS NOT NULL
    UNION SELECT timezone FROM series_names WHERE timezone IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class StoreState:
    """The state of some tables.

    Attributes
    ----------
    generation, schema_version
        What segments must have been made under.
    stamps
        The edit stamp of each edited bucket, by table.
    ends
        The first and the last rowid of each table, None if it is empty.
    """

    generation: str
    schema_version: int
    stamps: Mapping[str, dict[int, int]]
    ends: Mapping[str, Range | None]


def state_of(source: sqlite3.Connection, names: Iterable[str]) -> StoreState:
    """Return the state of some tables."""
    (generation,) = source.execute(_STATE).fetchone()
    (schema,) = source.execute("PRAGMA schema_version").fetchone()  # counts every change by any program
    stamps: dict[str, dict[int, int]] = {name: {} for name in TABLES}
    for name, bucket, stamp in fetched(source, _EDITED):
        if name in stamps:  # another program may have written any name
            stamps[name][bucket] = stamp
    ends = {
        name: None if first is None else (first, last)
        for name, first, last in source.execute(" UNION ALL ".join(_ENDS.format(name=name) for name in names))
    }
    return StoreState(generation, schema, stamps, ends)


def zones_in(source: sqlite3.Connection) -> list[str]:
    """Return the names of the zones that rows of any table may be in."""
    return [zone for (zone,) in fetched(source, _ZONES)]


def are_many(source: sqlite3.Connection, table: Table, ranges: Iterable[Range], most: int) -> bool:
    """Tell whether these ranges hold more than so many rows; the rowids may be far apart."""
    found = list(ranges)
    if sum(last - first + 1 for first, last in found) <= most:
        return False
    places = " UNION ALL ".join(f"SELECT 1 FROM {table.name} WHERE rowid BETWEEN ? AND ?" for _ in found)
    values = [end for one in found for end in one]
    ((rows,),) = source.execute(f"SELECT count(*) FROM (SELECT * FROM ({places}) LIMIT {most + 1})", values)
    return bool(rows > most)


def have_rows(source: sqlite3.Connection, table: Table, first: int, last: int) -> bool:
    """Tell whether there is a row between two rowids."""
    query = f"SELECT 1 FROM {table.name} WHERE rowid BETWEEN ? AND ? LIMIT 1"
    return source.execute(query, (first, last)).fetchone() is not None
