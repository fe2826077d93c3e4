"""A snapshot is one file, complete and verified, of a store that is open and goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import finlab_nb as fl

TRADE = {"stock_code": "2330", "entry_date": "2024-01-02", "entry_price": 1.0, "position_size": 1.0, "profit_loss": 2.0}


def fill(store: fl.StorageManager, count: int = 5) -> list[str]:
    strategy = store.save_strategy_version("momentum", "x")
    return [store.save_iteration(strategy, trades=[TRADE] * 100, note=f"run {number}") for number in range(count)]


def asked(path: Path, question: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(question).fetchall()


def test_a_snapshot_of_an_open_store_is_one_complete_file(store: fl.StorageManager, tmp_path: Path) -> None:
    runs = fill(store)
    folder = tmp_path / "synchronised"
    folder.mkdir()
    copy = store.snapshot(folder / "copy.db")
    assert list(folder.iterdir()) == [copy]
    moved = tmp_path / "elsewhere.db"
    shutil.copyfile(copy, moved)
    assert asked(moved, "PRAGMA journal_mode") == [("delete",)]
    assert asked(moved, "PRAGMA integrity_check") == [("ok",)]
    assert asked(moved, "SELECT iteration_id FROM iterations ORDER BY 1") == [(run,) for run in sorted(runs)]
    assert asked(moved, "SELECT store_id FROM store_state") == asked(store.path, "SELECT store_id FROM store_state")
    with fl.StorageManager(moved) as again:
        assert [again.load_iteration(run) for run in runs] == [store.load_iteration(run) for run in runs]


def test_plain_duckdb_reads_a_snapshot(store: fl.StorageManager, tmp_path: Path) -> None:
    fill(store)
    copy = store.snapshot(tmp_path / "copy.db")
    script = """
import sys, duckdb
from finlab_nb.query.reader import _load_extension
connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
if not _load_extension(connection):
    sys.exit(print("no extension"))
connection.execute(f"ATTACH '{sys.argv[1]}' AS copy (TYPE sqlite, READ_ONLY)")
print(connection.execute("SELECT count(*), sum(profit_loss) FROM copy.trades").fetchone())
"""
    command = [sys.executable, "-c", script, str(copy)]  # a process of its own: DuckDB brings a second SQLite
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if found == "no extension\n":
        pytest.skip("DuckDB's SQLite extension is not installed")
    assert found == "(500, 1000.0)\n"
    assert sorted(one.name for one in tmp_path.glob("copy.db*")) == ["copy.db"]


def test_a_snapshot_goes_a_way_of_its_own(store: fl.StorageManager, tmp_path: Path) -> None:
    runs = fill(store)
    path = tmp_path / "copy.db"
    store.snapshot(path)
    with fl.Lab(path) as copy:
        assert len(copy.trades()) == 500
        copy.store.delete_iteration(runs[0])
        copy.store.save_iteration(copy.store.find_strategies("momentum")[0]["strategy_id"], trades=[TRADE] * 7)
        assert len(copy.trades()) == 407
        assert len(store.load_iteration(runs[0])["trades"]) == 100
    fill(store, 1)
    store.snapshot(path, overwrite=True)
    with fl.Lab(path) as copy:
        assert len(copy.trades()) == 600
        assert len(copy.trades(runs[0])) == 100


def test_an_existing_file_is_replaced_only_when_told(store: fl.StorageManager, tmp_path: Path) -> None:
    fill(store)
    path = tmp_path / "copy.db"
    path.write_text("mine")
    with pytest.raises(fl.StorageError, match="exists already; name another file, or replace it by overwrite=True"):
        store.snapshot(path)
    assert path.read_text() == "mine"
    store.snapshot(path, overwrite=True)
    assert asked(path, "SELECT count(*) FROM trades") == [(500,)]
    with pytest.raises(ValueError, match="overwrite is 1"):
        store.snapshot(path, overwrite=1)


@pytest.mark.parametrize("name", ["itself", "another name of it", "another open one", "one with a log"])
def test_a_database_in_use_is_never_replaced(store: fl.StorageManager, tmp_path: Path, name: str) -> None:
    fill(store)
    path = tmp_path / "target.db"
    with contextlib.ExitStack() as stack:
        if name == "itself":
            path = store.path
        elif name == "another name of it":
            path.hardlink_to(store.path)
        elif name == "another open one":
            fill(stack.enter_context(fl.StorageManager(path)))
        else:
            path.write_bytes(b"whatever")
            path.with_name("target.db-wal").touch()
        before = path.stat().st_ino
        with pytest.raises(fl.StorageError, match="is a database in use"):
            store.snapshot(path, overwrite=True)
        assert path.stat().st_ino == before
    assert len(store.load_strategy_history(store.find_strategies("momentum")[0]["strategy_id"])) == 5


def test_a_snapshot_inside_a_transaction_is_refused_at_once(store: fl.StorageManager, tmp_path: Path) -> None:
    run = fill(store, 1)[0]
    with store.transaction():
        store.annotate(run, note="changed")
        with pytest.raises(fl.StorageError, match="a copy cannot run within a transaction of this process itself"):
            store.snapshot(tmp_path / "copy.db")
    assert store.load_iteration(run)["note"] == "changed"
    assert not (tmp_path / "copy.db").exists()


def test_a_copy_that_cannot_be_made_leaves_what_was_there(store: fl.StorageManager, tmp_path: Path) -> None:
    fill(store)
    with pytest.raises(fl.StorageError, match="does not exist"):
        store.snapshot(tmp_path / "missing" / "copy.db")
    path = store.snapshot(tmp_path / "copy.db")
    before = path.read_bytes()
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("DELETE FROM iterations WHERE iteration_id IN (SELECT iteration_id FROM iterations LIMIT 1)")
    with pytest.raises(fl.StorageError, match="breaks foreign keys"):
        store.snapshot(path, overwrite=True)
    assert path.read_bytes() == before
    assert [one for one in os.listdir(tmp_path) if "snapshot" in one] == []
