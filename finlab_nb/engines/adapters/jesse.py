"""jesse: the dict that ``research.backtest`` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from finlab_nb.engines.provenance import version_of
from finlab_nb.engines.recognise import has_keys
from finlab_nb.engines.result import Options, Result

_COLUMNS: Final[Mapping[str, str]] = {
    "symbol": "stock_code",
    "opened_at": "entry_date",
    "closed_at": "exit_date",
    "entry_price": "entry_price",
    "exit_price": "exit_price",
    "PNL": "profit_loss",
    "fee": "fees",
}
_LAST: Final = "jesse closes what is open at the end at the last price"


def recognises(given: object) -> bool:
    """Tell whether this is a result."""
    return has_keys(given, "metrics", "trades", "equity_curve")


def results(given: Any, _options: Options) -> Result:
    """Read a result."""
    trades = pd.DataFrame(given["trades"])
    metrics = given["metrics"] or {}
    names = sorted(set(trades["strategy_name"])) if "strategy_name" in trades else []
    return Result(
        engine="jesse",
        version=version_of("jesse"),
        name=" + ".join(map(str, names)) or None,
        parameters=given["hyperparameters"] if isinstance(given.get("hyperparameters"), Mapping) else None,
        trades=_trades(trades) if len(trades) else trades,
        equity=_equity(given["equity_curve"]),
        initial_capital=metrics.get("starting_balance"),
        timezone="UTC",
        figures=metrics,
        remarks=(_LAST,) if len(trades) else (),
    )


def _equity(curves: Sequence[Mapping[str, Any]]) -> pd.Series[Any] | None:
    """Return the account, which is the first of the curves."""
    points = curves[0]["data"] if curves else []
    dates = pd.to_datetime([point["time"] for point in points], unit="s", utc=True)
    return pd.Series([point["value"] for point in points], dates, dtype=float) if points else None


def _trades(given: pd.DataFrame) -> pd.DataFrame:
    kept = given.rename(columns=_COLUMNS)[list(_COLUMNS.values())]
    size = given["qty"].astype(float).abs()
    return kept.assign(
        entry_date=pd.to_datetime(kept["entry_date"].astype("int64"), unit="ms", utc=True),
        exit_date=pd.to_datetime(kept["exit_date"].astype("int64"), unit="ms", utc=True),
        position_size=size.where(given["type"] != "short", -size),
    )
