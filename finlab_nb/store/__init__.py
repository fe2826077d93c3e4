"""SQLite, the only writer: saves, loads and keeps what is stored."""

from finlab_nb.store.manager import StorageManager

__all__ = ["StorageManager"]
