"""The stored tables: one description of each, from which the rest follows.

Saving, loading and `check` take columns and rules from here, the replica takes columns and kinds, the triggers that
record edits take keys. The DDL in `store.migrations` and the schema of the export repeat the same facts in their own
languages; tests compare them with this description.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from finlab_nb.records.metrics import METRICS as STANDARD_NAMES
from finlab_nb.records.metrics import STANDARD_SET, Metric
from finlab_nb.records.rules import (
    ANY_NUMBER,
    ARRAY,
    DAY,
    EXIT_DAY,
    FLAG,
    GAIN,
    LOSS,
    MOMENT,
    NAME,
    NUMBER,
    OBJECT,
    POSITIVE,
    ROW_NUMBER,
    TEXT,
    Rule,
    one_of,
    whole,
)

PRIORITIES: Final = ("high", "medium", "low")
SUGGESTION_STATES: Final = ("open", "applied", "rejected")


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
    def bucket_bits(self) -> int:
        """How many rowids form a bucket, as a power of two: fewer where rows hold code, which takes long to read."""
        return 4 if any(column.name == "code" for column in self.columns) else 10

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
# Where the figures come from, as far as that is known.
PROVENANCE: Final = Table(
    "provenance",
    owner="iteration_id",
    keys=(("iteration_id",),),
    columns=(
        _OF_ITERATION,
        _optional("engine", NAME),
        _optional("engine_version", NAME),
        _optional("code_hash", NAME),
        _optional("packages", OBJECT),
        _optional("data_fingerprint", TEXT),
        _optional("seed", ROW_NUMBER),
        _optional("duration", GAIN),
        _optional("host", NAME),
        _optional("result_hash", NAME),
    ),
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
        PROVENANCE,
        SERIES_NAMES,
        SERIES,
    )
}

# What a save gives for each trade and for each point of an equity curve.
TRADE_COLUMNS: Final = TRADES.columns[2:]
TRADE_FIELDS: Final = tuple(column.name for column in TRADE_COLUMNS)
EQUITY_FIELDS: Final = EQUITY.names[2:]
