"""What is known about the copy of one table, and how it is brought up to date from the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from finlab_nb.query.replica import delta
from finlab_nb.query.replica.ranges import Range, bucket_range, common, gaps
from finlab_nb.query.replica.segment_files import Segment, check
from finlab_nb.query.replica.segments import stale_buckets
from finlab_nb.query.tables import Table, quoted

if TYPE_CHECKING:
    import duckdb

_MOST_TRACKED: Final = 64  # edited buckets
LEAST_ROWID: Final = -(2**63)
Stamps = Mapping[int, int]


@dataclass(frozen=True)
class Copy:
    """The copy of a table at one moment: segments, and a delta with what they do not hold.

    Attributes
    ----------
    stamps
        The edit stamps at that moment.
    seen
        The last rowid at that moment.
    held
        The columns that the delta may hold something in.
    has_bad_values
        Whether the delta holds rows with values that broke the rules.
    version
        The moment; None if nothing is copied.
    """

    table: Table
    segments: tuple[Segment, ...] = ()
    stamps: Stamps = field(default_factory=dict)
    seen: int = LEAST_ROWID - 1
    held: frozenset[str] = frozenset()
    has_bad_values: bool = False
    version: tuple[int, ...] | None = None

    def edited(self, stamps: Stamps) -> list[Range]:
        """Return the rowids of the buckets that were edited since, as far as they had been seen."""
        buckets = [one for one in stamps.keys() | self.stamps.keys() if stamps.get(one) != self.stamps.get(one)]
        ranges = (
            common(bucket_range(one, self.table.bucket_bits), (LEAST_ROWID, self.seen)) for one in sorted(buckets)
        )
        return [(first, last) for first, last in ranges if first <= last]

    @cached_property
    def shown_segments(self) -> list[tuple[Segment, set[int]]]:
        """The segments, each with the buckets that the delta holds instead of it."""
        return [(one, stale_buckets(one, self.stamps)) for one in self.segments]


def caught_up(connection: duckdb.DuckDBPyConnection, source: sqlite3.Connection, copy: Copy, new: Copy) -> Copy:
    """Bring the delta and the view from one moment to a new one, of which all is known but what the delta holds."""
    if copy.version is None or copy.segments != new.segments:
        delta.create(connection, new.table)
        held = frozenset(delta.read(connection, source, new.table, _left_to_delta(new, LEAST_ROWID, new.seen)))
        is_shown = False
    else:
        edited = copy.edited(new.stamps)
        if not edited and copy.seen == new.seen:
            return replace(new, held=copy.held, has_bad_values=copy.has_bad_values)
        delta.remove(connection, new.table, edited)
        missing = [one for part in [*edited, (copy.seen + 1, new.seen)] for one in _left_to_delta(new, *part)]
        held = copy.held | delta.read(connection, source, new.table, missing)
        is_shown = not edited
    if not is_shown:
        # Those from which DuckDB reads the names of columns now.
        whole = [one for one, stale in new.shown_segments if not stale]
        check(whole[:1] + [one for one, stale in new.shown_segments if stale])
        delta.show(connection, new.table, new.shown_segments)
    return replace(new, held=held, has_bad_values=delta.has_bad_values(connection, new.table))


def _left_to_delta(copy: Copy, first: int, last: int) -> Iterator[Range]:
    """Yield the ranges between two rowids whose rows no segment holds as they are now."""
    if first <= last:
        yield from gaps(copy.segments, first, last)
    for segment, stale in copy.shown_segments:
        for bucket in sorted(stale):
            found = common(bucket_range(bucket, segment.bits), common((segment.first, segment.last), (first, last)))
            if found[0] <= found[1]:
                yield found


class Tracker:
    """Finds the owners whose rows of a table differ between two moments in some columns.

    Parameters
    ----------
    connection
        DuckDB, in the transaction that brings the table from one moment to the other.
    copy, new
        The table at both moments.
    columns
        What counts, the owner first.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, copy: Copy, new: Copy, columns: Sequence[str]) -> None:
        self._connection = connection
        self._copy = copy
        self._new = new
        self._columns = ", ".join(map(quoted, columns))
        self._edited = copy.edited(new.stamps)
        self.is_possible = copy.version is not None and len(self._edited) <= _MOST_TRACKED
        if self.is_possible and self._edited:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE rows_before AS {self._rows()}")

    def owners(self) -> set[str | None] | None:
        """Return the owners, now that the table is at the new moment; None if that would take too long."""
        if not self.is_possible:
            return None
        if not self._edited and self._copy.seen == self._new.seen:
            return set()
        appended = f"SELECT {self._columns} FROM copied.{self._copy.table.name}_rows WHERE row_id > {self._copy.seen}"
        differing = [appended]
        if self._edited:
            now = self._rows()
            differing += [f"({now} EXCEPT ALL FROM rows_before)", f"(FROM rows_before EXCEPT ALL {now})"]
        owner = quoted(self._copy.table.owner)
        found = self._connection.execute(f"SELECT DISTINCT {owner} FROM ({' UNION ALL '.join(differing)})").fetchall()
        return {one for (one,) in found}

    def _rows(self) -> str:
        ranges = " OR ".join(f"row_id BETWEEN {first} AND {last}" for first, last in self._edited)
        return f"SELECT {self._columns} FROM copied.{self._copy.table.name}_rows WHERE {ranges}"
