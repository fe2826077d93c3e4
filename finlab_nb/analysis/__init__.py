"""Definitions of performance, one for every engine: pure functions of Series and arrays.

================= ====================================================================== ===============================
figure            definition                                                             unknown (NaN)
================= ====================================================================== ===============================
total_return      last / first - 1                                                       fewer than two points
annualized_return (last / first) ** (365.25 / days) - 1, the compound annual growth rate less than 30 days; ends in
                  over the calendar days from the first point to the last                debt; too large for a float
max_drawdown      the least value / highest value so far - 1, over all points            no point
                  (Magdon-Ismail and Atiya 2004, "Maximum drawdown")
sharpe_ratio      mean / std(ddof=1) of the returns, times sqrt(periods_per_year), at a  fewer than 20 returns or 30
                  risk-free rate of 0 (Sharpe 1994, "The Sharpe Ratio"; Lo 2002, "The    days; no regular period; no
                  Statistics of Sharpe Ratios", of the root)                             variation; a base of 0 or less
periods_per_year  given; else 365 or 252 (days), 52, 12, 4 or 1 by the local days with a no regular period, such as
                  point: see `periods_per_year`                                          points of closed trades only
win_rate          closed trades with a gain / closed trades with a known result: the     no known result
                  profit_loss, or the trade_return where that is unknown
total_trades      closed trades, including those with an unknown result                  never: 0 where none was made
================= ====================================================================== ===============================

For all of them:

- **The curve** is a Series of account values in currency, indexed by datetime. Points without a value are skipped,
  points out of order are sorted. A local day is a day in the zone of the index; a naive index has its own dates.
- **The initial capital**, if it is given and differs from the first point, is a point one period earlier (a day, a
  week, a month ...). Where the two are equal, to 1e-12 of their size, the first point is it.
- **The returns** are those of the curve's own periods. Of several points on one local day the last counts, unless the
  given ``periods_per_year`` is above 366: no year has so many days, so each point ends a period.
- **A base of nothing or less** makes a figure unknown: an account that begins at 0 or below has no growth and no
  drawdown.
"""

from finlab_nb.analysis.performance import (
    annualized_return,
    curve_metrics,
    daily_returns,
    drawdown,
    equity_metrics,
    max_drawdown,
    sharpe_ratio,
    total_return,
    with_initial_capital,
)
from finlab_nb.analysis.periods import before_first, periods_per_year
from finlab_nb.analysis.trades import trade_metrics, win_rate

__all__ = [
    "annualized_return",
    "before_first",
    "curve_metrics",
    "daily_returns",
    "drawdown",
    "equity_metrics",
    "max_drawdown",
    "periods_per_year",
    "sharpe_ratio",
    "total_return",
    "trade_metrics",
    "win_rate",
    "with_initial_capital",
]
