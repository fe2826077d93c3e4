"""What is stored: typed records, checked and brought into one form before anything is written.

Every rule for incoming data is here. A record that exists is valid; wrong data raises a ValueError that names the
field, the value and what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

import pandas as pd
from uuid_utils import uuid7

from finlab_nb.errors import DroppedMetricsWarning, ImplausibleDataWarning, warn
from finlab_nb.records.column_rows import ColumnRows
from finlab_nb.records.days import now, timestamp_text
from finlab_nb.records.metrics import METRICS
from finlab_nb.records.parameters import json_text, parameters_text
from finlab_nb.records.plain import is_missing
from finlab_nb.records.plausibility import Doubt
from finlab_nb.records.provenance import Provenance, provenance_record
from finlab_nb.records.results import message_of_dropped, optional, results_record
from finlab_nb.records.rows import curve_record, trades_record
from finlab_nb.records.stamps import Clock, common_zone
from finlab_nb.records.tables import PRIORITIES, SUGGESTION_STATES, SUGGESTIONS, TRADE_FIELDS
from finlab_nb.records.values import (
    filled_text,
    flag,
    known_keys,
    listed,
    named,
    one_of,
    tags_record,
    text,
    whole,
)
from finlab_nb.records.zones import zone_name

_SUGGESTION_FIELDS: Final = SUGGESTIONS.names_without("suggestion_id", "iteration_id")
_SUGGESTION_TEXTS: Final = ("specific_changes", "expected_impact", "rationale")

__all__ = [
    "METRICS",
    "PRIORITIES",
    "SUGGESTION_STATES",
    "TRADE_FIELDS",
    "Doubt",
    "Iteration",
    "Provenance",
    "Recording",
    "Series",
    "Strategy",
    "Suggestion",
    "curve_record",
    "filled_text",
    "flag",
    "iteration_record",
    "new_id",
    "one_of",
    "provenance_record",
    "series_record",
    "strategy_record",
    "tags_record",
    "text",
    "trades_record",
    "warn_of",
]


@dataclass(frozen=True, slots=True)
class Strategy:
    """One version of a strategy."""

    strategy_id: str
    name: str
    code: str
    parameters: str
    created_at: str
    parent_strategy_id: str | None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What to try next, and what became of it."""

    priority: str
    description: str
    specific_changes: str | None
    expected_impact: str | None
    rationale: str | None
    learning_references: str | None
    status: str


@dataclass(frozen=True, slots=True)
class Iteration:
    """One backtest with everything it left behind; `None` as number, code or parameters asks for the default."""

    iteration_id: str
    strategy_id: str
    iteration_number: int | None
    code: str | None
    timestamp: str
    parameters: str | None
    note: str | None
    starred: bool
    archived: bool
    initial_capital: float | None
    timezone: str | None
    periods_per_year: float | None
    currency: str | None
    changed_at: str | None  # when it was annotated last, if it was
    metrics: tuple[float | None, ...]  # the standard set, in its order
    extra_metrics: tuple[tuple[str, float | None], ...]
    trades: ColumnRows  # in the order of TRADE_FIELDS
    equity: ColumnRows  # dates and values
    suggestions: tuple[Suggestion, ...]
    tags: tuple[str, ...]
    given: tuple[tuple[str, float | None], ...] = ()  # metrics that the definitions do not confirm, with what they give
    provenance: Provenance | None = None
    applies: tuple[int, ...] = ()  # ids of the suggestions that this iteration tries
    doubts: tuple[Doubt, ...] = ()
    dropped: tuple[str, ...] = ()  # extra metrics that are no numbers, each with its value


@dataclass(frozen=True, slots=True)
class Recording:
    """An iteration and the strategy version that it belongs to, which may have to be made.

    Attributes
    ----------
    strategy
        The id of a version, or the name of a strategy.
    code
        The code that was run; None where it is unknown, which is the newest version of the name.
    iteration
        Its strategy_id and code become those of the version and the code that was run.
    """

    strategy: str
    code: str | None
    iteration: Iteration


@dataclass(frozen=True, slots=True)
class Series:
    """Values by date under a name, such as a benchmark."""

    name: str
    timezone: str | None
    source: str | None
    changed_at: str
    points: ColumnRows  # dates and values


def new_id() -> str:
    """Return a version 7 UUID as text; these are ordered by time, so that index inserts stay local."""
    return str(uuid7())


def strategy_record(
    name: str,
    code: str,
    parameters: Any = None,
    parent_strategy_id: str | None = None,
    *,
    exact: bool = False,
) -> Strategy:
    """Check a strategy version and give it an id; `exact` as in `iteration_record`."""
    return Strategy(
        strategy_id=new_id(),
        name=text("name", name, empty=False),
        code=text("code", code),
        parameters=parameters_text("parameters", {} if is_missing(parameters) else parameters, exact=exact),
        created_at=now(),
        parent_strategy_id=optional(filled_text, "parent_strategy_id", parent_strategy_id),
    )


