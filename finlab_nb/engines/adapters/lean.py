"""LEAN: the result that an algorithm leaves as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from finlab_nb.engines.fills import FILLS, paired
from finlab_nb.engines.recognise import has_keys
from finlab_nb.engines.result import Options, Result

_COLUMNS: Final[Mapping[str, str]] = {
    "entryTime": "entry_date",
    "exitTime": "exit_date",
    "entryPrice": "entry_price",
    "exitPrice": "exit_price",
    "totalFees": "fees",
}
_LONG: Final = (0, "long", "Long")
_FILLED: Final = (3, "filled", "Filled")
_OPTION: Final = re.compile(r".{6}\d{6}[CP]\d{8}")  # as the clearing house of the USA writes one
_OPTION_UNITS: Final = 100.0
_PAIRED: Final = (
    "the result has no list of trades: its orders are paired first in, first out, and share the sum of fees by turnover"
)
_OPEN: Final = "LEAN's list of trades has closed ones only: what is open is in the curve alone"


def recognises(given: object) -> bool:
    """Tell whether this is a result."""
    return isinstance(given, Mapping) and has_keys(_of(given, "charts"), "Strategy Equity")


def results(given: Any, options: Options) -> Result:
    """Read a result."""
    setup, statistics = _of(given, "algorithmConfiguration") or {}, _of(given, "statistics") or {}
    closed = _of(_of(given, "totalPerformance") or {}, "closedTrades")
    if closed is not None:
        trades = _trades([_with_small_letters(one) for one in closed])
    else:
        trades = paired(_fills(_of(given, "orders") or {}, _number(statistics.get("Total Fees"))), options.marks)
    capital = _number(statistics.get("Start Equity"))
    equity = _equity(_of(given, "charts")["Strategy Equity"])
    return Result(
        engine="lean",
        name=_of(setup, "name") or None,
        parameters=_of(setup, "parameters"),
        trades=trades,
        equity=equity,
        initial_capital=capital if capital is not None or equity is None else float(equity.iloc[0]),
        timezone="America/New_York",
        currency=_of(setup, "accountCurrency"),
        figures={name: _number(value) for name, value in statistics.items()},
        known_gap=_OPEN if closed is not None else None,
        remarks=(_PAIRED,) if closed is None and len(trades) else (),
    )


def _of(given: Mapping[str, Any], name: str) -> Any:
    """Return a field by its name, which begins with a capital in older results."""
    return given.get(name, given.get(name[0].upper() + name[1:]))


def _with_small_letters(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name[0].lower() + name[1:]: value for name, value in given.items()}


def _trades(closed: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the closed trades: LEAN's profit is gross, and its size has no sign."""
    if not closed:
        return pd.DataFrame(closed)
    given = pd.DataFrame(closed)
    size = given["quantity"].astype(float).abs()
    symbols = given["symbol"] if "symbol" in given else given["symbols"].str[0]
    return given.rename(columns=_COLUMNS)[list(_COLUMNS.values())].assign(
        stock_code=[_code(symbol) for symbol in symbols],
        position_size=size.where(given["direction"].isin(_LONG), -size),
        profit_loss=given["profitLoss"].astype(float) - given["totalFees"].astype(float),
    )


def _code(symbol: Any) -> str:
    return str(_of(symbol, "value") if isinstance(symbol, Mapping) else symbol)


def _fills(orders: Mapping[str, Any], fees: float | None) -> pd.DataFrame:
    """Return the filled orders, each with its share of all fees: an order does not tell its own."""
    filled = [_with_small_letters(order) for order in orders.values()]
    filled = [order for order in filled if order.get("status") in _FILLED]
    rows = [
        (_code(one["symbol"]), one.get("lastFillTime") or one["time"], float(one["quantity"]), float(one["price"]))
        for one in filled
    ]
    table = pd.DataFrame(rows, columns=list(FILLS[:4]))
    table["date"] = pd.to_datetime(table["date"], utc=True, format="ISO8601")
    units = [_OPTION_UNITS if _OPTION.fullmatch(code) else 1.0 for code in table["stock_code"]]
    if _OPTION_UNITS in units:
        table["multiplier"] = units
    turnover = (table["size"] * table["price"] * units).abs()
    share = turnover / turnover.sum() * fees if fees is not None and len(rows) else 0.0
    return table.assign(fee=share).sort_values("date", kind="stable", ignore_index=True)


def _equity(chart: Mapping[str, Any]) -> pd.Series[Any] | None:
    """Return the closing value of each point: [time, open, high, low, close], [time, value] or {x, y}."""
    points = _of(_of(_of(chart, "series") or {}, "equity") or {}, "values") or []
    if not points:
        return None
    pairs = [(one["x"], one["y"]) if isinstance(one, Mapping) else (one[0], one[-1]) for one in points]
    found = pd.Series(dict(pairs), dtype=float)
    return found.set_axis(pd.to_datetime(found.index.astype("int64"), unit="s", utc=True))


def _number(value: object) -> float | None:
    """Return the number that a text such as "$1,000.50" or "0.123%" shows; percent stay percent."""
    try:
        return float(str(value).replace("$", "").replace(",", "").replace("%", ""))
    except ValueError:
        return None
