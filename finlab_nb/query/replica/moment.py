"""One moment of the replica, as a question sees it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import duckdb

from finlab_nb.query.replica import delta
from finlab_nb.query.replica.copies import Copy
from finlab_nb.query.replica.segment_files import Segment, check
from finlab_nb.query.results import SOURCES
from finlab_nb.query.tables import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

    from finlab_nb.query.results import Results

FEW_OWNERS: Final = 256  # for so many a question looks only where their rows can be


class ReplicaMoment:
    """The views at one moment; see `source.Moment`.

    Parameters
    ----------
    connection
        A connection of its own.
    copies
        What each table is made of.
    narrowed
        The raw rows of the owners that the question is about, of tables that are not copied yet.
    results
        What is in the wide table, if the question reads it.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        copies: Mapping[str, Copy],
        narrowed: Mapping[str, Iterable[pa.Table]],
        results: Results | None,
    ) -> None:
        self.connection = connection
        self._copies = copies
        self._narrowed = {name: f"narrowed_{name}" for name in narrowed}
        self._results = results
        self.is_closed = False
        connection.execute("BEGIN TRANSACTION")
        connection.execute("FROM copied.moment").fetchall()  # only now the moment is fixed
        for name, rows in narrowed.items():
            connection.execute(f"CREATE TEMP TABLE {self._narrowed[name]} ({TABLES[name].definition})")
            delta.insert(connection, self._narrowed[name], TABLES[name], rows)

    @property
    def results(self) -> Results:
        """See `Moment.results`."""
        assert self._results is not None  # noqa: S101
        return self._results

    def rows_of(self, table: str, owners: Sequence[str]) -> str:
        """See `Moment.rows_of`."""
        if table in self._narrowed:
            return f"{self._narrowed[table]} AS {table}"
        copy = self._copies[table]
        if not 0 < len(owners) <= FEW_OWNERS or not copy.segments:
            return table
        shown = [(one, stale) for one, stale in copy.shown_segments if one.holds_owner(owners)]
        check([one for one, _ in shown])
        return f"({delta.union(copy.table, shown, copy.table.names, with_delta=bool(copy.held))}) AS {table}"

    def held(self, table: str) -> set[str]:
        """See `Moment.held`."""
        copy = self._copies[table]
        if table in self._narrowed:
            return {column.name for column in copy.table.columns}
        return {name for held in (copy.held, *(one.held for one in copy.segments)) for name in held}

    def bad_values(self, tables: Collection[str]) -> dict[str, dict[str, int]]:
        """See `Moment.bad_values`."""
        found = {}
        for name in dict.fromkeys(with_sources(tables)):
            copy = self._copies[name]
            if name in self._narrowed:
                found[name] = delta.bad_values(self.connection, copy.table, self._narrowed[name])
            elif copy.has_bad_values or any(one.has_bad_values for one in copy.segments):
                check(copy.segments)
                found[name] = delta.bad_values(self.connection, copy.table, f"copied.{name}_rows")
        return {name: counts for name, counts in found.items() if counts}

    def segments(self) -> list[Segment]:
        """Return the segments that its views read."""
        return [one for copy in self._copies.values() for one in copy.segments]

    def close(self) -> None:
        """End it. Ending it twice is fine."""
        self.is_closed = True
        with contextlib.suppress(duckdb.Error):
            self.connection.execute("ROLLBACK")
        self.connection.close()


def with_sources(tables: Iterable[str]) -> list[str]:
    """Return the stored tables that some views are made of."""
    return [name for one in tables for name in (SOURCES if one == "results" else (one,))]
