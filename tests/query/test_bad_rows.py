"""What other programs wrote badly is missing in the frame, counted in one warning, and the same by every way."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import finlab_nb as fl
from books import TRADE, fill
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


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "trades" else pytest.mark.slow) for name in TABLES]
)
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
        assert not lab._engine.has_bad_values
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            lab.trades()


def _foreign(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_one_warning_an_answer_counts_what_is_missing_and_points_to_the_check(lab: fl.Lab) -> None:
    strategy = fill(lab, 1)
    run = lab.store.save_iteration(strategy, trades=[TRADE] * 3, equity={"2024-01-02": 1.0}, tags=["t"])
    _foreign(
        lab.store.path,
        "UPDATE trades SET entry_date = '1704153600', profit_loss = 'n/a' WHERE trade_id = 1",
        "UPDATE trades SET exit_date = '2024-01-05T00:00:00+08:00' WHERE trade_id = 2",
        "UPDATE trades SET exit_date = '2024-02-31' WHERE trade_id = 3",
    )
    message = r"3 values that another program wrote could not be read and are missing: trades \(entry_date 1, "
    with pytest.warns(
        fl.BadDataWarning, match=message + r"exit_date 1, profit_loss 1\); lab.store.check\(\)"
    ) as caught:
        trades = lab.trades()
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert trades["entry_date"].isna().tolist()[:2] == [True, False]
    assert str(trades["exit_date"][1]) == "2024-01-04 16:00:00"
    assert trades["exit_date"].isna().tolist()[:4] == [False, False, True, False]
    assert trades.dtypes.astype(str).tolist()[3:5] == ["datetime64[us]"] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lab.iterations()  # asks nothing of the table that has them
        lab.equity(run)
    for question in (
        lab.by_stock,
        lab.by_period,
        lambda: lab.sql("SELECT count(*) FROM Trades"),
        lambda: lab.trades(run),
    ):
        with pytest.warns(fl.BadDataWarning) as caught:
            question()
        assert len(caught) == 1
    _foreign(lab.store.path, "DELETE FROM trades WHERE trade_id <= 3")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(lab.trades()) == 500


def test_a_flag_or_parameters_that_mean_nothing_are_missing_and_fail_no_question(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    runs = [lab.store.save_iteration(strategy, parameters={"lookback": number}, tags=["t"]) for number in range(3)]
    _foreign(
        lab.store.path,
        f"UPDATE iterations SET starred = 'yes', parameters = '{{\"lookback\": ' WHERE iteration_id = '{runs[1]}'",
        f"UPDATE iterations SET iteration_number = 'two' WHERE iteration_id = '{runs[2]}'",
        "INSERT INTO extra_metrics SELECT iteration_id, x'00ff', 1.0 FROM iterations LIMIT 1",
    )
    with pytest.warns(fl.BadDataWarning, match=r"4 values .*: extra_metrics \(name 1\); iterations|iterations .*"):
        found = lab.iterations(where="true")
    assert found["starred"].isna().tolist() == [False, True, False]
    assert found["iteration_number"].isna().tolist() == [False, False, True]
    assert [None if value is pd.NA else value for value in found["param.lookback"]] == [0, None, 2]
    assert {str(found[name].dtype) for name in ("starred", "iteration_number", "param.lookback")} == {
        "boolean",
        "Int64",
    }
    with pytest.warns(fl.BadDataWarning):
        assert len(lab.export_frames(lab.store.path.parent / "out", "iterations", "json")) == 1


@pytest.mark.slow
def test_text_that_is_no_unicode_is_missing_though_duckdb_writes_it_without_a_word(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "a.db") as lab:
        fill(lab, 40)
        _foreign(lab.store.path, "UPDATE trades SET stock_code = CAST(x'ff41' AS TEXT) WHERE trade_id IN (7, 19000)")
        for _ in range(2):
            with pytest.warns(fl.BadDataWarning, match="2 values .*stock_code 2"):
                codes = lab.trades()["stock_code"]
            assert codes.isna().to_numpy().nonzero()[0].tolist() == [6, 18_999]
            assert lab._engine.segments()
            shutil.rmtree(f"{lab.store.path}.cache")
            lab._engine.forget()


def test_dates_alone_do_not_cost_the_fast_copy(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "a.db") as lab:
        fill(lab, 40)
        _foreign(lab.store.path, "UPDATE trades SET entry_date = '12:30' WHERE trade_id % 1000 = 0")
        with pytest.warns(fl.BadDataWarning, match="20 values .*entry_date 20"):
            assert lab.trades()["entry_date"].isna().sum() == 20
        with pytest.warns(fl.BadDataWarning, match="20 values"):
            lab.relation("trades")
