"""How iterations become an export file: one iteration at a time, all of one moment of the store."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from finlab_nb.errors import IterationNotFoundError, StorageError
from finlab_nb.records import arguments
from finlab_nb.records.values import now
from finlab_nb.store import loading
from finlab_nb.store.interchange.codec import exported_iteration
from finlab_nb.store.interchange.files import ProgressBar, Write, export_path, replacing
from finlab_nb.store.interchange.json_stream import refuse_if_too_large
from finlab_nb.store.interchange.staging import FORMAT_VERSION
from finlab_nb.store.pool import ConnectionPool

_STRATEGY_OF_ITERATION: Final = "SELECT strategy_id FROM iterations WHERE iteration_id = ?"
_PARENT_OF_STRATEGY: Final = "SELECT parent_strategy_id FROM strategies WHERE strategy_id = ?"


def export_results(
    pool: ConnectionPool, iteration_ids: str | Iterable[str], path: str | os.PathLike[str], *, progress: bool = True
) -> Path:
    """Write iterations to an export file; see `StorageManager.export_results`."""
    target = export_path(path, pool.path)
    ids, with_bar = arguments.texts("iteration_ids", iteration_ids), arguments.flag("progress", progress)
    with (
        pool.read() as connection,
        replacing(target) as write,
        ProgressBar("export", len(ids), "iteration", shown=with_bar) as bar,
    ):
        ancestors = _ancestors(connection, ids)
        write(_heading(len(ids)).encode())
        if ancestors:
            strategies = (_strategy_text(connection, strategy_id) for strategy_id in ancestors)
            _write_list(write, "strategies", strategies)
            write(b",\n")
        _write_list(write, "iterations", (_iteration_text(connection, one) for one in ids), bar)
        write(b"\n}\n")
    return target


def _heading(count: int) -> str:
    return f'{{\n"export_timestamp": "{now()}",\n"format_version": "{FORMAT_VERSION}",\n"iteration_count": {count},\n'


def _write_list(write: Write, name: str, items: Iterable[str], bar: ProgressBar | None = None) -> None:
    write(f'"{name}": ['.encode())
    separator = "\n"
    for item in items:
        write(f"{separator}{item}".encode())
        separator = ",\n"
        if bar is not None:
            bar.update()
    write(b"\n]")


def _ancestors(connection: sqlite3.Connection, iteration_ids: Iterable[str]) -> list[str]:
    """Return the strategies that those of the iterations descend from, without those of the iterations themselves."""
    own: dict[str, None] = {}
    for iteration_id in iteration_ids:
        row = connection.execute(_STRATEGY_OF_ITERATION, (iteration_id,)).fetchone()
        if row is None:
            raise IterationNotFoundError(f"iteration_id is {iteration_id!r}; no iteration has this id")
        own[row[0]] = None
    family = dict(own)
    for strategy_id in own:
        (ancestor,) = connection.execute(_PARENT_OF_STRATEGY, (strategy_id,)).fetchone()
        while ancestor is not None and ancestor not in family:
            family[ancestor] = None
            (ancestor,) = connection.execute(_PARENT_OF_STRATEGY, (ancestor,)).fetchone()
    return [strategy_id for strategy_id in family if strategy_id not in own]


def _iteration_text(connection: sqlite3.Connection, iteration_id: str) -> str:
    return _json_text(f"the iteration {iteration_id!r}", exported_iteration(connection, iteration_id))


def _strategy_text(connection: sqlite3.Connection, strategy_id: str) -> str:
    return _json_text(f"the strategy {strategy_id!r}", loading.strategy(connection, strategy_id))


def _json_text(what: str, value: object) -> str:
    """Return what the import will read; what it would refuse is not written in the first place."""
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
        refuse_if_too_large(what, written)
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{what} cannot be exported: {error}; leave it out") from error
    return written
