"""Figures that follow from the equity curve of one iteration; `finlab_nb.analysis` defines them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finlab_nb.analysis import periods
from finlab_nb.analysis.periods import Days

Floats: TypeAlias = NDArray[np.float64]

CALENDAR_DAYS_PER_YEAR: Final = 365.25
FEWEST_DAYS: Final = 30
FEWEST_RETURNS: Final = 20
MOST_DAYS_PER_YEAR: Final = 366

# Returns that vary by less than this are rounding errors of a steady curve, not risk.
_ROUNDING: Final = 1e-12


def equity_metrics(
    equity: pd.Series[Any], *, initial_capital: float | None = None, periods_per_year: float | None = None
) -> dict[str, float]:
    """Return the figures that follow from an equity curve, by the definitions of `finlab_nb.analysis`.

    Parameters
    ----------
    equity
        Account value in currency, indexed by datetime.
    initial_capital
        What the account began with, in currency; None or NaN where unknown.
    periods_per_year
        How many periods of the curve a year has; None or NaN to follow from its days.

    Returns
    -------
    dict
        ``annualized_return, sharpe_ratio, max_drawdown, total_return`` (fractions, but for the ratio), and
        ``periods_per_year``: the number used; each a float, NaN where unknown.

    Raises
    ------
    ValueError
        If the curve is not indexed by datetime, or ``periods_per_year`` is not above 0.

    Examples
    --------
    >>> monthly = pd.date_range("2020-01-31", periods=37, freq="ME")
    >>> equity = pd.Series(100 * 1.01 ** np.arange(37) * np.tile([1.0, 1.02], 19)[:37], index=monthly)
    >>> metrics = equity_metrics(equity)
    >>> metrics["periods_per_year"], round(metrics["sharpe_ratio"], 4), round(metrics["annualized_return"], 4)
    (12.0, 1.7415, 0.1268)
    """
    return curve_metrics(*_points(equity), initial_capital=initial_capital, periods_per_year=periods_per_year)


def curve_metrics(
    days: Days, values: Floats, *, initial_capital: float | None = None, periods_per_year: float | None = None
) -> dict[str, float]:
    """Return what `equity_metrics` does, of the points of a curve in order of time.

    Parameters
    ----------
    days
        The local day of each point, datetime64[D].
    values
        Account value in currency at each point, float64, as many; NaN where unknown.
    initial_capital, periods_per_year
        As in `equity_metrics`.

    Examples
    --------
    >>> days = np.array(["2024-01-02", "2024-01-03"], dtype="datetime64[D]")
    >>> curve_metrics(days, np.array([80.0, 90.0]), initial_capital=100.0)["max_drawdown"]
    -0.2
    """
    days, values = _known(days.astype("datetime64[D]", copy=False), values)
    per_year = _periods_per_year(days, values, periods_per_year)
    days, values = _from_capital(days, values, initial_capital)
    calendar_days = int((days[-1] - days[0]).astype(np.int64)) if days.size else 0
    by_point = per_year > MOST_DAYS_PER_YEAR
    returns = _returns(values if by_point else _day_ends(days, values)[1])
    return {
        "annualized_return": _annualized_return(values, calendar_days),
        "sharpe_ratio": _sharpe_ratio(returns, per_year) if calendar_days >= FEWEST_DAYS else np.nan,
        "max_drawdown": _max_drawdown(values),
        "total_return": _total_return(values),
        "periods_per_year": per_year,
    }


def daily_returns(equity: pd.Series[Any], initial_capital: float | None = None) -> pd.Series[float]:
    """Return the simple return of each local day over the day with a point before it.

    Parameters
    ----------
    equity, initial_capital
        As in `equity_metrics`. Of several points on a day the last counts.

    Returns
    -------
    Series
        Fractions, float64, indexed by local day (naive): all days with a point but the first, and that one
        too where an initial capital comes before it. NaN where the account was worth 0 or less before, because the
        return is undefined there. Of a weekly or monthly curve they are the returns of its weeks or months.

    Examples
    --------
    >>> days = pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-04"])
    >>> daily_returns(pd.Series([100.0, 110.0, 99.0], index=days)).round(6).tolist()
    [0.1, -0.1]
    """
    days, values = _day_ends(*_from_capital(*_points(equity), initial_capital))
    return pd.Series(_returns(values), index=pd.DatetimeIndex(days[1:], name="date"), name="daily_return")


def total_return(equity: pd.Series[Any], *, initial_capital: float | None = None) -> float:
    """Return the growth from the first point to the last.

    Parameters
    ----------
    equity, initial_capital
        As in `equity_metrics`.

    Returns
    -------
    float
        Fraction; below -1 if the account ends in debt, NaN where unknown.

    Examples
    --------
    >>> total_return(pd.Series([100.0, 125.0], index=pd.to_datetime(["2024-01-02", "2024-01-03"])))
    0.25
    """
    return equity_metrics(equity, initial_capital=initial_capital)["total_return"]


def annualized_return(equity: pd.Series[Any], *, initial_capital: float | None = None) -> float:
    """Return the compound annual growth rate over calendar time.

    Parameters
    ----------
    equity, initial_capital
        As in `equity_metrics`.

    Returns
    -------
    float
        Fraction per year, NaN where unknown.

    Examples
    --------
    >>> ends = pd.to_datetime(["2020-01-01", "2024-01-01"])  # 1,461 days: four years of 365.25
    >>> round(annualized_return(pd.Series([100.0, 146.41], index=ends)), 6)
    0.1
    """
    return equity_metrics(equity, initial_capital=initial_capital)["annualized_return"]


def sharpe_ratio(
    equity: pd.Series[Any], *, initial_capital: float | None = None, periods_per_year: float | None = None
) -> float:
    """Return the annualised Sharpe ratio of the curve's own periods at a risk-free rate of 0.

    Parameters
    ----------
    equity, initial_capital, periods_per_year
        As in `equity_metrics`.

    Returns
    -------
    float
        A pure number, NaN where unknown.

    Examples
    --------
    >>> days = pd.bdate_range("2024-01-01", periods=23)
    >>> equity = pd.Series(100 * np.cumprod(np.tile([1.03, 0.98], 12)[:23]), index=days)
    >>> round(sharpe_ratio(equity), 4)
    3.1019
    """
    found = equity_metrics(equity, initial_capital=initial_capital, periods_per_year=periods_per_year)
    return found["sharpe_ratio"]


def drawdown(equity: pd.Series[Any], initial_capital: float | None = None) -> pd.Series[float]:
    """Return the fall of each point from the highest point so far, or from the initial capital if that is higher.

    Parameters
    ----------
    equity, initial_capital
        As in `equity_metrics`.

    Returns
    -------
    Series
        Fractions <= 0, float64, on the index of `with_initial_capital` for the same curve. Below -1 while the account
        is in debt; NaN where the equity is missing, and everywhere if the curve begins at 0 or less, because there is
        nothing to fall from.

    Examples
    --------
    >>> days = pd.date_range("2024-01-02", periods=4)
    >>> drawdown(pd.Series([100.0, 120.0, 90.0, 132.0], index=days)).tolist()
    [0.0, 0.0, -0.25, 0.0]
    """
    curve = with_initial_capital(equity, initial_capital)
    return pd.Series(_drawdown(numbers(curve)), index=curve.index, name="drawdown")


def max_drawdown(equity: pd.Series[Any], *, initial_capital: float | None = None) -> float:
    """Return the deepest drawdown over all points, including those within a day.

    Parameters
    ----------
    equity, initial_capital
        As in `equity_metrics`.

    Returns
    -------
    float
        Fraction <= 0, NaN where unknown.

    Examples
    --------
    >>> days = pd.date_range("2024-01-02", periods=4)
    >>> max_drawdown(pd.Series([100.0, 120.0, 90.0, 132.0], index=days))
    -0.25
    """
    return equity_metrics(equity, initial_capital=initial_capital)["max_drawdown"]


def with_initial_capital(equity: pd.Series[Any], initial_capital: float | None = None) -> pd.Series[Any]:
    """Return a curve in order of time that begins at the initial capital.

    Parameters
    ----------
    equity, initial_capital
        As in `equity_metrics`.

    Returns
    -------
    Series
        ``equity`` in order of time; where the initial capital differs from the first known value, it comes one
        period earlier, at the same time of day.

    Examples
    --------
    >>> days = pd.to_datetime(["2024-01-02", "2024-01-03"])
    >>> with_initial_capital(pd.Series([80.0, 90.0], index=days), 100.0)
    2024-01-01    100.0
    2024-01-02     80.0
    2024-01-03     90.0
    dtype: float64
    """
    ordered = _in_time_order(equity)
    days, values = _points(ordered)
    begun, amounts = _from_capital(days, values, initial_capital)
    if begun.size == days.size:
        return ordered
    known = numbers(ordered)
    first = ordered.index[int(np.argmax(~np.isnan(known)))]
    earlier = first - pd.Timedelta(days=int((days[0] - begun[0]).astype(np.int64)))
    return pd.Series(np.append(amounts[0], known), index=ordered.index.insert(0, earlier), name=equity.name)


def numbers(given: Sequence[float] | Floats | pd.Series[Any]) -> Floats:
    """Return numbers as an array of float64, the unknown ones as NaN."""
    if isinstance(given, pd.Series):
        return given.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(given, dtype=np.float64)


def _in_time_order(equity: pd.Series[Any]) -> pd.Series[Any]:
    if not isinstance(equity.index, pd.DatetimeIndex):
        raise ValueError(f"equity must be indexed by datetime, not by {type(equity.index).__name__}")
    if equity.index.is_monotonic_increasing:
        return equity
    return equity.sort_index(kind="stable")


def _points(equity: pd.Series[Any]) -> tuple[Days, Floats]:
    """Return local days and values of the points that have both, in order of time."""
    ordered = _in_time_order(equity)
    dates = pd.DatetimeIndex(ordered.index)
    days: Days = dates.tz_localize(None).to_numpy().astype("datetime64[D]")
    there = ~np.isnat(days)
    return _known(days[there], numbers(ordered)[there])


def _known(days: Days, values: Floats) -> tuple[Days, Floats]:
    known = ~np.isnan(values)
    return (days, values) if known.all() else (days[known], values[known])


def _periods_per_year(days: Days, values: Floats, given: float | None) -> float:
    if given is None or np.isnan(given):
        return periods.periods_per_year(_day_ends(days, values)[0])
    if not given > 0:
        raise ValueError(f"periods_per_year is {given}; it must be a number above 0")
    return float(given)


def _from_capital(days: Days, values: Floats, initial_capital: float | None) -> tuple[Days, Floats]:
    """Put the initial capital before the first point, unless it is this point."""
    if initial_capital is None or np.isnan(initial_capital) or not days.size:
        return days, values
    if abs(initial_capital - values[0]) <= _ROUNDING * abs(values[0]):
        return days, values
    before = periods.before_first(_day_ends(days, values)[0])
    return np.concatenate([[before], days]), np.concatenate([[initial_capital], values])


def _day_ends(days: Days, values: Floats) -> tuple[Days, Floats]:
    """Return each local day once, in order, with the last value on it."""
    later = days[1:] > days[:-1]
    if later.all():
        return days, values
    if (days[1:] < days[:-1]).any():  # where a clock is put back over midnight, a day begins twice
        order = np.argsort(days, kind="stable")
        days, values = days[order], values[order]
        later = days[1:] > days[:-1]
    ends = np.append(later, True)
    return days[ends], values[ends]


def _returns(values: Floats) -> Floats:
    before = values[:-1]
    out = np.full(before.size, np.nan)
    with np.errstate(over="ignore"):
        np.divide(np.diff(values), before, out=out, where=before > 0)
    return np.where(np.isfinite(out), out, np.nan)


def _total_return(values: Floats) -> float:
    if values.size < 2 or values[0] <= 0:
        return np.nan
    with np.errstate(over="ignore"):
        growth = float(values[-1] / values[0])
    return growth - 1 if np.isfinite(growth) else np.nan


def _annualized_return(values: Floats, calendar_days: int) -> float:
    if calendar_days < FEWEST_DAYS or values[0] <= 0 or values[-1] < 0:
        return np.nan
    with np.errstate(over="ignore"):
        growth = float((values[-1] / values[0]) ** (CALENDAR_DAYS_PER_YEAR / calendar_days))
    return growth - 1 if np.isfinite(growth) else np.nan


def _sharpe_ratio(returns: Floats, per_year: float) -> float:
    if returns.size < FEWEST_RETURNS or np.isnan(returns).any():
        return np.nan
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(returns.mean()), float(returns.std(ddof=1))
    if not np.isfinite(deviation) or deviation <= _ROUNDING * (1 + abs(mean)):
        return np.nan
    return mean / deviation * float(np.sqrt(per_year))


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
