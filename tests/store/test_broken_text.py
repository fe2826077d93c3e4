"""Text that is no UTF-8, and other text that no save would take, loads and is listed."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

import finlab_nb as fl


@pytest.fixture
def run(store: fl.StorageManager) -> str:
    trade = {"stock_code": "2330", "entry_date": "2024-01-02", "entry_price": 1.0, "position_size": 1}
    suggestion = {"priority": "high", "description": "try"}
    strategy = store.save_strategy_version("momentum", "code")
    return store.save_iteration(strategy, trades=[trade], suggestions=[suggestion])


def spoilt(path: Path, *statements: str) -> None:
    """Change a database as another program does that minds no rules."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)


def test_text_that_is_no_utf8_loads_as_bytes_with_a_warning(store: fl.StorageManager, run: str) -> None:
    strategy = store.load_iteration(run)["strategy_id"]
    spoilt(
        store.path,
        "UPDATE iterations SET note = CAST(x'61ff' AS TEXT)",
        "UPDATE trades SET stock_code = CAST(x'ff' AS TEXT)",
        "UPDATE strategies SET name = CAST(x'ff' AS TEXT)",
    )
    for load in (store.load_iteration, lambda one: store.load_strategy_history(strategy)[0]):
        with pytest.warns(fl.BadDataWarning, match="no UTF-8; it is given as bytes, and store.check"):
            assert load(run)["note"] == b"a\xff"
    with pytest.warns(fl.BadDataWarning):
        assert store.load_strategy(strategy)["name"] == b"\xff"
    assert {(one["table"], one["column"], one["value"]) for one in store.check()} == {
        ("iterations", "note", b"a\xff"),
        ("trades", "stock_code", b"\xff"),
        ("strategies", "name", b"\xff"),
    }


def test_search_and_lineage_give_text_that_is_no_utf8_as_bytes(store: fl.StorageManager, run: str) -> None:
    strategy = store.load_iteration(run)["strategy_id"]
    child = store.save_strategy_version("child", "code", parent_strategy_id=strategy)
    spoilt(
        store.path,
        f"UPDATE strategies SET name = CAST(x'61ff' AS TEXT), code = CAST(x'ff0a636f646520' AS TEXT) "
        f"WHERE strategy_id = '{strategy}'",
    )
    for words in ("code", "co", "cod od"):
        with pytest.warns(fl.BadDataWarning, match="no UTF-8"):
            found = {one["strategy_id"]: one for one in store.search_strategies(words)}
        assert (found[strategy]["name"], found[strategy]["line"]) == (b"a\xff", 2)
        assert (found[child]["name"], found[child]["line"]) == ("child", 1)
    with pytest.warns(fl.BadDataWarning, match="no UTF-8"):
        assert [one["name"] for one in store.lineage(child)] == [b"a\xff", "child"]


@pytest.mark.parametrize(
    ("statement", "column"),
    [
        ("UPDATE strategies SET code = 'a' || char(0)", "code"),
        ("UPDATE suggestions SET description = char(12288, 9)", "description"),
        ("UPDATE trades SET exit_date = '2024-02-01', exit_price = NULL", "exit_date"),
        ("UPDATE iterations SET parameters = CAST(x'7b2261223a22ff227d' AS TEXT)", "parameters"),
    ],
)
def test_check_lists_what_a_save_would_refuse(store: fl.StorageManager, run: str, statement: str, column: str) -> None:
    assert store.check() == []
    spoilt(store.path, statement)
    assert {one["column"] for one in store.check()} == {column}


def test_an_iteration_takes_the_code_of_its_strategy_as_it_is(store: fl.StorageManager, run: str) -> None:
    strategy = store.load_iteration(run)["strategy_id"]
    spoilt(store.path, "UPDATE strategies SET code = CAST(x'61ff' AS TEXT)")
    taken = store.save_iteration(strategy)
    with pytest.warns(fl.BadDataWarning):
        assert store.load_iteration(taken)["code"] == b"a\xff"
    with store.pool.read() as connection:
        query = "SELECT typeof(code) FROM iterations WHERE iteration_id = ?"
        assert connection.execute(query, (taken,)).fetchone() == ("text",)
