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
# A win rate counts, as in `analysis.win_rate`, the closed trades whose result is known.
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
        """Return trades in the order they were stored.

        Parameters
        ----------
        iterations
            Ids of iterations; by default all.
        stocks
            Only these stock codes.
        since, until
            Only trades entered on this date or later, or on this date or earlier. A text with a time, and any moment
            but midnight, is a moment; without an offset it is in UTC.

        Returns
        -------
        DataFrame
            trade_id, iteration_id, stock_code, entry_date, exit_date (NaT while open), entry_price, exit_price,
            position_size (negative for short), profit_loss (currency).

        Raises
        ------
        IterationNotFoundError
            If there is no iteration with one of the ids.
        ValueError
            If an argument is wrong.
        """
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
        # Rows that were edited after they were copied come last; to sort only then is much cheaper than ORDER BY.
        if not found["trade_id"].is_monotonic_increasing:
            found = found.sort_values("trade_id", ignore_index=True)
        return found

    def by_stock(self, iterations: str | Iterable[str] | None = None, *, per_iteration: bool = False) -> pd.DataFrame:
        """Return what each stock brought, in all or some iterations.

        Parameters
        ----------
        iterations
            Ids of iterations; by default all.
        per_iteration
            One row for each iteration and stock, rather than for each stock over all the iterations.

        Returns
        -------
        DataFrame
            iteration_id (if per iteration), stock_code, trades (open ones included), closed; over the closed trades:
            win_rate (of known results), profit_loss (sum), mean_profit_loss, best_trade, worst_trade (currency);
            first_entry, last_exit. NaN where no result is known.

        Raises
        ------
        IterationNotFoundError
            If there is no iteration with one of the ids.
        """
        owner = "iteration_id, " if arguments.flag("per_iteration", per_iteration) else ""
        return self.of_iterations(_BY_STOCK, iterations, owner=owner)

    def by_period(
        self, iterations: str | Iterable[str] | None = None, period: str = "month", *, per_iteration: bool = False
    ) -> pd.DataFrame:
        """Return what was realised in each period, by exit date; open trades do not count.

        Parameters
        ----------
        iterations
            Ids of iterations; by default all.
        period
            day, week (from Monday), month, quarter or year.
        per_iteration
            One row for each iteration and period, rather than for each period over all the iterations.

        Returns
        -------
        DataFrame
            iteration_id (if per iteration), period (its first day), closed (trades), win_rate (of known results),
            profit_loss (sum in currency). Periods without an exit are absent.

        Raises
        ------
        IterationNotFoundError
            If there is no iteration with one of the ids.
        """
        owner = "iteration_id, " if arguments.flag("per_iteration", per_iteration) else ""
        chosen = arguments.one_of("period", period, PERIODS)
        return self.of_iterations(_BY_PERIOD, iterations, owner=owner, period=chosen)
