"""What must come of a recorded result, in plain Python from the expected tables, and by nothing of the package."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest

from recorded.cases import Case

# The zones in which the stamps of a result are days; the others have days without a zone.
_ZONES: Final[Mapping[str, str | None]] = {
    "backtesting/intraday_tz": "America/New_York",
    "zipline": "America/New_York",
    "lean": "America/New_York",
    "freqtrade": "UTC",
    "nautilus": "UTC",
    "nautilus/zero_trades": None,  # for want of a moment
}
_NEAR: Final = 1e-6
_KEYS: Final = ["stock_code", "entry_date", "exit_date", "position_size"]
_LEAST_RETURNS, _LEAST_DAYS = 20, 30


def zone_of(case: Case) -> str | None:
    """Return the zone of a result's market, where its stamps have one."""
    return _ZONES.get(case.name, _ZONES.get(case.engine))


def periods_of(case: Case) -> int:
    """Return how many days a year the market of a result is open."""
    return 365 if case.engine == "freqtrade" else 252


def local(stamps: pd.DatetimeIndex, zone: str | None) -> pd.DatetimeIndex:
    """Return naive moments of UTC as naive moments of a zone."""
    return stamps if zone is None else stamps.tz_localize("UTC").tz_convert(zone).tz_localize(None)


def expected_curve(case: Case) -> pd.Series:
    """Return the curve as it must come back: by local day if no day has two points, else by moment of UTC."""
    curve = case.equity
    curve.index = pd.DatetimeIndex(curve.index).as_unit("us")
    days = local(curve.index, zone_of(case)).normalize()
    return curve if days.has_duplicates else curve.set_axis(days)


def assert_same_trades(given: pd.DataFrame, case: Case) -> None:
    """Compare trades, whose dates are naive (moments in UTC), with the expected ones, in any order."""
    assert given["exit_date"].isna().sum() == case.trades["is_open"].sum()
    expected = case.trades.drop(columns="is_open")
    assert len(given) == len(expected)
    given, expected = (_ordered(table, list(expected.columns)) for table in (given, expected))
    for name in expected.columns:
        if name in ("profit_loss", "fees"):
            np.testing.assert_allclose(_floats(given[name]), _floats(expected[name]), rtol=_NEAR, atol=case.money)
        elif name in ("entry_price", "exit_price", "position_size"):
            np.testing.assert_allclose(_floats(given[name]), _floats(expected[name]), rtol=_NEAR)
        else:
            assert given[name].tolist() == expected[name].tolist() or given[name].equals(expected[name]), name


def _ordered(trades: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    trades = trades[columns].assign(
        **{day: trades[day].astype("datetime64[us]") for day in ("entry_date", "exit_date")},
        stock_code=trades["stock_code"].astype(object),
    )
    return trades.sort_values(_KEYS, ignore_index=True)


def _floats(column: pd.Series) -> pd.Series:
    return column.astype(float)  # of nothing, records tell no type


def assert_same_curve(given: pd.Series, case: Case, expected: pd.Series) -> None:
    """Compare a curve by day or naive moment of UTC with the expected one."""
    assert given.index.tolist() == expected.index.tolist()
    lost = case.money * len(case.trades) / expected.min()
    np.testing.assert_allclose(given, expected, rtol=max(_NEAR, lost))


def metrics_of(
    days: Sequence[date], values: Sequence[float], periods: float, capital: float | None = None
) -> dict[str, float | None]:
    """Return what the definitions give for a curve: a local day and a value for each point, in order of time.

    A capital that differs from the first point is a point of the day before.
    """
    if capital is not None and abs(capital / values[0] - 1) > 1e-12:
        days, values = [days[0] - timedelta(days=1), *days], [capital, *values]
    span = (days[-1] - days[0]).days
    peak, drawdown = values[0], 0.0
    for value in values:
        peak = max(peak, value)
        drawdown = min(drawdown, value / peak - 1)
    ends = list(dict(zip(days, values, strict=True)).values())
    returns = [after / before - 1 for before, after in pairwise(ends)]
    known = span >= _LEAST_DAYS and len(returns) >= _LEAST_RETURNS
    spread = statistics.stdev(returns) if known else 0.0
    return {
        "annualized_return": (values[-1] / values[0]) ** (365.25 / span) - 1 if span >= _LEAST_DAYS else None,
        "sharpe_ratio": statistics.fmean(returns) / spread * periods**0.5 if spread else None,
        "max_drawdown": drawdown,
        "total_return": values[-1] / values[0] - 1,
    }


def expected_metrics(case: Case, curve: pd.Series, capital: float | None) -> dict[str, float | None]:
    """Return the standard set, total_return and open_trades of the expected trades and a curve by moment of UTC."""
    days = [stamp.date() for stamp in local(pd.DatetimeIndex(curve.index), zone_of(case))]
    trades = case.trades
    results = trades.loc[~trades["is_open"], "profit_loss"].tolist()
    return {
        **metrics_of(days, curve.tolist(), periods_of(case), capital),
        "win_rate": sum(one > 0 for one in results) / len(results) if results else None,
        "total_trades": len(results),
        "open_trades": int(trades["is_open"].sum()),
    }


def assert_near(given: Mapping[str, float | None], expected: Mapping[str, float | None]) -> None:
    """Compare numbers by name; None is unknown."""
    assert given.keys() == expected.keys()
    for name, number in expected.items():
        wanted = number if number is None else pytest.approx(number, rel=_NEAR, abs=1e-12)
        assert given[name] == wanted, name


def realised(case: Case, by: str) -> dict[Any, float]:
    """Return the sums of profit and loss of closed trades by stock_code, or by month of the local day of the exit."""
    closed = case.trades.loc[lambda trades: ~trades["is_open"]]
    exits = local(pd.DatetimeIndex(closed["exit_date"]), zone_of(case))
    keys = closed["stock_code"] if by == "stock_code" else exits.to_period("M").to_timestamp()
    sums: dict[Any, float] = {}
    for key, result in zip(keys, closed["profit_loss"], strict=True):
        sums[key] = sums.get(key, 0.0) + result
    return sums
