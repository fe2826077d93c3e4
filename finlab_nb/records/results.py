"""What a backtest gave: trades, curve and metrics, given and computed, and what looks wrong about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from finlab_nb.analysis import curve_metrics, trade_metrics
from finlab_nb.analysis.performance import Floats
from finlab_nb.records.column_rows import ColumnRows
from finlab_nb.records.metrics import KNOWN_METRICS, METRICS
from finlab_nb.records.parameters import key_text
from finlab_nb.records.plain import floats, is_missing
from finlab_nb.records.plausibility import Doubt, doubts, zone_doubt
from finlab_nb.records.rows import Curve, Trades, curve_of_returns, curve_record, trades_record
from finlab_nb.records.stamps import Clock, common_zone, lacks_zone
from finlab_nb.records.values import named, number, positive, shown, text, whole
from finlab_nb.records.zones import Days, zone_name

_MOST_NAMED: Final = 12
# What is given and what is computed are the same figure up to rounding.
_ROUNDING: Final = 1e-9
_CAPITAL_OF_RETURNS: Final = 1.0


def results_record(
    metrics: Any,
    extra_metrics: Any,
    trades: Any,
    equity: Any,
    returns: Any,
    *,
    initial_capital: Any,
    timezone: Any,
    periods_per_year: Any,
    strict: bool,
    exact: bool,
) -> dict[str, Any]:
    """Return what a backtest gave as fields of `Iteration`; see `iteration_record` for the arguments."""
    capital = optional(positive, "initial_capital", initial_capital)
    zone = optional(zone_name, "timezone", timezone)
    per_year = optional(positive, "periods_per_year", periods_per_year)
    taken, curve, given_returns, zone = _rows(trades, equity, returns, capital, zone, exact=exact)
    given, extra, dropped = _metrics_given(metrics, extra_metrics, exact=exact)
    columns = taken.columns
    if exact and not columns.get("stock_code"):
        columns = {}  # a file has a list, also where nobody has said that no trades were made
    values = np.array(curve.values, dtype=np.float64)
    days = curve.days(zone)
    computed = _computed(columns, values, days, capital, per_year or curve.periods_per_year(zone))
    effective = computed.pop("periods_per_year", per_year)
    found: tuple[Doubt, ...] = ()
    if not exact:
        wrong = doubts(
            given, extra, columns, curve.dates, values, computed, returns=given_returns, days=days, per_year=effective
        )
        found = (*wrong, *zone_doubt(lacks_zone(curve.clock, taken.clock) if zone is None else None))
    if strict and (found or dropped):
        raise ValueError(found[0].message if found else message_of_dropped(dropped))
    _complete(extra, computed.pop("total_return", None), columns, exact=exact, has_metrics=metrics is not None)
    return {
        "initial_capital": capital,
        "timezone": zone,
        "periods_per_year": effective,
        "metrics": tuple((computed | given).get(name) for name in METRICS),
        "extra_metrics": tuple(extra.items()),
        "trades": ColumnRows(columns.values()),
        "equity": curve.points,
        "given": tuple(_unconfirmed(given, computed)),
        "doubts": found,
        "dropped": dropped,
    }


def _complete(
    extra: dict[str, float | None],
    total_return: float | None,
    columns: Mapping[str, list[Any]],
    *,
    exact: bool,
    has_metrics: bool,
) -> None:
    """Add the extra metrics that every curve and all trades have, unless they were given."""
    if total_return is not None and not exact:
        extra.setdefault("total_return", total_return)
    if columns:
        still_open = columns["exit_date"].count(None)
        if not exact or (still_open and not has_metrics):
            extra.setdefault("open_trades", float(still_open))


def message_of_dropped(dropped: Sequence[str]) -> str:
    """Say which extra metrics are not stored."""
    each = list(dict.fromkeys(dropped))
    more = f" and {len(each) - _MOST_NAMED} more" if len(each) > _MOST_NAMED else ""
    return (
        "extra metrics must be numbers and have a name of their own, so these are not stored: "
        f"{', '.join(each[:_MOST_NAMED])}{more}; parameters take anything"
    )


def optional(check: Callable[[str, Any], Any], field: str, value: Any) -> Any:
    """Return the checked value; None where it is missing."""
    return None if is_missing(value) else check(field, value)


def _rows(
    trades: Any, equity: Any, returns: Any, capital: float | None, name: str | None, *, exact: bool
) -> tuple[Trades, Curve, Curve | None, str | None]:
    """Return trades, the account's curve, the returns it follows from if they were given, and the zone of all."""
    if equity is not None and returns is not None:
        raise ValueError("equity and returns are both given; the account follows from either, give one of them")
    zone = None if name is None else ZoneInfo(name)
    taken = Trades({}, Clock()) if trades is None else trades_record(trades, zone, exact=exact)
    if equity is None and returns is None:
        curve = Curve([], [], Clock())
    elif returns is None:
        curve = curve_record("equity", equity, "equity", zone, exact=exact)
    else:
        curve = curve_record("returns", returns, "return", zone, exact=exact)
    if name is None:
        name = common_zone(curve.clock, taken.clock)
    if returns is None:
        return taken, curve, None, name
    return taken, curve_of_returns(curve, capital or _CAPITAL_OF_RETURNS, name), curve, name


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
            extra[name] = optional(_any_number, f"{field}.{name}", value)
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


def _computed(
    trades: Mapping[str, list[Any]], values: Floats, days: Days, capital: float | None, per_year: float | None
) -> dict[str, float | None]:
    """Return what the definitions give, of what there is: for trades and for a curve."""
    computed: dict[str, float] = {}
    if trades:
        closed = np.array([day is not None for day in trades["exit_date"]], dtype=bool)
        computed |= trade_metrics(*(floats(trades[name])[closed] for name in ("profit_loss", "trade_return")))
    if values.size:
        computed |= curve_metrics(days, values, initial_capital=capital, periods_per_year=per_year)
    return {name: None if is_missing(value) else value for name, value in computed.items()}


def _unconfirmed(
    given: Mapping[str, float | None], computed: Mapping[str, float | None]
) -> Iterator[tuple[str, float | None]]:
    """Yield the metrics of the standard set that the definitions do not confirm, each with what these give."""
    for name, value in given.items():
        if value is not None and name in computed:
            figure = computed[name]
            if figure is None or abs(value - figure) > _ROUNDING * max(abs(value), abs(figure)):
                yield name, figure
