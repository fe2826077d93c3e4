"""Every answer is of the newest moment, and of one moment only, whoever writes."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import finlab_nb as fl
from books import TRADE, fill
from finlab_nb.query.replica.building import Building

OTHER = """
import sys, finlab_nb as fl
with fl.StorageManager(sys.argv[1]) as store:
    trade = dict(stock_code="鴻海", entry_date="2024-05-02", exit_date=None, entry_price=100.25, exit_price=101.0,
                 position_size=-2.5, profit_loss=None)
    print(store.save_iteration(sys.argv[2], trades=[trade] * 3, parameters={"lookback": 90}, tags=["other"]))
"""


def test_the_next_question_contains_what_another_process_has_saved(lab: fl.Lab) -> None:
    strategy = fill(lab, 1)
    assert len(lab.iterations()) == 1
    assert len(lab.trades()) == 500
    finished = subprocess.run(
        [sys.executable, "-c", OTHER, str(lab.store.path), strategy], capture_output=True, text=True, check=True
    )
    run = finished.stdout.strip()
    runs, trades = lab.iterations(), lab.trades()
    assert runs["iteration_id"].tolist()[-1] == run
    assert runs.iloc[-1]["param.lookback"] == 90
    assert runs.iloc[-1]["tags"] == "other"
    assert (trades["iteration_id"] == run).sum() == 3
    assert trades.iloc[-1][["stock_code", "entry_price", "position_size"]].tolist() == ["鴻海", 100.25, -2.5]
    assert trades.iloc[-1][["exit_date", "profit_loss"]].isna().all()


def _compare(lab: fl.Lab) -> None:
    """Hold every table against what plain SQLite says."""
    connection = sqlite3.connect(lab.store.path)
    try:
        for table, key in (
            ("trades", "trade_id"),
            ("equity", "equity_id"),
            ("suggestions", "suggestion_id"),
            ("metrics", "metric_id"),
            ("iterations", "iteration_id"),
            ("strategies", "strategy_id"),
            ("tags", "iteration_id, tag"),
            ("extra_metrics", "iteration_id, name"),
            ("provenance", "iteration_id"),
        ):
            floats = [name for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})") if kind == "REAL"]
            texts = [
                name
                for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})")
                if kind == "TEXT"
                and name not in ("created_at", "timestamp", "changed_at", "entry_date", "exit_date", "date")
            ]
            columns = ", ".join([*texts, *floats])
            expected = connection.execute(f"SELECT {columns} FROM {table} ORDER BY {key}").fetchall()
            answer = lab.sql(f"SELECT {columns} FROM {table} ORDER BY {key}")
            found = [
                tuple(None if pd.isna(value) else value for value in row) for row in answer.itertuples(index=False)
            ]
            assert found == expected, table
    finally:
        connection.close()


@pytest.mark.slow
def test_edits_deletions_and_replacements_by_any_program_are_seen(lab: fl.Lab) -> None:
    strategy = fill(lab)
    runs = lab.iterations()["iteration_id"].tolist()
    lab._engine.settle()
    assert lab._engine.segments()  # there is something that could be stale
    lab.store.annotate(runs[0], starred=True, note="筆記", add_tags=["x"])
    _compare(lab)
    lab.store.delete_iteration(runs[3])
    lab.store.delete_iteration(runs[-1])
    _compare(lab)
    lab.store.save_iteration(strategy, trades=[{**TRADE, "entry_price": 1 / 3}] * 7, tags=["y", "z"])
    _compare(lab)
    other = sqlite3.connect(lab.store.path)
    for statement in (
        "UPDATE trades SET profit_loss = -7.125 WHERE trade_id = 20000",
        "DELETE FROM trades WHERE trade_id BETWEEN 9000 AND 9999",
        "INSERT OR REPLACE INTO trades (trade_id, iteration_id, stock_code) "
        "SELECT 15, iteration_id, 'new' FROM trades LIMIT 1",
        "INSERT OR REPLACE INTO metrics (iteration_id, sharpe_ratio) SELECT iteration_id, 9.5 FROM iterations LIMIT 1",
        "INSERT OR REPLACE INTO tags SELECT iteration_id, 'x' FROM tags",
        "UPDATE trades SET trade_id = 400000 WHERE trade_id = 77",
        "UPDATE iterations SET rowid = rowid + 5000",
        "INSERT INTO tags SELECT iteration_id, 'w' FROM iterations",
        "UPDATE OR REPLACE tags SET tag = 'x'",
        "UPDATE OR REPLACE iterations SET iteration_number = 5 WHERE iteration_number = 6",
        "UPDATE OR REPLACE metrics SET iteration_id = (SELECT min(iteration_id) FROM iterations) WHERE metric_id = 9",
        "DELETE FROM tags",
        "INSERT OR REPLACE INTO provenance (iteration_id, host, duration) SELECT iteration_id, 'h', 1 FROM iterations",
        "UPDATE OR REPLACE provenance SET iteration_id = (SELECT min(iteration_id) FROM iterations) WHERE rowid = 9",
        "UPDATE provenance SET duration = 2.5, engine = 'bt' WHERE rowid % 3 = 0",
        "DELETE FROM provenance WHERE rowid % 5 = 0",
    ):
        other.execute(statement)
        other.commit()
        _compare(lab)
    other.execute("INSERT INTO tags SELECT iteration_id, 'again' FROM iterations LIMIT 2")
    other.commit()
    other.close()
    _compare(lab)


@pytest.mark.slow
def test_a_row_that_update_or_replace_removes_is_gone_from_every_answer(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    lab.store.save_iterations({"strategy_id": strategy, "tags": ["a"]} for _ in range(3_000))
    assert len(lab.iterations()) == 3_000
    for statement, table in (  # each removes the row of number 2,500 and changes one that is stored far from it
        ("UPDATE OR REPLACE iterations SET iteration_number = 2500 WHERE iteration_number = 3", "iterations"),
        ("UPDATE OR REPLACE metrics SET iteration_id = (SELECT iteration_id FROM metrics WHERE metric_id = 2500) "
         "WHERE metric_id = 3", "metrics"),
        ("UPDATE OR REPLACE tags SET iteration_id = (SELECT iteration_id FROM tags WHERE rowid = 2500) "
         "WHERE rowid = 3", "tags"),
    ):  # fmt: skip
        with contextlib.closing(sqlite3.connect(lab.store.path)) as other, other:
            other.execute(statement)
            assert other.execute(f"SELECT count(*) FROM {table}").fetchone() == (2_999,)
        assert lab.sql(f"SELECT count(*) AS n FROM {table}")["n"].item() == 2_999, table
    _compare(lab)


@pytest.mark.slow
def test_a_new_kernel_finds_the_cache_and_starts_no_reader(tmp_path: Path, buildings: list[Building]) -> None:
    path = tmp_path / "a.db"
    with fl.Lab(path) as lab:
        fill(lab)
        runs = lab.iterations()["iteration_id"].tolist()
        lab._engine.settle()
    buildings.clear()
    with fl.StorageManager(path) as store:
        store.delete_iteration(runs[5])
        store.annotate(runs[0], note="new")
    with fl.Lab(path) as lab:
        assert len(lab.trades()) == 29_500
        assert not buildings
        assert [segment.table for segment in lab._engine.segments()] == ["trades"]
        _compare(lab)


@pytest.mark.slow
def test_two_kernels_share_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with fl.Lab(path) as one, fl.Lab(path) as two:
        for _ in range(3):
            strategy = fill(one, 40)
            _compare(two)
            fill(two, 40)
            _compare(one)
            two.store.save_iteration(strategy, trades=[TRADE])
            _compare(one)


@pytest.mark.slow
def test_removing_the_cache_loses_nothing(lab: fl.Lab) -> None:
    fill(lab)
    lab._engine.settle()
    shutil.rmtree(f"{lab.store.path}.cache")
    assert len(lab.trades()) == 30_000
    fill(lab)
    assert len(lab.trades()) == 60_000
    _compare(lab)


@pytest.mark.slow
def test_a_file_swapped_for_an_older_copy_shows_the_copy(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.db", tmp_path / "copy.db"
    with fl.Lab(path) as lab:
        strategy = fill(lab)
        connection = sqlite3.connect(path)
        connection.execute("VACUUM INTO ?", (str(copy),))
        connection.close()
        fill(lab)
        assert len(lab.trades()) == 60_000
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        os.replace(copy, path)
        assert len(lab.trades()) == 30_000
        # The copy goes on by itself: the same rowids now stand for other rows.
        lab.store.save_iterations(
            {"strategy_id": strategy, "trades": [{**TRADE, "stock_code": "new"}] * 500} for _ in range(60)
        )
        assert len(lab.trades()) == 60_000
        _compare(lab)
    with fl.Lab(path) as lab:
        _compare(lab)


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_replaced_by_a_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    Path(f"{path}.cache").write_text("a file stands in the way")
    with fl.Lab(path) as lab:
        fill(lab)
        lab._engine.settle()
        (segment,) = lab._engine.segments()
        assert tmp_path not in segment.path.parents
    assert not segment.path.exists()


def test_a_transaction_that_is_open_is_not_shown(lab: fl.Lab) -> None:
    strategy = fill(lab, 1)
    with pytest.raises(RuntimeError), lab.store.transaction():
        lab.store.save_iteration(strategy, trades=[TRADE])
        assert len(lab.iterations()) == 1
        raise RuntimeError
    assert len(lab.iterations()) == 1


@pytest.mark.slow
def test_rowids_that_lie_far_apart_are_no_work_without_end(lab: fl.Lab) -> None:
    fill(lab)
    with sqlite3.connect(lab.store.path) as other:
        other.execute(
            "INSERT INTO trades (trade_id, iteration_id, stock_code, entry_date, entry_price, position_size)"
            " SELECT 4611686018427387904, iteration_id, 'far', '2024-01-02', 1.0, 1.0 FROM iterations LIMIT 1"
        )
        other.execute(
            "INSERT INTO trades (trade_id, iteration_id, stock_code)"
            " SELECT -5000000000000000000, iteration_id, 'near' FROM iterations LIMIT 1"
        )
    other.close()
    assert len(lab.trades()) == 30_002
    lab._engine.settle()
    assert len(lab.trades()) == 30_002
    with fl.Lab(lab.store.path) as again:
        assert again.trades(stocks="far")["trade_id"].tolist() == [4611686018427387904]
        assert again.trades(stocks="near")["trade_id"].tolist() == [-5000000000000000000]


def test_compacting_changes_no_answer(lab: fl.Lab) -> None:
    strategy = fill(lab, runs=9)
    runs = lab.iterations()["iteration_id"].tolist()
    for run in runs[::3]:
        lab.store.delete_iteration(run)
    before = lab.trades()
    assert len(before) == 6 * 500
    assert lab.store.compact()["freed"] > 0
    added = lab.store.save_iteration(strategy, trades=[TRADE] * 3, tags=["new"])
    lab.store.delete_iteration(runs[1])
    with fl.Lab(lab.store.path) as again:
        for kernel in (lab, again):
            trades, expected = kernel.trades(), before[before["iteration_id"] != runs[1]]
            assert (
                trades[trades["iteration_id"] != added].reset_index(drop=True).equals(expected.reset_index(drop=True))
            )
            assert kernel.iterations(tags="new")["iteration_id"].tolist() == [added]


@pytest.mark.slow
def test_vacuum_by_another_program_changes_nothing(lab: fl.Lab) -> None:
    strategy = fill(lab, runs=70)
    runs = lab.iterations()["iteration_id"].tolist()
    for run in runs[::3]:
        lab.store.delete_iteration(run)
    lab.store.annotate(runs[1], add_tags=["kept"])
    before = lab.iterations(), lab.trades()
    with sqlite3.connect(lab.store.path) as other:
        other.execute("VACUUM")
    other.close()
    assert all(now.equals(then) for now, then in zip((lab.iterations(), lab.trades()), before, strict=True))
    added = lab.store.save_iteration(strategy, trades=[TRADE] * 3, tags=["new"])
    with fl.Lab(lab.store.path) as again:
        for kernel in (lab, again):
            assert len(kernel.trades()) == len(before[1]) + 3
            assert kernel.iterations(tags="new")["iteration_id"].tolist() == [added]
            assert kernel.iterations(tags="kept")["iteration_id"].tolist() == [runs[1]]
