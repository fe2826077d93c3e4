"""Deleting removes all that belongs to an iteration, is seen by every copy, and holds nobody up."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import finlab_nb as fl
from finlab_nb.records import Recording, iteration_record
from finlab_nb.records.tables import TABLES
from finlab_nb.store import deleting

TRADE = {"stock_code": "2330", "entry_date": "2024-01-02", "entry_price": 1.0, "position_size": 1.0}
CURVE = pd.Series(1e6, index=pd.date_range("2020-01-01", periods=2000))


def save(store: fl.StorageManager, strategy: str, number: int) -> str:
    return store.save_iteration(
        strategy,
        trades=[TRADE] * 1500,
        equity=CURVE,
        tags=["a", f"run {number}"],
        extra_metrics={"sqn": 1.0},
        suggestions=[{"priority": "high", "description": "x"}],
        provenance={"engine": "vectorbt", "seed": number},
    )


@pytest.fixture
def book(store: fl.StorageManager) -> tuple[str, list[str]]:
    """Return a strategy with six iterations that have rows in every table."""
    strategy = store.save_strategy_version("momentum", "x")
    return strategy, [save(store, strategy, number) for number in range(6)]


@contextlib.contextmanager
def other_program(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection


def stamps(path: Path) -> dict[tuple[str, int], int]:
    with other_program(path) as connection:
        return {row[:2]: row[2] for row in connection.execute("SELECT table_name, bucket, stamp FROM edited_rows")}


def changed(before: dict[tuple[str, int], int], path: Path) -> set[tuple[str, int]]:
    return {bucket for bucket, stamp in stamps(path).items() if before.get(bucket) != stamp}


def left(path: Path) -> dict[str, int]:
    """Return how many rows each table has that belongs to iterations."""
    with other_program(path) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        tables = [table.name for table in TABLES.values() if table.owner == "iteration_id"]
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}


def test_a_deletion_leaves_what_the_deletion_by_another_program_leaves(
    store: fl.StorageManager, book: tuple[str, list[str]], tmp_path: Path
) -> None:
    _, runs = book
    advised = store.load_iteration(runs[0])["suggestions"][0]["suggestion_id"]
    store.set_suggestion_status(advised, "applied", runs[3])
    theirs = tmp_path / "theirs.db"
    with other_program(store.path) as connection:
        connection.execute("VACUUM INTO ?", (str(theirs),))
    ours_before, theirs_before = stamps(store.path), stamps(theirs)
    store.delete_iteration(runs[3])
    with other_program(theirs) as connection:
        connection.execute("DELETE FROM iterations WHERE iteration_id = ?", (runs[3],))
    assert left(store.path) == left(theirs)
    assert changed(ours_before, store.path) == changed(theirs_before, theirs) != set()
    assert {table for table, _ in changed(ours_before, store.path)} >= {
        "iterations",
        "trades",
        "equity",
        "tags",
        "provenance",
    }


def test_what_was_stored_many_at_once_goes_with_its_iteration(store: fl.StorageManager) -> None:
    """Many rows are inserted without a look for the iteration that they belong to; deleting still takes them along."""
    strategy = store.save_strategy_version("momentum", "x")
    given = {"strategy_id": strategy, "trades": [TRADE] * 3, "equity": CURVE, "tags": ["a"], "provenance": {"seed": 1}}
    runs = store.save_iterations([given] * 3)
    recorded = [Recording("momentum", "x", iteration_record("x", equity=CURVE, tags=[tag])) for tag in "bc"]
    runs += [iteration_id for iteration_id, _ in store.record_iterations(recorded, again=True)]
    assert left(store.path)["iterations"] == 5
    with store.transaction():  # on the connection of the transaction, which looks for parents
        runs += store.save_iterations([given])
        store.delete_iteration(runs[0])
    assert left(store.path)["iterations"] == 5
    for run in runs[1:]:
        store.delete_iteration(run)
    assert set(left(store.path).values()) == {0}


def test_many_at_once_with_one_that_belongs_to_nothing_leave_nothing(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("momentum", "x")
    good = {"strategy_id": strategy, "trades": [TRADE], "equity": CURVE}
    for wrong in ({"applies": [77]}, {"strategy_id": "nobody's"}):
        with pytest.raises((fl.SuggestionNotFoundError, fl.StrategyNotFoundError)):
            store.save_iterations([good, good | wrong])
    assert set(left(store.path).values()) == {0}


def test_a_deletion_stamps_each_bucket_once_and_not_each_row(
    store: fl.StorageManager, book: tuple[str, list[str]]
) -> None:
    with store.pool.write() as connection:
        before = connection.total_changes
        store.delete_iteration(book[1][0])
        writes = connection.total_changes - before
    assert 3500 < writes < 3600  # trades and points, and three for each of a few other rows


def test_the_rows_that_another_program_deletes_are_stamped_whatever_we_deleted_before(
    store: fl.StorageManager, book: tuple[str, list[str]]
) -> None:
    store.delete_iteration(book[1][0])
    before = stamps(store.path)
    with other_program(store.path) as connection:
        connection.execute("DELETE FROM trades WHERE trade_id = 2000")
        connection.execute("DELETE FROM store_state")
        connection.execute("DELETE FROM trades WHERE trade_id = 4000")
    assert changed(before, store.path) == {("trades", 2000 >> 10), ("trades", 4000 >> 10)}


KEEP: str = "CREATE TRIGGER kept BEFORE DELETE ON tags WHEN OLD.tag = 'run 4' BEGIN SELECT RAISE(ABORT, 'keep it'); END"


def test_a_deletion_that_fails_inside_a_transaction_leaves_the_stamps_of_later_ones(
    store: fl.StorageManager, book: tuple[str, list[str]]
) -> None:
    with other_program(store.path) as connection:
        connection.execute(KEEP)
    with store.transaction():
        with pytest.raises(fl.StorageError, match="keep it"):
            store.delete_iteration(book[1][4])
        store.annotate(book[1][0], remove_tags=["a"])
    assert store.load_iteration(book[1][4])["tags"] == ["a", "run 4"]
    before = stamps(store.path)
    with other_program(store.path) as connection:
        connection.execute("DELETE FROM trades WHERE trade_id = 2000")
    assert changed(before, store.path) == {("trades", 2000 >> 10)}


def test_a_strategy_goes_in_several_transactions_and_an_interrupted_call_is_finished_by_the_next(
    store: fl.StorageManager, book: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting, "SLICE_SECONDS", 0.0)
    strategy, runs = book
    with other_program(store.path) as connection:
        connection.execute(KEEP)
    with pytest.raises(fl.StorageError, match="keep it"):
        store.delete_strategy(strategy, cascade=True)
    kept = [run["iteration_id"] for run in store.load_strategy_history(strategy)]
    assert runs[4] in kept
    assert kept != runs
    assert left(store.path)["trades"] == 1500 * len(kept)
    with other_program(store.path) as connection:
        connection.execute("DROP TRIGGER kept")
        (before,) = connection.execute("SELECT change_counter FROM store_state").fetchone()
        store.delete_strategy(strategy, cascade=True)
        (after,) = connection.execute("SELECT change_counter FROM store_state").fetchone()
    assert after - before == len(kept) + 1
    assert set(left(store.path).values()) == {0}
    with pytest.raises(fl.StrategyNotFoundError):
        store.load_strategy(strategy)


def test_inside_a_transaction_a_strategy_goes_as_a_whole_or_not_at_all(
    store: fl.StorageManager, book: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(deleting, "SLICE_SECONDS", 0.0)
    strategy, runs = book
    with other_program(store.path) as connection:
        connection.execute(KEEP)
    with store.transaction():
        with pytest.raises(fl.StorageError, match="keep it"):
            store.delete_strategy(strategy, cascade=True)
    assert [run["iteration_id"] for run in store.load_strategy_history(strategy)] == runs


@pytest.mark.parametrize("key", [b"\xff\xfe", "with a NUL\0behind", "\udcff"], ids=["bytes", "NUL", "no UTF-8"])
def test_an_iteration_with_an_odd_id_of_another_program_goes_with_its_strategy(
    store: fl.StorageManager, book: tuple[str, list[str]], key: str | bytes
) -> None:
    strategy, runs = book
    with other_program(store.path) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        value = key if isinstance(key, bytes) else key.encode("utf-8", "surrogateescape")
        cast = "?" if isinstance(key, bytes) else "CAST(? AS TEXT)"
        for table in ("trades", "tags", "provenance", "iterations"):
            connection.execute(f"UPDATE {table} SET iteration_id = {cast} WHERE iteration_id = ?", (value, runs[2]))
        connection.execute("DELETE FROM curves WHERE iteration_id = ?", (runs[2],))
        for table in ("equity", "metrics", "extra_metrics", "suggestions"):
            key_column = "curve_id" if table == "equity" else "iteration_id"
            owners = "curves" if table == "equity" else "iterations"
            connection.execute(f"DELETE FROM {table} WHERE {key_column} NOT IN (SELECT {key_column} FROM {owners})")
    store.delete_strategy(strategy, cascade=True)
    assert set(left(store.path).values()) == {0}
