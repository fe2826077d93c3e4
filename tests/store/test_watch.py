"""Other programs that change the schema are noticed: what only serves is put back, the rest is told in every call."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlite_utils

import finlab_nb as fl
from finlab_nb.store import schema, triggers, watch
from finlab_nb.store.backup import verify_backup

TRADE = {
    "stock_code": "2330",
    "entry_date": "2024-01-02",
    "exit_date": "2024-01-03",
    "entry_price": 100.0,
    "exit_price": 110.0,
    "position_size": 1.0,
    "profit_loss": 10.0,
}
Change = Callable[[Path], None]


@contextlib.contextmanager
def foreign(path: Path) -> Iterator[sqlite3.Connection]:
    """Connect as another program does, with SQLite's own settings."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def sql(*statements: str) -> Change:
    def change(path: Path) -> None:
        with foreign(path) as connection:
            for statement in statements:
                connection.execute(statement)

    return change


def transform(table: str, **changes: Any) -> Change:
    def change(path: Path) -> None:
        database = sqlite_utils.Database(path)
        database[table].transform(**changes)
        database.close()

    return change


def replaced_by_pandas(table: str) -> Change:
    def change(path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            pd.read_sql(f"SELECT * FROM {table}", connection).to_sql(table, connection, if_exists="replace")
            connection.commit()

    return change


def in_turn(*changes: Change) -> Change:
    def change(path: Path) -> None:
        for one in changes:
            one(path)

    return change


EDIT = "UPDATE trades SET profit_loss = 99"
# What only serves, or is nobody's business, each with an edit that nothing noticed.
HARMLESS: dict[str, Change] = {
    "a dropped trigger": sql("DROP TRIGGER trades_updated", EDIT),
    "all triggers dropped": sql(*(f"DROP TRIGGER {name}" for name, _ in triggers.statements()), EDIT),
    "a trigger that does something else": sql(
        "DROP TRIGGER trades_updated",
        EDIT,
        "CREATE TRIGGER trades_updated AFTER UPDATE ON trades BEGIN SELECT 1; END",
    ),
    "a trigger dropped and put back": sql(
        "DROP TRIGGER trades_updated", EDIT, dict(triggers.statements())["trades_updated"]
    ),
    "a dropped view": sql("DROP VIEW changes_now", EDIT),
    "a dropped index": sql("DROP INDEX trades_by_iteration", EDIT),
    "an index of other columns": sql(
        "DROP INDEX trades_by_iteration", "CREATE INDEX trades_by_iteration ON trades (stock_code)", EDIT
    ),
    "a table rebuilt by sqlite-utils": in_turn(transform("trades"), sql(EDIT)),
    "a table renamed back and forth": sql("ALTER TABLE trades RENAME TO t", "ALTER TABLE t RENAME TO trades", EDIT),
    "a column of somebody else": sql("ALTER TABLE trades ADD COLUMN mine TEXT", EDIT),
    "a table of somebody else": sql("CREATE TABLE mine (a)", EDIT),
    "statistics for the planner": sql(EDIT, "ANALYZE"),
}
# What cannot be put back, and what the error names.
FAULTS: dict[str, tuple[Change, str, str | None]] = {
    "a table replaced by pandas": (replaced_by_pandas("trades"), "trades", None),
    "strategies replaced by pandas": (replaced_by_pandas("strategies"), "strategies", None),
    "a dropped table": (sql("DROP TABLE tags"), "tags", None),
    "a renamed table": (sql("ALTER TABLE equity RENAME TO account_values"), "equity", None),
    "a dropped column": (sql("ALTER TABLE trades DROP COLUMN profit_loss"), "trades", "profit_loss"),
    "a column dropped by sqlite-utils": (transform("trades", drop={"exit_price"}), "trades", "exit_price"),
    "a renamed column": (sql("ALTER TABLE trades RENAME COLUMN profit_loss TO pnl"), "trades", "profit_loss"),
    "a column of another type": (transform("iterations", types={"note": int}), "iterations", "note"),
    "a table without its reference": (transform("tags", drop_foreign_keys=["iteration_id"]), "tags", "iteration_id"),
    "a table that only finlab_nb reads": (sql("DROP TABLE adoption_notes"), "adoption_notes", None),
    "the stamps of edits": (sql("DROP TABLE edited_rows"), "edited_rows", None),
}


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "a.db"
    with fl.Lab(path) as lab:
        strategy = lab.store.save_strategy_version("momentum", "rolling")
        equity = pd.Series([1.0, 2.0], index=pd.to_datetime(["2024-01-02", "2024-01-03"]))
        lab.store.save_iteration(strategy, trades=[TRADE] * 3, equity=equity, tags=["kept"])
        lab.trades()
    return path


@pytest.mark.parametrize("moment", ["in an open lab", pytest.param("at opening", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_serves_is_put_back_and_no_old_answer_stays(name: str, moment: str, book: Path) -> None:
    change = HARMLESS[name]
    with contextlib.ExitStack() as stack:
        if moment == "in an open lab":
            lab = stack.enter_context(fl.Lab(book))
            assert lab.trades()["profit_loss"].tolist() == [10.0] * 3
        change(book)
        if moment == "at opening":
            lab = stack.enter_context(fl.Lab(book))
        assert lab.trades()["profit_loss"].tolist() == [99.0] * 3
        sql("UPDATE trades SET profit_loss = 7 WHERE trade_id = 2")(book)
        assert lab.trades()["profit_loss"].tolist() == [99.0, 7.0, 99.0]
        assert lab.store.check() == []
        (strategy,) = lab.store.find_strategies("momentum")
        iteration = lab.store.save_iteration(strategy["strategy_id"], trades=[TRADE])
        assert len(lab.trades()) == 4
        lab.store.delete_iteration(iteration)
        assert len(lab.trades()) == 3
        with lab.store.pool.snapshot() as connection:
            assert watch.differences(connection) == ((), ())


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_put_back_is_told_in_every_call_of_an_open_lab(name: str, book: Path) -> None:
    change, table, column = FAULTS[name]
    with fl.Lab(book) as lab:
        strategy = lab.iterations()["strategy_id"].item()
        iteration = lab.iterations()["iteration_id"].item()
        lab.trades()
        change(book)
        calls: list[Callable[[], Any]] = [
            lab.trades,
            lab.iterations,
            lambda: lab.sql("SELECT count(*) FROM strategies"),
            lambda: lab.store.save_iteration(strategy, trades=[TRADE]),
            lambda: lab.store.save_strategy_version("b", "x"),
            lambda: lab.store.load_iteration(iteration),
            lambda: lab.store.delete_iteration(iteration),
            lambda: lab.store.search_strategies("rolling"),
            lambda: lab.store.export_results([iteration], book.with_name("a.json")),
        ]
        for call in calls * 2:
            with pytest.raises(fl.SchemaChangedError, match=table) as raised:
                call()
            assert (column or table) in str(raised.value)
        found = lab.store.check()
        assert any(one["table"] == table and (column is None or one["column"] == column) for one in found)
        assert not book.with_name("a.json").exists()


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_put_back_is_told_at_opening(name: str, book: Path) -> None:
    change, table, column = FAULTS[name]
    change(book)
    with pytest.raises(fl.SchemaChangedError, match=table) as raised:
        fl.Lab(book)
    assert (column or table) in str(raised.value)


def test_a_fault_that_is_undone_is_over(book: Path) -> None:
    with fl.Lab(book) as lab:
        sql("ALTER TABLE trades RENAME COLUMN profit_loss TO pnl")(book)
        with pytest.raises(fl.SchemaChangedError, match=r"trades\.profit_loss is missing \(there are .*pnl"):
            lab.trades()
        sql("ALTER TABLE trades RENAME COLUMN pnl TO profit_loss")(book)
        assert lab.trades()["profit_loss"].tolist() == [10.0] * 3
        assert lab.store.check() == []


def test_check_still_looks_at_the_tables_that_are_whole(book: Path) -> None:
    with fl.StorageManager(book) as store:
        sql("DROP TABLE tags", "PRAGMA ignore_check_constraints = ON", "UPDATE trades SET entry_date = '1.2.2024'")(
            book
        )
        found = store.check()
    assert [(one["table"], one["row"], one["column"]) for one in found] == [
        ("tags", None, None),
        *(("trades", row, "entry_date") for row in (1, 2, 3)),
    ]


def test_the_search_is_filled_anew_when_its_trigger_was_gone(book: Path) -> None:
    with fl.StorageManager(book) as store:
        sql("DROP TRIGGER strategies_search_updated", "UPDATE strategies SET code = 'breakout'")(book)
        assert len(store.search_strategies("breakout")) == 1
        assert store.search_strategies("rolling") == []
        sql("DROP TABLE strategies_search")(book)
        assert len(store.search_strategies("breakout")) == 1


def test_a_change_within_a_transaction_of_ours_waits_for_its_end(book: Path) -> None:
    with fl.Lab(book) as lab, lab.store.transaction():
        (strategy,) = lab.store.find_strategies("momentum")
        with (
            pytest.raises(sqlite3.OperationalError, match="locked"),
            contextlib.closing(sqlite3.connect(book, timeout=0)) as connection,
        ):
            connection.execute("DROP TRIGGER trades_updated")
        lab.store.save_iteration(strategy["strategy_id"])
        assert len(lab.store.load_strategy_history(strategy["strategy_id"])) == 2


@pytest.mark.slow
def test_several_processes_that_find_a_missing_trigger_put_it_back_once(book: Path) -> None:
    sql(*(f"DROP TRIGGER {name}" for name, _ in triggers.statements()))(book)
    code = f"import finlab_nb as fl; lab = fl.Lab({str(book)!r}); print(len(lab.trades())); lab.close()"
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [one.communicate(timeout=60)[0].strip() for one in started] == ["3"] * 4


def test_a_backup_says_that_the_tables_were_changed_and_is_not_restored(book: Path, tmp_path: Path) -> None:
    backups = fl.BackupScheduler(book, tmp_path / "backups")
    good = backups.backup_now()
    sql("ALTER TABLE trades DROP COLUMN profit_loss")(book)
    with pytest.warns(fl.BadDataWarning, match=r"trades\.profit_loss is missing"):
        marked = backups.backup_now()
    newest, oldest = backups.list_backups()
    assert oldest["schema_faults"] == []
    (fault,) = newest["schema_faults"]
    assert fault.startswith("the column trades.profit_loss is missing (there are trade_id, iteration_id, stock_code,")
    assert verify_backup(marked)["verified"]
    with pytest.raises(fl.StorageError, match=r"trades\.profit_loss is missing.*earlier backup"):
        fl.restore_backup(marked, book)
    fl.restore_backup(good, book)
    with fl.Lab(book) as lab:
        assert lab.trades()["profit_loss"].tolist() == [10.0] * 3


def test_a_backup_of_a_file_that_lacks_a_trigger_restores(book: Path, tmp_path: Path) -> None:
    sql("DROP TRIGGER trades_updated")(book)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = fl.BackupScheduler(book, tmp_path / "backups").backup_now()
    fl.restore_backup(made, book)
    with fl.Lab(book) as lab:
        assert len(lab.trades()) == 3


def test_nothing_is_compared_while_nothing_has_changed(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    whole = watch.differences
    monkeypatch.setattr(watch, "differences", lambda connection: compared.append(1) or whole(connection))  # type: ignore[func-returns-value]
    with fl.Lab(book) as lab:
        assert len(compared) == 1  # at opening
        (strategy,) = lab.store.find_strategies("momentum")
        for _ in range(10):
            lab.store.save_iteration(strategy["strategy_id"], trades=[TRADE])
            lab.trades()
            lab.iterations()
        assert len(compared) == 1
        sql("CREATE TABLE mine (a)")(book)
        lab.trades()
        lab.iterations()
        assert len(compared) == 2


def test_the_schema_of_every_release_is_the_same_after_the_upgrade() -> None:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for script in schema.migrations():
            for statement in schema.statements(script):
                connection.execute(statement)
        assert {name for name, _ in triggers.statements()} == set(watch.differences(connection).repairs)
        triggers.create(connection)
        assert watch.differences(connection) == ((), ())
