"""kill -9 in the middle of saving loses nothing that was acknowledged and keeps nothing that was not whole."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

import finlab_nb as fl

WRITER = """
import sys, finlab_nb as fl
store, strategy = fl.StorageManager(sys.argv[1]), sys.argv[2]
trade = dict(stock_code="台積電", entry_date="2024-01-02", exit_date="2024-01-03", entry_price=1.0, exit_price=2.0,
             position_size=1, profit_loss=1.0)
equity = {f"20{year:02d}-01-{day:02d}": 100.0 + day for year in range(10) for day in range(1, 21)}
while True:
    run = store.save_iteration(strategy, trades=[trade] * 300, equity=equity, tags=["a", "b"],
                               suggestions=[{"priority": "high", "description": "x"}])
    print(run, flush=True)
"""
WHOLE = {"trades": 300, "equity": 200, "tags": 2, "suggestions": 1, "metrics": 1}


@pytest.mark.reliability
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_kill_in_the_middle_of_a_save(tmp_path: Path) -> None:
    path, chance = tmp_path / "a.db", random.Random(20240102)
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("a", "x")
    acknowledged: list[str] = []
    for _ in range(int(os.environ.get("FINLAB_NB_KILLS", "6"))):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), strategy], stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        assert writer.stdout is not None
        acknowledged.append(writer.stdout.readline().strip())
        time.sleep(chance.uniform(0, 0.1))
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate()
        acknowledged += [line for line in rest.splitlines() if len(line) == 36]
    with fl.StorageManager(path) as store:
        stored = [run["iteration_id"] for run in store.load_strategy_history(strategy)]
        store.save_iteration(strategy)
    assert set(acknowledged) <= set(stored)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    for table, count in WHOLE.items():
        found = dict(connection.execute(f"SELECT iteration_id, count(*) FROM {table} GROUP BY 1"))
        assert {found.get(run, 0) for run in stored} == {count}, table
    connection.close()
