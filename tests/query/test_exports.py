"""Files of an export hold what the tables say, take their places as a whole, and harm no spreadsheet."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pytest

import finlab_nb as fl
from books import TRADE, fill
from finlab_nb.query.exports import exporting, spreadsheets
from finlab_nb.query.tables import TABLES

RISKY = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"]
SAFE = ["a=1", "1-1", "'=1", " =1", "", "台", 'a "quoted", text', "two\nlines"]


EXACT: dict[str, Any] = {} if pd.__version__ >= "3" else {"float_precision": "round_trip"}  # pandas 3 always is


def _read(path: Path) -> pd.DataFrame:
    readers: dict[str, Any] = {
        ".parquet": pd.read_parquet,
        ".feather": pd.read_feather,
        ".csv": lambda one: pd.read_csv(one, keep_default_na=False, na_values=[""], dtype={"stock_code": str}, **EXACT),
        ".xlsx": pd.read_excel,
        ".json": lambda one: pd.DataFrame(json.loads(one.read_text(encoding="utf-8"))),
    }
    frame: pd.DataFrame = readers[path.suffix](path)
    return frame


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["parquet", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("csv", "xlsx", "json", "feather"))]
)
def test_every_format_holds_every_table(demo_lab: fl.Lab, demo_db: Path, tmp_path: Path, kind: str) -> None:
    names = [name for name in TABLES if name != "equity" or kind != "xlsx"]
    paths = demo_lab.export_frames(tmp_path / "new" / "folder", names, format=kind, progress=False)
    assert [path.name for path in paths] == [f"{name}.{kind}" for name in names]
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == sorted(path.name for path in paths)
    connection = sqlite3.connect(demo_db)
    for name, path in zip(names, paths, strict=True):
        found = _read(path)
        expected = pd.read_sql(f"{TABLES[name].select_raw('true')} ORDER BY row_id", connection)
        assert len(found) == len(expected)
        assert len(expected) or name not in ("strategies", "iterations", "metrics", "trades", "equity", "suggestions")
        for column in TABLES[name].columns if len(expected) else ():
            one, other = found.get(column.name), expected[column.name]
            if column.kind in ("float", "whole"):
                rtol = 0 if kind != "xlsx" else 1e-15  # Excel keeps 15 to 17 digits
                np.testing.assert_allclose(one.astype(float), other.astype(float), rtol=rtol, equal_nan=True)
            elif column.kind == "date":
                assert pd.to_datetime(one, format="mixed").tolist() == pd.to_datetime(other, format="mixed").tolist()
            elif column.kind == "moment" and kind not in ("csv", "json"):
                times = pd.to_datetime(other, format="ISO8601").dt.tz_localize(None)
                bare = one if one.dt.tz is None else one.dt.tz_localize(None)
                assert not ((bare - times).abs() >= pd.Timedelta(milliseconds=2)).any()
                assert bare.isna().tolist() == times.isna().tolist()
            elif column.kind == "flag":
                assert one.astype(bool).tolist() == other.astype(bool).tolist()
            elif kind == "json" and column.kind in ("object", "array"):
                assert one.tolist() == [None if text is None else json.loads(text) for text in other]
            elif column.kind == "text" and kind in ("parquet", "feather", "json"):
                assert one.fillna("-").tolist() == other.fillna("-").tolist()
    connection.close()


def test_csv_and_json_keep_figures_dates_and_moments_as_the_store_has_them(lab: fl.Lab, tmp_path: Path) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    rows = [
        {**TRADE, "entry_price": 0.1 + 0.2, "profit_loss": 5e-324, "entry_date": "2024-01-02T09:30:00.5"},
        {**TRADE, "exit_date": None, "profit_loss": None},
    ]
    run = lab.store.save_iteration(
        strategy, trades=rows, extra_metrics={"up": float("inf"), "down": -float("inf"), "none": None}
    )
    stored = lab.store.load_iteration(run)
    trades, extra, iterations = lab.export_frames(tmp_path, ["trades", "extra_metrics", "iterations"], "json")
    found = json.loads(trades.read_text(encoding="utf-8"))
    assert [row["entry_price"] for row in found] == [0.1 + 0.2, 1.5]
    assert [row["profit_loss"] for row in found] == [5e-324, None]
    assert [row["entry_date"] for row in found] == ["2024-01-02T09:30:00.500000", "2024-01-02"]
    assert found[1]["exit_date"] is None
    assert json.loads(iterations.read_text(encoding="utf-8"))[0]["timestamp"] == stored["timestamp"]
    figures = {row["name"]: row["value"] for row in json.loads(extra.read_text(encoding="utf-8"))}
    assert figures == {"up": "Infinity", "down": "-Infinity", "none": None, "open_trades": 1.0}
    (path,) = lab.export_frames(tmp_path, "trades", "csv")
    first, second = csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines())
    names = ("entry_date", "exit_date", "entry_price", "exit_price", "position_size", "profit_loss")
    assert [first[name] for name in names] == [
        "2024-01-02T09:30:00.500000", "2024-01-03", "0.30000000000000004", "2", "1", "5e-324",
    ]  # fmt: skip
    assert [second[name] for name in names] == ["2024-01-02", "", "1.5", "2", "1", ""]


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe_and_numbers_stay(
    lab: fl.Lab, tmp_path: Path, kind: str
) -> None:
    strategy = lab.store.save_strategy_version("=cmd|' /C calc'!A0", "-x")
    for text in [*RISKY, *SAFE]:
        lab.store.save_iteration(strategy, note=text, trades=[{**TRADE, "position_size": -5, "profit_loss": -0.5}])
    strategies, iterations, trades = lab.export_frames(tmp_path, ["strategies", "iterations", "trades"], kind)
    if kind == "csv":
        notes = pd.read_csv(iterations, keep_default_na=False)["note"].tolist()
        # Excel's own reader and this one take a bare carriage return for the end of a line, but not inside quotes.
        assert notes == ["'" + text for text in RISKY] + SAFE
        assert pd.read_csv(strategies)[["name", "code"]].iloc[0].tolist() == ["'=cmd|' /C calc'!A0", "'-x"]
        assert pd.read_csv(trades)["position_size"].tolist() == [-5.0] * len(RISKY + SAFE)
        return
    sheet = openpyxl.load_workbook(iterations).active
    place = [cell.value for cell in sheet[1]].index("note")
    cells = [row[place] for row in sheet.iter_rows(min_row=2)]
    assert all(cell.data_type in ("s", "inlineStr", "n") for cell in cells)
    expected = ["'" + text for text in RISKY] + SAFE
    assert [(cell.value or "").replace("_x000D_", "\r") for cell in cells] == expected
    figures = openpyxl.load_workbook(trades).active
    assert {row[7].value for row in figures.iter_rows(min_row=2)} == {-5}
    assert {row[3].value.isoformat() for row in figures.iter_rows(min_row=2)} == {"2024-01-02T00:00:00"}


def test_where_chooses_runs_and_with_them_their_rows_and_strategies(demo_lab: fl.Lab, tmp_path: Path) -> None:
    chosen = demo_lab.iterations(where="sharpe_ratio > 0.5")
    assert 0 < len(chosen) < len(demo_lab.iterations())
    paths = demo_lab.export_frames(tmp_path, where="sharpe_ratio > 0.5")
    frames = {path.stem: pd.read_parquet(path) for path in paths}
    ids = set(chosen["iteration_id"])
    assert set(frames["iterations"]["iteration_id"]) == ids
    assert set(frames["strategies"]["strategy_id"]) == set(chosen["strategy_id"])
    assert len(frames["trades"]) == len(demo_lab.trades(ids))
    assert all(
        set(frame["iteration_id"]) <= ids for name, frame in frames.items() if name not in ("strategies", "series")
    )
    none = demo_lab.export_frames(tmp_path, ["trades", "iterations"], "json", where="sharpe_ratio > 1e9")
    assert [json.loads(path.read_text()) for path in none] == [[], []]
    with pytest.raises(fl.QueryError, match="sharp"):
        demo_lab.export_frames(tmp_path / "x", where="sharp > 1")
    with pytest.raises(fl.QueryError):
        demo_lab.export_frames(tmp_path / "x", where="true) ; DROP TABLE copied.trades; SELECT (1")
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_partitioned_parquet_is_read_as_one_table_with_its_strategy(demo_lab: fl.Lab, tmp_path: Path) -> None:
    for _ in range(2):  # the second time in place of the first
        paths = demo_lab.export_frames(tmp_path, partition_by="strategy")
        assert sorted(os.listdir(tmp_path)) == sorted(
            [*(TABLES.keys() - {"strategies", "series"}), "strategies.parquet", "series.parquet"]
        )
    frames = {path.stem: pd.read_parquet(path) for path in paths}
    runs = demo_lab.iterations().set_index("iteration_id")["strategy_id"]
    assert len(frames["trades"]) == len(demo_lab.trades())
    assert frames["trades"]["strategy_id"].astype(str).tolist() == runs[frames["trades"]["iteration_id"]].tolist()
    assert len(frames["iterations"]) == len(runs)
    assert len(os.listdir(tmp_path / "trades")) == runs.nunique()
    some = demo_lab.export_frames(tmp_path / "some", "trades", partition_by="strategy", where="sharpe_ratio > 1e9")
    assert os.listdir(some[0]) == []


def test_rows_of_no_strategy_are_not_lost_in_partitions(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "a.db") as lab:
        fill(lab, 1)
        other = sqlite3.connect(lab.store.path)
        other.execute("INSERT INTO trades (iteration_id, stock_code) VALUES ('orphan', 'x')")
        other.commit()
        other.close()
        (folder,) = lab.export_frames(tmp_path / "out", "trades", partition_by="strategy")
        frame = pd.read_parquet(folder)
        assert len(frame) == 501
        assert (frame["strategy_id"].astype(str) == "unknown").sum() == 1


def test_a_sheet_has_a_last_row_and_a_cell_a_last_character(
    lab: fl.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lab, 1)
    monkeypatch.setattr(exporting, "MOST_ROWS", 501)
    assert len(pd.read_excel(lab.export_frames(tmp_path / "a", "trades", "xlsx")[0])) == 500
    monkeypatch.setattr(exporting, "MOST_ROWS", 500)
    with pytest.raises(ValueError, match=r"trades has 500 rows; a sheet of Excel holds 499.*'parquet'"):
        lab.export_frames(tmp_path / "b", format="xlsx")
    assert not (tmp_path / "b").exists()
    assert spreadsheets.MOST_ROWS == 1_048_576
    lab.store.save_strategy_version("long", "😀" * 16_384)
    with pytest.raises(ValueError, match="code has 16,384 characters in row 2; a cell of Excel holds 32,767"):
        lab.export_frames(tmp_path / "c", "strategies", "xlsx")
    assert os.listdir(tmp_path / "c") == []


def test_a_failed_export_leaves_the_old_files_and_nothing_else(
    lab: fl.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy = fill(lab, 1)
    folder = tmp_path / "out"
    (path,) = lab.export_frames(folder, "trades")
    before = path.read_bytes()
    lab.store.save_iteration(strategy, trades=[TRADE])

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(fl.StorageError, match="the disk is full"):
        lab.export_frames(folder)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(folder) == ["trades.parquet"]
    assert len(pd.read_parquet(lab.export_frames(folder, "trades")[0])) == 501


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tables": ["trades", "orders"]}, "tables is 'orders'; it must be 'strategies', .* or 'results'"),
        ({"partition_by": "strategy", "format": "csv"}, "format is 'csv'; it must be 'parquet' with partition_by"),
        ({"where": "  "}, "where is '  '"),
        ({"directory": "a\0b"}, "directory is"),
    ],
)
def test_a_wrong_argument_of_an_export_is_named(
    demo_lab: fl.Lab, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        demo_lab.export_frames(**({"directory": tmp_path / "x"} | arguments))
    assert not (tmp_path / "x").exists()


def test_an_export_touches_neither_the_database_nor_its_cache(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "trades.csv") as lab:
        fill(lab, 1)
        with pytest.raises(ValueError, match=r"trades\.csv is the open database"):
            lab.export_frames(tmp_path, format="csv")
        with pytest.raises(ValueError, match="inside the cache"):
            lab.export_frames(tmp_path / "trades.csv.cache" / "x")
        assert len(lab.trades()) == 500


def test_a_file_in_place_of_the_folder_is_an_error_of_storage(lab: fl.Lab, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(fl.StorageError, match="file"):
        lab.export_frames(tmp_path / "file")


def test_without_the_library_for_excel_the_error_names_the_command(
    lab: fl.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(fl.StorageError, match=r'pip install "finlab-nb\[excel\]"'):
        lab.export_frames(tmp_path, format="xlsx")


@pytest.mark.slow
def test_all_files_of_an_export_are_of_one_moment_while_another_process_saves(lab: fl.Lab, tmp_path: Path) -> None:
    strategy = fill(lab, 5)
    code = """
