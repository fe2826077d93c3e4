"""What every part of the Lab has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finlab_nb.query.frames import Frames
    from finlab_nb.query.replica.engine import Engine
    from finlab_nb.store import StorageManager


class Base:
    """What saves, what answers, and the DuckDB behind it."""

    store: StorageManager
    frames: Frames
    _engine: Engine
