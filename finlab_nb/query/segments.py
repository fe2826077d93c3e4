"""The Parquet segments beside the database: which exist, which are still valid, and how a new one is made.

A segment is an immutable file that holds all rows of one table between two rowids, at one moment. Its footer says which
moment: the edit stamps of its rows' buckets (see the schema) and, as a fingerprint, the owners of a few rows.
Several kernels share a folder without locks: a file is written under a temporary name and renamed, and a file that
does not match the database is ignored. A restore gives the store a new generation and thus a new folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
from uuid_utils import uuid7

from finlab_nb.query.tables import TABLES, Table, literal
from finlab_nb.store.forks import TemporaryFolder
from finlab_nb.store.triggers import BUCKET_BITS

FORMAT: Final = 7  # of the segments: each format has its own folder
_METADATA_KEY: Final = "finlab_nb"
# Chosen for fast unpacking, which every question does: zstd would save a quarter of the disk space and take twice as
# long. Smaller groups would unpack less for one iteration, but every question would have to look at the statistics of
# more groups.
_PARQUET: Final = "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION lz4_raw, ROW_GROUP_SIZE 122880"
_OLD_SECONDS: Final = 3600.0
_FINGERPRINT_ROWS: Final = 32
_GENERATION: Final = re.compile(r"[0-9a-f]{16}(\.\d+)+")  # as `Engine` names them
_READ_METADATA: Final = """
    SELECT file_name, decode(value) FROM parquet_kv_metadata($files) WHERE decode(key) = $key"""

_READ_COLUMNS: Final = """
    SELECT file_name, path_in_schema, min(stats_min_value), max(stats_max_value), bool_and(stats_min_value IS NOT NULL),
           bool_or(stats_null_count IS DISTINCT FROM num_values)
    FROM parquet_metadata($files) GROUP BY ALL"""


@dataclass(frozen=True, slots=True)
class Segment:
    """One Parquet file with the rows of a table from rowid `first` to `last`, both included."""

    path: Path
    table: str
    first: int
    last: int
    stamps: Mapping[int, int] = field(repr=False)
    fingerprint: Mapping[int, str | None] = field(repr=False)
    owners: tuple[str, str] | None = None  # the least and the greatest, if the footer has them
    held: frozenset[str] = field(default=frozenset(), repr=False)  # the columns that are not missing in all rows

    def stale_buckets(self, stamps: Mapping[int, int]) -> set[int]:
        """Return the buckets of this segment whose rows were edited since, given the database's current stamps."""
        low, high = self.first >> BUCKET_BITS, self.last >> BUCKET_BITS
        return {
            bucket
            for bucket in stamps.keys() | self.stamps.keys()
            if low <= bucket <= high and stamps.get(bucket) != self.stamps.get(bucket)
        }


