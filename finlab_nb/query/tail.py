"""The tail of a table: its rows that no segment holds, as a native DuckDB table, and the view over both."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from finlab_nb.query.segments import anchor_places
from finlab_nb.query.tables import BUCKET_BITS, Column, Table, literal, quoted

if TYPE_CHECKING:
    import duckdb

_CHUNK_ROWS: Final = 50_000

_ARROW_TYPES: Final = {
    "text": pa.string(),
    "float": pa.float64(),
    "whole": pa.int64(),
    "flag": pa.int64(),
    "date": pa.string(),
    "moment": pa.string(),
}
_PYTHON_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "text": (str,),
    "float": (float, int),
    "whole": (int,),
    "flag": (int,),
    "date": (str,),
    "moment": (str,),
}


def create(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Create the tail, empty, in the place of an earlier one."""
    connection.execute(f"DROP VIEW IF EXISTS {table.name}")
    connection.execute(f"DROP VIEW IF EXISTS copied.{table.name}_rows")
    connection.execute(f"CREATE OR REPLACE TABLE copied.{table.name} ({table.definition})")


def remove(connection: duckdb.DuckDBPyConnection, table: Table, ranges: Iterable[tuple[int, int]]) -> None:
    """Remove the rows of some ranges of rowids."""
    for first, last in ranges:
        connection.execute(f"DELETE FROM copied.{table.name} WHERE row_id BETWEEN {first} AND {last}")


def read(
    connection: duckdb.DuckDBPyConnection,
    source: sqlite3.Connection,
    table: Table,
    ranges: Iterable[tuple[int, int]],
) -> None:
    """Read the rows of some ranges of rowids from SQLite into the tail."""
    query = table.select_raw("rowid BETWEEN ? AND ?")
    insert = f"INSERT INTO copied.{table.name} SELECT row_id, {table.casts} FROM incoming_rows"
    for first, last in ranges:
        cursor = source.execute(query, (first, last))
        while rows := cursor.fetchmany(_CHUNK_ROWS):
            connection.register("incoming_rows", _arrow(table, rows))
            try:
                connection.execute(insert)
            finally:
                connection.unregister("incoming_rows")


def show(connection: duckdb.DuckDBPyConnection, table: Table, segments: Iterable[tuple[Path, set[int]]]) -> None:
    """Define the table's view over the given segments, without their stale buckets, and the tail."""
    whole, parts = [], []
    for path, stale in segments:
        if stale:
            holes = " OR ".join(f"row_id BETWEEN {first} AND {last}" for first, last in _runs(stale))
            parts.append(f"SELECT * FROM read_parquet({literal(str(path))}) WHERE NOT ({holes})")
        else:
            whole.append(literal(str(path)))
    if whole:
        parts.insert(0, f"SELECT * FROM read_parquet([{', '.join(whole)}])")
    parts.append(f"SELECT * FROM copied.{table.name}")
    connection.execute(f"CREATE OR REPLACE VIEW copied.{table.name}_rows AS {' UNION ALL '.join(parts)}")
    connection.execute(f"CREATE OR REPLACE VIEW {table.name} AS SELECT {table.names} FROM copied.{table.name}_rows")


def rows_between(table: Table, first: int, last: int) -> str:
    """Return the query for all rows of a range, in order, from segments and tail."""
    return f"SELECT * FROM copied.{table.name}_rows WHERE row_id BETWEEN {first} AND {last} ORDER BY row_id"


def anchors(connection: duckdb.DuckDBPyConnection, table: Table, first: int, last: int) -> dict[int, str | None]:
    """Return whose rows stand at the anchors of a range."""
    places = anchor_places(first, last)
    query = f"SELECT row_id, {quoted(table.owner)} FROM copied.{table.name}_rows WHERE row_id IN (SELECT unnest(?))"
    return dict.fromkeys(places) | dict(connection.execute(query, [places]).fetchall())


def _runs(buckets: set[int]) -> list[tuple[int, int]]:
    """Return neighbouring buckets as ranges of rowids."""
    runs: list[tuple[int, int]] = []
    for bucket in sorted(buckets):
        first, last = bucket << BUCKET_BITS, ((bucket + 1) << BUCKET_BITS) - 1
        if runs and runs[-1][1] + 1 == first:
            first = runs.pop()[0]
        runs.append((first, last))
    return runs


def _arrow(table: Table, rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    row_ids, *values = zip(*rows, strict=True)
    arrays = [_array(column, one) for column, one in zip(table.columns, values, strict=True)]
    names = [column.name for column in table.columns]
    return pa.Table.from_arrays([pa.array(row_ids, pa.int64()), *arrays], names=["row_id", *names])


def _array(column: Column, values: Sequence[Any]) -> pa.Array:
    kind = _ARROW_TYPES[column.kind]
    fits: Callable[[Any], bool] = lambda value: isinstance(value, _PYTHON_TYPES[column.kind])  # noqa: E731
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # SQLite does not hold a column to its type, so another program can have left anything here.
        return pa.array([value if fits(value) else None for value in values], kind)
