"""Requests: what the child is told to copy."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from finlab_nb.query.reader import RAW_ROWS, TableRequest
from finlab_nb.query.replica.compaction import partition
from finlab_nb.query.replica.folder import SegmentFolder
from finlab_nb.query.replica.ranges import Range, within
from finlab_nb.query.replica.segment_files import Contents
from finlab_nb.query.replica.segments import fingerprint_of
from finlab_nb.query.replica.store_state import StoreState, have_rows
from finlab_nb.query.tables import TABLES, Column, Known, Table

_MOST_SCANNED: Final = 1 << 23  # rows of a table that the child copies in one piece, in about 12 s


def request(
    source: sqlite3.Connection,
    state: StoreState,
    folder: SegmentFolder,
    name: str,
    ranges: Sequence[Range],
    zones: Sequence[str],
) -> TableRequest:
    """Return the request for segments of some ranges of a table, whose dates may be in these zones.

    What it says of the rows is read before they are, so that an edit in between makes them stale.
    """
    table, ends = TABLES[name], state.ends[name] or (0, 0)
    parts = [part for one in ranges for part in partition(*one, lambda *ends: have_rows(source, table, *ends))]
    copied = sum(last - first + 1 for first, last in parts)
    columns = tuple(Column(column.name, column.kind) for column in table.columns)
    return TableRequest(
        Table(name, table.owner, columns, table.key, table.zones if zones else None),
        table.typed_rows(RAW_ROWS, Known(zones=zones)),
        is_scan=copied <= _MOST_SCANNED and copied * 2 > ends[1] - ends[0],
        segments=[(str(folder.new_path(name)), _contents(source, state, table, part)) for part in parts],
    )


def _contents(source: sqlite3.Connection, state: StoreState, table: Table, part: Range) -> Contents:
    return Contents(
        table.name,
        *part,
        bits=table.bucket_bits,
        stamps=within(state.stamps[table.name], *part, table.bucket_bits),
        fingerprint=fingerprint_of(source, table, *part),
    )
