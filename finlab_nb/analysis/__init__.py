"""Definitions of performance: pure functions of Series and arrays."""

from finlab_nb.analysis.performance import (
    annualized_return,
    daily_returns,
    drawdown,
    equity_metrics,
    max_drawdown,
    sharpe_ratio,
    trade_metrics,
    win_rate,
)

__all__ = [
    "annualized_return",
    "daily_returns",
    "drawdown",
    "equity_metrics",
    "max_drawdown",
    "sharpe_ratio",
    "trade_metrics",
    "win_rate",
]
