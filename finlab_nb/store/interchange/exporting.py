"""How iterations become an export file: one iteration at a time, all of one moment of the store."""

from __future__ import annotations

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
from finlab_nb.store.interchange.rendering import Exported, exported_iteration, exported_strategy
from finlab_nb.store.interchange.versions import NEWEST
from finlab_nb.store.pool import ConnectionPool
from finlab_nb.store.progress import ProgressBar

_STRATEGY_OF_ITERATION: Final = "SELECT strategy_id FROM iterations WHERE iteration_id = ?"
_PARENT_OF_STRATEGY: Final = "SELECT parent_strategy_id FROM strategies WHERE strategy_id = ?"


def export_results(
    pool: ConnectionPool, iteration_ids: str | Iterable[str], path: str | os.PathLike[str], *, progress: bool = True
) -> Path:
    """Write iterations to an export file; see `StorageManager.export_results`."""
    target = export_path(path, pool.path)
    ids, with_bar = arguments.texts("iteration_ids", iteration_ids), arguments.flag("progress", progress)
    with pool.read() as connection, ProgressBar("export", len(ids), "iteration", shown=with_bar) as bar:
        _write_file(target, ids, changes.deleted(connection), _Family.of(connection, ids), bar)
    return target


def _write_file(
    target: Path, ids: Sequence[str], deleted: Mapping[str, str], family: _Family, bar: ProgressBar
) -> None:
    with replacing(target) as write:
        write(f'{{\n"export_timestamp": "{now()}",\n"format_version": "{NEWEST.name}",\n'.encode())
        write(f'"iteration_count": {len(ids)},\n'.encode())
        if deleted:
            write(f'"deleted": {json.dumps(deleted, ensure_ascii=False)},\n'.encode())
        if family.ancestors:
            _write_list(write, "strategies", (_strategy_text(one, family) for one in family.ancestors))
            write(b",\n")
        _write_list(write, "iterations", (_iteration_text(one, family) for one in ids), bar)
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


def _iteration_text(iteration_id: str, family: _Family) -> str:
    exported = exported_iteration(family.connection, iteration_id)
    try:
        strategy = family.strategy(exported.stored["strategy_id"]).value
    except StrategyNotFoundError as error:
        raise StrategyNotFoundError(
            f"the iteration {iteration_id!r} cannot be exported: {error}; another program has removed it, and "
            "store.check() lists what refers to nothing"
        ) from error
    return _json_text(f"the iteration {iteration_id!r}", exported.value | {"strategy": strategy})


def _strategy_text(strategy_id: str, family: _Family) -> str:
    return _json_text(f"the strategy {strategy_id!r}", family.strategy(strategy_id).value)


def _json_text(what: str, value: dict[str, Any]) -> str:
    """Return what the import will read; what it would refuse is not written in the first place."""
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False, check_circular=False)
        refuse_if_too_large(what, written)
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{what} cannot be exported: {error}; leave it out") from error
    return written
