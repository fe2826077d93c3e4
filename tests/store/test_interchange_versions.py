"""Versions of the export format: each has its own fields, older and newer ones are read, stored files still import."""

from __future__ import annotations

import contextlib
import copy
import gzip
import itertools
import json
import shutil
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import finlab_nb as fl
from finlab_nb.records.rules import NUMBER
from finlab_nb.records.tables import TABLES, TRADE_FIELDS, Column, Table
from finlab_nb.store.interchange import as_stored, json_schema, versions
from finlab_nb.store.interchange.versions import NEWEST, OLDEST, ORIGINAL, V1_0, V1_1, V1_2, VERSIONS, Version

DATA = Path(__file__).parents[1] / "data"
FIELDS_OF = {"strategies": "strategy", "iterations": "iteration"}
# What is no part of an iteration, and what follows from the rest of it.
NOT_EXPORTED = ("series_names", "series", "curves", "given_metrics", "applications")  # which suggestions tell of
TYPES = {
    "text": "string",
    "float": "number",
    "whole": "integer",
    "flag": "boolean",
    "date": "string",
    "moment": "string",
    "object": "object",
    "array": "array",
}


@pytest.fixture
def other(tmp_path: Path) -> Iterator[fl.StorageManager]:
    with fl.StorageManager(tmp_path / "other.db") as manager:
        yield manager


def parsed(version: str) -> dict[str, Any]:
    """Return a stored export."""
    found: dict[str, Any] = json.loads(
        gzip.decompress((DATA / f"export_{version.replace('.', '_')}.json.gz").read_bytes())
    )
    return found


def trade(**changes: Any) -> dict[str, Any]:
    return {
        "stock_code": "2330",
        "entry_date": "2024-01-02",
        "exit_date": "2024-01-09",
        "entry_price": 100.0,
        "exit_price": 101.0,
        "position_size": 1000.0,
        "profit_loss": 1000.0,
    } | changes


