"""A small, honest backtest: what is known at the close is traded at the next open, and every trade has a cost."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finlab_nb.analysis.performance import Floats
from finlab_nb.demo.prices import wide_prices

TRADE_COLUMNS: Final = (
    "stock_code",
    "entry_date",
    "exit_date",
    "entry_price",
    "exit_price",
    "position_size",
    "profit_loss",
)
_BASIS_POINT: Final = 1e-4


class BacktestResult(NamedTuple):
    """The trades and the account of one backtest.

    Attributes
    ----------
    trades
        One row per trade, sorted by entry date: ``stock_code, entry_date, exit_date`` (NaT while open),
        ``entry_price, exit_price`` (the mark while open), ``position_size`` (shares, negative for short) and
        ``profit_loss`` (currency, net of the costs paid so far).
    equity
        Account value in currency at the close of each day, indexed by date; its first value is the capital,
        its last the capital plus the sum of ``profit_loss``.
    """

    trades: pd.DataFrame
    equity: pd.Series[float]


class _Trades(NamedTuple):
    """The trades of one share as arrays: places of the days, shares and money."""

    entry: NDArray[np.intp]
    exit: NDArray[np.intp]  # the number of days while open
    size: Floats
    profit: Floats
    exit_price: Floats


def backtest(
    prices: pd.DataFrame,
    signals: pd.DataFrame,
    *,
    capital: float = 1_000_000.0,
    cost_bps: float = 10.0,
    exposure: float = 1.0,
    whole_shares: bool = False,
) -> BacktestResult:
    """Trade signals on prices.

    Each share has an equal part of the capital, which grows and shrinks only by its own trades. A signal known
    at the close of a day is traded at the open of the next day on which the share has prices; the signal of
    the last day is never traded. A share that is listed later keeps its part in cash until then. Cash earns
    nothing, and borrowing shares for a short sale costs nothing.

    Parameters
    ----------
    prices
        Tidy prices as `load_prices` returns them; only ``open`` and ``close`` are used.
    signals
        Dates by shares: 1 long, -1 short, 0 or NaN out of the market.
    capital
        Currency at the start.
    cost_bps
        Cost of each side of a trade, in basis points (0.01%) of its value.
    exposure
        Fraction of a share's part of the capital that a trade invests, in (0, 1].
    whole_shares
        Round the size of each trade down to whole (adjusted) shares; a trade of 0 shares is left out.

    Returns
    -------
    BacktestResult
        A part that has lost everything no longer trades.

    Raises
    ------
    ValueError
        If an argument is out of range, or a signal is not -1, 0 or 1.

    Examples
    --------
    >>> days = pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-04"])
    >>> prices = pd.DataFrame({"stock_code": "A", "date": days, "open": [9.0, 10.0, 12.0], "close": 11.0})
    >>> result = backtest(prices, pd.DataFrame({"A": [1, 0, 0]}, index=days), capital=100.0, cost_bps=0)
    >>> result.trades[["entry_price", "exit_price", "position_size", "profit_loss"]].to_numpy().tolist()
    [[10.0, 12.0, 10.0, 20.0]]
    >>> result.equity.tolist()
    [100.0, 110.0, 120.0]
    """
    _check(signals, capital=capital, cost_bps=cost_bps, exposure=exposure)
    opens, closes = wide_prices(prices, "open"), wide_prices(prices, "close")
    dates = pd.DatetimeIndex(closes.index)
    targets = _targets(signals, closes)
    part = capital / max(len(closes.columns), 1)
    gains = np.zeros(len(dates))
    tables = []
    for place, stock_code in enumerate(closes.columns):
        open_price = opens.iloc[:, place].to_numpy(dtype=np.float64)
        close_price = closes.iloc[:, place].to_numpy(dtype=np.float64)
        traded = np.flatnonzero(~np.isnan(open_price) & ~np.isnan(close_price))
        if not traded.size:
            continue
        opened, closed = open_price[traded], close_price[traded]
        trades = _trade(
            targets[traded, place],
            opened,
            closed,
            part=part,
            cost=cost_bps * _BASIS_POINT,
            exposure=exposure,
            whole_shares=whole_shares,
        )
        gains += _carried_forward(_gains(trades, opened, closed, cost_bps * _BASIS_POINT), traded, len(dates))
        tables.append(_table(str(stock_code), trades, dates[traded], opened))
    return BacktestResult(_sorted_trades(tables), pd.Series(capital + gains, index=dates, name="equity"))


def _check(signals: pd.DataFrame, *, capital: float, cost_bps: float, exposure: float) -> None:
    if not capital > 0:
        raise ValueError(f"capital must be more than 0, not {capital!r}")
    if not 0 <= cost_bps < 1 / _BASIS_POINT:
        raise ValueError(f"cost_bps must be at least 0 and less than 10,000, not {cost_bps!r}")
    if not 0 < exposure <= 1:
        raise ValueError(f"exposure must be in (0, 1], not {exposure!r}")
    values = signals.to_numpy(dtype=np.float64, na_value=np.nan)
    strange = ~np.isnan(values) & ~np.isin(values, (-1.0, 0.0, 1.0))
    if strange.any():
        raise ValueError(f"signals must be -1, 0, 1 or NaN, not {float(values[strange][0])!r}")


def _targets(signals: pd.DataFrame, closes: pd.DataFrame) -> Floats:
    """Signals (-1, 0, 1) on the dates and shares of the prices, 0 where there is none."""
    aligned = signals.reindex(index=closes.index, columns=closes.columns)
    targets: Floats = np.nan_to_num(aligned.to_numpy(dtype=np.float64, na_value=np.nan), nan=0.0)
    return targets


def _trade(
    targets: Floats,
    opened: Floats,
    closed: Floats,
    *,
    part: float,
    cost: float,
    exposure: float,
    whole_shares: bool,
) -> _Trades:
    """Trade one share: each stretch of days with the same target is one trade."""
    held = np.concatenate([[0.0], targets[:-1]])  # today's open knows yesterday's close
    starts = np.flatnonzero(np.diff(held, prepend=0.0))
    ends = np.append(starts[1:], len(held))[: len(starts)]
    invested = held[starts] != 0
    entry, leave, side = starts[invested], ends[invested], held[starts][invested]
    is_open = leave == len(held)
    exit_price = np.where(is_open, closed[-1], opened[np.where(is_open, 0, leave)])
    # Per unit of currency invested: the shares, and what they earn after costs.
    shares = 1.0 / (opened[entry] * (1.0 + cost))
    costs = cost * (opened[entry] + np.where(is_open, 0.0, exit_price))
    earned_per_share = side * (exit_price - opened[entry]) - costs
    size, value = np.zeros(len(entry)), part
    for trade, per_unit in enumerate(shares):
        wanted = max(value, 0.0) * exposure * per_unit
        size[trade] = np.floor(wanted) if whole_shares else wanted
        value += size[trade] * earned_per_share[trade]
    kept = size > 0
    profit = size * earned_per_share
    return _Trades(entry[kept], leave[kept], (side * size)[kept], profit[kept], exit_price[kept])


def _gains(trades: _Trades, opened: Floats, closed: Floats, cost: float) -> Floats:
    """Profit and loss of one share up to each close, over the trades that ended and the open one."""
    days = len(closed)
    gains = np.zeros(days + 1)
    np.add.at(gains, trades.exit, trades.profit)  # a trade still open ends after the last day
    gains = np.cumsum(gains[:days])
    lengths = trades.exit - trades.entry
    in_trade = np.repeat(np.arange(len(lengths)), lengths)
    before = np.cumsum(lengths) - lengths
    day = np.arange(len(in_trade)) - before[in_trade] + trades.entry[in_trade]
    size, entry_price = trades.size[in_trade], opened[trades.entry][in_trade]
    gains[day] += size * (closed[day] - entry_price) - cost * np.abs(size) * entry_price
    return gains


def _carried_forward(gains: Floats, traded: NDArray[np.intp], days: int) -> Floats:
    """Gains on all days, from the days on which the share traded: 0 before, then the last known value."""
    last_known = np.searchsorted(traded, np.arange(days), side="right")
    return np.concatenate([[0.0], gains])[last_known]


def _table(stock_code: str, trades: _Trades, dates: pd.DatetimeIndex, opened: Floats) -> pd.DataFrame:
    days = dates.to_numpy().astype("datetime64[us]")
    exit_dates = np.append(days, np.datetime64("NaT", "us"))[trades.exit]
    columns: dict[str, Any] = {
        "stock_code": stock_code,
        "entry_date": days[trades.entry],
        "exit_date": exit_dates,
        "entry_price": opened[trades.entry],
        "exit_price": trades.exit_price,
        "position_size": trades.size,
        "profit_loss": trades.profit,
    }
    return pd.DataFrame(columns, columns=list(TRADE_COLUMNS))


def _sorted_trades(tables: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    if not filled:
        return tables[0] if tables else pd.DataFrame(columns=list(TRADE_COLUMNS))
    return pd.concat(filled, ignore_index=True).sort_values(["entry_date", "stock_code"], ignore_index=True)