def series_record(name: str, series: Any, *, timezone: Any = None, source: str | None = None) -> Series:
    """Check a series; see `StorageManager.save_series` for the arguments."""
    zone = optional(zone_name, "timezone", timezone)
    if isinstance(series, (pd.Series, pd.DataFrame)):
        series = series.dropna()
    curve = curve_record("series", series, "value", None if zone is None else ZoneInfo(zone))
    return Series(
        name=filled_text("name", name),
        timezone=common_zone(curve.clock, Clock()) if zone is None else zone,
        source=optional(text, "source", source),
        changed_at=now(),
        points=curve.points,
    )


def iteration_record(
    strategy_id: str,
    iteration_number: int | None = None,
    code: str | None = None,
    *,
    metrics: Any = None,
    trades: Any = None,
    suggestions: Iterable[Any] | None = (),
    equity: Any = None,
    parameters: Any = None,
    extra_metrics: Any = None,
    tags: str | Iterable[str] | None = (),
    note: str | None = None,
    timestamp: datetime | str | None = None,
    applies: Iterable[int] | None = (),
    returns: Any = None,
    initial_capital: float | None = None,
    timezone: str | tzinfo | None = None,
    periods_per_year: float | None = None,
    currency: str | None = None,
    strict: bool = False,
    iteration_id: str | None = None,
    starred: bool = False,
    archived: bool = False,
    changed_at: datetime | str | None = None,
    provenance: Any = None,
    exact: bool = False,
) -> Iteration:
    """Check one iteration; see `StorageManager.save_iteration` for the arguments.

    With `exact`, for what an export file holds, values are taken as they are or refused: nothing is converted, dropped,
    doubted or added, and moments without a zone are UTC where the zone is known.
    """
    return Iteration(
        iteration_id=new_id() if iteration_id is None else filled_text("iteration_id", iteration_id),
        strategy_id=filled_text("strategy_id", strategy_id),
        iteration_number=optional(_iteration_number, "iteration_number", iteration_number),
        code=optional(text, "code", code),
        timestamp=now() if is_missing(timestamp) else timestamp_text("timestamp", timestamp),
        parameters=None if is_missing(parameters) else parameters_text("parameters", parameters, exact=exact),
        note=optional(text, "note", note),
        starred=flag("starred", starred),
        archived=flag("archived", archived),
        currency=optional(filled_text, "currency", currency),
        changed_at=optional(timestamp_text, "changed_at", changed_at),
        provenance=None if is_missing(provenance) else provenance_record(provenance, exact=exact),
        suggestions=tuple(
            _suggestion(f"suggestions[{i}]", one, exact=exact)
            for i, one in enumerate(() if suggestions is None else listed("suggestions", suggestions))
        ),
        tags=tags_record("tags", tags),
        applies=tuple(
            whole(f"applies[{i}]", one, 1)
            for i, one in enumerate(() if applies is None else listed("applies", applies))
        ),
        **results_record(
            metrics,
            extra_metrics,
            trades,
            equity,
            returns,
            initial_capital=initial_capital,
            timezone=timezone,
            periods_per_year=periods_per_year,
            strict=flag("strict", strict),
            exact=exact,
        ),
    )


def warn_of(doubts: Sequence[Doubt], dropped: Sequence[str]) -> None:
    """Warn of what iterations of one call hold: once for each kind of doubt, and once of all that was dropped."""
    for doubt in {doubt.kind: doubt for doubt in reversed(doubts)}.values():
        warn(doubt.message, ImplausibleDataWarning)
    if dropped:
        warn(message_of_dropped(dropped), DroppedMetricsWarning)


def _iteration_number(field: str, value: object) -> int:
    return whole(field, value, 1)


def _suggestion(field: str, given: object, *, exact: bool) -> Suggestion:
    fields = dict(named(field, given, "a dict with priority and description"))
    known_keys(field, fields, _SUGGESTION_FIELDS)
    references = fields.get("learning_references")
    return Suggestion(
        priority=one_of(f"{field}.priority", fields.get("priority"), PRIORITIES),
        description=filled_text(f"{field}.description", fields.get("description")),
        learning_references=None
        if is_missing(references)
        else json_text(
            f"{field}.learning_references", list(listed(f"{field}.learning_references", references)), exact=exact
        ),
        status=one_of(f"{field}.status", fields.get("status", "open"), SUGGESTION_STATES),
        **{name: optional(text, f"{field}.{name}", fields.get(name)) for name in _SUGGESTION_TEXTS},
    )
