"""The delta of a table: its rows that no segment holds, as a native DuckDB table, and the view over both."""

from __future__ import annotations

import itertools
import math
import sqlite3
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from finlab_nb.query import zones
from finlab_nb.query.segments import Segment, fingerprint_rowids
from finlab_nb.query.tables import Column, Known, Table, literal, quoted
from finlab_nb.store.broken_text import decoded
from finlab_nb.store.triggers import BUCKET_BITS

if TYPE_CHECKING:
    import duckdb

    from finlab_nb.records.rules import Rule

_CHUNK_ROWS: Final = 50_000
_FEW_ROWS: Final = 8
_DAY_LENGTH: Final = len("2024-01-31")
# Without the index every zone would be looked up in the row of an iteration, behind its code.
_ZONE_INDEX: Final = {"iterations": "INDEXED BY iterations_by_zone"}

_SHOWN: Final = """
    CREATE OR REPLACE TABLE copied.shown_{name} (
        path VARCHAR, deleted_ranges VARCHAR, least VARCHAR, greatest VARCHAR, held VARCHAR[])"""
_SHOW: Final = "INSERT INTO copied.shown_{name} VALUES (?, ?, ?, ?, ?)"

_ZONE: Final = Column("zone", "text")
_ARROW_TYPES: Final = {
    "text": pa.string(),
    "float": pa.float64(),
    "whole": pa.int64(),
    "flag": pa.int64(),
    "date": pa.string(),
    "moment": pa.string(),
    "object": pa.string(),
    "array": pa.string(),
}
_SQL_TYPES: Final = {pa.string(): "VARCHAR", pa.float64(): "DOUBLE", pa.int64(): "BIGINT", pa.int32(): "INTEGER"}
_PYTHON_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "text": (str,),
    "float": (float, int),
    "whole": (int,),
    "flag": (int,),
    "date": (str,),
    "moment": (str,),
    "object": (str,),
    "array": (str,),
}


