"""lib-pybroker 2: a TestResult.

Trades are paired from the orders: its own lack fees and what is open.
"""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from finlab_nb.engines.fills import paired
from finlab_nb.engines.provenance import version_of
from finlab_nb.engines.recognise import has_all, type_names
from finlab_nb.engines.result import Options, Result

_TYPE: Final = "pybroker.strategy.TestResult"
_SIGNS: Final = {"buy": 1.0, "sell": -1.0}
_REMARK: Final = "trades are paired from the orders, first in, first out; pybroker rounds prices and fees to 0.01"
_EVEN: Final = "pybroker rounds prices and fees to 0.01 unless StrategyConfig(round_test_result=False)"
_CENT: Final = 0.01
_FORCED: Final = "what exit_on_last_bar closes, it closes after the last point of the curve"
_OPEN: Final = "pybroker does not value what is open: give prices="


def recognises(given: object) -> bool:
    """Tell whether this is a TestResult."""
    return _TYPE in type_names(given) or has_all(given, "trades", "orders", "portfolio", "metrics_df")


def results(given: Any, options: Options) -> Result:
    """Read a TestResult."""
    trades = paired(_fills(given.orders), options.marks)
    trades = trades.assign(exit_reason=_reasons(given.trades, trades))
    equity = given.portfolio["market_value"]  # its "equity" leaves out what is short
    unknown = trades["profit_loss"].isna().any()
    gap = abs(trades["profit_loss"].sum() - (equity.iloc[-1] - equity.iloc[0]))
    is_rounding = gap <= _CENT * (given.orders["shares"].abs() + 1).sum()
    is_forced = _is_forced(given.orders, equity.index[-1])
    return Result(
        engine="pybroker",
        version=version_of("lib-pybroker"),
        trades=trades,
        equity=equity,
        initial_capital=float(given.portfolio["cash"].iloc[0]) if _is_flat(given.portfolio.iloc[0]) else None,
        figures=_figures(given),
        known_gap=_FORCED if is_forced else _EVEN if is_rounding else None,
        remarks=((_REMARK,) if len(trades) else ()) + ((_OPEN,) if unknown else ()),
    )


def _is_flat(first: pd.Series[Any]) -> bool:
    """Tell whether nothing was traded on the first day, so that its cash is the capital."""
    return bool(first["cash"] == first["market_value"] and not first.get("fees", 0.0))


def _is_forced(orders: pd.DataFrame, last: Any) -> bool:
    """Tell whether positions were closed on the last bar, by orders that no strategy placed."""
    if not {"created", "order_type"} <= set(orders):
        return False
    of_nobody = orders["created"].isna() & (orders["order_type"] == "market")  # those of stops have types of their own
    return bool((of_nobody & (orders["date"] == last)).any())


def _fills(orders: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "stock_code": orders["symbol"].astype(str),
            "date": orders["date"],
            "size": orders["shares"].astype(float) * orders["type"].map(_SIGNS),
            "price": orders["fill_price"].astype(float),
            "fee": orders["fees"].astype(float),
        }
    )


def _reasons(own: pd.DataFrame, trades: pd.DataFrame) -> pd.Series[Any]:
    """Return which stop ended each trade."""
    stops = {(one["symbol"], one["exit_date"]): one["stop"] for one in own.to_dict("records") if one.get("stop")}
    keys = zip(trades["stock_code"], trades["exit_date"], strict=True)
    return pd.Series([stops.get(key) for key in keys], trades.index, dtype=object)


def _figures(given: Any) -> dict[str, Any]:
    table = getattr(given, "metrics_df", None)
    return {} if table is None else dict(zip(table["name"], table["value"], strict=True))
