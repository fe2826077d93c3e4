"""Runs travel from store to store by file, whole, and a wrong file changes nothing."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import finlab_nb as fl
from finlab_nb.store.interchange import exporting, json_schema, json_stream
from finlab_nb.store.interchange.json_stream import JsonStream
from finlab_nb.store.interchange.versions import NEWEST, VERSIONS

IDS = (
    "iteration_id",
    "strategy_id",
    "suggestion_id",
    "applied_iteration_id",
    "applied_iteration_ids",
    "parent_strategy_id",
)
SCHEMA = json.loads(
    (resources.files("finlab_nb.store.interchange") / "export_format_1_0.json").read_text(encoding="utf-8")
)
SCHEMAS = {version.name: json_schema(version) for version in VERSIONS}


@pytest.fixture
def other(tmp_path: Path) -> Iterator[fl.StorageManager]:
    with fl.StorageManager(tmp_path / "other.db") as manager:
        yield manager


@pytest.fixture
def runs(store: fl.StorageManager) -> list[str]:
    """Two runs of a strategy that has a parent of its own."""
    parent = store.save_strategy_version("momentum", "first", {"lookback": 20})
    child = store.save_strategy_version(
        "動量 🚀", "第二 = '版'\n", {"回看": 60, "big": 2**80}, parent_strategy_id=parent
    )
    first = store.save_iteration(
        child,
        7,
        trades=[trade(), trade(stock_code="0050", exit_date=None, exit_price=None, profit_loss=None)],
        equity={"2024-01-02": 100.0, "2024-01-03T09:30:00": 0.1 + 0.2},
        suggestions=[
            {"priority": "low", "description": "later", "learning_references": ["book", {"page": 1}]},
            {"priority": "high", "description": "try it"},
        ],
        metrics={"sharpe_ratio": 5e-324, "annualized_return": 2.2250738585072014e-308},
        extra_metrics={"zulu": math.inf, "alpha": -math.inf, "none": math.nan, "small": -1e-300},
        tags=["zulu", "alpha"],
        note="a note\u2028 with <b>marks</b>",
        timestamp="2024-01-02T10:00:00.123456Z",
        provenance={"engine": "vectorbt", "packages": {"套件": "2"}, "seed": -(2**63), "duration": 5e-324},
    )
    second = store.save_iteration(child, code="", parameters={})
    store.annotate(first, starred=True, archived=True)
    tried = store.load_iteration(first)["suggestions"][0]
    store.set_suggestion_status(tried["suggestion_id"], "applied", second)
    return [first, second]


def trade(**changes: Any) -> dict[str, Any]:
    return {
        "stock_code": "2330",
        "entry_date": "2024-01-02",
        "exit_date": "2024-01-09",
        "entry_price": 0.1,
        "exit_price": 0.30000000000000004,
        "position_size": -1000,
        "profit_loss": 1.5,
    } | changes


def without_ids(value: Any) -> str:
    """JSON text of a record without its ids: equal only if every number is the same to the last bit."""

    def strip(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: strip(part) for key, part in item.items() if key not in IDS}
        return [strip(part) for part in item] if isinstance(item, list) else item

    return json.dumps(strip(value))


def rows(store: fl.StorageManager) -> dict[str, list[Any]]:
    """All that is in the tables."""
    with store.pool.read() as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}


def exported(store: fl.StorageManager, ids: list[str], path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.export_results(ids, path).read_text(encoding="utf-8"))
    return found


def written(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


# Export -----------------------------------------------------------------------------------------------------------


def told(iteration: dict[str, Any]) -> dict[str, Any]:
    """Return an iteration without the optional fields that nobody knows or needs: of trades, that no trade has."""

    def known(row: dict[str, Any], rows: list[dict[str, Any]], optional: tuple[str, ...]) -> dict[str, Any]:
        return {name: row[name] for name in row if name not in optional or any(one[name] is not None for one in rows)}

    found = known(iteration, [iteration], NEWEST.iteration.optional)
    trades = found["trades"]
    for one in found["suggestions"]:
        assert one.pop("applied_iteration_ids") == [key for key in [one["applied_iteration_id"]] if key is not None]
    if found.get("provenance") is not None:
        found["provenance"] = known(found["provenance"], [found["provenance"]], NEWEST.rows["provenance"].optional)
    return found | {"trades": [known(row, trades, NEWEST.rows["trades"].optional) for row in trades]}


def test_the_file_holds_what_load_iteration_gives_and_the_strategy(
    store: fl.StorageManager, runs: list[str], tmp_path: Path
) -> None:
    found = exported(store, runs, tmp_path / "runs.json")
    assert list(found) == ["export_timestamp", "format_version", "iteration_count", "strategies", "iterations"]
    assert (found["format_version"], found["iteration_count"]) == (NEWEST.name, 2)
    first = found["iterations"][0]
    wanted = store.load_iteration(runs[0])
    assert first.pop("changes").keys() == {"starred", "archived", "suggestion"}
    assert first.pop("strategy") == store.load_strategy(wanted["strategy_id"])
    assert first["extra_metrics"] == {
        "zulu": "Infinity",
        "alpha": "-Infinity",
        "none": None,
        "small": -1e-300,
        "total_return": -0.997,
        "open_trades": 1.0,
    }
    assert wanted.pop("periods_per_year") == 252.0  # which follow from the curve
    assert first | {"extra_metrics": None} == told(wanted) | {"extra_metrics": None}
    assert [one["name"] for one in found["strategies"]] == ["momentum"]


def test_exports_follow_the_json_schema(store: fl.StorageManager, runs: list[str], tmp_path: Path) -> None:
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(exported(store, runs, tmp_path / "runs.json"), SCHEMAS[NEWEST.name])
    jsonschema.validate(exported(store, runs[1:], tmp_path / "plain.json"), SCHEMAS[NEWEST.name])
    jsonschema.validate(exported(store, [], tmp_path / "none.json"), SCHEMAS[NEWEST.name])


@pytest.mark.parametrize("ending", [".json", ".json.gz", ".json.zst", ".JSON.GZ"])
@pytest.mark.parametrize("mode", ["copy", "merge"])
def test_runs_arrive_whole(
    store: fl.StorageManager, other: fl.StorageManager, runs: list[str], tmp_path: Path, ending: str, mode: str
) -> None:
    path = store.export_results(runs, tmp_path / f"runs{ending}")
    arrived = other.import_results(path, mode)
    assert (arrived == runs) is (mode == "merge")
    for ours, theirs in zip(runs, arrived, strict=True):
        sent, got = store.load_iteration(ours), other.load_iteration(theirs)
        assert without_ids(got) == without_ids(sent)
        sent, got = store.load_strategy(sent["strategy_id"]), other.load_strategy(got["strategy_id"])
        assert without_ids(got) == without_ids(sent)
        assert other.load_strategy(got["parent_strategy_id"])["name"] == "momentum"
    assert other.load_iteration(arrived[0])["suggestions"][0]["applied_iteration_id"] == arrived[1]


def test_the_packing_is_what_the_name_says(store: fl.StorageManager, runs: list[str], tmp_path: Path) -> None:
    plain = store.export_results(runs, tmp_path / "a.json").read_bytes()
    packed = gzip.decompress(store.export_results(runs, tmp_path / "a.json.gz").read_bytes())
    assert packed[60:] == plain[60:]
    packed = (tmp_path / "a.json.zst").read_bytes() if store.export_results(runs, tmp_path / "a.json.zst") else b""
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed)) as reader:
        assert reader.read()[60:] == plain[60:]


def test_an_iteration_named_twice_is_exported_once(store: fl.StorageManager, runs: list[str], tmp_path: Path) -> None:
    assert exported(store, [runs[0], runs[0]], tmp_path / "runs.json")["iteration_count"] == 1


def test_a_failed_export_leaves_the_old_file_and_nothing_else(
    store: fl.StorageManager, runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    path = written(folder / "runs.json.gz", "old")
    with pytest.raises(fl.IterationNotFoundError, match="nowhere"):
        store.export_results([*runs, "nowhere"], path)
    monkeypatch.setattr(json_stream, "CHARACTERS_AT_MOST", 4000)
    with store.pool.write() as connection:
        connection.execute("UPDATE iterations SET note = ? WHERE iteration_id = ?", ("n" * 4000, runs[1]))
    with pytest.raises(fl.StorageError, match=f"{runs[1]}.*cannot be exported"):
        store.export_results(runs, path)
    assert path.read_text() == "old"
    assert list(folder.iterdir()) == [path]


def test_an_interrupted_export_leaves_nothing(
    store: fl.StorageManager, runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("finlab_nb.store.interchange.exporting.exported_iteration", interrupt)
    for ending in (".json", ".json.gz", ".json.zst"):
        with pytest.raises(KeyboardInterrupt):
            store.export_results(runs, folder / f"runs{ending}")
    assert list(folder.iterdir()) == []


def test_an_export_keeps_the_permissions_of_the_file_it_replaces(
    store: fl.StorageManager, runs: list[str], tmp_path: Path
) -> None:
    path = written(tmp_path / "runs.json", "old")
    path.chmod(0o640)
    store.export_results(runs, path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_an_export_is_one_moment(
    store: fl.StorageManager, runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = exporting.exported_iteration

    def delete_meanwhile(connection: sqlite3.Connection, iteration_id: str) -> dict[str, Any]:
        if iteration_id == runs[0]:
            deleting = threading.Thread(target=store.delete_iteration, args=(runs[1],))
            deleting.start()
            deleting.join()
        return load(connection, iteration_id)

    monkeypatch.setattr(exporting, "exported_iteration", delete_meanwhile)
    found = exported(store, runs, tmp_path / "runs.json")
    assert [run["iteration_id"] for run in found["iterations"]] == runs
    assert found["iterations"][0]["suggestions"][0]["applied_iteration_id"] == runs[1]
    with pytest.raises(fl.IterationNotFoundError):
        store.load_iteration(runs[1])


def test_an_export_sees_the_transaction_that_it_is_part_of(store: fl.StorageManager, tmp_path: Path) -> None:
    with store.transaction():
        run = store.save_iteration(store.save_strategy_version("new", "code"))
        assert exported(store, [run], tmp_path / "runs.json")["iteration_count"] == 1


@pytest.mark.parametrize("name", ["runs.csv", "runs", "runs.gz", "runs.json.bz2"])
def test_another_ending_is_refused(store: fl.StorageManager, tmp_path: Path, name: str) -> None:
    for call in (lambda: store.export_results([], tmp_path / name), lambda: store.import_results(tmp_path / name)):
        with pytest.raises(ValueError, match=r"whose name ends in \.json, \.json\.gz, \.json\.zst"):
            call()


def test_the_database_is_never_taken_for_an_export_file(tmp_path: Path) -> None:
    with fl.StorageManager(tmp_path / "research.json") as store:
        os.link(store.path, tmp_path / "link.json")
        os.symlink(store.path, tmp_path / "symlink.json")
        store.save_strategy_version("momentum", "code")
        os.link(f"{store.path}-wal", tmp_path / "wal.json")
        before = store.path.read_bytes()
        for name in ("research.json", "link.json", "symlink.json", "wal.json"):
            for call in (store.import_results, lambda path: store.export_results([], path)):
                with pytest.raises(ValueError, match="belongs to an open database"):
                    call(tmp_path / name)
        assert store.path.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_explained(store: fl.StorageManager, tmp_path: Path) -> None:
    with pytest.raises(fl.StorageError, match="check that the folder exists, that you may write in it"):
        store.export_results([], tmp_path / "missing" / "runs.json")
    written(tmp_path / "file", "")
    with pytest.raises(fl.StorageError, match="choose another folder"):
        store.export_results([], tmp_path / "file" / "runs.json")


@pytest.mark.parametrize("ids", ["", None, [1], [""], {"a": 1}, ["a\0b"]])
def test_wrong_iteration_ids_are_refused(store: fl.StorageManager, tmp_path: Path, ids: Any) -> None:
    with pytest.raises(ValueError, match="iteration_ids"):
        store.export_results(ids, tmp_path / "runs.json")


@pytest.mark.parametrize("path", [None, 3, b"runs.json", "a\0.json"])
def test_a_wrong_path_is_refused(store: fl.StorageManager, path: Any) -> None:
    with pytest.raises(ValueError, match="path is"):
        store.export_results([], path)
    with pytest.raises(ValueError, match="path is"):
        store.import_results(path)


def test_a_short_export_shows_no_bar(
    store: fl.StorageManager, runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.import_results(store.export_results(runs, tmp_path / "runs.json"))
    assert capsys.readouterr() == ("", "")


def test_a_longer_one_shows_a_bar_unless_it_is_unwanted(
    store: fl.StorageManager,
    runs: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("finlab_nb.store.progress._QUIET_SECONDS", 0)
    path = store.export_results(runs, tmp_path / "runs.json", progress=False)
    store.import_results(path, progress=False)
    assert capsys.readouterr().err == ""
    store.export_results(runs, path)
    store.import_results(path, "merge")
    shown = capsys.readouterr().err
    assert all(word in shown for word in ("export: 100%", "read: 100%", "compare: 100%", "import: 100%"))


# Import: copies ---------------------------------------------------------------------------------------------------


def test_a_copy_stands_beside_the_original(store: fl.StorageManager, runs: list[str], tmp_path: Path) -> None:
    path = store.export_results(runs, tmp_path / "runs.json")
    before = [store.load_iteration(run) for run in runs]
    copies = store.import_results(path)
    assert not set(copies) & set(runs)
    assert [store.load_iteration(run) for run in runs] == before
    copied = store.load_iteration(copies[0])
    assert copied["iteration_number"] == 7
    assert copied["strategy_id"] != before[0]["strategy_id"]
    old, new = store.load_strategy(before[0]["strategy_id"]), store.load_strategy(copied["strategy_id"])
    assert new["parent_strategy_id"] not in (None, old["parent_strategy_id"])


def test_a_suggestion_applied_by_a_run_outside_the_file_loses_only_its_link(
    store: fl.StorageManager, other: fl.StorageManager, runs: list[str], tmp_path: Path
) -> None:
    path = store.export_results(runs[:1], tmp_path / "runs.json")
    for into, mode, wanted in ((store, "copy", None), (other, "merge", None), (store, "merge", runs[1])):
        suggestion = into.load_iteration(into.import_results(path, mode)[0])["suggestions"][0]
        assert (suggestion["status"], suggestion["applied_iteration_id"]) == ("applied", wanted)


def test_a_file_without_the_ancestors_imports_too(
    store: fl.StorageManager, other: fl.StorageManager, runs: list[str], tmp_path: Path
) -> None:
    found = exported(store, runs, tmp_path / "runs.json")
    del found["strategies"]
    path = written(tmp_path / "runs.json", found)
    for mode in ("copy", "merge", "merge"):
        strategy_id = other.load_iteration(other.import_results(path, mode)[0])["strategy_id"]
        assert other.load_strategy(strategy_id)["parent_strategy_id"] is None
    strategy_id = store.load_iteration(store.import_results(path)[0])["strategy_id"]
    assert (
        store.load_strategy(strategy_id)["parent_strategy_id"]
        == found["iterations"][0]["strategy"]["parent_strategy_id"]
    )


def test_keys_may_come_in_any_order_and_strategies_after_their_children(
    other: fl.StorageManager, store: fl.StorageManager, runs: list[str], tmp_path: Path
) -> None:
    found = exported(store, runs, tmp_path / "runs.json")
    for name in ("changed_at", "changes", "provenance"):  # what a version adds stands after the version
        del found["iterations"][0][name]
    found = dict(reversed((found | {"format_version": "1.0"}).items()))
    path = written(tmp_path / "runs.json", "\ufeff \r\n\t" + json.dumps(found, indent=3, ensure_ascii=False) + "\n")
    assert other.import_results(path, "merge") == runs


def test_long_lines_of_descent_arrive(store: fl.StorageManager, other: fl.StorageManager, tmp_path: Path) -> None:
    strategy = None
    for i in range(60):
        strategy = store.save_strategy_version(f"v{i}", "code", parent_strategy_id=strategy)
    run = store.save_iteration(str(strategy))
    arrived = other.load_iteration(other.import_results(store.export_results([run], tmp_path / "a.json"))[0])
    ancestor, names_found = arrived["strategy_id"], []
    while ancestor is not None:
        found = other.load_strategy(ancestor)
        names_found.append(found["name"])
        ancestor = found["parent_strategy_id"]
    assert names_found == [f"v{i}" for i in reversed(range(60))]


def test_an_import_counts_as_one_change(store: fl.StorageManager, runs: list[str], tmp_path: Path) -> None:
    path = store.export_results(runs, tmp_path / "runs.json")
    [(_, _, before, *_)] = rows(store)["store_state"]
    store.import_results(path)
    [(_, _, after, *_)] = rows(store)["store_state"]
    assert after == before + 1


def test_an_import_inside_a_transaction_ends_with_it(store: fl.StorageManager, runs: list[str], tmp_path: Path) -> None:
    path = store.export_results(runs, tmp_path / "runs.json")
    before = rows(store)
    with pytest.raises(RuntimeError), store.transaction():
        store.import_results(path)
        raise RuntimeError
    assert rows(store) == before


# Import: merging --------------------------------------------------------------------------------------------------


def test_merging_twice_changes_nothing(
    store: fl.StorageManager, other: fl.StorageManager, runs: list[str], tmp_path: Path
) -> None:
    path = store.export_results(runs, tmp_path / "runs.json")
    assert other.import_results(path, "merge") == runs
    before = rows(other) | {"store_state": []}
    assert other.import_results(path, "merge") == runs
    assert rows(other) | {"store_state": []} == before


def test_merging_adds_what_is_missing(
    store: fl.StorageManager, other: fl.StorageManager, runs: list[str], tmp_path: Path
) -> None:
    other.import_results(store.export_results(runs[:1], tmp_path / "one.json"), "merge")
    assert other.import_results(store.export_results(runs[::-1], tmp_path / "two.json"), "merge") == runs[::-1]
    assert other.load_iteration(runs[1])["iteration_number"] == 8


def test_merging_leaves_what_was_written_on_a_run_afterwards(
    store: fl.StorageManager, runs: list[str], tmp_path: Path
) -> None:
    path = store.export_results(runs, tmp_path / "runs.json")
    store.annotate(runs[0], note="newer", starred=False, archived=False, add_tags=["new"], remove_tags=["zulu"])
    tried = store.load_iteration(runs[0])["suggestions"][0]
    store.set_suggestion_status(tried["suggestion_id"], "rejected")
    before = rows(store) | {"store_state": []}
    assert store.import_results(path, "merge") == runs
    assert rows(store) | {"store_state": []} == before


DIFFERENCES: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    (r"\$\.iterations\[0\]\.code is 'else', but", lambda run: run.update(code="else")),
    (r"\$\.iterations\[0\]\.timestamp", lambda run: run.update(timestamp="2024-01-02")),
    (r"\$\.iterations\[0\]\.parameters\.回看 is absent", lambda run: run["parameters"].pop("回看")),
    (r"\$\.iterations\[0\]\.parameters\.new is 1, but absent", lambda run: run["parameters"].update(new=1)),
    (r"\$\.iterations\[0\]\.metrics\.sharpe_ratio is 1\.5", lambda run: run["metrics"].update(sharpe_ratio=1.5)),
    (r"\$\.iterations\[0\]\.extra_metrics\.zulu", lambda run: run["extra_metrics"].update(zulu=1)),
    (r"\$\.iterations\[0\]\.trades has 1 items, but 2", lambda run: run["trades"].pop()),
    (r"\$\.iterations\[0\]\.trades\[1\]\.entry_price", lambda run: run["trades"][1].update(entry_price=0.2)),
    (r"\$\.iterations\[0\]\.equity\[1\]\.equity", lambda run: run["equity"][1].update(equity=0.3)),
    (r"\$\.iterations\[0\]\.suggestions\[1\]\.rationale", lambda run: run["suggestions"][1].update(rationale="x")),
    (r"\$\.iterations\[0\]\.strategy\.name is 'x', but", lambda run: run["strategy"].update(name="x")),
]


@pytest.mark.parametrize(("message", "change"), DIFFERENCES, ids=[message for message, _ in DIFFERENCES])
def test_merging_refuses_what_differs(
    store: fl.StorageManager, runs: list[str], tmp_path: Path, message: str, change: Callable[[dict[str, Any]], Any]
) -> None:
    found = exported(store, runs[:1], tmp_path / "runs.json")
    change(found["iterations"][0])
    before = rows(store)
    with pytest.raises(ValueError, match=message):
        store.import_results(written(tmp_path / "runs.json", found), "merge")
    assert rows(store) == before


@pytest.mark.parametrize("mode", ["Copy", "", None, "replace", 1])
def test_another_mode_is_refused(store: fl.StorageManager, tmp_path: Path, mode: Any) -> None:
    with pytest.raises(ValueError, match="mode is"):
        store.import_results(tmp_path / "runs.json", mode)


# Import: the original layer ---------------------------------------------------------------------------------------


@pytest.fixture
def original() -> dict[str, Any]:
    """A file as the original layer wrote it."""
    runs = [
        {
            "iteration_id": f"run-{i}",
            "strategy_id": "old-momentum",
            "iteration_number": i,
            "code": f"version {i}",
            "timestamp": "2024-01-02 10:00:00",
            "metrics": {
                "metric_id": i,
                "annualized_return": 0.1,
                "sharpe_ratio": None,
                "max_drawdown": -0.2,
                "win_rate": 0.5,
                "total_trades": 1,
            },
            "trades": [trade(trade_id=i, iteration_id=f"run-{i}", position_size=1000)],
            "suggestions": [
                {
                    "suggestion_id": i,
                    "priority": "high",
                    "description": "try it",
                    "specific_changes": None,
                    "learning_references": ["book"],
                }
            ],
        }
        for i in (1, 2)
    ]
    return {
        "export_timestamp": "2024-01-03T00:00:00.5",
        "format_version": "1.0",
        "iteration_count": 2,
        "iterations": runs,
    }


@pytest.mark.parametrize("mode", ["copy", "merge"])
def test_files_of_the_original_layer_import(
    store: fl.StorageManager, original: dict[str, Any], tmp_path: Path, mode: str
) -> None:
    jsonschema.validate(original, SCHEMA)
    path = written(tmp_path / "old.json", original)
    found = [store.load_iteration(run) for run in store.import_results(path, mode)]
    assert [run["code"] for run in found] == ["version 1", "version 2"]
    assert found[0]["timestamp"] == "2024-01-02T10:00:00.000000Z"
    assert found[0]["metrics"]["win_rate"] == 0.5
    assert found[0]["trades"][0]["position_size"] == 1000.0
    strategy = store.load_strategy(found[0]["strategy_id"])
    assert (strategy["name"], strategy["code"]) == ("old-momentum", "version 1")
    assert found[0]["strategy_id"] == found[1]["strategy_id"]
    if mode == "merge":
        assert strategy["strategy_id"] == "old-momentum"
        assert store.import_results(path, mode) == ["run-1", "run-2"]


@pytest.mark.parametrize("mode", ["copy", "merge"])
def test_a_strategy_that_is_known_is_not_made_anew(
    store: fl.StorageManager, original: dict[str, Any], tmp_path: Path, mode: str
) -> None:
    known = store.save_strategy_version("known", "its own code", {"a": 1})
    for run in original["iterations"]:
        run["strategy_id"] = known
    ids = store.import_results(written(tmp_path / "old.json", original), mode)
    strategy = store.load_strategy(store.load_iteration(ids[0])["strategy_id"])
    assert (strategy["name"], strategy["code"], strategy["parameters"]) == ("known", "its own code", {"a": 1})
    assert (strategy["strategy_id"] == known) is (mode == "merge")


def test_a_strategy_that_comes_later_in_the_file_is_known(
    store: fl.StorageManager, other: fl.StorageManager, runs: list[str], tmp_path: Path
) -> None:
    found = exported(store, runs, tmp_path / "runs.json")
    del found["iterations"][0]["strategy"]
    other.import_results(written(tmp_path / "runs.json", found), "merge")
    assert other.load_strategy(found["iterations"][0]["strategy_id"])["name"] == "動量 🚀"


def test_an_empty_list_of_the_original_layer_does_not_say_that_no_trades_were_made(
    store: fl.StorageManager, original: dict[str, Any], tmp_path: Path
) -> None:
    original["iterations"][0] |= {"metrics": None, "trades": []}
    original["iterations"][1] |= {"metrics": None}
    found = [store.load_iteration(run) for run in store.import_results(written(tmp_path / "old.json", original))]
    assert [run["metrics"]["total_trades"] for run in found] == [None, 1]
    assert [run["extra_metrics"] for run in found] == [{}, {}]


DAYS = ["2024-02-01", "2024-02-02"]
SESSION = ["2024-02-01T00:00:00", "2024-02-01T05:30:00"]
# What they are, a first and a last stamp, what is stored of them, the zone in the file, and the one that is stored.
STAMPS: list[tuple[str, list[str], list[str], str | None, str | None]] = [
    ("days", DAYS, DAYS, None, None),
    ("days of a zone", DAYS, DAYS, "Asia/Taipei", "Asia/Taipei"),
    ("midnights", ["2024-02-01T00:00:00", "2024-02-02T00:00:00"], DAYS, None, None),
    ("moments", SESSION, ["2024-02-01", "2024-02-01T05:30:00"], None, None),
    ("moments of UTC", SESSION, SESSION, "Asia/Taipei", "Asia/Taipei"),
    ("bars of an offset", ["2024-02-01T00:00:00+08:00", "2024-02-02T00:00+0800"], DAYS, None, "Etc/GMT-8"),
    ("bars of UTC", ["2024-02-01T00:00:00Z", "2024-02-02 00:00:00Z"], DAYS, None, "UTC"),
    ("bars told in UTC", ["2024-01-31T16:00:00Z", "2024-02-01T16:00:00Z"], DAYS, "Asia/Taipei", "Asia/Taipei"),
    (
        "bars of days without a midnight",
        ["2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"],
        ["2018-11-04", "2018-11-05"],
        "America/Sao_Paulo",
        "America/Sao_Paulo",
    ),
    (
        "moments of an offset",
        ["2024-02-01T08:00:00+08:00", "2024-02-01T13:30:00+08:00"],
        SESSION,
        None,
        "Etc/GMT-8",
    ),
]


@pytest.mark.filterwarnings("ignore::finlab_nb.ImplausibleDataWarning")
@pytest.mark.parametrize(
    ("given", "wanted", "told_zone", "zone"), [one[1:] for one in STAMPS], ids=[one[0] for one in STAMPS]
)
@pytest.mark.parametrize("is_original", [True, False])
def test_stamps_of_a_file_are_days_or_moments_as_in_a_save(
    store: fl.StorageManager,
    other: fl.StorageManager,
    original: dict[str, Any],
    tmp_path: Path,
    given: list[str],
    wanted: list[str],
    told_zone: str | None,
    zone: str | None,
    is_original: bool,
) -> None:
    """Only that naive moments of a known zone are UTC in a file, and its wall time in a save."""
    run = original["iterations"][0]
    entry, leave = given
    run["trades"] = [trade(entry_date=entry, exit_date=leave), trade(entry_date=entry, exit_date=None)]
    run["equity"] = [{"date": entry, "equity": 100.0}, {"date": leave, "equity": 101.0}]
    if not is_original:
        run |= {"parameters": {}, "note": None, "starred": False, "archived": False, "extra_metrics": {}, "tags": []}
        run["strategy"] = {
            "strategy_id": "old-momentum",
            "name": "momentum",
            "code": "",
            "parameters": {},
            "created_at": "2024-01-01",
            "parent_strategy_id": None,
        }
        run["suggestions"] = []
    file = original | {"iterations": [run], "iteration_count": 1}
    if told_zone is not None:
        run["timezone"], file["format_version"] = told_zone, "1.2"
    [arrived] = store.import_results(written(tmp_path / "a.json", file), "merge")
    found = store.load_iteration(arrived)
    assert [found["trades"][0][name] for name in ("entry_date", "exit_date")] == wanted
    assert [point["date"] for point in found["equity"]] == wanted
    assert found["timezone"] == zone
    path = store.export_results([arrived], tmp_path / "b.json")
    assert "as_stored" not in json.loads(path.read_text(encoding="utf-8"))["iterations"][0]
    assert other.import_results(path, "merge") == [arrived]
    assert without_ids(other.load_iteration(arrived)) == without_ids(found)
    assert store.import_results(tmp_path / "a.json", "merge") == [arrived]


def test_a_session_close_is_the_day_of_the_market(
    store: fl.StorageManager, original: dict[str, Any], tmp_path: Path
) -> None:
    closes = ["2024-02-01T21:00:00Z", "2024-02-02T21:00:00Z", "2024-02-05T21:00:00Z"]
    run = original["iterations"][0]
    run["equity"] = [{"date": close, "equity": 100.0 + i} for i, close in enumerate(closes)]
    run["timezone"] = "Australia/Sydney"
    file = original | {"iterations": [run], "iteration_count": 1, "format_version": "1.2"}
    [arrived] = store.import_results(written(tmp_path / "a.json", file))
    found = [point["date"] for point in store.load_iteration(arrived)["equity"]]
    assert found == ["2024-02-02", "2024-02-03", "2024-02-06"]


def test_an_import_converts_and_doubts_nothing(
    store: fl.StorageManager, original: dict[str, Any], tmp_path: Path
) -> None:
    original["iterations"][0]["metrics"]["max_drawdown"] = -33.08
    (first, _) = store.import_results(written(tmp_path / "old.json", original))  # warnings are errors in these tests
    assert store.load_iteration(first)["metrics"]["max_drawdown"] == -33.08
    for name, value, message in (
        ("parameters", {"a": [1e400]}, r"parameters\.a\[0\] is inf"),
        ("parameters", {"a": {"b": "x\0"}}, r"parameters\.a\.b is 'x\\x00'; it must be text without NUL"),
        ("extra_metrics", {"a": "x"}, r"extra_metrics\.a is 'x' \(str\); it must be a number"),
    ):
        text = json.dumps(
            original | {"iterations": [original["iterations"][0] | {name: value}]} | {"iteration_count": 1}
        )
        path = tmp_path / "wrong.json"
        path.write_text(text.replace("Infinity", "1e400"), encoding="utf-8")
        with pytest.raises(ValueError, match=rf"\$\.iterations\[0\]\.{message}"):
            store.import_results(path)


def test_figures_of_the_original_layer_in_percent_are_refused(
    store: fl.StorageManager, original: dict[str, Any], tmp_path: Path
) -> None:
    original["iterations"][1]["metrics"]["win_rate"] = 55
    with pytest.raises(ValueError, match=r"\$\.iterations\[1\]\.metrics\.win_rate is 55; .* from 0 to 1"):
        store.import_results(written(tmp_path / "old.json", original))


# Import: wrong files ----------------------------------------------------------------------------------------------


def put(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change of one value."""
    *way, last, value = path

    def change(found: Any) -> None:
        for step in way:
            found = found[step]
        found[last] = value

    return change


