"""Return, risk and win rate of one iteration: one definition of each, for every engine.

An equity curve is a Series of account values in currency, indexed by datetime. Points without a value are
skipped, points out of order are sorted, and an aware index is converted to UTC, as it is stored. A figure on a base
of nothing or less is unknown: a curve that starts at 0 or below has no growth and no drawdown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Dates: TypeAlias = NDArray[np.datetime64]

TRADING_DAYS_PER_YEAR = 252
CALENDAR_DAYS_PER_YEAR = 365.25

# Daily returns that vary by less than this are rounding errors of a steady curve, not risk.
_ROUNDING = 1e-12


def daily_returns(equity: pd.Series[Any]) -> pd.Series[float]:
    """Return the simple return of each day over the day before.

    Parameters
    ----------
    equity
        Account value in currency, indexed by datetime. If a day has several points, the last one counts.

    Returns
    -------
    Series
        Fractions, float64, indexed by date (naive), one shorter than the number of days. NaN where the
        account was worth 0 or less on the day before, because the return is undefined there.

    Examples
    --------
    >>> days = pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-04"])
    >>> daily_returns(pd.Series([100.0, 110.0, 99.0], index=days)).round(6).tolist()
    [0.1, -0.1]
    """
    days, values = _day_ends(*_points(equity))
    return pd.Series(_returns(values), index=pd.DatetimeIndex(days[1:], name="date"), name="daily_return")


def annualized_return(equity: pd.Series[Any]) -> float:
    """Return the compound annual growth rate over calendar time.

    ``(last / first) ** (365.25 / days) - 1``, where ``days`` counts the calendar days between the two points.

    Returns
    -------
    float
        Fraction per year. NaN with fewer than two dates, if the first value is 0 or less, if the last one is a debt,
        and where the rate is too large for a float (a tenfold gain overnight).

    Examples
    --------
    >>> ends = pd.to_datetime(["2020-01-01", "2024-01-01"])  # 1,461 days: four years of 365.25
    >>> round(annualized_return(pd.Series([100.0, 146.41], index=ends)), 6)
    0.1
    """
    return _annualized_return(*_points(equity))


def sharpe_ratio(equity: pd.Series[Any]) -> float:
    """Return the annualised Sharpe ratio of the daily returns at a risk-free rate of 0.

    ``mean / std(ddof=1) * sqrt(252)`` (Sharpe 1994, "The Sharpe Ratio", with zero as the benchmark).

    Returns
    -------
    float
        A pure number. NaN with fewer than three days, without variation, and if a return is undefined
        because the account was worth 0 or less before its last day.

    Examples
    --------
    >>> days = pd.date_range("2024-01-02", periods=4)
    >>> round(sharpe_ratio(pd.Series([100.0, 101.0, 102.01, 101.0], index=days)), 4)
    4.651
    """
    return _sharpe_ratio(*_points(equity))


def drawdown(equity: pd.Series[Any]) -> pd.Series[float]:
    """Return the fall of each point from the highest point so far.

    Returns
    -------
    Series
        Fractions <= 0, float64, on the index of ``equity`` in time order. Below -1 while the account is in
        debt; NaN where the equity is missing, and everywhere if the first value is 0 or less, because there is
        nothing to fall from.

    Examples
    --------
    >>> days = pd.date_range("2024-01-02", periods=4)
    >>> drawdown(pd.Series([100.0, 120.0, 90.0, 132.0], index=days)).tolist()
    [0.0, 0.0, -0.25, 0.0]
    """
    ordered = _in_time_order(equity)
    values = ordered.to_numpy(dtype=np.float64, na_value=np.nan)
    return pd.Series(_drawdown(values), index=ordered.index, name="drawdown")


def max_drawdown(equity: pd.Series[Any]) -> float:
    """Return the deepest drawdown over all points, including those within a day.

    Returns
    -------
    float
        Fraction <= 0; NaN without a point, and if the first value is 0 or less.

    Examples
    --------
    >>> days = pd.date_range("2024-01-02", periods=4)
    >>> max_drawdown(pd.Series([100.0, 120.0, 90.0, 132.0], index=days))
    -0.25
    """
    return _max_drawdown(_points(equity)[1])


def win_rate(profit_loss: Sequence[float] | Floats | pd.Series[Any]) -> float:
    """Return the share of closed trades that made money.

    Parameters
    ----------
    profit_loss
        Profit or loss of each closed trade in currency. NaN is an unknown result and does not count; a trade
        that broke even counts, but not as a win.

    Returns
    -------
    float
        Fraction in [0, 1]; NaN without a known result.

    Examples
    --------
    >>> win_rate([120.0, -40.0, 0.0, 15.0, float("nan")])
    0.5
    """
    if isinstance(profit_loss, pd.Series):
        results = profit_loss.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        results = np.asarray(profit_loss, dtype=np.float64)
    known = results[~np.isnan(results)]
    return float((known > 0).mean()) if known.size else np.nan


def equity_metrics(equity: pd.Series[Any]) -> dict[str, float]:
    """Return the metrics of the standard set that follow from an equity curve.

    Returns
    -------
    dict
        annualized_return, sharpe_ratio and max_drawdown: what the functions of these names return, from one pass over
        the curve.

    Examples
    --------
    >>> days = pd.to_datetime(["2020-01-01", "2022-01-01", "2024-01-01"])
    >>> metrics = equity_metrics(pd.Series([100.0, 90.0, 146.41], index=days))
    >>> {name: round(value, 4) for name, value in metrics.items()}
    {'annualized_return': 0.1, 'sharpe_ratio': 8.136, 'max_drawdown': -0.1}
    """
    dates, values = _points(equity)
    return {
        "annualized_return": _annualized_return(dates, values),
        "sharpe_ratio": _sharpe_ratio(dates, values),
        "max_drawdown": _max_drawdown(values),
    }


def trade_metrics(profit_loss: Sequence[float] | Floats | pd.Series[Any]) -> dict[str, float]:
    """Return the metrics of the standard set that follow from closed trades.

    Parameters
    ----------
    profit_loss
        As in `win_rate`.

    Returns
    -------
    dict
        win_rate, and total_trades: their number, including those with an unknown result.

    Examples
    --------
    >>> trade_metrics([120.0, -40.0, float("nan")])
    {'win_rate': 0.5, 'total_trades': 3}
    """
    return {"win_rate": win_rate(profit_loss), "total_trades": len(profit_loss)}


def _in_time_order(equity: pd.Series[Any]) -> pd.Series[Any]:
    if not isinstance(equity.index, pd.DatetimeIndex):
        raise ValueError(f"equity must be indexed by datetime, not by {type(equity.index).__name__}")
    if equity.index.is_monotonic_increasing:
        return equity
    return equity.sort_index(kind="stable")


def _points(equity: pd.Series[Any]) -> tuple[Dates, Floats]:
    """Dates (UTC) and values of the points that have a value, in time order."""
    ordered = _in_time_order(equity)
    values = ordered.to_numpy(dtype=np.float64, na_value=np.nan)
    index = pd.DatetimeIndex(ordered.index)
    dates: Dates = (index if index.tz is None else index.tz_convert(None)).to_numpy()
    known = ~np.isnan(values)
    return (dates, values) if known.all() else (dates[known], values[known])


def _day_ends(dates: Dates, values: Floats) -> tuple[Dates, Floats]:
    days = dates.astype("datetime64[D]")
    ends = np.append(days[1:] != days[:-1], True)[: days.size]
    return days[ends], values[ends]


def _returns(day_ends: Floats) -> Floats:
    before = day_ends[:-1]
    out = np.full(before.size, np.nan)
    with np.errstate(over="ignore"):
        np.divide(np.diff(day_ends), before, out=out, where=before > 0)
    return np.where(np.isfinite(out), out, np.nan)


def _annualized_return(dates: Dates, values: Floats) -> float:
    if values.size < 2 or values[0] <= 0 or values[-1] < 0:
        return np.nan
    first, last = dates[[0, -1]].astype("datetime64[D]")
    days = int((last - first).astype(np.int64))
    if days == 0:
        return np.nan
    with np.errstate(over="ignore"):
        growth = float((values[-1] / values[0]) ** (CALENDAR_DAYS_PER_YEAR / days))
    return growth - 1 if np.isfinite(growth) else np.nan


def _sharpe_ratio(dates: Dates, values: Floats) -> float:
    returns = _returns(_day_ends(dates, values)[1])
    if returns.size < 2 or np.isnan(returns).any():
        return np.nan
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(returns.mean()), float(returns.std(ddof=1))
    if not np.isfinite(deviation) or deviation <= _ROUNDING * (1 + abs(mean)):
        return np.nan
    return mean / deviation * float(np.sqrt(TRADING_DAYS_PER_YEAR))


def _drawdown(values: Floats) -> Floats:
    known = values[~np.isnan(values)]
    if not known.size or known[0] <= 0:
        return np.full(values.size, np.nan)
    peak = np.fmax.accumulate(values)
    with np.errstate(over="ignore"):
        falls = (values - peak) / peak
    return np.where(np.isfinite(falls), falls, np.nan)


def _max_drawdown(values: Floats) -> float:
    falls = _drawdown(values)
    return float(np.fmin.reduce(falls)) if falls.size else np.nan
