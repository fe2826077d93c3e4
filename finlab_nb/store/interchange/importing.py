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
from finlab_nb.records.tables import TABLES
from finlab_nb.records.values import shown
from finlab_nb.store import check, saving
from finlab_nb.store.broken_text import fetched
from finlab_nb.store.interchange import merging
from finlab_nb.store.interchange.codec import ImportedIteration, ImportedStrategy
from finlab_nb.store.interchange.comparing import refuse_if_iteration_differs, refuse_if_strategy_differs
from finlab_nb.store.interchange.files import export_path, reading
from finlab_nb.store.interchange.rendering import exported_iteration, exported_strategy
from finlab_nb.store.interchange.report import ImportedIds, Outcome
from finlab_nb.store.interchange.staging import IterationEntry, Spool, Staging
from finlab_nb.store.interchange.versions import V1_3, newer_of
from finlab_nb.store.pool import ConnectionPool
from finlab_nb.store.progress import ProgressBar

_MODES: Final = ("copy", "merge")
_DELETED: Final = ("apply", "keep", "revive")
_STRATEGY_EXISTS: Final = "SELECT 1 FROM strategies WHERE strategy_id = ?"
_ITERATION_EXISTS: Final = "SELECT 1 FROM iterations WHERE iteration_id = ?"
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
        merging.delete(
            connection, storing.gone
        )  # after that, so that a suggestion keeps the state that another link gives it
        storing.warn()
        return ImportedIds(storing.ids(), storing.outcomes())


