"""How an export file, checked as a whole, becomes rows: as copies under new ids, or under its own ids."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from finlab_nb.errors import BadDataWarning, StrategyNotFoundError, warn
from finlab_nb.records import arguments, new_id
from finlab_nb.records.tables import PROVENANCE, STRATEGIES, TABLES
from finlab_nb.records.values import shown
from finlab_nb.store import check, saving
from finlab_nb.store.broken_text import fetched
from finlab_nb.store.interchange import merging
from finlab_nb.store.interchange.codec import ImportedIteration, ImportedStrategy
from finlab_nb.store.interchange.comparing import refuse_if_iteration_differs, refuse_if_strategy_differs
from finlab_nb.store.interchange.files import export_path, reading
from finlab_nb.store.interchange.rendering import exported_iteration, exported_strategy
from finlab_nb.store.interchange.report import ImportedIds, Outcome
from finlab_nb.store.interchange.staging import Staging
from finlab_nb.store.pool import ConnectionPool
from finlab_nb.store.progress import ProgressBar
from finlab_nb.store.spool import Spool

_MODES: Final = ("copy", "merge")
_DELETED: Final = ("apply", "keep", "revive")
_STRATEGY_EXISTS: Final = "SELECT 1 FROM strategies WHERE strategy_id = ?"
_LINK_STRATEGY: Final = "UPDATE strategies SET parent_strategy_id = ? WHERE strategy_id = ?"
_SHOWN: Final = (
    "SELECT name, iteration_number FROM iterations JOIN strategies USING (strategy_id) WHERE iteration_id = ?"
)

_log = logging.getLogger(__name__)


def import_results(
    pool: ConnectionPool,
    path: str | os.PathLike[str],
    mode: str = "copy",
    *,
    deleted: str = "apply",
    progress: bool = True,
) -> ImportedIds:
    """Store the iterations of an export file; see `StorageManager.import_results`."""
    copy, with_bar = arguments.one_of("mode", mode, _MODES) == "copy", arguments.flag("progress", progress)
    how = arguments.one_of("deleted", deleted, _DELETED)
    source_path = export_path(path, pool.path)
    with Spool(pool.path.parent) as spool:
        with reading(source_path) as source, ProgressBar("read", source.size, "B", shown=with_bar) as bar:
            staging = Staging.read(source, spool, bar)
        return store_staged(pool, staging, copy=copy, deleted=how, progress=with_bar)


def store_staged(pool: ConnectionPool, staging: Staging, *, copy: bool, deleted: str, progress: bool) -> ImportedIds:
    """Store strategies and iterations in one transaction; return the iterations' ids in the order of the file."""
    same = set() if copy else _iterations_already_stored(pool, staging, progress=progress)
    with (
        saving.writing(pool) as connection,
        ProgressBar("import", len(staging.iterations), "iteration", shown=progress) as bar,
    ):
        storing = _Storing(connection, staging, copy, deleted, bar)
        storing.merge_known(same)
        storing.store_unknown()
        storing.link_suggestions()
        # Last, so that a suggestion keeps the state that it has by another link.
        merging.delete(connection, storing.gone)
        storing.warn()
        return ImportedIds(storing.outcomes())


def _iterations_already_stored(pool: ConnectionPool, staging: Staging, *, progress: bool) -> set[str]:
    """Compare with what is stored before the write lock is taken, which thus is held for a shorter time."""
    same: set[str] = set()
    with pool.read() as connection, ProgressBar("compare", len(staging.iterations), "iteration", shown=progress) as bar:
        for key in staging.iterations:
            if _exists(connection, merging.ITERATION_EXISTS, key):
                _refuse_if_iteration_differs(connection, staging, key)
                same.add(key)
            bar.update()
    return same


