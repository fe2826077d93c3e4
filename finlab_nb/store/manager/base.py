"""What every part of the StorageManager has."""

from __future__ import annotations

from pathlib import Path

from finlab_nb.store.pool import ConnectionPool
from finlab_nb.store.statistics import Timings


class Base:
    """The file, its connections, and how long the calls took."""

    path: Path
    pool: ConnectionPool
    timings: Timings
