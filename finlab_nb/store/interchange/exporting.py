"""How iterations become an export file: one iteration at a time, all of one moment of the store."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from finlab_nb.errors import IterationNotFoundError, StorageError, StrategyNotFoundError
from finlab_nb.records import arguments
from finlab_nb.records.days import now
from finlab_nb.store.broken_text import fetched
from finlab_nb.store.interchange import changes
from finlab_nb.store.interchange.files import Write, export_path, replacing
from finlab_nb.store.interchange.json_stream import refuse_if_too_large
from finlab_nb.store.interchange.rendering import FROM_CURVE, Exported, exported_iteration, exported_strategy
from finlab_nb.store.interchange.versions import NEWEST, V1_3, Version, newer_of, oldest_with_room
from finlab_nb.store.pool import ConnectionPool
from finlab_nb.store.progress import ProgressBar

_STRATEGY_OF_ITERATION: Final = "SELECT strategy_id FROM iterations WHERE iteration_id = ?"
# What follows from the curve may need no room.
_LATER: Final = tuple(name for name in NEWEST.iteration.optional if name not in ("as_stored", "changes", FROM_CURVE))
_KNOWN_LATER: Final = f"""
    SELECT {", ".join(f"{name} IS NOT NULL" for name in _LATER)},
        EXISTS (SELECT 1 FROM changes WHERE changes.iteration_id = iterations.iteration_id)
    FROM iterations WHERE iteration_id = ?"""
_PARENT_OF_STRATEGY: Final = "SELECT parent_strategy_id FROM strategies WHERE strategy_id = ?"


class _NoRoomError(Exception):
    """Something stored needs a newer version than the file is written in."""

    def __init__(self, needed: Version) -> None:
        super().__init__(needed.name)
        self.needed = needed


def export_results(
    pool: ConnectionPool, iteration_ids: str | Iterable[str], path: str | os.PathLike[str], *, progress: bool = True
) -> Path:
    """Write iterations to an export file; see `StorageManager.export_results`.

    The version stands at the beginning of the file, and whether it has room for all is known at its end. So the file is
    begun in the oldest one that may do, and begun anew in the one that is needed when something does not fit.
    """
    target = export_path(path, pool.path)
    ids, with_bar = arguments.texts("iteration_ids", iteration_ids), arguments.flag("progress", progress)
    with pool.read() as connection, ProgressBar("export", len(ids), "iteration", shown=with_bar) as bar:
        family = _Family.of(connection, ids)
        deleted = changes.deleted(connection)
        version = V1_3 if deleted else _least_version(connection, ids)
        while True:
            try:
                _write_file(target, ids, deleted, family, version, bar)
            except _NoRoomError as error:
                bar.update(-bar.n)
                version = error.needed
            else:
                return target


def _least_version(connection: sqlite3.Connection, iteration_ids: Iterable[str]) -> Version:
    """Return the oldest version that has room for the iterations themselves; their rows may need a newer one."""
    known: set[str] = set()
    for iteration_id in iteration_ids:
        (row,) = connection.execute(_KNOWN_LATER, (iteration_id,))
        known.update(itertools.compress((*_LATER, "changes"), row))
    return oldest_with_room("iteration", dict.fromkeys(known))


def _write_file(
    target: Path, ids: Sequence[str], deleted: Mapping[str, str], family: _Family, version: Version, bar: ProgressBar
) -> None:
    with replacing(target) as write:
        write(f'{{\n"export_timestamp": "{now()}",\n"format_version": "{version.name}",\n'.encode())
        write(f'"iteration_count": {len(ids)},\n'.encode())
        if deleted:
            write(f'"deleted": {json.dumps(deleted, ensure_ascii=False)},\n'.encode())
        if family.ancestors:
            _write_list(write, "strategies", (_strategy_text(one, family, version) for one in family.ancestors))
            write(b",\n")
        _write_list(write, "iterations", (_iteration_text(one, family, version) for one in ids), bar)
        write(b"\n}\n")


def _write_list(write: Write, name: str, items: Iterable[str], bar: ProgressBar | None = None) -> None:
    write(f'"{name}": ['.encode())
    separator = "\n"
    for item in items:
        write(f"{separator}{item}".encode())
        separator = ",\n"
        if bar is not None:
            bar.update()
    write(b"\n]")


@dataclass(slots=True)
class _Family:
    """The strategies of the iterations, and those that they descend from.

    Attributes
    ----------
    connection
        Where they are read.
    ancestors
        Those that are not a strategy of one of the iterations.
    leading_back
        Those that are their own ancestors.
    """

    connection: sqlite3.Connection
    ancestors: list[str]
    leading_back: set[str]
    _last: tuple[str, Exported] | None = None

    @classmethod
    def of(cls, connection: sqlite3.Connection, iteration_ids: Iterable[str]) -> _Family:
        """Find the strategies of iterations."""
        own: dict[str, None] = {}
        for iteration_id in iteration_ids:
            rows = fetched(connection, _STRATEGY_OF_ITERATION, (iteration_id,))
            if not rows:
                raise IterationNotFoundError(f"iteration_id is {iteration_id!r}; no iteration has this id")
            own[rows[0][0]] = None
        parents: dict[str, str | None] = {}
        for strategy_id in own:
            ancestor: str | None = strategy_id
            while ancestor is not None and ancestor not in parents:
                rows = fetched(connection, _PARENT_OF_STRATEGY, (ancestor,))
                if not rows:  # another program has removed it
                    break
                ((parents[ancestor],),) = rows
                ancestor = parents[ancestor]
        return cls(connection, [one for one in parents if one not in own], _leading_back(parents))

    def strategy(self, strategy_id: str) -> Exported:
        """Return a strategy in the form of the export; most iterations have that of the one before."""
        if self._last is None or self._last[0] != strategy_id:
            leads_back = strategy_id in self.leading_back
            self._last = strategy_id, exported_strategy(self.connection, strategy_id, leads_back=leads_back)
        return self._last[1]


def _leading_back(parents: Mapping[str, str | None]) -> set[str]:
    """Return the strategies that are their own ancestors: who is left when the childless go, again and again."""
    children = Counter(parents.values())
    childless = [one for one in parents if not children[one]]
    for one in childless:  # which grows
        parent = parents[one]
        children[parent] -= 1
        if parent is not None and parent in parents and not children[parent]:
            childless.append(parent)
    return parents.keys() - childless


def _iteration_text(iteration_id: str, family: _Family, version: Version) -> str:
    exported = exported_iteration(family.connection, iteration_id)
    try:
        strategy = family.strategy(exported.stored["strategy_id"]).value
    except StrategyNotFoundError as error:
        raise StrategyNotFoundError(
            f"the iteration {iteration_id!r} cannot be exported: {error}; another program has removed it, and "
            "store.check() lists what refers to nothing"
        ) from error
    value = exported.value | {"strategy": strategy}
    return _json_text(f"the iteration {iteration_id!r}", value, version, iteration=value, strategy=strategy)


def _strategy_text(strategy_id: str, family: _Family, version: Version) -> str:
    value = family.strategy(strategy_id).value
    return _json_text(f"the strategy {strategy_id!r}", value, version, strategy=value)


def _json_text(what: str, value: dict[str, Any], version: Version, **kinds: dict[str, Any]) -> str:
    """Return what the import will read; what it would refuse is not written in the first place."""
    needed = newer_of(version, *(oldest_with_room(kind, told) for kind, told in kinds.items()))
    if needed is not version:
        raise _NoRoomError(needed)
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False, check_circular=False)
        refuse_if_too_large(what, written)
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{what} cannot be exported: {error}; leave it out") from error
    return written
