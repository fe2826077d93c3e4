"""The files of a Parquet segment: how they are written, described and checked.

A segment holds all rows of one table between two rowids, at one moment, in two files that never change: the rows in
Parquet, and beside them a description in JSON, which is written last. It says which moment: the edit stamps of the
rows' buckets (see `store.triggers`) and, as a fingerprint, the owners of a few rows. It also holds what a question
wants to know before it opens the rows, and their checksum.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import duckdb

FORMAT: Final = 8  # of the segments: each format has its own folder
ROWS_ENDING: Final = ".parquet"
DESCRIPTION_ENDING: Final = ".json"
TEMPORARY_ENDING: Final = ".tmp"
_READ_BYTES: Final = 1 << 20
_READ_COLUMNS: Final = """
    SELECT path_in_schema, min(stats_min_value), max(stats_max_value), bool_and(stats_min_value IS NOT NULL),
           bool_or(stats_null_count IS DISTINCT FROM num_values)
    FROM parquet_metadata(?) GROUP BY ALL"""
_READ_ROWS: Final = "SELECT num_rows FROM parquet_file_metadata(?)"

Fingerprint = Mapping[int, str | None]


class DamagedSegments(Exception):  # noqa: N818 - it never leaves the replica
    """The files of some segments are not what was written."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        super().__init__(", ".join(str(one.path) for one in segments))
        self.segments = segments


@dataclass(frozen=True, slots=True)
class Contents:
    """Which rows a segment is to hold, and of which moment.

    Attributes
    ----------
    bits
        How many rowids form a bucket, as a power of two.
    stamps
        The edit stamp of each bucket that has one.
    fingerprint
        The owners of the rows with some rowids.
    """

    table: str
    first: int
    last: int
    bits: int
    stamps: Mapping[int, int] = field(repr=False)
    fingerprint: Fingerprint = field(repr=False)


@dataclass(frozen=True)
class Segment(Contents):
    """A segment that exists.

    Attributes
    ----------
    path
        The file of its rows.
    rows, size, checksum
        The number of its rows; the length of the file in bytes, and its CRC-32.
    owners
        The least and the greatest owner, if they are known.
    held
        The columns that are not missing in all rows.
    has_bad_values
        Whether values that broke the rules are missing.
    """

    path: Path
    rows: int
    size: int
    checksum: int
    owners: tuple[str, str] | None = None
    held: frozenset[str] = field(default=frozenset(), repr=False)
    has_bad_values: bool = False

    def holds_owner(self, owners: Iterable[str]) -> bool:
        """Tell whether it may hold rows of any of some owners."""
        if self.owners is None:
            return True
        least, greatest = self.owners
        return any(least <= owner <= greatest for owner in owners)

    @cached_property
    def is_whole(self) -> bool:
        """Whether the file of its rows is what was written; the first look reads all of it."""
        try:
            return self.path.stat().st_size == self.size and checksum_of(self.path) == self.checksum
        except OSError:
            return False

    def remove(self) -> None:
        """Remove its files."""
        for path in (self.path.with_suffix(DESCRIPTION_ENDING), self.path):
            with contextlib.suppress(OSError):
                path.unlink()


def check(segments: Collection[Segment]) -> None:
    """Raise DamagedSegments unless the files are what was written; each is looked at once."""
    unchecked = [one for one in segments if "is_whole" not in vars(one)]
    if len(unchecked) > 1:
        with ThreadPoolExecutor() as threads:  # a checksum leaves the interpreter to others
            list(threads.map(lambda one: one.is_whole, unchecked))
    damaged = [one for one in segments if not one.is_whole]
    if damaged:
        raise DamagedSegments(damaged)


def checksum_of(path: Path) -> int:
    """Return the CRC-32 of a file."""
    checksum = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_READ_BYTES):
            checksum = zlib.crc32(piece, checksum)
    return checksum


def publish(connection: duckdb.DuckDBPyConnection, temporary: Path, contents: Contents, owner: str) -> None:
    """Give a finished file of rows its name, and describe it."""
    columns = connection.execute(_READ_COLUMNS, [str(temporary)]).fetchall()
    ((rows,),) = connection.execute(_READ_ROWS, [str(temporary)]).fetchall()
    description = asdict(contents) | {
        "stamps": list(contents.stamps.items()),
        "fingerprint": list(contents.fingerprint.items()),
        "rows": rows,
        "size": temporary.stat().st_size,
        "checksum": checksum_of(temporary),
        "owners": next(((least, most) for name, least, most, known, _ in columns if name == owner and known), None),
        "held": sorted(name for name, *_, is_held in columns if is_held),
        "has_bad_values": any(most != "0" for name, _, most, *_ in columns if name == "bad_values"),
    }
    path = temporary.with_suffix(ROWS_ENDING)
    draft = temporary.with_suffix(f"{DESCRIPTION_ENDING}{TEMPORARY_ENDING}")
    draft.write_bytes(_with_checksum(json.dumps(description).encode()))
    os.replace(temporary, path)  # noqa: PTH105 - the one call that is atomic everywhere
    os.replace(draft, path.with_suffix(DESCRIPTION_ENDING))  # noqa: PTH105


def _with_checksum(text: bytes) -> bytes:
    return b"%08x\n%s" % (zlib.crc32(text), text)


def described(description: Path) -> Segment | None:
    """Return the segment that a file describes; None if it is damaged."""
    try:
        checksum, _, text = description.read_bytes().partition(b"\n")
        if _with_checksum(text) != checksum + b"\n" + text:
            return None
        found: dict[str, Any] = json.loads(text)
        found["stamps"], found["fingerprint"] = dict(found["stamps"]), dict(found["fingerprint"])
        found["owners"] = None if found["owners"] is None else tuple(found["owners"])
        return Segment(**found | {"path": description.with_suffix(ROWS_ENDING), "held": frozenset(found["held"])})
    except OSError:
        return None
