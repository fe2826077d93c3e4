"""What is copied from the store: the columns of each table and their types on the way to a DataFrame.

A column has a raw type, as SQLite hands it out, and a cast that gives its type in DuckDB. Text that is no date, and
whatever else a foreign tool has put where it does not belong, becomes NULL. In which columns of a row that happened is
kept as bits of the hidden column ``bad_values``, so that counting it costs a scan of zeros at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from finlab_nb.records.metrics import STANDARD_SET

BUCKET_BITS: Final = 10  # as in the triggers of the schema: rows are counted as edited in buckets of 1024 rowids

_DUCKDB_TYPES: Final = {
    "text": "VARCHAR",
    "float": "DOUBLE",
    "whole": "BIGINT",
    "flag": "BOOLEAN",
    "date": "TIMESTAMP",
    "moment": "TIMESTAMP WITH TIME ZONE",
    "object": "VARCHAR",
    "array": "VARCHAR",
}

_DAY: Final = r"\d{4}-\d\d-\d\d"
_CLOCK: Final = r"[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d([.]\d{1,9})?)?"
_OFFSET: Final = r"[+-]([01]\d|2[0-3])(:?[0-5]\d)?"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name and its kind.

    The kinds are text, float, whole, flag, date (naive), moment (UTC), and object and array for JSON.
    """

    name: str
    kind: str

    @property
    def duckdb_type(self) -> str:
        """The type that a question sees."""
        return _DUCKDB_TYPES[self.kind]

    @property
    def cast(self) -> str:
        """The SQL that makes the raw value one of this type, or NULL."""
        raw = quoted(self.name)
        if self.kind == "flag":
            return f"CASE {raw} WHEN 0 THEN false WHEN 1 THEN true END"
        if self.kind == "date":
            return _timestamp(raw)
        if self.kind == "moment":
            return f"timezone('UTC', {_timestamp(raw)})"
        if self.kind in ("object", "array"):
            return (
                f"CASE WHEN json_valid({raw}) THEN CASE json_type({raw}) WHEN '{self.kind.upper()}' THEN {raw} END END"
            )
        return raw


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the store; `owner` names the column that tells whose row it is."""

    name: str
    owner: str
    columns: tuple[Column, ...]

    @property
    def sealed_rows(self) -> int:
        """How many new rows are worth a segment: fewer where they hold code, which is slow to read without one."""
        return 2_048 if any(column.name == "code" for column in self.columns) else 16_384

    def select_raw(self, where: str) -> str:
        """Return the SELECT that reads rows from SQLite, row_id first, in the order of row_id."""
        names = ", ".join(quoted(column.name) for column in self.columns)
        return f"SELECT rowid, {names} FROM {quoted(self.name)} WHERE {where} ORDER BY rowid"

    def typed_rows(self, raw_rows: str) -> str:
        """Return the SELECT that makes typed rows of raw ones.

        The raw ones have ``misfits`` too: the bits of the columns whose value was of a type that they cannot hold. Each
        cast stands in it once, for planning it takes longer than running it over the rows of a save.
        """
        casts = ", ".join(f"{column.cast} AS {quoted(column.name)}" for column in self.columns)
        checked = [
            (place, quoted(column.name))
            for place, column in enumerate(self.columns)
            if column.kind not in ("text", "float", "whole")
        ]
        given = "".join(f", {name} IS NOT NULL AS given_{place}" for place, name in checked)
        lost = "".join(
            f" | CASE WHEN given_{place} AND {name} IS NULL THEN {1 << place} ELSE 0 END" for place, name in checked
        )
        return (
            f"SELECT row_id, {self.names}, (misfits{lost})::INTEGER AS bad_values "
            f"FROM (SELECT row_id, misfits, {casts}{given} FROM {raw_rows})"
        )

    @property
    def definition(self) -> str:
        """The column list of a DuckDB table that holds typed rows, row_id first."""
        columns = [f"{quoted(column.name)} {column.duckdb_type}" for column in self.columns]
        return ", ".join(["row_id BIGINT", *columns, "bad_values INTEGER"])

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


def _timestamp(raw: str) -> str:
    """Return the SQL that makes a TIMESTAMP in UTC of text in ISO 8601.

    DuckDB itself would also take '2024/1/5', 'epoch' and 'infinity', and drop an offset. A plain date is cast and
    written out again, which is the cheapest exact check; the cast with an offset is the dearest by far.
    """
    clock, offset = literal(_DAY + _CLOCK + "Z?"), literal(_DAY + _CLOCK + _OFFSET)
    return f"""CASE
        WHEN {raw} < '0001' THEN NULL
        WHEN length({raw}) = 10 THEN
            CASE WHEN TRY_CAST({raw} AS DATE)::VARCHAR = {raw} THEN TRY_CAST({raw} AS TIMESTAMP) END
        WHEN regexp_full_match({raw}, {clock}) THEN TRY_CAST({raw} AS TIMESTAMP)
        WHEN {raw} BETWEEN '0001-01-02' AND '9999-12-31' AND regexp_full_match({raw}, {offset})
            THEN timezone('UTC', TRY_CAST({raw} AS TIMESTAMP WITH TIME ZONE))
        END"""


def parquet(path: object) -> str:
    """Return the table function that reads a Parquet file."""
    return f"read_parquet({literal(str(path))})"


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
            parameters="object",
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
            parameters="object",
            note="text",
            starred="flag",
            archived="flag",
        ),
        _table(
            "metrics",
            "iteration_id",
            metric_id="whole",
            iteration_id="text",
            **{metric.name: metric.kind for metric in STANDARD_SET},
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
            learning_references="array",
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