def drop(*path: Any) -> Callable[[dict[str, Any]], None]:
    *way, last = path

    def change(found: Any) -> None:
        for step in way:
            found = found[step]
        del found[last]

    return change


RUN = ("iterations", 0)
NEW_IN_VERSIONS = (("format_version",), (*RUN, "changed_at"), (*RUN, "changes"), (*RUN, "provenance"))
WRONG: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("$.format_version is '2.0'", put("format_version", "2.0")),
    ("$.format_version is 1.0", put("format_version", 1.0)),
    ("$.format_version is missing", lambda found: [drop(*place)(found) for place in NEW_IN_VERSIONS]),
    ("$.export_timestamp is missing", drop("export_timestamp")),
    ("$.export_timestamp is 'soon'", put("export_timestamp", "soon")),
    ("$.export_timestamp is 3 (int)", put("export_timestamp", 3)),
    ("$.iteration_count is missing", drop("iteration_count")),
    ("$.iteration_count is 3, but $.iterations holds 2", put("iteration_count", 3)),
    ("$.iteration_count is True", put("iteration_count", True)),
    ("$.iteration_count is '2'", put("iteration_count", "2")),
    ("$.iterations is missing", drop("iterations")),
    ("$.iterations is '{}", put("iterations", {})),
    ("$.iterations is 'null", put("iterations", None)),
    ("$.strategies is ", put("strategies", None)),
    ("$ has the unknown field 'new'", put("new", 1)),
    ("$.iterations[0] is 3; it must be an object", put(*RUN, 3)),
    ("$.iterations[0].code is missing", drop(*RUN, "code")),
    ("$.iterations[0].tags is missing", drop(*RUN, "tags")),
    ("$.iterations[0].equity is null", put(*RUN, "equity", None)),
    ("$.iterations[0].code is null", put(*RUN, "code", None)),
    ("$.iterations[0].iteration_id is null", put(*RUN, "iteration_id", None)),
    ("$.iterations[0].iteration_id is ' '; it must be text that is not empty", put(*RUN, "iteration_id", " ")),
    ("$.iterations[0].iteration_id is 3 (int)", put(*RUN, "iteration_id", 3)),
    ("$.iterations[0].iteration_number is null", put(*RUN, "iteration_number", None)),
    ("$.iterations[0].iteration_number is 0", put(*RUN, "iteration_number", 0)),
    ("$.iterations[0].iteration_number is True", put(*RUN, "iteration_number", True)),
    ("$.iterations[0].iteration_number is 9223372036854775808", put(*RUN, "iteration_number", 2**63)),
    ("$.iterations[0].timestamp is 'yesterday'", put(*RUN, "timestamp", "yesterday")),
    ("$.iterations[0].starred is 1", put(*RUN, "starred", 1)),
    ("$.iterations[0].note is 3", put(*RUN, "note", 3)),
    ("$.iterations[0].note is 'a\\x00b'; it must be text without NUL characters", put(*RUN, "note", "a\0b")),
    ("$.iterations[0].note is 'a\\ud800b'; it must be Unicode text", put(*RUN, "note", "a\ud800b")),
    ("$.iterations[0].tags is 'a'; it must be a list", put(*RUN, "tags", "a")),
    ("$.iterations[0].tags[0] is None", put(*RUN, "tags", [None])),
    ("$.iterations[0].provenance is []; it must be an object", put(*RUN, "provenance", [])),
    ("$.iterations[0].provenance has the unknown field 'gpu'", put(*RUN, "provenance", "gpu", "H200")),
    ("$.iterations[0].provenance.seed is 1.5", put(*RUN, "provenance", "seed", 1.5)),
    ("$.iterations[0].provenance.duration is -1", put(*RUN, "provenance", "duration", -1)),
    ("$.iterations[0].provenance.engine is ''", put(*RUN, "provenance", "engine", "")),
    ("$.iterations[0].provenance.packages is []", put(*RUN, "provenance", "packages", [])),
    ("$.iterations[0].parameters is []; it must be an object", put(*RUN, "parameters", [])),
    ("$.iterations[0].metrics.win_rate is missing", drop(*RUN, "metrics", "win_rate")),
    ("$.iterations[0].metrics.win_rate is 1.5", put(*RUN, "metrics", "win_rate", 1.5)),
    ("$.iterations[0].metrics.sharpe_ratio is True", put(*RUN, "metrics", "sharpe_ratio", True)),
    ("$.iterations[0].metrics.sharpe_ratio is '1'", put(*RUN, "metrics", "sharpe_ratio", "1")),
    ("$.iterations[0].metrics has the unknown field 'new'", put(*RUN, "metrics", "new", 1)),
    ("$.iterations[0].metrics.max_drawdown is 0.5", put(*RUN, "metrics", "max_drawdown", 0.5)),
    ("$.iterations[0].extra_metrics.zulu is 'NaN'", put(*RUN, "extra_metrics", "zulu", "NaN")),
    ("$.iterations[0].trades[1].entry_price is True", put(*RUN, "trades", 1, "entry_price", True)),
    ("$.iterations[0].trades[1].entry_price is '1'", put(*RUN, "trades", 1, "entry_price", "1")),
    ("$.iterations[0].trades[1].entry_price is None", put(*RUN, "trades", 1, "entry_price", None)),
    ("$.iterations[0].trades[1].entry_price is missing", drop(*RUN, "trades", 1, "entry_price")),
    ("$.iterations[0].trades[1].entry_price is [1]", put(*RUN, "trades", 1, "entry_price", [1])),
    ("$.iterations[0].trades[1].stock_code is the number 50", put(*RUN, "trades", 1, "stock_code", 50)),
    ("$.iterations[0].trades[1].entry_date is '2024-02-30'", put(*RUN, "trades", 1, "entry_date", "2024-02-30")),
    ("$.iterations[0].trades[0].exit_date is '2023-01-02', before", put(*RUN, "trades", 0, "exit_date", "2023-01-02")),
    ("$.iterations[0].trades[1] has the unknown field 'fee'", put(*RUN, "trades", 1, "fee", 1)),
    ("$.iterations[0].trades[1] is []", put(*RUN, "trades", 1, [])),
    ("$.iterations[0].trades is {}; it must be a list", put(*RUN, "trades", {})),
    ("$.iterations[0].equity has the date '2024-01-02' twice", put(*RUN, "equity", 1, "date", "2024-01-02")),
    ("$.iterations[0].equity is {}; it must be a list", put(*RUN, "equity", {})),
    ("$.iterations[0].suggestions[0].priority is 'urgent'", put(*RUN, "suggestions", 0, "priority", "urgent")),
    ("$.iterations[0].suggestions[0].status is missing", drop(*RUN, "suggestions", 0, "status")),
    (
        "$.iterations[0].suggestions[0].applied_iteration_id is 3",
        put(*RUN, "suggestions", 0, "applied_iteration_id", 3),
    ),
    ("$.iterations[0].suggestions[0].applied_iteration_id", put(*RUN, "suggestions", 0, "status", "open")),
    ("$.iterations[0].suggestions[1].learning_references", put(*RUN, "suggestions", 1, "learning_references", "b")),
    ("$.iterations[0].strategy is null", put(*RUN, "strategy", None)),
    ("$.iterations[0].strategy.name is missing", drop(*RUN, "strategy", "name")),
    ("$.iterations[0].strategy.name is ''", put(*RUN, "strategy", "name", "")),
    ("$.iterations[0].strategy.parameters is None", put(*RUN, "strategy", "parameters", None)),
    ("$.iterations[0].strategy.created_at is None", put(*RUN, "strategy", "created_at", None)),
    ("$.iterations[0].strategy.strategy_id is 'x'", put(*RUN, "strategy", "strategy_id", "x")),
    ("$.iterations[1].strategy differs from $.iterations[0].strategy", put(*RUN, "strategy", "name", "x")),
    ("$.strategies[0].name is 3", put("strategies", 0, "name", 3)),
]


