"""Compaction: which ranges of rowids are worth a segment of their own, and when segments are rewritten or merged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from finlab_nb.query.ranges import Range
from finlab_nb.query.segments import Segment
from finlab_nb.store.triggers import BUCKET_BITS

MERGED_ROWS: Final = 1 << 20  # segments of this size are merged no further
_MERGED_SEGMENTS: Final = 4
_MOST_PARTS: Final = 64


def partition(first: int, last: int) -> Iterator[Range]:
    """Part a range into some that are worth a segment: who asks for a few iterations need not look into all.

    Not into ever so many, for another program may have left rowids that lie far apart.
    """
    step = max(MERGED_ROWS, -(-(last - first + 1) // _MOST_PARTS))
    for start in range(first, last + 1, step):
        yield start, min(start + step - 1, last)


def needs_rewrite(segment: Segment, stale: set[int]) -> bool:
    """Tell whether so much of a segment was edited that writing it anew pays."""
    return len(stale) > 16 and len(stale) << BUCKET_BITS > (segment.last - segment.first) // 4


def mergeable(segments: list[Segment]) -> Range | None:
    """Return the range of neighbouring small segments of like size, so that rows are rewritten a few times only."""
    chosen: list[Segment] = []
    for one in reversed(segments):
        size = one.last - one.first + 1
        if size >= MERGED_ROWS or (chosen and one.last + 1 != chosen[-1].first):
            break
        chosen.append(one)
        spans = [segment.last - segment.first + 1 for segment in chosen]
        if len(chosen) >= _MERGED_SEGMENTS and max(spans) < _MERGED_SEGMENTS * min(spans):
            return chosen[-1].first, chosen[0].last
    return None
