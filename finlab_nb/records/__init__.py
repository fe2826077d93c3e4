"""What is stored: typed records, checked and brought into one form before anything is written.

Every rule for incoming data is here. A record that exists is valid; wrong data raises a ValueError that names the
field, the value and what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import pandas as pd
from uuid_utils import uuid7

from finlab_nb.analysis import equity_metrics, trade_metrics
from finlab_nb.errors import DroppedMetricsWarning, ImplausibleDataWarning, warn
from finlab_nb.records.days import now, timestamp_text
from finlab_nb.records.metrics import KNOWN_METRICS, METRICS
from finlab_nb.records.parameters import json_text, key_text, parameters_text
from finlab_nb.records.plain import is_missing
from finlab_nb.records.plausibility import Doubt, doubts
from finlab_nb.records.rows import EquityRow, TradeRow, equity_record, trades_columns
from finlab_nb.records.tables import PRIORITIES, SUGGESTION_STATES, SUGGESTIONS, TRADE_FIELDS
from finlab_nb.records.values import (
    filled_text,
    flag,
    known_keys,
    listed,
    named,
    number,
    one_of,
    shown,
    tags_record,
    text,
    whole,
)

_SUGGESTION_FIELDS: Final = SUGGESTIONS.names_without("suggestion_id", "iteration_id", "applied_iteration_id")
_SUGGESTION_TEXTS: Final = ("specific_changes", "expected_impact", "rationale")
_MOST_NAMED: Final = 12

__all__ = [
    "METRICS",
    "PRIORITIES",
    "SUGGESTION_STATES",
    "TRADE_FIELDS",
    "Doubt",
    "EquityRow",
    "Iteration",
    "Strategy",
    "Suggestion",
    "TradeRow",
    "equity_record",
    "filled_text",
    "flag",
    "iteration_record",
    "new_id",
    "one_of",
    "strategy_record",
    "tags_record",
    "text",
    "trades_columns",
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
    metrics: tuple[float | None, ...]  # the standard set, in its order
    extra_metrics: tuple[tuple[str, float | None], ...]
    trades: list[TradeRow]
    equity: list[EquityRow]
    suggestions: tuple[Suggestion, ...]
    tags: tuple[str, ...]
    applies: tuple[int, ...] = ()  # ids of the suggestions that this iteration tries
    doubts: tuple[Doubt, ...] = ()
    dropped: tuple[str, ...] = ()  # extra metrics that are no numbers, each with its value


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
        parent_strategy_id=_optional(filled_text, "parent_strategy_id", parent_strategy_id),
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
    strict: bool = False,
    iteration_id: str | None = None,
    starred: bool = False,
    archived: bool = False,
    exact: bool = False,
) -> Iteration:
    """Check one iteration; see `StorageManager.save_iteration` for the arguments.

    With `exact`, for what an export file holds, values are taken as they are or refused: nothing is converted, dropped,
    doubted or added.
    """
    return Iteration(
        iteration_id=new_id() if iteration_id is None else filled_text("iteration_id", iteration_id),
        strategy_id=filled_text("strategy_id", strategy_id),
        iteration_number=_optional(_iteration_number, "iteration_number", iteration_number),
        code=_optional(text, "code", code),
        timestamp=now() if is_missing(timestamp) else timestamp_text("timestamp", timestamp),
        parameters=None if is_missing(parameters) else parameters_text("parameters", parameters, exact=exact),
        note=_optional(text, "note", note),
        starred=flag("starred", starred),
        archived=flag("archived", archived),
        suggestions=tuple(
            _suggestion(f"suggestions[{i}]", one, exact=exact)
            for i, one in enumerate(() if suggestions is None else listed("suggestions", suggestions))
        ),
        tags=tags_record("tags", tags),
        applies=tuple(
            whole(f"applies[{i}]", one, 1)
            for i, one in enumerate(() if applies is None else listed("applies", applies))
        ),
        **_results(metrics, extra_metrics, trades, equity, strict=flag("strict", strict), exact=exact),
    )


def _results(
    metrics: Any, extra_metrics: Any, trades: Any, equity: Any, *, strict: bool, exact: bool
) -> dict[str, Any]:
    """Return what a backtest gave as fields of `Iteration`: trades, curve, metrics given and computed, and doubts."""
    trade_columns = {} if trades is None else trades_columns(trades)
    equity_rows = [] if equity is None else equity_record(equity)
    given, extra, dropped = _metrics_given(metrics, extra_metrics, exact=exact)
    if exact and not trade_columns.get("stock_code"):
        trade_columns = {}  # a file has a list, also where nobody has said that no trades were made
    computed = _metrics_computed(trade_columns, equity_rows)
    found = () if exact else tuple(doubts(given, extra, trade_columns, equity_rows, computed))
    if strict and (found or dropped):
        raise ValueError(found[0].message if found else _message_of_dropped(dropped))
    if trade_columns:
        still_open = trade_columns["exit_date"].count(None)
        if not exact or (still_open and metrics is None):
            extra.setdefault("open_trades", float(still_open))
    return {
        "metrics": tuple((computed | given).get(name) for name in METRICS),
        "extra_metrics": tuple(extra.items()),
        "trades": list(zip(*trade_columns.values(), strict=True)),
        "equity": equity_rows,
        "doubts": found,
        "dropped": dropped,
    }


def warn_of(doubts: Sequence[Doubt], dropped: Sequence[str]) -> None:
    """Warn of what iterations of one call hold: once for each kind of doubt, and once of all that was dropped."""
    for doubt in {doubt.kind: doubt for doubt in reversed(doubts)}.values():
        warn(doubt.message, ImplausibleDataWarning)
    if dropped:
        warn(_message_of_dropped(dropped), DroppedMetricsWarning)


def _message_of_dropped(dropped: Sequence[str]) -> str:
    each = list(dict.fromkeys(dropped))
    more = f" and {len(each) - _MOST_NAMED} more" if len(each) > _MOST_NAMED else ""
    return (
        "extra metrics must be numbers and have a name of their own, so these are not stored: "
        f"{', '.join(each[:_MOST_NAMED])}{more}; parameters take anything"
    )


def _optional(check: Callable[[str, Any], Any], field: str, value: Any) -> Any:
    return None if is_missing(value) else check(field, value)


def _iteration_number(field: str, value: object) -> int:
    return whole(field, value, 1)


def _metrics_given(
    metrics: Any, extra_metrics: Any, *, exact: bool
) -> tuple[dict[str, float | None], dict[str, float | None], tuple[str, ...]]:
    """Return the standard set, further metrics, and which of these were no numbers."""
    wanted = "a dict or Series of names and numbers"
    further = [] if extra_metrics is None else named("extra_metrics", extra_metrics, wanted)
    given: dict[str, float | None] = {}
    extra: dict[str, float | None] = {}
    dropped: list[str] = []
    for field, key, value in (
        *(("metrics", *pair) for pair in ([] if metrics is None else named("metrics", metrics, wanted))),
        *(("extra_metrics", *pair) for pair in further),
    ):
        name = text("extra_metrics name", key, empty=False) if exact else key_text(key)
        if field == "metrics" and name in METRICS and name not in given:
            given[name] = _metric(name, value)
            continue
        try:
            if not name.strip() or name in extra or (field == "metrics" and name in given):
                raise ValueError
            extra[name] = _optional(_any_number, f"{field}.{name}", value)
        except ValueError:
            if exact:
                raise
            dropped.append(f"{name}={' '.join(shown(value).split())}")
    return given, extra, tuple(dropped)


def _any_number(field: str, value: object) -> float:
    return number(field, value, infinite=True)


def _metric(name: str, value: object) -> float | None:
    field, metric = f"metrics.{name}", KNOWN_METRICS[name]
    if is_missing(value):
        return None
    figure = whole(field, value, int(metric.least)) if metric.kind == "whole" else number(field, value)
    if not metric.allows(figure):
        hint = f", such as {metric.hint}" if metric.hint else ""
        if metric.unit == "fraction" and abs(figure) > 1:
            hint += "; if it is percent, divide by 100"
        raise ValueError(f"{field} is {shown(value)}; it must be {metric.allowed}{hint}")
    return figure


def _metrics_computed(trades: Mapping[str, list[Any]], equity: list[EquityRow]) -> dict[str, float | None]:
    computed: dict[str, float] = {}
    if trades:
        results, exits = trades["profit_loss"], trades["exit_date"]
        closed = results if None not in exits else [one for one, day in zip(results, exits, strict=True) if day]
        computed |= trade_metrics(np.array(closed, dtype=np.float64))
    if equity:
        dates, values = zip(*equity, strict=True)
        index = pd.DatetimeIndex(np.array(dates, dtype="datetime64[us]"))
        computed |= equity_metrics(pd.Series(values, index=index, dtype=np.float64))
    return {name: None if is_missing(value) else value for name, value in computed.items()}


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
        **{name: _optional(text, f"{field}.{name}", fields.get(name)) for name in _SUGGESTION_TEXTS},
    )
