"""What a researcher loads."""

from __future__ import annotations

from typing import Any

from finlab_nb.records import arguments
from finlab_nb.store import loading, searching
from finlab_nb.store.manager.base import Base, timed


class Loads(Base):
    """Loading and finding strategies and iterations."""

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
        >>> from finlab_nb import StorageManager
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
            suggestions (dicts, high priority first, with applied_iteration_ids: the iterations that applied it, in this
            order, and applied_iteration_id: the first of them), tags, note, starred, archived, initial_capital,
            timezone, periods_per_year, currency, changed_at, provenance (None where there is none, else a dict of
            engine, engine_version, code_hash, packages (dict), data_fingerprint, seed, duration (seconds), host,
            result_hash).

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
            five), extra_metrics, tags, note, starred, archived, initial_capital, timezone, periods_per_year, currency,
            changed_at, provenance.

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
