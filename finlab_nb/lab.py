"""Lab: the one object that a notebook holds."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from finlab_nb.query.engine import Engine
from finlab_nb.query.exports import export_frames
from finlab_nb.query.frames import Frames
from finlab_nb.records import arguments
from finlab_nb.store import StorageManager

if TYPE_CHECKING:
    from finlab_nb.widgets import Explorer


class Lab:
    """A researcher's memory: saves through ``lab.store``, answers as DataFrames, shows widgets.

    Every DataFrame shows the newest moment of the database, also of what other processes have written, and one
    moment only.

    Parameters
    ----------
    db_path
        One SQLite file, created and migrated as needed.
    cache_dir
        Where the folder ``<database>.cache`` for Parquet copies goes; by default beside the database. Deleting it loses
        nothing but time.
    pool_size, timeout
        As in `StorageManager`.

    Raises
    ------
    StorageError
        If the database cannot be opened.

    Examples
    --------
    >>> with Lab(":memory:") as lab:
    ...     momentum = lab.store.save_strategy_version("momentum", "signal = ...", {"lookback": 60})
    ...     run = lab.store.save_iteration(momentum, metrics={"sharpe_ratio": 1.1})
    ...     lab.iterations()["sharpe_ratio"].tolist()
    [1.1]
    """

    def __init__(
        self,
        db_path: str | os.PathLike[str],
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        pool_size: int = 5,
        timeout: float = 5.0,
    ) -> None:
        cache = None if cache_dir is None else arguments.path("cache_dir", cache_dir, "folder")
        self.store = StorageManager(db_path, pool_size, timeout)
        self._engine = Engine(self.store.pool, cache)
        self.frames = Frames(self._engine)
        self.strategies = self.frames.strategies
        self.iterations = self.frames.iterations
        self.best = self.frames.best
        self.progress = self.frames.progress
        self.metrics = self.frames.metrics
        self.trades = self.frames.trades
        self.by_stock = self.frames.by_stock
        self.by_period = self.frames.by_period
        self.equity = self.frames.equity
        self.returns = self.frames.returns
        self.suggestions = self.frames.suggestions
        self.sql = self.frames.sql
        self.relation = self.frames.relation

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Lab({str(self.store.path)!r})"

    def export_frames(
        self,
        directory: str | os.PathLike[str],
        tables: str | Iterable[str] | None = None,
        format: str = "parquet",  # noqa: A002 - the word that pandas users expect
        where: str | None = None,
        *,
        partition_by: str | None = None,
        progress: bool = True,
    ) -> list[Path]:
        """Write tables to files, all of one moment, and return their paths; see `query.exports.export_frames`."""
        return export_frames(
            self.frames, directory, tables, format, where, partition_by=partition_by, progress=progress
        )

    def cache_info(self) -> dict[str, Any]:
        """Return what the Parquet cache holds at this moment.

        Returns
        -------
        dict
            folder (Path) and whether it is temporary, because the one beside the database cannot be written;
            generation, to which its segments belong; bytes; segments (by table: their number), delta_rows (by table:
            rows that no segment holds yet) and reader_process (id, None while no reader runs).
        """
        return self._engine.cache_info()

    def clear_cache(self) -> None:
        """Remove the Parquet cache, which loses nothing but time: the next question builds it anew."""
        self._engine.clear_cache()

    def explore(self) -> Explorer:
        """Return the explorer: a table of iterations, and the curves, metrics and suggestions of those selected."""
        from finlab_nb.widgets import Explorer

        return Explorer(self.frames, self.store)

    def close(self) -> None:
        """Stop the reader and close all connections. Closing twice is fine."""
        self._engine.close()
        self.store.close()
