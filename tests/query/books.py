"""Books of runs for the tests of this folder, and the day of a stored date by plain Python."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import finlab_nb as fl

TRADE = {
    "stock_code": "2330",
    "entry_date": "2024-01-02",
    "exit_date": "2024-01-03",
    "entry_price": 1.5,
    "exit_price": 2.0,
    "position_size": 1,
    "profit_loss": 0.5,
}


def fill(lab: fl.Lab, runs: int = 60) -> str:
    """Save so many trades, 500 a run, that the reader copies them."""
    strategy = lab.store.save_strategy_version("a", "x")
    lab.store.save_iterations({"strategy_id": strategy, "trades": [TRADE] * 500} for _ in range(runs))
    return strategy


def day_of(stored: str | None, zone: str | None) -> date | None:
    """Return the day of a stored date: of a moment, the one in its zone."""
    if stored is None:
        return None
    found = datetime.fromisoformat(stored)
    if len(stored) > len("2024-01-31") and zone is not None:
        with contextlib.suppress(LookupError, ValueError):
            return found.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).date()
    return found.date()


def elsewhere(path: Path, *statements: str) -> None:
    """Change the database as another program would."""
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA foreign_keys = ON")
        for statement in statements:
            other.execute(statement)
        other.commit()