class SegmentFolder:
    """The segments of one generation of one store.

    Parameters
    ----------
    root
        The cache folder of the database.
    generation
        What the segments must belong to: the store's generation and schema version, and the format.
    """

    def __init__(self, root: Path, generation: str) -> None:
        self.path = root / generation

    @classmethod
    def writable_root(cls, database: Path, wanted: Path | None) -> tuple[Path, TemporaryFolder | None]:
        """Return the cache folder: in the wanted one, beside the database, or a temporary one."""
        # Always a folder for the cache alone: queries can read what is in it, and old files in it are removed.
        root = (database.parent if wanted is None else wanted) / f"{database.name}.cache"
        if database.is_relative_to(root):
            root = root / root.name
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=root):
                return root, None
        except OSError:
            if wanted is not None:
                raise
        folder = TemporaryFolder("cache")
        return folder.path, folder

    def new_path(self) -> Path:
        """Return a temporary path in this folder for a file to be published."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self.path / f"{uuid7()}.tmp"

    def copy_statement(
        self, table: Table, query: str, path: Path, stamps: Mapping[int, int], fingerprint: Mapping[int, str | None]
    ) -> str:
        """Return the COPY that writes the typed rows of a query, row_id first, to a temporary path."""
        metadata = json.dumps(
            {"table": table.name, "stamps": list(stamps.items()), "fingerprint": list(fingerprint.items())}
        )
        return (
            f"COPY ({query}) TO {literal(str(path))} ({_PARQUET}, KV_METADATA {{{_METADATA_KEY}: {literal(metadata)}}})"
        )

    def publish(
        self, connection: duckdb.DuckDBPyConnection, temporary: Path, table: Table, first: int, last: int
    ) -> Segment:
        """Give a finished file its name, and read its footer."""
        path = self.path / f"{table.name}.{first}-{last}.{temporary.stem}.parquet"
        os.replace(temporary, path)  # noqa: PTH105 - the one call that is atomic everywhere
        (segment,) = _read(connection, [path])
        return segment

    def segments(self, connection: duckdb.DuckDBPyConnection) -> list[Segment]:
        """Return the segments in the folder."""
        paths = list(self.path.glob("*.parquet"))
        try:
            return _read(connection, paths)
        except duckdb.Error:  # one of them is damaged, or was removed at this moment
            found = []
            for path in paths:
                with contextlib.suppress(duckdb.Error):
                    found += _read(connection, [path])
            return found

    def remove_old(self, kept: Iterable[Path]) -> None:
        """Remove files that are no longer valid, once they are so old that no kernel can still be reading them."""
        keep = set(kept)
        with contextlib.suppress(OSError):
            for path in self.path.iterdir():
                if path not in keep and time.time() - path.stat().st_mtime > _OLD_SECONDS:
                    path.unlink()
            for folder in self.path.parent.iterdir():
                if (
                    folder != self.path
                    and _GENERATION.fullmatch(folder.name)
                    and time.time() - folder.stat().st_mtime > _OLD_SECONDS
                ):
                    shutil.rmtree(folder, ignore_errors=True)


def clear(root: Path) -> None:
    """Remove all segments of a cache folder, except files that another program holds open."""
    for folder in root.iterdir():
        if _GENERATION.fullmatch(folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def _read(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> list[Segment]:
    if not paths:
        return []
    names = {str(path): path for path in paths}
    rows = connection.execute(_READ_METADATA, {"files": list(names), "key": _METADATA_KEY}).fetchall()
    columns: dict[str, list[_Column]] = {name: [] for name in names}
    for name, *column in connection.execute(_READ_COLUMNS, {"files": list(names)}).fetchall():
        columns[name].append(_Column(*column))
    return [_segment(names[name], json.loads(metadata), columns[name]) for name, metadata in rows]


class _Column(NamedTuple):
    """What a footer tells of a column."""

    name: str
    least: str
    greatest: str
    is_known: bool
    is_held: bool


def _segment(path: Path, metadata: dict[str, Any], columns: Sequence[_Column]) -> Segment:
    first, _, last = path.name.split(".")[1].rpartition("-")
    table = metadata["table"]
    owner = TABLES[table].owner if table in TABLES else None
    return Segment(
        path,
        table,
        int(first),
        int(last),
        dict(metadata["stamps"]),
        dict(metadata["fingerprint"]),
        next(((one.least, one.greatest) for one in columns if one.name == owner and one.is_known), None),
        frozenset(one.name for one in columns if one.is_held),
    )


def choose(found: Iterable[Segment], stamps: Mapping[int, int]) -> list[Segment]:
    """Return segments that do not overlap, in order: preferably the longest, and those with the fewest edits."""
    chosen: list[Segment] = []
    ranked = sorted(found, key=lambda one: (one.first - one.last, len(one.stale_buckets(stamps)), one.path.name))
    for segment in ranked:
        if all(segment.last < other.first or other.last < segment.first for other in chosen):
            chosen.append(segment)
    return sorted(chosen, key=lambda one: one.first)


def fingerprint_rowids(first: int, last: int) -> list[int]:
    """Return the rowids of a range's fingerprint, which lie closer together towards its end, where copies diverge."""
    return sorted({max(first, last - (1 << step) + 1) for step in range(_FINGERPRINT_ROWS)})


def fingerprint_of(source: sqlite3.Connection, table: Table, first: int, last: int) -> dict[int, str | None]:
    """Return the owners of the rows at the fingerprint of a range."""
    return {place: _owner(source, table, place) for place in fingerprint_rowids(first, last)}


def belongs(source: sqlite3.Connection, table: Table, segment: Segment, stamps: Mapping[int, int]) -> bool:
    """Tell whether the database still has the segment's fingerprint, except for rows that were edited since."""
    stale = segment.stale_buckets(stamps)
    return all(
        _owner(source, table, place) == owner
        for place, owner in segment.fingerprint.items()
        if place >> BUCKET_BITS not in stale
    )


def _owner(source: sqlite3.Connection, table: Table, place: int) -> str | None:
    query = (
        f"SELECT CASE typeof({table.owner}) WHEN 'text' THEN CAST({table.owner} AS BLOB) END "
        f"FROM ({table.select_raw('t.rowid = ?')})"
    )
    row = source.execute(query, (place,)).fetchone()
    try:
        return None if row is None or row[0] is None else str(row[0], "utf-8")
    except UnicodeDecodeError:  # as in the copy
        return None
