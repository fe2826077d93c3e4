"""Trades, one by one and summed up: methods of `Lab`, which delegate."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

import numpy as np
import pandas as pd

from finlab_nb.lab.base import Base


class TradeAnswers(Base):
    """Trades, one by one and summed up."""

    def trades(
        self,
        iterations: str | Iterable[str] | None = None,
        *,
        stocks: str | Iterable[str] | None = None,
        since: str | date | datetime | np.datetime64 | None = None,
        until: str | date | datetime | np.datetime64 | None = None,
        columns: str | Iterable[str] | None = None,
    ) -> pd.DataFrame:
        """Return trades in the order they were stored.

        Parameters
        ----------
        iterations
            Ids of iterations; by default all.
        stocks
            Only these stock codes.
        since, until
            Only trades entered on this day of their market or later, or on this day or earlier. Text with a time, and
            a datetime other than midnight, is a moment; without an offset it is in UTC.
        columns
            By default the stored columns. Otherwise these, in this order: stored ones, entry_day, exit_day, and the
            names in `extra`; or ``"all"``: all stored columns and days, and each name in `extra` instead of it. There
            names that differ only in case, from each other or from a column, are told apart as in `iterations`.

        Returns
        -------
        DataFrame
            One row for each trade:

            - trade_id: int64
            - iteration_id, stock_code: str
            - entry_date: datetime64[us], without a zone; a moment is in UTC if its zone is known
            - exit_date: datetime64[us], NaT while open
            - entry_price, exit_price: float64, currency
            - position_size: float64, negative for short
            - profit_loss: float64, currency, net of fees
            - trade_return: float64, fraction of the entry value, net, positive if the trade gained
            - fees: float64, currency, positive for a cost
            - mae, mfe: float64, the largest loss (<= 0) and gain (>= 0) while the trade was open, fractions
            - multiplier: float64, of a contract
            - entry_reason, exit_reason: str
            - extra: str, a JSON object of further columns

            Numbers are NaN and texts missing where unknown. If asked for, ``entry_day`` and ``exit_day`` are
            datetime64[us], the day in the zone of the market; the names in `extra` are typed as the parameters of
            `iterations`, and missing where a trade has none.

        Raises
        ------
        IterationNotFoundError
            If there is no iteration with one of the ids.
        QueryError
            If there is no column of a name, nor a trade with it in `extra`.
        ValueError
            If another argument is wrong.
        """
        return self.frames.trades(iterations, columns=columns, stocks=stocks, since=since, until=until)

    def by_stock(self, iterations: str | Iterable[str] | None = None, *, per_iteration: bool = False) -> pd.DataFrame:
        """Return what each stock earned, in all or some iterations; each currency by itself.

        Parameters
        ----------
        iterations
            Ids of iterations; by default all.
        per_iteration
            One row for each iteration and stock, rather than for each stock over all the iterations of a currency.

        Returns
        -------
        DataFrame
            One row for each stock and currency:

            - iteration_id: str, only if per iteration
            - stock_code: str
            - currency: str, that of the iterations, missing where unknown
            - trades: int64, including open ones
            - closed: int64
            - win_rate: float64, fraction of the closed trades whose result is known, by P&L or else by return
            - profit_loss: float64, currency, sum over the closed trades
            - mean_profit_loss, best_trade, worst_trade: float64, currency, of the closed trades
            - mean_trade_return: float64, fraction of the entry value, of the closed trades
            - first_entry, last_exit: datetime64[us]

            NaN where no result is known.

        Raises
        ------
        IterationNotFoundError
            If there is no iteration with one of the ids.
        ValueError
            If an argument is wrong.
        """
        return self.frames.by_stock(iterations, per_iteration=per_iteration)

    def by_period(
        self, iterations: str | Iterable[str] | None = None, period: str = "month", *, per_iteration: bool = False
    ) -> pd.DataFrame:
        """Return the profit or loss realised in each period and currency; open trades do not count.

        A trade belongs to the period of its ``exit_day``, the day in the zone of its market.

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
            One row for each period with an exit, and each currency:

            - iteration_id: str, only if per iteration
            - period: datetime64[us], its first day
            - currency: str, that of the iterations, missing where unknown
            - closed: int64, trades
            - win_rate: float64, fraction of the trades whose result is known, by P&L or else by return
            - profit_loss: float64, currency, sum

        Raises
        ------
        IterationNotFoundError
            If there is no iteration with one of the ids.
        ValueError
            If an argument is wrong.
        """
        return self.frames.by_period(iterations, period, per_iteration=per_iteration)
