"""zipline-reloaded 3: the performance table that ``run_algorithm`` returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd

from finlab_nb.engines.fills import FILLS, paired
from finlab_nb.engines.provenance import version_of
from finlab_nb.engines.result import Options, Result

_NEEDED: Final = frozenset({"portfolio_value", "transactions", "orders", "positions"})
_NOT_FIGURES: Final = ("portfolio_value", "period_open", "period_close", "trading_days", "starting_cash", "ending_cash")
_ZONE: Final = "America/New_York"  # whose closes a table without a named calendar has
_REMARK: Final = "trades are paired from the transactions, first in, first out; commissions are those of the orders"
_SPLIT: Final = "what was traded before a split is in shares after it"
_CASH: Final = "cash came or went without a transaction, such as dividends"
_CENT: Final = 0.01


def recognises(given: object) -> bool:
    """Tell whether this is a performance table."""
    return isinstance(given, pd.DataFrame) and set(given.columns) >= _NEEDED


def results(given: Any, options: Options) -> Result:
    """Read a performance table."""
    fills = pd.DataFrame(_fills(given), columns=list(FILLS))
    spent = (fills["size"] * fills["price"] + fills["fee"]).sum()
    splits = _splits(given)
    for code, day, ratio in splits:
        before = (fills["stock_code"] == code) & (fills["date"] < day)
        fills.loc[before, "price"] /= ratio
        fills["size"] = fills["size"].where(~before, fills["size"] * ratio)
    last = given.iloc[-1]
    return Result(
        engine="zipline",
        version=version_of("zipline-reloaded"),
        trades=paired(fills, options.marks | _marks(given)),
        equity=given["portfolio_value"],
        initial_capital=float(given["starting_cash"].iloc[0]) if "starting_cash" in given else None,
        timezone=_ZONE,
        figures={name: value for name, value in last.items() if name not in _NOT_FIGURES},
        known_gap=_CASH if abs(_cash_change(given) + spent) > _CENT else None,
        remarks=((_REMARK,) if len(fills) else ()) + ((_SPLIT,) if splits else ()),
    )


def _fills(table: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    paid: dict[Any, float] = {}  # an order appears each day that it is open, and a transaction knows no commission
    for order in _each(table["orders"]):
        paid[order["id"]] = max(paid.get(order["id"], 0.0), order["commission"] or 0.0)
    made = list(_each(table["transactions"]))
    filled: dict[Any, float] = {}
    for one in made:
        filled[one["order_id"]] = filled.get(one["order_id"], 0.0) + abs(one["amount"])
    for one in made:
        whole, own = paid.get(one["order_id"], 0.0), one.get("commission")
        fee = whole * abs(one["amount"]) / filled[one["order_id"]] if own is None else own
        yield _name(one), one["dt"], one["amount"], one["price"], fee


def _cash_change(table: pd.DataFrame) -> float:
    return float(table["ending_cash"].iloc[-1] - table["starting_cash"].iloc[0]) if "starting_cash" in table else 0.0


def _splits(table: pd.DataFrame) -> list[tuple[str, Any, float]]:
    """Return stock, session and ratio of the splits, which change a position before the session's transactions."""
    found = []
    held: dict[str, float] = {}
    for day, positions, transactions in zip(table.index, table["positions"], table["transactions"], strict=True):
        now = {_name(one): one["amount"] for one in _listed(positions)}
        for one in _listed(transactions):
            now[_name(one)] = now.get(_name(one), 0) - one["amount"]
        found += [
            (code, day.normalize(), now[code] / held[code]) for code in held if _is_split(held[code], now.get(code))
        ]
        held = {_name(one): one["amount"] for one in _listed(positions)}
    return found


def _is_split(before: float, after: float | None) -> bool:
    return after is not None and after != before and after / before > 0


def _marks(table: pd.DataFrame) -> dict[str, float]:
    return {_name(one): one["last_sale_price"] for one in _each(table["positions"].iloc[-1:])}


def _each(column: pd.Series[Any]) -> Iterator[dict[str, Any]]:
    for day in column:
        yield from _listed(day)


def _listed(day: object) -> list[dict[str, Any]]:
    """Return what a cell lists; one without a list is missing."""
    return day if isinstance(day, list) else []


def _name(one: dict[str, Any]) -> str:
    return str(getattr(one["sid"], "symbol", one["sid"]))
