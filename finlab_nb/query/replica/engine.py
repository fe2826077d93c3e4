"""The kernel's DuckDB: named views over segments and delta, brought up to date before every question.

For each table of the store there are Parquet segments, which hold most rows, and a native table, the delta, which
holds what no segment holds: the newest rows, gaps between segments, and the rows of buckets that were edited after a
segment was written (the segment's own rows of such a bucket are left out of the view).

A question brings the tables that it reads to one moment: their state and every missing row are read in one read
transaction of the pool and applied in one transaction of DuckDB. If many rows of a table are missing, a child process
first copies them to segments. A question about a few iterations does not wait for it: it gets their rows from SQLite.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow as pa

from finlab_nb.errors import StorageError, StoreClosedError
from finlab_nb.query import zones
from finlab_nb.query.interruptible import InterruptibleThread
from finlab_nb.query.raw_rows import raw_rows_of
from finlab_nb.query.replica import delta
from finlab_nb.query.replica.building import Builder
from finlab_nb.query.replica.compaction import due, needs_rewrite
from finlab_nb.query.replica.connection import connect
from finlab_nb.query.replica.copies import LEAST_ROWID, Copy
from finlab_nb.query.replica.folder import CacheFolder, SegmentFolder
from finlab_nb.query.replica.moment import FEW_OWNERS, ReplicaMoment, with_sources
from finlab_nb.query.replica.ranges import Range, gaps
from finlab_nb.query.replica.requests import request
from finlab_nb.query.replica.segment_files import DamagedSegments, Segment, check
from finlab_nb.query.replica.segments import belongs, choose, stale_buckets
from finlab_nb.query.replica.shown import NOTHING
from finlab_nb.query.replica.store_state import StoreState, are_many, state_of, zones_in
from finlab_nb.query.source import Answer, Question, translated_errors
from finlab_nb.query.tables import TABLES
from finlab_nb.store import series
from finlab_nb.store.forks import leave_to_parent

if TYPE_CHECKING:
    from finlab_nb.store.pool import ConnectionPool

_BULK: Final = 8  # times what is worth a segment: the pool reads fewer rows sooner than a child starts
_PATIENCE_BITS: Final = 3
_MOST_RECORDED: Final = 1 << 17  # rows that this process writes between two looks at the tables
_MOST_TRIES: Final = 4  # of a question whose segments turn out to be damaged

# What DuckDB raises over a file that changed after it was checked; some errors have no class of their own.
_OF_FILES: Final = (
    DamagedSegments,
    duckdb.IOException,
    duckdb.InternalException,
    duckdb.InvalidInputException,
    duckdb.SerializationException,
)

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class Engine:
    """DuckDB views over one store, which always show its newest moment; a `source.Source`.

    An engine that nobody holds any more ends its child and its threads, and removes what is temporary.

    Parameters
    ----------
    pool
        The store's connections.
    cache_dir
        The folder for the cache; by default it is beside the database.
    """

    def __init__(self, pool: ConnectionPool, cache_dir: Path | None = None) -> None:
        self._pool = pool
        self._cache_dir = cache_dir
        self._start()
        _engines.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what it was made of; a copy has a DuckDB of its own."""
        return Engine, (self._pool, self._cache_dir)

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._interruptible = InterruptibleThread()
        self._cache: CacheFolder | None = None
        self._duck: duckdb.DuckDBPyConnection | None = None
        self._folder: SegmentFolder | None = None
        self._builder = Builder(self._pool.path)
        self._moments: weakref.WeakSet[ReplicaMoment] = weakref.WeakSet()
        self._recorded = 0  # rows since the tables were last looked at
        self._pool.listen(weakref.WeakMethod(self._note_commit))
        self._forget()

    def _forget(self) -> None:
        """Drop what is known, so that the next question makes it anew from the cache folder and the store."""
        self._file: int | None = None  # which one has the name
        self._shown = NOTHING

    # Questions ----------------------------------------------------------------------------------------------------

    def answer(
        self, question: Question[Answer], tables: Collection[str], owners: Sequence[str] | None = None
    ) -> Answer:
        """See `Source.answer`."""
        moment, answer = self._asked(question, tables, owners)
        moment.close()
        return answer

    def stream(self, question: Question[pa.RecordBatchReader], tables: Collection[str]) -> pa.RecordBatchReader:
        """See `Source.stream`."""
        moment, rows = self._asked(question, tables, None)
        return pa.RecordBatchReader.from_batches(rows.schema, self._batches(moment, rows))

    def version(self) -> tuple[int, ...]:
        """See `Source.version`."""
        return self._pool.data_version()

    def series_names(self) -> list[tuple[Any, ...]]:
        """See `Source.series_names`."""
        with self._pool.snapshot() as source:
            return series.names(source)

    @property
    def own_paths(self) -> tuple[Path, Path]:
        """The SQLite file and the folder of the cache."""
        self._connection()
        assert self._cache is not None  # noqa: S101
        return self._pool.path, self._cache.path

    def _asked(
        self, question: Question[Answer], tables: Collection[str], owners: Sequence[str] | None
    ) -> tuple[ReplicaMoment, Answer]:
        """Answer a question at a moment, which the caller closes; a segment that is damaged is made anew first."""
        few = owners if owners is not None and len(owners) <= FEW_OWNERS else None
        tries = 0
        while True:
            moment = None
            try:
                moment = self._moment(tables, few)
                return moment, self._interruptible.ask(moment.connection, partial(question, moment))
            except BaseException as error:
                if moment is not None:
                    moment.close()
                tries += 1
                if not isinstance(error, (DamagedSegments, duckdb.Error)) or not self._dropped_damaged(error, tries):
                    raise

    def _batches(self, moment: ReplicaMoment, rows: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        def next_batch() -> pa.RecordBatch | None:
            if moment.is_closed:
                raise StoreClosedError(f"{self._pool.path} was closed before this answer was read to its end")
            return next(rows, None)

        try:
            with translated_errors():
                while (batch := self._interruptible.ask(moment.connection, next_batch)) is not None:
                    yield batch
        finally:
            moment.close()

    def _moment(self, tables: Collection[str], few: Sequence[str] | None) -> ReplicaMoment:
        """Return the newest moment, once the tables are copied whose rows are not to be had sooner."""
        names = list(dict.fromkeys(with_sources(tables)))
        waits = 0
        while True:
            with self._lock:
                waited, narrowed = self._brought_up_to_date(names, few, waits, with_results="results" in tables)
                if not waited:
                    whole = names if few is None or "results" in tables else ()
                    check([one for name in whole for one in self._shown.copies[name].segments])
                    cursor = self._connection().cursor()
                    moment = ReplicaMoment(cursor, self._shown.copies, narrowed, self._shown.results)
                    self._moments.add(moment)
                    return moment
                building = self._builder.building
            if building is not None:
                building.wait(waited)
            waits += 1

    # Refreshing ---------------------------------------------------------------------------------------------------

    def _brought_up_to_date(
        self, names: Sequence[str], few: Sequence[str] | None, waits: int, *, with_results: bool
    ) -> tuple[Collection[str], Mapping[str, list[pa.Table]]]:
        """Bring some tables to the newest moment; this takes microseconds when nothing is new.

        Returns
        -------
        tuple
            The tables that the question has to wait for, because they are being copied; and of other ones that are not
            copied yet the raw rows of few owners.
        """
        version = self._pool.data_version()
        if version[0] != self._file:  # the name belongs to another file
            self._forget()
            self._file = version[0]
        if self._builder.look() and self._folder is not None:
            self._folder.remove_old([one for moment in self._moments for one in moment.segments()] + self.segments())
        shown = self._shown
        is_new = any(shown.copies[name].version != version or name in self._builder.built for name in names)
        if not is_new and (not with_results or (shown.results is not None and not shown.changed)):
            return (), {}
        with self._pool.snapshot() as source:
            state = state_of(source, names)
            self._use_generation(state)
            # All of them, also those that are of this version: the snapshot may be newer.
            new = {name: self._new_copy(source, state, name, version) for name in names}
            missing = {name: found for name, one in new.items() if (found := self._missing(source, state, one, waits))}
            if missing and self._builder.can_build():
                self._build(source, state, missing)
                if few is None or with_results:
                    return missing.keys(), {}
                narrowed = {name: raw_rows_of(source, TABLES[name], few) for name in missing}
                copied = {name: one for name, one in new.items() if name not in missing}
                self._catch_up(source, copied, with_results=with_results)
                return (), narrowed
            self._catch_up(source, new, with_results=with_results)
            if self._builder.can_build():
                self._build(source, state, {name: found for name in names if (found := due(self._shown.copies[name]))})
        return (), {}

    def _connection(self) -> duckdb.DuckDBPyConnection:
        if self._duck is None:
            self._cache = CacheFolder(self._pool.path, self._cache_dir)
            self._duck = connect(self._cache.shown)
        return self._duck

    def _use_generation(self, state: StoreState) -> None:
        """Turn to the folder of the store's generation."""
        self._connection()
        assert self._cache is not None  # noqa: S101
        folder = self._cache.generation(state.generation, state.schema_version)
        if self._folder is not None and self._folder.path == folder.path:
            return
        if self._folder is not None:
            file = self._file
            self._forget()
            self._file = file
            self._builder.end()
        self._folder = folder

    def _new_copy(self, source: sqlite3.Connection, state: StoreState, name: str, version: tuple[int, ...]) -> Copy:
        """Return what is known of a table at the new moment before its rows are read."""
        copy, stamps, ends = self._shown.copies[name], state.stamps[name], state.ends[name]
        segments = copy.segments
        if copy.version is None or name in self._builder.built:
            assert self._folder is not None  # noqa: S101
            found = [one for one in self._folder.segments(name) if belongs(source, copy.table, one, stamps)]
            segments = choose(found, stamps)
        return Copy(copy.table, segments, stamps, LEAST_ROWID - 1 if ends is None else ends[1], version=version)

    def _missing(self, source: sqlite3.Connection, state: StoreState, new: Copy, waits: int) -> list[Range]:
        """Return the ranges of a table to be copied first, because the pool would take long to read them.

        The more often a question has waited, the more it reads itself: others may record faster than it copies.
        """
        copy, ends = self._shown.copies[new.table.name], state.ends[new.table.name]
        if ends is None:
            return []
        usable = tuple(one for one in new.segments if not needs_rewrite(one, stale_buckets(one, new.stamps)))
        is_loaded = copy.version is not None and copy.segments == usable
        unread = gaps(usable, copy.seen + 1 if is_loaded else ends[0], ends[1])
        if not are_many(source, new.table, unread, _BULK * new.table.sealed_rows << _PATIENCE_BITS * waits):
            return []
        return list(gaps(usable, *ends))

    def _catch_up(self, source: sqlite3.Connection, new: Mapping[str, Copy], *, with_results: bool) -> None:
        """Read what is missing through the pool and show it."""
        self._shown = self._shown.caught_up(self._connection(), source, new, with_results=with_results)
        self._builder.built -= new.keys()

    # Building -----------------------------------------------------------------------------------------------------

    def _build(self, source: sqlite3.Connection, state: StoreState, ranges: Mapping[str, Sequence[Range]]) -> None:
        """Begin to copy ranges to segments, unless some are being copied."""
        if self._builder.building is not None or not ranges:
            return
        assert self._folder is not None  # noqa: S101
        known = zones.known(self._connection(), zones_in(source))
        try:
            requests = [request(source, state, self._folder, name, parts, known) for name, parts in ranges.items()]
        except OSError as error:
            self._builder.give_up(error)
        else:
            self._builder.begin(self._folder, requests)

    def _note_commit(self, changed_rows: int) -> None:
        """Keep up with what this process records, so that the first question does not wait for it."""
        self._recorded += changed_rows
        if self._recorded >= _MOST_RECORDED:
            self._recorded = 0
            threading.Thread(target=_keep_up, args=(weakref.ref(self),), name="finlab_nb keeps up").start()

    def keep_up(self) -> None:
        """Bring all tables up to date, as far as nothing has to be waited for."""
        with self._lock:
            self._brought_up_to_date(list(TABLES), None, 0, with_results=False)

    def _dropped_damaged(self, error: Exception, tries: int) -> bool:
        """Drop segments that an error comes from, and tell whether there were any."""
        with self._lock:
            used = [] if self._folder is None else self._folder.known()
            suspects = [one for one in used if str(one.path) in str(error)]
            if isinstance(error, _OF_FILES) or type(error) is duckdb.Error:
                suspects = used
            for one in suspects:  # they may have changed since they were checked
                vars(one).pop("is_whole", None)
            damaged = [one for one in suspects if not one.is_whole]
            if not damaged:
                return False
            assert self._folder is not None  # noqa: S101
            for one in damaged:
                self._folder.remove(one)
            dropped = {name: NOTHING.copies[name] for name in {one.table for one in damaged}}
            self._shown = replace(self._shown, copies={**self._shown.copies, **dropped}, results=None)
            if tries == _MOST_TRIES - 1:
                self._builder.give_up(error)
            return tries < _MOST_TRIES

    # The cache ----------------------------------------------------------------------------------------------------

    def segments(self) -> list[Segment]:
        """Return the segments that the views read at this moment."""
        return [segment for copy in self._shown.copies.values() for segment in copy.segments]

    def settle(self, tables: Iterable[str] = tuple(TABLES)) -> None:
        """Bring tables up to date, and wait until all that is worth a segment is in one."""
        while True:
            self._moment(list(tables), None).close()
            building = self._builder.building
            if building is None:
                return
            building.wait()

    def cache_info(self) -> dict[str, Any]:
        """Return what the cache holds; see `Lab.cache_info`."""
        moment, counts = self._asked(
            lambda at: {name: delta.count(at.connection, table) for name, table in TABLES.items()}, list(TABLES), None
        )
        moment.close()
        assert self._cache is not None  # noqa: S101
        assert self._folder is not None  # noqa: S101
        return {
            "folder": self._cache.path,
            "temporary": self._cache.is_temporary,
            "generation": self._folder.path.name,
            "bytes": sum(one.size for one in moment.segments()),
            "segments": {name: sum(one.table == name for one in moment.segments()) for name in TABLES},
            "delta_rows": counts,
            "reader_process": None if self._builder.building is None else self._builder.building.process_id,
        }

    def clear_cache(self) -> None:
        """Remove the segments of all generations of this store; the next question makes them anew."""
        with self._lock:
            self._builder.end()
            self._forget()
            self._connection()
            assert self._cache is not None  # noqa: S101
            self._cache.clear()

    def close(self) -> None:
        """End the child, and release DuckDB. Closing twice is fine."""
        with self._lock:
            self._builder.end()
            self._interruptible.close()
            for moment in list(self._moments):
                moment.close()
            if self._duck is not None:
                with contextlib.suppress(duckdb.Error):  # a question of another thread is at work
                    self._duck.close()
            self._duck = self._folder = None
            self._forget()
            if self._cache is not None:
                self._cache.close()

    def after_fork_in_child(self) -> None:
        """Start afresh: DuckDB's threads and the child belong to the parent."""
        leave_to_parent(self._builder, self._duck, self._cache, self._moments)
        self._start()


def _keep_up(engine: weakref.ref[Engine]) -> None:
    found = engine()
    if found is not None:
        with contextlib.suppress(StorageError, duckdb.Error, DamagedSegments):  # the next question will say so
            found.keep_up()


def _each_in_child() -> None:
    leave_to_parent(duckdb.default_connection())  # made by importing DuckDB; ending it waits for threads that are gone
    for engine in list(_engines):
        engine.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_each_in_child)