@pytest.mark.parametrize(("message", "change"), WRONG, ids=[f"{i}-{message}" for i, (message, _) in enumerate(WRONG)])
def test_a_wrong_value_is_refused_by_its_json_path(
    store: fl.StorageManager, runs: list[str], tmp_path: Path, message: str, change: Callable[[dict[str, Any]], None]
) -> None:
    found = exported(store, runs, tmp_path / "runs.json")
    change(found)
    path = written(tmp_path / "runs.json", found)
    before = rows(store)
    for mode in ("copy", "merge"):
        with pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared below
            store.import_results(path, mode)
        assert str(raised.value).startswith(message)
    assert rows(store) == before


def test_ids_and_numbers_that_occur_twice_are_refused(
    store: fl.StorageManager, runs: list[str], tmp_path: Path
) -> None:
    found = exported(store, runs, tmp_path / "runs.json")
    found["iterations"][1]["iteration_id"] = runs[0]
    with pytest.raises(
        ValueError, match=r"\$\.iterations\[1\]\.iteration_id is .*; an iteration before it has this id"
    ):
        store.import_results(written(tmp_path / "runs.json", found))
    found["iterations"][1] |= {"iteration_id": "x", "iteration_number": 7}
    with pytest.raises(ValueError, match=r"\$\.iterations\[1\]\.iteration_number is 7; an iteration of this strategy"):
        store.import_results(written(tmp_path / "runs.json", found))


