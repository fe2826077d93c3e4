"""What is saved comes back, whole and unchanged."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import finlab_nb as fl

TRADES = [
    {
        "stock_code": "2330",
        "entry_date": "2024-01-02",
        "exit_date": "2024-01-09",
        "entry_price": 593.0,
        "exit_price": 601.5,
        "position_size": 1000,
        "profit_loss": 8500.0,
    },
    {
        "stock_code": "台積電 0050",
        "entry_date": "2024-01-03T09:05:00",
        "exit_date": None,
        "entry_price": 0.1,
        "exit_price": 0.30000000000000004,
        "position_size": -0.125,
        "profit_loss": None,
    },
]


def test_a_run_comes_back_as_it_was_saved(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version(
        "動量策略 🚀", "def 訊號(價格):\n\treturn 價格 > '均線'", {"回看": 60, "f": 0.1}
    )
    run = store.save_iteration(
        strategy,
        metrics={
            "annualized_return": 0.1,
            "sharpe_ratio": 1.5,
            "max_drawdown": -0.2,
            "win_rate": 0.5,
            "total_trades": 1,
        },
        extra_metrics={"sortino": 2.5, "profit_factor": float("inf"), "unknown": float("nan")},
        trades=TRADES,
        equity={"2024-01-02": 100.0, "2024-01-03": 101.25},
        suggestions=[
            {"priority": "low", "description": "later"},
            {"priority": "high", "description": "先做", "learning_references": ["書", 1], "rationale": "因為"},
        ],
        parameters={"回看": 90},
        tags=["日線", "daily", "日線"],
        note="a note",
        timestamp=datetime(2024, 1, 10, 12, tzinfo=UTC),
    )
    loaded = store.load_iteration(run)
    given = {
        "annualized_return": 0.1,
        "sharpe_ratio": 1.5,
        "max_drawdown": -0.2,
        "win_rate": 0.5,
        "total_trades": 1,
    }
    assert given.items() <= loaded["metrics"].items()
    assert loaded["extra_metrics"] == {
        "sortino": 2.5,
        "profit_factor": float("inf"),
        "unknown": None,
        "total_return": pytest.approx(0.0125),
        "open_trades": 1.0,
    }
    assert [{name: trade[name] for name in TRADES[0]} for trade in loaded["trades"]] == [dict(one) for one in TRADES]
    assert loaded["equity"] == [{"date": "2024-01-02", "equity": 100.0}, {"date": "2024-01-03", "equity": 101.25}]
    assert [one["description"] for one in loaded["suggestions"]] == ["先做", "later"]
    assert loaded["suggestions"][0]["learning_references"] == ["書", 1]
    assert loaded["tags"] == ["日線", "daily"]
    assert loaded["timestamp"] == "2024-01-10T12:00:00.000000Z"
    assert (loaded["parameters"], loaded["note"], loaded["iteration_number"]) == ({"回看": 90}, "a note", 1)
    assert loaded["code"] == store.load_strategy(strategy)["code"]


def test_what_was_loaded_can_be_saved_again(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("a", "code")
    first = store.save_iteration(
        strategy,
        trades=TRADES,
        equity={"2024-01-02": 1.0, "2024-01-03": 2.0},
        suggestions=[{"priority": "low", "description": "x"}],
    )
    loaded = store.load_iteration(first)
    skipped = ("iteration_id", "iteration_number", "starred", "archived", "changed_at")
    second = store.save_iteration(**{name: value for name, value in loaded.items() if name not in skipped})
    again = store.load_iteration(second)
    for name in ("trades", "equity", "metrics", "extra_metrics", "code", "parameters", "timestamp", "tags", "note"):
        assert again[name] == loaded[name]


def test_trades_and_equity_are_taken_as_frames(store: fl.StorageManager) -> None:
    frame = pd.DataFrame(TRADES)
    frame["entry_date"] = pd.to_datetime(frame["entry_date"], format="ISO8601")
    frame["exit_date"] = pd.to_datetime(frame["exit_date"])
    equity = pd.Series([100.0, 90.0, 120.0], index=pd.to_datetime(["2024-01-02", "2024-01-04", "2024-01-03"]))
    strategy = store.save_strategy_version("a", "code")
    loaded = store.load_iteration(store.save_iteration(strategy, trades=frame, equity=equity))
    assert [{name: trade[name] for name in TRADES[0]} for trade in loaded["trades"]] == [dict(one) for one in TRADES]
    assert [point["date"] for point in loaded["equity"]] == ["2024-01-02", "2024-01-03", "2024-01-04"]
    by_column = pd.DataFrame({"date": ["2024-01-02"], "equity": np.array([5], dtype="int64")})
    assert store.load_iteration(store.save_iteration(strategy, equity=by_column))["equity"] == [
        {"date": "2024-01-02", "equity": 5.0}
    ]


def test_metrics_are_computed_from_equity_and_closed_trades(store: fl.StorageManager) -> None:
    dates = pd.to_datetime(["2020-01-01", "2022-01-01", "2024-01-01"])
    equity = pd.Series([100.0, 90.0, 146.41], index=dates)
    trades = [TRADES[0], {**TRADES[0], "profit_loss": -1.0}, TRADES[1]]
    strategy = store.save_strategy_version("a", "code")
    loaded = store.load_iteration(store.save_iteration(strategy, equity=equity, trades=trades))
    metrics = loaded["metrics"]
    assert metrics["annualized_return"] == pytest.approx(0.1)
    assert metrics["max_drawdown"] == pytest.approx(-0.1)
    assert metrics["win_rate"] == 0.5
    assert metrics["total_trades"] == 2
    assert loaded["extra_metrics"] == {"total_return": pytest.approx(0.4641), "open_trades": 1.0}


def test_given_metrics_win_and_none_stays_unknown(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("a", "code")
    run = store.save_iteration(strategy, trades=TRADES, metrics={"win_rate": None, "sharpe_ratio": 3})
    expected = {
        "annualized_return": None,
        "sharpe_ratio": 3.0,
        "max_drawdown": None,
        "win_rate": None,
        "total_trades": 1,
    }
    assert expected.items() <= store.load_iteration(run)["metrics"].items()


def test_an_aware_time_is_stored_in_utc(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("a", "code")
    trade = {**TRADES[0], "entry_date": "2024-01-02T09:00:00+08:00", "exit_date": pd.Timestamp("2024-01-03", tz="UTC")}
    loaded = store.load_iteration(store.save_iteration(strategy, trades=[trade], timestamp="2024-01-02T08:00:00+08:00"))
    assert loaded["trades"][0]["entry_date"] == "2024-01-02T01:00:00"
    assert loaded["trades"][0]["exit_date"] == "2024-01-03T00:00:00"  # a moment, because the entry is one
    assert loaded["timestamp"] == "2024-01-02T00:00:00.000000Z"


def test_numbers_continue_by_strategy_and_a_taken_one_is_refused(store: fl.StorageManager) -> None:
    one, two = store.save_strategy_version("a", "x"), store.save_strategy_version("b", "y")
    for _ in range(2):
        store.save_iteration(one)
    store.save_iteration(two, 7)
    store.save_iteration(two)
    assert [run["iteration_number"] for run in store.load_strategy_history(one)] == [1, 2]
    assert [run["iteration_number"] for run in store.load_strategy_history(two)] == [7, 8]
    with pytest.raises(ValueError, match="iteration_number is 7; the strategy has it already, 9 is free"):
        store.save_iteration(two, 7)


def test_save_iterations_stores_all_or_nothing(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("a", "x")
    good = {"strategy_id": strategy, "trades": TRADES}
    with pytest.raises(ValueError, match=r"iterations\[2\]: trades\[0\]\.entry_price is nan"):
        store.save_iterations([good, good, {**good, "trades": [{**TRADES[0], "entry_price": float("nan")}]}])
    with pytest.raises(ValueError, match=r"iterations\[0\] has the unknown field 'trade'; allowed are"):
        store.save_iterations([{"strategy_id": strategy, "trade": TRADES}])
    assert store.load_strategy_history(strategy) == []
    ids = store.save_iterations(iter([good, good]))
    assert [run["iteration_id"] for run in store.load_strategy_history(strategy)] == ids


def test_a_transaction_rolls_back_as_a_whole_and_a_savepoint_alone(store: fl.StorageManager) -> None:
    with pytest.raises(RuntimeError), store.transaction():
        store.save_strategy_version("gone", "x")
        raise RuntimeError
    assert store.find_strategies("gone") == []
    with store.transaction():
        kept = store.save_strategy_version("kept", "x")
        with pytest.raises(RuntimeError), store.transaction():
            store.save_iteration(kept)
            raise RuntimeError
        assert store.load_strategy_history(kept) == []
    assert [one["strategy_id"] for one in store.find_strategies("kept")] == [kept]


def test_an_interrupt_inside_a_save_stores_nothing(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("a", "x")
    with pytest.raises(KeyboardInterrupt), store.transaction():
        store.save_iteration(strategy)
        raise KeyboardInterrupt
    assert store.load_strategy_history(strategy) == []
    store.save_iteration(strategy)
    assert store.pool.in_use == 0


def test_annotations_change_what_they_name_only(store: fl.StorageManager) -> None:
    run = store.save_iteration(store.save_strategy_version("a", "x"), note="old", tags=["a", "b"])
    store.annotate(run, starred=True, add_tags=["c", "a"], remove_tags=["b", "none"])
    loaded = store.load_iteration(run)
    assert (loaded["starred"], loaded["archived"], loaded["note"], loaded["tags"]) == (True, False, "old", ["a", "c"])
    store.annotate(run, note="", archived=True)
    loaded = store.load_iteration(run)
    assert (loaded["starred"], loaded["archived"], loaded["note"]) == (True, True, None)
    with pytest.raises(fl.IterationNotFoundError, match="iteration_id is 'nope'"):
        store.annotate("nope", note="x")


def test_a_suggestion_remembers_what_became_of_it(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("a", "x")
    run = store.save_iteration(strategy, suggestions=[{"priority": "high", "description": "try 90"}])
    other = store.save_iteration(strategy)
    (suggestion,) = store.load_iteration(run)["suggestions"]
    assert suggestion["status"] == "open"
    store.set_suggestion_status(suggestion["suggestion_id"], "applied", other)
    (suggestion,) = store.load_iteration(run)["suggestions"]
    assert (suggestion["status"], suggestion["applied_iteration_id"]) == ("applied", other)
    with pytest.raises(ValueError, match=r"applied_iteration_id is .*; it must be None unless the status is 'applied'"):
        store.set_suggestion_status(suggestion["suggestion_id"], "rejected", other)
    with pytest.raises(fl.SuggestionNotFoundError, match="suggestion_id is 999"):
        store.set_suggestion_status(999, "rejected")


def test_deleting_a_run_removes_all_that_belongs_to_it(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("a", "x")
    origin = {"engine": "vectorbt"}
    run = store.save_iteration(strategy, trades=TRADES, equity={"2024-01-02": 1.0}, tags=["t"], provenance=origin)
    store.delete_iteration(run)
    with pytest.raises(fl.IterationNotFoundError):
        store.load_iteration(run)
    with store.pool.read() as connection:
        for table in (
            "iterations",
            "metrics",
            "trades",
            "equity",
            "tags",
            "extra_metrics",
            "suggestions",
            "provenance",
        ):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    with pytest.raises(LookupError, match="no iteration has this id"):
        store.delete_iteration(run)


def test_a_closed_store_says_so_and_closes_twice(tmp_path: Path) -> None:
    store = fl.StorageManager(tmp_path / "a.db")
    store.close()
    store.close()
    with pytest.raises(fl.StorageError, match="is closed"):
        store.save_strategy_version("a", "x")
    with pytest.raises(fl.StoreClosedError):
        store.load_iteration("x")


def test_memory_is_a_private_file_that_is_gone_on_close() -> None:
    with fl.StorageManager(":memory:") as one, fl.StorageManager(":memory:") as two:
        one.save_strategy_version("a", "x")
        assert two.find_strategies("a") == []
        path = one.path
        assert path.exists()
    assert not path.exists()


def test_threads_save_at_the_same_time(tmp_path: Path) -> None:
    with fl.StorageManager(tmp_path / "a.db", pool_size=3, timeout=60) as store:
        strategy = store.save_strategy_version("a", "x")
        saved: list[str] = []
        threads = [
            threading.Thread(
                target=lambda: saved.extend(store.save_iteration(strategy, trades=TRADES) for _ in range(10))
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        history = store.load_strategy_history(strategy)
        assert sorted(run["iteration_id"] for run in history) == sorted(saved)
        assert [run["iteration_number"] for run in history] == list(range(1, 81))


def test_dates_may_be_dates(store: fl.StorageManager) -> None:
    trade = {**TRADES[0], "entry_date": date(2024, 1, 2), "exit_date": np.datetime64("2024-01-02")}
    loaded = store.load_iteration(store.save_iteration(store.save_strategy_version("a", "x"), trades=[trade]))
    assert (loaded["trades"][0]["entry_date"], loaded["trades"][0]["exit_date"]) == ("2024-01-02", "2024-01-02")


def test_the_file_is_one_sqlite_database_with_keys_checks_and_indexes(store: fl.StorageManager) -> None:
    with store.pool.read() as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        indexes = connection.execute(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND sql NOT NULL"
        ).fetchone()
        assert {
            "strategies",
            "iterations",
            "metrics",
            "suggestions",
            "trades",
            "extra_metrics",
            "equity",
            "tags",
        } <= tables
        assert indexes[0] >= 5
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_checks_hold_for_other_programs_too(store: fl.StorageManager) -> None:
    run = store.save_iteration(store.save_strategy_version("a", "x"), trades=TRADES)
    wrong = [
        ("UPDATE metrics SET win_rate = 1.4 WHERE iteration_id = ?"),
        ("UPDATE metrics SET max_drawdown = 0.2 WHERE iteration_id = ?"),
        ("UPDATE trades SET entry_price = 'text' WHERE iteration_id = ?"),
        ("UPDATE trades SET entry_date = '2024-02-30' WHERE iteration_id = ?"),
        ("UPDATE trades SET exit_date = '1999-01-01' WHERE iteration_id = ?"),
        ("INSERT INTO suggestions (iteration_id, priority, description) VALUES (?, 'urgent', 'x')"),
    ]
    connection = sqlite3.connect(store.path)
    try:
        for statement in wrong:
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(statement, (run,))
            connection.rollback()
    finally:
        connection.close()


# Unknown, zero, and what a run leaves behind beside the standard set -----------------------------------------------

OPEN = {"stock_code": "2330", "entry_date": "2024-01-02", "entry_price": 593.0, "position_size": 1000.0}
CLOSED = OPEN | {"exit_date": "2024-01-09", "exit_price": 601.5, "profit_loss": 8500.0}


@pytest.mark.parametrize(
    ("given", "total", "still_open"),
    [
        ({}, None, None),
        ({"trades": None}, None, None),
        ({"trades": []}, 0, 0.0),
        ({"trades": ()}, 0, 0.0),
        ({"trades": iter([])}, 0, 0.0),
        ({"trades": pd.DataFrame()}, 0, 0.0),
        ({"trades": pd.DataFrame([CLOSED]).iloc[:0]}, 0, 0.0),
        ({"trades": pa.Table.from_pylist([CLOSED]).slice(0, 0)}, 0, 0.0),
        ({"trades": [], "metrics": {"sharpe_ratio": 1.2}}, 0, 0.0),
        ({"trades": [OPEN]}, 0, 1.0),
        ({"trades": [CLOSED, OPEN, OPEN]}, 1, 2.0),
        ({"trades": [CLOSED], "metrics": {"sharpe_ratio": 1.2}}, 1, 0.0),
        ({"trades": [CLOSED, OPEN], "metrics": {"total_trades": 7}}, 7, 1.0),
        ({"trades": [CLOSED, OPEN], "metrics": {"total_trades": None}}, None, 1.0),
        ({"trades": [OPEN], "extra_metrics": {"open_trades": 5}}, 0, 5.0),
    ],
)
def test_no_trades_are_zero_and_trades_that_are_not_given_are_unknown(
    store: fl.StorageManager, given: dict[str, Any], total: int | None, still_open: float | None
) -> None:
    strategy = store.save_strategy_version("a", "x")
    found = store.load_iteration(store.save_iteration(strategy, **given))
    assert found["metrics"]["total_trades"] == total
    assert found["extra_metrics"].get("open_trades") == still_open


def test_none_means_none_given(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("a", "x")
    found = store.load_iteration(
        store.save_iteration(strategy, tags=None, suggestions=None, applies=None, equity=None, extra_metrics=None)
    )
    assert (found["tags"], found["suggestions"], found["equity"], found["extra_metrics"]) == ([], [], [], {})


def test_the_whole_result_of_an_engine_is_taken_as_metrics(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("a", "x")
    result = pd.Series(
        {
            "Start": pd.Timestamp("2020-01-01"),
            "Duration": pd.Timedelta("3D"),
            "Return [%]": 12.5,
            "sharpe_ratio": np.float64(1.2),
            "total_trades": np.int64(4),
            "Profit Factor": np.inf,
            "SQN": np.nan,
            "_strategy": "SmaCross(10, 20)",
            "_trades": pd.DataFrame({"Size": [1]}),
            7: 1,
        }
    )
    with pytest.warns(fl.DroppedMetricsWarning) as caught:
        iteration = store.save_iteration(strategy, metrics=result, extra_metrics={"on": True, "omega": "1.5"})
    (warning,) = caught
    for name in ("Start", "Duration", "_strategy", "_trades", "on", "omega"):
        assert f"{name}=" in str(warning.message)
    assert warning.filename == __file__
    found = store.load_iteration(iteration)
    assert (found["metrics"]["sharpe_ratio"], found["metrics"]["total_trades"]) == (1.2, 4)
    assert found["extra_metrics"] == {"Return [%]": 12.5, "Profit Factor": float("inf"), "SQN": None, "7": 1.0}
    with pytest.raises(ValueError, match=r"extra metrics must be numbers .* not stored: Start="):
        store.save_iteration(strategy, metrics=result, strict=True)


def test_of_a_metric_that_is_given_twice_the_first_counts(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("a", "x")
    twice = pd.Series([1.2, 9.9, 0.5], index=["sharpe_ratio", "sharpe_ratio", "calmar"])
    with pytest.warns(fl.DroppedMetricsWarning, match=r"name of their own.*: sharpe_ratio=9\.9, calmar=0\.7"):
        found = store.load_iteration(store.save_iteration(strategy, metrics=twice, extra_metrics={"calmar": 0.7}))
    assert (found["metrics"]["sharpe_ratio"], found["extra_metrics"]) == (1.2, {"calmar": 0.5})


def test_a_likely_mistake_is_saved_with_one_warning_a_kind_and_call(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("a", "x")
    returns = pd.Series([0.01, -0.02, 0.005, 0.01, -0.001], index=pd.date_range("2024-01-02", periods=5))
    short = CLOSED | {"profit_loss": -8500.0}
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"metrics": {"max_drawdown": -33.08}}, r"metrics\.max_drawdown is -33\.08: .*percent, divide by 100"),
        ({"equity": returns}, r"equity\[0\]\.equity is 0\.01: .*returns .*cumprod"),
        ({"trades": [CLOSED, short]}, r"trades\[1\]\.position_size is 1000\.0: .*a short needs a negative size"),
        ({"trades": [CLOSED | {"stock_code": "(10, 50)"}]}, r"trades\[0\]\.stock_code is '\(10, 50\)': .*grid"),
    ]
    for given, message in mistakes:
        with pytest.warns(fl.ImplausibleDataWarning, match=message) as caught:
            store.save_iteration(strategy, **given)
        assert [one.filename for one in caught] == [__file__]
        with pytest.raises(ValueError, match=message):
            store.save_iteration(strategy, **given, strict=True)
        with pytest.raises(ValueError, match=rf"iterations\[0\]: {message}"):
            store.save_iterations([{"strategy_id": strategy, "strict": True} | given])
    assert len(store.load_strategy_history(strategy)) == len(mistakes)
    with pytest.warns(fl.ImplausibleDataWarning) as caught:
        store.save_iterations([{"strategy_id": strategy} | given for given, _ in mistakes * 2])
    assert len(caught) == len(mistakes)
    assert len(store.load_strategy_history(strategy)) == 3 * len(mistakes)
