"""Milliseconds: of one call, of several, and of two that take turns, so that both meet the same machine."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from statistics import median
from typing import Any


def milliseconds(call: Callable[[], Any]) -> float:
    """Return how long a call takes. What it returns is let go of outside the clock."""
    started = time.perf_counter()
    answer = call()
    elapsed = (time.perf_counter() - started) * 1000
    del answer
    return elapsed


def typical(measure: Callable[[], float], repeats: int, *, warm_up: int = 1) -> float:
    """Return the median of several measurements."""
    for _ in range(warm_up):
        measure()
    return median(measure() for _ in range(repeats))


def side_by_side(
    ours: Callable[[], float], baseline: Callable[[], float], repeats: int, *, warm_up: int = 1
) -> tuple[float, float]:
    """Return the medians of two measurements that take turns."""
    for _ in range(warm_up):
        ours()
        baseline()
    pairs = []
    for _ in range(repeats):
        gc.collect()
        pairs.append((ours(), baseline()))
    first, second = zip(*pairs, strict=True)
    return median(first), median(second)