def _iterations_already_stored(pool: ConnectionPool, staging: Staging, *, progress: bool) -> set[str]:
    """Compare with what is stored before the write lock is taken, which thus is held for a shorter time."""
    same: set[str] = set()
    with pool.read() as connection, ProgressBar("compare", len(staging.iterations), "iteration", shown=progress) as bar:
        for key in staging.iterations:
            if _exists(connection, _ITERATION_EXISTS, key):
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
    links: list[tuple[str, int, str]] = field(
        default_factory=list
    )  # iteration, suggestion, what applied it in the file
    broken: Counter[str] = field(default_factory=Counter)  # by column
    actions: dict[str, str] = field(default_factory=dict)  # by iteration as in the file
    changed: dict[str, dict[str, None]] = field(default_factory=dict)  # which fields of it
    outside: dict[str, Outcome] = field(default_factory=dict)  # iterations that the file names as deleted
    gone: dict[str, str] = field(default_factory=dict)

    def merge_known(self, same: set[str]) -> None:
        """Merge what the store has already, and decide what is deleted because it was elsewhere."""
        if self.copy:
            return
        has_times = newer_of(self.staging.version, V1_3) is self.staging.version
        for key in self.staging.iterations:
            if _exists(self.connection, _ITERATION_EXISTS, key):
                if key not in same:
                    _refuse_if_iteration_differs(self.connection, self.staging, key)
                iteration = self.staging.iteration(key)
                numbers = merging.suggestion_numbers(self.connection, key, iteration)
                self._tell(key, key, "unchanged", iteration, numbers)
                for name in merging.merge_annotations(self.connection, iteration, numbers) if has_times else ():
                    self._note_change(key, name)
                self.bar.update()
        deleted = {key: at for key, at in self.staging.deleted.items() if key not in self.staging.iterations}
        self.gone = merging.iterations_to_delete(self.connection, deleted, self.deleted, self._tell_of_deleted)

    def _tell_of_deleted(self, key: str, action: str) -> None:
        self.outside[key] = self._outcome(key, action)

    def store_unknown(self) -> None:
        """Store the strategies, and the iterations that the store does not have and that are not to stay deleted."""
        entries = self.staging.iterations
        unknown = [key for key in entries if key not in self.iteration_ids]
        deleted = {} if self.copy else {key: merging.deleted_at(self.connection, key) for key in unknown}
        left_out = {
            key
            for key, at in deleted.items()
            if at is not None and entries[key].revived_at < at and self.deleted != "revive"
        }
        self.actions |= dict.fromkeys(left_out, "left out")
        for key in left_out:
            if self.deleted == "apply" and entries[key].changed_at > str(deleted[key]):
                merging.confirm_deletion(self.connection, key, entries[key].changed_at)
        wanted = self.staging.ancestors(one.strategy_id for key, one in entries.items() if key not in left_out)
        self._store_strategies(self.staging.ancestors(entries[key].strategy_id for key in left_out) - wanted)
        numbers = {} if self.copy else self._renumber(left_out)
        for key in unknown:
            if key not in left_out:
                self._store_iteration(key, numbers.get(key), deleted.get(key))
            self.bar.update()

    def _renumber(self, left_out: set[str]) -> dict[str, merging.Number]:
        """Give iterations that are here the numbers that they have got elsewhere, and return those of the others."""
        by_strategy: dict[str, dict[str, IterationEntry]] = {}
        for key, entry in self.staging.iterations.items():
            if key not in left_out:
                by_strategy.setdefault(entry.strategy_id, {})[key] = entry
        numbers: dict[str, merging.Number] = {}
        for strategy_id, entries in by_strategy.items():
            numbers |= merging.numbers_of(self.connection, strategy_id, entries)
        here = {key: one for key, one in numbers.items() if key in self.iteration_ids}
        merging.renumber(self.connection, here)
        for key, one in here.items():
            if one.is_other:
                self._note_change(key, "iteration_number", "renumbered")
        return numbers

    def _store_strategies(self, unwanted: set[str]) -> None:
        leading_back = []
        for entry, given in self.staging.strategies_parents_first():
            key = given.record.strategy_id
            if key in unwanted:
                continue
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

    def _store_iteration(self, key: str, number: merging.Number | None, deleted_at: str | None) -> None:
        entry, iteration = self.staging.iterations[key], self.staging.iteration(key)
        own, marked = new_id() if self.copy else key, dict(iteration.as_stored)
        strategy_id = self.strategy_ids[entry.strategy_id]
        stored = replace(iteration.record, iteration_id=own, strategy_id=strategy_id)
        if number is not None and number.is_other:
            stored = replace(stored, iteration_number=number.number)
            marked.pop("iteration_number", None)
        with _named(f"{entry.path}."):
            saving.insert_iteration(self.connection, stored, marked)
        for table in {name if name in TABLES else "iterations" for name in marked}:
            self._count_broken(table, own)
        numbers = merging.suggestion_numbers(self.connection, own, iteration)
        if number is not None:
            times = merging.times_in_store(iteration, numbers)
            merging.note_arrival(self.connection, key, times, number, deleted_at)
        self._tell(key, own, "added", iteration, numbers)
        if deleted_at is not None:
            self.changed[key] = {"revived": None}
        if number is not None and number.is_other:
            self._note_change(key, "iteration_number", "renumbered")

    def _tell(self, key: str, own: str, action: str, iteration: ImportedIteration, numbers: Sequence[int]) -> None:
        self.iteration_ids[key], self.actions[key] = own, action
        links = zip(numbers, iteration.applied_iteration_ids, strict=True)
        self.links.extend((key, suggestion, other) for suggestion, others in links for other in others)

    def _note_change(self, key: str, name: str, action: str = "updated") -> None:
        self.changed.setdefault(key, {})[name] = None
        if self.actions[key] != "added" or action == "renumbered":
            self.actions[key] = action

    def link_suggestions(self) -> None:
        """Name the iterations that applied suggestions; one that is not to be found is left out."""
        for key, suggestion_id, applied in self.links:
            target = self.iteration_ids.get(applied)
            if target is None and not self.copy and _exists(self.connection, _ITERATION_EXISTS, applied):
                target = applied
            if target is not None:
                added = self.connection.execute(saving.LINK_SUGGESTION, (suggestion_id, target)).rowcount
                if added and self.actions[key] != "added":
                    self._note_change(key, "suggestions")

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

    def outcomes(self) -> list[Outcome]:
        """Return what became of each iteration, in the order of the file."""
        return [*(self._outcome(key, self.actions[key]) for key in self.staging.iterations), *self.outside.values()]

    def ids(self) -> list[str]:
        """Return the ids of the iterations as they are stored, in the order of the file."""
        return [self.iteration_ids[key] for key in self.staging.iterations if key in self.iteration_ids]

    def _outcome(self, key: str, action: str) -> Outcome:
        own = self.iteration_ids.get(key, key)
        rows = fetched(self.connection, _SHOWN, (own,))
        if not rows:  # it is left out
            entry = self.staging.iterations[key]
            strategy: ImportedStrategy = self.staging.spool.get(self.staging.strategies[entry.strategy_id].place)
            rows = [(strategy.as_stored.get("name", strategy.record.name), entry.number)]
        ((name, number),) = rows
        return Outcome(own, name, number, action, ", ".join(self.changed.get(key, ())))


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


def _refuse_if_iteration_differs(connection: sqlite3.Connection, staging: Staging, key: str) -> None:
    stored = exported_iteration(connection, key)
    refuse_if_iteration_differs(staging.iterations[key].path, staging.iteration(key), stored, staging.version)
