"""Which stored values break today's rules: written by another program, or adopted with an older file.

The rules are those of `records.tables`. The CHECKs of the schema enforce them when a row is written; this finds what
came in past them, and names table, row and column.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from finlab_nb.records.rules import Kind
from finlab_nb.records.tables import TABLES, Column, Table
from finlab_nb.store import watch
from finlab_nb.store.broken_text import decoded, fetched

_NOTES: Final = "SELECT table_name, row_id, column_name, original, problem FROM adoption_notes ORDER BY note_id LIMIT ?"
# SQLite does not ask whether text is UTF-8, so Python does: where there is anything beyond ASCII. Nor does it ask
# whether the escapes in JSON are text: the halves of a surrogate pair must stand together.
_IS_UTF8: Final = (
    "CASE WHEN {0} GLOB '*[^' || char(1) || '-' || char(127) || ']*' THEN is_utf8(CAST({0} AS BLOB)) ELSE 1 END"
)
_IS_UNICODE: Final = "CASE WHEN {0} GLOB '*\\u[dD][89a-fA-F]*' THEN is_unicode({0}) ELSE 1 END"
_ESCAPE: Final = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)|\\.")  # the group: half a pair
_FURTHER: Final[dict[Kind, tuple[str, ...]]] = {
    "text": (_IS_UTF8,),
    "object": (_IS_UTF8, _IS_UNICODE),
    "array": (_IS_UTF8, _IS_UNICODE),
}
_ORPHANS: Final = 'SELECT "table", "rowid", parent, fkid FROM pragma_foreign_key_check LIMIT ?'
_FOREIGN_KEYS: Final = 'SELECT "from" FROM pragma_foreign_key_list(?) WHERE id = ?'


def findings(connection: sqlite3.Connection, limit: int) -> list[dict[str, Any]]:
    """Return what breaks the rules, at most `limit` findings of each kind and table."""
    faults = watch.differences(connection).faults
    changed = {fault.table for fault in faults}
    tables = [table for table in TABLES.values() if table.name not in changed and _checked_columns(table)]
    found: list[tuple[Any, ...]] = [(fault.table, None, fault.column, None, fault.problem) for fault in faults]
    for table in tables:
        found += _broken_rules(connection, table, limit)
    if not changed:
        found += _missing_owners(connection, limit)
    if "adoption_notes" not in changed:
        found += _adopted(connection, limit)
    return [dict(zip(("table", "row", "column", "value", "problem"), finding, strict=True)) for finding in found]


def broken_values(connection: sqlite3.Connection, table: Table, owner: str) -> dict[str, int]:
    """Return how many values of an owner's rows break a rule, by table and column, where there are any."""
    columns = _checked_columns(table)
    sums = ", ".join(f"total({_broken(column)})" for column in columns)
    _define_functions(connection)
    (counts,) = connection.execute(f"SELECT {sums} FROM {table.name} WHERE {table.rows_of('?')}", (owner,))
    return {f"{table.name}.{one.name}": int(count) for one, count in zip(columns, counts, strict=True) if count}


def _broken_rules(connection: sqlite3.Connection, table: Table, limit: int) -> Iterator[tuple[Any, ...]]:
    columns = _checked_columns(table)
    broken = [_broken(column) for column in columns]
    listed = ", ".join((*(column.name for column in columns), *broken))
    query = f"SELECT rowid, {listed} FROM {table.name} WHERE {' OR '.join(broken)} LIMIT ?"
    _define_functions(connection)
    for row_id, *cells in fetched(connection, query, (limit,)):
        values, flags = cells[: len(columns)], cells[len(columns) :]
        for column, value, is_broken in zip(columns, values, flags, strict=True):
            if is_broken:
                yield table.name, row_id, column.name, value, f"it must be {column.rule.allowed}"


def _checked_columns(table: Table) -> list[Column]:
    # A row number is one by itself, and whether a row that is referred to exists is a question of its own.
    return [one for one in table.columns if one.name != table.row_key and one.refers_to is None]


def _broken(column: Column) -> str:
    condition = column.rule.condition.format(column.name)
    # Asked one after the other: a later condition may be an error where an earlier one is not met.
    for further in _FURTHER.get(column.rule.kind, ()):
        condition = f"CASE WHEN {condition} THEN {further.format(column.name)} END"
    met = f"ifnull({condition}, 0)"
    return f"({column.name} IS NOT NULL AND NOT {met})" if column.nullable else f"(NOT {met})"


def _define_functions(connection: sqlite3.Connection) -> None:
    connection.create_function("is_utf8", 1, _is_utf8, deterministic=True)
    connection.create_function("is_unicode", 1, _is_unicode, deterministic=True)


def _is_utf8(raw: bytes) -> bool:
    return isinstance(decoded(raw), str)


def _is_unicode(text: str) -> bool:
    return not any(_ESCAPE.findall(text))


def _missing_owners(connection: sqlite3.Connection, limit: int) -> Iterator[tuple[Any, ...]]:
    for table, row_id, parent, key in connection.execute(_ORPHANS, (limit,)).fetchall():
        (column,) = connection.execute(_FOREIGN_KEYS, (table, key)).fetchone()
        ((value,),) = fetched(connection, f"SELECT {column} FROM {table} WHERE rowid = ?", (row_id,))
        yield table, row_id, column, value, f"no row of {parent} has this id"


def _adopted(connection: sqlite3.Connection, limit: int) -> Iterator[tuple[Any, ...]]:
    for table, row_id, column, original, problem in connection.execute(_NOTES, (limit,)):
        yield table, row_id, column, None if original is None else json.loads(original), problem
