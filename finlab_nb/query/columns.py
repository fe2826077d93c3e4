"""What is copied from the store: the types of each table's columns on the way to a DataFrame.

A column has a raw type, as SQLite returns it, and a cast that gives its type in DuckDB. Text that is not a date, and
anything else that a foreign tool has put where the rules do not allow it, becomes NULL. The bits of the hidden column
``bad_values`` tell in which columns of a row that happened, so that counting costs at most a scan of zeros.

The rules are those of `records.tables.Rule`, here in DuckDB's SQL; a test compares what becomes NULL with what
`StorageManager.check` finds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from finlab_nb.records.tables import Kind, Rule

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

_MOMENT: Final = (
    r"\d{4}-\d\d-\d\d[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d([.]\d+)?)?"  # a day and a time
    r"(Z|[+-](0\d|1[0-4]):[0-5]\d)?"
)
# What DuckDB takes beyond JSON, outside of its strings: NaN, Infinity, and a comma before the closing bracket.
_NOT_JSON: Final = r"""(?is)^([^"]|"([^"\\]|\\.)*")*(nan|inf|,\s*[\]}])"""
# Most text begins with a character of ASCII that is no blank; to ask for that first is four times as fast.
_NOT_BLANK: Final = r"({raw} >= '!' AND {raw} < '~' OR regexp_matches({raw}, '[^\t-\r\x1c-\x1f\x85\p{{Z}}]'))"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its kind, and the rule that its values must meet beyond that."""

    name: str
    kind: Kind
    rule: Rule | None = None

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
                f"CASE WHEN json_valid({raw}) AND NOT regexp_matches({raw}, {literal(_NOT_JSON)}) "
                f"THEN CASE json_type({raw}) WHEN '{self.kind.upper()}' THEN {raw} END END"
            )
        return raw

    @property
    def conditions(self) -> list[str]:
        """The SQL of what the rule asks of a raw value by itself, beyond its kind."""
        if self.rule is None:
            return []
        raw, rule, conditions = quoted(self.name), self.rule, list[str]()
        if self.kind == "text" and not rule.words:
            conditions.append(f"NOT contains({raw}, chr(0))")
        if not rule.blank:
            conditions.append(_NOT_BLANK.format(raw=raw))
        if rule.words:
            conditions.append(f"{raw} IN ({', '.join(map(literal, rule.words))})")
        if self.kind == "float" and not rule.infinite:
            conditions.append(f"isfinite({raw})")
        bounds = ((">=", rule.least), ("<=", rule.most))
        return conditions + [f"{raw} {sign} {bound:g}" for sign, bound in bounds if math.isfinite(bound)]


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

    def typed_rows(self, raw_rows: str, *, by_rules: bool = True) -> str:
        """Return the SELECT that turns raw rows into typed ones.

        Raw rows also have ``misfits``: the bits of the columns whose value had a type that they cannot hold. The SELECT
        has each cast only once, because planning a cast takes longer than applying it to the rows of a save. For the
        same reason the rules are left out, without `by_rules`, where the rows are known to meet them.
        """
        conditions = [self._condition(column) if by_rules else "" for column in self.columns]
        casts = ", ".join(
            f"{f'CASE WHEN {condition} THEN {column.cast} END' if condition else column.cast} AS {quoted(column.name)}"
            for column, condition in zip(self.columns, conditions, strict=True)
        )
        checked = [
            (place, quoted(column.name))
            for place, column in enumerate(self.columns)
            if conditions[place] or column.kind not in ("text", "float", "whole")
        ]
        given = "".join(f", {name} IS NOT NULL AS given_{place}" for place, name in checked)
        lost = "".join(
            f" | CASE WHEN given_{place} AND {name} IS NULL THEN {1 << place} ELSE 0 END" for place, name in checked
        )
        return (
            f"SELECT row_id, {self.names}, (misfits{lost})::INTEGER AS bad_values "
            f"FROM (SELECT row_id, misfits, {casts}{given} FROM {raw_rows})"
        )

    def _condition(self, column: Column) -> str:
        """Return the SQL that tells whether a raw value of the right kind meets its rule; empty if all do."""
        if column.rule is None:
            return ""
        conditions, name = column.conditions, quoted(column.name)
        if column.rule.not_before is not None:
            earlier, has_misfit = self._other(column.rule.not_before)
            # The days are only compared where the whole dates do not tell.
            conditions.append(
                f"({earlier} IS NULL AND NOT {has_misfit} OR {name} >= {earlier} "
                f"OR left({name}, 10) >= left({earlier}, 10))"
            )
        if column.rule.needs is not None:
            needed, has_misfit = self._other(column.rule.needs)
            conditions.append(f"({needed} IS NOT NULL OR {has_misfit})")
        return " AND ".join(conditions)

    def _other(self, name: str) -> tuple[str, str]:
        """Return the SQL for a column's raw value, and for whether it is only NULL because it does not fit."""
        place = next(place for place, column in enumerate(self.columns) if column.name == name)
        return quoted(name), f"(misfits & {1 << place} > 0)"

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
    with_seconds = f"regexp_replace({raw}, '^(.{{16}})([+-])', '\\1:00\\2')"  # DuckDB takes no offset without them
    return f"""CASE
        WHEN length({raw}) = 10 THEN
            CASE WHEN TRY_CAST({raw} AS DATE)::VARCHAR = {raw} THEN TRY_CAST({raw} AS TIMESTAMP) END
        WHEN {raw} >= '0001' AND regexp_full_match({raw}, {literal(_MOMENT)}) THEN CASE
            WHEN {raw}[-6] NOT IN ('+', '-') THEN TRY_CAST(rtrim({raw}, 'Z') AS TIMESTAMP)
            WHEN {raw} BETWEEN '0001-01-02' AND '9999-12-31'
                THEN timezone('UTC', TRY_CAST({with_seconds} AS TIMESTAMP WITH TIME ZONE)) END
        END"""


def parquet(path: object) -> str:
    """Return the table function that reads a Parquet file."""
    return f"read_parquet({literal(str(path))})"
