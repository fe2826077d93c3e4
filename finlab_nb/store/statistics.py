"""How often a store is called, how long the calls take, how large its files are; cheap enough to be always on."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, Protocol, TypeVar

_RECENT: Final = 1024  # the calls from which the 95th percentile is taken

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Timings:
    """Counts calls by operation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._totals: dict[str, float] = {}
        self._recent: dict[str, deque[float]] = {}

    def __reduce__(self) -> tuple[type[Timings], tuple[()]]:
        """Start anew in a copy, which counts its own calls."""
        return Timings, ()

    def note(self, operation: str, seconds: float) -> None:
        """Count one call."""
        with self._lock:
            self._counts[operation] = self._counts.get(operation, 0) + 1
            self._totals[operation] = self._totals.get(operation, 0.0) + seconds
            self._recent.setdefault(operation, deque(maxlen=_RECENT)).append(seconds)

    def summary(self) -> dict[str, dict[str, float]]:
        """Return count, mean and p95 in seconds for each operation; p95 covers the newest 1,024 calls."""
        with self._lock:
            recent = {operation: sorted(seconds) for operation, seconds in self._recent.items()}
            return {
                operation: {
                    "count": count,
                    "mean": self._totals[operation] / count,
                    "p95": recent[operation][min(len(recent[operation]) - 1, int(0.95 * len(recent[operation])))],
                }
                for operation, count in self._counts.items()
            }


class Timed(Protocol):
    """An object that has timings."""

    timings: Timings


Owner = TypeVar("Owner", bound=Timed)


def timed(
    method: Callable[Concatenate[Owner, Arguments], Result],
) -> Callable[Concatenate[Owner, Arguments], Result]:
    """Note how long each call of a method takes, including failed ones."""

    @wraps(method)
    def call(self: Owner, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        started = time.perf_counter()
        try:
            return method(self, *args, **kwargs)
        finally:
            self.timings.note(method.__name__, time.perf_counter() - started)

    return call


def file_sizes(database: Path) -> dict[str, int]:
    """Return the bytes of the database and its write-ahead log."""
    sizes = {}
    for name, path in (("database", database), ("wal", database.with_name(database.name + "-wal"))):
        try:
            sizes[name] = path.stat().st_size
        except OSError:
            sizes[name] = 0
    return sizes
