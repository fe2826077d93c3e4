"""Lab: the one object that a notebook holds."""

from __future__ import annotations

import copy
import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
import pandas as pd

from finlab_nb.query.frames import Frames
from finlab_nb.query.replica.engine import Engine
from finlab_nb.records import arguments
from finlab_nb.store import StorageManager

if TYPE_CHECKING:
    from finlab_nb.engines import Preview
    from finlab_nb.widgets import Explorer


class Lab:
    """A researcher's memory: saves through ``lab.store``, answers as DataFrames, shows widgets.

    Every DataFrame shows one moment of the database, the newest, including what other processes have written. An empty
    answer has the same columns and dtypes as a full one. The dtype ``str`` in the descriptions below is Arrow-backed
    text: ``str`` of pandas 3, ``string[pyarrow]`` of pandas 2. Values that another program wrote and that a save
    would refuse are missing; one BadDataWarning per answer counts them.

    A date of a trade, a curve or a series is a day, or a moment in UTC if the time zone of its market is known; without
    one it is as it was given. The day of a moment is the day in that zone: by it trades are narrowed and summed up, and
    returns computed. In SQL it is the column ``entry_day`` or ``exit_day`` of trades, ``day`` of equity and series.

    A lab that nobody holds any more closes itself, so that a cell with ``lab = fl.Lab(...)`` can be run again and
    again. ``lab.store`` and ``lab.frames`` go on by themselves where they are still held. `close` and ``with`` close at
    a known moment.

    A lab can be sent to other processes (multiprocessing, joblib, Dask) and copied: it is pickled as its path and
    arguments, and opens the database anew. ``":memory:"`` raises StorePicklingError, because it is private to its
    process; a closed lab raises StoreClosedError. A forked child may use it as well, and never removes
    what its parent made.

    Parameters
    ----------
    db_path
        One SQLite file, created and migrated as needed; ``":memory:"`` is a private temporary file, gone on close.
    cache_dir
        Where to put the folder ``<database>.cache`` of Parquet copies; by default beside the database. Deleting it
        loses nothing but time.
    pool_size
        How many threads may use the database at the same moment.
    timeout
        Seconds to wait for a free connection.

    Attributes
    ----------
    store : StorageManager
        What saves, loads, changes and removes.
    frames : Frames
        What answers the questions below.

    Raises
    ------
    StorageError
        If the database cannot be opened.
    ValueError
        If an argument is wrong.

    Examples
    --------
    >>> with Lab(":memory:") as lab:
    ...     momentum = lab.store.save_strategy_version("momentum", "signal = ...", {"lookback": 60})
    ...     iteration = lab.store.save_iteration(momentum, metrics={"sharpe_ratio": 1.1})
    ...     lab.iterations()["sharpe_ratio"].tolist()
    [1.1]
    """

    def __init__(
        self,
        db_path: str | os.PathLike[str],
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        pool_size: int = 5,
        timeout: float = 5.0,
    ) -> None:
        cache = None if cache_dir is None else arguments.path("cache_dir", cache_dir, "folder")
        self.store = StorageManager(db_path, pool_size, timeout)
        self._engine = Engine(self.store.pool, cache)
        self.frames = Frames(self._engine)
        self._explorers: list[weakref.ref[Explorer]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __copy__(self) -> Self:
        return copy.deepcopy(self)  # else closing one would close both

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_explorers": []}

    def __repr__(self) -> str:
        return f"Lab({str(self.store.path)!r})"

    # Results of backtest engines ------------------------------------------------------------------------------------

    def record(
        self,
        result: Any,
        strategy: str | None = None,
        *,
        parameters: Mapping[str, Any] | None = None,
        code: Any = None,
        ticker: str | None = None,
        initial_capital: float | None = None,
        timezone: str | None = None,
        prices: Any = None,
        engine: str | None = None,
        note: str | None = None,
        tags: str | Iterable[str] = (),
        check: bool = True,
        again: bool = False,
    ) -> str | list[str]:
        """Store what a backtest engine handed back, in one transaction, and print one line about it.

        Trades, curve, parameters, source and the engine's own figures (extra metrics ``engine.<name>``) are found in
        the result; metrics follow the definitions of finlab_nb, so that engines can be compared. `preview` shows what
        would be stored.

        Parameters
        ----------
        result
            A Portfolio of vectorbt (single, grid, groups), stats of backtesting.py (also with the heatmap of
            ``optimize``), a Report of finlab, a result of freqtrade (dict, .zip, .json, folder), a BacktestEngine of
            nautilus_trader, what ``Cerebro.run()`` of backtrader returns, the DataFrame of zipline, a Result of bt, a
            TestResult of pybroker, the dict of jesse, a result of LEAN (dict, .json), what ``backtest()`` of qlib
            returns; or a list of such.
        strategy
            The name of the strategy, or the id of one of its versions; by default the name that the result knows. The
            same name and code are the same version; changed code becomes a new one whose parent is the newest.
        parameters
            Further parameters of the backtest, or other values of those that the result knows.
        code
            The source as text, or the class or function that has it; by default the one that the result leads to.
        ticker
            The code of the one stock that was traded, for engines that do not know it.
        initial_capital
            In currency, for engines that do not know it.
        timezone
            The market's zone, as in `StorageManager.save_iteration`.
        prices
            Closing prices: a DataFrame by date with a column a stock, or a Series. They value what is open at the end
            where the engine does not, and their fingerprint is kept. A text that tells which data it was is kept as is.
        engine
            The engine's name, where it shall not be guessed: vectorbt, backtesting, finlab, freqtrade, nautilus,
            backtrader, zipline, bt, pybroker, jesse, lean, qlib.
        note, tags
            As in `StorageManager.save_iteration`.
        check
            Whether to compare trades with the curve. The sum of profit and loss less the change of equity is the extra
            metric ``check.pnl_gap`` (currency); above a 10,000th of the capital it is an ImplausibleDataWarning, and so
            are trades outside of the curve's days. Sizes without their sign are an error.
        again
            Whether to store a result once more that the same version has already with the same parameters.

        Returns
        -------
        str or list of str
            The iteration_id; of a grid, a list, or a file with several strategies a list, in their order.

        Raises
        ------
        ValueError
            If nothing is known of such a result, or what it holds is wrong; nothing is stored.
        StorageError
            If the database cannot be written.
        """
        from finlab_nb.engines import record

        return record(
            self.store,
            result,
            strategy=strategy,
            parameters=parameters,
            code=code,
            ticker=ticker,
            initial_capital=initial_capital,
            timezone=timezone,
            prices=prices,
            engine=engine,
            note=note,
            tags=tags,
            check=check,
            again=again,
        )

    def preview(
        self,
        result: Any,
        strategy: str | None = None,
        *,
        parameters: Mapping[str, Any] | None = None,
        code: Any = None,
        ticker: str | None = None,
        initial_capital: float | None = None,
        timezone: str | None = None,
        prices: Any = None,
        engine: str | None = None,
        note: str | None = None,
        tags: str | Iterable[str] = (),
        check: bool = True,
    ) -> Preview | list[Preview]:
        """Return what `record` would store, and store nothing.

        Parameters
        ----------
        result, strategy, parameters, code, ticker, initial_capital, timezone, prices, engine, note, tags, check
            As in `record`.

        Returns
        -------
        Preview or list of Preview
            ``trades`` (DataFrame), ``equity`` (Series), ``metrics``, ``parameters``, ``code``, ``remarks`` and
            ``summary``; shown as tables in a notebook.

        Raises
        ------
        ValueError
            As in `record`.
        """
        from finlab_nb.engines import preview

        return preview(
            result,
            strategy=strategy,
            parameters=parameters,
            code=code,
            ticker=ticker,
            initial_capital=initial_capital,
            timezone=timezone,
            prices=prices,
            engine=engine,
            note=note,
            tags=tags,
            check=check,
        )

    def record_frames(
        self,
        strategy: Any = None,
        trades: Any = None,
        *,
        fills: Any = None,
        orders: Any = None,
        equity: Any = None,
        returns: Any = None,
        columns: Mapping[Any, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        code: Any = None,
        ticker: str | None = None,
        initial_capital: float | None = None,
        timezone: str | None = None,
        prices: Any = None,
        currency: str | None = None,
        periods_per_year: float | None = None,
        engine: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        extra_metrics: Mapping[str, float] | None = None,
        note: str | None = None,
        tags: str | Iterable[str] = (),
        check: bool = True,
        again: bool = False,
    ) -> str:
        """Store tables of trades, fills or orders with a curve, of any platform or none; print what columns are what.

        Known are the lists of TradingView, MetaTrader 4 and 5, Interactive Brokers, jesse, ccxt, Binance, Alpaca and
        brokers of Taiwan, and the usual names in English and Chinese. A table may have titles above its header, other
        sections below, two columns of one name, numbers as texts, and dates such as 20260501;101500 or 115/10/01: what
        was left out is told, and what cannot be told for sure is an error. `preview_frames` shows what would be stored.

        Parameters
        ----------
        strategy
            The name of the strategy, or the id of one of its versions; by default the name in a column of the table.
            The table may stand here instead.
        trades
            One row a trade, or a row for its entry and one for its exit: a DataFrame of pandas or polars, a table of
            pyarrow, a list of dicts, or the path of a CSV or other text file, whose encoding (UTF-8, UTF-16, Big5, GBK)
            and separator are found. A table of fills is told from one of trades.
        fills, orders
            One row a purchase or sale, instead of trades; date, size (or quantity and side), price, and a code or
            `ticker` are needed. They are paired first in, first out. Of orders only those that were filled count.
        equity, returns
            The curve, or the returns of each period: a Series by date, a table of date and value, or a path. Without
            them it is computed from fills, `prices` and `initial_capital` if these are given.
        columns
            What columns are, where their names do not tell: ``{"their name": "our name"}``, ours being those of trades,
            and ``date, price, side, lots``; None for a column that shall not be used. The other way round is understood
            where the first is no column of the table.
        parameters, code, ticker, initial_capital, timezone, prices
            As in `record`.
        currency
            That of the amounts, such as TWD; by default what the table says.
        periods_per_year
            As in `StorageManager.save_iteration`.
        engine
            The name of the platform, where the table does not show it.
        metrics
            The platform's own figures, stored as extra metrics ``engine.<name>``.
        extra_metrics
            Further figures, stored by their own names.
        note, tags, check, again
            As in `record`.

        Returns
        -------
        str
            The iteration_id.

        Raises
        ------
        ValueError
            If a column is missing, or a cell is not understood; the message names table, row, column and value, and
            nothing is stored.
        StorageError
            If the database cannot be written.

        Examples
        --------
        >>> fills = pd.DataFrame(
        ...     {
        ...         "date": ["2024-01-02", "2024-01-09"],
        ...         "symbol": "2330",
        ...         "side": ["buy", "sell"],
        ...         "qty": 1000,
        ...         "price": [590.0, 600.0],
        ...     }
        ... )
        >>> with Lab(":memory:") as lab:
        ...     iteration = lab.record_frames("momentum", fills=fills)
        columns: stock_code = symbol, date, size = qty signed by side, price, fee missing: taken as 0; fills ...
        1 trade, P&L 10,000.00, no equity curve
        """
        from finlab_nb.engines.frames import record_frames

        return record_frames(
            self.store,
            strategy=strategy,
            trades=trades,
            fills=fills,
            orders=orders,
            equity=equity,
            returns=returns,
            columns=columns,
            parameters=parameters,
            code=code,
            ticker=ticker,
            initial_capital=initial_capital,
            timezone=timezone,
            prices=prices,
            currency=currency,
            periods_per_year=periods_per_year,
            engine=engine,
            metrics=metrics,
            extra_metrics=extra_metrics,
            note=note,
            tags=tags,
            check=check,
            again=again,
        )

    def preview_frames(self, strategy: Any = None, trades: Any = None, **options: Any) -> Preview:
        """Return what `record_frames` would store, and store nothing.

        Parameters
        ----------
        strategy, trades
            As in `record_frames`.
        options
            The other arguments of `record_frames`.

        Returns
        -------
        Preview
            As in `preview`; its first remark tells what each column was taken for.

        Raises
        ------
        ValueError
            As in `record_frames`.
        """
        from finlab_nb.engines.frames import preview_frames

        return preview_frames(strategy=strategy, trades=trades, **options)

    # Strategies and iterations ------------------------------------------------------------------------------------

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

    # Trades -------------------------------------------------------------------------------------------------------

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

    # Curves -------------------------------------------------------------------------------------------------------

    def equity(self, iterations: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Return equity curves side by side.

        Parameters
        ----------
        iterations
            Ids of iterations; by default all that have a curve.

        Returns
        -------
        DataFrame
            Indexed by date (datetime64[us], without a zone; a moment is in UTC if its zone is known); one float64
            column for each iteration, named by its id, in the order requested: account value in currency, NaN where the
            iteration has no point.

        Raises
        ------
        IterationNotFoundError
            If there is no iteration with one of the ids.
        ValueError
            If an id is not text.
        """
        return self.frames.equity(iterations)

    def returns(self, iterations: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Return the daily returns of equity curves side by side, as they enter the Sharpe ratio.

        Parameters
        ----------
        iterations
            Ids of iterations; by default all that have a curve.

        Returns
        -------
        DataFrame
            Indexed by date (datetime64[us]), the day in the zone of the market; one float64 column for each iteration,
            named by its id, in the order requested: the fraction that `analysis.daily_returns` gives, from the initial
            capital where the curve begins with another value, NaN where the iteration has none.

        Raises
        ------
        IterationNotFoundError
            If there is no iteration with one of the ids.
        ValueError
            If an id is not text.
        """
        return self.frames.returns(iterations)

    # Series by name -----------------------------------------------------------------------------------------------

    def series(self, name: str) -> pd.Series:
        """Return a series by name, such as a benchmark or prices.

        Parameters
        ----------
        name
            The name under which it was saved.

        Returns
        -------
        Series
            float64, indexed by date (datetime64[us], without a zone; a moment is in UTC if the zone of the series is
            known) in time order, and named by its name.

        Raises
        ------
        SeriesNotFoundError
            If there is no such series.
        ValueError
            If the name is not text.
        """
        return self.frames.series(name)

    def series_names(self) -> pd.DataFrame:
        """Return which series there are, by name.

        Returns
        -------
        DataFrame
            One row for each series:

            - name: str
            - points: int64, their number
            - first, last: datetime64[us], its first and last date, NaT without a point
            - timezone: str, the IANA name of its zone, missing if unknown
            - source: str, where it is from, missing if unknown
            - changed_at: datetime64[us, UTC], when it was last saved
        """
        return self.frames.series_names()

    # SQL ----------------------------------------------------------------------------------------------------------

    @overload
    def sql(
        self,
        query: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        frames: Mapping[str, Any] | None = None,
        to: Literal["pandas"] = "pandas",
    ) -> pd.DataFrame: ...

    @overload
    def sql(
        self,
        query: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        frames: Mapping[str, Any] | None = None,
        to: str,
    ) -> Any: ...

    def sql(
        self,
        query: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        frames: Mapping[str, Any] | None = None,
        to: str = "pandas",
    ) -> Any:
        """Return the answer to a SELECT in DuckDB's SQL, which can neither write nor read files.

        Ctrl-C, or the stop button of a notebook, ends a query that takes too long.

        Parameters
        ----------
        query
            One SELECT, VALUES, PIVOT, UNPIVOT, SUMMARIZE, DESCRIBE, SHOW or plain EXPLAIN over the views
            ``strategies, iterations, metrics, extra_metrics, given_metrics, suggestions, applications, trades, equity,
            tags, provenance, series``, and ``results``: a row for each iteration with all metrics, and the structs
            ``param`` and ``metric``, as in ``SELECT stock_code, param.lookback FROM trades JOIN results USING
            (iteration_id)``.

            Any other table name refers to a variable, spelled the same, as Python finds it at the place of the call: in
            the calling function, in the running functions that it is written in, or a global one. It must be a
            DataFrame of pandas, whose index is left out, or of polars, or a table or reader of pyarrow, which is read
            to its end. A view takes precedence over a variable, and a name defined by WITH over both.
        params
            Values for ``?`` or ``$name`` in the query: numbers, texts, dates and moments, also of numpy and pandas, and
            lists of them; what is missing is NULL.
        frames
            Further tables by name, where variables will not do.
        to
            - ``pandas``: a DataFrame.
            - ``arrow``: a pyarrow.Table.
            - ``polars``: a DataFrame of polars.
            - ``stream``: a pyarrow.RecordBatchReader, for answers larger than memory. All of it is of the moment at
              which it was asked. It ends when it is read to its end, or dropped; until then it keeps that moment.

        Returns
        -------
        DataFrame, pyarrow.Table or pyarrow.RecordBatchReader
            The columns of the query. A later one of a name, regardless of case, ends in ``_2``, ``_3`` and so on. The
            fields of the structs ``param`` and ``metric`` are columns ``param.<name>`` and ``metric.<name>``.

            In a DataFrame of pandas text is str, and a missing value makes a whole number or flag nullable (Int64,
            boolean). Decimal numbers are float64, the nearest to each; sums of whole numbers are int64, float64 if one
            does not fit. Dates are datetime64[us], moments datetime64[us, UTC], and their differences timedelta64[us];
            intervals with months, which have no length, are DateOffsets. Enums are categories, lists arrays,
            structs dicts and maps lists of pairs. Otherwise the types are those of DuckDB.

        Raises
        ------
        QueryError
            If the query is not one SELECT, could do more than answer, or DuckDB refuses it; if a variable is no table;
            or if the answer holds what the form asked for cannot.
        StorageError
            If polars is missing.
        ValueError
            If another argument is wrong.

        Notes
        -----
        A number with a point, such as 0.3, is a decimal number for DuckDB. Up to 15 digits it equals the float64 that
        Python makes of it; longer ones do so as a value of `params`, or with an exponent (``0.3e0``).

        Examples
        --------
        >>> watched = pd.DataFrame({"stock_code": ["2330", "2317"]})
        >>> with Lab(":memory:") as lab:
        ...     found = lab.sql("SELECT count(*) AS trades FROM trades JOIN watched USING (stock_code)")
        >>> found["trades"].item()
        0
        """
        return self.frames.sql(query, params, frames=frames, to=to)

    # Files --------------------------------------------------------------------------------------------------------

    def export_frames(
        self,
        directory: str | os.PathLike[str],
        tables: str | Iterable[str] | None = None,
        format: str = "parquet",  # noqa: A002 - the word that pandas users expect
        where: str | None = None,
        *,
        partition_by: str | None = None,
        progress: bool = True,
    ) -> list[Path]:
        """Write tables to files named after them, all showing one moment, and return the paths.

        Rows pass through in pieces, so that memory does not grow with the book. Each file is written under a temporary
        name and flushed, and all are put in place when the last one is complete: a failed export changes nothing.

        Parameters
        ----------
        directory
            The folder, created if need be. Files of the same names in it are replaced.
        tables
            Of ``strategies, iterations, metrics, extra_metrics, given_metrics, suggestions, applications, trades,
            equity, tags, provenance, series``; by default all of these. The days of trades, curves and series are
            written too. ``results`` is what `iterations` returns.
        format
            - ``parquet``: typed; the one for large books.
            - ``feather``: typed, Arrow's own file format.
            - ``csv``: UTF-8 with a byte order mark, dates as ISO 8601, unknown values empty.
            - ``json``: a list of objects, one per line; infinite figures are the texts "Infinity" and "-Infinity".
            - ``xlsx``: one sheet per file, timestamps in UTC; needs ``pip install "finlab-nb[excel]"``.

            In csv and xlsx, text that starts with ``= + - @``, a tab or a carriage return gets an apostrophe before it,
            because spreadsheets would run it as a formula. Numbers stay as they are.
        where
            An SQL condition on the columns of `iterations`: only the rows of these iterations are written, and
            their strategies. Series belong to no iteration and are written whole.
        partition_by
            ``"strategy"``: each table becomes a folder with one Parquet file for each strategy version, named
            ``strategy_id=<id>/part-0.parquet``, from which readers make the column ``strategy_id``. Rows without a
            strategy, which only another program can have left, are under ``strategy_id=unknown``. The tables of
            strategies and of series stay one file each.
        progress
            Show a progress bar on stderr when it takes more than a second.

        Returns
        -------
        list of Path
            The files, or with `partition_by` the folders, in the order of the tables.

        Raises
        ------
        ValueError
            If an argument is wrong, or a table does not fit into a sheet of Excel.
        QueryError
            If the condition is wrong.
        StorageError
            If a file cannot be written, or the library for Excel is missing.
        """
        from finlab_nb.query.exports import export_frames

        return export_frames(
            self.frames, directory, tables, format, where, partition_by=partition_by, progress=progress
        )

    def cache_info(self) -> dict[str, Any]:
        """Return what the Parquet cache holds at this moment.

        Returns
        -------
        dict
            folder (Path); temporary: whether the folder is one, because the one beside the database cannot be written;
            generation, to which its segments belong; bytes; segments (their number by table), delta_rows (rows by
            table that no segment holds yet) and reader_process (id, None while no reader runs).
        """
        return self._engine.cache_info()

    def clear_cache(self) -> None:
        """Remove the Parquet cache, which loses nothing but time: the next question rebuilds it."""
        self._engine.clear_cache()

    # Widgets ------------------------------------------------------------------------------------------------------

    def explore(self) -> Explorer:
        """Return the explorer: a table of iterations, and the curves, metrics and suggestions of those selected.

        Returns
        -------
        Explorer
            An ipywidget, shown if it is the last line of a cell; its controls are attributes. It holds what it shows
            of the lab until one of the two is closed, or its cell is run again.
        """
        from finlab_nb.widgets import Explorer

        explorer = Explorer(self.frames, self.store)
        self._explorers = [one for one in self._explorers if one() is not None] + [weakref.ref(explorer)]
        return explorer

    def close(self) -> None:
        """Close its explorers and all connections, and stop the reader. Closing twice is fine."""
        while self._explorers:
            if (explorer := self._explorers.pop()()) is not None:
                explorer.close()
        self._engine.close()
        self.store.close()