import sys, finlab_nb as fl
sys.path.insert(0, sys.argv[3])
from books import TRADE
with fl.StorageManager(sys.argv[1]) as store:
    print("ready", flush=True)
    while True:
        runs = [store.save_iteration(sys.argv[2], trades=[TRADE] * 50) for _ in range(2)]
        store.delete_iteration(runs[0])
"""
    arguments = [str(lab.store.path), strategy, str(Path(__file__).parent)]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            for _ in range(15):
                trades, iterations, metrics = lab.export_frames(tmp_path, ["trades", "iterations", "metrics"])
                counts = pd.read_parquet(trades)["iteration_id"].value_counts()
                ids = pd.read_parquet(iterations)["iteration_id"]
                assert set(counts.index) == set(ids) == set(pd.read_parquet(metrics)["iteration_id"])
                assert set(counts) <= {50, 500}
        finally:
            other.kill()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_memory_does_not_grow_with_the_book(tmp_path: Path) -> None:
    code = """
import sys, finlab_nb as fl
def peak(): return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) // 1024
with fl.Lab(sys.argv[1]) as lab:
    lab.export_frames(sys.argv[2], "equity")  # a small table: the libraries are loaded now
    lab.sql("SELECT count(*) FROM trades")
    before = peak()
    for kind in ("parquet", "csv", "json", "feather"):
        lab.export_frames(sys.argv[2], "trades", kind)
    print(peak() - before)
