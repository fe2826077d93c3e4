"""finlab 2: a Report.

A Report knows weights and returns, no amounts: with ``initial_capital=`` sizes and profits are estimates by what the
account was worth when a trade began, without it profits are unknown and its curve begins at 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from finlab_nb.engines.provenance import version_of
from finlab_nb.engines.recognise import has_all, type_names
from finlab_nb.engines.result import Options, Result

_TYPE: Final = "finlab.core.report.Report"
_COLUMNS: Final[Mapping[str, str]] = {
    "entry_date": "entry_date",
    "exit_date": "exit_date",
    "trade_price@entry_date": "entry_price",
    "trade_price@exit_date": "exit_price",
    "return": "trade_return",
}
_SETTINGS: Final = ("fee_ratio", "tax_ratio", "trade_at", "resample", "stop_loss", "take_profit", "trail_stop")
_WEIGHTS: Final = "sizes are weights, because a Report knows no amounts; initial_capital=1_000_000 estimates P&L"
_ESTIMATE: Final = "sizes and P&L are estimates: what the account was worth at the entry x weight x return of the trade"


def recognises(given: object) -> bool:
    """Tell whether this is a Report."""
    return _TYPE in type_names(given) or has_all(given, "creturn", "get_trades", "get_stats", "position")


def results(given: Any, options: Options) -> Result:
    """Read a Report."""
    own = given.get_trades()
    begun = own[own["entry_date"].notna()].reset_index(drop=True)  # what has no entry yet is no trade
    creturn, capital = given.creturn, options.initial_capital
    return Result(
        engine="finlab",
        version=version_of("finlab"),
        parameters=_settings(given),
        trades=_trades(begun, creturn, capital),
        equity=creturn if capital is None else creturn * capital,
        initial_capital=1.0 if capital is None else capital,
        figures=_figures(given),
        is_estimated=True,
        remarks=(_WEIGHTS if capital is None else _ESTIMATE,) if len(begun) else (),
    )


def _trades(own: pd.DataFrame, creturn: pd.Series[float], capital: float | None) -> pd.DataFrame:
    kept = own.rename(columns=_COLUMNS)[list(_COLUMNS.values())]
    weight = own["position"].astype(float)
    trades = kept.assign(stock_code=_codes(own), position_size=weight)
    if {"mae", "gmfe"} <= set(own):
        trades["mae"] = own["mae"].astype(float).clip(upper=0.0)
        trades["mfe"] = own["gmfe"].astype(float).clip(lower=0.0)
    if capital is None or own.empty:
        return trades
    days = pd.DatetimeIndex(own["entry_date"])
    worth = capital * creturn.reindex(days, method="ffill").fillna(1.0).to_numpy() * weight.to_numpy()
    return trades.assign(
        position_size=worth / kept["entry_price"], profit_loss=np.abs(worth) * kept["trade_return"].to_numpy()
    )


def _codes(own: pd.DataFrame) -> pd.Series[str]:
    """Return the codes; of older reports the label "2330 台積電" is all there is."""
    label = own["stock_id"] if "stock_id" in own else own["symbol"]
    return label.astype(str).str.split().str[0] if len(own) else label


def _settings(given: Any) -> dict[str, Any]:
    """Return the settings of sim(); a limit that is infinite is none."""
    found = {name: getattr(given, name) for name in _SETTINGS if getattr(given, name, None) is not None}
    return {name: None if isinstance(value, float) and math.isinf(value) else value for name, value in found.items()}


def _figures(given: Any) -> dict[str, Any]:
    """Return what get_stats() and get_metrics() tell."""
    told = (getattr(given, name)() for name in ("get_stats", "get_metrics") if has_all(given, name))
    named = (dict(figures) for figures in told if isinstance(figures, Mapping | pd.Series))
    return {str(name): value for figures in named for name, value in figures.items()}
