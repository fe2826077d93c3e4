"""The errors and warnings of finlab_nb.

Errors have one base class, and each is also the builtin that a caller would expect.
"""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Final

_PACKAGE_FOLDER: Final = f"{Path(__file__).parent}{os.sep}"


class StorageError(Exception):
    """The database, its file, the pool or the reader failed; the message says what to do."""


class StoreClosedError(StorageError):
    """The store was used after `close()`."""


class StorePicklingError(StorageError, pickle.PicklingError):
    """What belongs to this process only cannot be pickled or copied; the message says what to do instead."""


class PoolTimeoutError(StorageError, TimeoutError):
    """No connection, or no write lock, became free in time."""


class StrategyNotFoundError(StorageError, LookupError):
    """No strategy has this id."""


class IterationNotFoundError(StorageError, LookupError):
    """No iteration has this id."""


class SuggestionNotFoundError(StorageError, LookupError):
    """No suggestion has this id."""


class SeriesNotFoundError(StorageError, LookupError):
    """No series has this name."""


class SchemaChangedError(StorageError):
    """Another program has changed the tables of the database; the message names what differs."""


class ReaderError(StorageError):
    """The child process that reads the database for DuckDB could not start or failed."""


class QueryError(StorageError, ValueError):
    """DuckDB refused a query: its text or its parameters are wrong."""


class UpgradeWarning(UserWarning):
    """An older database was brought to today's schema, and figures in it have other values now."""


class BadDataWarning(UserWarning):
    """Values that another program wrote break the rules and are missing; `StorageManager.check()` lists them."""


class RetentionHeldWarning(UserWarning):
    """Old backups were kept, because a clock or the newest backup looks wrong; the message says how to go on."""


class NewerFormatWarning(UserWarning):
    """An export file has a newer minor version of the format, and fields that it adds were passed over."""


class CacheWarning(UserWarning):
    """The cache cannot be written or read: answers stay right, and take longer."""


class DroppedMetricsWarning(UserWarning):
    """Figures of a backtest that are no numbers, such as texts and times, were left out of the extra metrics."""


class ImplausibleDataWarning(UserWarning):
    """A value that may be stored is probably a mistake, such as percent where a fraction is meant."""


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the place of the call in the caller's code, however deep in the package this is."""
    frame, level = sys._getframe(1), 2  # noqa: SLF001 - the documented way to find a caller
    while is_ours(frame) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def is_ours(frame: FrameType) -> bool:
    """Tell whether a frame runs code of this package."""
    return frame.f_code.co_filename.startswith(_PACKAGE_FOLDER)
