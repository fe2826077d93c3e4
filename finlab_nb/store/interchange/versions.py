"""Which fields each version of the export format has: the one table that writing and reading follow.

A minor version only adds optional fields: a new column of the store goes into a new minor version here, and files that
were written before keep their meaning. A reader takes every minor of its major: what an older file lacks has its
default, and what a newer one adds is passed over, with one warning. 1.0 is a literal list, whatever the store has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from finlab_nb.errors import NewerFormatWarning, warn
from finlab_nb.records.values import shown

_MOST_NAMED: Final = 50
_OBJECTS: Final = ("heading", "strategy", "iteration")
_VERSION: Final = re.compile(r"(0|[1-9][0-9]{0,5})[.](0|[1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of an object.

    Attributes
    ----------
    required
        Those that it must have.
    optional
        Those that it may have; null stands for absent.
    passed_over
        Those that it may have and that say nothing: rows get new numbers.
    nullable
        Those that are required and may be null.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    nullable: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that say something."""
        return (*self.required, *self.optional)


@dataclass(frozen=True, slots=True)
class Version:
    """What a version of the format has.

    Attributes
    ----------
    name
        As `format_version` tells it.
    heading, strategy, iteration
        The fields of the file, of a strategy and of an iteration.
    rows
        The fields of a row of each table that belongs to an iteration.
    """

    name: str
    heading: Fields
    strategy: Fields
    iteration: Fields
    rows: Mapping[str, Fields]

    def fields(self, kind: str) -> Fields:
        """Return the fields of the heading, a strategy, an iteration or a row of a table."""
        found: Fields = self.rows[kind] if kind in self.rows else getattr(self, kind)
        return found

    def plus(self, name: str, **optional: tuple[str, ...]) -> Version:
        """Return the next minor version, which adds optional fields, given by kind; a kind that is new is a table."""

        def added(kind: str) -> Fields:
            fields = self.fields(kind) if kind in (*_OBJECTS, *self.rows) else Fields(())
            return replace(fields, optional=(*fields.optional, *optional.get(kind, ())))

        tables = dict.fromkeys((*self.rows, *(kind for kind in optional if kind not in _OBJECTS)))
        heading, strategy, iteration = map(added, _OBJECTS)
        return Version(name, heading, strategy, iteration, {table: added(table) for table in tables})


_ROW_NUMBERS: Final = (
    "trade_id",
    "metric_id",
    "equity_id",
    "suggestion_id",
    "iteration_id",
    "applied_iteration_id",
)
_METRICS: Final = ("annualized_return", "sharpe_ratio", "max_drawdown", "win_rate", "total_trades")
_SUGGESTION: Final = (
    "priority",
    "description",
    "specific_changes",
    "expected_impact",
    "rationale",
    "learning_references",
    "status",
    "applied_iteration_id",
)

V1_0: Final = Version(
    name="1.0",
    heading=Fields(("export_timestamp", "format_version", "iteration_count", "iterations"), ("strategies",)),
    strategy=Fields(("strategy_id", "name", "code", "parameters", "created_at", "parent_strategy_id")),
    iteration=Fields(
        (
            "iteration_id",
            "strategy_id",
            "iteration_number",
            "code",
            "timestamp",
            "metrics",
            "trades",
            "suggestions",
            "parameters",
            "extra_metrics",
            "equity",
            "tags",
            "note",
            "starred",
            "archived",
            "strategy",
        ),
        nullable=("note",),
    ),
    rows={
        "metrics": Fields(_METRICS, passed_over=_ROW_NUMBERS),
        "extra_metrics": Fields(("name", "value")),
        "trades": Fields(
            (
                "stock_code",
                "entry_date",
                "exit_date",
                "entry_price",
                "exit_price",
                "position_size",
                "profit_loss",
            ),
            passed_over=_ROW_NUMBERS,
        ),
        "equity": Fields(("date", "equity"), passed_over=_ROW_NUMBERS),
        "suggestions": Fields(_SUGGESTION, passed_over=_ROW_NUMBERS),
        "tags": Fields(("tag",)),
    },
)
# What today's rules refuse, as it is stored; see `as_stored`.
V1_1: Final = V1_0.plus("1.1", strategy=("as_stored",), iteration=("as_stored",))
# What a market and an engine know; absent periods_per_year are what the curve gives.
V1_2: Final = V1_1.plus(
    "1.2",
    iteration=("initial_capital", "timezone", "periods_per_year", "currency", "changed_at"),
    trades=("trade_return", "fees", "mae", "mfe", "multiplier", "entry_reason", "exit_reason", "extra"),
)
# All iterations that applied a suggestion, whatever became of it; before, one that was applied could name one of them.
# When annotations were changed, and which iterations were deleted.
V1_3: Final = V1_2.plus("1.3", heading=("deleted",), iteration=("changes",), suggestions=("applied_iteration_ids",))
# Where an iteration comes from.
V1_4: Final = V1_3.plus(
    "1.4",
    iteration=("provenance",),
    provenance=(
        "engine",
        "engine_version",
        "code_hash",
        "packages",
        "data_fingerprint",
        "seed",
        "duration",
        "host",
        "result_hash",
    ),
)

