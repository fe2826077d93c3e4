"""Ranges of rowids: those that segments leave open, and those that a bucket and a segment have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from finlab_nb.query.replica.segment_files import Segment

Range: TypeAlias = tuple[int, int]


def gaps(segments: Iterable[Segment], first: int, last: int) -> Iterator[Range]:
    """Yield the ranges of rowids from first to last that no segment covers; the segments must be in order."""
    for segment in segments:
        if first < segment.first and first <= last:
            yield first, min(segment.first - 1, last)
        first = max(first, segment.last + 1)
    if first <= last:
        yield first, last


def bucket_range(bucket: int, bits: int) -> Range:
    """Return the rowids of a bucket of so many bits."""
    return bucket << bits, ((bucket + 1) << bits) - 1


def common(one: Range, other: Range) -> Range:
    """Return the rowids that two ranges have in common; the last is before the first if there are none."""
    return max(one[0], other[0]), min(one[1], other[1])


def joined(buckets: Iterable[int], bits: int) -> list[Range]:
    """Return buckets as ranges of rowids, with neighbours joined."""
    ranges: list[Range] = []
    for first, last in (bucket_range(bucket, bits) for bucket in sorted(buckets)):
        if ranges and ranges[-1][1] + 1 == first:
            first = ranges.pop()[0]
        ranges.append((first, last))
    return ranges


def within(stamps: Mapping[int, int], first: int, last: int, bits: int) -> dict[int, int]:
    """Return the stamps of the buckets of a range."""
    return {bucket: stamp for bucket, stamp in stamps.items() if first >> bits <= bucket <= last >> bits}
