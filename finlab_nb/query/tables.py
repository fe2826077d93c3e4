"""The tables that the replica copies, of those that `records.tables` describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from finlab_nb.query.columns import Column, Table, literal, parquet, quoted
from finlab_nb.records import tables as records

if TYPE_CHECKING:
    from finlab_nb.records.tables import Rule

__all__ = ["TABLES", "Column", "Table", "literal", "parquet", "quoted"]


def _rule(table: records.Table, column: records.Column) -> Rule | None:
    # An id stays as it is, so that what refers to a row still finds it.
    is_id = column.name in (table.row_key, table.owner) or column.refers_to is not None
    return None if is_id else column.rule


TABLES: Final = {
    table.name: Table(
        table.name,
        table.owner,
        tuple(Column(column.name, column.rule.kind, _rule(table, column)) for column in table.columns),
    )
    for table in records.TABLES.values()
    if table.copied
}
