"""Questions about trades."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Final

import numpy as np
import pandas as pd

from finlab_nb.query.frames.questions import Questions
from finlab_nb.records import arguments

PERIODS: Final = ("day", "week", "month", "quarter", "year")

_TRADES: Final = "SELECT * FROM {trades} WHERE {condition}"
# As in `analysis.win_rate`, a win rate counts the closed trades whose result is known.
_BY_STOCK: Final = """
    SELECT {owner}stock_code, count(*) AS trades, count(exit_date) AS closed,
           count(*) FILTER (profit_loss > 0 AND exit_date IS NOT NULL)
               / nullif(count(profit_loss) FILTER (exit_date IS NOT NULL), 0) AS win_rate,
           sum(profit_loss) FILTER (exit_date IS NOT NULL) AS profit_loss,
           avg(profit_loss) FILTER (exit_date IS NOT NULL) AS mean_profit_loss,
           max(profit_loss) FILTER (exit_date IS NOT NULL) AS best_trade,
           min(profit_loss) FILTER (exit_date IS NOT NULL) AS worst_trade,
           min(entry_date) AS first_entry, max(exit_date) AS last_exit
    FROM {trades} WHERE {condition} GROUP BY ALL ORDER BY ALL"""
_BY_PERIOD: Final = """
    SELECT {owner}date_trunc('{period}', exit_date)::TIMESTAMP AS period, count(*) AS closed,
           count(*) FILTER (profit_loss > 0) / nullif(count(profit_loss), 0) AS win_rate,
           sum(profit_loss) AS profit_loss
    FROM {trades} WHERE exit_date IS NOT NULL AND {condition} GROUP BY ALL ORDER BY ALL"""


class TradeFrames(Questions):
    """Trades, one by one and summed up."""

    def trades(
        self,
        iterations: str | Iterable[str] | None = None,
        *,
        stocks: str | Iterable[str] | None = None,
        since: str | date | datetime | np.datetime64 | None = None,
        until: str | date | datetime | np.datetime64 | None = None,
    ) -> pd.DataFrame:
        """See `Lab.trades`."""
        conditions, values = list[str](), dict[str, Any]()
        if stocks is not None:
            conditions.append("stock_code IN (SELECT unnest($stocks::VARCHAR[]))")
            values["stocks"] = arguments.texts("stocks", stocks)
        if since is not None:
            conditions.append("entry_date >= $since::TIMESTAMP")
            values["since"] = arguments.start("since", since)
        if until is not None:
            conditions.append("entry_date < $until::TIMESTAMP")
            values["until"] = arguments.end("until", until)
        found = self.of_iterations(_TRADES, iterations, conditions, values)
        # Rows that were edited after they were copied come last; sorting only then is much cheaper than ORDER BY.
        if not found["trade_id"].is_monotonic_increasing:
            found = found.sort_values("trade_id", ignore_index=True)
        return found

    def by_stock(self, iterations: str | Iterable[str] | None = None, *, per_iteration: bool = False) -> pd.DataFrame:
        """See `Lab.by_stock`."""
        owner = "iteration_id, " if arguments.flag("per_iteration", per_iteration) else ""
        return self.of_iterations(_BY_STOCK, iterations, owner=owner)

    def by_period(
        self, iterations: str | Iterable[str] | None = None, period: str = "month", *, per_iteration: bool = False
    ) -> pd.DataFrame:
        """See `Lab.by_period`."""
        owner = "iteration_id, " if arguments.flag("per_iteration", per_iteration) else ""
        chosen = arguments.one_of("period", period, PERIODS)
        return self.of_iterations(_BY_PERIOD, iterations, owner=owner, period=chosen)
