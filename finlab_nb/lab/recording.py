"""Results of backtest engines: methods of `Lab`, which delegate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from finlab_nb.lab.base import Base

if TYPE_CHECKING:
    from finlab_nb.engines import Preview


class RecordedResults(Base):
    """Results of backtest engines."""

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
        >>> import pandas as pd
        >>> from finlab_nb import Lab
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
