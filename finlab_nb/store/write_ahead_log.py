"""The write-ahead log of one file: it goes back when it is long, when nobody writes any more, and at the end."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from finlab_nb.errors import StorageError
from finlab_nb.store.checkpoint import Checkpoints
from finlab_nb.store.connections import OpenConnections
from finlab_nb.store.idle_timer import IdleTimer

_IDLE_SECONDS: Final = 1.5
_log = logging.getLogger(__name__)


class WriteAheadLog:
    """Brings the log of a file back into it. It knows no pool, so that it keeps none alive.

    Parameters
    ----------
    path, connections
        Those of the pool.

    Attributes
    ----------
    queue
        Those who want to write: the first one asks for the lock of the file.
    """

    def __init__(self, path: Path, connections: OpenConnections) -> None:
        self._path = path
        self._connections = connections
        self.reset()

    def reset(self) -> None:
        """Start anew in a forked child: locks and threads belong to the parent."""
        self.queue = threading.RLock()
        self._checkpoints = Checkpoints(self._path)
        self._idle_timer = IdleTimer(_IDLE_SECONDS, self.bring_back_if_idle)

    def after_commit(self) -> None:
        """Copy it back if it has become long, else when nothing is committed for a while."""
        if self._checkpoints.due():
            with self.queue:
                self.bring_back()
        self.wait_for_idleness()

    def wait_for_idleness(self) -> None:
        """Copy it back when nothing is committed for a while."""
        self._idle_timer.restart()

    def stop(self) -> bool:
        """Stop waiting for idleness, and tell whether something may be left to be copied."""
        return self._idle_timer.stop()

    def hand_over(self, end: Callable[[], bool]) -> bool:
        """Have the thread that waits for idleness do this at once, and end; tell whether there is one."""
        return self._idle_timer.hand_over(end)

    def bring_back_if_idle(self) -> bool:
        """Copy it back unless somebody writes, and tell whether nothing is left to be copied."""
        if not self.queue.acquire(blocking=False):
            return False
        try:
            return self.bring_back()
        finally:
            self.queue.release()

    def bring_back(self) -> bool:
        """Copy it back into the file as far as others allow, and tell whether nothing is left to be copied."""
        try:
            with self._connections.lent("writer") as writer, self._connections.lent("writer") as copier:
                try:
                    return self._checkpoints.run(writer, copier)
                finally:
                    self._connections.shut(copier)  # it is wanted seldom
        except (sqlite3.Error, StorageError) as error:
            # The commit before succeeded, and that is all that its caller must learn. A later one tries again.
            level = logging.WARNING if isinstance(error, sqlite3.Error) else logging.DEBUG  # the file has gone
            _log.log(level, "the write-ahead log of %s could not be copied back yet", self._path, exc_info=True)
            return True
