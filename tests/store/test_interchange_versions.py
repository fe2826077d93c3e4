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
from finlab_nb.records.tables import NUMBER, TABLES, Column, Table
from finlab_nb.store.interchange import json_schema, rendering
from finlab_nb.store.interchange.versions import NEWEST, OLDEST, ORIGINAL, V1_0, V1_1, VERSIONS, Version

DATA = Path(__file__).parents[1] / "data"
FIELDS_OF = {"strategies": "strategy", "iterations": "iteration"}
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
    assert stored(store, f"SELECT date, equity FROM equity WHERE {odd} ORDER BY rowid") == [
        (b"2024-01-02", 100.0),
        (b"2024-01-02", b"many"),
    ]
    columns = "priority, description, expected_impact, rationale, typeof(rationale), learning_references, status"
    assert stored(store, f"SELECT {columns}, applied_iteration_id FROM suggestions WHERE {odd}") == [
        (b"urgent", b"try", b"", b"\xff", b"text", b"a book", b"open", ids[0].encode())
    ]
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


# What is written --------------------------------------------------------------------------------------------------


def test_a_file_is_of_the_oldest_version_that_has_room_for_its_content(
    store: fl.StorageManager, other: fl.StorageManager, tmp_path: Path
) -> None:
    strategy = store.save_strategy_version("momentum", "code")
    ids = store.save_iterations({"strategy_id": strategy, "metrics": {"win_rate": i / 4}} for i in range(3))
    before = store.export_results(ids, tmp_path / "a.json").read_text(encoding="utf-8").splitlines()
    assert before[2] == '"format_version": "1.0",'
    with store.pool.write() as connection:
        connection.execute("UPDATE metrics SET win_rate = 55 WHERE iteration_id = ?", (ids[2],))
    after = store.export_results(ids, tmp_path / "a.json").read_text(encoding="utf-8").splitlines()
    assert after[2] == f'"format_version": "{NEWEST.name}",'
    assert (after[3:-3], after[-2:]) == (before[3:-3], before[-2:])
    last = json.loads(after[-3])
    assert (last["metrics"], list(last["as_stored"])) == (None, ["metrics"])
    assert store.export_results(ids[:2], tmp_path / "a.json").read_text(encoding="utf-8").splitlines()[2] == before[2]


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


def test_a_stored_column_that_an_older_version_lacks_is_written_in_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    older = replace(V1_0, iteration=replace(V1_0.iteration, required=tuple(set(V1_0.iteration.names) - {"note"})))
    monkeypatch.setattr(rendering, "OLDEST", older)
    with fl.StorageManager(":memory:") as store:
        strategy = store.save_strategy_version("momentum", "code")
        plain, noted = store.save_iteration(strategy), store.save_iteration(strategy, note="new")
        with store.pool.read() as connection:
            assert rendering.exported_iteration(connection, plain).version is older
            assert "note" not in rendering.exported_iteration(connection, plain).value
            newer = rendering.exported_iteration(connection, noted)
    assert (newer.version, newer.value["note"], "as_stored" in newer.value) == (NEWEST, "new", False)


# What each version has --------------------------------------------------------------------------------------------


def uncarried(tables: Mapping[str, Table], version: Version) -> list[str]:
    """Return the stored columns that a version of the format has no room for."""
    return [
        f"{table.name}.{column.name} is in no version of the export format, so exports lose it: add it as an optional "
        "field of a new minor version in finlab_nb/store/interchange/versions.py"
        for table in tables.values()
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


DEFINITIONS = {
    "strategies": "strategy",
    "iterations": "iteration",
    "metrics": "metrics",
    "trades": "trade",
    "equity": "equity_point",
    "suggestions": "suggestion",
}


def test_the_published_schema_of_1_0_has_the_fields_of_the_table_of_versions() -> None:
    schema = json_schema(V1_0)
    assert set(schema["properties"]) == set(V1_0.heading.names)
    assert set(schema["required"]) == set(V1_0.heading.required)
    for table, name in DEFINITIONS.items():
        definition, fields = schema["$defs"][name], V1_0.fields(FIELDS_OF.get(table, table))
        assert set(definition["properties"]) == {*fields.names, *fields.passed_over}, name
        original = ORIGINAL.fields(FIELDS_OF.get(table, table))
        assert set(definition["required"]) == set(original.required), name
        strict = definition.get("then", {})
        if table == "iterations":
            assert {*definition["required"], *strict["required"], "strategy"} == set(fields.required)
            assert strict["properties"]["metrics"]["required"] == list(V1_0.rows["metrics"].required)
            assert strict["properties"]["suggestions"]["items"]["required"] == list(V1_0.rows["suggestions"].required)


def test_the_published_schema_of_1_0_says_what_the_rules_say() -> None:
    schema = json_schema(V1_0)
    for table, name in DEFINITIONS.items():
        for column in TABLES[table].columns:
            if column.name not in V1_0.fields(FIELDS_OF.get(table, table)).names:
                continue  # of a later version
            told = schema["$defs"][name]["properties"][column.name]
            if column.rule.words:
                assert told["enum"] == list(column.rule.words), column
                continue
            types = told["type"] if isinstance(told["type"], list) else [told["type"]]
            assert types[0] == TYPES[column.rule.kind], column
            if column.name not in ("parameters", "starred", "archived"):  # may lack in files of the original layer
                assert ("null" in types) is (column.nullable and not column.required), column


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
