"""StorageManager: what a researcher saves, loads, changes and removes."""

from __future__ import annotations

import contextlib
import copy
import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, tzinfo
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from finlab_nb.errors import StorageError, StrategyNotFoundError, SuggestionNotFoundError
from finlab_nb.records import (
    SUGGESTION_STATES,
    Doubt,
    arguments,
    iteration_record,
    series_record,
    strategy_record,
    warn_of,
)
from finlab_nb.records.plain import materialised
from finlab_nb.records.values import shown
from finlab_nb.store import check, loading, saving, searching, upgrade
from finlab_nb.store import series as series_by_name
from finlab_nb.store.connection import callers_code
from finlab_nb.store.forks import TemporaryFolder
from finlab_nb.store.pool import ConnectionPool
from finlab_nb.store.statistics import Timings, file_sizes, timed
from finlab_nb.store.watch import SchemaWatch

if TYPE_CHECKING:
    import pandas as pd


class StorageManager:
    """The store of strategies and their iterations in one SQLite file, safe for threads and processes.

    A store can be sent to other processes (multiprocessing, joblib, Dask) and copied: it is pickled as its path and
    arguments, and opens connections of its own. ``":memory:"`` raises StorePicklingError, because it is private to its
    process; a closed store raises StoreClosedError. A forked child may use it as well, and never removes
    what its parent made.

    Parameters
    ----------
    db_path
        The database file, created and migrated as needed; ``":memory:"`` is a private temporary file, gone on close.
    pool_size
        How many threads may use the database at the same moment.
    timeout
        Seconds to wait for a free connection. (A save waits up to a minute for the write lock.)

    Raises
    ------
    StorageError
        If the file cannot be opened, comes from a newer release or belongs to another program.
    SchemaChangedError
        If another program has changed its tables so that they cannot be relied on.
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> with StorageManager(":memory:") as store:
    ...     momentum = store.save_strategy_version("momentum", "signal = ...", {"lookback": 60})
    ...     iteration = store.save_iteration(momentum, metrics={"sharpe_ratio": 1.1}, tags=["daily"])
    ...     store.load_iteration(iteration)["metrics"]["sharpe_ratio"]
    1.1
    """

    def __init__(self, db_path: str | os.PathLike[str], pool_size: int = 5, timeout: float = 5.0) -> None:
        self.path = arguments.path("db_path", db_path)
        size = arguments.whole("pool_size", pool_size, 1)
        patience = arguments.quantity("timeout", timeout, "seconds", infinite=True)
        folder = TemporaryFolder("memory") if os.fspath(db_path) == ":memory:" else None
        if folder is not None:
            self.path = folder.path / "memory.db"
        self.pool = ConnectionPool(self.path, size, patience, upgrade.prepare, SchemaWatch(self.path), folder)
        self.timings = Timings()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __copy__(self) -> Self:
        return copy.deepcopy(self)  # else closing one would close both

    def __repr__(self) -> str:
        return f"StorageManager({str(self.path)!r})"

    def close(self) -> None:
        """Close all connections; every later call raises StoreClosedError. Closing twice is fine."""
        self.pool.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Self]:
        """Put everything inside into one transaction: all of it is stored, or nothing.

        Inside another transaction of this thread it is a savepoint, which can fail alone. Nothing is durable
        before the outermost transaction has ended.

        Yields
        ------
        StorageManager
            This one.

        Raises
        ------
        StorageError
            If the store is closed, or the database cannot be written.

        Examples
        --------
        >>> with StorageManager(":memory:") as store, store.transaction():
        ...     parent = store.save_strategy_version("momentum", "v1")
        ...     child = store.save_strategy_version("momentum", "v2", parent_strategy_id=parent)
        """
        with saving.writing(self.pool), callers_code():
            yield self

    # Saving -------------------------------------------------------------------------------------------------------

    @timed
    def save_strategy_version(
        self,
        name: str,
        code: str,
        parameters: Mapping[str, Any] | pd.Series[Any] | None = None,
        parent_strategy_id: str | None = None,
    ) -> str:
        """Store one version of a strategy and return its id; it is durable when this returns.

        Parameters
        ----------
        name, code
            Text; the name must not be empty.
        parameters
            Any values by name; what JSON cannot hold is stored in the form that README's table of conversions tells.
        parent_strategy_id
            The version that this one was made from.

        Returns
        -------
        str
            The strategy_id, a UUID of version 7.

        Raises
        ------
        ValueError
            If an argument is wrong; the message names it.
        StrategyNotFoundError
            If there is no such parent.
        """
        strategy = strategy_record(name, code, parameters, parent_strategy_id)
        with saving.writing(self.pool) as connection:
            saving.insert_strategy(connection, strategy)
        return strategy.strategy_id

    @timed
    def save_iteration(
        self,
        strategy_id: str,
        iteration_number: int | None = None,
        code: str | None = None,
        *,
        metrics: Mapping[str, Any] | pd.Series[Any] | None = None,
        trades: Any = None,
        suggestions: Iterable[Mapping[str, Any]] | None = (),
        equity: Any = None,
        parameters: Mapping[str, Any] | pd.Series[Any] | None = None,
        extra_metrics: Mapping[str, Any] | pd.Series[Any] | None = None,
        tags: str | Iterable[str] | None = (),
        note: str | None = None,
        timestamp: datetime | str | None = None,
        applies: Iterable[int] | None = (),
        returns: Any = None,
        initial_capital: float | None = None,
        timezone: str | tzinfo | None = None,
        periods_per_year: float | None = None,
        currency: str | None = None,
        strict: bool = False,
    ) -> str:
        """Store one iteration, all of it or nothing, and return its id; it is durable when this returns.

        Parameters
        ----------
        strategy_id
            The strategy version that was backtested.
        iteration_number
            From 1; by default the next one of the strategy.
        code
            The code that was run; by default the strategy's.
        metrics
            Metrics of the standard set, such as ``annualized_return, sharpe_ratio, max_drawdown`` (fraction, at most
            0), ``win_rate`` (fraction) and ``total_trades`` (closed ones), as a dict or a Series. Absent ones are
            computed from equity and trades; None stays unknown. Any other name becomes an extra metric.
        trades
            Table of pandas, polars, pyarrow or numpy, or records (dicts, namedtuples, dataclasses), with ``stock_code``
            (text), ``entry_date, exit_date`` (date, datetime or ISO text; none while open), ``entry_price, exit_price,
            position_size`` (negative for short) and ``profit_loss`` (currency, net of fees). Optionally with
            ``trade_return`` (net, fraction of the entry value), ``fees`` (currency; a rebate is negative), ``mae, mfe``
            (worst and best return on the way, fractions, at most and at least 0), ``multiplier`` (of a contract),
            ``entry_reason, exit_reason`` (any scalar, as text). Usual other names are understood (pnl, commission,
            return, symbol, entry_tag, ...); any other column is kept in ``extra``, a JSON object. Without rows no
            trades were made, and total_trades is 0; None says nothing about them. The number of open ones is the extra
            metric open_trades.
        suggestions
            Dicts with ``priority`` (high, medium, low), ``description`` and optionally ``specific_changes,
            expected_impact, rationale`` (text), ``learning_references`` (list) and ``status``.
        equity
            Account value in currency: Series by date, dict, DataFrame of one column, indexed by date, or a table or
            records with ``date, equity``. Its growth is the extra metric total_return.
        parameters
            The parameters of this iteration, by name; by default the strategy's. Any value is taken, what JSON cannot
            hold in the form that README's table of conversions tells.
        extra_metrics
            Further figures by name; infinity is allowed here. What is no number is left out, with a
            DroppedMetricsWarning that names it.
        tags
            One tag or several, as free text.
        note
            Free text.
        timestamp
            When the backtest was run; without an offset it is in UTC; by default now.
        applies
            Ids of the suggestions that this iteration tries: each is marked as applied by it.
        returns
            Instead of equity: the return of each period as a fraction, in the same forms. The account begins with the
            initial capital, or with 1, one period before the first return.
        initial_capital
            What the account began with, in currency. Where it differs from the first point of the equity, it counts as
            a point one period earlier.
        timezone
            The market's zone, as an IANA name or a tzinfo that has one. Moments without a zone are its wall time, and
            its days count. By default the zone that the dates have themselves, if they have one. Moments that
            come from the store are in UTC: to save them again, give them with that zone, by
            ``pd.to_datetime(..., utc=True)``.
        periods_per_year
            Periods of the curve in a year, for the Sharpe ratio; by default they follow from its local days.
        currency
            Of the account, such as ``"TWD"``.
        strict
            Whether likely mistakes (percent for fractions, returns for equity, sizes of shorts without their sign,
            labels of a grid for stock codes, a curve without a regular period, moments of no known zone) and extra
            metrics that are no numbers are an error. Otherwise the iteration is saved, with one ImplausibleDataWarning
            for each kind.

        Returns
        -------
        str
            The iteration_id, a UUID of version 7.

        Notes
        -----
        Moments with a zone are days if every one, of all entries and exits, is the first moment of its local day; so
        are those of a curve with at most one point a local day. The local dates are stored then. Other moments are
        stored in UTC. Moments without a zone, if no `timezone` is given, are stored as they are.

        Raises
        ------
        ValueError
            If an argument is wrong; the message names field, value and what is allowed. Nothing is stored.
        StrategyNotFoundError, SuggestionNotFoundError
            If there is no such strategy or suggestion.
        """
        iteration = iteration_record(
            strategy_id,
            iteration_number,
            code,
            metrics=metrics,
            trades=trades,
            suggestions=suggestions,
            equity=equity,
            parameters=parameters,
            extra_metrics=extra_metrics,
            tags=tags,
            note=note,
            timestamp=timestamp,
            applies=applies,
            returns=returns,
            initial_capital=initial_capital,
            timezone=timezone,
            periods_per_year=periods_per_year,
            currency=currency,
            strict=strict,
        )
        warn_of(iteration.doubts, iteration.dropped)
        with saving.writing(self.pool) as connection:
            saving.insert_iteration(connection, iteration)
        return iteration.iteration_id

    @timed
    def save_iterations(self, iterations: Iterable[Mapping[str, Any]]) -> list[str]:
        """Store many iterations in one transaction and return their ids.

        Parameters
        ----------
        iterations
            Dicts of the arguments of `save_iteration`.

        Returns
        -------
        list of str
            The ids, in the order given.

        Raises
        ------
        ValueError, StrategyNotFoundError, SuggestionNotFoundError
            As in `save_iteration`; the message begins with the position. Nothing is stored. An error of a generator
            that is given comes as it is.
        """
        wanted = arguments.listed("iterations", iterations, "a list of dicts")
        ids: list[str] = []
        doubts: list[Doubt] = []
        dropped: list[str] = []
        with saving.writing(self.pool) as connection:
            for position, given in enumerate(_callers_items(wanted)):
                arguments.mapping(f"iterations[{position}]", given, "a dict of the arguments of save_iteration")
                fields = _arguments_of_save(f"iterations[{position}]", given)
                try:
                    iteration = iteration_record(**fields)
                    saving.insert_iteration(connection, iteration)
                except (ValueError, StrategyNotFoundError, SuggestionNotFoundError) as error:
                    kind = type(error) if isinstance(error, StorageError) else ValueError
                    raise kind(f"iterations[{position}]: {error}") from error
                ids.append(iteration.iteration_id)
                doubts += iteration.doubts
                dropped += iteration.dropped
            warn_of(doubts, dropped)
        return ids

    @timed
    def save_series(
        self, name: str, series: Any, *, timezone: str | tzinfo | None = None, source: str | None = None
    ) -> None:
        """Store a series by its name, such as a benchmark or prices, in the place of the one that has the name.

        Parameters
        ----------
        name
            Text, such as ``"TAIEX"``; not empty.
        series
            Values by date, in any form that `save_iteration` takes for equity; the column of a table is ``value``, or
            any other beside ``date``. Missing values of a Series or DataFrame are left out.
        timezone
            The market's zone, as in `save_iteration`; by default that of the dates.
        source
            Where the values come from, as free text.

        Raises
        ------
        ValueError
            If an argument is wrong; the message names it. Nothing is changed.
        """
        record = series_record(name, series, timezone=timezone, source=source)
        with saving.writing(self.pool) as connection:
            series_by_name.save(connection, record)

    @timed
    def delete_series(self, name: str) -> None:
        """Remove a series.

        Parameters
        ----------
        name
            Its name.

        Raises
        ------
        SeriesNotFoundError
            If no series has this name.
        ValueError
            If the name is not text, or is empty.
        """
        wanted = arguments.filled_text("name", name)
        with saving.writing(self.pool) as connection:
            series_by_name.delete(connection, wanted)

    # Loading ------------------------------------------------------------------------------------------------------

    @timed
    def load_strategy(self, strategy_id: str) -> dict[str, Any]:
        """Return a strategy version.

        Parameters
        ----------
        strategy_id
            The strategy version.

        Returns
        -------
        dict
            strategy_id, name, code, parameters (dict), created_at (ISO 8601, UTC), parent_strategy_id (None if
            there is none).

        Raises
        ------
        StrategyNotFoundError
            If no strategy has this id.
        ValueError
            If the id is not text, or is empty.
        """
        wanted = arguments.filled_text("strategy_id", strategy_id)
        with self.pool.read() as connection:
            return loading.strategy(connection, wanted)

    @timed
    def find_strategies(self, name: str) -> list[dict[str, Any]]:
        """Return the strategy versions with exactly this name, oldest first.

        Parameters
        ----------
        name
            The exact name, including case.

        Returns
        -------
        list of dict
            Each as `load_strategy` gives it; empty if there is none.

        Raises
        ------
        ValueError
            If the name is not text, or is empty.
        """
        wanted = arguments.filled_text("name", name)
        with self.pool.read() as connection:
            return loading.strategies_by_name(connection, wanted)

    @timed
    def search_strategies(self, words: str, limit: int = 50) -> list[dict[str, Any]]:
        r"""Return the strategy versions with all these words in name or code, ignoring case.

        Those with more of the words in the name come first; of these, the newest.

        Parameters
        ----------
        words
            Words, or parts of words, with spaces between them. The first 32 of them are marked in the snippet.
        limit
            At most this many versions.

        Returns
        -------
        list of dict
            strategy_id, name, created_at, parent_strategy_id; line (of the code, from 1; None if only the name
            has the words) and snippet, the text of that line or of the name with the words in «».

        Raises
        ------
        ValueError
            If there is no word, or the limit is not a whole number of at least 1.

        Examples
        --------
        >>> with StorageManager(":memory:") as store:
        ...     momentum = store.save_strategy_version("動量", "close = prices\nsignal = close.rolling(60).mean()")
        ...     [(found["line"], found["snippet"]) for found in store.search_strategies("rolling 動量")]
        [(2, 'signal = close.«rolling»(60).mean()')]
        """
        wanted = arguments.filled_text("words", words).split()
        most = arguments.whole("limit", limit, 1)
        with self.pool.read() as connection:
            return searching.strategies(connection, wanted, most)

    @timed
    def lineage(self, strategy_id: str) -> list[dict[str, Any]]:
        """Return a strategy version with all its ancestors and descendants.

        Parameters
        ----------
        strategy_id
            The strategy version.

        Returns
        -------
        list of dict
            The oldest ancestor first, each descendant after its parent: strategy_id, name, created_at,
            parent_strategy_id, iterations (their number) and depth: 0 for the strategy itself, -1 for its parent, 1
            for its children.

        Raises
        ------
        StrategyNotFoundError
            If there is no such strategy.
        ValueError
            If the id is not text, or is empty.
        """
        wanted = arguments.filled_text("strategy_id", strategy_id)
        with self.pool.read() as connection:
            return searching.lineage(connection, wanted)

    @timed
    def load_iteration(self, iteration_id: str) -> dict[str, Any]:
        """Return an iteration with everything that belongs to it.

        Parameters
        ----------
        iteration_id
            The iteration.

        Returns
        -------
        dict
            iteration_id, strategy_id, iteration_number, code, timestamp (ISO 8601, UTC), parameters, metrics (the
            standard set), extra_metrics, trades (dicts, by entry date), equity (dicts of date and equity, by date),
            suggestions (dicts, high priority first), tags, note, starred, archived.

        Raises
        ------
        IterationNotFoundError
            If no strategy has this id.
        ValueError
            If the id is not text, or is empty.
        """
        wanted = arguments.filled_text("iteration_id", iteration_id)
        with self.pool.read() as connection:
            return loading.iteration(connection, wanted)

    @timed
    def load_strategy_history(self, strategy_id: str) -> list[dict[str, Any]]:
        """Return the iterations of a strategy version by number, without trades, equity and suggestions.

        Parameters
        ----------
        strategy_id
            The strategy version.

        Returns
        -------
        list of dict
            iteration_id, strategy_id, iteration_number, code, timestamp (ISO 8601, UTC), parameters, metrics (the
            five), extra_metrics, tags, note, starred, archived.

        Raises
        ------
        StrategyNotFoundError
            If there is no such strategy.
        ValueError
            If the id is not text, or is empty.
        """
        wanted = arguments.filled_text("strategy_id", strategy_id)
        with self.pool.read() as connection:
            return loading.history(connection, wanted)

    # Changing -----------------------------------------------------------------------------------------------------

    @timed
    def annotate(
        self,
        iteration_id: str,
        *,
        note: str | None = None,
        starred: bool | None = None,
        archived: bool | None = None,
        add_tags: str | Iterable[str] = (),
        remove_tags: str | Iterable[str] = (),
    ) -> None:
        """Change a researcher's annotations of an iteration.

        Parameters
        ----------
        iteration_id
            The iteration.
        note
            Free text; empty text removes the note, None leaves it unchanged.
        starred, archived
            Whether the iteration is; None leaves it unchanged.
        add_tags, remove_tags
            One tag or several. A tag in both is added.

        Raises
        ------
        ValueError
            If an argument is wrong.
        IterationNotFoundError
            If there is no such iteration.
        """
        wanted = arguments.filled_text("iteration_id", iteration_id)
        changes: dict[str, object] = {}
        if note is not None:
            changes["note"] = arguments.text("note", note) or None
        if starred is not None:
            changes["starred"] = arguments.flag("starred", starred)
        if archived is not None:
            changes["archived"] = arguments.flag("archived", archived)
        added, removed = arguments.texts("add_tags", add_tags), arguments.texts("remove_tags", remove_tags)
        with saving.writing(self.pool) as connection:
            saving.annotate(connection, wanted, changes, added, removed)

    @timed
    def set_suggestion_status(self, suggestion_id: int, status: str, applied_iteration_id: str | None = None) -> None:
        """Record what became of a suggestion.

        Parameters
        ----------
        suggestion_id
            The suggestion: a number, as `load_iteration` and `Lab.suggestions` give it.
        status
            open, applied or rejected.
        applied_iteration_id
            The iteration that applied it, if known; only with the status applied.

        Raises
        ------
        ValueError
            If an argument is wrong, or names an iteration although the status is not applied.
        SuggestionNotFoundError, IterationNotFoundError
            If there is no such suggestion or iteration.
        """
        wanted = arguments.whole("suggestion_id", suggestion_id, 1)
        state = arguments.one_of("status", status, SUGGESTION_STATES)
        applied = None
        if applied_iteration_id is not None:
            applied = arguments.filled_text("applied_iteration_id", applied_iteration_id)
            if state != "applied":
                raise ValueError(f"applied_iteration_id is {applied!r}; it must be None unless the status is 'applied'")
        with saving.writing(self.pool) as connection:
            saving.set_suggestion_status(connection, wanted, state, applied)

    @timed
    def delete_iteration(self, iteration_id: str) -> None:
        """Remove an iteration with its metrics, trades, equity, suggestions and tags.

        Parameters
        ----------
        iteration_id
            The iteration.

        Raises
        ------
        IterationNotFoundError
            If there is no such iteration.
        ValueError
            If the id is not text, or is empty.
        """
        wanted = arguments.filled_text("iteration_id", iteration_id)
        with saving.writing(self.pool) as connection:
            saving.delete_iteration(connection, wanted)

    @timed
    def delete_strategy(self, strategy_id: str, *, cascade: bool = False) -> None:
        """Remove a strategy version.

        Parameters
        ----------
        strategy_id
            The strategy version.
        cascade
            Also remove its iterations, and all strategy versions made from it with their iterations.

        Raises
        ------
        StrategyNotFoundError
            If there is no such strategy.
        StorageError
            If it has iterations or children and `cascade` is False; nothing is removed.
        ValueError
            If an argument is wrong.
        """
        wanted, with_all = arguments.filled_text("strategy_id", strategy_id), arguments.flag("cascade", cascade)
        with saving.writing(self.pool) as connection:
            saving.delete_strategy(connection, wanted, cascade=with_all)

    # Exchanging ---------------------------------------------------------------------------------------------------

    @timed
    def export_results(
        self, iteration_ids: str | Iterable[str], path: str | os.PathLike[str], *, progress: bool = True
    ) -> Path:
        """Write iterations to an export file (JSON) and return its absolute path.

        The file shows one moment of the store and holds everything that `load_iteration` gives, the strategy of each
        iteration and the strategies that it descends from. It is durable when this returns. An existing file of this
        name is replaced as a whole, and stays as it was if the export fails.

        Whatever is stored travels, and arrives as the same rows. The format is the oldest one that has room for all of
        it: 1.0; 1.1 where values that today's rules refuse, of another program or an older file, are carried as they
        are stored; 1.2 where an iteration has capital, zone, currency, later annotations or periods a year that its
        curve does not give, or its trades have fees, returns, excursions, a multiplier, reasons or further columns.

        Parameters
        ----------
        iteration_ids
            One id or several, in the order wanted; an id given twice is written once.
        path
            The file; its ending ``.json``, ``.json.gz`` or ``.json.zst`` says how it is compressed.
        progress
            Show a progress bar on stderr when it takes more than a second.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        IterationNotFoundError
            If there is no such iteration.
        StorageError
            If the file cannot be written, an iteration is too large for an import, or another program has stored an id
            that is no text in UTF-8; the message names table and row.
        ValueError
            If an argument is wrong, or the path has another ending or belongs to a database.

        Examples
        --------
        >>> import tempfile
        >>> with StorageManager(":memory:") as store, tempfile.TemporaryDirectory() as folder:
        ...     iteration = store.save_iteration(store.save_strategy_version("momentum", "signal = ..."))
        ...     store.export_results([iteration], Path(folder, "momentum.json.gz")).name
        'momentum.json.gz'
        """
        from finlab_nb.store import interchange

        return interchange.export_results(self.pool, iteration_ids, path, progress=progress)

    @timed
    def import_results(self, path: str | os.PathLike[str], mode: str = "copy", *, progress: bool = True) -> list[str]:
        """Store the iterations of an export file, all of them or none, and return their ids in the order of the file.

        The whole file is checked before anything is written. Files of every format 1.x are accepted. Fields that a
        newer version has added are left out, and one `NewerFormatWarning` names them. Values that a file carries as
        they were stored, because today's rules refuse them, are stored like that again; one `BadDataWarning` counts
        those that break a rule, and `check` lists them. Files of the original layer, whose iterations have no
        ``strategy``, are accepted too: an unknown strategy_id gets a strategy made from the iteration's code. Dates
        with an offset are days or moments as in `save_iteration`; times without one are UTC where the iteration has a
        timezone.

        Parameters
        ----------
        path
            The file, compressed as its ending says: ``.json``, ``.json.gz`` or ``.json.zst``.
        mode
            ``"copy"`` gives new ids to iterations and strategies and maps parents and applied suggestions to them;
            references to an iteration outside the file become unknown. ``"merge"`` keeps the ids and skips what the
            store already has, which must be the same in its inputs and results, as far as the format of the file can
            tell them. Later annotations (note, starred,
            archived, tags, status of suggestions) are not compared and stay as they are in the store.
        progress
            Show a progress bar on stderr when it takes more than a second.

        Returns
        -------
        list of str
            The ids of the iterations, as stored.

        Raises
        ------
        ValueError
            If the file or an argument is wrong, or an iteration differs from the stored one with its id; the message
            begins with the JSON path, such as ``$.iterations[3].trades[7].entry_price``.
        StorageError
            If the file cannot be read or the database cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> with StorageManager(":memory:") as store, tempfile.TemporaryDirectory() as folder:
        ...     saved = [store.save_iteration(store.save_strategy_version("momentum", "signal = ..."))]
        ...     path = store.export_results(saved, Path(folder, "momentum.json"))
        ...     store.import_results(path, mode="merge") == saved, store.import_results(path) == saved
        (True, False)
        """
        from finlab_nb.store import interchange

        return interchange.import_results(self.pool, path, mode, progress=progress)

    # Maintaining --------------------------------------------------------------------------------------------------

    def check(self, limit: int = 1000) -> list[dict[str, Any]]:
        """Return the stored values that today's rules would not accept.

        They are kept, but NULL in DataFrames, except ids. Such values come from other programs that write to the file,
        or from a file of the original layer.

        Parameters
        ----------
        limit
            At most this many findings per table.

        Returns
        -------
        list of dict
            table, row (its rowid), column, value, problem. If another program has changed the table itself, row and
            value are None, and so is the column if the problem concerns none; the table's values are not checked.

        Raises
        ------
        ValueError
            If the limit is not a whole number of at least 1.
        """
        most = arguments.whole("limit", limit, 1)
        with self.pool.read(watched=False) as connection:
            return check.findings(connection, most)

    def statistics(self) -> dict[str, Any]:
        """Return how the store is used; collecting this costs a microsecond per call.

        Returns
        -------
        dict
            pool (size, in_use, waits: how often a caller waited for a connection, longest_wait in seconds), calls (by
            operation since the store was opened: count, mean and p95 in seconds), files (database and wal in bytes),
            last_backup (path, created_at) or None.
        """
        with self.pool.read() as connection:
            last_backup = loading.last_backup(connection)
        return {
            "pool": {
                "size": self.pool.size,
                "in_use": self.pool.in_use,
                "waits": self.pool.waits,
                "longest_wait": self.pool.longest_wait,
            },
            "calls": self.timings.summary(),
            "files": file_sizes(self.path),
            "last_backup": last_backup,
        }


_ARGUMENTS_OF_SAVE: Final = tuple(inspect.signature(StorageManager.save_iteration).parameters)[1:]


def _callers_items(items: Iterable[Any]) -> Iterator[Any]:
    """Yield what a caller's generator makes; its errors are the caller's."""
    with callers_code():
        iterator = iter(items)
    while True:
        with callers_code():
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


def _arguments_of_save(field: str, given: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the arguments of one save, with generators as lists: their errors are the caller's."""
    for name in given:
        if name not in _ARGUMENTS_OF_SAVE:
            raise ValueError(
                f"{field} has the unknown field {shown(name)}; allowed are {', '.join(_ARGUMENTS_OF_SAVE)}"
            )
    if "strategy_id" not in given:
        raise ValueError(f"{field} has no strategy_id; it must name the strategy that was run")
    with callers_code():
        return {name: materialised(value) for name, value in given.items()}
