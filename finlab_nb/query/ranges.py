"""Ranges of rowids: what segments leave open, and which are worth a segment of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from finlab_nb.query.segments import Segment
from finlab_nb.query.tables import BUCKET_BITS

Range: TypeAlias = tuple[int, int]

MERGED_ROWS: Final = 1 << 20  # segments of this size are merged no further
_MERGED_SEGMENTS: Final = 4
_MOST_PIECES: Final = 64


def gaps(segments: Iterable[Segment], first: int, last: int) -> Iterator[Range]:
    """Yield the ranges of rowids from first to last that no segment covers; segments come in order."""
    for segment in segments:
        if first < segment.first:
            yield first, min(segment.first - 1, last)
        first = max(first, segment.last + 1)
    if first <= last:
        yield first, last


def pieces(first: int, last: int) -> Iterator[Range]:
    """Part a range into some that are worth a segment: who asks for a few runs need not look into all.

    Not into ever so many, for another program may have left rowids that lie far apart.
    """
    step = max(MERGED_ROWS, -(-(last - first + 1) // _MOST_PIECES))
    for start in range(first, last + 1, step):
        yield start, min(start + step - 1, last)


def rows_of(bucket: int, segment: Segment) -> Range:
    """Return the rowids that a bucket and a segment have in common."""
    return max(bucket << BUCKET_BITS, segment.first), min(((bucket + 1) << BUCKET_BITS) - 1, segment.last)


def within(stamps: dict[int, int], first: int, last: int) -> dict[int, int]:
    """Return the stamps of the buckets of a range."""
    return {bucket: stamp for bucket, stamp in stamps.items() if first >> BUCKET_BITS <= bucket <= last >> BUCKET_BITS}


def worn(segment: Segment, stale: set[int]) -> bool:
    """Tell whether so much of a segment was edited that writing it anew pays."""
    return len(stale) > 16 and len(stale) << BUCKET_BITS > (segment.last - segment.first) // 4


def mergeable(segments: list[Segment]) -> Range | None:
    """Return the range of neighbouring small segments of like size, so that rows are rewritten a few times only."""
    run: list[Segment] = []
    for one in reversed(segments):
        size = one.last - one.first + 1
        if size >= MERGED_ROWS or (run and one.last + 1 != run[-1].first):
            break
        run.append(one)
        spans = [piece.last - piece.first + 1 for piece in run]
        if len(run) >= _MERGED_SEGMENTS and max(spans) < _MERGED_SEGMENTS * min(spans):
            return run[-1].first, run[0].last
    return None