def written(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def stored(store: fl.StorageManager, query: str) -> list[tuple[Any, ...]]:
    """Return rows as another program reads them, text as bytes."""
    with contextlib.closing(sqlite3.connect(store.path)) as connection:
        connection.text_factory = bytes
        return connection.execute(query).fetchall()


# Stored exports ---------------------------------------------------------------------------------------------------


def test_an_export_of_each_version_is_kept() -> None:
    names = {f"export_{version.name.replace('.', '_')}.json.gz" for version in VERSIONS}
    assert {path.name for path in DATA.glob("export_*")} == names
    for version in VERSIONS:
        assert parsed(version.name)["format_version"] == version.name


@pytest.mark.parametrize("mode", ["copy", "merge"])
def test_the_stored_export_of_1_0_imports(store: fl.StorageManager, mode: str) -> None:
    ids = store.import_results(DATA / "export_1_0.json.gz", mode)
    first, third, second = map(store.load_iteration, ids)
    assert (first["iteration_number"], third["iteration_number"], second["iteration_number"]) == (3, 1, 4)
    assert first["code"] == "# 第二版\nclose.rolling(60) > 0\n"
    assert (second["code"], second["parameters"]) == ("", {})
    assert first["parameters"] == {"回看": 60, "huge": 2**80, "nested": {"a": [1, 2.5, None, True]}}
    assert [one["timestamp"] for one in (first, second, third)] == [
        "2024-03-01T08:09:10.123456Z",
        "2024-03-02T00:00:00.000000Z",
        "2024-03-03T00:00:00.000000Z",
    ]
    names = ("annualized_return", "sharpe_ratio", "max_drawdown", "win_rate", "total_trades")
    assert [first["metrics"][name] for name in names] == [0.125, 1.5, -0.25, 0.5, 2]
    assert set(second["metrics"].values()) == {None}
    assert first["extra_metrics"] == {
        "profit_factor": float("inf"),
        "worst": float("-inf"),
        "unknown": None,
        "engine.alpha": 0.1,
    }
    names = ("stock_code", "entry_date", "exit_date", "entry_price", "exit_price", "position_size", "profit_loss")
    assert [tuple(trade[name] for name in names) for trade in first["trades"]] == [
        ("台積電", "2023-12-29", "2023-12-29T13:30:00", 5e-324, 1.7976931348623157e308, 1.5, -1.0),
        ("2330", "2024-01-02", "2024-02-01", 593.5, 626.1, 1000.0, 32600.0),
        ("0050", "2024-01-02T09:05:00.250000", None, 0.1, 0.30000000000000004, -0.5, None),
    ]
    assert first["equity"][1:] == [
        {"date": "2024-01-03", "equity": 1000100.25},
        {"date": "2024-01-03T13:30:00", "equity": 0.0},
    ]
    high, medium, low = first["suggestions"]
    assert (high["description"], high["specific_changes"], high["status"]) == (
        "試試 90 天",
        "lookback 60 -> 90",
        "applied",
    )
    assert high["applied_iteration_id"] == ids[2]
    assert (medium["status"], low["learning_references"]) == ("rejected", ["Lo 2004", {"page": 7}])
    assert first["tags"] == ["夜盤", "a"]
    assert first["note"] == 'a note\u2028 with <b>marks</b> & "quotes"'
    assert [(one["starred"], one["archived"]) for one in (first, third)] == [(True, False), (False, True)]
    family = store.lineage(first["strategy_id"])
    assert [(one["name"], one["depth"]) for one in family] == [("動量 momentum", -1), ("動量 momentum", 0)]
    assert store.load_strategy(family[0]["strategy_id"])["parameters"] == {"lookback": 20}
    assert store.load_strategy(third["strategy_id"])["name"] == "mean reversion 🚀"
    assert store.check() == []


@pytest.mark.parametrize("mode", ["copy", "merge"])
def test_the_stored_export_of_1_1_imports(store: fl.StorageManager, mode: str) -> None:
    with pytest.warns(fl.BadDataWarning, match="break today's rules and are stored as they were") as caught:
        ids = store.import_results(DATA / "export_1_1.json.gz", mode)
    good, odd, bare = (f"iteration_id = '{one}'" for one in ids)
    assert (ids == ["i-good", "i-odd", "i-bare"]) is (mode == "merge")
    assert store.load_iteration(ids[0])["trades"][0]["exit_price"] == 600.0
    assert stored(store, f"SELECT code, starred, note FROM iterations WHERE {good}") == [(b"code", 1, b"note")]
    columns = "iteration_number, code, timestamp, parameters, note, starred, archived, typeof(note)"
    assert stored(store, f"SELECT {columns} FROM iterations WHERE {odd}") == [
        (b"third", b"a\0b", b"2024-01-02 03:04", b'{"b":2}', b"\0\xff", 7, 0, b"blob")
    ]
    columns = "annualized_return, sharpe_ratio, max_drawdown, win_rate, total_trades"
    assert stored(store, f"SELECT {columns} FROM metrics WHERE {odd}") == [(float("inf"), b"n/a", 0.2, 55.0, -1)]
    assert stored(store, f"SELECT name, typeof(name), value FROM extra_metrics WHERE {odd} ORDER BY rowid") == [
        (b"x", b"blob", float("-inf")),
        (b"", b"text", None),
    ]
    columns = "stock_code, entry_date, exit_date, entry_price, exit_price, position_size, profit_loss"
    assert stored(store, f"SELECT {columns} FROM trades WHERE {odd} ORDER BY rowid") == [
        (b"2330", None, b"2024-01-09", 1.5, None, None, None),
        (b"", b"2024-1-2", b"2023-01-01", b"high", None, 0.0001, b""),
    ]
    points = f"SELECT date, equity FROM equity JOIN curves USING (curve_id) WHERE {odd} ORDER BY equity_id"
    assert stored(store, points) == [
        (b"2024-01-02", 100.0),
        (b"2024-01-02", b"many"),
    ]
    columns = "priority, description, expected_impact, rationale, typeof(rationale), learning_references, status"
    assert stored(store, f"SELECT {columns} FROM suggestions WHERE {odd}") == [
        (b"urgent", b"try", b"", b"\xff", b"text", b"a book", b"open")
    ]
    assert stored(store, "SELECT iteration_id FROM applications") == [(ids[0].encode(),)]
    assert stored(store, f"SELECT tag, typeof(tag) FROM tags WHERE {odd} ORDER BY rowid") == [
        (b" ", b"text"),
        (b"t", b"blob"),
    ]
    assert stored(store, f"SELECT parameters FROM iterations WHERE {bare}") == [(None,)]
    assert stored(store, f"SELECT count(*) FROM metrics WHERE {bare}") == [(0,)]
    columns = "child.name, child.code, child.parameters, child.created_at, parent.name"
    join = "strategies AS child JOIN strategies AS parent ON parent.strategy_id = child.parent_strategy_id"
    assert stored(store, f"SELECT {columns} FROM {join}") == [
        (b" ", b"#\xff", b"no JSON", b"yesterday", "動量".encode())
    ]
    [warning] = [str(one.message) for one in caught]
    found = store.check()
    assert warning.startswith(f"{len(found)} imported values")
    for table, column in {(one["table"], one["column"]) for one in found}:
        count = sum((one["table"], one["column"]) == (table, column) for one in found)
        assert f"{table}.{column} ({count})" in warning
    places = {(one["table"], one["column"]) for one in found}
    assert places >= {("strategies", "code"), ("suggestions", "rationale"), ("tags", "tag"), ("trades", "exit_date")}


@pytest.mark.parametrize("mode", ["copy", "merge"])
def test_the_stored_export_of_1_3_imports(store: fl.StorageManager, mode: str) -> None:
    with pytest.warns(fl.BadDataWarning, match=r"suggestions\.priority \(1\)"):
        third, first, odd, second = ids = store.import_results(DATA / "export_1_3.json.gz", mode)
    assert (ids == ["i-third", "i-first", "i-odd", "i-second"]) is (mode == "merge")
    found = [
        (one["description"], one["status"], one["applied_iteration_ids"])
        for run in (first, odd)
        for one in store.load_iteration(run)["suggestions"]
    ]
    assert found == [
        ("applied by two", "applied", [second, third]),
        ("applied by one", "applied", [second]),
        ("applied by hand", "applied", []),
        ("applied, then rejected", "rejected", [second]),
        ("open", "open", []),
        ("urgent", "applied", [second, third]),
    ]


@pytest.mark.parametrize("mode", ["copy", "merge"])
def test_the_stored_export_of_1_2_imports(store: fl.StorageManager, mode: str) -> None:
    with pytest.warns(fl.BadDataWarning, match="break today's rules and are stored as they were") as caught:
        ids = store.import_results(DATA / "export_1_2.json.gz", mode)
    assert (ids == ["i-taipei", "i-plain", "i-coins", "i-odd"]) is (mode == "merge")
    taipei, plain, coins = map(store.load_iteration, ids[:3])
    names = ("initial_capital", "timezone", "periods_per_year", "currency", "changed_at")
    assert [tuple(one[name] for name in names) for one in (taipei, plain, coins)] == [
        (1e6, "Asia/Taipei", 1000.0, "TWD", "2024-03-02T10:11:12.500000Z"),
        (None, None, 365.0, None, None),
        (None, None, 8760.0, "USDT", None),
    ]
    names = (
        "entry_date",
        "exit_date",
        "trade_return",
        "fees",
        "mae",
        "mfe",
        "multiplier",
        "entry_reason",
        "exit_reason",
    )
    assert [tuple(trade[name] for name in names) for trade in taipei["trades"]] == [
        ("2024-01-02T00:00:00", "2024-01-02T05:45:00", 0.015, 40.5, -0.02, 0.05, 200.0, "突破", "stop <b>"),
        ("2024-01-02T07:00:00.250000", "2024-01-03T00:00:00", None, -1.25, *(None,) * 5),
        ("2024-01-04T01:00:00", None, *(None,) * 7),
    ]
    assert [one["extra"] for one in taipei["trades"]] == [
        {"rank": 3, "訊號": [1, {"a": None}], "big": 2**80},
        None,
        None,
    ]
    assert [one["date"] for one in taipei["equity"]] == [
        "2024-01-02T00:00:00",
        "2024-01-02T05:45:00",
        "2024-01-03T00:00:00",
    ]
    assert [one["entry_date"] for one in plain["trades"]] == ["2024-01-02"]
    odd = f"iteration_id = '{ids[3]}'"
    assert stored(store, f"SELECT timezone, currency, changed_at FROM iterations WHERE {odd}") == [
        (b"Mars/Olympus", b"\xff", b"yesterday")
    ]
    columns = "fees, mae, entry_reason, typeof(entry_reason), extra, multiplier"
    assert stored(store, f"SELECT {columns} FROM trades WHERE {odd}") == [
        (1.0, 0.5, b"\0\xff", b"blob", b"no JSON", None)
    ]
    [warning] = [str(one.message) for one in caught]
    for place in ("iterations.currency", "iterations.changed_at", "trades.mae", "trades.entry_reason", "trades.extra"):
        assert f"{place} (1)" in warning
    with pytest.warns(fl.BadDataWarning) as caught:
        assert store.load_iteration(ids[3])["trades"][0]["extra"] is None
    assert any(str(one.message).startswith(f"trades.extra of '{ids[3]}' is 'no JSON'") for one in caught)


def test_a_release_of_1_1_passes_over_what_1_2_adds(store: fl.StorageManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "NEWEST", V1_1)
    monkeypatch.setattr(versions, "_BY_NAME", {one.name: one for one in (V1_0, V1_1)})
    with pytest.warns((fl.NewerFormatWarning, fl.BadDataWarning)) as caught:
        ids = store.import_results(DATA / "export_1_2.json.gz", "merge")
    [message] = [str(one.message) for one in caught if one.category is fl.NewerFormatWarning]
    assert message.startswith("the file has format 1.2, and this release knows 1.1")
    named = message.split("passed over were ")[1].split(";")[0].split(", ")
    added = [f"{kind}.{name}" for kind in ("iteration", "trades") for name in V1_2.fields(kind).optional]
    assert {name.strip("'") for name in named} == {
        *(set(added) - {"iteration.as_stored"}),
        *(f"iteration.as_stored.{name}" for name in ("timezone", "currency", "changed_at")),
    }
    found = store.load_iteration(ids[0])
    assert (found["timezone"], found["currency"], found["trades"][0]["profit_loss"]) == (None, None, 1500.0)
    assert {trade["fees"] for trade in found["trades"]} == {None}


def test_rows_of_1_1_lack_the_columns_that_1_2_adds(store: fl.StorageManager, tmp_path: Path) -> None:
    value = parsed("1.1")
    [odd] = [run for run in value["iterations"] if "as_stored" in run and "trades" in run["as_stored"]]
    odd["as_stored"]["trades"][0]["fees"] = 1.0
    with pytest.raises(ValueError, match=r"as_stored\.trades\[0\] has the unknown field 'fees'"):
        store.import_results(written(tmp_path / "a.json", value))
    with pytest.warns(fl.BadDataWarning):
        store.import_results(written(tmp_path / "a.json", value | {"format_version": "1.2"}))
    assert stored(store, "SELECT fees, mae FROM trades WHERE fees IS NOT NULL") == [(1.0, None)]


def test_an_iteration_without_its_strategy_may_have_what_the_version_of_its_file_adds(
    store: fl.StorageManager, tmp_path: Path
) -> None:
    value = parsed("1.2")
    value["iterations"], value["iteration_count"] = value["iterations"][:1], 1
    del value["iterations"][0]["strategy"]
    jsonschema.validate(value, json_schema(V1_2))
    [run] = store.import_results(written(tmp_path / "a.json", value))
    found = store.load_iteration(run)
    assert (found["timezone"], found["trades"][0]["fees"]) == ("Asia/Taipei", 40.5)
    for older in ("1.0", "1.1"):
        with pytest.raises(ValueError, match=r"\$\.iterations\[0\] has the unknown field 'initial_capital'"):
            store.import_results(written(tmp_path / "a.json", value | {"format_version": older}))


# Merging ----------------------------------------------------------------------------------------------------------

DIFFERENCES: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    (r"initial_capital is 1\.0, but 1000000\.0 is stored", lambda run: run.update(initial_capital=1.0)),
    ("currency is None, but 'TWD' is stored", lambda run: run.pop("currency")),
    ("currency is None, but 'TWD' is stored", lambda run: run.update(currency=None)),
    (r"periods_per_year is 252\.0, but 1000\.0 is stored", lambda run: run.update(periods_per_year=252)),
    (r"trades\[0\]\.fees is 1\.5, but 40\.5", lambda run: run["trades"][0].update(fees=1.5)),
    (r"trades\[0\]\.extra\.rank is 4, but 3", lambda run: run["trades"][0]["extra"].update(rank=4)),
    (r"trades\[0\]\.extra is None, but {.* is stored", lambda run: run["trades"][0].pop("extra")),
]


