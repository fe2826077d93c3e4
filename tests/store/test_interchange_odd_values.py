"""What can be stored can be exported, and arrives as the same row: what other programs and old files left, too."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_adoption import BAD, GOOD, ORIGINAL

import finlab_nb as fl
from finlab_nb.records.tables import TABLES
from finlab_nb.store.broken_text import BrokenText
from finlab_nb.store.interchange import json_schema
from finlab_nb.store.interchange.versions import VERSIONS

EXAMPLES = 2000 if os.environ.get("FINLAB_NB_LONG") == "1" else 60
pytestmark = pytest.mark.filterwarnings("ignore::finlab_nb.BadDataWarning")


# What is in a file ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def foreign(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database as another program does that minds no rules."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.text_factory = bytes
        yield connection


def put(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> bool:
    """Insert a row unless a key or NOT NULL keeps it out; text that is no UTF-8 is given as BrokenText."""
    key = TABLES[table].owner_key
    if key is not None:
        owner = (row[TABLES[table].owner],)
        connection.execute(f"INSERT OR IGNORE INTO {key.table} ({TABLES[table].owner}) VALUES (?)", owner)
        number = connection.execute(f"SELECT {key.column} FROM {key.table} WHERE {TABLES[table].owner} = ?", owner)
        row = {key.column if name == TABLES[table].owner else name: value for name, value in row.items()}
        row[key.column] = number.fetchone()[0]
    places = ", ".join("CAST(? AS TEXT)" if isinstance(value, BrokenText) else "?" for value in row.values())
    statement = f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({places})"
    return connection.execute(statement, list(row.values())).rowcount == 1


def rows(path: Path, table: str, *left_out: str) -> list[tuple[Any, ...]]:
    """Return the rows of a table in the order of `load_iteration`, each value with its type, to the last bit."""
    names = [name for name in TABLES[table].names if name != TABLES[table].row_key and name not in left_out]
    order = {
        "trades": "entry_date, trade_id",
        "equity": "date, equity_id",
        "suggestions": "CASE priority WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END, suggestion_id",
    }.get(table, f"{table}.rowid")
    key = TABLES[table].owner_key
    joined = table if key is None else f"{table} JOIN {key.table} USING ({key.column})"
    query = f"SELECT {', '.join(f'typeof({name}), {name}' for name in names)} FROM {joined} ORDER BY {order}"
    with foreign(path) as connection:
        found = [tuple(zip(row[::2], map(repr, row[1::2]), strict=True)) for row in connection.execute(query)]
    return [dict(zip(names, row, strict=True)) for row in found]


def links(path: Path, ids: list[str], key: str) -> list[list[int]]:
    """Return which of the iterations applied each suggestion of one, in the order of `load_iteration`."""
    query = """
        SELECT s.suggestion_id, a.iteration_id FROM suggestions AS s LEFT JOIN applications AS a USING (suggestion_id)
        WHERE s.iteration_id = ?
        ORDER BY CASE priority WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END, s.suggestion_id, a.rowid"""
    places, found = {one.encode(): place for place, one in enumerate(ids)}, dict[int, list[int]]()
    with foreign(path) as connection:
        for suggestion_id, applied in connection.execute(query, (key,)):
            found.setdefault(suggestion_id, []).extend([places[applied]] if applied in places else [])
    return list(found.values())


def content(path: Path, ids: list[str]) -> dict[str, Any]:
    """Return all that iterations left behind, without ids: those are told by their place in the list."""

    def of(table: str, owner: str, key: object, *left_out: str) -> list[Any]:
        return [
            {name: value for name, value in row.items() if name not in (owner, *left_out)}
            for row in rows(path, table)
            if row[owner] == key
        ]

    keys = [(b"text", repr(one.encode())) for one in ids]
    strategies = {row["strategy_id"]: row for row in rows(path, "strategies")}
    found = []
    for key in keys:
        [iteration] = [row for row in rows(path, "iterations") if row["iteration_id"] == key]
        line, strategy_id = [], iteration["strategy_id"]
        while strategy_id in strategies and len(line) < 5:
            strategy = strategies[strategy_id]
            line.append({name: strategy[name] for name in ("name", "code", "parameters", "created_at")})
            strategy_id = strategy["parent_strategy_id"]
        found.append(
            of("iterations", "iteration_id", key, "strategy_id")
            + line
            + [
                of(table, "iteration_id", key)
                for table in ("metrics", "extra_metrics", "trades", "equity", "suggestions", "tags", "provenance")
            ]
            + links(path, ids, ids[keys.index(key)])
        )
    return {"iterations": found}


# Odd values -------------------------------------------------------------------------------------------------------

TEXTS = (
    "", " ", "\u3000\t", "a\0b", "\0", "100%", "🚀動量", "x" * 3000, "2024-01-02", "2024-01-02 00:00:00", "2024-1-2",
    "2024-02-30", "2024-01-02T10:00:00+08:00", "2024-01-02T10:00:00.123Z", "2024-01-02T10:00:00.123456Z", "0000-01-01",
    "20240102", "yesterday", "Infinity", "NaN", "1e999", "high", "urgent", "applied", "open", "'; DROP TABLE --",
    "{", "{}", "[]", "null", "5", '"text"', '{"a":1}', '{"a": 1}', '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": 1e400}',
    '{"a": "\\ud800"}', '{"\\u52d5": 1}', '{"a": ' + "9" * 5000 + "}", "[" * 499 + "]" * 499, "[" * 3000 + "]" * 3000,
    '{"a":' * 499 + "1" + "}" * 499, '{"a": ' * 700 + "1" + "}" * 700, '["a", {"b": [1.5, null]}]', '["\\ud800"]',
)  # fmt: skip
BROKEN = tuple(map(BrokenText, (b"\xff", b"a\xed\xa0\x80", b"2024-01-02\xff", b'{"a": "\xff"}', b"\xff\0a")))
odd = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, -1, 7, 2**63 - 1, 20240102]),
    st.floats(allow_nan=False),
    st.sampled_from([float("inf"), float("-inf"), -0.0, 5e-324, 0.5, -0.5, 1.5, 55.0, 1e300]),
    st.text(max_size=8).filter(lambda text: not any("\ud800" <= mark <= "\udfff" for mark in text)),
    st.sampled_from(TEXTS),
    st.sampled_from(BROKEN),
    st.binary(max_size=6),
    st.sampled_from([b"", b"2024-01-02", b'{"a": 1}', b"\0\xff"]),
)
IDS = ("strategy_id", "iteration_id", "iteration_number", "parent_strategy_id")
USUAL: dict[str, dict[str, Any]] = {
    "strategies": {"name": "n", "code": "c", "parameters": '{"a": 1}', "created_at": "2024-01-02T03:04:05.678901Z"},
    "iterations": {
        "code": "c",
        "timestamp": "2024-01-02T03:04:05.678901Z",
        "parameters": "{}",
        "note": None,
        "starred": 0,
        "archived": 1,
    },
    "metrics": {
        "annualized_return": 0.1,
        "sharpe_ratio": None,
        "max_drawdown": -0.2,
        "win_rate": 0.5,
        "total_trades": 3,
    },
    "extra_metrics": {"name": "x", "value": 1.5},
    "suggestions": {
        "priority": "medium",
        "description": "try",
        "specific_changes": None,
        "expected_impact": "",
        "rationale": "r",
        "learning_references": '["a"]',
        "status": "applied",
    },
    "trades": {
        "stock_code": "2330",
        "entry_date": "2024-01-02",
        "exit_date": "2024-01-09T09:30:00",
        "entry_price": 1.5,
        "exit_price": 2.0,
        "position_size": -1000.0,
        "profit_loss": None,
    },
    "equity": {"date": "2024-01-02", "equity": 100.0},
    "tags": {"tag": "t"},
    "provenance": {},
}
# What only some know: the columns that were added later.
KNOWN: dict[str, dict[str, Any]] = {
    "iterations": {
        "initial_capital": 1e6,
        "timezone": "Asia/Taipei",
        "periods_per_year": 252.0,
        "currency": "TWD",
        "changed_at": "2024-01-02T03:04:05.678901Z",
    },
    "trades": {
        "trade_return": 0.1,
        "fees": -0.5,
        "mae": -0.1,
        "mfe": 0.0,
        "multiplier": 50.0,
        "entry_reason": "",
        "exit_reason": "突破",
        "extra": '{"a": 1}',
    },
    "provenance": {
        "engine": "vectorbt",
        "engine_version": "1.0",
        "code_hash": "5f",
        "packages": '{"numpy": "2.3"}',
        "data_fingerprint": "",
        "seed": -1,
        "duration": 0.0,
        "host": "h",
        "result_hash": "a0",
    },
}


@st.composite
def odd_row(draw: st.DrawFn, table: str) -> dict[str, Any]:
    """Return a row of which up to three values are odd; a column without a usual value is mostly NULL."""
    known = KNOWN[table] if table in KNOWN and draw(st.booleans()) else {}
    row = dict.fromkeys(set(TABLES[table].names) - {*IDS, TABLES[table].row_key}) | USUAL[table] | known
    for name in draw(st.lists(st.sampled_from(sorted(row)), max_size=3, unique=True)):
        row[name] = draw(odd)
    return row


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty database."""
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    fl.StorageManager(path).close()
    return path


