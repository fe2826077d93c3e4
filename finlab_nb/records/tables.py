"""The stored tables: one description of each, from which the rest follows.

Saving, loading and `check` take columns and rules from here, the replica takes columns and kinds, the triggers that
record edits take keys. The DDL in `store.migrations` and the schema of the export repeat the same facts in their own
languages; tests compare them with this description.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from finlab_nb.records.metrics import METRICS as STANDARD_NAMES
from finlab_nb.records.metrics import STANDARD_SET, Metric

Kind = Literal["text", "float", "whole", "flag", "date", "moment", "object", "array"]

PRIORITIES: Final = ("high", "medium", "low")
SUGGESTION_STATES: Final = ("open", "applied", "rejected")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a stored value must be.

    Attributes
    ----------
    kind
        What the value is: text, float, whole, flag, date (a day or a naive moment), moment (UTC), and object and array
        for JSON.
    allowed
        The rule in words.
    words
        The only texts allowed, if they are limited.
    blank
        Whether text may be empty or consist of blanks.
    infinite
        Whether a number may be infinite.
    least, most
        The range of a number.
    above
        What a number is greater than.
    not_before
        The column of a date in the same row whose day this one does not precede.
    needs
        The column of the same row that is known whenever this one is.
    """

    kind: Kind
    allowed: str
    words: tuple[str, ...] = ()
    blank: bool = True
    infinite: bool = False
    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    not_before: str | None = None
    needs: str | None = None

    @property
    def bounds(self) -> list[tuple[str, float]]:
        """The comparisons that a number must meet, as signs of SQL and numbers."""
        found = ((">=", self.least), ("<=", self.most), (">", self.above))
        return [(sign, bound) for sign, bound in found if math.isfinite(bound)]

    @property
    def condition(self) -> str:
        """The rule in SQLite's SQL, with ``{0}`` for the column; NULL and false break the rule."""
        conditions = [_CONDITIONS[self.kind]]
        if not self.blank:
            conditions.append(f"trim({{0}}, {_BLANKS}) <> ''")
        if self.kind == "float" and not self.infinite:
            conditions.append("abs({0}) < 9e999")
        if self.words:
            conditions.append(f"{{0}} IN ({', '.join(map(repr, self.words))})")
        conditions += [f"{{0}} {sign} {bound:g}" for sign, bound in self.bounds]
        if self.not_before is not None:
            in_order = f"substr({{0}}, 1, 10) >= substr({self.not_before}, 1, 10)"
            conditions.append(f"({self.not_before} IS NULL OR {in_order})")
        if self.needs is not None:
            conditions.append(f"{self.needs} IS NOT NULL")
        return " AND ".join(conditions)


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes
    ----------
    nullable
        Whether a stored value may be unknown.
    required
        Whether a save must give it even so: files of the original layer and other programs may leave out more.
    refers_to
        The table whose rows it names.
    """

    name: str
    rule: Rule
    nullable: bool = False
    required: bool = True
    refers_to: str | None = None


@dataclass(frozen=True, slots=True)
class OwnerKey:
    """The whole number that stands for an owner's id in the rows of a large table, because it is shorter.

    Attributes
    ----------
    table
        The table that has a row for each owner, with its id and its number.
    column
        The number's column, in both tables.
    """

    table: str
    column: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes
    ----------
    owner
        The column that tells whose row it is.
    owner_key
        What the rows hold instead of the owner, in the file alone: whatever is shown or exported has the owner.
    zones
        The table that tells, by owner and in its column `timezone`, in which zone the rows have their days.
    columns
        All columns, in the order of the file.
    keys
        The columns of each unique key, apart from `row_key`.
    row_key
        The column that is SQLite's rowid, if there is one.
    copied
        Whether the replica copies it to columns, and triggers keep `edited_rows` for it.
    """

    name: str
    owner: str
    columns: tuple[Column, ...]
    keys: tuple[tuple[str, ...], ...] = ()
    row_key: str | None = None
    owner_key: OwnerKey | None = None
    zones: str | None = None
    copied: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns."""
        return tuple(column.name for column in self.columns)

    @property
    def stored_names(self) -> tuple[str, ...]:
        """The names of all columns as the file has them."""
        key = self.owner_key
        return self.names if key is None else tuple(key.column if one == self.owner else one for one in self.names)

    def rows_of(self, owner: str) -> str:
        """Return the condition for the rows of an owner, who is given as SQL."""
        of_owner, key = f"{self.owner} = {owner}", self.owner_key
        if key is None:
            return of_owner
        return f"{key.column} IN (SELECT {key.column} FROM {key.table} WHERE {of_owner})"

    def names_without(self, *left_out: str | None) -> tuple[str, ...]:
        """Return the names of the columns, except some."""
        return tuple(name for name in self.names if name not in left_out)

    def column(self, name: str) -> Column:
        """Return the column of this name."""
        return next(column for column in self.columns if column.name == name)


_TEXT: Final = "typeof({0}) = 'text' AND instr({0}, char(0)) = 0"
_BLANKS: Final = f"char({','.join(str(code) for code in range(0x3001) if chr(code).isspace())})"
# date() computes only if given a shift, and then 2024-02-30 becomes another day; without one it is returned as it is.
# julianday() takes more than ISO 8601: hour 24, blanks around the parts, a small z and the year 0.
_DATE: Final = (
    f"{_TEXT} AND {{0}} >= '0001' AND julianday({{0}}) IS NOT NULL "
    "AND date(substr({0}, 1, 10), '+0 days') IS substr({0}, 1, 10) AND (length({0}) = 10 "
    "OR (substr({0}, 11) GLOB '[T ][0-2][0-9]:*' AND substr({0}, 12, 2) < '24' "
    "AND substr({0}, 12) NOT GLOB '*[^0-9:.Z+-]*' "
    "AND ({0} BETWEEN '0001-01-02' AND '9999-12-31' OR substr({0}, 12) NOT GLOB '*[+-]*')))"
)
_JSON: Final = f"CASE WHEN {_TEXT} AND json_valid({{0}}) THEN json_type({{0}}) = '{{kind}}' END"
_CONDITIONS: Final[Mapping[Kind, str]] = {
    "text": _TEXT,
    "float": "typeof({0}) = 'real'",
    "whole": "typeof({0}) = 'integer'",
    "flag": "{0} IN (0, 1)",
    "date": _DATE,
    "moment": _DATE,
    "object": _JSON.replace("{kind}", "object"),
    "array": _JSON.replace("{kind}", "array"),
}
TEXT: Final = Rule("text", "text in UTF-8, without NUL")
NAME: Final = Rule("text", "text in UTF-8 that is not empty, without NUL", blank=False)
NUMBER: Final = Rule("float", "a finite number")
ANY_NUMBER: Final = Rule("float", "a number", infinite=True)
FLAG: Final = Rule("flag", "0 or 1")
DAY: Final = Rule("date", "a date that exists, as YYYY-MM-DD, or date and time in ISO 8601")
EXIT_DAY: Final = replace(
    DAY,
    allowed=f"{DAY.allowed}, not before the entry_date, and with an exit_price",
    not_before="entry_date",
    needs="exit_price",
)
MOMENT: Final = Rule("moment", "a date and time in ISO 8601")
OBJECT: Final = Rule("object", "a JSON object")
ARRAY: Final = Rule("array", "a JSON array")
ROW_NUMBER: Final = Rule("whole", "a whole number")
POSITIVE: Final = Rule("float", "a finite number above 0", above=0)
LOSS: Final = Rule("float", "a finite number of at most 0", most=0)
GAIN: Final = Rule("float", "a finite number of at least 0", least=0)


def whole(least: int) -> Rule:
    """Return the rule for a whole number of at least this size."""
    return Rule("whole", f"a whole number of at least {least}", least=least)


def one_of(words: tuple[str, ...]) -> Rule:
    """Return the rule for text that is one of these words."""
    return Rule("text", f"{', '.join(words[:-1])} or {words[-1]}", words)


def _rule(metric: Metric) -> Rule:
    """Return the rule for the column of a metric of the standard set."""
    return Rule(metric.kind, metric.allowed, least=metric.least, most=metric.most)


def _optional(name: str, rule: Rule, refers_to: str | None = None) -> Column:
    return Column(name, rule, nullable=True, required=False, refers_to=refers_to)


_OF_ITERATION: Final = Column("iteration_id", NAME, refers_to="iterations")

STRATEGIES: Final = Table(
    "strategies",
    owner="strategy_id",
    keys=(("strategy_id",),),
    columns=(
        Column("strategy_id", NAME),
        Column("name", NAME),
        Column("code", TEXT),
        Column("parameters", OBJECT, nullable=True),
        Column("created_at", MOMENT),
        _optional("parent_strategy_id", NAME, refers_to="strategies"),
    ),
)
ITERATIONS: Final = Table(
    "iterations",
    owner="iteration_id",
    keys=(("iteration_id",), ("strategy_id", "iteration_number")),
    columns=(
        Column("iteration_id", NAME),
        Column("strategy_id", NAME, refers_to="strategies"),
        Column("iteration_number", whole(1)),
        Column("code", TEXT),
        Column("timestamp", MOMENT),
        Column("parameters", OBJECT, nullable=True),
        _optional("note", TEXT),
        Column("starred", FLAG),
        Column("archived", FLAG),
        _optional("initial_capital", POSITIVE),
        _optional("timezone", NAME),
        _optional("periods_per_year", POSITIVE),
        _optional("currency", NAME),
        _optional("changed_at", MOMENT),
    ),
)
METRICS: Final = Table(
    "metrics",
    owner="iteration_id",
    keys=(("iteration_id",),),
    row_key="metric_id",
    columns=(
        Column("metric_id", ROW_NUMBER),
        _OF_ITERATION,
        *(_optional(metric.name, _rule(metric)) for metric in STANDARD_SET),
    ),
)
EXTRA_METRICS: Final = Table(
    "extra_metrics",
    owner="iteration_id",
    keys=(("iteration_id", "name"),),
    columns=(_OF_ITERATION, Column("name", NAME), _optional("value", ANY_NUMBER)),
)
# Metrics that were given, where the definitions make another figure of the stored curve and trades.
GIVEN_METRICS: Final = Table(
    "given_metrics",
    owner="iteration_id",
    keys=(("iteration_id", "name"),),
    columns=(_OF_ITERATION, Column("name", one_of(STANDARD_NAMES)), _optional("computed", NUMBER)),
)
SUGGESTIONS: Final = Table(
    "suggestions",
    owner="iteration_id",
    row_key="suggestion_id",
    columns=(
        Column("suggestion_id", ROW_NUMBER),
        _OF_ITERATION,
        Column("priority", one_of(PRIORITIES)),
        Column("description", NAME),
        _optional("specific_changes", TEXT),
        _optional("expected_impact", TEXT),
        _optional("rationale", TEXT),
        _optional("learning_references", ARRAY),
        Column("status", one_of(SUGGESTION_STATES)),
    ),
)
# Which iterations applied a suggestion, in the order of the rows.
APPLICATIONS: Final = Table(
    "applications",
    owner="iteration_id",
    keys=(("suggestion_id", "iteration_id"),),
    columns=(Column("suggestion_id", ROW_NUMBER, refers_to="suggestions"), _OF_ITERATION),
)
TRADES: Final = Table(
    "trades",
    owner="iteration_id",
    row_key="trade_id",
    zones="iterations",
    columns=(
        Column("trade_id", ROW_NUMBER),
        _OF_ITERATION,
        Column("stock_code", NAME),
        Column("entry_date", DAY, nullable=True),
        _optional("exit_date", EXIT_DAY),
        Column("entry_price", NUMBER, nullable=True),
        _optional("exit_price", NUMBER),
        Column("position_size", NUMBER, nullable=True),
        _optional("profit_loss", NUMBER),
        _optional("trade_return", NUMBER),
        _optional("fees", NUMBER),
        _optional("mae", LOSS),
        _optional("mfe", GAIN),
        _optional("multiplier", POSITIVE),
        _optional("entry_reason", TEXT),
        _optional("exit_reason", TEXT),
        _optional("extra", OBJECT),
    ),
)
CURVES: Final = Table(
    "curves",
    owner="iteration_id",
    keys=(("iteration_id",),),
    row_key="curve_id",
    columns=(Column("curve_id", ROW_NUMBER), _OF_ITERATION),
    copied=False,
)
EQUITY: Final = Table(
    "equity",
    owner="iteration_id",
    row_key="equity_id",
    owner_key=OwnerKey("curves", "curve_id"),
    zones="iterations",
    columns=(Column("equity_id", ROW_NUMBER), _OF_ITERATION, Column("date", DAY), Column("equity", NUMBER)),
)
TAGS: Final = Table(
    "tags", owner="iteration_id", keys=(("iteration_id", "tag"),), columns=(_OF_ITERATION, Column("tag", NAME))
)

SERIES_NAMES: Final = Table(
    "series_names",
    owner="name",
    keys=(("name",),),
    row_key="series_id",
    columns=(
        Column("series_id", ROW_NUMBER),
        Column("name", NAME),
        _optional("timezone", NAME),
        _optional("source", TEXT),
        Column("changed_at", MOMENT),
    ),
    copied=False,
)
SERIES: Final = Table(
    "series",
    owner="name",
    row_key="point_id",
    owner_key=OwnerKey("series_names", "series_id"),
    zones="series_names",
    columns=(
        Column("point_id", ROW_NUMBER),
        Column("name", NAME, refers_to="series_names"),
        Column("date", DAY),
        Column("value", NUMBER),
    ),
)

TABLES: Final[Mapping[str, Table]] = {
    table.name: table
    for table in (
        STRATEGIES,
        ITERATIONS,
        METRICS,
        EXTRA_METRICS,
        GIVEN_METRICS,
        SUGGESTIONS,
        APPLICATIONS,
        TRADES,
        CURVES,
        EQUITY,
        TAGS,
        SERIES_NAMES,
        SERIES,
    )
}

# What a save gives for each trade and for each point of an equity curve.
TRADE_COLUMNS: Final = TRADES.columns[2:]
TRADE_FIELDS: Final = tuple(column.name for column in TRADE_COLUMNS)
EQUITY_FIELDS: Final = EQUITY.names[2:]
