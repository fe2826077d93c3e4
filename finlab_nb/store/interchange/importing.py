"""How an export file, checked as a whole, becomes rows: as copies under new ids, or under its own ids."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from finlab_nb.errors import BadDataWarning, StrategyNotFoundError, warn
from finlab_nb.records import arguments, new_id
from finlab_nb.records.tables import TABLES
from finlab_nb.records.values import shown
from finlab_nb.store import check, saving
from finlab_nb.store.interchange.codec import ImportedIteration, ImportedStrategy
from finlab_nb.store.interchange.comparing import refuse_if_iteration_differs, refuse_if_strategy_differs
from finlab_nb.store.interchange.files import export_path, reading
from finlab_nb.store.interchange.rendering import exported_iteration, exported_strategy
from finlab_nb.store.interchange.staging import Staging
from finlab_nb.store.interchange.versions import Version
from finlab_nb.store.pool import ConnectionPool
from finlab_nb.store.progress import ProgressBar
from finlab_nb.store.spool import Spool

_MODES: Final = ("copy", "merge")
_STRATEGY_EXISTS: Final = "SELECT 1 FROM strategies WHERE strategy_id = ?"
_ITERATION_EXISTS: Final = "SELECT 1 FROM iterations WHERE iteration_id = ?"
_LINK_STRATEGY: Final = "UPDATE strategies SET parent_strategy_id = ? WHERE strategy_id = ?"
_SUGGESTIONS: Final = "SELECT suggestion_id FROM suggestions WHERE iteration_id = ? ORDER BY suggestion_id"

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
        for path, iteration in staging.iterations_in_order():
            storing.store_iteration(path, iteration)
            bar.update()
        storing.link_suggestions()
        storing.warn()
    return list(storing.iteration_ids.values())


def _iterations_already_stored(pool: ConnectionPool, staging: Staging, *, progress: bool) -> set[str]:
    """Compare with what is stored before the write lock is taken, which thus is held for a shorter time."""
    same: set[str] = set()
    with pool.read() as connection, ProgressBar("compare", len(staging.iterations), "iteration", shown=progress) as bar:
        for path, iteration in staging.iterations_in_order():
            if _is_stored(connection, path, iteration, staging.version):
                same.add(iteration.record.iteration_id)
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
    links: list[tuple[int, str]] = field(default_factory=list)  # suggestion, and what applied it as in the file
    broken: Counter[str] = field(default_factory=Counter)  # by column

    def store_strategies(self) -> None:
        leading_back = []
        for entry, given in self.staging.strategies_parents_first():
            key = given.record.strategy_id
            known = _exists(self.connection, _STRATEGY_EXISTS, key)
            if known and not self.copy:
                if not entry.made:
                    self._refuse_if_strategy_differs(entry.path, given)
                self.strategy_ids[key] = key
                continue
            strategy, marked = given.record, dict(given.as_stored)
            if known and entry.made:  # the copy is one of the strategy that the store has
                marked = exported_strategy(self.connection, key).stored
                parent = self._parent_in_store(marked.pop("parent_strategy_id"))
                del marked["strategy_id"]
            else:
                parent = self._parent(entry.path, strategy.parent_strategy_id)
            self.strategy_ids[key] = new_id() if self.copy else key
            if marked.pop("parent_strategy_id", None) is not None:
                leading_back.append((entry.path, given))
            stored = replace(strategy, strategy_id=self.strategy_ids[key], parent_strategy_id=parent)
            with _named(f"{entry.path}."):
                saving.insert_strategy(self.connection, stored, marked)
            if given.as_stored:
                self._count_broken("strategies", stored.strategy_id)
        for path, given in leading_back:
            parent = self._parent(path, given.as_stored["parent_strategy_id"])
            self.connection.execute(_LINK_STRATEGY, (parent, self.strategy_ids[given.record.strategy_id]))

    def _refuse_if_strategy_differs(self, path: str, given: ImportedStrategy) -> None:
        stored = exported_strategy(self.connection, given.record.strategy_id)
        parent = given.as_stored.get("parent_strategy_id", given.record.parent_strategy_id)
        if parent not in self.staging.strategies:
            parent = self._parent(path, parent)
        refuse_if_strategy_differs(
            path, given, stored, (parent, self._parent_in_store(stored.stored["parent_strategy_id"]))
        )

    def _parent_in_store(self, parent: str | None) -> str | None:
        return parent if parent is not None and _exists(self.connection, _STRATEGY_EXISTS, parent) else None

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

    def store_iteration(self, path: str, iteration: ImportedIteration) -> None:
        key = iteration.record.iteration_id
        if not self.copy and self._is_there(path, iteration):
            self.iteration_ids[key] = key
            return
        self.iteration_ids[key] = own = new_id() if self.copy else key
        strategy_id = self.strategy_ids[iteration.record.strategy_id]
        stored = replace(iteration.record, iteration_id=own, strategy_id=strategy_id)
        with _named(f"{path}."):
            saving.insert_iteration(self.connection, stored, iteration.as_stored)
        for table in {name if name in TABLES else "iterations" for name in iteration.as_stored}:
            self._count_broken(table, own)
        if any(iteration.applied_iteration_ids):
            suggestions = (suggestion for (suggestion,) in self.connection.execute(_SUGGESTIONS, (own,)))
            links = zip(suggestions, iteration.applied_iteration_ids, strict=True)
            self.links.extend((suggestion, other) for suggestion, others in links for other in others)

    def _is_there(self, path: str, iteration: ImportedIteration) -> bool:
        if iteration.record.iteration_id in self.same:
            return _exists(self.connection, _ITERATION_EXISTS, iteration.record.iteration_id)
        return _is_stored(self.connection, path, iteration, self.staging.version)

    def link_suggestions(self) -> None:
        """Name the iterations that applied suggestions; one that is not to be found is left out."""
        for suggestion_id, applied in self.links:
            target = self.iteration_ids.get(applied)
            if target is None and not self.copy and _exists(self.connection, _ITERATION_EXISTS, applied):
                target = applied
            if target is not None:
                self.connection.execute(saving.LINK_SUGGESTION, (suggestion_id, target))

    def _count_broken(self, table: str, owner: str) -> None:
        self.broken.update(check.broken_values(self.connection, TABLES[table], owner))

    def warn(self) -> None:
        """Warn of values that were stored though they break a rule."""
        if self.broken:
            places = ", ".join(f"{column} ({count})" for column, count in sorted(self.broken.items()))
            warn(
                f"{self.broken.total()} imported values break today's rules and are stored as they were: {places}; "
                "store.check() lists them",
                BadDataWarning,
            )


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Name the place in the file of what cannot be stored."""
    try:
        yield
    except (ValueError, StrategyNotFoundError) as error:
        raise ValueError(f"{path}{error}") from error
    except sqlite3.IntegrityError as error:
        raise ValueError(f"{path}as_stored cannot be stored: {error}") from error


def _exists(connection: sqlite3.Connection, question: str, key: str) -> bool:
    return connection.execute(question, (key,)).fetchone() is not None


def _is_stored(connection: sqlite3.Connection, path: str, iteration: ImportedIteration, version: Version) -> bool:
    """Tell whether the store has the iteration; one that has the id but differs is refused."""
    if not _exists(connection, _ITERATION_EXISTS, iteration.record.iteration_id):
        return False
    stored = exported_iteration(connection, iteration.record.iteration_id)
    refuse_if_iteration_differs(path, iteration, stored, version)
    return True
