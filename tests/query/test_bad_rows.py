"""What other programs wrote badly is missing in the frame, counted in one warning, and the same by every way."""

from __future__ import annotations

import json
import re
import sqlite3
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import finlab_nb as fl
from books import TRADE
from finlab_nb.query.tables import TABLES, Table

DATES = (
    "2024-01-02",
    "2024-01-02 09:30",
    "2024-01-02T09:30:00",
    "2024-01-02T09:30:00.123456",
    "2024-01-02T09:30:00Z",
    "2024-01-02T00:00:00+08:00",
    "2024-01-02 00:00:00.5-0430",
    "1969-12-31",
    "0001-01-01",
    "9999-12-31",
)
NO_DATES = (
    "2024-02-30",
    "2024-13-01",
    "2024-1-5",
    "2024/01/05",
    "20240105",
    "12",
    "12:30",
    "infinity",
    "-infinity",
    "epoch",
    "now",
    "0000-01-01",
    "0000-01-01 10:00:00",
    "44-03-15 (BC)",
    "2024-01-02T24:00:00",
    "2024-01-02T09:60:00",
    "2024-01-02 10:00:00 Asia/Taipei",
    "2024-01-02T09:30:00+08:00:30",
    "2024-01-02 ",
    " 2024-01-02",
    "2024-01-02x",
    "",
    1704153600,
    1704153600000,
    45293.5,
    b"2024-01-02",
)
WRONG: dict[str, tuple[Any, ...]] = {
    "text": (b"bytes", b"\xff\xfe"),
    "float": ("n/a", "1,5", b"1.5", ""),
    "whole": ("n/a", 1.5, 1e300, b"12", ""),
    "flag": ("yes", 2, -1, 0.5, b"1"),
    "date": NO_DATES,
    "moment": NO_DATES,
    "object": ("[1]", "{", "nope", 5, 1.5, b"{}", ""),
    "array": ("{}", "[", "nope", 5, b"[]", ""),
}
RIGHT: dict[str, tuple[Any, ...]] = {
    "text": ("台積電", "a\0b", "=1+1", "5"),
    "float": (0.1 + 0.2, -1e300, 5e-324, float("inf"), 7),
    "whole": (2**53 + 1, -(2**63), 2**63 - 1),
    "flag": (0, 1),
    "date": DATES,
    "moment": DATES,
    "object": ('{"lookback": 60}',),
    "array": ('["https://example.org"]',),
}


def _expected(kind: str, value: Any) -> Any:
    """Say in plain Python what a stored value means; None if it means nothing."""
    if kind in ("date", "moment"):
        if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d|$)", value):
            return None
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return None
        if "T24" in value or re.search(r"[+-]\d\d:\d\d:\d\d$", value):
            return None
        return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)
    if kind in ("object", "array"):
        try:
            parsed = json.loads(value) if isinstance(value, str) else None
        except ValueError:
            return None
        return value if isinstance(parsed, dict if kind == "object" else list) else None
    types = {"text": str, "float": float, "whole": int, "flag": int}
    if not isinstance(value, types[kind]) or (kind == "flag" and value not in (0, 1)):
        return None
    return bool(value) if kind == "flag" else value


def _spoil(path: Path, table: Table, copies: int) -> None:
    """Write every right and wrong value into every column of a table, past all checks."""
    connection = sqlite3.connect(path, isolation_level=None)
    for setting in ("ignore_check_constraints = ON", "foreign_keys = OFF"):
        connection.execute(f"PRAGMA {setting}")
    keys = {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})") if row[2] == "INTEGER" and row[5]}
    connection.execute("BEGIN")
    number = 0
    for column in table.columns:
        if column.name in keys:
            continue
        for value in (*WRONG[column.kind], *RIGHT[column.kind]) * copies:
            number += 1
            row = {one.name: _filler(one.kind, one.name, number) for one in table.columns if one.name not in keys}
            row[column.name] = value
            names, marks = (
                ", ".join(row),
                ", ".join("CAST(? AS TEXT)" if row[name] == b"\xff\xfe" else "?" for name in row),
            )
            connection.execute(f"INSERT OR IGNORE INTO {table.name} ({names}) VALUES ({marks})", list(row.values()))
    connection.execute("COMMIT")
    connection.close()


def _filler(kind: str, name: str, number: int) -> Any:
    texts = {"priority": "high", "status": "open"}
    return {
        "text": texts.get(name, f"{name} {number}"),
        "float": -0.5,
        "whole": number,
        "flag": 0,
        "date": "2024-01-02",
        "moment": "2024-01-02T00:00:00.000000Z",
        "object": "{}",
        "array": "[]",
    }[kind]


def _plain(path: Path, table: Table) -> tuple[list[tuple[Any, ...]], dict[str, int]]:
    """Return what plain sqlite3 says of a table, and how many values of each column mean nothing."""
    connection = sqlite3.connect(path)
    connection.text_factory = lambda raw: raw.decode(errors="replace") if raw != b"\xff\xfe" else raw
    raw = connection.execute(f"SELECT {table.names} FROM {table.name} ORDER BY rowid").fetchall()
    connection.close()
    rows = [
        tuple(_expected(column.kind, value) for column, value in zip(table.columns, row, strict=True)) for row in raw
    ]
    lost = dict.fromkeys((column.name for column in table.columns), 0)
    for before, after in zip(raw, rows, strict=True):
        for column, one, other in zip(table.columns, before, after, strict=True):
            lost[column.name] += one is not None and other is None
    return rows, {name: count for name, count in lost.items() if count}


def _asked(lab: fl.Lab, table: Table) -> tuple[list[tuple[Any, ...]], dict[str, int]]:
    def question(views: Any) -> Any:
        names = (f"{one.name}::TIMESTAMP" if one.kind == "moment" else one.name for one in table.columns)
        query = f"SELECT {', '.join(names)} FROM copied.{table.name}_rows ORDER BY row_id"
        return views.execute(query).fetchall(), lab._engine.bad_values(views, [table.name]).get(table.name, {})

    return lab._engine.answer(question)


@pytest.mark.parametrize("name", list(TABLES))
def test_every_bad_value_is_missing_and_counted_whichever_way_it_is_read(tmp_path: Path, name: str) -> None:
    table, path = TABLES[name], tmp_path / "a.db"
    fl.StorageManager(path).close()
    _spoil(path, table, 1)
    expected, lost = _plain(path, table)
    assert lost
    with fl.Lab(path) as lab:
        assert _asked(lab, table) == (expected, lost)  # by the tail
        assert not lab._engine.segments()
    _spoil(path, table, 20_000 // len(expected) + 1)
    expected, lost = _plain(path, table)
    with fl.Lab(path) as lab:
        rows = _asked(lab, table)  # by the reader
        assert lab._engine.reader.process_id is not None or len(expected) < 16_384
        assert [segment.table for segment in lab._engine.segments()] == [name] or len(expected) < 16_384
        assert rows == (expected, lost)
    with fl.Lab(path) as lab:
        assert _asked(lab, table) == (expected, lost)  # by what another kernel has left
        assert lab._engine.reader.process_id is None


def test_the_reader_that_meets_no_bad_value_copies_by_duckdb_alone(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "a.db") as lab:
        strategy = lab.store.save_strategy_version("a", "x")
        lab.store.save_iterations({"strategy_id": strategy, "trades": [TRADE] * 500} for _ in range(40))
        assert len(lab.trades()) == 20_000
        assert not lab._engine.suspicious
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            lab.trades()