@pytest.mark.filterwarnings("ignore::finlab_nb.BadDataWarning")
@pytest.mark.parametrize(
    ("message", "change"), DIFFERENCES, ids=[f"{i}-{one}" for i, (one, _) in enumerate(DIFFERENCES)]
)
def test_merging_refuses_what_1_2_tells_otherwise(
    store: fl.StorageManager, tmp_path: Path, message: str, change: Callable[[dict[str, Any]], Any]
) -> None:
    store.import_results(DATA / "export_1_2.json.gz", "merge")
    value = parsed("1.2")
    change(value["iterations"][0])
    with pytest.raises(ValueError, match=rf"^\$\.iterations\[0\]\.{message}"):
        store.import_results(written(tmp_path / "a.json", value), "merge")


@pytest.mark.filterwarnings("ignore::finlab_nb.BadDataWarning")
def test_merging_does_not_compare_when_an_iteration_was_changed(store: fl.StorageManager, tmp_path: Path) -> None:
    ids = store.import_results(DATA / "export_1_2.json.gz", "merge")
    value = parsed("1.2")
    value["iterations"][0]["changed_at"] = "2025-01-01T00:00:00Z"
    assert store.import_results(written(tmp_path / "a.json", value), "merge") == ids
    assert store.load_iteration(ids[0])["changed_at"] == "2024-03-02T10:11:12.500000Z"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_merging_does_not_compare_what_an_older_version_cannot_tell(
    store: fl.StorageManager, tmp_path: Path, version: str
) -> None:
    value = parsed("1.2")
    value["iterations"], value["iteration_count"] = value["iterations"][1:3], 2
    older = copy.deepcopy(value) | {"format_version": version}
    for run in older["iterations"]:
        for name in V1_2.iteration.optional:
            run.pop(name, None)
    value["iterations"][0] |= {"initial_capital": 50.0, "currency": "TWD"}
    value["iterations"][0]["trades"][0] |= {"fees": 1.0, "extra": {"a": 1}}
    ids = store.import_results(written(tmp_path / "a.json", value), "merge")
    before = [store.load_iteration(one) for one in ids]
    assert store.import_results(written(tmp_path / "older.json", older), "merge") == ids
    assert [store.load_iteration(one) for one in ids] == before
    older["iterations"][0]["trades"][0]["profit_loss"] = 1.0
    with pytest.raises(ValueError, match=r"^\$\.iterations\[0\]\.trades\[0\]\.profit_loss is 1\.0"):
        store.import_results(written(tmp_path / "older.json", older), "merge")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_what_came_by_an_older_file_stays_the_same(store: fl.StorageManager, version: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fl.BadDataWarning)
        ids = store.import_results(DATA / f"export_{version.replace('.', '_')}.json.gz", "merge")
        before = {table: stored(store, f"SELECT * FROM {table}") for table in TABLES}
        assert store.import_results(DATA / f"export_{version.replace('.', '_')}.json.gz", "merge") == ids
    assert {table: stored(store, f"SELECT * FROM {table}") for table in TABLES} == before


