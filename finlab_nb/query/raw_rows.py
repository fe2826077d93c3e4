"""Rows of the store as SQLite has them, as Arrow tables: what the pool and the child read when they copy rows.

A value of a type that its column cannot hold is missing, and marked in ``misfits``: SQLite does not enforce types.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from finlab_nb.query.columns import Column, Table

CHUNK_ROWS: Final = 10_000

# Without the index every zone would be looked up in the row of an iteration, behind its code.
_ZONE_INDEX: Final = {"iterations": "INDEXED BY iterations_by_zone"}
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


def raw_rows(source: sqlite3.Connection, table: Table, first: int, last: int) -> Iterator[pa.Table]:
    """Yield the raw rows of a range of rowids, with ``row_id`` and ``misfits``, in pieces and in order."""
    try:
        for piece in _pieces(source, table, "t.rowid BETWEEN ? AND ?", (first, last)):
            yield piece
            first = piece.column("row_id")[-1].as_py() + 1
        return
    except sqlite3.OperationalError as error:
        if "UTF-8" not in str(error):
            raise
    with _any_text(source):
        yield from _pieces(source, table, "t.rowid BETWEEN ? AND ?", (first, last))


def raw_rows_of(source: sqlite3.Connection, table: Table, owners: Sequence[str]) -> list[pa.Table]:
    """Return the raw rows of some owners, found by an index, in the form of `raw_rows`."""
    condition = f"{'t' if table.key is None else 'k'}.{table.owner} IN ({', '.join('?' * len(owners))})"
    try:
        return list(_pieces(source, table, condition, owners))
    except sqlite3.OperationalError as error:
        if "UTF-8" not in str(error):
            raise
    with _any_text(source):
        return list(_pieces(source, table, condition, owners))


def _pieces(source: sqlite3.Connection, table: Table, condition: str, values: Sequence[object]) -> Iterator[pa.Table]:
    zone_index = _ZONE_INDEX.get(table.zones or "", "")
    cursor = source.execute(f"{table.select_raw(condition, zone_index=zone_index)} ORDER BY t.rowid", values)
    while rows := cursor.fetchmany(CHUNK_ROWS):
        yield _arrow(table, rows)


@contextlib.contextmanager
def _any_text(source: sqlite3.Connection) -> Iterator[None]:
    """Let text be read that is no UTF-8, which is missing then."""
    from finlab_nb.store.broken_text import decoded  # the child that copies rows needs the store for nothing else

    usual, source.text_factory = source.text_factory, decoded
    try:
        yield
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
