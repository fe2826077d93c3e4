"""What a researcher saves."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final

from finlab_nb.errors import StorageError, StrategyNotFoundError, SuggestionNotFoundError
from finlab_nb.records import (
    Doubt,
    Iteration,
    Recording,
    arguments,
    iteration_record,
    series_record,
    strategy_record,
    warn_of,
)
from finlab_nb.records.plain import materialised
from finlab_nb.records.provenance import outcome_hash
from finlab_nb.records.values import refusal, shown
from finlab_nb.store import recording, saving
from finlab_nb.store import series as series_by_name
from finlab_nb.store.manager.base import Base, timed
from finlab_nb.store.spool import Waiting

if TYPE_CHECKING:
    import pandas as pd


class Saves(Base):
    """Saving strategies, iterations and series."""

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
        provenance: Mapping[str, Any] | None = None,
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
            Table of pandas, polars, pyarrow or numpy, a dict of columns (lists, arrays, Series), or records (dicts,
            namedtuples, dataclasses), with ``stock_code`` (text), ``entry_date, exit_date`` (date, datetime or ISO
            text; none while open), ``entry_price, exit_price, position_size`` (negative for short) and ``profit_loss``
            (currency, net of fees). Optionally with ``trade_return`` (net, fraction of the entry value), ``fees``
            (currency; a rebate is negative), ``mae, mfe`` (worst and best return on the way, fractions, at most and at
            least 0), ``multiplier`` (of a contract), ``entry_reason, exit_reason`` (any scalar, as text). Usual other
            names are understood (pnl, commission, return, symbol, entry_tag, ...); any other column is kept in
            ``extra``, a JSON object. Without rows no trades were made, and total_trades is 0; None says nothing about
            them. The number of open ones is the extra metric open_trades.
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
            Ids of the suggestions that this iteration tries: each is marked as applied by it, too.
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
        provenance
            Where the figures come from, as far as it is known: a dict of ``engine, engine_version, host, code_hash,
            result_hash`` (text that is not empty), ``data_fingerprint`` (text), ``packages`` (versions by name),
            ``seed`` (a whole number of 64 bits) and ``duration`` (seconds). `Lab.record` fills it in.
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
            provenance=provenance,
            strict=strict,
        )
        warn_of(iteration.doubts, iteration.dropped)
        with saving.writing(self.pool) as connection:
            saving.insert_iteration(connection, iteration)
        return iteration.iteration_id

    @timed
    def save_iterations(self, iterations: Iterable[Mapping[str, Any]]) -> list[str]:
        """Store many iterations in one transaction and return their ids.

        All of them are made before the transaction begins, so that a generator may run backtests for hours while others
        save. What waits meanwhile lies in memory, or, if it is much, in a temporary file beside the database.

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
        doubts: list[Doubt] = []
        dropped: list[str] = []
        ids: list[str] = []
        with Waiting(self.path.parent) as made:
            for position, given in enumerate(wanted):
                iteration = _iteration_of(f"iterations[{position}]", given)
                made.add(iteration)
                doubts += iteration.doubts
                dropped += iteration.dropped
            warn_of(doubts, dropped)
            with saving.writing(self.pool, appends=True) as connection:
                for position, iteration in enumerate(made):
                    with _named(f"iterations[{position}]"):
                        saving.insert_iteration(connection, iteration)
                    ids.append(iteration.iteration_id)
        return ids

    @timed
    def record_iterations(self, recordings: Iterable[Recording], *, again: bool = False) -> list[tuple[str, bool]]:
        """Store iterations under the versions of their strategies in one transaction: what `Lab.record` calls.

        A version with the same name and code is used again; changed code becomes a new version whose parent is the
        newest of the name; code that is unknown stands for the newest. The same result is the same curve, trades,
        account, parameters and figures; what follows from these, notes, tags and the origin do not count. All are made
        before the transaction begins, as in `save_iterations`.

        Parameters
        ----------
        recordings
            Each iteration with its strategy's id or name and its code.
        again
            Whether a result is stored once more that the same version has already, with the same parameters.

        Returns
        -------
        list of tuple
            Of each the iteration_id, and whether it is new.

        Raises
        ------
        ValueError
            If an argument is wrong. Nothing is stored. An error of a generator that is given comes as it is.
        StrategyNotFoundError
            If a strategy is given by an id that none has.
        """
        once_more = arguments.flag("again", again)
        wanted = arguments.listed("recordings", recordings, "a list of Recording")
        places: list[tuple[str, str | None, str]] = []
        doubts: list[Doubt] = []
        dropped: list[str] = []
        with Waiting(self.path.parent) as made:
            for position, one in enumerate(wanted):
                if not isinstance(one, Recording):
                    raise refusal(f"recordings[{position}]", one, "a Recording")
                places.append((one.strategy, one.code, outcome_hash(one.iteration)))
                made.add(one.iteration)
                doubts += one.iteration.doubts
                dropped += one.iteration.dropped
            warn_of(doubts, dropped)
            with saving.writing(self.pool, appends=True) as connection:
                versions = recording.Versions(connection)
                return [
                    recording.record(
                        connection, versions, Recording(strategy, code, iteration), outcome, again=once_more
                    )
                    for (strategy, code, outcome), iteration in zip(places, made, strict=True)
                ]

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


_ARGUMENTS_OF_SAVE: Final = tuple(inspect.signature(Saves.save_iteration).parameters)[1:]


def _iteration_of(field: str, given: Any) -> Iteration:
    arguments.mapping(field, given, "a dict of the arguments of save_iteration")
    for name in given:
        if name not in _ARGUMENTS_OF_SAVE:
            raise ValueError(
                f"{field} has the unknown field {shown(name)}; allowed are {', '.join(_ARGUMENTS_OF_SAVE)}"
            )
    if "strategy_id" not in given:
        raise ValueError(f"{field} has no strategy_id; it must name the strategy that was run")
    # Generators become lists here, because their errors are the caller's.
    fields = {name: materialised(value) for name, value in given.items()}
    with _named(field):
        return iteration_record(**fields)


@contextlib.contextmanager
def _named(field: str) -> Iterator[None]:
    """Name the iteration that is wrong."""
    try:
        yield
    except (ValueError, StrategyNotFoundError, SuggestionNotFoundError) as error:
        kind = type(error) if isinstance(error, StorageError) else ValueError
        raise kind(f"{field}: {error}") from error
