"""finlab_nb remembers every strategy version and every backtest, and answers questions about them as DataFrames."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from finlab_nb.errors import (
    BadDataWarning,
    CacheWarning,
    DroppedMetricsWarning,
    ImplausibleDataWarning,
    IterationNotFoundError,
    NewerFormatWarning,
    PoolTimeoutError,
    QueryError,
    ReaderError,
    RetentionHeldWarning,
    SchemaChangedError,
    SeriesNotFoundError,
    StorageError,
    StoreClosedError,
    StorePicklingError,
    StrategyNotFoundError,
    SuggestionNotFoundError,
    UpgradeWarning,
)

if TYPE_CHECKING:
    from finlab_nb.lab import Lab
    from finlab_nb.store import StorageManager
    from finlab_nb.store.backup import BackupScheduler, restore_backup

__version__ = "0.1.0"

__all__ = [
    "BackupScheduler",
    "BadDataWarning",
    "CacheWarning",
    "DroppedMetricsWarning",
    "ImplausibleDataWarning",
    "IterationNotFoundError",
    "Lab",
    "NewerFormatWarning",
    "PoolTimeoutError",
    "QueryError",
    "ReaderError",
    "RetentionHeldWarning",
    "SchemaChangedError",
    "SeriesNotFoundError",
    "StorageError",
    "StorageManager",
    "StoreClosedError",
    "StorePicklingError",
    "StrategyNotFoundError",
    "SuggestionNotFoundError",
    "UpgradeWarning",
    "__version__",
    "restore_backup",
]

_LOADED_ON_USE = {
    "BackupScheduler": "finlab_nb.store.backup",
    "Lab": "finlab_nb.lab",
    "StorageManager": "finlab_nb.store",
    "restore_backup": "finlab_nb.store.backup",
}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_ON_USE:
        raise AttributeError(f"module 'finlab_nb' has no attribute {name!r}")
    return getattr(import_module(_LOADED_ON_USE[name]), name)


def __dir__() -> list[str]:
    return __all__
