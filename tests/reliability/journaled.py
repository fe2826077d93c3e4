"""Runs whose whole content follows from their note, journals of what was saved, and the check of one against the other.

Started processes import this module: it loads nothing but the store.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, Final

import finlab_nb as fl

LONG: Final = os.environ.get("FINLAB_NB_LONG") == "1"
_FIRST_DAY: Final = date(2020, 1, 1)


def processes() -> BaseContext:
    """Return a way to start processes that costs milliseconds: each is forked from a clean one that knows the store."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "finlab_nb.store", "finlab_nb.lab"])
    return context


def content(note: str, largest: int = 60) -> dict[str, Any]:
    """Return the arguments of `save_iteration` for a run with this note, with up to `largest` trades."""
    chance = random.Random(note)
    trades = []
    for day in range(chance.randint(1, largest)):
        entry, leave, size = chance.uniform(1, 1000), chance.uniform(1, 1000), float(chance.randrange(-1000, 1000))
        gain = (leave / entry - 1) * (1 if size >= 0 else -1)
        trades.append(
            {
                "stock_code": f"{chance.randrange(1000, 9999)} 台積電",
                "entry_date": (_FIRST_DAY + timedelta(days=day)).isoformat(),
                "exit_date": (_FIRST_DAY + timedelta(days=day + 7)).isoformat(),
                "entry_price": entry,
                "exit_price": leave,
                "position_size": size,
                "profit_loss": (leave - entry) * size,
                "trade_return": gain,
                "fees": chance.uniform(0, 10),
                "mae": min(gain, 0.0),
                "mfe": max(gain, 0.0),
                "multiplier": 1.0,
                "entry_reason": "訊號",
                "exit_reason": None,
                "extra": {"rank": day},
            }
        )
    equity = {
        (_FIRST_DAY + timedelta(days=day)).isoformat(): 1e6 + 1000 * day + chance.uniform(-1e4, 1e4)
        for day in range(chance.randint(1, 60))
    }
    capital = chance.uniform(9e5, 1.1e6)
    return {
        "trades": trades,
        "equity": equity,
        "metrics": {
            "annualized_return": chance.uniform(-0.5, 0.5),
            "sharpe_ratio": chance.gauss(0, 1),
            "max_drawdown": -chance.uniform(0, 0.01),
            "win_rate": chance.random(),
            "total_trades": len(trades),
        },
        "extra_metrics": {
            "sortino": chance.gauss(0, 1),
            "profit_factor": float("inf"),
            "total_return": [*equity.values()][-1] / capital - 1,
            "open_trades": 0.0,
        },
        "initial_capital": capital,
        "timezone": "Asia/Taipei",
        "currency": "TWD",
        "suggestions": [{"priority": "high", "description": f"after {note}", "learning_references": ["書", 1]}],
        "parameters": {"trades": len(trades), "equity": len(equity)},
        "tags": ["daily", note],
        "provenance": {
            **dict.fromkeys(("engine", "engine_version", "code_hash", "data_fingerprint", "host", "result_hash"), note),
            "packages": {"numpy": note},
            "seed": chance.getrandbits(63),
            "duration": chance.random(),
        },
        "note": note,
    }


def check_whole(loaded: dict[str, Any], largest: int = 60) -> None:
    """Check that `load_iteration` gave all that was saved under this note, and nothing else."""
    expected = content(loaded["note"], largest)
    expected["equity"] = [{"date": day, "equity": value} for day, value in expected["equity"].items()]
    suggestions = [one["description"] for one in loaded["suggestions"]]
    assert suggestions == [one["description"] for one in expected.pop("suggestions")], loaded["note"]
    for name, value in expected.items():
        assert loaded[name] == value, (loaded["note"], name)


class Journal:
    """One writer's list of the notes whose save has returned."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(exist_ok=True)
        self._file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def add(self, note: str) -> None:
        os.write(self._file, f"{note}\n".encode())

    def close(self) -> None:
        os.close(self._file)


def acknowledged(folder: Path) -> set[str]:
    """Return the notes in all journals."""
    return {note for path in folder.iterdir() for note in path.read_text().splitlines()}


def check_store(path: Path, journaled: Iterable[str], largest: int = 60) -> set[str]:
    """Check that a store which nobody uses is sound, holds every journaled run, and each run it holds is whole.

    Returns
    -------
    set of str
        The notes of the runs that it holds.
    """
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    ids = [key for (key,) in connection.execute("SELECT iteration_id FROM iterations")]
    connection.close()
    notes = []
    with fl.StorageManager(path) as store:
        for key in ids:
            run = store.load_iteration(key)
            check_whole(run, largest)
            notes.append(run["note"])
    stored = set(notes)
    assert len(notes) == len(stored), "a run was stored twice"
    assert set(journaled) <= stored, "an acknowledged run is lost"
    return stored


def wait_for(true: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def in_child(task: Callable[..., None], *arguments: Any) -> None:
    """Run a task in a process of its own; where it fails, fail with its traceback."""
    context = processes()
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_run, args=(there, task, arguments))
    child.start()
    there.close()
    try:
        failure = here.recv() if here.poll(120) else "it took more than two minutes"
    except EOFError:
        failure = "it died"
    here.close()
    if failure:
        child.kill()
    child.join()
    assert not failure, f"{failure} (exit status {child.exitcode})"


def _run(there: Connection, task: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    try:
        task(*arguments)
    except BaseException:
        there.send(traceback.format_exc())
    else:
        there.send(None)
