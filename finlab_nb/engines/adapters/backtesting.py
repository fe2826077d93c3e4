"""backtesting.py 0.6: the stats of ``Backtest.run`` and ``Backtest.optimize``, and the heatmap of the latter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from finlab_nb.engines.provenance import version_of
from finlab_nb.engines.result import Options, Result

_COLUMNS: Final[Mapping[str, str]] = {
    "EntryTime": "entry_date",
    "ExitTime": "exit_date",
    "EntryPrice": "entry_price",
    "ExitPrice": "exit_price",
    "Size": "position_size",
    "PnL": "profit_loss",
    "ReturnPct": "trade_return",
    "Commission": "fees",
    "Tag": "entry_reason",
}
_NOT_KEPT: Final = ("EntryBar", "ExitBar", "Duration")  # which follow from the dates
_PARTS: Final = "backtesting.py books a fixed fee once more where a position is closed in parts"
_FIGURES: Final = frozenset({"# Trades", "Equity Final [$]"})
_MULTI: Final = (
    "MultiBacktest keeps figures, no trades and no curves: record the stats of Backtest(data, strategy).run() for each "
    "table of prices"
)


def recognises(given: object) -> bool:
    """Tell whether this is a Series of stats, a heatmap, or figures of MultiBacktest; copies of stats have no type."""
    if isinstance(given, pd.DataFrame):
        return set(given.index) >= _FIGURES
    if not isinstance(given, pd.Series):
        return False
    return {"_trades", "_equity_curve"} <= set(given.index) or _is_heatmap(given)


def results(given: Any, options: Options) -> Result | Iterator[Result]:
    """Read stats, or the one figure of each run that a heatmap has."""
    if isinstance(given, pd.DataFrame):
        raise ValueError(_MULTI)
    if _is_heatmap(given):
        return _figures_of_runs(given)
    strategy, trades = given.get("_strategy"), given["_trades"]
    equity = given["_equity_curve"]["Equity"]
    if not isinstance(equity.index, pd.DatetimeIndex):
        raise ValueError("the data had no dates; give Backtest a DataFrame with a DatetimeIndex")
    known = trades.rename(columns=_COLUMNS).drop(columns=[*_NOT_KEPT], errors="ignore")
    still_open = _open_trades(strategy, trades)
    known = pd.concat([known, still_open]) if len(known) and len(still_open) else known if len(known) else still_open
    known = known.assign(stock_code=options.code(None, "backtesting.py") if len(known) else "")
    in_parts = known.duplicated(["entry_date", "entry_price"]).any()
    return Result(
        engine="backtesting",
        version=version_of("backtesting"),
        name=strategy.partition("(")[0] if isinstance(strategy, str) else type(strategy).__name__,
        code=None if isinstance(strategy, str) else type(strategy),
        parameters=None if isinstance(strategy, str) else _parameters(strategy),
        trades=known,
        equity=equity,
        initial_capital=float(equity.iloc[0]),
        figures={name: value for name, value in given.items() if not str(name).startswith("_")},
        known_gap=_PARTS if in_parts else None,
    )


def _is_heatmap(given: pd.Series[Any]) -> bool:
    return isinstance(given.index, pd.MultiIndex) and all(isinstance(name, str) for name in given.index.names)


def _figures_of_runs(heatmap: pd.Series[Any]) -> Iterator[Result]:
    names, figure = list(map(str, heatmap.index.names)), str(heatmap.name or "maximized")
    for values, value in zip(heatmap.index.tolist(), heatmap.tolist(), strict=True):
        yield Result(
            engine="backtesting",
            version=version_of("backtesting"),
            parameters=dict(zip(names, values, strict=True)),
            figures={figure: value},
            remarks=("a heatmap has one figure of each run: record the stats of the runs that matter",),
        )


def _open_trades(strategy: Any, closed: pd.DataFrame) -> pd.DataFrame:
    """Return the trades that are open at the end, which stats leave out; their ``pl`` lacks the fee of the entry."""
    trades = list(getattr(strategy, "trades", ()))
    unit = _unit(strategy, closed)
    commission = getattr(getattr(strategy, "_broker", None), "_commission", None)
    rows = []
    for trade in trades:
        fee = commission(trade.size, trade.entry_price) if callable(commission) else 0.0
        mark = trade.entry_price + trade.pl / trade.size
        rows.append(
            {
                "entry_date": trade.entry_time,
                "exit_date": pd.NaT,
                "entry_price": trade.entry_price / unit,
                "exit_price": mark / unit,
                "position_size": trade.size * unit,
                "profit_loss": trade.pl - fee,
                "trade_return": (trade.pl - fee) / abs(trade.size * trade.entry_price),
                "fees": fee,
                "entry_reason": trade.tag,
            }
        )
    return pd.DataFrame(rows, columns=list(_COLUMNS.values()))


def _unit(strategy: Any, closed: pd.DataFrame) -> float:
    """Return the part of a share that a size counts: stats of FractionalBacktest are in shares, live trades are not."""
    counted: Sequence[Any] = getattr(strategy, "closed_trades", ())
    return float(closed["Size"].iloc[0] / counted[0].size) if len(counted) and len(closed) else 1.0


def _parameters(strategy: Any) -> dict[str, Any]:
    """Return the parameters: values of the class, and those that were given instead."""
    found: dict[str, Any] = {}
    for kind in reversed(type(strategy).__mro__):
        if kind.__module__.partition(".")[0] not in ("backtesting", "builtins", "abc"):
            found |= {name: value for name, value in vars(kind).items() if _is_parameter(name, value)}
    return found | dict(getattr(strategy, "_params", {}))


def _is_parameter(name: str, value: object) -> bool:
    return not name.startswith("_") and isinstance(value, (bool, int, float, str, np.generic, type(None)))
