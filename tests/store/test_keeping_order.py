"""Finding, relating and removing what is stored, and what the store says of itself."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest

import finlab_nb as fl
from finlab_nb.store import checkpoint

# One value for each column that a CHECK guards, as another program could write it.
BAD_VALUES = [
    ("strategies", "strategy_id", ""),
    ("strategies", "name", ""),
    ("strategies", "parameters", "[1]"),
    ("strategies", "parameters", "no JSON"),
    ("strategies", "created_at", "yesterday"),
    ("strategies", "created_at", "12"),
    ("strategies", "created_at", None),
    ("iterations", "iteration_id", ""),
    ("iterations", "iteration_number", "third"),
    ("iterations", "iteration_number", 0),
    ("iterations", "timestamp", "2024-13-01"),
    ("iterations", "timestamp", None),
    ("iterations", "parameters", "[1]"),
    ("iterations", "starred", 2),
    ("iterations", "archived", "yes"),
    ("iterations", "initial_capital", 0.0),
    ("iterations", "timezone", ""),
    ("iterations", "periods_per_year", "daily"),
    ("iterations", "currency", ""),
    ("iterations", "changed_at", "yesterday"),
    ("metrics", "annualized_return", "n/a"),
    ("metrics", "sharpe_ratio", "high"),
    ("metrics", "max_drawdown", 0.2),
    ("metrics", "win_rate", 1.4),
    ("metrics", "total_trades", -1),
    ("extra_metrics", "name", ""),
    ("extra_metrics", "value", "high"),
    ("suggestions", "priority", "urgent"),
    ("suggestions", "priority", None),
    ("suggestions", "description", ""),
    ("suggestions", "learning_references", "{}"),
    ("suggestions", "status", "done"),
    ("trades", "stock_code", ""),
    ("trades", "entry_date", "2024-02-30"),
    ("trades", "exit_date", "soon"),
    ("trades", "exit_date", "2023-01-01"),
    ("trades", "entry_price", "high"),
    ("trades", "exit_price", "low"),
    ("trades", "position_size", "all"),
    ("trades", "profit_loss", "much"),
    ("trades", "trade_return", "much"),
    ("trades", "fees", "few"),
    ("trades", "mae", 0.1),
    ("trades", "mfe", -0.1),
    ("trades", "multiplier", 0.0),
    ("trades", "extra", "[1]"),
    ("equity", "date", "2024-02-30"),
    ("equity", "equity", "much"),
    ("tags", "tag", ""),
    ("provenance", "engine", ""),
    ("provenance", "engine_version", ""),
    ("provenance", "code_hash", ""),
    ("provenance", "packages", "[1]"),
    ("provenance", "packages", "none"),
    ("provenance", "seed", "many"),
    ("provenance", "seed", 1.5),
    ("provenance", "duration", -1.0),
    ("provenance", "duration", "long"),
    ("provenance", "host", ""),
    ("provenance", "result_hash", ""),
]


@pytest.fixture
def run(store: fl.StorageManager) -> str:
    """Return a run that has a row in every table."""
    strategy = store.save_strategy_version("momentum", "x")
    trade = {"stock_code": "2330", "entry_date": "2024-01-02", "entry_price": 1.0, "position_size": 1.0}
    return store.save_iteration(
        strategy,
        trades=[trade],
        equity={"2024-01-02": 1.0},
        tags=["a"],
        extra_metrics={"sqn": 1.0},
        suggestions=[{"priority": "high", "description": "x"}],
        provenance={"engine": "vectorbt"},
    )


# Checking -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("table", "column", "value"), BAD_VALUES)
def test_the_schema_refuses_what_check_would_report(
    store: fl.StorageManager, run: str, table: str, column: str, value: object
) -> None:
    assert store.check() == []
    statement = f"UPDATE {table} SET {column} = ? WHERE rowid = 1"
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        with pytest.raises(sqlite3.DatabaseError, match=r"CHECK|malformed"):
            other.execute(statement, (value,))
        other.execute("PRAGMA ignore_check_constraints = ON")
        other.execute(statement, (value,))
    found = [one for one in store.check() if (one["table"], one["column"]) == (table, column)]
    assert [(one["table"], one["row"], one["value"]) for one in found] == [(table, 1, value)]
    assert found[0]["problem"].startswith("it must be ")


def test_check_reports_rows_without_an_owner(store: fl.StorageManager, run: str) -> None:
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("DELETE FROM iterations")  # without PRAGMA foreign_keys = ON nothing follows
    found = {(one["table"], one["column"], one["value"]) for one in store.check()}
    assert found == {
        (table, "iteration_id", run)
        for table in ("metrics", "extra_metrics", "suggestions", "trades", "curves", "tags", "provenance")
    }


def test_check_stops_at_its_limit(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("momentum", "x")
    store.save_iterations({"strategy_id": strategy} for _ in range(20))
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("PRAGMA ignore_check_constraints = ON")
        other.execute("UPDATE metrics SET win_rate = 55")
    assert len(store.check()) == 20
    assert len(store.check(limit=5)) == 5
    with pytest.raises(ValueError, match="limit is 0"):
        store.check(limit=0)


# Searching ------------------------------------------------------------------------------------------------------------


def _found(store: fl.StorageManager, words: str) -> list[str]:
    return [one["name"] for one in store.search_strategies(words)]


def test_search_finds_parts_of_words_in_any_case_in_name_and_code(store: fl.StorageManager) -> None:
    store.save_strategy_version("Momentum", "signal = close.rolling(60).mean()")
    store.save_strategy_version("Breakout", "signal = high.ROLLING(20).max()")
    store.save_strategy_version("Straße", "pass")
    assert sorted(_found(store, "rolling")) == ["Breakout", "Momentum"]
    assert _found(store, "rolling 60") == ["Momentum"]
    assert _found(store, "oment") == ["Momentum"]
    assert _found(store, "straße") == ["Straße"]
    assert _found(store, "breakout close") == []


def test_search_finds_chinese_of_any_length(store: fl.StorageManager) -> None:
    store.save_strategy_version("動量策略", "# 均線交叉\nx = 1")
    for words in ("動", "動量", "動量策略", "均線 動量", "線交叉"):
        assert _found(store, words) == ["動量策略"], words
    assert _found(store, "量動") == []


def test_search_takes_any_number_of_words_of_any_length(store: fl.StorageManager) -> None:
    short = [chr(0x4E00 + i) for i in range(1200)]
    long = [f"word{i}" for i in range(1200)]
    store.save_strategy_version("all", f"{''.join(short)} {' '.join(long)} {'ab' * 5000}")
    store.save_strategy_version("all but the last", f"{''.join(short[:-1])} {' '.join(long[:-1])} {'ab' * 4999}")
    for words in (short, ["word0", *short], long, [one.upper() for one in long], ["ab" * 5000], [*short, *long]):
        assert _found(store, " ".join(words)) == ["all"], words[:3]
    for words in (short[:-1], ["word0", *short[:-1]], long[:-1], ["ab" * 4999], [*short[:-1], *long[:-1]]):
        assert sorted(_found(store, " ".join(words))) == ["all", "all but the last"], words[:3]


def test_a_word_given_twice_counts_once(store: fl.StorageManager) -> None:
    store.save_strategy_version("mean", "close " * 9)
    store.save_strategy_version("close", "mean " * 9)
    assert store.search_strategies("mean close " * 600) == store.search_strategies("mean close")


def test_short_words_ignore_case_in_every_script(store: fl.StorageManager) -> None:
    store.save_strategy_version("Δ hedge", "ÄB = 1")
    for words in ("δ", "äb", "Äb he", "=", "Δ ä"):
        assert _found(store, words) == ["Δ hedge"], words
    assert _found(store, "γ") == []


def test_search_takes_every_sign_as_a_letter(store: fl.StorageManager) -> None:
    code = "a = b[\"c%d_e\"] OR (NOT x) -- * 'quoted'; DROP TABLE strategies"
    store.save_strategy_version("signs", code)
    for words in ('"c%d_e"', "%d_", "*", "%", "_e", "OR", "NOT", "(NOT", "'quoted';", "a = b", "DROP TABLE", '"'):
        assert _found(store, words) == ["signs"], words
    assert _found(store, "c_d") == []
    assert _found(store, "\\%") == []


def test_a_hit_in_the_name_comes_first_and_the_snippet_shows_the_line(store: fl.StorageManager) -> None:
    store.save_strategy_version("other", "# momentum in a comment\n" * 3)
    store.save_strategy_version("momentum", "import pandas\n\nsignal = prices.pct_change(60) > 0")
    first, second = store.search_strategies("momentum")
    assert (first["name"], first["line"], first["snippet"]) == ("momentum", None, "«momentum»")
    assert (second["line"], second["snippet"]) == (1, "# «momentum» in a comment")
    (found,) = store.search_strategies("PCT_change")
    assert (found["line"], found["snippet"]) == (3, "signal = prices.«pct_change»(60) > 0")


@pytest.mark.parametrize(
    ("statement", "first", "second"),
    [
        (
            "INSERT OR REPLACE INTO strategies (strategy_id, name, code) VALUES (:id, 'new', 'second version')",
            [],
            ["new"],
        ),
        (
            "INSERT OR IGNORE INTO strategies (strategy_id, name, code) VALUES (:id, 'new', 'second version')",
            ["old"],
            [],
        ),
        ("UPDATE OR REPLACE strategies SET strategy_id = :id WHERE name = 'other'", [], []),
        ("UPDATE strategies SET rowid = 77 WHERE strategy_id = :id", ["old"], []),
        ("DELETE FROM strategies WHERE strategy_id = :id", [], []),
    ],
)
def test_search_finds_what_stands_there_whatever_conflict_policy_another_program_has(
    store: fl.StorageManager, statement: str, first: list[str], second: list[str]
) -> None:
    strategy = store.save_strategy_version("old", "first version")
    store.save_strategy_version("other", "third version")
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute(statement, {"id": strategy})
        other.execute("VACUUM")
    assert (_found(store, "first"), _found(store, "second")) == (first, second)
    store.save_strategy_version("last", "first and second")
    assert _found(store, "first") == ["last", *first]


def test_search_follows_changes_by_any_program(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("momentum", "first version")
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("UPDATE strategies SET code = 'second version'")
        assert (_found(store, "first"), _found(store, "second")) == ([], ["momentum"])
        other.execute(
            "INSERT OR REPLACE INTO strategies (strategy_id, name, code) VALUES (?, 'm', 'third')", [strategy]
        )
        other.execute(
            "INSERT OR IGNORE INTO strategies (strategy_id, name, code) VALUES (?, 'm', 'fourth')", [strategy]
        )
    assert (_found(store, "second"), _found(store, "third"), _found(store, "fourth")) == ([], ["m"], [])
    store.delete_strategy(strategy)
    assert _found(store, "third") == []


# Descent --------------------------------------------------------------------------------------------------------------


def test_lineage_shows_ancestors_and_descendants_in_order(store: fl.StorageManager) -> None:
    ids: dict[str, str] = {}
    for name, parent in [("a", None), ("b", "a"), ("c", "b"), ("d", "c"), ("e", "b"), ("f", "d"), ("x", None)]:
        ids[name] = store.save_strategy_version(name, "x", parent_strategy_id=ids[parent] if parent else None)
    store.save_iteration(ids["d"])
    found = store.lineage(ids["b"])
    assert [(one["name"], one["depth"]) for one in found] == [
        ("a", -1),
        ("b", 0),
        ("c", 1),
        ("d", 2),
        ("f", 3),
        ("e", 1),
    ]
    assert [one["iterations"] for one in found] == [0, 0, 0, 1, 0, 0]
    assert [one["name"] for one in store.lineage(ids["f"])] == ["a", "b", "c", "d", "f"]
    with pytest.raises(fl.StrategyNotFoundError, match="strategy_id is 'none'"):
        store.lineage("none")


def test_a_circle_of_parents_from_another_program_does_not_catch_us(store: fl.StorageManager) -> None:
    first = store.save_strategy_version("first", "x")
    second = store.save_strategy_version("second", "x", parent_strategy_id=first)
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("UPDATE strategies SET parent_strategy_id = ? WHERE strategy_id = ?", (second, first))
    assert {one["name"] for one in store.lineage(first)} == {"first", "second"}
    store.delete_strategy(first, cascade=True)
    assert _found(store, "second") == []


# Removing -------------------------------------------------------------------------------------------------------------


def test_a_strategy_with_runs_or_children_is_removed_only_when_told(store: fl.StorageManager) -> None:
    parent = store.save_strategy_version("parent", "x")
    child = store.save_strategy_version("child", "x", parent_strategy_id=parent)
    kept = store.save_strategy_version("kept", "x")
    run = store.save_iteration(child, suggestions=[{"priority": "high", "description": "x"}])
    tried = store.save_iteration(kept)
    with pytest.raises(fl.StorageError, match=r"has 0 iterations and 1 child strategies; .* cascade=True"):
        store.delete_strategy(parent)
    with pytest.raises(fl.StorageError, match="has 1 iterations and 0 child"):
        store.delete_strategy(child)
    with pytest.raises(ValueError, match="cascade is 1"):
        store.delete_strategy(parent, cascade=1)
    store.delete_strategy(parent, cascade=True)
    for missing in (parent, child):
        with pytest.raises(fl.StrategyNotFoundError):
            store.load_strategy(missing)
    with pytest.raises(fl.IterationNotFoundError):
        store.load_iteration(run)
    assert store.load_iteration(tried)
    store.delete_iteration(tried)
    store.delete_strategy(kept)
    with pytest.raises(fl.StrategyNotFoundError):
        store.delete_strategy(kept)


# Suggestions that were tried ------------------------------------------------------------------------------------------


def test_a_run_is_linked_to_the_suggestions_that_it_applies(store: fl.StorageManager, run: str) -> None:
    strategy = store.load_iteration(run)["strategy_id"]
    suggestion = store.load_iteration(run)["suggestions"][0]["suggestion_id"]
    tried = store.save_iteration(strategy, applies=[suggestion])
    applied = store.load_iteration(run)["suggestions"][0]
    assert (applied["status"], applied["applied_iteration_id"]) == ("applied", tried)
    (again,) = store.save_iterations([{"strategy_id": strategy, "applies": [suggestion]}])
    applied = store.load_iteration(run)["suggestions"][0]
    assert (applied["applied_iteration_id"], applied["applied_iteration_ids"]) == (tried, [tried, again])


def test_a_run_that_applies_an_unknown_suggestion_is_not_stored(store: fl.StorageManager, run: str) -> None:
    strategy = store.load_iteration(run)["strategy_id"]
    with pytest.raises(fl.SuggestionNotFoundError, match=r"applies\[1\] is 77; no suggestion has this id"):
        store.save_iteration(strategy, applies=[1, 77])
    with pytest.raises(fl.SuggestionNotFoundError, match=r"iterations\[0\]: applies\[0\] is 77"):
        store.save_iterations([{"strategy_id": strategy, "applies": [77]}])
    with pytest.raises(ValueError, match=r"applies\[0\] is 'x'"):
        store.save_iteration(strategy, applies=["x"])
    assert len(store.load_strategy_history(strategy)) == 1
    assert store.load_iteration(run)["suggestions"][0]["status"] == "open"


# Statistics -----------------------------------------------------------------------------------------------------------


def test_statistics_count_calls_waits_and_bytes(tmp_path: Path) -> None:
    with fl.StorageManager(tmp_path / "a.db", pool_size=1) as store:
        strategy = store.save_strategy_version("momentum", "x")
        for _ in range(20):
            store.save_iteration(strategy)
        with pytest.raises(ValueError, match="name"):
            store.save_strategy_version("", "x")
        held, free = threading.Event(), threading.Event()

        def hold() -> None:
            with store.pool.snapshot():
                held.set()
                free.wait(10)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(10)
        threading.Timer(0.2, free.set).start()
        store.load_strategy(strategy)
        thread.join()
        found = store.statistics()
        assert found["pool"]["size"] == 1
        assert found["pool"]["in_use"] == 0
        assert found["pool"]["waits"] == 1
        assert 0.05 < found["pool"]["longest_wait"] < 10
        assert {name: one["count"] for name, one in found["calls"].items()} == {
            "save_strategy_version": 2,
            "save_iteration": 20,
            "load_strategy": 1,
        }
        assert 0 < found["calls"]["save_iteration"]["mean"] <= found["calls"]["save_iteration"]["p95"] * 20
        assert found["files"]["database"] + found["files"]["wal"] > 4096
        assert found["last_backup"] is None
        path = fl.BackupScheduler(store.path, tmp_path / "backups").backup_now()
        assert store.statistics()["last_backup"]["path"] == str(path)
        assert store.statistics()["last_backup"]["created_at"].endswith("Z")


@pytest.mark.parametrize(
    ("version", "buggy"),
    [
        *(((3, 34, 0), True), ((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False), ((3, 45, 0), True)),
        *(((3, 50, 6), True), ((3, 50, 7), False), ((3, 51, 2), True), ((3, 51, 3), False), ((3, 53, 0), False)),
    ],
)
def test_statistics_tell_whether_sqlite_has_the_wal_reset_bug(
    store: fl.StorageManager, version: tuple[int, int, int], buggy: bool
) -> None:
    assert checkpoint.may_corrupt(version) is buggy
    assert store.statistics()["sqlite"] == {
        "version": sqlite3.sqlite_version,
        "wal_reset_bug": checkpoint.may_corrupt(sqlite3.sqlite_version_info),
    }