@pytest.mark.filterwarnings("ignore::finlab_nb.UpgradeWarning")
def test_an_export_made_before_an_upgrade_is_of_the_iterations_that_were_upgraded(tmp_path: Path) -> None:
    """The upgrade has computed metrics anew from the stored curves, and added what the store computes today."""
    path = Path(shutil.copy(DATA / "schema_2.db", tmp_path / "research.db"))
    file = DATA / "of_schema_2.json.gz"
    with fl.StorageManager(path) as store:
        before = stored(store, "SELECT * FROM iterations ORDER BY iteration_id")
        ids = store.import_results(file, "merge")
        assert len(ids) == len(before)
        assert stored(store, "SELECT * FROM iterations ORDER BY iteration_id") == before
        value = json.loads(gzip.decompress(file.read_bytes()))
        [given] = [i for i, run in enumerate(value["iterations"]) if run["metrics"]["sharpe_ratio"] == 1.23]
        value["iterations"][given]["metrics"]["sharpe_ratio"] = 1.24
        with pytest.raises(ValueError, match=rf"\$\.iterations\[{given}\]\.metrics\.sharpe_ratio is 1\.24, but 1\.23"):
            store.import_results(written(tmp_path / "a.json", value), "merge")


# What is written --------------------------------------------------------------------------------------------------


def test_what_is_carried_as_it_is_stored_changes_nothing_else(store: fl.StorageManager, tmp_path: Path) -> None:
    strategy = store.save_strategy_version("momentum", "code")
    ids = store.save_iterations({"strategy_id": strategy, "metrics": {"win_rate": i / 4}} for i in range(3))
    before = store.export_results(ids, tmp_path / "a.json").read_text(encoding="utf-8").splitlines()
    with store.pool.write() as connection:
        connection.execute("UPDATE metrics SET win_rate = 55 WHERE iteration_id = ?", (ids[2],))
    after = store.export_results(ids, tmp_path / "a.json").read_text(encoding="utf-8").splitlines()
    assert (after[2:-3], after[-2:]) == (before[2:-3], before[-2:])
    last = json.loads(after[-3])
    assert (last["metrics"], list(last["as_stored"])) == (None, ["metrics"])


