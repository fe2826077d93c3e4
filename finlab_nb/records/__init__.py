"""What is stored: typed records, checked and brought into one form before anything is written.

Every rule that data must obey on its way in stands here. A record that exists is valid; what is wrong raises a
ValueError that names the field, the value and what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import pandas as pd
from uuid_utils import uuid7

from finlab_nb.analysis import equity_metrics, win_rate
from finlab_nb.records.rows import EquityRow, TradeRow, equity_record, trades_record
from finlab_nb.records.tables import METRICS as _METRICS_TABLE
from finlab_nb.records.tables import PRIORITIES, SUGGESTION_STATES, SUGGESTIONS, TRADE_FIELDS
from finlab_nb.records.values import (
    flag,
    is_missing,
    json_text,
    known_keys,
    listed,
    now,
    number,
    one_of,
    parameters_text,
    shown,
    tags_record,
    text,
    timestamp_text,
    whole,
)

METRICS: Final = _METRICS_TABLE.names[2:]
_SUGGESTION_FIELDS: Final = SUGGESTIONS.names_without("suggestion_id", "iteration_id", "applied_iteration_id")
_SUGGESTION_TEXTS: Final = ("specific_changes", "expected_impact", "rationale")
_EXIT: Final = TRADE_FIELDS.index("exit_date")
_RESULT: Final = TRADE_FIELDS.index("profit_loss")

__all__ = [
    "METRICS",
    "PRIORITIES",
    "SUGGESTION_STATES",
    "TRADE_FIELDS",
    "EquityRow",
    "Iteration",
    "Strategy",
    "Suggestion",
    "TradeRow",
    "equity_record",
    "flag",
    "iteration_record",
    "new_id",
    "one_of",
    "strategy_record",
    "tags_record",
    "text",
    "trades_record",
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
    """One backtest run with everything it left behind; `None` in number, code or parameters asks for the default."""

    iteration_id: str
    strategy_id: str
    iteration_number: int | None
    code: str | None
    timestamp: str
    parameters: str | None
    note: str | None
    starred: bool
    archived: bool
    metrics: tuple[float | None, float | None, float | None, float | None, int | None]
    extra_metrics: tuple[tuple[str, float | None], ...]
    trades: list[TradeRow]
    equity: list[EquityRow]
    suggestions: tuple[Suggestion, ...]
    tags: tuple[str, ...]
    applies: tuple[int, ...] = ()  # ids of the suggestions that this iteration tries


def new_id() -> str:
    """Return a UUID of version 7 as text: in order of time, so that index inserts stay local."""
    return str(uuid7())


def strategy_record(
    name: str, code: str, parameters: Mapping[str, Any] | None = None, parent_strategy_id: str | None = None
) -> Strategy:
    """Check a strategy version and give it an id."""
    return Strategy(
        strategy_id=new_id(),
        name=text("name", name, empty=False),
        code=text("code", code),
        parameters=parameters_text("parameters", {} if parameters is None else parameters),
        created_at=now(),
        parent_strategy_id=None if parent_strategy_id is None else text("parent_strategy_id", parent_strategy_id),
    )


def iteration_record(
    strategy_id: str,
    iteration_number: int | None = None,
    code: str | None = None,
    *,
    metrics: Mapping[str, Any] | None = None,
    trades: Any = (),
    suggestions: Iterable[Mapping[str, Any]] = (),
    equity: Any = None,
    parameters: Mapping[str, Any] | None = None,
    extra_metrics: Mapping[str, Any] | None = None,
    tags: Iterable[str] = (),
    note: str | None = None,
    timestamp: datetime | str | None = None,
    applies: Iterable[int] = (),
    iteration_id: str | None = None,
    starred: bool = False,
    archived: bool = False,
) -> Iteration:
    """Check one iteration; see `StorageManager.save_iteration` for the arguments."""
    trade_rows = trades_record(trades)
    equity_rows = equity_record(equity)
    given = _metrics_given({} if metrics is None else metrics)
    extra = _extra_metrics_record({} if extra_metrics is None else extra_metrics)
    open_trades = [row[_EXIT] for row in trade_rows].count(None)
    if open_trades and metrics is None:
        extra.setdefault("open_trades", float(open_trades))
    wanted = METRICS if metrics is None else [name for name in METRICS if name not in metrics]
    given.update(_metrics_computed(trade_rows, equity_rows, wanted))
    return Iteration(
        iteration_id=new_id() if iteration_id is None else text("iteration_id", iteration_id, empty=False),
        strategy_id=text("strategy_id", strategy_id, empty=False),
        iteration_number=None if iteration_number is None else whole("iteration_number", iteration_number, 1),
        code=None if code is None else text("code", code),
        timestamp=now() if timestamp is None else timestamp_text("timestamp", timestamp),
        parameters=None if parameters is None else parameters_text("parameters", parameters),
        note=None if note is None else text("note", note),
        starred=flag("starred", starred),
        archived=flag("archived", archived),
        metrics=tuple(given.get(name) for name in METRICS),  # type: ignore[arg-type]
        extra_metrics=tuple(extra.items()),
        trades=trade_rows,
        equity=equity_rows,
        suggestions=tuple(
            _suggestion(f"suggestions[{i}]", one) for i, one in enumerate(listed("suggestions", suggestions))
        ),
        tags=tags_record("tags", tags),
        applies=tuple(whole(f"applies[{i}]", one, 1) for i, one in enumerate(listed("applies", applies))),
    )


def _metrics_given(metrics: Mapping[str, Any]) -> dict[str, float | int | None]:
    known_keys("metrics", metrics, METRICS, " (others belong into extra_metrics)")
    return {name: _metric(name, value) for name, value in metrics.items() if name in METRICS}


def _metric(name: str, value: object) -> float | int | None:
    field = f"metrics.{name}"
    if is_missing(value):
        return None
    if name == "total_trades":
        return whole(field, value, 0)
    figure = number(field, value)
    if name == "max_drawdown" and figure > 0:
        raise ValueError(
            f"{field} is {shown(value)}; it must be a fraction of at most 0, such as -0.2 for a fall of 20%"
        )
    if name == "win_rate" and not 0 <= figure <= 1:
        raise ValueError(f"{field} is {shown(value)}; it must be a fraction from 0 to 1")
    return figure


def _extra_metrics_record(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    if not isinstance(metrics, Mapping):
        raise ValueError(f"extra_metrics is {shown(metrics)}; it must be a dict of names and numbers")
    return {
        text("extra_metrics name", name, empty=False): None
        if is_missing(value)
        else number(f"extra_metrics.{name}", value, infinite=True)
        for name, value in metrics.items()
    }


def _metrics_computed(
    trades: list[TradeRow], equity: list[EquityRow], wanted: Sequence[str]
) -> dict[str, float | int | None]:
    computed: dict[str, float | int | None] = {}
    if trades and not {"total_trades", "win_rate"}.isdisjoint(wanted):
        closed = [row[_RESULT] for row in trades if row[_EXIT] is not None]
        computed["total_trades"] = len(closed)
        computed["win_rate"] = win_rate(np.array(closed, dtype=np.float64))
    if equity and not {"annualized_return", "sharpe_ratio", "max_drawdown"}.isdisjoint(wanted):
        dates, values = zip(*equity, strict=True)
        index = pd.DatetimeIndex(np.array(dates, dtype="datetime64[us]"))
        computed |= equity_metrics(pd.Series(values, index=index, dtype=np.float64))
    return {name: None if is_missing(value) else value for name, value in computed.items() if name in wanted}


def _suggestion(field: str, given: object) -> Suggestion:
    if not isinstance(given, Mapping):
        raise ValueError(f"{field} is {shown(given)}; it must be a dict with priority and description")
    known_keys(field, given, _SUGGESTION_FIELDS)
    references = given.get("learning_references")
    texts = {name: given.get(name) for name in _SUGGESTION_TEXTS}
    return Suggestion(
        priority=one_of(f"{field}.priority", given.get("priority"), PRIORITIES),
        description=text(f"{field}.description", given.get("description"), empty=False),
        learning_references=None
        if references is None
        else json_text(f"{field}.learning_references", list(listed(f"{field}.learning_references", references))),
        status=one_of(f"{field}.status", given.get("status", "open"), SUGGESTION_STATES),
        **{name: None if value is None else text(f"{field}.{name}", value) for name, value in texts.items()},
    )
