"""Which iterations applied a suggestion: every link is kept, until its iteration goes."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import finlab_nb as fl
from finlab_nb.store.interchange import json_schema
from finlab_nb.store.interchange.versions import VERSIONS

DATA = Path(__file__).parents[1] / "data"
SCHEMAS = {version.name: json_schema(version) for version in VERSIONS}


@pytest.fixture
def strategy(store: fl.StorageManager) -> str:
    return store.save_strategy_version("momentum", "code")


@pytest.fixture
def run(store: fl.StorageManager, strategy: str) -> str:
    return store.save_iteration(strategy, suggestions=[{"priority": "high", "description": "try it"}])


@pytest.fixture
def number(store: fl.StorageManager, run: str) -> int:
    found: int = suggestion(store, run)["suggestion_id"]
    return found


@pytest.fixture
def other(tmp_path: Path) -> Iterator[fl.StorageManager]:
    with fl.StorageManager(tmp_path / "other.db") as manager:
        yield manager


def suggestion(store: fl.StorageManager, run: str) -> dict[str, Any]:
    found: dict[str, Any] = store.load_iteration(run)["suggestions"][0]
    return found


def state(store: fl.StorageManager, run: str) -> tuple[str, list[str]]:
    one = suggestion(store, run)
    assert one["applied_iteration_id"] == next(iter(one["applied_iteration_ids"]), None)
    return one["status"], one["applied_iteration_ids"]


def by_another_program(store: fl.StorageManager, statement: str, *values: str) -> None:
    with contextlib.closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(statement, values)


# Linking ----------------------------------------------------------------------------------------------------------


def test_a_second_run_that_applies_a_suggestion_is_named_behind_the_first(
    store: fl.StorageManager, strategy: str, run: str, number: int
) -> None:
    first = store.save_iteration(strategy, applies=[number, number])
    (second,) = store.save_iterations([{"strategy_id": strategy, "applies": [number]}])
    store.set_suggestion_status(number, "applied", run)
    store.set_suggestion_status(number, "applied", second)
    assert state(store, run) == ("applied", [first, second, run])


@pytest.mark.parametrize("status", ["applied", "rejected", "open"])
def test_a_status_without_a_run_keeps_the_links(
    store: fl.StorageManager, strategy: str, run: str, number: int, status: str
) -> None:
    tried = store.save_iteration(strategy, applies=[number])
    store.set_suggestion_status(number, status)
    assert state(store, run) == (status, [tried])


def test_a_loaded_run_with_applied_suggestions_can_be_saved_again(
    store: fl.StorageManager, strategy: str, run: str, number: int
) -> None:
    store.save_iteration(strategy, applies=[number])
    again = store.save_iteration(strategy, suggestions=store.load_iteration(run)["suggestions"])
    assert state(store, again) == ("applied", [])


# Removing ---------------------------------------------------------------------------------------------------------


def test_a_suggestion_is_open_again_when_the_last_run_that_applied_it_is_deleted(
    store: fl.StorageManager, strategy: str, run: str, number: int
) -> None:
    first, second = (store.save_iteration(strategy, applies=[number]) for _ in range(2))
    store.delete_iteration(first)
    assert state(store, run) == ("applied", [second])
    store.delete_iteration(second)
    assert state(store, run) == ("open", [])


def test_other_programs_and_cascades_open_it_again_too(
    store: fl.StorageManager, strategy: str, run: str, number: int
) -> None:
    for statement in (
        "DELETE FROM iterations WHERE iteration_id = ?",
        "INSERT OR REPLACE INTO iterations (iteration_id, strategy_id, iteration_number, code) "
        "SELECT iteration_id, strategy_id, 99, code FROM iterations WHERE iteration_id = ?",
        "DELETE FROM applications WHERE iteration_id = ?",
    ):
        tried = store.save_iteration(strategy, applies=[number])
        by_another_program(store, statement, tried)
        assert state(store, run) == ("open", [])
    child = store.save_strategy_version("child", "code")
    store.save_iteration(child, applies=[number])
    store.delete_strategy(child, cascade=True)
    assert state(store, run) == ("open", [])


@pytest.mark.parametrize("status", ["rejected", "open"])
def test_a_status_set_by_hand_stays_when_the_run_is_deleted(
    store: fl.StorageManager, strategy: str, run: str, number: int, status: str
) -> None:
    tried = store.save_iteration(strategy, applies=[number])
    store.set_suggestion_status(number, status)
    store.delete_iteration(tried)
    assert state(store, run) == (status, [])


def test_a_suggestion_that_was_applied_without_a_run_stays_so(
    store: fl.StorageManager, strategy: str, run: str, number: int
) -> None:
    bystander = store.save_iteration(strategy)
    store.set_suggestion_status(number, "applied")
    store.delete_iteration(bystander)
    assert state(store, run) == ("applied", [])


def test_links_go_with_their_suggestion(store: fl.StorageManager, strategy: str, run: str, number: int) -> None:
    store.save_iteration(strategy, applies=[number])
    store.delete_iteration(run)
    with store.pool.read() as connection:
        assert connection.execute("SELECT * FROM applications").fetchall() == []
    assert store.check() == []


# Asking -----------------------------------------------------------------------------------------------------------


def test_frames_name_all_runs_in_the_order_of_application(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "a.db") as lab:
        assert lab.suggestions()["applied_iteration_ids"].tolist() == []
        strategy = lab.store.save_strategy_version("momentum", "code")
        ids = [lab.store.save_iteration(strategy) for _ in range(3)]
        advice = [{"priority": "high", "description": "try it"}, {"priority": "low", "description": "or this"}]
        run = lab.store.save_iteration(strategy, suggestions=advice)
        number = suggestion(lab.store, run)["suggestion_id"]
        for one in reversed(ids):
            lab.store.set_suggestion_status(number, "applied", one)
        found = lab.suggestions(run)
        assert found["applied_iteration_ids"].tolist() == [ids[::-1], []]
        assert found["applied_iteration_id"].fillna("none").tolist() == [ids[2], "none"]
        assert lab.suggestions(status="open")["applied_iteration_ids"].tolist() == [[]]
        assert set(lab.sql("SELECT iteration_id FROM applications")["iteration_id"]) == set(ids)
        lab.store.delete_iteration(ids[2])
        assert lab.suggestions(status="applied")["applied_iteration_ids"].tolist() == [ids[1::-1]]
        by_another_program(lab.store, "DELETE FROM applications")
        assert lab.suggestions()["status"].tolist() == ["open", "open"]


def test_links_to_what_another_program_has_removed_are_found_by_check(
    store: fl.StorageManager, strategy: str, number: int
) -> None:
    tried = store.save_iteration(strategy, applies=[number])
    with contextlib.closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("DELETE FROM iterations WHERE iteration_id = ?", (tried,))
    assert [(one["table"], one["column"], one["value"]) for one in store.check() if one["table"] == "applications"] == [
        ("applications", "iteration_id", tried)
    ]


# Travelling -------------------------------------------------------------------------------------------------------


def exported(store: fl.StorageManager, ids: list[str], path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.export_results(ids, path).read_text(encoding="utf-8"))
    jsonschema.validate(found, SCHEMAS[found["format_version"]])
    return found


@pytest.mark.parametrize("mode", ["copy", "merge"])
@pytest.mark.parametrize("status", ["applied", "rejected", "open"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_all_links_travel(
    store: fl.StorageManager,
    other: fl.StorageManager,
    strategy: str,
    run: str,
    number: int,
    tmp_path: Path,
    mode: str,
    status: str,
    count: int,
) -> None:
    tried = [store.save_iteration(strategy, applies=[number]) for _ in range(count)]
    store.set_suggestion_status(number, status)
    ids = [*tried[::-1], run]
    file = exported(store, ids, tmp_path / "a.json")
    told = file["iterations"][-1]["suggestions"][0]
    new = count == 2 or (count == 1 and status != "applied")
    assert told.get("applied_iteration_ids") == (tried if new else None)
    assert told["applied_iteration_id"] == (tried[0] if tried and status == "applied" else None)
    *arrived, copied = other.import_results(tmp_path / "a.json", mode)
    assert state(other, copied) == (status, arrived[::-1])
    assert other.import_results(tmp_path / "a.json", "merge" if mode == "merge" else "copy")


@pytest.mark.parametrize("mode", ["copy", "merge"])
def test_values_that_break_rules_keep_all_their_links_too(
    store: fl.StorageManager, other: fl.StorageManager, strategy: str, run: str, number: int, tmp_path: Path, mode: str
) -> None:
    tried = [store.save_iteration(strategy, applies=[number]) for _ in range(2)]
    with store.pool.write() as connection:
        connection.execute("UPDATE suggestions SET priority = 'urgent'")
    file = exported(store, [*tried, run], tmp_path / "a.json")
    assert file["iterations"][-1]["as_stored"]["suggestions"][0]["applied_iteration_ids"] == tried
    with pytest.warns(fl.BadDataWarning, match="priority"):
        *arrived, copied = other.import_results(tmp_path / "a.json", mode)
    assert state(other, copied) == ("applied", arrived)


def test_links_to_runs_outside_the_file_are_left_out(
    store: fl.StorageManager, other: fl.StorageManager, strategy: str, run: str, number: int, tmp_path: Path
) -> None:
    tried = [store.save_iteration(strategy, applies=[number]) for _ in range(3)]
    path = store.export_results([run, tried[1]], tmp_path / "a.json")
    copied, arrived = other.import_results(path)
    assert state(other, copied) == ("applied", [arrived])
    store.delete_iteration(run)
    assert store.import_results(path, "merge", deleted="revive") == [run, tried[1]]
    assert state(store, run) == ("applied", tried)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", r"suggestions\[0\]\.applied_iteration_ids is 'text' \(str\); it must be a list"),
        ([5], r"suggestions\[0\]\.applied_iteration_ids\[0\] is 5 \(int\); it must be text"),
        ([" "], r"suggestions\[0\]\.applied_iteration_ids\[0\] is ' '; it must be text that is not empty"),
    ],
)
def test_wrong_links_in_a_file_are_named(
    store: fl.StorageManager, run: str, tmp_path: Path, value: object, message: str
) -> None:
    file = exported(store, [run], tmp_path / "a.json") | {"format_version": "1.3"}
    file["iterations"][0]["suggestions"][0]["applied_iteration_ids"] = value
    (tmp_path / "a.json").write_text(json.dumps(file))
    with pytest.raises(ValueError, match=rf"^\$\.iterations\[0\]\.{message}"):
        store.import_results(tmp_path / "a.json")


def test_as_stored_links_that_are_no_list_are_named(store: fl.StorageManager, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    strategy = store.save_strategy_version("momentum", "code")
    run = store.save_iteration(strategy, suggestions=[{"priority": "low", "description": "x"}])
    with store.pool.write() as connection:
        connection.execute("UPDATE suggestions SET priority = 'urgent'")
    file = exported(store, [run], path) | {"format_version": "1.3"}
    file["iterations"][0]["as_stored"]["suggestions"][0]["applied_iteration_ids"] = "i"
    path.write_text(json.dumps(file))
    with pytest.raises(ValueError, match=r"as_stored\.suggestions\[0\]\.applied_iteration_ids is 'i' \(str\); it must"):
        store.import_results(path)


# Upgrading --------------------------------------------------------------------------------------------------------


def test_the_upgrade_keeps_the_link_of_every_suggestion_and_its_number(tmp_path: Path) -> None:
    path = Path(shutil.copy(DATA / "schema_3.db", tmp_path / "research.db"))
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE sqlite_sequence SET seq = 41 WHERE name = 'suggestions'")  # later ones were removed
        query = "SELECT suggestion_id, status, applied_iteration_id FROM suggestions ORDER BY suggestion_id"
        before = connection.execute(query).fetchall()
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE suggestions SET priority = 'urgent', rationale = x'ff' WHERE suggestion_id = 5")
    with fl.Lab(path) as lab:
        assert [(one["column"], one["value"]) for one in lab.store.check()] == [
            ("priority", "urgent"),
            ("rationale", b"\xff"),
        ]
        with lab.store.pool.write() as connection:
            connection.execute("UPDATE suggestions SET priority = 'low', rationale = NULL WHERE suggestion_id = 5")
        found = lab.suggestions().sort_values("suggestion_id")
        ids = [next(iter(one), None) for one in found["applied_iteration_ids"]]
        assert list(zip(found["suggestion_id"], found["status"], ids, strict=True)) == before
        assert {status for _, status, _ in before} == {"open", "applied", "rejected"}
        strategy = lab.store.find_strategies("momentum")[0]["strategy_id"]
        run = lab.store.save_iteration(strategy, suggestions=[{"priority": "low", "description": "new"}])
        assert suggestion(lab.store, run)["suggestion_id"] == 42
        assert lab.store.import_results(DATA / "of_schema_3.json.gz", "merge")
        assert lab.store.check() == []
