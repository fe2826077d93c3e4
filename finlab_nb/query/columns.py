"""What is copied from the store: the types of each table's columns on the way to a DataFrame.

A column has a raw type, as SQLite returns it, and a cast that gives its type in DuckDB. Text that is not a date, and
anything else that a foreign tool has put where it does not belong, becomes NULL. The bits of the hidden column
``bad_values`` tell in which columns of a row that happened, so that counting costs at most a scan of zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from finlab_nb.records.tables import Kind

_DUCKDB_TYPES: Final[dict[Kind, str]] = {
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
    """One column: its name and its kind, as in `records.tables.Rule`."""

    name: str
    kind: Kind

    @property
    def duckdb_type(self) -> str:
        """The type that a question sees."""
        return _DUCKDB_TYPES[self.kind]

    @property
    def cast(self) -> str:
        """The SQL that converts the raw value to this type, or to NULL."""
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
    """One table of the store; `owner` is the column that tells whose row it is."""

    name: str
    owner: str
    columns: tuple[Column, ...]

    @property
    def sealed_rows(self) -> int:
        """How many new rows are worth a segment: fewer if they hold code, which is slow to read without one."""
        return 2_048 if any(column.name == "code" for column in self.columns) else 16_384

    def select_raw(self, where: str) -> str:
        """Return the SELECT that reads rows from SQLite, row_id first, in the order of row_id."""
        names = ", ".join(quoted(column.name) for column in self.columns)
        return f"SELECT rowid, {names} FROM {quoted(self.name)} WHERE {where} ORDER BY rowid"

    def typed_rows(self, raw_rows: str) -> str:
        """Return the SELECT that turns raw rows into typed ones.

        Raw rows also have ``misfits``: the bits of the columns whose value had a type that they cannot hold. The SELECT
        has each cast only once, because planning a cast takes longer than applying it to the rows of a save.
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
    """Return the SQL that converts text in ISO 8601 to a TIMESTAMP in UTC.

    DuckDB itself would also take '2024/1/5', 'epoch' and 'infinity', and drop an offset. A plain date is cast and
    written out again, which is the cheapest exact check; the cast with an offset is by far the most expensive.
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