def create(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Create an empty delta in place of an earlier one."""
    connection.execute(f"DROP VIEW IF EXISTS {table.name}")
    connection.execute(f"DROP VIEW IF EXISTS copied.{table.name}_rows")
    connection.execute(f"CREATE OR REPLACE TABLE copied.{table.name} ({table.definition})")


def remove(connection: duckdb.DuckDBPyConnection, table: Table, ranges: Iterable[tuple[int, int]]) -> None:
    """Remove the rows of these ranges of rowids."""
    for first, last in ranges:
        connection.execute(f"DELETE FROM copied.{table.name} WHERE row_id BETWEEN {first} AND {last}")


def count(connection: duckdb.DuckDBPyConnection, table: Table) -> int:
    """Return how many rows the delta holds."""
    (rows,) = connection.execute(f"SELECT count(*) FROM copied.{table.name}").fetchone() or (0,)
    return int(rows)


def read(
    connection: duckdb.DuckDBPyConnection,
    source: sqlite3.Connection,
    table: Table,
    ranges: Iterable[tuple[int, int]],
) -> set[str]:
    """Read the rows of these ranges of rowids from SQLite into the delta, and return which columns they hold."""
    held: set[str] = set()
    for rows in _in_chunks(piece for first, last in ranges for piece in raw_rows(source, table, first, last)):
        known = _known(connection, table, rows)
        present = rows.drop_columns(list(known.missing))
        held.update(present.column_names)
        if rows.num_rows <= _FEW_ROWS:
            values = itertools.chain.from_iterable(zip(*present.to_pydict().values(), strict=True))
            connection.execute(
                f"INSERT INTO copied.{table.name} {table.typed_rows(_listed(present), known)}", list(values)
            )
            continue
        connection.register("incoming_rows", present)
        try:
            connection.execute(f"INSERT INTO copied.{table.name} {table.typed_rows('incoming_rows', known)}")
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
        texts = set(values.to_pylist()) - {None}
        if rule.words:
            return texts <= set(rule.words)
        return not any("\0" in text for text in texts) and (rule.blank or all(map(str.strip, texts)))
    if rule.not_before is not None and pc.any(pc.less(values, rows.column(rule.not_before))).as_py():
        return False
    return rule.needs is None or not pc.any(pc.and_(pc.is_valid(values), pc.is_null(rows.column(rule.needs)))).as_py()


def _in_chunks(pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Combine small pieces: planning an INSERT takes longer than running it for a few rows."""
    waiting: list[pa.Table] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(one.num_rows for one in waiting) >= _CHUNK_ROWS:
            yield pa.concat_tables(waiting)
            waiting.clear()
    if waiting:
        yield pa.concat_tables(waiting)


def raw_rows(source: sqlite3.Connection, table: Table, first: int, last: int) -> Iterator[pa.Table]:
    """Yield the raw rows of a range, with ``row_id`` and ``misfits``, in pieces."""
    zone_index = _ZONE_INDEX.get(table.zones or "", "")
    query = f"{table.select_raw('t.rowid BETWEEN ? AND ?', zone_index=zone_index)} ORDER BY t.rowid"
    try:
        cursor = source.execute(query, (first, last))
        while rows := cursor.fetchmany(_CHUNK_ROWS):
            yield _arrow(table, rows)
            first = rows[-1][0] + 1
        return
    except sqlite3.OperationalError as error:
        if "UTF-8" not in str(error):
            raise
    usual, source.text_factory = source.text_factory, decoded
    try:
        cursor = source.execute(query, (first, last))
        while rows := cursor.fetchmany(_CHUNK_ROWS):
            yield _arrow(table, rows)
    finally:
        source.text_factory = usual


def no_rows(table: Table) -> pa.Table:
    """Return an empty table in the form of `raw_rows`."""
    return _raw_schema(table).empty_table()


def _raw_schema(table: Table) -> pa.Schema:
    columns = [(column.name, _ARROW_TYPES[column.kind]) for column in _read(table)]
    return pa.schema([("row_id", pa.int64()), *columns, ("misfits", pa.int32())])


def _read(table: Table) -> list[Column]:
    """Return the columns of raw rows beside their row_id and misfits."""
    return [*table.columns, *([_ZONE] if table.zones else [])]


def show(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    segments: Sequence[tuple[Segment, set[int]]],
    held: Iterable[str],
) -> None:
    """Define the table's view over the given segments, without their stale buckets, and over the delta.

    Not all columns have a value in any row: `held` are those that may have one in the delta.
    """
    sources = [
        (str(one.path), " OR ".join(f"row_id BETWEEN {first} AND {last}" for first, last in _neighbours(stale)) or None)
        for one, stale in segments
    ]
    connection.execute(f"CREATE OR REPLACE VIEW copied.{table.name}_rows AS {_union(table, sources)}")
    connection.execute(f"CREATE OR REPLACE VIEW {table.name} AS SELECT {table.names} FROM copied.{table.name}_rows")
    connection.execute(_SHOWN.format(name=table.name))
    for (path, deleted_ranges), (one, _) in zip(sources, segments, strict=True):
        values = [path, deleted_ranges, *(one.owners or (None, None)), sorted(one.held)]
        connection.execute(_SHOW.format(name=table.name), values)
    connection.execute(_SHOW.format(name=table.name), [None, None, None, None, sorted(held)])


class Shown(NamedTuple):
    """A place that a table's view reads: a segment, or the delta, which has no path."""

    path: str | None
    deleted_ranges: str | None
    least: str | None
    greatest: str | None
    held: list[str]


def shown(connection: duckdb.DuckDBPyConnection, table: Table) -> list[Shown]:
    """Return the places that the table's view reads, at the same moment as the view."""
    return [Shown(*row) for row in connection.execute(f"FROM copied.shown_{table.name}").fetchall()]


def rows_of(table: Table, places: Iterable[Shown], owners: Sequence[str]) -> str:
    """Return the query for the rows of the table's view, without the segments that hold none of the owners."""
    sources = [
        (one.path, one.deleted_ranges)
        for one in places
        if one.path is not None
        and (one.least is None or one.greatest is None or any(one.least <= owner <= one.greatest for owner in owners))
    ]
    return f"SELECT {table.names} FROM ({_union(table, sources)})"


def _union(table: Table, sources: Iterable[tuple[str, str | None]]) -> str:
    """Return the query for all rows of some segments, without their deleted ranges, and of the delta."""
    whole, parts = [], []
    for path, deleted_ranges in sources:
        if deleted_ranges is None:
            whole.append(literal(path))
        else:
            parts.append(f"SELECT * FROM read_parquet({literal(path)}) WHERE NOT ({deleted_ranges})")
    if whole:
        parts.insert(0, f"SELECT * FROM read_parquet([{', '.join(whole)}])")
    return " UNION ALL ".join([*parts, f"SELECT * FROM copied.{table.name}"])


def tables_with_bad_values(connection: duckdb.DuckDBPyConnection, tables: Iterable[tuple[Table, bool]]) -> set[str]:
    """Return which tables hold bad values, in all their rows or only in their delta."""
    asked = [
        f"SELECT '{table.name}' FROM copied.{table.name}{'_rows' if whole else ''} WHERE bad_values > 0"
        for table, whole in tables
    ]
    return {name for (name,) in connection.execute(" UNION ".join(asked)).fetchall()} if asked else set()


def bad_values(connection: duckdb.DuckDBPyConnection, table: Table) -> dict[str, int]:
    """Return how many values of each column are NULL because they broke the rules."""
    bits = (f"count(*) FILTER (bad_values & {1 << place} > 0)" for place in range(len(table.columns)))
    query = f"SELECT {', '.join(bits)} FROM copied.{table.name}_rows WHERE bad_values > 0"
    (counts,) = connection.execute(query).fetchall()
    return {column.name: count for column, count in zip(table.columns, counts, strict=True) if count}


def rows_between(table: Table, first: int, last: int) -> str:
    """Return the query for all rows of a range, in order, from segments and delta."""
    return f"SELECT * FROM copied.{table.name}_rows WHERE row_id BETWEEN {first} AND {last} ORDER BY row_id"


def fingerprint(connection: duckdb.DuckDBPyConnection, table: Table, first: int, last: int) -> dict[int, str | None]:
    """Return the owners of the rows at the fingerprint rowids of a range."""
    places = fingerprint_rowids(first, last)
    query = f"SELECT row_id, {quoted(table.owner)} FROM copied.{table.name}_rows WHERE row_id IN (SELECT unnest(?))"
    return dict.fromkeys(places) | dict(connection.execute(query, [places]).fetchall())


def _neighbours(buckets: set[int]) -> list[tuple[int, int]]:
    """Return buckets as ranges of rowids, with neighbours joined."""
    joined: list[tuple[int, int]] = []
    for bucket in sorted(buckets):
        first, last = bucket << BUCKET_BITS, ((bucket + 1) << BUCKET_BITS) - 1
        if joined and joined[-1][1] + 1 == first:
            first = joined.pop()[0]
        joined.append((first, last))
    return joined


def _arrow(table: Table, rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    row_ids, *values = zip(*rows, strict=True)
    misfits = np.zeros(len(rows), dtype=np.int32)
    arrays = []
    for place, (column, raw) in enumerate(zip(_read(table), values, strict=True)):
        array, wrong = _array(column, raw)
        arrays.append(array)
        if column is not _ZONE:
            misfits[wrong] |= 1 << place
    return pa.Table.from_arrays([pa.array(row_ids, pa.int64()), *arrays, pa.array(misfits)], schema=_raw_schema(table))


def _array(column: Column, values: Sequence[Any]) -> tuple[pa.Array, list[int]]:
    """Return the values, None where one does not fit, and the places of those: SQLite does not enforce types."""
    kind, fitting = _ARROW_TYPES[column.kind], _PYTHON_TYPES[column.kind]
    # Arrow would take bytes for text, and cut 1.5 to a whole number.
    if set(map(type, values)) <= {*fitting, type(None)}:
        try:
            return pa.array(values, kind), []
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            pass
    wrong = [place for place, value in enumerate(values) if value is not None and not isinstance(value, fitting)]
    return pa.array([value if isinstance(value, fitting) else None for value in values], kind), wrong
