"""StorageManager: what a researcher saves, loads, changes and removes, one module for each."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator
from typing import Self

from finlab_nb.records import arguments
from finlab_nb.store import saving, upgrade
from finlab_nb.store.connection import callers_code
from finlab_nb.store.forks import TemporaryFolder
from finlab_nb.store.manager.changes import Changes
from finlab_nb.store.manager.exchange import Exchange
from finlab_nb.store.manager.loads import Loads
from finlab_nb.store.manager.saves import Saves
from finlab_nb.store.manager.upkeep import Upkeep
from finlab_nb.store.pool import ConnectionPool
from finlab_nb.store.statistics import Timings
from finlab_nb.store.watch import SchemaWatch


class StorageManager(Saves, Loads, Changes, Exchange, Upkeep):
    """The store of strategies and their iterations in one SQLite file, safe for threads and processes.

    A store that nobody holds any more closes itself; `close` and ``with`` do so at a known moment.

    A store can be sent to other processes (multiprocessing, joblib, Dask) and copied: it is pickled as its path and
    arguments, and opens connections of its own. ``":memory:"`` raises StorePicklingError, because it is private to its
    process; a closed store raises StoreClosedError. A forked child may use it as well, and never removes
    what its parent made.

    Parameters
    ----------
    db_path
        The database file, created and migrated as needed; ``":memory:"`` is a private temporary file, gone on close.
    pool_size
        How many threads may use the database at the same moment.
    timeout
        Seconds to wait for a free connection. (A save waits up to a minute for the write lock.)

    Raises
    ------
    StorageError
        If the file cannot be opened, comes from a newer release or belongs to another program.
    SchemaChangedError
        If another program has changed its tables so that they cannot be relied on.
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> with StorageManager(":memory:") as store:
    ...     momentum = store.save_strategy_version("momentum", "signal = ...", {"lookback": 60})
    ...     iteration = store.save_iteration(momentum, metrics={"sharpe_ratio": 1.1}, tags=["daily"])
    ...     store.load_iteration(iteration)["metrics"]["sharpe_ratio"]
    1.1
    """

    def __init__(self, db_path: str | os.PathLike[str], pool_size: int = 5, timeout: float = 5.0) -> None:
        self.path = arguments.path("db_path", db_path)
        size = arguments.whole("pool_size", pool_size, 1)
        patience = arguments.quantity("timeout", timeout, "seconds", infinite=True)
        folder = TemporaryFolder("memory") if os.fspath(db_path) == ":memory:" else None
        if folder is not None:
            self.path = folder.path / "memory.db"
        self.pool = ConnectionPool(self.path, size, patience, upgrade.prepare, SchemaWatch(self.path), folder)
        self.timings = Timings()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __copy__(self) -> Self:
        return copy.deepcopy(self)  # else closing one would close both

    def __repr__(self) -> str:
        return f"StorageManager({str(self.path)!r})"

    def close(self) -> None:
        """Close all connections; every later call raises StoreClosedError. Closing twice is fine."""
        self.pool.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Self]:
        """Put everything inside into one transaction: all of it is stored, or nothing.

        It belongs to this thread and asyncio task: what others save meanwhile waits for its end. Inside another
        transaction of the same thread and task it is a savepoint, which can fail alone. Nothing is durable before the
        outermost one has ended.

        Yields
        ------
        StorageManager
            This one.

        Raises
        ------
        StorageError
            If the store is closed, the database cannot be written, another program or task is in a transaction that
            does not end, or this is left by another thread or task than entered it; then nothing is stored.

        Examples
        --------
        >>> with StorageManager(":memory:") as store, store.transaction():
        ...     parent = store.save_strategy_version("momentum", "v1")
        ...     child = store.save_strategy_version("momentum", "v2", parent_strategy_id=parent)
        """
        with saving.writing(self.pool), callers_code():
            yield self