VERSIONS: Final = (V1_0, V1_1, V1_2, V1_3, V1_4)
OLDEST: Final = VERSIONS[0]
NEWEST: Final = VERSIONS[-1]
_BY_NAME: Final = {version.name: version for version in VERSIONS}
_MAJOR: Final = NEWEST.name.partition(".")[0]

# An iteration of the original layer, which had fewer fields and no `strategy`.
ORIGINAL: Final = replace(
    V1_0,
    iteration=Fields(
        ("iteration_id", "strategy_id", "iteration_number", "code", "timestamp", "metrics", "trades", "suggestions"),
        ("parameters", "extra_metrics", "equity", "tags", "note", "starred", "archived"),
        nullable=("metrics",),
    ),
    rows={
        **V1_0.rows,
        "metrics": Fields((), _METRICS, _ROW_NUMBERS),
        "suggestions": Fields(_SUGGESTION[:2], _SUGGESTION[2:], _ROW_NUMBERS),
    },
)
# What such an iteration may have in a file of each version: one that is written by hand may have what was added later.
_ORIGINALS: Final = {
    version.name: ORIGINAL.plus(
        version.name,
        iteration=tuple(name for name in version.iteration.optional if name != "as_stored"),
        **{table: fields.optional for table, fields in version.rows.items()},
    )
    for version in VERSIONS
}


@dataclass(slots=True)
class Reading:
    """By which version's fields a file is read, and what was passed over.

    Attributes
    ----------
    version
        The file's own, else the newest one known here. Until `format_version` has been read it is the oldest, so in a
        file of a later version it stands before what that version adds.
    newer
        The version of the file where that is a newer one.
    """

    version: Version = OLDEST
    newer: str | None = None
    _found: bool = False
    _passed_over: dict[str, None] = field(default_factory=dict)

    @property
    def original(self) -> Version:
        """The fields of an iteration without `strategy`, which comes from the original layer."""
        return _ORIGINALS[self.version.name]

    def begin(self, path: str, name: object) -> None:
        """Read on by the fields of the version that a file names.

        Raises
        ------
        ValueError
            If it is no version, or one of another major.
        """
        match = _VERSION.fullmatch(name) if isinstance(name, str) else None
        if match is None or match[1] != _MAJOR:
            raise ValueError(
                f"{path} is {shown(name)}; this release reads versions {_MAJOR}.x, such as {NEWEST.name!r}: for a "
                "newer one run 'pip install --upgrade finlab-nb'"
            )
        self._found = True
        self.version = _BY_NAME.get(match[0], NEWEST)
        self.newer = None if match[0] in _BY_NAME else match[0]

    def object(self, path: str, kind: str, value: object, fields: Fields | None = None) -> dict[str, Any]:
        """Return the fields of an object that are known.

        Raises
        ------
        ValueError
            If one is missing, or is unknown though the version of the file is known; the message begins with the JSON
            path.
        """
        fields = fields or self.version.fields(kind)
        if not isinstance(value, dict):
            raise ValueError(f"{path} is {shown(value)}; it must be an object")
        for name in fields.required:
            if name not in value:
                hint = "; an unknown value is null" if kind in self.version.rows else ""
                raise ValueError(f"{path}.{name} is missing{hint}")
        known = {*fields.names, *fields.passed_over}
        for name in value:
            if name not in known:
                self.pass_over(path, kind, name, fields.names)
        return {name: item for name, item in value.items() if name in known}

    def rows(self, path: str, kind: str, rows: list[Any], fields: Fields | None = None) -> list[Any]:
        """Return rows with the fields that are known; most have the same ones, which is seen at a glance."""
        fields = fields or self.version.fields(kind)
        if set(map(type, rows)) == {dict}:
            names = set().union(*rows)
            if (
                names.issubset(fields.names)
                and names.issuperset(fields.required)
                and set(map(len, rows)) == {len(names)}
            ):
                return rows
        return [
            self.object(f"{path}[{i}]", kind, row, fields) if isinstance(row, dict) else row  # the record refuses these
            for i, row in enumerate(rows)
        ]

    def pass_over(self, path: str, kind: str, name: str, allowed: Iterable[str]) -> None:
        """Note a field that a newer version has added.

        Raises
        ------
        ValueError
            If the version of the file is known, and has no such field.
        """
        if self.newer is None:
            hint = "" if self._found else " (what a later version has added stands after format_version)"
            raise ValueError(f"{path} has the unknown field {shown(name)}; allowed are {', '.join(allowed)}{hint}")
        if len(self._passed_over) < _MOST_NAMED:
            self._passed_over[shown(name if kind == "heading" else f"{kind}.{name}")] = None

    def warn(self) -> None:
        """Warn of what was passed over."""
        if self._passed_over:
            more = ", ..." if len(self._passed_over) == _MOST_NAMED else ""
            warn(
                f"the file has format {self.newer}, and this release knows {NEWEST.name}: passed over were "
                f"{', '.join(self._passed_over)}{more}; after 'pip install --upgrade finlab-nb' they are read too",
                NewerFormatWarning,
            )
