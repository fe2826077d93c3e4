"""Ranges of rowids: those that segments leave open, and those that a bucket and a segment have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from finlab_nb.query.segments import Segment
from finlab_nb.store.triggers import BUCKET_BITS

Range: TypeAlias = tuple[int, int]


def gaps(segments: Iterable[Segment], first: int, last: int) -> Iterator[Range]:
    """Yield the ranges of rowids from first to last that no segment covers; the segments must be in order."""
    for segment in segments:
        if first < segment.first:
            yield first, min(segment.first - 1, last)
        first = max(first, segment.last + 1)
    if first <= last:
        yield first, last


def rows_of(bucket: int, segment: Segment) -> Range:
    """Return the rowids that a bucket and a segment have in common."""
    return max(bucket << BUCKET_BITS, segment.first), min(((bucket + 1) << BUCKET_BITS) - 1, segment.last)


def within(stamps: dict[int, int], first: int, last: int) -> dict[int, int]:
    """Return the stamps of the buckets of a range."""
    return {bucket: stamp for bucket, stamp in stamps.items() if first >> BUCKET_BITS <= bucket <= last >> BUCKET_BITS}
