"""The segments of one store: which exist, which are still valid, and which of them are used.

A segment that does not match the database, or whose rows are not what was written, is not used. A restore gives the
store a new generation and thus a new folder.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

from finlab_nb.query.columns import Table
from finlab_nb.query.replica.segment_files import Fingerprint, Segment

_FINGERPRINT_ROWS: Final = 32


def stale_buckets(segment: Segment, stamps: Mapping[int, int]) -> set[int]:
    """Return the buckets of a segment whose rows were edited since, given the database's current stamps."""
    low, high = segment.first >> segment.bits, segment.last >> segment.bits
    return {
        bucket
        for bucket in stamps.keys() | segment.stamps.keys()
        if low <= bucket <= high and stamps.get(bucket) != segment.stamps.get(bucket)
    }


def choose(found: Iterable[Segment], stamps: Mapping[int, int]) -> tuple[Segment, ...]:
    """Return segments that do not overlap, in order: preferably the longest, and those with the fewest edits."""
    chosen: list[Segment] = []
    ranked = sorted(found, key=lambda one: (one.first - one.last, len(stale_buckets(one, stamps)), one.path.name))
    for segment in ranked:
        if all(segment.last < other.first or other.last < segment.first for other in chosen):
            chosen.append(segment)
    return tuple(sorted(chosen, key=lambda one: one.first))


def fingerprint_of(source: sqlite3.Connection, table: Table, first: int, last: int) -> Fingerprint:
    """Return the owners at some rowids of a range, which lie closer together towards its end, where copies diverge."""
    places = sorted({max(first, last - (1 << step) + 1) for step in range(_FINGERPRINT_ROWS)})
    return {place: _owner(source, table, place) for place in places}


def belongs(source: sqlite3.Connection, table: Table, segment: Segment, stamps: Mapping[int, int]) -> bool:
    """Tell whether the database still has the segment's fingerprint, except for rows that were edited since."""
    stale = stale_buckets(segment, stamps)
    return all(
        _owner(source, table, place) == owner
        for place, owner in segment.fingerprint.items()
        if place >> segment.bits not in stale
    )


def _owner(source: sqlite3.Connection, table: Table, place: int) -> str | None:
    query = (
        f"SELECT CASE typeof({table.owner}) WHEN 'text' THEN CAST({table.owner} AS BLOB) END "
        f"FROM ({table.select_raw('t.rowid = ?')})"
    )
    row = source.execute(query, (place,)).fetchone()
    try:
        return None if row is None or row[0] is None else str(row[0], "utf-8")
    except UnicodeDecodeError:  # as in the copy
        return None
