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
    condition
        The rule in SQLite's SQL, with ``{0}`` for the column; NULL and false break the rule.
    allowed
        The rule in words.
    words
        The only texts allowed, if they are limited.
    """

    kind: Kind
    condition: str
    allowed: str
    words: tuple[str, ...] = ()


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
class Table:
    """One table.

    Attributes
    ----------
    owner
        The column that tells whose row it is.
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
    copied: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns."""
        return tuple(column.name for column in self.columns)

    def names_without(self, *left_out: str | None) -> tuple[str, ...]:
        """Return the names of the columns, except some."""
        return tuple(name for name in self.names if name not in left_out)

    def column(self, name: str) -> Column:
        """Return the column of this name."""
        return next(column for column in self.columns if column.name == name)


# date() computes only if given a shift, and then 2024-02-30 becomes another day; without one it is returned as it is.
_DAY: Final = (
    "typeof({0}) = 'text' AND date(substr({0}, 1, 10), '+0 days') IS substr({0}, 1, 10) AND julianday({0}) IS NOT NULL"
)
_TEXT: Final = "typeof({0}) = 'text' AND instr({0}, char(0)) = 0"
_BLANKS: Final = f"char({','.join(str(code) for code in range(0x3001) if chr(code).isspace())})"
TEXT: Final = Rule("text", _TEXT, "text in UTF-8, without NUL")
NAME: Final = Rule("text", f"{_TEXT} AND trim({{0}}, {_BLANKS}) <> ''", "text in UTF-8 that is not empty, without NUL")
NUMBER: Final = Rule("float", "typeof({0}) = 'real' AND abs({0}) < 9e999", "a finite number")
ANY_NUMBER: Final = Rule("float", "typeof({0}) = 'real'", "a number")
FLAG: Final = Rule("flag", "{0} IN (0, 1)", "0 or 1")
DAY: Final = Rule("date", _DAY, "a date that exists, as YYYY-MM-DD, or date and time in ISO 8601")
EXIT_DAY: Final = replace(
    DAY,
    condition=f"{_DAY} AND (entry_date IS NULL OR substr({{0}}, 1, 10) >= substr(entry_date, 1, 10)) "
    "AND exit_price IS NOT NULL",
    allowed=f"{DAY.allowed}, not before the entry_date, and with an exit_price",
)
MOMENT: Final = Rule("moment", _DAY, "a date and time in ISO 8601")
OBJECT: Final = Rule("object", "CASE WHEN json_valid({0}) THEN json_type({0}) = 'object' END", "a JSON object")
ARRAY: Final = Rule("array", "CASE WHEN json_valid({0}) THEN json_type({0}) = 'array' END", "a JSON array")
ROW_NUMBER: Final = Rule("whole", "typeof({0}) = 'integer'", "a whole number")


def whole(least: int) -> Rule:
    """Return the rule for a whole number of at least this size."""
    return Rule("whole", f"typeof({{0}}) = 'integer' AND {{0}} >= {least}", f"a whole number of at least {least}")


def one_of(words: tuple[str, ...]) -> Rule:
    """Return the rule for text that is one of these words."""
    listed = f"{', '.join(words[:-1])} or {words[-1]}"
    return Rule("text", f"{{0}} IN ({', '.join(map(repr, words))})", listed, words)


def _rule(metric: Metric) -> Rule:
    """Return the rule for the column of a metric of the standard set."""
    base = ROW_NUMBER if metric.kind == "whole" else NUMBER
    bounds = [
        f" AND {{0}} {sign} {bound:g}"
        for sign, bound in ((">=", metric.least), ("<=", metric.most))
        if math.isfinite(bound)
    ]
    return replace(base, condition="".join([base.condition, *bounds]), allowed=metric.allowed)


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
        _optional("applied_iteration_id", NAME, refers_to="iterations"),
    ),
)
TRADES: Final = Table(
    "trades",
    owner="iteration_id",
    row_key="trade_id",
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
    ),
)
EQUITY: Final = Table(
    "equity",
    owner="iteration_id",
    row_key="equity_id",
    columns=(Column("equity_id", ROW_NUMBER), _OF_ITERATION, Column("date", DAY), Column("equity", NUMBER)),
)
TAGS: Final = Table(
    "tags", owner="iteration_id", keys=(("iteration_id", "tag"),), columns=(_OF_ITERATION, Column("tag", NAME))
)

TABLES: Final[Mapping[str, Table]] = {
    table.name: table for table in (STRATEGIES, ITERATIONS, METRICS, EXTRA_METRICS, SUGGESTIONS, TRADES, EQUITY, TAGS)
}

# What a save gives for each trade and for each point of an equity curve.
TRADE_COLUMNS: Final = TRADES.columns[2:]
TRADE_FIELDS: Final = tuple(column.name for column in TRADE_COLUMNS)
EQUITY_FIELDS: Final = EQUITY.names[2:]
