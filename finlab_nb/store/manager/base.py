"""What every part of the StorageManager has, and how its calls are timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from finlab_nb.store.pool import ConnectionPool
from finlab_nb.store.statistics import Timings

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Owner = TypeVar("Owner", bound="Base")


class Base:
    """The file, its connections, and how long the calls took."""

    path: Path
    pool: ConnectionPool
    timings: Timings


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