@dataclass(slots=True)
class _Storing:
    connection: sqlite3.Connection
    staging: Staging
    copy: bool
    deleted: str
    bar: ProgressBar
    strategy_ids: dict[str, str] = field(default_factory=dict)  # as in the file -> as stored
    iteration_ids: dict[str, str] = field(default_factory=dict)
    links: list[tuple[str, int, str]] = field(default_factory=list)  # iteration, suggestion, what applied it
    broken: Counter[str] = field(default_factory=Counter)  # by column
    changed: dict[str, dict[str, None]] = field(default_factory=dict)  # the fields of each iteration that are other now
    known: set[str] = field(default_factory=set)
    gone: dict[str, str] = field(default_factory=dict)
    outside: list[Outcome] = field(default_factory=list)  # of iterations that the file names as deleted

    def merge_known(self, same: set[str]) -> None:
        """Merge what the store has already, and decide what is deleted because it was elsewhere."""
        if self.copy:
            return
        has_times = "changes" in self.staging.version.iteration.names
        for key in self.staging.iterations:
            if _exists(self.connection, merging.ITERATION_EXISTS, key):
                if key not in same:
                    _refuse_if_iteration_differs(self.connection, self.staging, key)
                self.known.add(key)
                iteration = self.staging.iteration(key)
                numbers = self._arrived(key, key, iteration)
                self._complete_origin(key, iteration)
                if has_times:
                    self.changed[key] |= merging.merge_annotations(self.connection, iteration, numbers)
                self.bar.update()
        for key, at, action in merging.deletions(self.connection, self.staging.deleted, self.deleted):
            if key not in self.staging.iterations:
                self.outside.append(self._outcome(key, action))
                if action == "deleted":
                    self.gone[key] = at

    def _complete_origin(self, key: str, iteration: ImportedIteration) -> None:
        with _named(f"{self.staging.iterations[key].path}."):
            changed = merging.complete_origin(self.connection, iteration)
        self.changed[key] |= changed
        if changed and PROVENANCE.name in iteration.as_stored:
            self.broken.update(check.broken_values(self.connection, PROVENANCE, key))

    def store_unknown(self) -> None:
        """Store the strategies, and the iterations that the store does not have and that are not to stay deleted."""
        entries = self.staging.iterations
        unknown = [key for key in entries if key not in self.known]
        if not self.copy:
            unknown = [
                key for key in unknown if not merging.stays_deleted(self.connection, key, entries[key], self.deleted)
            ]
        stored = {*self.known, *unknown}
        wanted = self.staging.ancestors(entries[key].strategy_id for key in stored)
        left_out = self.staging.ancestors(one.strategy_id for key, one in entries.items() if key not in stored)
        self._store_strategies(left_out - wanted)
        merging.vacate_numbers(self.connection, self.gone)
        for key in merging.renumber(self.connection, {key: entries[key] for key in entries if key in self.known}):
            self.changed[key]["iteration_number"] = None
        for key in unknown:
            self._store_iteration(key)
            self.bar.update()

    def _store_strategies(self, unwanted: set[str]) -> None:
        leading_back = []
        for key in self.staging.parents_first:
            if key in unwanted:
                continue
            entry, given = self.staging.strategies[key], self.staging.strategy(key)
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
                self.broken.update(check.broken_values(self.connection, STRATEGIES, stored.strategy_id))
        for path, given in leading_back:
            parent = self._parent(path, given.as_stored["parent_strategy_id"])
            self.connection.execute(_LINK_STRATEGY, (parent, self.strategy_ids[given.record.strategy_id]))

    def _refuse_if_strategy_differs(self, path: str, given: ImportedStrategy) -> None:
        stored = exported_strategy(self.connection, given.record.strategy_id)
        parent = given.as_stored.get("parent_strategy_id", given.record.parent_strategy_id)
        if parent not in self.staging.strategies:
            parent = self._parent(path, parent)
        parent_in_store = self._parent_in_store(stored.stored["parent_strategy_id"])
        refuse_if_strategy_differs(path, given, stored, (parent, parent_in_store))

    def _parent_in_store(self, parent: str | None) -> str | None:
        return parent if _exists(self.connection, _STRATEGY_EXISTS, parent) else None

    def _parent(self, path: str, parent: str | None) -> str | None:
        """Return the id that the parent has in the store; one that is nowhere to be found is left out."""
        if parent in self.strategy_ids:
            return self.strategy_ids[parent]
        found = self._parent_in_store(parent)
        if found != parent:
            _log.warning(
                "%s.parent_strategy_id is %s, which is neither in the file nor in the store; the strategy is stored "
                "without a parent",
                path,
                shown(parent),
            )
        return found

    def _store_iteration(self, key: str) -> None:
        entry, iteration = self.staging.iterations[key], self.staging.iteration(key)
        own, marked = new_id() if self.copy else key, dict(iteration.as_stored)
        strategy_id = self.strategy_ids[entry.strategy_id]
        number = saving.free_number(self.connection, strategy_id, entry.number)
        stored = replace(iteration.record, iteration_id=own, strategy_id=strategy_id, iteration_number=number)
        if number != entry.number:
            marked.pop("iteration_number", None)
        with _named(f"{entry.path}."):
            saving.insert_iteration(self.connection, stored, marked)
        for table in {name if name in TABLES else "iterations" for name in marked}:
            self.broken.update(check.broken_values(self.connection, TABLES[table], own))
        numbers = self._arrived(key, own, iteration)
        if not self.copy:
            times = merging.times_in_store(iteration, numbers)
            self.changed[key] |= merging.note_arrival(self.connection, key, times, renumbered=number != entry.number)

    def _arrived(self, key: str, own: str, iteration: ImportedIteration) -> Sequence[int]:
        """Keep the links of an iteration for later, and return the numbers of its suggestions in the store."""
        self.iteration_ids[key], self.changed[key] = own, {}
        numbers = merging.suggestion_numbers(self.connection, own, iteration)
        links = zip(numbers, iteration.applied_iteration_ids, strict=True)
        self.links.extend((key, suggestion, other) for suggestion, others in links for other in others)
        return numbers

    def link_suggestions(self) -> None:
        """Name the iterations that applied suggestions; one that is not to be found is left out."""
        for key, suggestion_id, applied in self.links:
            target = self.iteration_ids.get(applied) if self.copy else applied
            if _exists(self.connection, merging.ITERATION_EXISTS, target):
                is_new = self.connection.execute(saving.LINK_SUGGESTION, (suggestion_id, target)).rowcount
                if is_new and key in self.known:
                    self.changed[key]["suggestions"] = None

    def warn(self) -> None:
        """Warn of values that were stored though they break a rule."""
        if self.broken:
            places = ", ".join(f"{column} ({count})" for column, count in sorted(self.broken.items()))
            warn(
                f"{self.broken.total()} imported values break today's rules and are stored as they were: {places}; "
                "store.check() lists them",
                BadDataWarning,
            )

    def outcomes(self) -> list[Outcome]:
        """Return what became of each iteration, in the order of the file."""
        return [*map(self._outcome, self.staging.iterations), *self.outside]

    def _outcome(self, key: str, action: str = "") -> Outcome:
        own, changed = self.iteration_ids.get(key, key), self.changed.get(key, {})
        rows = fetched(self.connection, _SHOWN, (own,))
        if not rows:
            entry = self.staging.iterations[key]
            strategy = self.staging.strategy(entry.strategy_id)
            rows, action = [(strategy.as_stored.get("name", strategy.record.name), entry.number)], "left out"
        elif not action:
            is_new = key not in self.known
            action = "added" if is_new else "updated" if changed else "unchanged"
            if "iteration_number" in changed:
                action = "renumbered"
        ((name, number),) = rows
        return Outcome(own, name, number, action, ", ".join(changed))


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Name the place in the file of what cannot be stored."""
    try:
        yield
    except (ValueError, StrategyNotFoundError) as error:
        raise ValueError(f"{path}{error}") from error
    except sqlite3.IntegrityError as error:
        raise ValueError(f"{path}as_stored cannot be stored: {error}") from error


def _exists(connection: sqlite3.Connection, question: str, key: str | None) -> bool:
    return connection.execute(question, (key,)).fetchone() is not None


def _refuse_if_iteration_differs(connection: sqlite3.Connection, staging: Staging, key: str) -> None:
    stored = exported_iteration(connection, key)
    refuse_if_iteration_differs(staging.iterations[key].path, staging.iteration(key), stored, staging.version)
