"""Strategies, their iterations, metrics and suggestions: methods of `Lab`, which delegate."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from finlab_nb.lab.base import Base


class IterationAnswers(Base):
    """Strategies, their iterations, metrics and suggestions."""

    def strategies(self) -> pd.DataFrame:
        """Return the strategy versions, oldest first.

        Returns
        -------
        DataFrame
            One row for each version:

            - strategy_id, name, code: str
            - parameters: str (JSON)
            - created_at: datetime64[us, UTC]
            - parent_strategy_id: str
            - iterations: int64, their number
            - ``best_<name>`` of each metric of the standard set that has a better side: float64
            - best_iteration_id: str, by Sharpe ratio; the earliest of equal ones
            - last_run: datetime64[us, UTC]

        Raises
        ------
        StorageError
            If the database cannot be read, or the lab is closed.
        """
        return self.frames.strategies()

    def iterations(
        self,
        strategy: str | None = None,
        *,
        tags: str | Iterable[str] | None = None,
        starred: bool | None = None,
        archived: bool | None = None,
        where: str | None = None,
        order_by: str | Iterable[str] | None = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Return the iterations, oldest first.

        Parameters
        ----------
        strategy
            The id or the name of a strategy.
        tags
            Only iterations that have all of these.
        starred, archived
            Only iterations that are (True) or are not (False).
        where
            An SQL condition on the columns of the answer: ``sharpe_ratio > 1 AND param.lookback < 90``. A name that is
            not made of letters, digits and underscores alone is quoted: ``"param.stop loss" > 0``.
        order_by
            Columns, each followed by ``desc`` to put the largest first: ``"sharpe_ratio desc"``. Unknown values come
            last; equal ones stay in order of time.
        limit
            At most this many rows.

        Returns
        -------
        DataFrame
            One row for each iteration:

            - iteration_id, strategy_id: str
            - strategy: str, its name
            - iteration_number: int64
            - timestamp: datetime64[us, UTC], when the backtest was run
            - the standard set of metrics, each under its name, such as sharpe_ratio and max_drawdown (a fraction, at
              most 0): counts Int64, all others float64
            - starred, archived: bool
            - note: str
            - tags: str, separated by commas
            - initial_capital: float64, in currency
            - currency: str, such as TWD
            - timezone: str, the IANA name of the market's zone
            - periods_per_year: float64, those of the Sharpe ratio: given, or by the days of the curve
            - changed_at: datetime64[us, UTC], when note, star, archive or tags were last changed, NaT if never

            then ``param.<name>`` for each parameter and ``metric.<name>`` (float64) for each extra metric of any of
            the iterations, chosen by strategy, tags, star and archive. A parameter is Int64 (UInt64 if need be),
            float64, boolean or str: lists, objects, whole numbers beyond 64 bits and mixtures are JSON text.

            Names are the same in conditions, in the view ``results`` of `sql` and in exports, where case does not
            count. So the later one of names in the book that differ only in case, by alphabet, ends in ``_2``, the
            next one in ``_3``; an empty name is shown as ``∅``, and NUL in a name as ``␀``.

        Raises
        ------
        StrategyNotFoundError
            If there is no such strategy.
        QueryError
            If a condition is wrong, or a column does not exist.
        ValueError
            If another argument is wrong.
        """
        return self.frames.iterations(
            strategy, tags=tags, starred=starred, archived=archived, where=where, order_by=order_by, limit=limit
        )

    def best(
        self,
        n: int = 10,
        by: str = "sharpe_ratio",
        *,
        lowest: bool | None = None,
        strategy: str | None = None,
        archived: bool | None = False,
        where: str | None = None,
    ) -> pd.DataFrame:
        """Return the best iterations by a metric, best first; iterations without the metric are left out.

        Of equal ones the earlier comes first.

        Parameters
        ----------
        n
            At most this many.
        by
            A metric of the standard set, or ``metric.<name>``.
        lowest
            Whether the smallest value is the best. By default this depends on the metric: the smallest is the best for
            ``metric.volatility``, the largest for max_drawdown (at most 0) and for a metric that is unknown or has no
            better side.
        strategy
            As in `iterations`.
        archived
            False leaves out archived iterations, True all others; None takes both.
        where
            As in `iterations`.

        Returns
        -------
        DataFrame
            With the columns of `iterations`.

        Raises
        ------
        StrategyNotFoundError, QueryError, ValueError
            As in `iterations`; QueryError also if there is no such metric.
        """
        return self.frames.best(n, by, lowest=lowest, strategy=strategy, archived=archived, where=where)

    def progress(self, strategy: str, by: str = "sharpe_ratio", *, lowest: bool | None = None) -> pd.DataFrame:
        """Return how the best value of a metric developed over a strategy's iterations, by iteration number.

        Parameters
        ----------
        strategy
            The id of one version, or a name; its versions follow each other in the order they were made.
        by, lowest
            As in `best`.

        Returns
        -------
        DataFrame
            One row for each iteration:

            - strategy_id: str
            - iteration_number: int64
            - iteration_id: str
            - timestamp: datetime64[us, UTC]
            - sharpe_ratio: float64; the metric asked for, under its name
            - best_so_far: float64, including this iteration
            - is_best: bool, better than all iterations before

        Raises
        ------
        StrategyNotFoundError
            If there is no such strategy.
        QueryError
            If no iteration of any strategy has the metric.
        ValueError
            If another argument is wrong.
        """
        return self.frames.progress(strategy, by, lowest=lowest)

    def metrics(self, iterations: str | Iterable[str] | None = None, *, long: bool = False) -> pd.DataFrame:
        """Return the metrics of all or some iterations.

        Parameters
        ----------
        iterations
            Ids of iterations; by default all.
        long
            One row for each metric, extra metrics included, rather than one row for each iteration.

        Returns
        -------
        DataFrame
            One row for each iteration:

            - iteration_id: str
            - the standard set of metrics, each under its name, such as sharpe_ratio and max_drawdown (a fraction, at
              most 0): counts Int64, all others float64
            - given: str, which of them were given with the save though the stored curve and trades make other figures
              by the definitions, separated by commas; missing if none

            or, if long, one row for each metric of each iteration:

            - iteration_id, name: str; an extra metric with the name of one of the standard set, or one that begins
              with ``metric.``, has ``metric.`` before it
            - value: float64, NaN where unknown

        Raises
        ------
        IterationNotFoundError
            If there is no iteration with one of the ids.
        ValueError
            If an argument is wrong.
        """
        return self.frames.metrics(iterations, long=long)

    def suggestions(self, iterations: str | Iterable[str] | None = None, *, status: str | None = None) -> pd.DataFrame:
        """Return the suggestions for what to try next, by iteration, high priority first.

        Parameters
        ----------
        iterations
            Ids of iterations; by default all.
        status
            Only suggestions that are open, applied or rejected.

        Returns
        -------
        DataFrame
            One row for each suggestion:

            - suggestion_id: int64
            - iteration_id: str
            - priority: str (high, medium or low)
            - description, specific_changes, expected_impact, rationale: str
            - learning_references: str (JSON)
            - status: str (open, applied or rejected)
            - applied_iteration_id: str, the first iteration that applied it
            - applied_iteration_ids: object (lists of str), all that did, in this order

        Raises
        ------
        IterationNotFoundError
            If there is no iteration with one of the ids.
        ValueError
            If an argument is wrong.
        """
        return self.frames.suggestions(iterations, status=status)