strategy_ids = st.sampled_from(["s0", "s1", "s2", "", " ", "a\0b"])
stores = st.fixed_dictionaries(
    {
        "strategies": st.dictionaries(
            strategy_ids,
            st.tuples(odd_row("strategies"), st.none() | strategy_ids | st.just("lost")),
            min_size=1,
            max_size=4,
        ),
        "iterations": st.lists(
            st.tuples(
                st.integers(0, 3),
                odd_row("iterations"),
                st.integers(1, 3) | odd,
                st.fixed_dictionaries(
                    {
                        "metrics": st.lists(odd_row("metrics"), max_size=1),
                        "extra_metrics": st.lists(odd_row("extra_metrics"), max_size=3),
                        "trades": st.lists(odd_row("trades"), max_size=3),
                        "equity": st.lists(odd_row("equity"), max_size=3),
                        "tags": st.lists(odd_row("tags"), max_size=3),
                        "provenance": st.lists(odd_row("provenance"), max_size=1),
                        "suggestions": st.lists(
                            st.tuples(
                                odd_row("suggestions"),
                                st.lists(st.sampled_from(["i0", "i1", "i2", "lost", *BROKEN]), max_size=3),
                            ),
                            max_size=3,
                        ),
                    }
                ),
            ),
            min_size=1,
            max_size=3,
        ),
    }
)


