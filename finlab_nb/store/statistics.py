"""How often a store is called, how long the calls take, how large its files are; cheap enough to be always on."""

from __future__ import annotations

import os
import threading
from collections import deque
from pathlib import Path
from typing import Final

_RECENT: Final = 1024  # the calls from which the 95th percentile is taken


class Timings:
    """Counts calls by operation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[str, tuple[int, float, deque[float]]] = {}  # how many, their seconds, those of the newest

    def __reduce__(self) -> tuple[type[Timings], tuple[()]]:
        """Start anew in a copy, which counts its own calls."""
        return Timings, ()

    def note(self, operation: str, seconds: float) -> None:
        """Count one call."""
        with self._lock:
            count, total, recent = self._calls.get(operation) or (0, 0.0, deque(maxlen=_RECENT))
            recent.append(seconds)
            self._calls[operation] = count + 1, total + seconds, recent

    def summary(self) -> dict[str, dict[str, float]]:
        """Return count, mean and p95 in seconds for each operation; p95 covers the newest 1,024 calls."""
        with self._lock:
            return {
                operation: {
                    "count": count,
                    "mean": total / count,
                    "p95": sorted(recent)[int(0.95 * len(recent))],
                }
                for operation, (count, total, recent) in self._calls.items()
            }


def size_of(path: Path | str) -> int:
    """Return the bytes of a file, 0 if there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - after every commit, and this is the fast way
    except OSError:
        return 0
