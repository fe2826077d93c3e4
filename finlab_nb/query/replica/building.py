"""Building: a child process copies rows to segments, beside whatever the kernel does meanwhile.

What it has finished stays, however it ends: the next kernel goes on from there.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from finlab_nb.errors import CacheWarning, ReaderError, StorageError, warn
from finlab_nb.query.reader import TableRequest, written
from finlab_nb.query.replica.folder import SegmentFolder
from finlab_nb.store.progress import ProgressBar

_LOCK_SECONDS: Final = 0.2
_POLL_SECONDS: Final = 0.1
_MOST_TRIES: Final = 2
_AGAIN_SECONDS: Final = 60.0  # after which building is tried again
_SHOWN_ERROR: Final = 2_000  # characters of what the child wrote to stderr


class Builder:
    """Begins buildings, one at a time, and takes note of what comes of them.

    Parameters
    ----------
    database
        The SQLite file.

    Attributes
    ----------
    building
        The one that is going on, if any.
    built
        The tables that may have new segments, until somebody has looked.
    """

    def __init__(self, database: Path) -> None:
        self.building: Building | None = None
        self.built: set[str] = set()
        self._database = database
        self._again = 0.0  # not before that time, because it failed
        self._has_warned = False

    def can_build(self) -> bool:
        """Tell whether building is worth a try, which it is not for a while after it failed."""
        return time.monotonic() >= self._again

    def begin(self, folder: SegmentFolder, requests: Sequence[TableRequest]) -> None:
        """Begin to copy, unless something is being copied."""
        if self.building is None and requests:
            self.building = Building(self._database, folder, requests)
            self._stop = weakref.finalize(self, self.building.stop)

    def look(self) -> bool:
        """Take note of what has been copied, and tell whether all has just been."""
        building = self.building
        if building is None:
            return False
        self.built |= building.new_tables()
        if not building.has_ended:
            return False
        self.building = None
        self._stop.detach()
        if building.error is not None:
            self.give_up(building.error)
        return building.error is None

    def give_up(self, error: Exception) -> None:
        """Do without for a while, and say so once."""
        self._again = time.monotonic() + _AGAIN_SECONDS
        if not self._has_warned:
            self._has_warned = True
            warn(
                f"the cache of {self._database} cannot be written, so more of the rows come from SQLite, which takes "
                f"time and memory: {error}",
                CacheWarning,
            )

    def end(self) -> None:
        """Stop what is going on, and wait for its end; it may be begun again."""
        building, self.building = self.building, None
        if building is not None:
            building.join()
        self.built.clear()
        self._again = 0.0


class Building:
    """The making of some segments, in a thread that ends with it.

    Parameters
    ----------
    database
        The SQLite file.
    folder
        Where the segments are to be.
    requests
        One for each table, the one that is waited for first.

    Attributes
    ----------
    error
        Why it failed, None if it did not.
    """

    def __init__(self, database: Path, folder: SegmentFolder, requests: Sequence[TableRequest]) -> None:
        self.error: Exception | None = None
        self.tables = frozenset(one.table.name for one in requests)
        self._database = database
        self._folder = folder
        self._requests = requests
        self._lock = threading.RLock()  # of what follows; a finalizer may stop it in the middle of its own thread
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False
        self._owner = os.getpid()
        self._left = {one.table.name: _rows(one) for one in requests}
        self._told: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="finlab_nb copies", daemon=True)
        self._thread.start()

    @property
    def process_id(self) -> int | None:
        """The child's process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def has_ended(self) -> bool:
        """Whether no more segments will come."""
        return self._ended.is_set()

    def new_tables(self) -> set[str]:
        """Return the tables that have been copied since this was last asked."""
        copied = {name for name, rows in self._left.items() if not rows or self.has_ended} - self._told
        self._told |= copied
        return copied

    def wait(self, tables: Collection[str] = ()) -> None:
        """Wait until some tables are copied, or nothing more will be; show how far it is if that takes long."""
        waited = {name for name in tables if self._left.get(name)} or self.tables
        total = self._rows_left(waited)
        with ProgressBar(f"copying {', '.join(sorted(waited))}", total, "rows", shown=True) as bar:
            while not self._ended.wait(_POLL_SECONDS) and (waited == self.tables or self._rows_left(waited)):
                bar.update(total - self._rows_left(waited) - bar.n)

    def stop(self) -> None:
        """End the child, if there is one and it is ours; what it has finished stays."""
        if os.getpid() != self._owner:  # a fork has it from its parent
            return
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def join(self) -> None:
        """Stop, and wait for the end of the thread."""
        self.stop()
        self._thread.join()

    def _rows_left(self, tables: Collection[str]) -> int:
        return sum(self._left[name] for name in tables)

    def _run(self) -> None:
        try:
            with contextlib.ExitStack() as locks:
                for name in sorted(self.tables):  # all take them in one order
                    lock = self._folder.lock(name)
                    while not lock.acquire(_LOCK_SECONDS):
                        if self._stopped:
                            return
                    locks.callback(lock.release)
                self._requests = [left for one in self._requests if (left := self._missing(one)).segments]
                if self._requests:
                    self._copy()
        except (StorageError, OSError) as error:
            self.error = error
        finally:
            self._ended.set()

    def _missing(self, request: TableRequest) -> TableRequest:
        """Leave out what another kernel has made while this one waited for the lock."""
        made = [(one.first, one.last, one.stamps, one.fingerprint) for one in self._folder.segments(request.table.name)]
        left = [
            (path, one)
            for path, one in request.segments
            if (one.first, one.last, one.stamps, one.fingerprint) not in made
        ]
        return replace(request, segments=left)

    def _copy(self) -> None:
        for _ in range(_MOST_TRIES):
            status, said = self._run_child()
            if status == 0 or self._stopped:
                return
            self._requests = [left for one in self._requests if (left := self._missing(one)).segments]
        how = f"failed: {said}" if status > 0 else f"was ended by signal {-status} each time. {said}"
        raise ReaderError(f"the process that copies rows of {self._database} {how}".strip())

    def _run_child(self) -> tuple[int, str]:
        """Run the child to its end, and return its exit status and what it wrote to stderr."""
        package_root = str(Path(__file__).parents[3])
        search_path = os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))
        environment = os.environ | {"PYTHONPATH": search_path, "PYTHONUTF8": "1"}
        command = [sys.executable, "-P", "-m", "finlab_nb.query.reader"]
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            with self._lock:
                if self._stopped:
                    return 0, ""
                self._process = process = subprocess.Popen(  # noqa: S603 - ourselves
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, env=environment
                )
            with process:
                assert process.stdin is not None  # noqa: S101
                assert process.stdout is not None  # noqa: S101
                with contextlib.suppress(OSError):  # it ended before it read all
                    process.stdin.write(written(self._database, self._requests))
                    process.stdin.close()
                for line in process.stdout:
                    with contextlib.suppress(ValueError):  # something that a library printed
                        name, rows = json.loads(line)
                        self._left[name] = max(0, self._left[name] - rows)
            said.seek(0)
            return process.returncode, said.read()[-_SHOWN_ERROR:].strip()


def _rows(request: TableRequest) -> int:
    return sum(contents.last - contents.first + 1 for _, contents in request.segments)
