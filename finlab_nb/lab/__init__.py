"""Lab: the one object that a notebook holds, one module for each subject of its methods."""

from __future__ import annotations

import copy
import os
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from finlab_nb.lab.curves import CurveAnswers
from finlab_nb.lab.iterations import IterationAnswers
from finlab_nb.lab.recording import RecordedResults
from finlab_nb.lab.sql import SqlAnswers
from finlab_nb.lab.trades import TradeAnswers
from finlab_nb.query.frames import Frames
from finlab_nb.query.replica.engine import Engine
from finlab_nb.records import arguments
from finlab_nb.store import StorageManager

if TYPE_CHECKING:
    from finlab_nb.widgets import Explorer


class Lab(RecordedResults, IterationAnswers, TradeAnswers, CurveAnswers, SqlAnswers):
    """A researcher's memory: saves through ``lab.store``, answers as DataFrames, shows widgets.

    Every DataFrame shows one moment of the database, the newest, including what other processes have written. An empty
    answer has the same columns and dtypes as a full one. The dtype ``str`` in the descriptions below is Arrow-backed
    text: ``str`` of pandas 3, ``string[pyarrow]`` of pandas 2. Values that another program wrote and that a save
    would refuse are missing; one BadDataWarning per answer counts them.

    A date of a trade, a curve or a series is a day, or a moment in UTC if the time zone of its market is known; without
    one it is as it was given. The day of a moment is the day in that zone: by it trades are narrowed and summed up, and
    returns computed. In SQL it is the column ``entry_day`` or ``exit_day`` of trades, ``day`` of equity and series.

    A lab that nobody holds any more closes itself, so that a cell with ``lab = fl.Lab(...)`` can be run again and
    again. ``lab.store`` and ``lab.frames`` go on by themselves where they are still held. `close` and ``with`` close at
    a known moment.

    A lab can be sent to other processes (multiprocessing, joblib, Dask) and copied: it is pickled as its path and
    arguments, and opens the database anew. ``":memory:"`` raises StorePicklingError, because it is private to its
    process; a closed lab raises StoreClosedError. A forked child may use it as well, and never removes
    what its parent made.

    Parameters
    ----------
    db_path
        One SQLite file, created and migrated as needed; ``":memory:"`` is a private temporary file, gone on close.
    cache_dir
        Where to put the folder ``<database>.cache`` of Parquet copies; by default beside the database. Deleting it
        loses nothing but time.
    pool_size
        How many threads may use the database at the same moment.
    timeout
        Seconds to wait for a free connection.

    Attributes
    ----------
    store : StorageManager
        What saves, loads, changes and removes.
    frames : Frames
        What answers the questions below.

    Raises
    ------
    StorageError
        If the database cannot be opened.
    ValueError
        If an argument is wrong.

    Examples
    --------
    >>> with Lab(":memory:") as lab:
    ...     momentum = lab.store.save_strategy_version("momentum", "signal = ...", {"lookback": 60})
    ...     iteration = lab.store.save_iteration(momentum, metrics={"sharpe_ratio": 1.1})
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
        self._explorers: list[weakref.ref[Explorer]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __copy__(self) -> Self:
        return copy.deepcopy(self)  # else closing one would close both

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_explorers": []}

    def __repr__(self) -> str:
        return f"Lab({str(self.store.path)!r})"

    def explore(self) -> Explorer:
        """Return the explorer: a table of iterations, and the curves, metrics and suggestions of those selected.

        Returns
        -------
        Explorer
            An ipywidget, shown if it is the last line of a cell; its controls are attributes. It holds what it shows
            of the lab until one of the two is closed, or its cell is run again.
        """
        from finlab_nb.widgets import Explorer

        explorer = Explorer(self.frames, self.store)
        self._explorers = [one for one in self._explorers if one() is not None] + [weakref.ref(explorer)]
        return explorer

    def close(self) -> None:
        """Close its explorers and all connections, and stop the reader. Closing twice is fine."""
        while self._explorers:
            if (explorer := self._explorers.pop()()) is not None:
                explorer.close()
        self._engine.close()
        self.store.close()
