"""Trades from fills: what was opened first is closed first."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

FILLS: Final = ("stock_code", "date", "size", "price", "fee")
_LEFT: Final = 1e-9  # of a fill or a lot: what is left of it by rounding is nothing


@dataclass(slots=True)
class _Lot:
    """What is still open of one fill; the fee is that of one unit."""

    date: Any
    size: float
    price: float
    fee: float
    reason: Any


def paired(fills: pd.DataFrame, marks: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Return the trades of fills, first in, first out.

    A fill that is larger than the opposite position closes it and opens one the other way round. Each trade bears the
    fees of both of its fills in proportion to quantity, so that their sum is that of all fills.

    Parameters
    ----------
    fills
        ``stock_code`` (text), ``date``, ``size`` (negative for a sale), ``price`` and ``fee`` (currency, of the whole
        fill), in order of time; optionally ``multiplier`` (of a contract, the same for all fills of a stock) and
        ``reason``. A fill of size 0 is none.
    marks
        The last price of each stock, for what is still open. Without one, profit and loss of an open trade is unknown.

    Returns
    -------
    DataFrame
        stock_code, entry_date, exit_date (NaT while open), entry_price, exit_price (the mark while open),
        position_size (negative for short), profit_loss (net of fees), fees, and multiplier, entry_reason, exit_reason
        where fills have them; in order of exits, then what is open.
    """
    multipliers = dict(zip(fills["stock_code"], fills["multiplier"], strict=True)) if "multiplier" in fills else {}
    reasons = fills["reason"] if "reason" in fills else [None] * len(fills)
    positions: defaultdict[str, deque[_Lot]] = defaultdict(deque)
    trades: list[tuple[Any, ...]] = []
    columns = [fills[name] for name in FILLS]
    for code, date, size, price, fee, reason in zip(*columns, reasons, strict=True):
        if not size:
            continue
        lots, left, fee_of_one = positions[code], float(size), fee / abs(size)
        nothing = abs(size) * _LEFT
        while abs(left) > nothing and lots and lots[0].size * left < 0:
            lot = lots[0]
            closed = lot.size if abs(lot.size) <= abs(left) + nothing else -left
            cost = abs(closed) * (lot.fee + fee_of_one)
            trades.append((code, lot.date, date, lot.price, price, closed, cost, lot.reason, reason))
            left += closed
            lot.size -= closed
            if abs(lot.size) <= abs(closed) * _LEFT:
                lots.popleft()
        if abs(left) > nothing:
            lots.append(_Lot(date, left, price, fee_of_one, reason))
    last = marks or {}
    for code, lots in positions.items():
        for lot in lots:
            cost, mark = abs(lot.size) * lot.fee, last.get(code, float("nan"))
            trades.append((code, lot.date, pd.NaT, lot.price, mark, lot.size, cost, lot.reason, None))
    return _table(trades, multipliers, has_reasons="reason" in fills, dates=fills["date"])


def _table(
    trades: list[tuple[Any, ...]], multipliers: Mapping[str, float], *, has_reasons: bool, dates: pd.Series[Any]
) -> pd.DataFrame:
    names = ("stock_code", "entry_date", "exit_date", "entry_price", "exit_price", "position_size", "fees")
    table = pd.DataFrame(trades, columns=[*names, "entry_reason", "exit_reason"])
    for name in ("entry_date", "exit_date"):
        # Of NaT alone pandas makes dates without a zone, which astype would refuse to give one.
        table[name] = pd.Series(table[name].tolist(), table.index, dtype=dates.dtype)
    if not has_reasons:
        table = table.drop(columns=["entry_reason", "exit_reason"])
    moved = (table["exit_price"] - table["entry_price"]) * table["position_size"]
    if multipliers:
        table["multiplier"] = table["stock_code"].map(multipliers)
        moved *= table["multiplier"].fillna(1.0)
    return table.assign(profit_loss=moved.astype(float) - table["fees"].astype(float))


def account(fills: pd.DataFrame, closes: pd.DataFrame, capital: float) -> pd.Series[float]:
    """Return the account at the close of each day: the capital, less what was paid, and what is held at its price.

    Parameters
    ----------
    fills
        As for `paired`.
    closes
        Prices by date and stock code; a missing one is the one before.
    capital
        What the account began with, in currency.

    Returns
    -------
    Series
        float64 by the dates of the prices.
    """
    fills, dates = fills.reset_index(drop=True), _naive(closes.index)
    multiplier = fills["multiplier"].fillna(1.0) if "multiplier" in fills else 1.0
    units = fills["size"].astype(float) * multiplier
    paid = units * fills["price"].astype(float) + fills["fee"].astype(float).where(units != 0, 0.0)
    # A fill counts from the first close that is not before it.
    place = dates.searchsorted(_naive(fills["date"]), side="left")
    spent = np.bincount(place, weights=paid, minlength=len(dates) + 1)[: len(dates)].cumsum()
    worth = np.zeros(len(dates))
    for code, of_code in units.groupby(fills["stock_code"], sort=False):
        held = np.bincount(place[of_code.index], weights=of_code, minlength=len(dates) + 1)[: len(dates)].cumsum()
        price = closes[code].ffill().to_numpy(dtype=float)
        worth += np.where(np.abs(held) > _LEFT * np.abs(of_code).max(), held * price, 0.0)
    return pd.Series(capital - spent + worth, index=closes.index, name="equity")


def _naive(stamps: Any) -> pd.DatetimeIndex:
    """Return moments in UTC without a zone, so that those with and without one can be compared."""
    found = pd.DatetimeIndex(stamps)
    return found if found.tz is None else found.tz_convert("UTC").tz_localize(None)
