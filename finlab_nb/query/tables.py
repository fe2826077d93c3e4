"""The tables that the replica copies, of those that `records.tables` describes."""

from __future__ import annotations

from typing import Final

from finlab_nb.query.columns import Column, Table, literal, parquet, quoted
from finlab_nb.records import tables as records

__all__ = ["TABLES", "Column", "Table", "literal", "parquet", "quoted"]

TABLES: Final = {
    table.name: Table(table.name, table.owner, tuple(Column(column.name, column.rule.kind) for column in table.columns))
    for table in records.TABLES.values()
    if table.copied
}
