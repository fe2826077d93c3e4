"""The kernel's DuckDB: named views over segments and delta, brought up to date before every question.

For each table of the store there are Parquet segments, which hold most rows, and a native table, the delta, which
holds what no segment holds: the newest rows, gaps between segments, and the rows of buckets that were edited after a
segment was written (the segment's own rows of such a bucket are left out of the view).

One refresh reads the state of all tables and every missing row in one read transaction of the pool and applies them
in one transaction of DuckDB: all views show the same moment. If many rows are missing, the reader in the child
process first copies them to segments, and the refresh then reads only what was written meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import duckdb

from finlab_nb.errors import QueryError
from finlab_nb.query import delta, zones
from finlab_nb.query.compaction import mergeable, needs_rewrite, partition
from finlab_nb.query.interruptible import InterruptibleThread
from finlab_nb.query.ranges import Range, gaps, rows_of, within
from finlab_nb.query.reader import RAW_ROWS, CopyRequest, Reader
from finlab_nb.query.segments import FORMAT, Segment, SegmentFolder, belongs, choose, clear, fingerprint_of
from finlab_nb.query.tables import TABLES, Known, Table, literal, parquet
from finlab_nb.store.broken_text import fetched
from finlab_nb.store.forks import TemporaryFolder, leave_to_parent
from finlab_nb.store.triggers import BUCKET_BITS

if TYPE_CHECKING:
    from finlab_nb.store.pool import ConnectionPool

Answer = TypeVar("Answer")
Fingerprint = dict[int, str | None]

_PINNED_SNAPSHOTS: Final = 8  # each one keeps its rows from being removed
_BULK_ROWS: Final = 16_384  # the pool reads fewer than these sooner than the reader starts
_BULK_SHARE: Final = 6  # a gap of a sixth of the table is left to the reader, which scans the whole table
_LEAST_ROWID: Final = -(2**63)

_STATE: Final = "SELECT generation FROM store_state"
_ZONES: Final = """
    SELECT timezone FROM iterations WHERE timezone IS NOT NULL
    UNION SELECT timezone FROM series_names WHERE timezone IS NOT NULL"""
_EDITED: Final = "SELECT table_name, bucket, stamp FROM edited_rows"
_ENDS: Final = " UNION ALL ".join(
    f"SELECT '{name}', (SELECT min(rowid) FROM {name}), (SELECT max(rowid) FROM {name})" for name in TABLES
)

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


@dataclass(slots=True)
class _Copy:
    """What is known about one table: its segments, and the moment that its rows show."""

    table: Table
    segments: list[Segment] = field(default_factory=list)
    stamps: dict[int, int] = field(default_factory=dict)
    seen: int = _LEAST_ROWID - 1  # the last rowid at that moment
    held: frozenset[str] = frozenset()  # the columns that the delta may hold something in
    loaded: bool = False  # whether the delta holds what no segment holds
    has_bad_values: bool = False  # whether there may be values that broke the rules

    def stale(self, segment: Segment) -> set[int]:
        return segment.stale_buckets(self.stamps)


@dataclass(frozen=True, slots=True)
class _PinnedSnapshot:
    """A moment that relations were handed out for; it lasts as long as the transaction of its cursor."""

    version: tuple[int, ...]
    cursor: duckdb.DuckDBPyConnection
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _State:
    """What one read transaction tells about the store."""

    generation: str
    stamps: dict[str, dict[int, int]]
    ends: dict[str, Range | None]


class Engine:
    """DuckDB views over one store, which always show its newest moment.

    Parameters
    ----------
    pool
        The store's connections.
    cache_dir
        The folder for segments; by default ``<database>.cache`` beside the database.
    """

    def __init__(self, pool: ConnectionPool, cache_dir: Path | None = None) -> None:
        self._pool = pool
        self._cache_dir = cache_dir
        self._temporary: TemporaryFolder | None = None
        self._start()
        _engines.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what it was made of; a copy has a DuckDB and a reader of its own."""
        return Engine, (self._pool, self._cache_dir)

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._interruptible = InterruptibleThread()
        self._pinned: deque[_PinnedSnapshot] = deque(maxlen=_PINNED_SNAPSHOTS)
        self.reader = Reader(self._pool.path)
        self._duck: duckdb.DuckDBPyConnection | None = None
        self._folder: SegmentFolder | None = None
        self._version: tuple[int, ...] | None = None
        self._copies: dict[str, _Copy] = {}

    def answer(self, question: Callable[[duckdb.DuckDBPyConnection], Answer]) -> Answer:
        """Answer a question about the newest moment; all queries of the question see that same moment.

        Raises
        ------
        QueryError
            If DuckDB refuses the query.
        StorageError
            If the store cannot be read.
        """
        try:
            return self._ask(question)
        except duckdb.IOException:
            self.forget()  # another program has removed a segment; SQLite still has everything
            return self._ask(question, final=True)

    def _ask(self, question: Callable[[duckdb.DuckDBPyConnection], Answer], *, final: bool = False) -> Answer:
        try:
            self.refresh()
            return self._interruptible.ask(self._connection(), question)
        except duckdb.IOException as error:
            if final:
                raise QueryError(f"the cache of {self._pool.path} cannot be read: {error}") from error
            raise
        except duckdb.Error as error:
            raise QueryError(str(error)) from error

    def pin(self, view: str) -> duckdb.DuckDBPyRelation:
        """Return a view as a relation of this moment, valid until `close` or until several later moments are pinned."""
        try:
            with self._lock:
                self.refresh()
                assert self._version is not None  # noqa: S101
                if not self._pinned or self._pinned[-1].version != self._version:
                    cursor = self._connection().cursor()
                    cursor.execute("BEGIN TRANSACTION READ ONLY")
                    if len(self._pinned) == _PINNED_SNAPSHOTS:
                        self._pinned[0].cursor.close()
                    paths = tuple(segment.path for segment in self.segments())
                    self._pinned.append(_PinnedSnapshot(self._version, cursor, paths))
                return self._pinned[-1].cursor.table(view)
        except duckdb.Error as error:
            raise QueryError(str(error)) from error

    def stored(self, reading: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Return what a reading of the store itself gives, for the little that is not copied."""
        with self._pool.snapshot() as source:
            return reading(source)

    def refresh(self) -> None:
        """Bring all views to the newest moment; microseconds when nothing is new."""
        with self._lock:
            version = self._pool.data_version()
            if version == self._version:
                return
            if self._version is not None and version[0] != self._version[0]:
                self._copies.clear()  # the name now belongs to another file
            for may_copy in (True, False):
                with self._pool.snapshot() as source:
                    state = self._state(source)
                    self._adopt(source, state)
                    bulk = self._bulk_ranges(state) if may_copy else []
                    if not bulk:
                        self._catch_up(source, state)
                        break
                    copies = [
                        (
                            copy,
                            {ends: fingerprint_of(source, copy.table, *ends) for ends in partition(first, last)},
                        )
                        for copy, first, last in bulk
                    ]
                    known_zones = self._zones(source)
                self._copy_in_bulk(state, copies, known_zones)
            self._version = version
            self._compact()

    def forget(self) -> None:
        """Drop what is known, so that the next question rebuilds it from the cache folder and the store."""
        with self._lock:
            self._copies.clear()
            self._version = None

    def close(self) -> None:
        """Stop the reader and release DuckDB. Closing twice is fine."""
        with self._lock:
            self.reader.close()
            self._interruptible.close()
            while self._pinned:
                self._pinned.popleft().cursor.close()
            if self._duck is not None:
                self._duck.close()
            self._duck = None
            self.forget()
            if self._temporary is not None:
                self._temporary.remove()

    @property
    def own_paths(self) -> tuple[Path, Path]:
        """The SQLite file and the cache folder."""
        self._connection()
        return self._pool.path, self._root

    @property
    def folder(self) -> SegmentFolder | None:
        """The folder of the segments, once a question has been asked."""
        return self._folder

    def bad_values(self, views: duckdb.DuckDBPyConnection, tables: Iterable[str]) -> dict[str, dict[str, int]]:
        """Return how many values of each column are missing because they broke the rules, as a question sees them."""
        affected = [copy.table for name, copy in self._copies.items() if copy.has_bad_values and name in tables]
        counts = {table.name: delta.bad_values(views, table) for table in affected}
        return {name: columns for name, columns in counts.items() if columns}

    @property
    def has_bad_values(self) -> bool:
        """Whether any table may hold values that broke the rules."""
        return any(copy.has_bad_values for copy in list(self._copies.values()))

    def segments(self) -> list[Segment]:
        """Return the segments that the views read at this moment."""
        with self._lock:
            return [segment for copy in self._copies.values() for segment in copy.segments]

    def cache_info(self) -> dict[str, Any]:
        """Return what the cache holds; see `Lab.cache_info`."""
        with self._lock:
            self.refresh()
            assert self._folder is not None  # noqa: S101
            return {
                "folder": self._root,
                "temporary": self._temporary is not None,
                "generation": self._folder.path.name,
                "bytes": sum(one.path.stat().st_size for one in self.segments()),
                "segments": {name: len(copy.segments) for name, copy in self._copies.items()},
                "delta_rows": {
                    name: delta.count(self._connection(), copy.table) for name, copy in self._copies.items()
                },
                "reader_process": self.reader.process_id,
            }

    def clear_cache(self) -> None:
        """Remove the segments of all generations of this store; the next question rebuilds them."""
        with self._lock:
            self.forget()
            self._connection()
            clear(self._root)

    # Refreshing ---------------------------------------------------------------------------------------------------

    def _connection(self) -> duckdb.DuckDBPyConnection:
        if self._duck is None:
            root, self._temporary = SegmentFolder.writable_root(self._pool.path, self._cache_dir)
            self._root = root
            self._duck = _connect(root)
        return self._duck

    @staticmethod
    def _state(source: sqlite3.Connection) -> _State:
        (generation,) = source.execute(_STATE).fetchone()
        (schema,) = source.execute("PRAGMA schema_version").fetchone()  # counts every change by any program
        stamps: dict[str, dict[int, int]] = {name: {} for name in TABLES}
        for name, bucket, stamp in source.execute(_EDITED).fetchall():
            stamps[name][bucket] = stamp
        ends = {
            name: None if first is None else (first, last) for name, first, last in source.execute(_ENDS).fetchall()
        }
        return _State(f"{generation}.{schema}.{FORMAT}", stamps, ends)

    def _adopt(self, source: sqlite3.Connection, state: _State) -> None:
        """Start from the cache folder if nothing is known about this generation yet."""
        connection = self._connection()
        if self._folder is not None and self._folder.path.name != state.generation:
            self._copies.clear()
        if self._copies:
            return
        self._folder = SegmentFolder(self._root, state.generation)
        found = [one for one in self._folder.segments(connection) if one.table in TABLES]
        for name, table in TABLES.items():
            stamps = state.stamps[name]
            own = [one for one in found if one.table == name and belongs(source, table, one, stamps)]
            self._copies[name] = _Copy(table, choose(own, stamps))

    def _bulk_ranges(self, state: _State) -> list[tuple[_Copy, int, int]]:
        """Return the ranges with so many rows outside segments that the reader is faster than the pool."""
        ranges = []
        for name, copy in self._copies.items():
            ends = state.ends[name]
            if ends is None:
                continue
            stamps = state.stamps[name]
            usable = [one for one in copy.segments if not needs_rewrite(one, one.stale_buckets(stamps))]
            for first, last in gaps(usable, *ends):
                missing = (
                    last - max(first, copy.seen + 1) + 1 if len(usable) == len(copy.segments) else last - first + 1
                )
                if missing > _BULK_ROWS and missing * _BULK_SHARE > ends[1] - ends[0]:
                    ranges.append((copy, first, last))
        return ranges

    def _zones(self, source: sqlite3.Connection) -> list[str]:
        """Return the zones that rows of any table may be in."""
        return zones.known(self._connection(), [zone for (zone,) in fetched(source, _ZONES)])

    def _copy_in_bulk(
        self, state: _State, copies: Iterable[tuple[_Copy, dict[Range, Fingerprint]]], known_zones: list[str]
    ) -> None:
        assert self._folder is not None  # noqa: S101
        folder, requests, copied = self._folder, [], []
        for copy, parted in copies:
            table, whole = copy.table, folder.new_path()
            paths = [whole] if len(parted) == 1 else [folder.new_path() for _ in parted]
            rows = table.typed_rows(RAW_ROWS, Known(zones=known_zones))
            parts = []
            for path, (ends, fingerprint) in zip(paths, parted.items(), strict=True):
                query = rows if path == whole else f"FROM {parquet(whole)} WHERE row_id BETWEEN {ends[0]} AND {ends[1]}"
                stamps = within(state.stamps[table.name], *ends)
                parts.append(folder.copy_statement(table, query, path, stamps, fingerprint))
                copied.append((copy, path, *ends))
            first, last = min(parted)[0], max(parted)[1]
            statement = parts.pop() if paths == [whole] else folder.copy_statement(table, rows, whole, {}, {})
            columns = [(column.name, column.kind) for column in table.columns]
            described = (table.name, table.owner, columns, table.key, table.zones if known_zones else None)
            requests.append(CopyRequest(*described, first, last, str(whole), statement, parts))
        self.reader.copy(requests)
        for copy, temporary, first, last in copied:
            segment = folder.publish(self._connection(), temporary, copy.table, first, last)
            kept = [one for one in copy.segments if one.last < first or last < one.first]
            copy.segments = sorted([*kept, segment], key=lambda one: one.first)
            copy.loaded = False

    def _catch_up(self, source: sqlite3.Connection, state: _State) -> None:
        """Read what is missing through the pool and show it."""
        connection = self._connection()
        connection.execute("BEGIN TRANSACTION")
        before = {name: (copy.stamps, copy.seen, copy.held, copy.loaded) for name, copy in self._copies.items()}
        try:
            changed = []
            for name, copy in self._copies.items():
                whole = not copy.loaded
                if self._catch_up_table(connection, source, copy, state.stamps[name], state.ends[name]):
                    changed.append((copy.table, whole))
            for name in delta.tables_with_bad_values(connection, changed):
                self._copies[name].has_bad_values = True
            connection.execute("COMMIT")
        except BaseException:
            for name, known in before.items():
                copy = self._copies[name]
                copy.stamps, copy.seen, copy.held, copy.loaded = known
            with contextlib.suppress(duckdb.Error):
                connection.execute("ROLLBACK")
            raise

    @staticmethod
    def _catch_up_table(
        connection: duckdb.DuckDBPyConnection,
        source: sqlite3.Connection,
        copy: _Copy,
        stamps: dict[int, int],
        ends: Range | None,
    ) -> bool:
        """Bring one table up to date, and tell whether there was anything to do."""
        last = _LEAST_ROWID - 1 if ends is None else ends[1]
        if not copy.loaded:
            copy.stamps = stamps
            missing = list(gaps(copy.segments, _LEAST_ROWID, last))
            missing += [rows_of(bucket, one) for one in copy.segments for bucket in sorted(copy.stale(one))]
            delta.create(connection, copy.table)
            copy.held = frozenset()
        else:
            edited = sorted(
                bucket for bucket in stamps.keys() | copy.stamps.keys() if stamps.get(bucket) != copy.stamps.get(bucket)
            )
            if not edited and last == copy.seen:
                return False
            copy.stamps = stamps
            again = [(bucket << BUCKET_BITS, ((bucket + 1) << BUCKET_BITS) - 1) for bucket in edited]
            delta.remove(connection, copy.table, again)
            missing = [(first, min(end, copy.seen)) for first, end in again] + [(copy.seen + 1, last)]
        held = copy.held | delta.read(connection, source, copy.table, (one for one in missing if one[0] <= one[1]))
        if not copy.loaded or edited or held != copy.held:
            delta.show(connection, copy.table, [(one, copy.stale(one)) for one in copy.segments], held)
        copy.held = held
        copy.seen, copy.loaded = last, True
        return True

    # Sealing ------------------------------------------------------------------------------------------------------

    def _compact(self) -> None:
        """Turn a long delta into a segment, merge small segments, and rewrite those with many edits."""
        assert self._folder is not None  # noqa: S101
        changed = False
        for copy in self._copies.values():
            while (due := self._due(copy)) is not None:
                self._seal(copy, *due)
                changed = True
        if changed:
            pinned = [path for moment in self._pinned for path in moment.paths]
            self._folder.remove_old([*pinned, *(one.path for one in self.segments())])

    @staticmethod
    def _due(copy: _Copy) -> Range | None:
        for one in copy.segments:
            if needs_rewrite(one, copy.stale(one)):
                return one.first, one.last
        sealed = copy.segments[-1].last if copy.segments else 0
        if copy.seen - sealed >= copy.table.sealed_rows:
            return sealed + 1, copy.seen
        return mergeable(copy.segments)

    def _seal(self, copy: _Copy, first: int, last: int) -> None:
        """Write the rows of a range, wherever they are, to one segment."""
        assert self._folder is not None  # noqa: S101
        connection, table, path = self._connection(), copy.table, self._folder.new_path()
        stamps = within(copy.stamps, first, last)
        fingerprint = delta.fingerprint(connection, table, first, last)
        query = delta.rows_between(table, first, last)
        connection.execute(self._folder.copy_statement(table, query, path, stamps, fingerprint))
        segment = self._folder.publish(connection, path, table, first, last)
        segments = [one for one in copy.segments if one.last < first or last < one.first]
        segments = sorted([*segments, segment], key=lambda one: one.first)
        connection.execute("BEGIN TRANSACTION")
        try:
            delta.remove(connection, table, [(first, last)])
            delta.show(connection, table, [(one, copy.stale(one)) for one in segments], copy.held)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                connection.execute("ROLLBACK")
            raise
        copy.segments = segments

    def after_fork_in_child(self) -> None:
        """Start afresh: DuckDB's threads and the pipes of the reader belong to the parent."""
        self.reader.let_go()
        leave_to_parent(self.reader, self._duck, self._pinned)
        self._temporary = None
        self._start()


def _connect(cache_root: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    spill = Path(tempfile.gettempdir()) / f"finlab_nb_{os.getpid()}_spill"
    for setting in (
        "SET TimeZone = 'UTC'",
        "SET enable_progress_bar = false",
        "SET parquet_metadata_cache = true",
        # DuckDB would look for variables in this package's own functions; `Frames.sql` looks in the caller's.
        "SET python_enable_replacements = false",
        f"SET temp_directory = {literal(str(spill))}",
        # A query can read the segments and nothing else: no other file, least of all the live database, and no
        # extension, least of all the one for SQLite.
        f"SET allowed_directories = [{literal(str(cache_root))}]",
        "SET enable_external_access = false",
        "SET lock_configuration = true",
    ):
        connection.execute(setting)
    connection.execute("CREATE SCHEMA copied")
    return connection


def _each_in_child() -> None:
    leave_to_parent(duckdb.default_connection())  # made by importing DuckDB; ending it waits for threads that are gone
    for engine in list(_engines):
        engine.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_each_in_child)
