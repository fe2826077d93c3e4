"""Trades and a curve for the engines that give nothing but fills."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

COLUMNS: Final = ["stock_code", "date", "size", "price", "fee"]
_NOTHING: Final = 1e-9  # what is left of a position after sizes that are fractions


def paired(fills: pd.DataFrame, marks: Mapping[str, float]) -> pd.DataFrame:
    """Return the trades of fills: what was bought first is sold first, and fees are shared out by size.

    Parameters
    ----------
    fills
        ``stock_code, date, size, price, fee``, in order of time; sizes of sales are negative.
    marks
        The last price of what is still open.
    """
    lots: defaultdict[str, deque[list[Any]]] = defaultdict(deque)  # of each stock: date, size, price and fee for one
    trades = []
    for code, date, size, price, fee in fills[COLUMNS].itertuples(index=False):
        left, of_one = size, fee / abs(size)
        while abs(left) > _NOTHING and lots[code] and lots[code][0][1] * left < 0:
            entry, held, entry_price, entry_of_one = lots[code][0]
            part = min(abs(held), abs(left)) * (1 if held > 0 else -1)
            trades.append((code, entry, date, entry_price, price, part, abs(part) * (entry_of_one + of_one)))
            left += part
            lots[code][0][1] -= part
            if abs(lots[code][0][1]) <= _NOTHING:
                lots[code].popleft()
        if abs(left) > _NOTHING:
            lots[code].append([date, left, price, of_one])
    for code, held in lots.items():
        for entry, size, price, of_one in held:
            trades.append((code, entry, pd.NaT, price, marks[code], size, abs(size) * of_one))
    names = ["stock_code", "entry_date", "exit_date", "entry_price", "exit_price", "position_size", "fees"]
    table = pd.DataFrame(trades, columns=names)
    gross = (table["exit_price"] - table["entry_price"]) * table["position_size"]
    return table.assign(profit_loss=gross - table["fees"])


def curve(fills: pd.DataFrame, closes: pd.DataFrame, cash: float) -> pd.Series:
    """Return cash and positions at the close of each day, from the fills until then.

    Parameters
    ----------
    closes
        Prices by day and stock code.
    cash
        What the account began with.
    """
    spent = fills["size"] * fills["price"] + fills["fee"]
    money = cash - spent.groupby(fills["date"]).sum().cumsum()
    held = fills.pivot_table(index="date", columns="stock_code", values="size", aggfunc="sum").fillna(0.0).cumsum()
    days = closes.index
    worth = (held.reindex(days).ffill().fillna(0.0) * closes[held.columns]).sum(axis=1)
    return worth + money.reindex(days).ffill().fillna(cash)
