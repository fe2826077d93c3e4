"""Records that wait to be stored, on disk where they are many: so the write lock never waits for their making."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from finlab_nb.records import Iteration
from finlab_nb.store.fsync import translated_os_errors

_BYTES_IN_MEMORY: Final = 200_000_000  # of trades and curves
_TRADE: Final = 400  # bytes of one, about
_POINT: Final = 100


class Spool(contextlib.ExitStack):
    """Records on disk, each found again by the place where it was put."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        with translated_os_errors(folder):
            self._file: IO[bytes] = self.enter_context(tempfile.TemporaryFile(dir=folder))  # noqa: SIM115
        self._folder = folder

    def put(self, record: object) -> int:
        """Keep a record and return its place."""
        with translated_os_errors(self._folder):
            place = self._file.seek(0, 2)
            pickle.dump(record, self._file, pickle.HIGHEST_PROTOCOL)
        return place

    def get(self, place: int) -> Any:
        """Return the record of a place."""
        with translated_os_errors(self._folder):
            self._file.seek(place)
            return pickle.load(self._file)  # noqa: S301 - nobody else can write to a file without a name


class Waiting(contextlib.ExitStack):
    """Iterations in the order in which they came: in memory, and from a size on in a temporary file.

    Parameters
    ----------
    folder
        Where the temporary file is made.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._bytes = 0
        self._held: list[Iteration | int] = []
        self._spool: Spool | None = None

    def add(self, iteration: Iteration) -> None:
        """Take one more."""
        self._bytes += _TRADE * len(iteration.trades) + _POINT * len(iteration.equity)
        if self._bytes > _BYTES_IN_MEMORY:
            self._spool = self._spool or self.enter_context(Spool(self._folder))
            self._held.append(self._spool.put(iteration))
        else:
            self._held.append(iteration)

    def __iter__(self) -> Iterator[Iteration]:
        for one in self._held:
            yield self._spool.get(one) if isinstance(one, int) and self._spool is not None else one  # type: ignore[misc]
