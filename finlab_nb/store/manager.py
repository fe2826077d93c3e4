"""StorageManager: what a researcher saves, loads, changes and removes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from finlab_nb.errors import IterationNotFoundError, StrategyNotFoundError, SuggestionNotFoundError
from finlab_nb.records import (
    SUGGESTION_STATES,
    Iteration,
    flag,
    iteration_record,
    one_of,
    strategy_record,
    tags_record,
    text,
)
from finlab_nb.store import loading, schema
from finlab_nb.store.pool import ConnectionPool

_COUNT_CHANGE: Final = "UPDATE store_state SET change_counter = change_counter + 1"
_INSERT_STRATEGY: Final = """
    INSERT INTO strategies (strategy_id, name, code, parameters, created_at, parent_strategy_id)
    VALUES (?, ?, ?, ?, ?, ?)"""
_STRATEGY_DEFAULTS: Final = "SELECT code, parameters FROM strategies WHERE strategy_id = ?"
_NEXT_NUMBER: Final = "SELECT coalesce(max(iteration_number), 0) + 1 FROM iterations WHERE strategy_id = ?"
_NUMBER_TAKEN: Final = "SELECT 1 FROM iterations WHERE strategy_id = ? AND iteration_number = ?"
_INSERT_ITERATION: Final = """
    INSERT INTO iterations (iteration_id, strategy_id, iteration_number, code, timestamp, parameters, note,
                            starred, archived)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT_METRICS: Final = """
    INSERT INTO metrics (iteration_id, annualized_return, sharpe_ratio, max_drawdown, win_rate, total_trades)
    VALUES (?, ?, ?, ?, ?, ?)"""
_INSERT_EXTRA_METRIC: Final = "INSERT INTO extra_metrics (iteration_id, name, value) VALUES (?, ?, ?)"
_INSERT_SUGGESTION: Final = """
    INSERT INTO suggestions (iteration_id, priority, description, specific_changes, expected_impact, rationale,
                             learning_references, status)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT_TRADE: Final = """
    INSERT INTO trades (iteration_id, stock_code, entry_date, exit_date, entry_price, exit_price, position_size,
                        profit_loss)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT_EQUITY: Final = "INSERT INTO equity (iteration_id, date, equity) VALUES (?, ?, ?)"
_INSERT_TAG: Final = "INSERT INTO tags (iteration_id, tag) VALUES (?, ?) ON CONFLICT DO NOTHING"
_DELETE_TAG: Final = "DELETE FROM tags WHERE iteration_id = ? AND tag = ?"
_ITERATION_EXISTS: Final = "SELECT 1 FROM iterations WHERE iteration_id = ?"
_SET_NOTE: Final = "UPDATE iterations SET note = ? WHERE iteration_id = ?"
_SET_STARRED: Final = "UPDATE iterations SET starred = ? WHERE iteration_id = ?"
_SET_ARCHIVED: Final = "UPDATE iterations SET archived = ? WHERE iteration_id = ?"
_SET_SUGGESTION: Final = "UPDATE suggestions SET status = ?, applied_iteration_id = ? WHERE suggestion_id = ?"