@pytest.mark.slow
def test_exports_of_1_1_follow_its_json_schema() -> None:
    for version in VERSIONS:
        schema = json_schema(version)
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(parsed(version.name), schema)
    odd = parsed("1.1")
    for change in (
        lambda run: run.update(code="both"),
        lambda run: run["as_stored"].pop("code"),
        lambda run: run["as_stored"].update(colour=1),
        lambda run: run["as_stored"].update(note={"type": "blob"}),
        lambda run: run["as_stored"].update(note=True),
        lambda run: run["as_stored"]["trades"][0].update(colour=1),
        lambda run: run["as_stored"]["trades"][0].pop("stock_code"),
        lambda run: run["strategy"].update(code="both"),
        lambda run: run.pop("strategy"),
    ):
        wrong = copy.deepcopy(odd)
        change(wrong["iterations"][1])
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, json_schema(V1_1))


NEW: list[dict[str, Any]] = [
    {},
    {"equity": {f"2024-01-{day:02d}": float(day) for day in range(1, 32)}},
    {"trades": [trade()]},
    {"initial_capital": 1e6},
    {"timezone": "Asia/Taipei"},
    {"periods_per_year": 365},
    {"currency": "TWD"},
    {"trades": [trade(), trade(fees=0.5)]},
    {"trades": [trade(), trade(extra={"rank": 3})]},
]


@pytest.mark.parametrize("result", NEW, ids=", ".join)
def test_the_newest_version_is_written_and_only_what_is_known(
    store: fl.StorageManager, tmp_path: Path, result: dict[str, Any]
) -> None:
    strategy = store.save_strategy_version("momentum", "code")
    plain, run = store.save_iteration(strategy), store.save_iteration(strategy, **result)
    exported = json.loads(store.export_results([plain, run], tmp_path / "a.json").read_text(encoding="utf-8"))
    assert exported["format_version"] == NEWEST.name
    jsonschema.validate(exported, json_schema(NEWEST))
    assert exported.keys() <= {*OLDEST.heading.names}
    assert exported["iterations"][0].keys() == {*OLDEST.iteration.required}
    later = set(V1_2.iteration.optional)
    assert exported["iterations"][0].keys().isdisjoint(later)
    assert exported["iterations"][1].keys() & later == result.keys() & later  # what nobody knows is not told
    told, given = exported["iterations"][1]["trades"], result.get("trades", [])
    assert [set(row) for row in told] == [set().union(*given) for _ in given]


def test_periods_are_told_only_where_the_curve_gives_others(store: fl.StorageManager, tmp_path: Path) -> None:
    strategy = store.save_strategy_version("momentum", "code")
    curve = {f"2024-01-{day:02d}": float(day) for day in range(1, 32)}
    ids = [store.save_iteration(strategy, equity=curve, periods_per_year=given) for given in (None, 365, 252)]
    assert [store.load_iteration(one)["periods_per_year"] for one in ids] == [365.0, 365.0, 252.0]
    exported = json.loads(store.export_results(ids, tmp_path / "a.json").read_text(encoding="utf-8"))
    assert [one.get("periods_per_year") for one in exported["iterations"]] == [None, None, 252.0]
    copies = store.import_results(tmp_path / "a.json")
    assert [store.load_iteration(one)["periods_per_year"] for one in copies] == [365.0, 365.0, 252.0]


def test_periods_that_the_curve_gives_but_nobody_stored_arrive_unknown(
    store: fl.StorageManager, other: fl.StorageManager, tmp_path: Path
) -> None:
    strategy = store.save_strategy_version("momentum", "code")
    run = store.save_iteration(strategy, equity={f"2024-01-{day:02d}": float(day) for day in range(1, 32)})
    with store.pool.write() as connection:
        connection.execute("UPDATE iterations SET periods_per_year = NULL")
    path = store.export_results([run], tmp_path / "a.json")
    [exported] = json.loads(path.read_text(encoding="utf-8"))["iterations"]
    assert exported["as_stored"] == {"periods_per_year": None}
    assert other.import_results(path, "merge") == [run]
    assert other.load_iteration(run)["periods_per_year"] is None
    assert other.import_results(path, "merge") == store.import_results(path, "merge") == [run]


def test_an_odd_curve_takes_its_periods_along(
    store: fl.StorageManager, other: fl.StorageManager, tmp_path: Path
) -> None:
    strategy = store.save_strategy_version("momentum", "code")
    run = store.save_iteration(strategy, equity={f"2024-01-{day:02d}": float(day) for day in range(1, 32)})
    with store.pool.write() as connection:
        connection.execute("UPDATE equity SET date = date || ' 00:00:00'")
    path = store.export_results([run], tmp_path / "a.json")
    [exported] = json.loads(path.read_text(encoding="utf-8"))["iterations"]
    assert set(exported["as_stored"]) == {"equity", "periods_per_year"}
    other.import_results(path, "merge")
    assert other.load_iteration(run) == store.load_iteration(run)


# What each version has --------------------------------------------------------------------------------------------


