"""The delta of a table: its rows that no segment holds, as a native DuckDB table, and the view over both."""

from __future__ import annotations

import itertools
import math
import sqlite3
from collections.abc import Collection, Container, Iterable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from finlab_nb.query import zones
from finlab_nb.query.raw_rows import CHUNK_ROWS, raw_rows
from finlab_nb.query.replica.ranges import Range, joined
from finlab_nb.query.replica.segment_files import Segment
from finlab_nb.query.tables import Known, Table, literal, parquet, quoted

if TYPE_CHECKING:
    import duckdb

    from finlab_nb.records.rules import Rule

_FEW_ROWS: Final = 8
_DAY_LENGTH: Final = len("2024-01-31")
_SQL_TYPES: Final = {pa.string(): "VARCHAR", pa.float64(): "DOUBLE", pa.int64(): "BIGINT", pa.int32(): "INTEGER"}


def create(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Create an empty delta in place of an earlier one."""
    connection.execute(f"DROP VIEW IF EXISTS {table.name}")
    connection.execute(f"DROP VIEW IF EXISTS copied.{table.name}_rows")
    connection.execute(f"CREATE OR REPLACE TABLE copied.{table.name} ({table.definition})")


def remove(connection: duckdb.DuckDBPyConnection, table: Table, ranges: Iterable[Range]) -> None:
    """Remove the rows of these ranges of rowids."""
    for first, last in ranges:
        connection.execute(f"DELETE FROM copied.{table.name} WHERE row_id BETWEEN {first} AND {last}")


def count(connection: duckdb.DuckDBPyConnection, table: Table) -> int:
    """Return how many rows the delta holds."""
    (rows,) = connection.execute(f"SELECT count(*) FROM copied.{table.name}").fetchone() or (0,)
    return int(rows)


def read(
    connection: duckdb.DuckDBPyConnection, source: sqlite3.Connection, table: Table, ranges: Iterable[Range]
) -> set[str]:
    """Read the rows of these ranges of rowids from SQLite into the delta, and return which columns they hold."""
    pieces = (piece for first, last in ranges for piece in raw_rows(source, table, first, last))
    return insert(connection, f"copied.{table.name}", table, pieces)


def insert(connection: duckdb.DuckDBPyConnection, target: str, table: Table, pieces: Iterable[pa.Table]) -> set[str]:
    """Insert raw rows, typed, into a table of the form of the delta, and return which columns they hold."""
    held: set[str] = set()
    for rows in _in_chunks(pieces):
        known = _known(connection, table, rows)
        present = rows.drop_columns(list(known.missing))
        held.update(present.column_names)
        if rows.num_rows <= _FEW_ROWS:
            values = itertools.chain.from_iterable(zip(*present.to_pydict().values(), strict=True))
            connection.execute(f"INSERT INTO {target} {table.typed_rows(_listed(present), known)}", list(values))
            continue
        connection.register("incoming_rows", present)
        try:
            connection.execute(f"INSERT INTO {target} {table.typed_rows('incoming_rows', known)}")
        finally:
            connection.unregister("incoming_rows")
    return held


def _listed(rows: pa.Table) -> str:
    """Return the SQL for a few raw rows whose values are bound: scanning an Arrow table costs more than they do."""
    row = f"({', '.join(f'?::{_SQL_TYPES[one.type]}' for one in rows.schema)})"
    return f"(VALUES {', '.join([row] * rows.num_rows)}) AS incoming_rows ({', '.join(map(quoted, rows.column_names))})"


def _known(connection: duckdb.DuckDBPyConnection, table: Table, rows: pa.Table) -> Known:
    """Return what a look at raw rows tells: that takes less time than planning for whatever they could hold."""
    missing = {name for name in rows.column_names if rows.column(name).null_count == rows.num_rows}
    plain = _is_plain(table, rows, missing)
    dates = [one.name for one in table.columns if one.kind == "date" and one.name not in missing]
    lengths = [set(pc.min_max(pc.utf8_length(rows.column(name))).as_py().values()) for name in dates]
    only_days = all(one == {_DAY_LENGTH} for one in lengths)
    in_zones = not only_days and table.zones is not None and "zone" not in missing
    names = zones.known(connection, rows.column("zone").unique().to_pylist()) if in_zones else []
    return Known(plain, only_days, names, missing if plain else ())  # a rule may look at another column


def _is_plain(table: Table, rows: pa.Table, missing: Container[str]) -> bool:
    """Tell whether raw rows certainly meet all rules, as nearly all do."""
    return not pc.any(pc.not_equal(rows.column("misfits"), 0)).as_py() and all(
        _column_is_plain(column.rule, column.name, rows)
        for column in table.columns
        if column.rule is not None and column.name not in missing
    )


def _column_is_plain(rule: Rule, name: str, rows: pa.Table) -> bool:
    values = rows.column(name)
    if rule.kind in ("float", "whole"):
        least, most = pc.min_max(values).as_py().values()
        is_finite = math.isfinite(least) and math.isfinite(most)
        return (is_finite or rule.infinite) and rule.least <= least and most <= rule.most and least > rule.above
    if rule.kind == "text":
        if rule.blank and not rule.words:
            return not _has_nul(values)
        texts = set(values.to_pylist()) - {None}
        return texts <= set(rule.words) if rule.words else not _has_nul(values) and all(map(str.strip, texts))
    if rule.not_before is not None and pc.any(pc.less(values, rows.column(rule.not_before))).as_py():
        return False
    return rule.needs is None or not pc.any(pc.and_(pc.is_valid(values), pc.is_null(rows.column(rule.needs)))).as_py()


def _has_nul(texts: pa.ChunkedArray) -> bool:
    """Tell whether NUL is in any of the texts, by a look at all their bytes: code is long."""
    for chunk in texts.chunks:
        _, ends, characters = chunk.buffers()
        if characters is not None and characters.size:
            places = np.frombuffer(ends, np.int32, len(chunk) + 1, 4 * chunk.offset)
            held = np.frombuffer(characters, np.uint8)[places[0] : places[-1]]
            if held.size and not held.min():
                return True
    return False


def _in_chunks(pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Combine small pieces: planning an INSERT takes longer than running it for a few rows."""
    waiting: list[pa.Table] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(one.num_rows for one in waiting) >= CHUNK_ROWS:
            yield pa.concat_tables(waiting)
            waiting.clear()
    if waiting:
        yield pa.concat_tables(waiting)


def show(
    connection: duckdb.DuckDBPyConnection, table: Table, segments: Iterable[tuple[Segment, Collection[int]]]
) -> None:
    """Define the table's view over the given segments, without their stale buckets, and over the delta."""
    connection.execute(f"CREATE OR REPLACE VIEW copied.{table.name}_rows AS {union(table, segments)}")
    connection.execute(f"CREATE OR REPLACE VIEW {table.name} AS SELECT {table.names} FROM copied.{table.name}_rows")


def union(
    table: Table, segments: Iterable[tuple[Segment, Collection[int]]], columns: str = "*", *, with_delta: bool = True
) -> str:
    """Return the query for some columns of all rows of some segments, without their stale buckets, and of the delta.

    Without the delta DuckDB plans it in two thirds of the time, so one that is known to be empty is left out.
    """
    whole, parts = [], []
    for segment, stale in segments:
        if not stale:
            whole.append(literal(str(segment.path)))
            continue
        edited = " OR ".join(f"row_id BETWEEN {first} AND {last}" for first, last in joined(stale, segment.bits))
        parts.append(f"SELECT {columns} FROM {parquet(literal(str(segment.path)))} WHERE NOT ({edited})")
    if whole:
        parts.insert(0, f"SELECT {columns} FROM {parquet('[' + ', '.join(whole) + ']')}")
    if with_delta or not parts:
        parts.append(f"SELECT {columns} FROM copied.{table.name}")
    return " UNION ALL ".join(parts)


def bad_values(connection: duckdb.DuckDBPyConnection, table: Table, rows: str) -> dict[str, int]:
    """Return how many values of each column are NULL in some rows because they broke the rules."""
    bits = (f"count(*) FILTER (bad_values & {1 << place} > 0)" for place in range(len(table.columns)))
    (counts,) = connection.execute(f"SELECT {', '.join(bits)} FROM {rows} WHERE bad_values > 0").fetchall()
    return {column.name: count for column, count in zip(table.columns, counts, strict=True) if count}


def has_bad_values(connection: duckdb.DuckDBPyConnection, table: Table) -> bool:
    """Tell whether values are missing in the delta because they broke the rules."""
    return bool(connection.execute(f"SELECT 1 FROM copied.{table.name} WHERE bad_values > 0 LIMIT 1").fetchall())
