"""What DuckDB shows at one moment, and how it is brought to the next one."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import duckdb

from finlab_nb.query import results
from finlab_nb.query.replica import copies
from finlab_nb.query.replica.copies import Copy, Tracker
from finlab_nb.query.replica.segment_files import check
from finlab_nb.query.results import Results
from finlab_nb.query.tables import TABLES


@dataclass(frozen=True, slots=True)
class Shown:
    """What is in DuckDB at one moment.

    Attributes
    ----------
    copies
        What each table is made of.
    results
        What is in the wide table, None if it is not made.
    changed
        The iterations whose rows of the wide table are of an earlier moment.
    number
        That of the moment, which DuckDB has too.
    """

    copies: Mapping[str, Copy]
    results: Results | None = None
    changed: frozenset[str | None] = frozenset()
    number: int = 0

    def caught_up(
        self,
        connection: duckdb.DuckDBPyConnection,
        source: sqlite3.Connection,
        new: Mapping[str, Copy],
        *,
        with_results: bool,
    ) -> Shown:
        """Bring tables to a new moment in one transaction of DuckDB, and return what it shows then.

        Parameters
        ----------
        connection
            The DuckDB.
        source
            A connection to the store in a read transaction at the new moment.
        new
            All that is known of the tables at that moment but what their deltas hold.
        with_results
            Whether the wide table is wanted, too.
        """
        with contextlib.suppress(duckdb.Error):
            connection.execute("ROLLBACK")  # what an interrupt has left
        try:
            connection.execute("BEGIN TRANSACTION")
            ((number,),) = connection.execute("SELECT number FROM copied.moment").fetchall()
            # If the numbers differ, an interrupt has kept what was committed from being known.
            before = self if number == self.number else replace(NOTHING, number=number)
            shown = _brought_up(before, connection, source, new, with_results=with_results)
            connection.execute("UPDATE copied.moment SET number = ?", [shown.number])
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                connection.execute("ROLLBACK")
            raise
        return shown


NOTHING: Final = Shown({name: Copy(table) for name, table in TABLES.items()})


def _brought_up(
    shown: Shown,
    connection: duckdb.DuckDBPyConnection,
    source: sqlite3.Connection,
    new: Mapping[str, Copy],
    *,
    with_results: bool,
) -> Shown:
    known, wide = dict(shown.copies), shown.results
    changed, strategies = set(shown.changed), set[str | None]()
    for name, one in new.items():
        columns = results.COLUMNS_READ.get(name)
        tracker = Tracker(connection, known[name], one, columns) if columns and wide is not None else None
        known[name] = copies.caught_up(connection, source, known[name], one)
        owners = set() if tracker is None else tracker.owners()
        if owners is None:
            wide = None
        else:
            (strategies if name == "strategies" else changed).update(owners)
    if wide is not None and strategies:
        changed |= results.iterations_of(connection, strategies)
    if with_results and (wide is None or changed):
        check([one for name in results.SOURCES for one in known[name].segments])
        wide, changed = results.brought_up_to_date(connection, wide, changed), set()
    return replace(shown, copies=known, results=wide, changed=frozenset(changed), number=shown.number + 1)