def uncarried(tables: Mapping[str, Table], version: Version) -> list[str]:
    """Return the stored columns that a version of the format has no room for."""
    return [
        f"{table.name}.{column.name} is in no version of the export format, so exports lose it: add it as an optional "
        "field of a new minor version in finlab_nb/store/interchange/versions.py"
        for table in tables.values()
        if table.name not in NOT_EXPORTED
        for column in table.columns
        if column.name not in (table.row_key, table.owner)
        and column.name not in carried(FIELDS_OF.get(table.name, table.name), version)
    ]


def carried(kind: str, version: Version) -> tuple[str, ...]:
    """Return the fields of a strategy, an iteration or a row, none of a table that the version does not know."""
    return version.fields(kind).names if kind in (*FIELDS_OF.values(), *version.rows) else ()


def test_every_stored_column_is_carried_by_the_newest_version() -> None:
    assert uncarried(TABLES, NEWEST) == []


def test_a_column_that_is_forgotten_is_named() -> None:
    mood = Column("mood", NUMBER, nullable=True, required=False)
    tables = {**TABLES, "trades": replace(TABLES["trades"], columns=(*TABLES["trades"].columns, mood))}
    [message] = uncarried(tables, NEWEST)
    assert message.startswith("trades.mood is in no version")
    assert uncarried(tables, NEWEST.plus("1.99", trades=("mood",))) == []
    [message] = uncarried({"moods": replace(TABLES["tags"], name="moods", columns=(mood,))}, NEWEST)
    assert message.startswith("moods.mood is in no version")


def test_a_minor_version_only_adds_optional_fields() -> None:
    assert (VERSIONS[0], VERSIONS[-1]) == (OLDEST, NEWEST)
    for older, newer in itertools.pairwise(VERSIONS):
        assert [int(part) for part in newer.name.split(".")] > [int(part) for part in older.name.split(".")]
        for kind in ("heading", "strategy", "iteration", *older.rows):
            assert newer.fields(kind).required == older.fields(kind).required
            assert set(newer.fields(kind).optional) >= set(older.fields(kind).optional)


def test_the_fields_of_trades_come_in_the_order_of_their_columns() -> None:
    """A row holds the fields of an older version first, so that they are found without a look at names."""
    for version in VERSIONS:
        names = version.rows["trades"].names
        assert names == TRADE_FIELDS[: len(names)]


WRONG: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("initial_capital is 0", lambda run: run.update(initial_capital=0)),
    ("initial_capital is '1'", lambda run: run.update(initial_capital="1")),
    ("timezone is ''", lambda run: run.update(timezone="")),
    ("timezone is 8", lambda run: run.update(timezone=8)),
    ("periods_per_year is -1", lambda run: run.update(periods_per_year=-1)),
    ("periods_per_year is True", lambda run: run.update(periods_per_year=True)),
    ("currency is ''", lambda run: run.update(currency="")),
    ("changed_at is 3", lambda run: run.update(changed_at=3)),
    ("trades[0].mae is 0.1", lambda run: run["trades"][0].update(mae=0.1)),
    ("trades[0].mfe is -0.1", lambda run: run["trades"][0].update(mfe=-0.1)),
    ("trades[0].multiplier is 0", lambda run: run["trades"][0].update(multiplier=0)),
    ("trades[0].fees is '1'", lambda run: run["trades"][0].update(fees="1")),
    ("trades[0].trade_return is ", lambda run: run["trades"][0].update(trade_return=[1])),
    ("trades[0].entry_reason is 3", lambda run: run["trades"][0].update(entry_reason=3)),
    ("trades[0].extra", lambda run: run["trades"][0].update(extra=[1])),
    ("trades[0].extra", lambda run: run["trades"][0].update(extra="{}")),
]


@pytest.mark.parametrize(("message", "change"), WRONG, ids=[f"{i}-{one}" for i, (one, _) in enumerate(WRONG)])
def test_a_wrong_value_of_1_2_is_refused_by_its_json_path_and_by_the_schema(
    store: fl.StorageManager, tmp_path: Path, message: str, change: Callable[[dict[str, Any]], Any]
) -> None:
    value = parsed("1.2")
    change(value["iterations"][0])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, json_schema(V1_2))
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared below
        store.import_results(written(tmp_path / "a.json", value))
    assert str(raised.value).startswith(f"$.iterations[0].{message}")
    assert stored(store, "SELECT * FROM iterations") == []


DEFINITIONS = {
    "strategies": "strategy",
    "iterations": "iteration",
    "metrics": "metrics",
    "trades": "trade",
    "equity": "equity_point",
    "suggestions": "suggestion",
}


def rule_of(definition: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what a schema asks of an ordinary field; if it may be carried as stored, that is asked of the others."""
    told = definition["properties"][name]
    if told is True:
        [told] = [one["else"]["properties"][name] for one in definition["allOf"] if name in one["else"]["properties"]]
    return told


def strict_rule_of(definition: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what a schema asks of a field beside a `strategy`."""
    found: dict[str, Any] = definition["then"]["properties"].get(name, {})
    for one in definition.get("allOf", ()):
        found = found or one["else"].get("then", {"properties": {}})["properties"].get(name, {})
    return found


@pytest.mark.parametrize("version", VERSIONS, ids=lambda one: one.name)
def test_the_published_schema_has_the_fields_of_the_table_of_versions(version: Version) -> None:
    schema = json_schema(version)
    assert schema["$id"].endswith(f":{version.name}")
    assert schema["properties"]["format_version"] == {"const": version.name}
    assert set(schema["properties"]) == set(version.heading.names)
    assert set(schema["required"]) == set(version.heading.required)
    for table, name in DEFINITIONS.items():
        definition, fields = schema["$defs"][name], version.fields(FIELDS_OF.get(table, table))
        assert set(definition["properties"]) == {*fields.names, *fields.passed_over}, name
        assert definition["additionalProperties"] is False
        original = ORIGINAL.fields(FIELDS_OF.get(table, table))
        assert set(definition["required"]) == set(original.required), name
        if table == "iterations":
            assert {*definition["required"], *definition["then"]["required"], "strategy"} == set(fields.required)
            for rows, required in (("metrics", V1_0.rows["metrics"]), ("suggestions", V1_0.rows["suggestions"])):
                strict = strict_rule_of(definition, rows)
                assert strict.get("items", strict)["required"] == list(required.required)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda one: one.name)