class StorageManager:
    """The store of strategies and their iterations in one SQLite file, safe for threads and processes.

    Parameters
    ----------
    db_path
        The database file, created and migrated as needed; ``":memory:"`` is a private temporary file, gone on close.
    pool_size
        How many threads may use the database at the same moment.
    timeout
        Seconds to wait for a free connection. (For the write lock a save waits up to a minute.)

    Raises
    ------
    StorageError
        If the file cannot be opened, comes from a newer release or belongs to another program.
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> with StorageManager(":memory:") as store:
    ...     momentum = store.save_strategy_version("momentum", "signal = ...", {"lookback": 60})
    ...     run = store.save_iteration(momentum, metrics={"sharpe_ratio": 1.1}, tags=["daily"])
    ...     store.load_iteration(run)["metrics"]["sharpe_ratio"]
    1.1
    """

    def __init__(self, db_path: str | os.PathLike[str], pool_size: int = 5, timeout: float = 5.0) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if os.fspath(db_path) == ":memory:":
            self._folder = tempfile.TemporaryDirectory(prefix="finlab_nb_", ignore_cleanup_errors=True)
            db_path = Path(self._folder.name, "memory.db")
        self.path = Path(db_path).expanduser().resolve()
        self.pool = ConnectionPool(self.path, pool_size, timeout, schema.prepare)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"StorageManager({str(self.path)!r})"

    def close(self) -> None:
        """Close all connections; every later call raises StoreClosedError. Closing twice is fine."""
        self.pool.close()
        if self._folder is not None:
            self._folder.cleanup()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Self]:
        """Make everything inside one transaction: all of it is stored, or nothing.

        Inside another transaction of this thread it is a savepoint, which can fail alone. Nothing is durable
        before the outermost one has ended.

        Examples
        --------
        >>> with StorageManager(":memory:") as store, store.transaction():
        ...     parent = store.save_strategy_version("momentum", "v1")
        ...     child = store.save_strategy_version("momentum", "v2", parent_strategy_id=parent)
        """
        with self._write():
            yield self

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self.pool.write() as connection:
            connection.execute(_COUNT_CHANGE)
            yield connection

    # Saving -------------------------------------------------------------------------------------------------------

    def save_strategy_version(
        self,
        name: str,
        code: str,
        parameters: Mapping[str, Any] | None = None,
        parent_strategy_id: str | None = None,
    ) -> str:
        """Store one version of a strategy and return its id, a UUID of version 7.

        Parameters
        ----------
        name, code
            Text; the name must not be empty.
        parameters
            Names and values that JSON can hold.
        parent_strategy_id
            The version that this one was made from.

        Raises
        ------
        ValueError
            If an argument is wrong; the message names it.
        StrategyNotFoundError
            If there is no such parent.
        """
        strategy = strategy_record(name, code, parameters, parent_strategy_id)
        with self._write() as connection:
            if parent_strategy_id is not None:
                _strategy_defaults(connection, "parent_strategy_id", parent_strategy_id)
            connection.execute(
                _INSERT_STRATEGY,
                (
                    strategy.strategy_id,
                    strategy.name,
                    strategy.code,
                    strategy.parameters,
                    strategy.created_at,
                    strategy.parent_strategy_id,
                ),
            )
        return strategy.strategy_id

    def save_iteration(
        self,
        strategy_id: str,
        iteration_number: int | None = None,
        code: str | None = None,
        *,
        metrics: Mapping[str, Any] | None = None,
        trades: Any = (),
        suggestions: Iterable[Mapping[str, Any]] = (),
        equity: Any = None,
        parameters: Mapping[str, Any] | None = None,
        extra_metrics: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        note: str | None = None,
        timestamp: datetime | str | None = None,
    ) -> str:
        """Store one backtest run, all of it or nothing, and return its id. When it has returned, the run is durable.

        Parameters
        ----------
        strategy_id
            The strategy version that was run.
        iteration_number
            From 1; by default the next one of the strategy.
        code, parameters
            What was run; by default the strategy's.
        metrics
            Of ``annualized_return, sharpe_ratio, max_drawdown`` (fraction, at most 0), ``win_rate`` (fraction) and
            ``total_trades`` (closed ones). What is absent is computed from equity and trades; None stays unknown.
        trades
            DataFrame or list of dicts with ``stock_code`` (text), ``entry_date, exit_date`` (date, datetime or ISO
            text; none while open), ``entry_price, exit_price, position_size`` (negative for short) and
            ``profit_loss`` (currency).
        suggestions
            Dicts with ``priority`` (high, medium, low), ``description`` and optionally ``specific_changes,
            expected_impact, rationale`` (text), ``learning_references`` (list) and ``status``.
        equity
            Account value in currency: Series by date, dict, DataFrame or list of dicts with ``date, equity``.
        extra_metrics
            Further figures by name; infinity is allowed here.
        tags, note
            Free text.
        timestamp
            When it was run, taken as UTC without an offset; by default now.

        Raises
        ------
        ValueError
            If an argument is wrong; the message names field, value and what is allowed. Nothing is stored.
        StrategyNotFoundError
            If there is no such strategy.
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
        )
        with self._write() as connection:
            _insert_iteration(connection, iteration)
        return iteration.iteration_id

    def save_iterations(self, iterations: Iterable[Mapping[str, Any]]) -> list[str]:
        """Store many runs in one transaction and return their ids.

        Parameters
        ----------
        iterations
            Dicts of the arguments of `save_iteration`.

        Raises
        ------
        ValueError, StrategyNotFoundError
            As `save_iteration`; the message begins with the position. Nothing is stored.
        """
        ids = []
        with self._write() as connection:
            for position, arguments in enumerate(iterations):
                try:
                    iteration = iteration_record(**arguments)
                    _insert_iteration(connection, iteration)
                except (ValueError, TypeError, StrategyNotFoundError) as error:
                    kind = ValueError if isinstance(error, TypeError) else type(error)
                    raise kind(f"iterations[{position}]: {error}") from error
                ids.append(iteration.iteration_id)
        return ids

    # Loading ------------------------------------------------------------------------------------------------------

    def load_strategy(self, strategy_id: str) -> dict[str, Any]:
        """Return a strategy version: strategy_id, name, code, parameters (dict), created_at, parent_strategy_id.

        Raises
        ------
        StrategyNotFoundError
            If there is none with this id.
        """
        with self.pool.read() as connection:
            return loading.strategy(connection, strategy_id)

    def find_strategies(self, name: str) -> list[dict[str, Any]]:
        """Return the strategy versions of this very name, the oldest first, as `load_strategy` does."""
        with self.pool.read() as connection:
            return loading.strategies_by_name(connection, name)

    def load_iteration(self, iteration_id: str) -> dict[str, Any]:
        """Return a run with everything that belongs to it.

        Returns
        -------
        dict
            iteration_id, strategy_id, iteration_number, code, timestamp (ISO 8601, UTC), parameters, metrics (the
            five), extra_metrics, trades (dicts, by entry date), equity (dicts of date and equity, by date),
            suggestions (dicts, high priority first), tags, note, starred, archived.

        Raises
        ------
        IterationNotFoundError
            If there is none with this id.
        """
        with self.pool.read() as connection:
            return loading.iteration(connection, iteration_id)

    def load_strategy_history(self, strategy_id: str) -> list[dict[str, Any]]:
        """Return the runs of a strategy version by number, without their trades, equity and suggestions.

        Raises
        ------
        StrategyNotFoundError
            If there is no such strategy.
        """
        with self.pool.read() as connection:
            return loading.history(connection, strategy_id)

    # Changing -----------------------------------------------------------------------------------------------------

    def annotate(
        self,
        iteration_id: str,
        *,
        note: str | None = None,
        starred: bool | None = None,
        archived: bool | None = None,
        add_tags: Iterable[str] = (),
        remove_tags: Iterable[str] = (),
    ) -> None:
        """Change what a researcher writes on a run; what is None stays, an empty note is removed.

        Raises
        ------
        ValueError
            If an argument is wrong.
        IterationNotFoundError
            If there is no such iteration.
        """
        text("iteration_id", iteration_id)
        changes: list[tuple[str, object]] = []
        if note is not None:
            changes.append((_SET_NOTE, text("note", note) or None))
        if starred is not None:
            changes.append((_SET_STARRED, flag("starred", starred)))
        if archived is not None:
            changes.append((_SET_ARCHIVED, flag("archived", archived)))
        added, removed = tags_record("add_tags", add_tags), tags_record("remove_tags", remove_tags)
        with self._write() as connection:
            _check_iteration(connection, "iteration_id", iteration_id)
            for statement, value in changes:
                connection.execute(statement, (value, iteration_id))
            connection.executemany(_DELETE_TAG, ((iteration_id, tag) for tag in removed))
            connection.executemany(_INSERT_TAG, ((iteration_id, tag) for tag in added))

    def set_suggestion_status(self, suggestion_id: int, status: str, applied_iteration_id: str | None = None) -> None:
        """Record what became of a suggestion: open, applied (by a run, where known) or rejected.

        Raises
        ------
        ValueError
            If the status is another word, or a run is named that did not apply it.
        SuggestionNotFoundError, IterationNotFoundError
            If there is no such suggestion or iteration.
        """
        one_of("status", status, SUGGESTION_STATES)
        if applied_iteration_id is not None and status != "applied":
            raise ValueError(
                f"applied_iteration_id is {applied_iteration_id!r}; it goes with the status 'applied' only"
            )
        with self._write() as connection:
            if applied_iteration_id is not None:
                _check_iteration(connection, "applied_iteration_id", applied_iteration_id)
            if connection.execute(_SET_SUGGESTION, (status, applied_iteration_id, suggestion_id)).rowcount == 0:
                raise SuggestionNotFoundError(f"suggestion_id is {suggestion_id!r}; no suggestion has this id")


def _strategy_defaults(connection: sqlite3.Connection, field: str, strategy_id: str) -> tuple[str, str | None]:
    found: tuple[str, str | None] | None = connection.execute(_STRATEGY_DEFAULTS, (strategy_id,)).fetchone()
    if found is None:
        raise StrategyNotFoundError(f"{field} is {strategy_id!r}; no strategy has this id")
    return found


def _check_iteration(connection: sqlite3.Connection, field: str, iteration_id: str) -> None:
    if connection.execute(_ITERATION_EXISTS, (iteration_id,)).fetchone() is None:
        raise IterationNotFoundError(f"{field} is {iteration_id!r}; no iteration has this id")


def _insert_iteration(connection: sqlite3.Connection, run: Iteration) -> None:
    code, parameters = _strategy_defaults(connection, "strategy_id", run.strategy_id)
    (number,) = connection.execute(_NEXT_NUMBER, (run.strategy_id,)).fetchone()
    if run.iteration_number is not None:
        if connection.execute(_NUMBER_TAKEN, (run.strategy_id, run.iteration_number)).fetchone():
            raise ValueError(
                f"iteration_number is {run.iteration_number}; the strategy has it already, {number} is free"
            )
        number = run.iteration_number
    key = run.iteration_id
    connection.execute(
        _INSERT_ITERATION,
        (
            key,
            run.strategy_id,
            number,
            code if run.code is None else run.code,
            run.timestamp,
            parameters if run.parameters is None else run.parameters,
            run.note,
            run.starred,
            run.archived,
        ),
    )
    connection.execute(_INSERT_METRICS, (key, *run.metrics))
    connection.executemany(_INSERT_EXTRA_METRIC, [(key, *pair) for pair in run.extra_metrics])
    connection.executemany(
        _INSERT_SUGGESTION,
        [
            (
                key,
                one.priority,
                one.description,
                one.specific_changes,
                one.expected_impact,
                one.rationale,
                one.learning_references,
                one.status,
            )
            for one in run.suggestions
        ],
    )
    connection.executemany(_INSERT_TRADE, [(key, *row) for row in run.trades])
    connection.executemany(_INSERT_EQUITY, [(key, *row) for row in run.equity])
    connection.executemany(_INSERT_TAG, [(key, tag) for tag in run.tags])
