"""A file of the original storage layer opens, loses no row, and all of finlab_nb works on it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import warnings
from pathlib import Path

import pandas as pd
import pytest

import finlab_nb as fl

ORIGINAL = """
CREATE TABLE strategies (strategy_id TEXT PRIMARY KEY, name TEXT NOT NULL, code TEXT NOT NULL, parameters JSON, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, parent_strategy_id TEXT);
CREATE TABLE iterations (iteration_id TEXT PRIMARY KEY, strategy_id TEXT NOT NULL, iteration_number INTEGER NOT NULL, code TEXT NOT NULL, timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE metrics (metric_id INTEGER PRIMARY KEY AUTOINCREMENT, iteration_id TEXT NOT NULL, annualized_return REAL, sharpe_ratio REAL, max_drawdown REAL, win_rate REAL, total_trades INTEGER);
CREATE TABLE suggestions (suggestion_id INTEGER PRIMARY KEY AUTOINCREMENT, iteration_id TEXT NOT NULL, priority TEXT CHECK(priority IN ('high','medium','low')), description TEXT NOT NULL, specific_changes TEXT, expected_impact TEXT, rationale TEXT, learning_references JSON);
CREATE TABLE trades (trade_id INTEGER PRIMARY KEY AUTOINCREMENT, iteration_id TEXT NOT NULL, stock_code TEXT NOT NULL, entry_date DATE, exit_date DATE, entry_price REAL, exit_price REAL, position_size INTEGER, profit_loss REAL);
CREATE INDEX idx_iterations_strategy ON iterations(strategy_id);
CREATE INDEX idx_trades_iteration ON trades(iteration_id);
"""  # noqa: E501 - as the original layer wrote it
GOOD = """
INSERT INTO strategies (strategy_id, name, code, parameters)
    VALUES ('s1', '動量', 'close.rolling(60)', '{"lookback": 60}');
INSERT INTO strategies VALUES ('s2', 'momentum 2', 'v2', NULL, '2024-01-02T03:04:05.678901', 's1');
INSERT INTO iterations (iteration_id, strategy_id, iteration_number, code) VALUES ('i1', 's1', 1, 'v1');
INSERT INTO iterations VALUES ('i2', 's2', 1, 'v2', '2024-01-02 03:04:05+08:00');
INSERT INTO metrics VALUES (7, 'i1', 0.1, 1.5, -0.2, 0.5, 2);
INSERT INTO suggestions VALUES (3, 'i1', 'high', 'try 90', NULL, NULL, 'late exits', '["a book"]');
INSERT INTO trades VALUES (10, 'i1', '2330', '2024-01-02', '2024-02-01', 500.0, 600.0, 1000, 100000.0);
INSERT INTO trades VALUES (11, 'i1', '0050', '2024-01-02 00:00:00', NULL, 100, NULL, -2000, NULL);
"""
BAD = """
INSERT INTO strategies VALUES ('s3', 'bad parameters', 'x', 'no JSON', 'yesterday', 'lost parent');
INSERT INTO iterations VALUES ('i3', 's1', 1, 'same number', NULL);
INSERT INTO iterations VALUES ('i4', 's1', 'third', 'no number', '2024-13-45');
INSERT INTO iterations VALUES (NULL, 's1', 9, 'no id', '2024-01-02');
INSERT INTO iterations VALUES ('i5', 'lost strategy', 1, 'lost code', '2024-01-02');
INSERT INTO metrics VALUES (8, 'i1', 0.2, 2.5, 30.0, 55.0, 4);
INSERT INTO metrics VALUES (9, 'i4', 'n/a', 1.0, 0.2, 1.4, -1);
INSERT INTO metrics VALUES (20, 'lost run', 0.1, 1.0, -0.1, 0.5, 1);
INSERT INTO suggestions VALUES (4, 'i4', NULL, '', NULL, NULL, NULL, 'a book, no list');
INSERT INTO trades VALUES (12, 'i4', '', '2024-02-30', '2024-01-02', 'high', 9e999, 1.5, NULL);
INSERT INTO trades VALUES (13, 'i4', '2330', '2024-03-01', '2024-02-01', 1.0, 2.0, 1, 1.0);
INSERT INTO trades VALUES (14, 'lost run', '2330', '2024-03-01', '2024-04-01', 1.0, 2.0, 1, 1.0);
INSERT INTO trades VALUES (15, 'i4', '2330', 20240301, '2024-04-01', 1.0, 2.0, 1, 1.0);
"""


@pytest.fixture
def original(tmp_path: Path) -> Path:
    path = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(ORIGINAL + GOOD)
    return path


@pytest.fixture
def dirty(original: Path) -> Path:
    with contextlib.closing(sqlite3.connect(original)) as connection:
        connection.executescript(BAD)
    return original


def test_every_value_is_there_in_todays_form(original: Path) -> None:
    with fl.StorageManager(original) as store:
        run = store.load_iteration("i1")
        metrics = {
            "annualized_return": 0.1,
            "sharpe_ratio": 1.5,
            "max_drawdown": -0.2,
            "win_rate": 0.5,
            "total_trades": 2,
        }
        assert metrics.items() <= run["metrics"].items()
        assert [(one["stock_code"], one["entry_date"], one["position_size"]) for one in run["trades"]] == [
            ("2330", "2024-01-02", 1000.0),
            ("0050", "2024-01-02", -2000.0),
        ]
        assert run["suggestions"][0]["suggestion_id"] == 3
        assert run["suggestions"][0]["learning_references"] == ["a book"]
        assert run["timestamp"].endswith("Z")
        assert store.load_iteration("i2")["timestamp"] == "2024-01-01T19:04:05.000000Z"
        assert store.load_strategy("s2")["created_at"] == "2024-01-02T03:04:05.678901Z"
        assert store.load_strategy("s1")["parameters"] == {"lookback": 60}
        assert [(one["strategy_id"], one["depth"]) for one in store.lineage("s2")] == [("s1", -1), ("s2", 0)]
        assert store.search_strategies("動量 rolling")[0]["strategy_id"] == "s1"
        assert store.check() == []


def test_all_of_the_product_works_on_an_adopted_file(original: Path, tmp_path: Path) -> None:
    with fl.Lab(original) as lab:
        assert lab.iterations()["iteration_id"].tolist() == ["i2", "i1"]
        assert lab.trades(["i1"])["position_size"].tolist() == [1000.0, -2000.0]
        assert lab.iterations()["param.lookback"].dropna().tolist() == [60]
        added = lab.store.save_iteration("s1", applies=[3])
        lab.store.annotate("i1", starred=True, add_tags=["old"])
        assert lab.suggestions()["applied_iteration_id"].tolist() == [added]
        path = lab.store.export_results(["i1", "i2", added], tmp_path / "all.json")
        assert len(lab.store.import_results(path)) == 3
        backups = fl.BackupScheduler(original, tmp_path / "backups")
        assert backups.verify_backup(backups.backup_now())["iterations"] == 6
        lab.store.delete_strategy("s1", cascade=True)
        assert len(lab.iterations()) == 3


def test_rows_that_break_todays_rules_are_kept_and_reported(dirty: Path) -> None:
    with contextlib.closing(sqlite3.connect(dirty)) as connection:
        before = {t: connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("trades", "suggestions")}
    with fl.StorageManager(dirty) as store:
        with store.pool.read() as connection:
            for table, count in before.items():
                assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,)
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            assert connection.execute("SELECT entry_price, exit_date FROM trades WHERE trade_id = 12").fetchone() == (
                "high",
                "2024-01-02",
            )
        found = store.check()
    assert {"table", "row", "column", "value", "problem"} == set(found[0])
    places = {(one["table"], one["column"], one["value"]) for one in found if not isinstance(one["value"], dict)}
    assert places >= {
        ("strategies", "parameters", "no JSON"),
        ("strategies", "created_at", "yesterday"),
        ("strategies", "parent_strategy_id", "lost parent"),
        ("iterations", "iteration_number", 1),
        ("iterations", "iteration_number", "third"),
        ("iterations", "timestamp", None),
        ("iterations", "timestamp", "2024-13-45"),
        ("iterations", "iteration_id", None),
        ("iterations", "strategy_id", "lost strategy"),
        ("metrics", "annualized_return", "n/a"),
        ("metrics", "max_drawdown", 0.2),
        ("metrics", "win_rate", 1.4),
        ("metrics", "total_trades", -1),
        ("metrics", "iteration_id", "lost run"),
        ("suggestions", "priority", None),
        ("suggestions", "description", ""),
        ("suggestions", "learning_references", "a book, no list"),
        ("trades", "stock_code", ""),
        ("trades", "entry_date", "2024-02-30"),
        ("trades", "entry_price", "high"),
        ("trades", "exit_price", float("inf")),
        ("trades", "exit_date", "2024-02-01"),
    }
    (older,) = [one["value"] for one in found if isinstance(one["value"], dict)]
    assert older["metric_id"] == 7
    assert {one["row"] for one in found if one["table"] == "trades" and one["column"] == "exit_date"} == {12, 13, 15}


def test_everything_works_beside_rows_that_break_the_rules(dirty: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught, fl.Lab(dirty) as lab:
        warnings.simplefilter("always")
        frame = lab.iterations()
        assert set(frame["iteration_id"]) >= {"i1", "i2", "i3", "i4", "i5", "lost run"}
        assert len(frame) == 7
        assert len(lab.trades()) == 6
        assert sorted(lab.store.load_iteration(one)["iteration_number"] for one in ("i1", "i3")) == [1, 10]
        assert lab.store.load_iteration("i4")["suggestions"][0]["learning_references"] is None
        assert lab.store.load_strategy("s3")["parameters"] == {}
        assert len(lab.store.load_strategy_history("s1")) == 4
        lab.store.annotate("i4", starred=True, note="odd")
        lab.store.set_suggestion_status(4, "rejected")
        lab.store.save_iteration("s1")
        lab.store.export_results(["i1", "i4"], tmp_path / "odd.json")
        backups = fl.BackupScheduler(dirty, tmp_path / "backups")
        backups.verify_backup(backups.backup_now())
        lab.store.delete_iteration("i4")
        lab.store.delete_strategy("lost strategy", cascade=True)
    assert {warning.category for warning in caught} <= {fl.BadDataWarning}
    assert json.loads((tmp_path / "odd.json").read_text(encoding="utf-8"))["iteration_count"] == 2


@pytest.mark.slow
def test_a_large_original_file_is_adopted_whole(original: Path) -> None:
    with contextlib.closing(sqlite3.connect(original)) as connection, connection:
        days = [str(day.date()) for day in pd.date_range("2020-01-01", periods=1000)]
        connection.executemany(
            "INSERT INTO trades (iteration_id, stock_code, entry_date, exit_date, entry_price, exit_price,"
            " position_size, profit_loss) VALUES ('i2', '2330', ?, ?, 1, 2, 3, 4)",
            [(day, f"{day} 13:30:00") for _ in range(50) for day in days],
        )
    with fl.Lab(original) as lab:
        trades = lab.trades(["i2"])
        assert len(trades) == 50_000
        assert (trades["exit_date"] - trades["entry_date"]).unique() == pd.Timedelta("13:30:00")
        assert lab.store.check() == []