def test_the_published_schema_lets_what_the_version_has_be_carried_as_stored(version: Version) -> None:
    definitions = json_schema(version)["$defs"]
    for kind in ("strategy", "iteration"):
        if "as_stored" not in version.fields(kind).names:
            assert "as_stored" not in definitions[kind]["properties"]
            continue
        carried = definitions[kind]["properties"]["as_stored"]
        assert tuple(carried["properties"]) == as_stored.fields(kind, version)
        assert carried["additionalProperties"] is False
        for name in set(carried["properties"]) & set(version.rows):
            row, fields = carried["properties"][name]["items"], version.rows[name]
            assert set(row["properties"]) == {*fields.names, *fields.passed_over}
            assert row["required"] == list(fields.required)
            assert row["additionalProperties"] is False


@pytest.mark.parametrize("version", VERSIONS, ids=lambda one: one.name)
def test_the_published_schema_says_what_the_rules_say(version: Version) -> None:
    schema = json_schema(version)
    for table, name in DEFINITIONS.items():
        fields = version.fields(FIELDS_OF.get(table, table))
        for column in TABLES[table].columns:
            if column.name not in fields.names:
                continue  # of a later version
            told = rule_of(schema["$defs"][name], column.name)
            if column.rule.words:
                assert told["enum"] == list(column.rule.words), column
                continue
            types = told["type"] if isinstance(told["type"], list) else [told["type"]]
            assert types[0] == TYPES[column.rule.kind], column
            if column.name in fields.optional:
                assert "null" in types, column
                continue
            if column.name not in ("parameters", "starred", "archived"):  # may lack in files of the original layer
                assert ("null" in types) is (column.nullable and not column.required), column


@pytest.mark.parametrize("version", VERSIONS[2:], ids=lambda one: one.name)
def test_the_published_schema_has_the_bounds_of_the_columns_that_were_added(version: Version) -> None:
    bounds = {">=": "minimum", "<=": "maximum", ">": "exclusiveMinimum"}
    for table, name in DEFINITIONS.items():
        for column in TABLES[table].columns:
            if column.name in version.fields(FIELDS_OF.get(table, table)).optional:
                told = rule_of(json_schema(version)["$defs"][name], column.name)
                found = {sign: told[word] for sign, word in bounds.items() if word in told}
                assert found == dict(column.rule.bounds), column
                assert (told.get("minLength") == 1) is (not column.rule.blank), column


# What is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "version", ["2.0", "0.9", "1", "1.", "1.x", "01.0", "1.00", "1.0 ", "1.-1", "", "1.1234567", 1.0, None, ["1.0"]]
)
def test_another_version_is_refused_with_what_helps(store: fl.StorageManager, tmp_path: Path, version: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^\$\.format_version is .* reads versions 1\.x.*pip install --upgrade finlab-nb"
    ):
        store.import_results(written(tmp_path / "a.json", parsed("1.0") | {"format_version": version}))


def newer() -> dict[str, Any]:
    """Return a file of a version to come, with fields of its own everywhere."""
    value = parsed("1.1")
    value["format_version"] = "1.7"
    value["checksums"] = {"a": [1]}
    value["prices"] = [{"a": 1}, []]
    for run in value["iterations"]:
        run["weather"] = "Asia/Taipei"
        run["strategy"]["family"] = ["x"]
        for name in ("trades", "equity", "suggestions"):
            for row in run[name] or []:
                row["smell"] = {"a": 1}
        if run["metrics"]:
            run["metrics"]["luck_ratio"] = 2.0
        if "as_stored" in run:
            run["as_stored"]["mood"] = "TWD"
            for row in run["as_stored"].get("trades", []):
                row["colour"] = 1.5
    value["strategies"] = [{**parsed("1.1")["iterations"][0]["strategy"], "strategy_id": "s-lone", "family": []}]
    return value


@pytest.mark.filterwarnings("ignore::finlab_nb.BadDataWarning")
@pytest.mark.parametrize("mode", ["copy", "merge"])
def test_fields_of_a_newer_minor_version_are_passed_over_with_one_warning(
    store: fl.StorageManager, other: fl.StorageManager, tmp_path: Path, mode: str
) -> None:
    with pytest.warns(fl.NewerFormatWarning) as caught:
        ids = store.import_results(written(tmp_path / "a.json", newer()), mode)
    [message] = [str(one.message) for one in caught if one.category is fl.NewerFormatWarning]
    assert message.startswith(f"the file has format 1.7, and this release knows {NEWEST.name}")
    assert "pip install --upgrade finlab-nb" in message
    named = message.split("passed over were ")[1].split(";")[0].split(", ")
    assert {name.strip("'") for name in named} == {
        "checksums",
        "prices",
        "iteration.weather",
        "strategy.family",
        "trades.smell",
        "metrics.luck_ratio",
        "iteration.as_stored.mood",
        "trades.colour",
    }
    wanted = other.import_results(DATA / "export_1_1.json.gz", mode)
    columns = "stock_code, entry_date, exit_date, entry_price, exit_price, position_size, profit_loss"
    for table, names in (("trades", columns), ("metrics", "win_rate"), ("iterations", "code, note, parameters")):
        query = f"SELECT {names} FROM {table} ORDER BY rowid"
        assert stored(store, query) == stored(other, query)
    assert len(ids) == len(wanted)


