"""Processes that have another SQLite than Python's own. It loads nothing else, so that it can choose first."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def run(library: str, module: str, task: str, *arguments: Any) -> None:
    """Run a function of a module in this new process, where `library` stands for `sqlite3`."""
    if library != "sqlite3":
        sys.modules["sqlite3"] = importlib.import_module(library)
        sys.modules["sqlite3.dbapi2"] = importlib.import_module(f"{library}.dbapi2")
    getattr(importlib.import_module(module), task)(*arguments)