def test_parents_that_lead_back_are_refused(store: fl.StorageManager, runs: list[str], tmp_path: Path) -> None:
    found = exported(store, runs, tmp_path / "runs.json")
    parent = found["strategies"][0]
    for target in (parent["strategy_id"], found["iterations"][0]["strategy_id"]):
        parent["parent_strategy_id"] = target
        path = written(tmp_path / "runs.json", found)
        for mode in ("copy", "merge"):
            with pytest.raises(ValueError, match=r"\$\.strategies\[0\]\.parent_strategy_id is .* lead back"):
                store.import_results(path, mode)


HEAD = '"export_timestamp": "2024-01-02", "format_version": "1.0", "iteration_count": 0'
TEXTS = [
    ("nothing", "", r"\$ is the end of the file; it must be an object"),
    ("a list", "[]", r"\$ is '\[\]'; it must be an object"),
    ("two texts", "{" + HEAD + ', "iterations": []} {}', r"\$: the text goes on after its end"),
    ("a key twice", "{" + HEAD + ', "iterations": [], "iterations": []}', r"\$: the key 'iterations' occurs twice"),
    (
        "a key twice within",
        '{"iterations": [{"a": {"b": 1, "b": 2}}]}',
        r"\$\.iterations\[0\]: the key 'b' occurs twice",
    ),
    ("no number", '{"iterations": [{"a": NaN}]}', r"\$\.iterations\[0\]: NaN is no JSON"),
    ("infinity", '{"iterations": [{"a": -Infinity}]}', r"\$\.iterations\[0\]: -Infinity is no JSON"),
    ("digits", '{"iterations": [{"a": ' + "9" * 5000 + "}]}", r"\$\.iterations\[0\]: .* has 5000 digits"),
    ("comma", '{"iterations": [,]}', r"\$\.iterations\[0\]: Expecting value: line 1 column 1"),
    ("comma within", '{"iterations": [{"a": 1,}]}', r"\$\.iterations\[0\]: .*: line 1 column [89]"),
    ("no comma", '{"iterations": [1 2]}', r"\$\.iterations\[0\] is 1; it must be an object"),
    ("comment", "/* */ {}", r"\$ is '/\* \*/ \{\}'"),
    ("word", '{"iteration_count": nil}', r"\$\.iteration_count: Expecting value"),
    ("control character", '{"export_timestamp": "a\nb"}', r"\$\.export_timestamp: Invalid control character"),
    ("escape", '{"export_timestamp": "\\q"}', r"\$\.export_timestamp: Invalid \\escape"),
    ("nesting", '{"iterations": ' + "[" * 100_000, r"\$\.iterations\[0\] is nested more than 500 levels"),
    ("nesting of objects", '{"iterations": [' + '{"a":' * 600, r"\$\.iterations\[0\] is nested more than 500"),
    ("brackets", '{"iterations": [[}', r"\$\.iterations\[0\]: "),
    ("the end after a comma", '{"iterations": [ \n', r"\$\.iterations\[0\]: the text ends within this value"),
    ("no name", '{"a": 1, 3: 4}', r"\$ has the unknown field 'a'"),
    ("number as name", "{3: 4}", r"\$: the name of a field is expected, not '3: 4\}'"),
    ("no colon", '{"iterations" []}', r"\$: ':' is expected, not '\[\]\}'"),
]


