"""The tables that the replica copies, of those that `records.tables` describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from finlab_nb.query.columns import Column, Day, Known, Table, literal, parquet, quoted
from finlab_nb.records import tables as records

if TYPE_CHECKING:
    from finlab_nb.records.rules import Rule

__all__ = ["TABLES", "Column", "Day", "Known", "Table", "literal", "parquet", "quoted"]


def _rule(table: records.Table, column: records.Column) -> Rule | None:
    # An id stays as it is, so that what refers to a row still finds it.
    is_id = column.name in (table.row_key, table.owner) or column.refers_to is not None
    return None if is_id else column.rule


def _described(table: records.Table) -> Table:
    columns = tuple(Column(column.name, column.rule.kind, _rule(table, column)) for column in table.columns)
    key = None if table.owner_key is None else (table.owner_key.table, table.owner_key.column)
    days = tuple(Day(f"{one.name.removesuffix('date')}day", one.name) for one in columns if one.kind == "date")
    return Table(table.name, table.owner, columns, key, table.zones, days, table.bucket_bits)


TABLES: Final = {table.name: _described(table) for table in records.TABLES.values() if table.copied}