def fill(path: Path, stored: dict[str, Any]) -> list[str]:
    """Write rows as another program would, and return the ids of the iterations that found their place."""
    ids: list[str] = []
    with foreign(path) as connection:
        keys = [
            key
            for key, (row, parent) in stored["strategies"].items()
            if put(connection, "strategies", {"strategy_id": key, **row, "parent_strategy_id": parent})
        ]
        for i, (owner, row, number, parts) in enumerate(stored["iterations"] if keys else []):
            own = {"iteration_id": f"i{i}"}
            iteration = own | row | {"strategy_id": keys[owner % len(keys)], "iteration_number": number}
            if not put(connection, "iterations", iteration):
                continue
            ids.append(f"i{i}")
            for table, items in parts.items():
                for item in items:
                    line, applied = item if table == "suggestions" else (item, [])
                    if put(connection, table, own | line) and applied:
                        (suggestion,) = connection.execute("SELECT last_insert_rowid()").fetchone()
                        for one in applied:
                            put(connection, "applications", {"suggestion_id": suggestion, "iteration_id": one})
    return ids


def check_journey(source: Path, ids: list[str], folder: Path) -> dict[str, Any]:
    """Export, import as copies and merged, and compare all rows; return the file."""
    target = folder / "target.db"
    sent = content(source, ids)
    with fl.StorageManager(source) as store, fl.StorageManager(target) as other:
        path = store.export_results(ids, folder / "odd.json")
        exported = json.loads(path.read_text(encoding="utf-8"))
        copies = other.import_results(path)
        for iteration_id in copies:
            other.load_iteration(iteration_id)
            other.load_strategy_history(other.load_iteration(iteration_id)["strategy_id"])
        other.check()
        assert other.import_results(path, "merge") == ids
        before = {table: rows(target, table) for table in TABLES}
        assert other.import_results(path, "merge") == ids
        assert {table: rows(target, table) for table in TABLES} == before
        again = json.loads(other.export_results(ids, folder / "again.json").read_text(encoding="utf-8"))
        before = {table: rows(source, table) for table in TABLES}
        assert store.import_results(path, "merge") == ids
        assert {table: rows(source, table) for table in TABLES} == before
    jsonschema.validate(exported, json_schema(next(one for one in VERSIONS if one.name == exported["format_version"])))
    assert content(target, copies) == sent
    assert content(target, ids) == sent
    if not leads_nowhere(source):
        assert without_numbers(again) == without_numbers(exported)
    return exported