@pytest.mark.parametrize(("text", "message"), [one[1:] for one in TEXTS], ids=[one[0] for one in TEXTS])
def test_what_is_no_json_is_refused(store: fl.StorageManager, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        store.import_results(written(tmp_path / "runs.json", text))


def test_numbers_beyond_64_bits_are_refused_where_a_figure_is_wanted(
    store: fl.StorageManager, runs: list[str], tmp_path: Path
) -> None:
    text = store.export_results(runs, tmp_path / "runs.json").read_text(encoding="utf-8")
    for old, new, field in (
        ('"small": -1e-300', '"small": -1e999', r"extra_metrics\.'small' does not fit"),
        ('"entry_price": 0.1', '"entry_price": 1e999', r"trades\[0\]\.entry_price is inf"),
        ('"entry_price": 0.1', f'"entry_price": 1{"0" * 400}', r"trades\[0\]\.entry_price is 1000"),
        ('"回看": 60', '"回看": 1e999', r"strategy\.parameters\.回看 is inf"),
    ):
        with pytest.raises(ValueError, match=rf"\$\.iterations\[0\]\.{field}"):
            store.import_results(written(tmp_path / "changed.json", text.replace(old, new)))


@pytest.mark.parametrize("ending", [".json", ".json.gz", ".json.zst"])
def test_truncated_files_are_refused(store: fl.StorageManager, runs: list[str], tmp_path: Path, ending: str) -> None:
    whole = store.export_results(runs, tmp_path / f"runs{ending}").read_bytes()
    before = rows(store)
    path = tmp_path / f"cut{ending}"
    for length in {*range(0, len(whole) - 8, 1 + len(whole) // 150)}:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"^\$"):
            store.import_results(path)
    assert rows(store) == before


def test_bytes_that_are_no_utf8_are_refused(store: fl.StorageManager, runs: list[str], tmp_path: Path) -> None:
    whole = store.export_results(runs, tmp_path / "runs.json").read_bytes()
    path = tmp_path / "changed.json"
    for bad in (b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf8\x88\x80\x80\x80"):
        path.write_bytes(whole.replace(b"a note", b"a " + bad))
        with pytest.raises(ValueError, match=r"\$.*the text is not UTF-8"):
            store.import_results(path)
    path.write_text(whole.decode(), encoding="utf-16")
    with pytest.raises(ValueError, match=r"\$: the text is not UTF-8"):
        store.import_results(path)


@pytest.mark.parametrize(
    ("name", "content"), [("a.json.gz", b"{}"), ("a.json.zst", b"{}"), ("a.json", gzip.compress(b"{}", mtime=0))]
)
def test_a_file_packed_otherwise_than_its_name_says_is_refused(
    store: fl.StorageManager, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"^\$: "):
        store.import_results(tmp_path / name)


def test_a_file_that_cannot_be_read_is_explained(store: fl.StorageManager, tmp_path: Path) -> None:
    with pytest.raises(fl.StorageError, match="check that the file exists"):
        store.import_results(tmp_path / "missing.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(fl.StorageError, match="is no file"):
        store.import_results(tmp_path / "folder.json")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.json")
        with pytest.raises(fl.StorageError, match="is no file"):
            store.import_results(tmp_path / "pipe.json")


def test_a_bomb_is_refused_before_it_fills_the_memory(
    store: fl.StorageManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "CHARACTERS_AT_MOST", 2**20)
    monkeypatch.setattr(json_stream, "CONTAINERS_AT_MOST", 1000)
    for start, filling, message in (
        ('{"iterations": ["', "a", "is longer than 1048576 characters"),
        ('{"export_timestamp": ', "1", "is longer than 1048576 characters"),
        ('{"iterations": [[', "1,", "is longer than 1048576 characters"),
        ("", " ", "is longer than 1048576 characters"),
        ('{"iterations": [', "\n", "is longer than 1048576 characters"),
        ('{"iterations": [[', "[],", r"\$\.iterations\[0\] holds \d+ lists and objects"),
    ):
        with gzip.open(tmp_path / "bomb.json.gz", "wt", compresslevel=1) as file:
            file.write(start)
            for _ in range(64):
                file.write(filling * 2**20)
        with pytest.raises(ValueError, match=message):
            store.import_results(tmp_path / "bomb.json.gz")
    with pytest.raises(ValueError, match=r"\$\.iterations\[0\] holds 2001 lists and objects"):
        store.import_results(written(tmp_path / "many.json", '{"iterations": [[' + "[]," * 2000 + "1]]}"))


def test_what_an_import_would_refuse_for_its_size_is_not_exported(
    store: fl.StorageManager, runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "CHARACTERS_AT_MOST", 1000)
    with pytest.raises(fl.StorageError, match=f"{runs[0]}.* is longer than 1000 characters"):
        store.export_results(runs, tmp_path / "runs.json")
    assert not (tmp_path / "runs.json").exists()


@settings(max_examples=200)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=30,
    ),
    size=st.integers(1, 40),
    indent=st.none() | st.integers(0, 3),
    ascii_only=st.booleans(),
)
def test_a_stream_reads_what_json_loads_reads(value: Any, size: int, indent: int | None, ascii_only: bool) -> None:
    values = [value, [value], {"k": value}]
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    data = io.StringIO(text)
    stream = JsonStream(lambda _: data.read(size))
    assert repr([item for _, item in stream.items("$")]) == repr(json.loads(text))
    stream.end()


# Round trips ------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
names = texts.filter(lambda one: bool(one.strip()))
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [5e-324, 1.7976931348623157e308, -0.0, 0.1]
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts | st.integers(-(10**40), 10**40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
days = st.dates().map(lambda day: day.isoformat()) | st.datetimes().map(lambda moment: moment.isoformat())


@st.composite
def trades(draw: st.DrawFn) -> dict[str, Any]:
    entry, leave = sorted([draw(days), draw(days)])
    is_open = draw(st.booleans())
    return {
        "stock_code": draw(names),
        "entry_date": entry[:10],
        "exit_date": None if is_open else leave,
        "entry_price": draw(numbers),
        "exit_price": draw(st.none() | numbers) if is_open else draw(numbers),
        "position_size": draw(numbers | st.integers(-(10**6), 10**6)),
        "profit_loss": draw(st.none() | numbers),
    } | draw(known_by_engines)


def optionally(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return some fields, or mostly none, as most engines know few."""
    return st.just({}) | st.fixed_dictionaries({}, optional=fields)


known_by_engines = optionally(
    trade_return=st.none() | numbers,
    fees=numbers,
    mae=numbers.map(lambda one: -abs(one)),
    mfe=numbers.map(abs),
    multiplier=st.floats(1e-3, 1e6),
    entry_reason=st.none() | texts,
    exit_reason=texts,
    extra=st.none() | st.dictionaries(texts, plain, min_size=1, max_size=3),
)
suggestions = st.fixed_dictionaries(
    {"priority": st.sampled_from(["high", "medium", "low"]), "description": names},
    optional={
        "specific_changes": st.none() | texts,
        "rationale": texts,
        "learning_references": st.none() | st.lists(plain, max_size=3),
        "status": st.sampled_from(["open", "applied", "rejected"]),
    },
)
origins = st.fixed_dictionaries(
    {
        **dict.fromkeys(("engine", "engine_version", "code_hash", "host", "result_hash"), st.none() | names),
        "packages": st.none() | st.dictionaries(texts, texts, max_size=3),
        "data_fingerprint": st.none() | texts,
        "seed": st.none() | st.integers(-(2**63), 2**63 - 1),
        "duration": st.none() | st.floats(0, 1e300),
    }
)
records = st.fixed_dictionaries(
    {},
    optional={
        "code": texts,
        "iteration_number": st.integers(1, 2**62),
        "metrics": st.fixed_dictionaries(
            {},
            optional={
                "annualized_return": numbers,
                "sharpe_ratio": st.none() | numbers,
                "max_drawdown": numbers.map(lambda one: -abs(one)),
                "win_rate": st.floats(0, 1),
                "total_trades": st.integers(0, 2**62),
            },
        ),
        "extra_metrics": st.dictionaries(names, st.none() | st.floats(), max_size=4),
        "trades": st.lists(trades(), max_size=4),
        "suggestions": st.lists(suggestions, max_size=3),
        "equity": st.dictionaries(st.dates().map(lambda day: day.isoformat()), st.floats(0.01, 1e15), max_size=4)
        | st.dictionaries(st.datetimes().map(lambda moment: moment.isoformat()), st.floats(0.01, 1e15), max_size=4)
        | st.integers(20, 60).map(lambda count: {str(date.fromordinal(738_000 + i)): 1.0 + i for i in range(count)}),
        "parameters": st.dictionaries(texts, plain, max_size=3),
        "tags": st.lists(names, max_size=3),
        "provenance": origins,
        "note": texts,
        "timestamp": st.datetimes(),
        "initial_capital": st.floats(1e-3, 1e15),
        "timezone": st.sampled_from(["Asia/Taipei", "America/New_York", "UTC", "America/Sao_Paulo", "Pacific/Apia"]),
        "periods_per_year": st.sampled_from([252, 365, 1.5, 98_280]),
        "currency": names,
    },
)


def given_metrics(store: fl.StorageManager, iteration_id: str) -> list[Any]:
    """Return what is marked as given; a file does not tell an empty list of trades from none."""
    query = """
        SELECT name, computed FROM given_metrics WHERE iteration_id = ?1 AND (name NOT IN ('win_rate', 'total_trades')
        OR EXISTS (SELECT 1 FROM trades WHERE iteration_id = ?1)) ORDER BY name"""
    with store.pool.read() as connection:
        return connection.execute(query, (iteration_id,)).fetchall()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::finlab_nb.ImplausibleDataWarning")
@settings(max_examples=60)
@given(
    given_runs=st.lists(records, max_size=3, unique_by=lambda run: run.get("iteration_number", object())),
    ending=st.sampled_from([".json", ".json.gz", ".json.zst"]),
    name=names,
    parameters=st.dictionaries(texts, plain, max_size=3),
)
def test_arbitrary_runs_survive_the_journey(
    given_runs: list[dict[str, Any]], ending: str, name: str, parameters: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / f"runs{ending}"
    with fl.StorageManager(":memory:") as ours, fl.StorageManager(":memory:") as theirs:
        strategy = ours.save_strategy_version(name, name, parameters)
        numbered = [run.get("iteration_number", 2**62 + 1 + i) for i, run in enumerate(given_runs)]
        ids = [
            ours.save_iteration(strategy, **(run | {"iteration_number": number}))
            for run, number in zip(given_runs, numbered, strict=True)
        ]
        ours.export_results(ids, path)
        if ending == ".json":
            found = json.loads(path.read_text(encoding="utf-8"))
            jsonschema.validate(found, SCHEMAS[found["format_version"]])
        merged, copied = theirs.import_results(path, "merge"), theirs.import_results(path, "copy")
        assert merged == ids
        for ours_id, copy_id in zip(ids, copied, strict=True):
            sent, same, copy = (
                ours.load_iteration(ours_id),
                theirs.load_iteration(ours_id),
                theirs.load_iteration(copy_id),
            )
            assert without_ids(same) == without_ids(sent) == without_ids(copy)
            assert given_metrics(theirs, ours_id) == given_metrics(ours, ours_id) == given_metrics(theirs, copy_id)
            assert same["strategy_id"] == strategy
            assert theirs.load_strategy(strategy) == ours.load_strategy(strategy)
        assert theirs.import_results(path, "merge") == ids


# Size -------------------------------------------------------------------------------------------------------------

PROBE = """
import pathlib, re, sys
import finlab_nb as fl
from finlab_nb.store.interchange.versions import V1_0
task, database, path = sys.argv[1:]
with fl.StorageManager(database) as store:
    if task == "export":
        with store.pool.read() as connection:
            ids = [key for (key,) in connection.execute("SELECT iteration_id FROM iterations")]
        store.export_results(ids, path, progress=False)
    else:
        store.import_results(path, task, progress=False)
status = pathlib.Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) // 1024)
"""


@pytest.mark.reliability
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the memory from /proc")
def test_2_500_000_trades_pass_within_300_megabytes(tmp_path: Path) -> None:
    count = 5000 if (os.environ.get("FINLAB_NB_LONG") == "1") else 100
    with fl.StorageManager(tmp_path / "many.db") as store:
        strategy = store.save_strategy_version("many", "code")
        many = [
            trade(stock_code=f"{i:04d}", entry_price=i / 7, exit_price=i / 3, profit_loss=i / 11) for i in range(500)
        ]
        store.save_iterations({"strategy_id": strategy, "trades": many} for _ in range(count))
    path = str(tmp_path / "many.json")
    for task, database in (("export", "many.db"), ("copy", "copy.db"), ("merge", "many.db")):
        command = [sys.executable, "-c", PROBE, task, str(tmp_path / database), path]
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
        assert int(finished.stdout) < 300, task
    with sqlite3.connect(tmp_path / "copy.db") as connection:
        assert connection.execute("SELECT count(*) FROM trades").fetchone() == (count * 500,)
    connection.close()


def test_another_database_that_is_open_here_is_never_read_as_an_export(store, tmp_path):
    with fl.StorageManager(tmp_path / "other.json") as other:
        for call in (store.import_results, lambda path: store.export_results([], path)):
            with pytest.raises(ValueError, match="belongs to an open database"):
                call(other.path)
