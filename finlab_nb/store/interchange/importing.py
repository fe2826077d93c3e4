"""How an export file, checked as a whole, becomes rows: as copies under new ids, or under its own ids."""

from __future__ import annotations

import logging
import os
import sqlite3
from dataclasses import dataclass, field, replace
from typing import Final

from finlab_nb.errors import StrategyNotFoundError
from finlab_nb.records import Iteration, arguments, new_id
from finlab_nb.records.values import shown
from finlab_nb.store import loading, saving
from finlab_nb.store.interchange.codec import checked_iteration, checked_strategy, exported_iteration
from finlab_nb.store.interchange.comparing import refuse_if_iteration_differs, refuse_if_strategy_differs
from finlab_nb.store.interchange.files import ProgressBar, export_path, reading
from finlab_nb.store.interchange.staging import Spool, Staging
from finlab_nb.store.pool import ConnectionPool

_MODES: Final = ("copy", "merge")
_STRATEGY_EXISTS: Final = "SELECT 1 FROM strategies WHERE strategy_id = ?"
_ITERATION_EXISTS: Final = "SELECT 1 FROM iterations WHERE iteration_id = ?"
_LINK_SUGGESTION: Final = """
    UPDATE suggestions SET applied_iteration_id = ? WHERE suggestion_id = (
        SELECT suggestion_id FROM suggestions WHERE iteration_id = ? ORDER BY suggestion_id LIMIT 1 OFFSET ?)"""

_log = logging.getLogger(__name__)


def import_results(
    pool: ConnectionPool, path: str | os.PathLike[str], mode: str = "copy", *, progress: bool = True
) -> list[str]:
    """Store the iterations of an export file; see `StorageManager.import_results`."""
    copy, with_bar = arguments.one_of("mode", mode, _MODES) == "copy", arguments.flag("progress", progress)
    source_path = export_path(path, pool.path)
    with Spool(pool.path.parent) as spool:
        with reading(source_path) as source, ProgressBar("read", source.size, "B", shown=with_bar) as bar:
            staging = Staging.read(source, spool, bar)
        return store_staged(pool, staging, copy=copy, progress=with_bar)


def store_staged(pool: ConnectionPool, staging: Staging, *, copy: bool, progress: bool) -> list[str]:
    """Store strategies and iterations in one transaction; return the iterations' ids in the order of the file."""
    same = set() if copy else _iterations_already_stored(pool, staging, progress=progress)
    with (
        saving.writing(pool) as connection,
        ProgressBar("import", len(staging.iterations), "iteration", shown=progress) as bar,
    ):
        storing = _Storing(connection, staging, copy, same)
        storing.store_strategies()
        for path, iteration, applied in staging.iterations_in_order():
            storing.store_iteration(path, iteration, applied)
            bar.update()
        storing.link_suggestions()
    return list(storing.iteration_ids.values())


def _iterations_already_stored(pool: ConnectionPool, staging: Staging, *, progress: bool) -> set[str]:
    """Compare with what is stored before the write lock is taken, which thus is held for a shorter time."""
    same: set[str] = set()
    with pool.read() as connection, ProgressBar("compare", len(staging.iterations), "iteration", shown=progress) as bar:
        for path, iteration, _ in staging.iterations_in_order():
            if _is_stored(connection, path, iteration):
                same.add(iteration.iteration_id)
            bar.update()
    return same


@dataclass(slots=True)
class _Storing:
    connection: sqlite3.Connection
    staging: Staging
    copy: bool
    same: set[str]
    strategy_ids: dict[str, str] = field(default_factory=dict)  # as in the file -> as stored
    iteration_ids: dict[str, str] = field(default_factory=dict)
    links: list[tuple[str, int, str]] = field(default_factory=list)

    def store_strategies(self) -> None:
        for entry, given in self.staging.strategies_parents_first():
            known = _exists(self.connection, _STRATEGY_EXISTS, given.strategy_id)
            strategy = replace(given, parent_strategy_id=self._parent(entry.path, given.parent_strategy_id))
            if known and entry.made and self.copy:
                stored = loading.strategy(self.connection, given.strategy_id)
                strategy = checked_strategy(f"{entry.path}.strategy", stored)
            elif known and not self.copy:
                if not entry.made:
                    stored = loading.strategy(self.connection, given.strategy_id)
                    refuse_if_strategy_differs(
                        entry.path, strategy, checked_strategy(f"{entry.path} (as stored)", stored)
                    )
                self.strategy_ids[given.strategy_id] = given.strategy_id
                continue
            if self.copy:
                strategy = replace(strategy, strategy_id=new_id())
            self.strategy_ids[given.strategy_id] = strategy.strategy_id
            saving.insert_strategy(self.connection, strategy)

    def _parent(self, path: str, parent: str | None) -> str | None:
        """Return the id that the parent has in the store; one that is nowhere to be found is left out."""
        if parent is None or parent in self.strategy_ids:
            return None if parent is None else self.strategy_ids[parent]
        if _exists(self.connection, _STRATEGY_EXISTS, parent):
            return parent
        _log.warning(
            "%s.parent_strategy_id is %s, which is neither in the file nor in the store; the strategy is stored "
            "without a parent",
            path,
            shown(parent),
        )
        return None

    def store_iteration(self, path: str, iteration: Iteration, applied: tuple[str | None, ...]) -> None:
        key = iteration.iteration_id
        if not self.copy and self._is_there(path, iteration):
            self.iteration_ids[key] = key
            return
        self.iteration_ids[key] = new_id() if self.copy else key
        stored = replace(
            iteration, iteration_id=self.iteration_ids[key], strategy_id=self.strategy_ids[iteration.strategy_id]
        )
        try:
            saving.insert_iteration(self.connection, stored)
        except (ValueError, StrategyNotFoundError) as error:
            raise ValueError(f"{path}.{error}") from error
        self.links.extend((self.iteration_ids[key], i, other) for i, other in enumerate(applied) if other is not None)

    def _is_there(self, path: str, iteration: Iteration) -> bool:
        if iteration.iteration_id in self.same:
            return _exists(self.connection, _ITERATION_EXISTS, iteration.iteration_id)
        return _is_stored(self.connection, path, iteration)

    def link_suggestions(self) -> None:
        """Name the iterations that applied suggestions; one that is not to be found is left out."""
        for iteration_id, position, applied in self.links:
            target = self.iteration_ids.get(applied)
            if target is None and not self.copy and _exists(self.connection, _ITERATION_EXISTS, applied):
                target = applied
            if target is not None:
                self.connection.execute(_LINK_SUGGESTION, (target, iteration_id, position))


def _exists(connection: sqlite3.Connection, question: str, key: str) -> bool:
    return connection.execute(question, (key,)).fetchone() is not None


def _is_stored(connection: sqlite3.Connection, path: str, iteration: Iteration) -> bool:
    """Tell whether the store has the iteration; one that has the id but differs is refused."""
    if not _exists(connection, _ITERATION_EXISTS, iteration.iteration_id):
        return False
    stored = checked_iteration(f"{path} (as stored)", exported_iteration(connection, iteration.iteration_id))
    refuse_if_iteration_differs(path, iteration, stored.record)
    return True
