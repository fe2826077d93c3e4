"""What is copied from the store: the columns of each table and their types on the way to a DataFrame.

A column has a raw type, as SQLite hands it out, and a cast that gives its type in DuckDB. Text that is no date, and
whatever else a foreign tool has put where it does not belong, becomes NULL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BUCKET_BITS: Final = 10  # as in the triggers of the schema: rows are counted as edited in buckets of 1024 rowids

_DUCKDB_TYPES: Final = {
    "text": "VARCHAR",
    "float": "DOUBLE",
    "whole": "BIGINT",
    "flag": "BOOLEAN",
    "date": "TIMESTAMP",
    "moment": "TIMESTAMP WITH TIME ZONE",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name and its kind, one of text, float, whole, flag, date (naive) and moment (UTC)."""

    name: str
    kind: str

    @property
    def duckdb_type(self) -> str:
        """The type that a question sees."""
        return _DUCKDB_TYPES[self.kind]

    @property
    def cast(self) -> str:
        """The SQL that makes the raw value one of this type, or NULL."""
        return quoted(self.name) if self.kind == "text" else f"TRY_CAST({quoted(self.name)} AS {self.duckdb_type})"


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the store; `owner` names the column that tells whose row it is."""

    name: str
    owner: str
    columns: tuple[Column, ...]

    def select_raw(self, where: str) -> str:
        """Return the SELECT that reads rows from SQLite, row_id first, in the order of row_id."""
        names = ", ".join(quoted(column.name) for column in self.columns)
        return f"SELECT rowid, {names} FROM {quoted(self.name)} WHERE {where} ORDER BY rowid"

    @property
    def casts(self) -> str:
        """The select list that makes typed columns of raw ones."""
        return ", ".join(f"{column.cast} AS {quoted(column.name)}" for column in self.columns)

    @property
    def definition(self) -> str:
        """The column list of a DuckDB table that holds typed rows, row_id first."""
        return "row_id BIGINT, " + ", ".join(f"{quoted(one.name)} {one.duckdb_type}" for one in self.columns)

    @property
    def names(self) -> str:
        """The columns' names as a select list."""
        return ", ".join(quoted(column.name) for column in self.columns)


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return text as an SQL literal, for statements that take no parameters."""
    return "'" + text.replace("'", "''") + "'"


def _table(name: str, owner: str, /, **kinds: str) -> Table:
    return Table(name, owner, tuple(Column(column, kind) for column, kind in kinds.items()))


TABLES: Final = {
    table.name: table
    for table in (
        _table(
            "strategies",
            "strategy_id",
            strategy_id="text",
            name="text",
            code="text",
            parameters="text",
            created_at="moment",
            parent_strategy_id="text",
        ),
        _table(
            "iterations",
            "iteration_id",
            iteration_id="text",
            strategy_id="text",
            iteration_number="whole",
            code="text",
            timestamp="moment",
            parameters="text",
            note="text",
            starred="flag",
            archived="flag",
        ),
        _table(
            "metrics",
            "iteration_id",
            metric_id="whole",
            iteration_id="text",
            annualized_return="float",
            sharpe_ratio="float",
            max_drawdown="float",
            win_rate="float",
            total_trades="whole",
        ),
        _table("extra_metrics", "iteration_id", iteration_id="text", name="text", value="float"),
        _table(
            "suggestions",
            "iteration_id",
            suggestion_id="whole",
            iteration_id="text",
            priority="text",
            description="text",
            specific_changes="text",
            expected_impact="text",
            rationale="text",
            learning_references="text",
            status="text",
            applied_iteration_id="text",
        ),
        _table(
            "trades",
            "iteration_id",
            trade_id="whole",
            iteration_id="text",
            stock_code="text",
            entry_date="date",
            exit_date="date",
            entry_price="float",
            exit_price="float",
            position_size="float",
            profit_loss="float",
        ),
        _table("equity", "iteration_id", equity_id="whole", iteration_id="text", date="date", equity="float"),
        _table("tags", "iteration_id", iteration_id="text", tag="text"),
    )
}
