"""pyqlib 0.9: what ``backtest`` returns, a report and positions by frequency, and the same of indicators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from finlab_nb.engines.fills import FILLS, paired
from finlab_nb.engines.provenance import version_of
from finlab_nb.engines.result import Options, Result

_REPORT: Final = frozenset({"account", "total_cost", "return", "value", "cash"})
_DEALT: Final = "trades are paired from the dealt orders, first in, first out; qlib's prices have 32 bits"
_DIFFERENCES: Final = (
    "the result has no orders: fills are the differences of the positions, each with its share of the day's cost, and "
    "are paired first in, first out; what was sold out is at the price that the day's turnover leaves for it"
)


def recognises(given: object) -> bool:
    """Tell whether this is what backtest() returns, or the first part of it."""
    return any(_is_part(value) for value in _parts(given))


def results(given: Any, options: Options) -> Result | Iterator[Result]:
    """Read a backtest, or one for each frequency."""
    parts = given if isinstance(given, tuple) else (given,)
    portfolios = next(part for part in parts if recognises(part))
    indicators: Mapping[str, Any] = next((part for part in parts if part is not portfolios), {})
    found = (
        _result(report, positions, indicators.get(frequency, (None, None))[1], options)
        for frequency, (report, positions) in portfolios.items()
    )
    return next(found) if len(portfolios) == 1 else found


def _parts(given: object) -> Iterator[Any]:
    for one in given if isinstance(given, tuple) else (given,):
        if isinstance(one, Mapping):
            yield from one.values()


def _is_part(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and isinstance(value[0], pd.DataFrame)
        and set(value[0].columns) >= _REPORT
        and isinstance(value[1], Mapping)
    )


def _result(report: pd.DataFrame, positions: Mapping[Any, Any], indicator: Any, options: Options) -> Result:
    fills, marks = _fills_of_positions(report, positions, options)
    dealt = _fills_of_orders(indicator)
    if len(dealt):
        fills, remark = dealt, _DEALT
    else:
        remark = _DIFFERENCES
    first = report.iloc[0]
    return Result(
        engine="qlib",
        version=version_of("pyqlib"),
        trades=paired(fills, options.marks | marks),
        equity=report["account"],
        initial_capital=float(first["account"] / (1 + first["return"] - first.get("cost", 0.0))),
        remarks=(remark,) if len(fills) else (),
    )


def _fills_of_orders(indicator: Any) -> pd.DataFrame:
    """Return what an Indicator knows of the orders of each day: what was dealt, at which price and cost."""
    rows = []
    for day, orders in (getattr(indicator, "order_indicator_his", None) or {}).items():
        amounts, prices, costs = (
            _values(orders.data.get(name)) for name in ("deal_amount", "trade_price", "trade_cost")
        )
        rows += [(code, day, size, prices[code], costs[code]) for code, size in amounts.items() if size]
    return pd.DataFrame(rows, columns=list(FILLS))


def _values(held: Any) -> dict[str, float]:
    """Return numbers by stock of a Series of pandas, or of qlib's own."""
    if held is None:
        return {}
    return dict(zip(held.index.tolist(), np.asarray(getattr(held, "data", held)).tolist(), strict=True))


def _fills_of_positions(
    report: pd.DataFrame, positions: Mapping[Any, Any], options: Options
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return what was bought and sold each day, and the last price of each stock.

    The price is that of the day's position. A stock that was sold out has none: its price follows from the day's
    turnover, or from the prices that are given.
    """
    turnover = report["total_turnover"].diff().fillna(report["total_turnover"]) if "total_turnover" in report else None
    held: dict[str, float] = {}
    prices: dict[str, float] = {}
    rows: list[tuple[Any, ...]] = []
    for day in sorted(positions):
        now = {code: one for code, one in _stocks(positions[day]).items() if one["amount"]}
        sizes = {code: now.get(code, {"amount": 0.0})["amount"] - held.get(code, 0.0) for code in {**held, **now}}
        sizes = {code: size for code, size in sizes.items() if size}
        sold_out = [code for code in sizes if code not in now]
        of_day = {code: float(one["price"]) for code, one in now.items()}
        if sold_out:
            known = sum(abs(size) * of_day[code] for code, size in sizes.items() if code in now)
            left = None if turnover is None else turnover.loc[day] - known
            of_day |= _prices_of_sold(day, {code: abs(sizes[code]) for code in sold_out}, prices, left, options)
        rows += [(code, day, size, of_day[code]) for code, size in sizes.items()]
        held, prices = {code: one["amount"] for code, one in now.items()}, prices | of_day
    fills = pd.DataFrame(rows, columns=list(FILLS[:4]))
    return fills.assign(fee=_costs(fills, report) if rows else 0.0), prices


def _stocks(position: Any) -> dict[str, Any]:
    """Return the stocks of a position, which has its cash beside them."""
    held = getattr(position, "position", position)
    return {str(code): one for code, one in held.items() if isinstance(one, Mapping) and "amount" in one}


def _prices_of_sold(
    day: Any, sizes: Mapping[str, float], before: Mapping[str, float], value: float | None, options: Options
) -> dict[str, float]:
    """Return the prices at which stocks were sold out: those given, else those before, scaled to the day's turnover."""
    closes = options.closes
    if closes is not None and day in closes.index and set(sizes) <= set(closes.columns):
        return {code: float(closes[code].loc[day]) for code in sizes}
    last = sum(size * before[code] for code, size in sizes.items())
    return {code: before[code] * (value / last if value and last else 1.0) for code in sizes}


def _costs(fills: pd.DataFrame, report: pd.DataFrame) -> Any:
    """Share the cost of each day out, at the rates of buying and selling that explain all days best."""
    days = pd.Index(report.index)
    cost = report["total_cost"].diff().fillna(report["total_cost"]).to_numpy(dtype=float)
    place = days.get_indexer(pd.Index(fills["date"]))
    values = (fills["size"] * fills["price"]).abs().to_numpy()
    sides = [fills["size"].to_numpy() > 0, fills["size"].to_numpy() < 0]
    of_day = np.stack([np.bincount(place, np.where(side, values, 0.0), len(days)) for side in sides], axis=1)
    rates = np.clip(np.linalg.lstsq(of_day, cost, rcond=None)[0], 0.0, None)
    expected = np.select(sides, rates) * values
    total = np.bincount(place, expected, len(days))[place]
    even = np.bincount(place, values, len(days))[place]
    return np.where(total > 0, expected / np.where(total > 0, total, 1.0), values / even) * cost[place]
