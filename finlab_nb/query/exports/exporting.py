"""Export: which rows go into which files, and how the files take their places."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from finlab_nb.query.exports.formats import FORMATS, Format, select
from finlab_nb.query.exports.spreadsheets import MOST_COLUMNS, MOST_ROWS, load_xlsxwriter
from finlab_nb.query.frames.iterations_table import iterations_table
from finlab_nb.query.frames.questions import Questions, Views
from finlab_nb.query.interruptible import stop_if_interrupted
from finlab_nb.query.tables import TABLES, Column, Table, literal
from finlab_nb.records import arguments, new_id
from finlab_nb.store.fsync import flush_folder, translated_os_errors
from finlab_nb.store.progress import ProgressBar

if TYPE_CHECKING:
    import pyarrow as pa

    from finlab_nb.records.rules import Kind

_COMPANIONS: Final = ("", "-wal", "-shm", "-journal")
_CHOSEN: Final = "SELECT iteration_id FROM exported_iterations"
_OF_CHOSEN: Final = f"iteration_id IN ({_CHOSEN})"
_STRATEGIES_OF_CHOSEN: Final = f"strategy_id IN (SELECT strategy_id FROM iterations WHERE {_OF_CHOSEN})"
_PARTITIONS: Final = (
    "SELECT DISTINCT strategy_id FROM iterations WHERE {condition} AND strategy_id IS NOT NULL ORDER BY 1"
)
_OF_STRATEGY: Final = "iteration_id IN (SELECT iteration_id FROM iterations WHERE strategy_id = {strategy})"
_OF_NO_STRATEGY: Final = """(iteration_id IS NULL OR iteration_id NOT IN (
    SELECT iteration_id FROM iterations WHERE strategy_id IS NOT NULL AND iteration_id IS NOT NULL))"""
_RESULTS: Final = "results"
_KINDS: Final[dict[str, Kind]] = {
    "VARCHAR": "text",
    "DOUBLE": "float",
    "BIGINT": "whole",
    "UBIGINT": "whole",
    "BOOLEAN": "flag",
    "TIMESTAMP WITH TIME ZONE": "moment",
}
_NO_STRATEGY: Final = "unknown"  # pandas cannot read Hive's own partition for missing values


def export_frames(
    frames: Questions,
    directory: str | os.PathLike[str],
    tables: str | Iterable[str] | None = None,
    format: str = "parquet",  # noqa: A002 - the word that pandas users expect
    where: str | None = None,
    *,
    partition_by: str | None = None,
    progress: bool = True,
) -> list[Path]:
    """See `Lab.export_frames`."""
    chosen = list(TABLES) if tables is None else arguments.texts("tables", tables)
    for name in chosen:
        arguments.one_of("tables", name, [*TABLES, _RESULTS])
    form = FORMATS[arguments.one_of("format", format, list(FORMATS))]
    if (
        partition_by is not None
        and arguments.one_of("partition_by", partition_by, ["strategy"])
        and format != "parquet"
    ):
        raise ValueError(f"format is {format!r}; it must be 'parquet' with partition_by")
    if format == "xlsx":
        load_xlsxwriter()
    condition, read = frames.where(where)
    folder = arguments.path("directory", directory, "folder")
    shown = arguments.flag("progress", progress)

    def question(views: Views) -> list[Path]:
        if condition is not None:
            _choose(views, condition)
        with translated_os_errors(folder):
            export = _Export(views, folder, form, condition is not None, partition_by is not None)
            described = [_flat_results(views) if name == _RESULTS else TABLES[name] for name in chosen]
            return export.run(described, frames.source.own_paths, progress=shown)

    chosen_by = () if condition is None else (_RESULTS,)
    return frames.ask(question, {*chosen, "iterations", *chosen_by, *read})


def _choose(views: Views, condition: str) -> None:
    query = iterations_table(views).selected("iteration_id", where=condition)
    views.execute(f"CREATE TEMP TABLE exported_iterations AS {query}")


def _flat_results(views: Views) -> Table:
    """Describe the wide table as a file has it: it takes the place of the view for this question."""
    views.execute(f"CREATE TEMP VIEW {_RESULTS} AS {iterations_table(views).selected()}")
    types = views.rows(f"SELECT column_name, column_type FROM (DESCRIBE {_RESULTS})")
    return Table(_RESULTS, "iteration_id", tuple(Column(name, _KINDS[kind]) for name, kind in types))


class _Export:
    """One export in progress."""

    def __init__(self, views: Views, folder: Path, form: Format, narrowed: bool, partitioned: bool) -> None:
        self._views = views
        self._folder = folder
        self._form = form
        self._narrowed = narrowed
        self._partitioned = partitioned

    def run(self, tables: list[Table], refused: tuple[Path, Path], *, progress: bool) -> list[Path]:
        """Write all tables under temporary names, then put them in place."""
        targets = [self._target(table) for table in tables]
        for target in targets:
            _refuse_own(target, *refused)
        counts = [self._count(table) for table in tables]
        for table, count in zip(tables, counts, strict=True):
            if self._form is FORMATS["xlsx"] and count >= MOST_ROWS:
                raise ValueError(
                    f"{table.name} has {count:,} rows; a sheet of Excel holds {MOST_ROWS - 1:,} below its header: "
                    "choose fewer iterations by 'where', or export to 'parquet'"
                )
            if self._form is FORMATS["xlsx"] and len(table.shown) > MOST_COLUMNS:
                raise ValueError(
                    f"{table.name} has {len(table.shown):,} columns; a sheet of Excel holds {MOST_COLUMNS:,}: "
                    "export to 'parquet'"
                )
        self._folder.mkdir(parents=True, exist_ok=True)
        drafts = [self._folder / f".{new_id()}.tmp" for _ in tables]
        try:
            with ProgressBar("export", sum(counts), "rows", shown=progress) as bar:
                for table, draft in zip(tables, drafts, strict=True):
                    self._write(table, draft, bar)
            for draft, target in zip(drafts, targets, strict=True):
                _put_in_place(draft, target)
            flush_folder(self._folder)
        finally:
            for draft in drafts:
                _remove(draft)
        return targets

    def _is_partitioned(self, table: Table) -> bool:
        return self._partitioned and table.owner == "iteration_id"

    def _target(self, table: Table) -> Path:
        return self._folder / (table.name if self._is_partitioned(table) else table.name + self._form.ending)

    def _condition(self, table: Table) -> str:
        if not self._narrowed or table.name == "series":  # which belong to no iteration
            return "true"
        return _STRATEGIES_OF_CHOSEN if table.name == "strategies" else _OF_CHOSEN

    def _count(self, table: Table) -> int:
        query = f"SELECT count(*) FROM {table.name} WHERE {self._condition(table)}"
        return int(self._views.rows(query)[0][0])

    def _write(self, table: Table, draft: Path, bar: ProgressBar) -> None:
        if not self._is_partitioned(table):
            self._write_file(draft, f"{select(self._form, table)} WHERE {self._condition(table)}", bar)
            return
        draft.mkdir()
        head = select(self._form, table, without="strategy_id")
        for name, part in self._partitions(table):
            folder = draft / f"strategy_id={quote(name, safe='')}"
            folder.mkdir()
            query = f"{head} WHERE {self._condition(table)} AND {part}"
            self._write_file(folder / f"part-0{self._form.ending}", query, bar)
            flush_folder(folder)
        flush_folder(draft)

    def _partitions(self, table: Table) -> Iterator[tuple[str, str]]:
        """Yield the name of each partition that has rows, and the condition of its rows."""
        condition = _OF_CHOSEN if self._narrowed else "true"
        names = [name for (name,) in self._views.rows(_PARTITIONS.format(condition=condition))]
        parts = [(name, _OF_STRATEGY.format(strategy=literal(name))) for name in names]
        for name, part in [*parts, (_NO_STRATEGY, _OF_NO_STRATEGY)]:
            if self._views.rows(f"SELECT 1 FROM {table.name} WHERE {self._condition(table)} AND {part} LIMIT 1"):
                yield name, part

    def _write_file(self, path: Path, query: str, bar: ProgressBar) -> None:
        rows: pa.RecordBatchReader = self._views.connection.sql(query).to_arrow_reader(self._form.batch_rows)
        with self._form.writing(path, rows.schema) as write:
            for batch in rows:
                stop_if_interrupted()
                write(batch)
                bar.update(batch.num_rows)
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _refuse_own(target: Path, database: Path, cache: Path) -> None:
    """Refuse to write over the database, or into its cache, where old files are removed."""
    if target in {database.with_name(database.name + companion) for companion in _COMPANIONS}:
        raise ValueError(
            f"directory is {str(target.parent)!r}; it must be another folder: here {target.name} is the open database"
        )
    if target.is_relative_to(cache):
        raise ValueError(
            f"directory is {str(target.parent)!r}; it must be another folder: this one is inside the cache"
        )


def _put_in_place(draft: Path, target: Path) -> None:
    if not draft.is_dir():
        draft.replace(target)
        return
    old = target.with_name(f".{new_id()}.tmp")
    with contextlib.suppress(FileNotFoundError):
        target.rename(old)
    draft.rename(target)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