"""
    with fl.Lab(tmp_path / "a.db") as lab:
        fill(lab, 2)
        lab.trades()
        other = sqlite3.connect(lab.store.path)
        other.execute(
            "INSERT INTO trades (iteration_id, stock_code, entry_date, exit_date, entry_price, exit_price, "
            "position_size, profit_loss) SELECT iteration_id, 'A' || (value % 5000), entry_date, exit_date, "
            "value + 0.5, value / 3.0, value, value * 1.1 FROM trades JOIN (WITH RECURSIVE n(value) AS ("
            "SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 1500) SELECT value FROM n)"
        )
        other.commit()
        other.close()
        assert lab.sql("SELECT count(*) AS n FROM trades")["n"].item() == 1_501_000
    finished = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.db"), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(finished.stdout) < 400  # MB, as for a book of any size; the JSON file alone is as large
    assert "export" in finished.stderr or finished.stderr == ""


INTERRUPTED = """
import os, signal, sys, threading, time, finlab_nb as fl
with fl.Lab(sys.argv[1]) as lab:
    lab.trades()
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        lab.export_frames(sys.argv[2], "trades", "xlsx", progress=False)
        print("no interrupt")
    except KeyboardInterrupt:
        print("interrupted", os.listdir(sys.argv[2]), len(lab.trades()))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends a real SIGINT")
def test_an_interrupted_export_leaves_nothing_and_the_lab_goes_on(lab: fl.Lab, tmp_path: Path) -> None:
    fill(lab, 300)
    lab._engine.settle()
    (tmp_path / "out").mkdir()
    arguments = [str(lab.store.path), str(tmp_path / "out")]
    finished = subprocess.run([sys.executable, "-c", INTERRUPTED, *arguments], capture_output=True, text=True)
    assert finished.stdout == "interrupted [] 150000\n", finished.stderr
    assert finished.stderr == ""
