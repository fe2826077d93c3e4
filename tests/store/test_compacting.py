"""Compacting gives space back in place: nothing is lost, nobody who reads is disturbed, and nothing else changes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

import finlab_nb as fl
from finlab_nb.records.tables import TABLES
from finlab_nb.store import compacting, progress

TRADE = {"stock_code": "2330", "entry_date": "2024-01-02", "entry_price": 1.0, "position_size": 1.0}
CURVE = pd.Series(1e6, index=pd.date_range("2020-01-01", periods=1000))


@pytest.fixture
def kept(store: fl.StorageManager) -> list[str]:
    """Fill the store, delete every other strategy and three of four iterations, and return those that are left."""
    strategies = [store.save_strategy_version(f"momentum {i}", f"signal = close.shift({i})") for i in range(8)]
    runs = {}
    for strategy in strategies:
        arguments = {"strategy_id": strategy, "trades": [TRADE] * 500, "equity": CURVE, "tags": ["a"]}
        runs[strategy] = store.save_iterations(arguments for _ in range(8))
    for strategy in strategies[1::2]:
        store.delete_strategy(strategy, cascade=True)
    for strategy in strategies[::2]:
        for run in runs[strategy][1:7]:
            store.delete_iteration(run)
    return [run for strategy in strategies[::2] for run in runs[strategy][::7]]


def rowids(store: fl.StorageManager) -> dict[str, list[int]]:
    with store.pool.read() as connection:
        return {name: [row for (row,) in connection.execute(f"SELECT rowid FROM {name}")] for name in TABLES}


def generation(store: fl.StorageManager) -> str:
    with store.pool.read() as connection:
        return connection.execute("SELECT generation FROM store_state").fetchone()[0]


def test_compacting_gives_the_space_of_deleted_iterations_back(store: fl.StorageManager, kept: list[str]) -> None:
    loaded = [store.load_iteration(run) for run in kept]
    with store.pool.read() as connection:
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    found = store.compact()
    assert found["pending"] == 0
    assert found["freed"] > pages * size / 3
    assert store.path.stat().st_size == pages * size - found["freed"]
    assert [store.load_iteration(run) for run in kept] == loaded
    assert store.compact() == {"freed": 0, "pending": 0}
    with contextlib.closing(sqlite3.connect(store.path)) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_rows_keep_the_numbers_by_which_caches_and_the_search_index_know_them(
    store: fl.StorageManager, kept: list[str]
) -> None:
    before, first = rowids(store), generation(store)
    assert max(before["strategies"]) > len(before["strategies"])
    assert store.compact()["freed"] > 0
    assert rowids(store) == before
    assert generation(store) == first
    assert [one["name"] for one in store.search_strategies("shift(4)")] == ["momentum 4"]


def test_caches_and_the_search_index_are_built_anew_if_rows_got_other_numbers(
    store: fl.StorageManager, kept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compacting, "_ROWIDS", "SELECT random()")  # no SQLite that is known renumbers them
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("INSERT INTO strategies_search (strategies_search) VALUES ('delete-all')")
    first = generation(store)
    assert store.search_strategies("shift(4)") == []
    store.compact()
    assert generation(store) != first
    assert [one["name"] for one in store.search_strategies("shift(4)")] == ["momentum 4"]


def test_a_reader_keeps_its_moment_and_delays_what_comes_back(store: fl.StorageManager, kept: list[str]) -> None:
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN")
        before = other.execute("SELECT trade_id, iteration_id FROM trades").fetchall()
        size = store.path.stat().st_size
        found = store.compact()
        assert store.path.stat().st_size == size
        assert 0 < found["pending"] <= found["freed"]
        assert other.execute("SELECT trade_id, iteration_id FROM trades").fetchall() == before
        other.execute("COMMIT")
        assert store.compact() == {"freed": 0, "pending": 0}
        assert store.path.stat().st_size == size - found["pending"]
        assert other.execute("SELECT trade_id, iteration_id FROM trades").fetchall() == before


def test_compacting_inside_a_transaction_is_refused_at_once(store: fl.StorageManager, kept: list[str]) -> None:
    size = store.path.stat().st_size
    with store.transaction():
        store.annotate(kept[0], starred=True)
        with pytest.raises(fl.StorageError, match="cannot run within a transaction of this process itself"):
            store.compact()
    assert store.path.stat().st_size == size
    assert store.load_iteration(kept[0])["starred"]
    assert store.compact()["freed"] > 0


def test_threads_of_this_process_save_while_it_is_compacted(store: fl.StorageManager, kept: list[str]) -> None:
    strategy = store.load_iteration(kept[0])["strategy_id"]
    saved: list[str] = []
    ready, end = threading.Event(), threading.Event()

    def save() -> None:
        while not end.is_set():
            run = store.save_iteration(strategy, trades=[TRADE] * 100)
            if len(saved) % 2:
                store.delete_iteration(saved.pop())
            saved.append(run)
            ready.set()

    thread = threading.Thread(target=save)
    thread.start()
    ready.wait(60)
    for _ in range(5):
        store.compact()
    end.set()
    thread.join()
    assert {len(store.load_iteration(run)["trades"]) for run in saved} == {100}


# A large one ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def large(store: fl.StorageManager) -> fl.StorageManager:
    """Return a store of 200 MB, of which 10 MB are free."""
    strategy = store.save_strategy_version("momentum", "x")
    runs = store.save_iterations({"strategy_id": strategy, "note": f"{i:07}" * 150_000} for i in range(200))
    for run in runs[::20]:
        store.delete_iteration(run)
    return store


@pytest.mark.slow
def test_the_bar_moves_while_a_large_store_is_compacted(
    large: fl.StorageManager, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_QUIET_SECONDS", 0.0)
    monkeypatch.setattr(compacting, "_POLL_SECONDS", 0.005)
    assert large.compact()["freed"] > 10_000_000
    shown = [int(percent) for percent in re.findall(r"(\d+)%", capsys.readouterr().err)]
    assert shown == sorted(shown)
    assert len(set(shown)) >= 4
    large.save_iteration(large.find_strategies("momentum")[0]["strategy_id"], note="n" * 10_000_000)
    large.delete_iteration(
        large.load_strategy_history(large.find_strategies("momentum")[0]["strategy_id"])[-1]["iteration_id"]
    )
    large.compact(progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_the_stop_button_ends_it_and_leaves_everything_as_it_was(large: fl.StorageManager) -> None:
    size = large.path.stat().st_size
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        large.compact()
        time.sleep(5)  # a machine that was faster
    timer.join()
    assert large.path.stat().st_size <= size
    assert large.pool.in_use == 0
    strategy = large.find_strategies("momentum")[0]["strategy_id"]
    assert len(large.load_strategy_history(strategy)) == 190
    large.save_iteration(strategy)
    large.compact()
    assert large.path.stat().st_size < size - 10_000_000


def test_the_folder_of_temporary_files_is_the_one_that_sqlite_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compacting, "_TEMPORARY", (None, str(tmp_path / "missing"), str(tmp_path), "/"))
    if os.name != "nt":
        assert compacting._temporary_folder() == tmp_path
