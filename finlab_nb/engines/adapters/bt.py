"""bt 1: the Result of ``bt.run``, of one backtest or several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from finlab_nb.engines.fills import paired
from finlab_nb.engines.provenance import version_of
from finlab_nb.engines.recognise import has_all, type_names
from finlab_nb.engines.result import Options, Result

_REMARK = "bt has fills: trades are paired first in, first out, and bear their share of each day's fees"
_FLOWS = "money was paid in or out: the curve is that of one share, so that this is no gain and no loss"


def recognises(given: object) -> bool:
    """Tell whether this is a Result."""
    return "bt.backtest.Result" in type_names(given) or has_all(given, "backtests", "get_transactions")


def results(given: Any, options: Options) -> Result | Iterator[Result]:
    """Read a Result: one backtest, or each of several."""
    found = (_result(given, name, options) for name in given.backtests)
    return next(found) if len(given.backtests) == 1 else found


def _result(given: Any, name: str, options: Options) -> Result:
    backtest = given.backtests[name]
    strategy = backtest.strategy
    fills = _fills(given, name, strategy)
    prices = getattr(backtest, "data", None)
    marks = options.marks if prices is None else prices.ffill().iloc[-1].to_dict()
    figures = given.stats[name] if name in getattr(given, "stats", ()) else {}
    capital = float(getattr(backtest, "initial_capital", strategy.values.iloc[0]))
    is_paid_in = hasattr(strategy, "flows") and strategy.flows.iloc[1:].any()
    return Result(
        engine="bt",
        version=version_of("bt"),
        name=name,
        trades=paired(fills, marks),
        equity=strategy.prices / strategy.prices.iloc[0] * capital if is_paid_in else strategy.values,
        initial_capital=capital,
        figures=dict(figures),
        known_gap=_FLOWS if is_paid_in else None,
        remarks=(_REMARK,) if len(fills) else (),
    )


def _fills(given: Any, name: str, strategy: Any) -> pd.DataFrame:
    """Return the fills, each with its share of the fees of its day: these are known by date only."""
    try:
        made = given.get_transactions(name).reset_index()
    except IndexError:  # there were none
        return pd.DataFrame(columns=["stock_code", "date", "size", "price", "fee"])
    fills: pd.DataFrame = made.rename(columns={"Date": "date", "Security": "stock_code", "quantity": "size"})
    commission = getattr(strategy, "commission_fn", None)
    fills["weight"] = (fills["size"] * fills["price"]).abs()
    if callable(commission):
        fills["weight"] = [abs(commission(*one)) for one in zip(fills["size"], fills["price"], strict=True)]
    of_day = fills.groupby("date")["weight"].transform("sum")
    # Each strategy of a tree knows the fees of its own securities.
    of_tree = [one.fees for one in getattr(strategy, "members", [strategy]) if hasattr(one, "fees")]
    paid = fills["date"].map(pd.concat(of_tree, axis=1).sum(axis=1)).fillna(0.0)
    fills["fee"] = (paid * fills["weight"] / of_day.where(of_day != 0)).fillna(0.0)
    return fills