def test_a_newer_minor_version_without_fields_of_its_own_needs_no_warning(
    store: fl.StorageManager, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(store.import_results(written(tmp_path / "a.json", parsed("1.0") | {"format_version": "1.42"}))) == 3


def test_the_warning_of_very_many_fields_stays_short(store: fl.StorageManager, tmp_path: Path) -> None:
    value = parsed("1.0") | {"format_version": "1.42"}
    value["iterations"][0] |= {f"field {i}\n{'x' * 500}": i for i in range(3000)}
    with pytest.warns(fl.NewerFormatWarning, match=r"field 0\\n") as caught:
        store.import_results(written(tmp_path / "a.json", value))
    assert len(str(caught[0].message)) < 10_000


def test_a_newer_version_is_no_excuse_for_a_wrong_value(store: fl.StorageManager, tmp_path: Path) -> None:
    value = newer()
    value["iterations"][0]["trades"][0]["entry_price"] = "high"
    with pytest.raises(ValueError, match=r"^\$\.iterations\[0\]\.trades\[0\]\.entry_price is 'high'"):
        store.import_results(written(tmp_path / "a.json", value))


UNKNOWN: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    (r"\$ has the unknown field 'checksums'", lambda file: file.update(checksums=1)),
    (r"\$\.iterations\[0\] has the unknown field 'weather'", lambda file: file["iterations"][0].update(weather="x")),
    (
        r"\$\.iterations\[0\]\.strategy has the unknown field 'family'",
        lambda file: file["iterations"][0]["strategy"].update(family=1),
    ),
    (
        r"\$\.iterations\[0\]\.trades\[0\] has the unknown field 'colour'",
        lambda file: file["iterations"][0]["trades"][0].update(colour=1),
    ),
    (
        r"\$\.iterations\[0\]\.metrics has the unknown field 'luck_ratio'",
        lambda file: file["iterations"][0]["metrics"].update(luck_ratio=1),
    ),
]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(("message", "change"), UNKNOWN, ids=[message for message, _ in UNKNOWN])
def test_fields_that_a_known_version_has_not_are_refused(
    store: fl.StorageManager, tmp_path: Path, version: str, message: str, change: Callable[[dict[str, Any]], Any]
) -> None:
    value = parsed(version)
    change(value)
    with pytest.raises(ValueError, match=f"^{message}"):
        store.import_results(written(tmp_path / "a.json", value))


def test_fields_of_1_1_are_refused_in_a_file_that_says_it_is_1_0(store: fl.StorageManager, tmp_path: Path) -> None:
    value = parsed("1.1") | {"format_version": "1.0"}
    with pytest.raises(ValueError, match=r"^\$\.iterations\[1\]\.strategy has the unknown field 'as_stored'|as_stored"):
        store.import_results(written(tmp_path / "a.json", value))


def test_what_a_later_version_has_added_stands_after_the_version(store: fl.StorageManager, tmp_path: Path) -> None:
    value = dict(reversed(parsed("1.1").items()))
    with pytest.raises(ValueError, match=r"unknown field 'as_stored'.* stands after format_version"):
        store.import_results(written(tmp_path / "a.json", value))


@pytest.mark.filterwarnings("ignore::finlab_nb.UpgradeWarning")
def test_an_export_of_an_adopted_file_by_an_earlier_release_still_merges_into_it(tmp_path: Path) -> None:
    """It holds {} where NULL is stored, and times and JSON in today's form."""
    path = Path(shutil.copy(DATA / "schema_1.db", tmp_path / "a.db"))
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("old", "code", {"a": 1})
        run = store.save_iteration(strategy, parameters={"動": 1}, timestamp="2024-01-02")
        loaded = store.load_iteration(run) | {"strategy": store.load_strategy(strategy)}
        wanted = {name: loaded[name] for name in V1_0.iteration.names}
        with store.pool.write() as connection:
            connection.execute("DELETE FROM metrics WHERE iteration_id = ?", (run,))
            connection.execute(
                "UPDATE iterations SET parameters = ?, timestamp = '2024-01-02 00:00' WHERE iteration_id = ?",
                ('{"\\u52d5":1}', run),
            )
            connection.execute("UPDATE strategies SET parameters = '{\"a\":1}' WHERE strategy_id = ?", (strategy,))
        heading = {"export_timestamp": "2024-01-02", "format_version": "1.0", "iteration_count": 1}
        file = written(tmp_path / "old.json", heading | {"iterations": [wanted]})
        before = stored(store, "SELECT * FROM iterations")
        assert store.import_results(file, "merge") == [run]
        assert stored(store, "SELECT * FROM iterations") == before
        wanted["parameters"] = {"動": 2}
        with pytest.raises(ValueError, match=r"^\$\.iterations\[0\]\.parameters\.動 is 2, but 1 is stored"):
            store.import_results(written(file, heading | {"iterations": [wanted]}), "merge")
