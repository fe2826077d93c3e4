"""Compaction: which ranges of rowids are worth a segment of their own, and when segments are rewritten or merged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from finlab_nb.query.replica.copies import Copy
from finlab_nb.query.replica.ranges import Range
from finlab_nb.query.replica.segment_files import Segment

MERGED_ROWS: Final = 1 << 20  # segments of this size are not merged further
_MERGED_SEGMENTS: Final = 4
_MOST_PARTS: Final = 256


def partition(first: int, last: int, has_rows: Callable[[int, int], bool]) -> Iterator[Range]:
    """Split a range into parts worth a segment each: a question about a few iterations need not look into all of them.

    Their number is limited, and those without rows belong to the next one, because another program may have left
    rowids that are far apart.
    """
    step = max(MERGED_ROWS, -(-(last - first + 1) // _MOST_PARTS))
    begun = first
    for start in range(first, last + 1, step):
        end = min(start + step - 1, last)
        if end == last or has_rows(start, end):
            yield begun, end
            begun = end + 1


def due(copy: Copy) -> list[Range]:
    """Return the ranges that are worth a new segment."""
    for segment, stale in copy.shown_segments:
        if needs_rewrite(segment, stale):
            return [(segment.first, segment.last)]
    sealed = copy.segments[-1].last if copy.segments else 0
    if copy.seen - sealed >= copy.table.sealed_rows:
        return [(sealed + 1, copy.seen)]
    merged = mergeable(copy.segments)
    return [] if merged is None else [merged]


def needs_rewrite(segment: Segment, stale: set[int]) -> bool:
    """Tell whether enough of a segment was edited to make rewriting it worthwhile."""
    return len(stale) > 16 and len(stale) << segment.bits > (segment.last - segment.first) // 4


def mergeable(segments: Sequence[Segment]) -> Range | None:
    """Return the range of a series of small segments of similar size, so that rows are rewritten only a few times."""
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