def leads_nowhere(path: Path) -> bool:
    """Tell whether anything refers to a strategy or an iteration that is not there; such a reference is left out."""
    with foreign(path) as connection:
        return connection.execute("PRAGMA foreign_key_check").fetchone() is not None


def without_numbers(exported: Any) -> Any:
    """Return a file without the numbers of rows and the time."""
    if isinstance(exported, dict):
        left_out = ("suggestion_id", "export_timestamp")
        return {name: without_numbers(item) for name, item in exported.items() if name not in left_out}
    return [without_numbers(item) for item in exported] if isinstance(exported, list) else repr(exported)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=EXAMPLES)
@given(stored=stores)
def test_whatever_another_program_has_stored_arrives_as_the_same_rows(stored: dict[str, Any], empty: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = Path(shutil.copy(empty, folder / "source.db"))
        shutil.copy(empty, folder / "target.db")
        ids = fill(source, stored)
        if ids:
            check_journey(source, ids, folder)


# Files of the original layer ----------------------------------------------------------------------------------------


def adopted(folder: Path, script: str, edits: list[tuple[str, str, Any]]) -> tuple[Path, list[str]]:
    """Make a file of the original layer, put values into it, and open it, which adopts it."""
    path = folder / "source.db"
    with foreign(path) as connection:
        connection.executescript(ORIGINAL + script)
        for table, column, value in edits:
            place = "CAST(? AS TEXT)" if isinstance(value, BrokenText) else "?"
            with contextlib.suppress(sqlite3.IntegrityError):
                connection.execute(f"UPDATE {table} SET {column} = {place}", (value,))
    with fl.StorageManager(path) as store, store.pool.read() as connection:
        return path, [key for (key,) in connection.execute("SELECT iteration_id FROM iterations ORDER BY rowid")]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::finlab_nb.UpgradeWarning")
def test_an_adopted_file_with_rows_that_break_the_rules_travels_whole(tmp_path: Path) -> None:
    path, ids = adopted(tmp_path, GOOD + BAD, [])
    exported = check_journey(path, ids, tmp_path)
    assert len(exported["iterations"]) == len(ids) == 7


LEGACY = [
    (table, column)
    for table, columns in {
        "strategies": ("name", "code", "parameters", "created_at"),
        "iterations": ("code", "timestamp"),
        "metrics": ("annualized_return", "max_drawdown", "win_rate", "total_trades"),
        "suggestions": ("description", "rationale", "learning_references"),
        "trades": ("stock_code", "entry_date", "exit_date", "entry_price", "exit_price", "position_size"),
    }.items()
    for column in columns
]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore::finlab_nb.UpgradeWarning")
@settings(max_examples=EXAMPLES // 3)
@given(edits=st.lists(st.tuples(st.sampled_from(LEGACY), odd), min_size=1, max_size=4))
def test_whatever_an_adopted_file_holds_arrives_as_the_same_rows(edits: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path, ids = adopted(Path(name), GOOD, [(*place, value) for place, value in edits])
        check_journey(path, ids, Path(name))
