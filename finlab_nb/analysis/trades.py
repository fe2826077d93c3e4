"""Figures that follow from the trades of one iteration; `finlab_nb.analysis` defines them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from finlab_nb.analysis.performance import Floats, numbers


def win_rate(
    profit_loss: Sequence[float] | Floats | pd.Series[Any],
    trade_return: Sequence[float] | Floats | pd.Series[Any] | None = None,
) -> float:
    """Return the share of closed trades that made money.

    Parameters
    ----------
    profit_loss
        Profit or loss of each closed trade in currency, NaN where unknown.
    trade_return
        Net return of each of these trades as a fraction, NaN where unknown. It counts where the profit or loss is
        unknown. A trade without either does not count; one that broke even counts, but not as a win.

    Returns
    -------
    float
        Fraction in [0, 1]; NaN without a known result.

    Raises
    ------
    ValueError
        If the two differ in length.

    Examples
    --------
    >>> win_rate([120.0, -40.0, 0.0, 15.0, float("nan")])
    0.5
    >>> win_rate([120.0, float("nan")], [0.1, -0.02])
    0.5
    """
    results = numbers(profit_loss)
    if trade_return is not None:
        returns = numbers(trade_return)
        if returns.size != results.size:
            raise ValueError(f"trade_return has {returns.size} values; it must have {results.size}, as profit_loss has")
        results = np.where(np.isnan(results), returns, results)
    known = results[~np.isnan(results)]
    return float((known > 0).mean()) if known.size else np.nan


def trade_metrics(
    profit_loss: Sequence[float] | Floats | pd.Series[Any],
    trade_return: Sequence[float] | Floats | pd.Series[Any] | None = None,
) -> dict[str, float]:
    """Return the metrics of the standard set that follow from closed trades.

    Parameters
    ----------
    profit_loss, trade_return
        As in `win_rate`.

    Returns
    -------
    dict
        win_rate, and total_trades: their number, including those with an unknown result.

    Examples
    --------
    >>> trade_metrics([120.0, -40.0, float("nan")])
    {'win_rate': 0.5, 'total_trades': 3}
    """
    return {"win_rate": win_rate(profit_loss, trade_return), "total_trades": len(profit_loss)}
