"""What other programs wrote badly is missing in the frame, counted in one warning, and the same by every way."""

from __future__ import annotations

import contextlib
import json
import math
import re
import sqlite3
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

import finlab_nb as fl
from books import TRADE, fill
from finlab_nb.query.replica import delta, engine
from finlab_nb.query.replica.building import Building
from finlab_nb.query.tables import TABLES, Table
from finlab_nb.records import METRICS
from finlab_nb.records import tables as records

DATES = (
    "2024-01-02",
    "2024-01-02 09:30",
    "2024-01-02T09:30:00",
    "2024-01-02T09:30:00.123456",
    "2024-01-02T09:30:00Z",
    "2024-01-02T09:30Z",
    "2024-01-02T09:30+14:59",
    "2024-01-02T09:30:00.1234567891-00:30",
    "2024-01-02T00:00:00+08:00",
    "2024-01-02 00:00:00.5-04:30",
    "2024-01-02T09:30:00.1234567891",
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
    "2024-01-02 00:00:00.5-0430",
    "2024-01-02T09:30+08",
    "2024-01-02T09:30+15:00",
    "2024-01-02T09:30 +08:00",
    "2024-01-02T09:30z",
    "2024-01-02T",
    "2024-01-02  09:30",
    "2024-01-02\0",
    "2024-01-02T09:30\0x",
    "0001-01-01T00:00:00+08:00",
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
ISO_8601 = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.]\d+)?)?(Z|[+-](0\d|1[0-4]):\d\d)?)?")
BLANKS = ("", " ", "\t\n", "\x1c\u3000\u2029\x85")
INFINITE = (float("inf"), float("-inf"))
# Values of each kind: right and wrong ones, what is right for some columns only, and unknown.
VALUES: dict[str, tuple[Any, ...]] = {
    "text": ("台積電", "a\0b", "\0", "=1+1", "5", " x", "\u3000x", "~", "high", "urgent", "open", "done", "Open",
             *BLANKS, b"bytes", b"\xff\xfe", None),
    "float": (0.1 + 0.2, -1e300, 5e-324, 1.7976931348623157e308, 7, 0.0, 1.0, 1.5, -1.0, *INFINITE,
              "n/a", "1,5", b"1.5", "", None),
    "whole": (2**53 + 1, -(2**63), 2**63 - 1, 0, 1, -1, "n/a", 1.5, 1e300, float("inf"), b"12", "", None),
    "flag": (0, 1, "yes", 2, -1, 7, 0.5, b"1"),
    "date": (*DATES, *NO_DATES, None),
    "moment": (*DATES, *NO_DATES, None),
    "object": ('{"lookback": 60}', ' {"a": "NaN, inf ,]"}', r'{"a\\": "\", NaN"}',
               r'{"a": "\ud83d\ude00\\ud800"}', "[1]", "{", "nope", 5,
               1.5, b"{}", "", '{"a": NaN}', '{"a": [-Infinity]}', '{"a": [1,\n]}', '{"a": 1 ,}', r'{"a": "\ud800"}',
               r'{"\ude00\ud83d": 1, "b": 2}', '{"a": 1}\0', '{"a": 1}\0x', '{"a": "\0"}', None),
    "array": ('["https://example.org"]', '["nan", ",]"]', "{}", "[", "nope", 5, b"[]", "", "[NaN]", "[1,]", "[]\0",
              None),
}  # fmt: skip
TYPES = {"float": float, "whole": int, "flag": int}  # of what DuckDB's own scan reads; others are text
# What a column allows beyond what its kind does; ids are shown as they are.
ALLOWED: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(
        (
            *("name", "stock_code", "description", "tag", "timezone", "currency"),
            *("engine", "engine_version", "code_hash", "host", "result_hash"),
        ),
        lambda text: text.strip() != "",
    ),
    "given_metrics.name": lambda text: text in METRICS,
    "priority": lambda text: text in ("high", "medium", "low"),
    "status": lambda text: text in ("open", "applied", "rejected"),
    "iteration_number": lambda number: number >= 1,
    "total_trades": lambda number: number >= 0,
    "win_rate": lambda number: 0 <= number <= 1,
    **dict.fromkeys(("max_drawdown", "mae"), lambda number: number <= 0),
    **dict.fromkeys(("mfe", "duration"), lambda number: number >= 0),
    **dict.fromkeys(("initial_capital", "periods_per_year", "multiplier"), lambda number: number > 0),
}


def _expected_row(table: Table, row: Sequence[Any]) -> tuple[Any, ...]:
    """Say in plain Python what is shown of a stored row; None where a value means nothing or is not allowed."""
    stored = dict(zip((column.name for column in table.columns), row, strict=True))
    kept = {column.name: _expected(table, column.name, column.kind, stored[column.name]) for column in table.columns}
    if (exit_date := stored.get("exit_date")) is not None:
        entry_date = stored["entry_date"]
        is_early = isinstance(entry_date, bytes) or str(exit_date)[:10] < (entry_date or "")[:10]
        if is_early or stored["exit_price"] is None:
            kept["exit_date"] = None
    return tuple(kept.values())


def _is_id(table: Table, name: str) -> bool:
    return name.endswith("_id") or name == table.owner


def _expected(table: Table, name: str, kind: str, value: Any) -> Any:
    known = _meant(kind, value)
    if known is None or _is_id(table, name):
        return known
    if kind == "text" and "\0" in known:
        return None
    if kind == "float" and f"{table.name}.{name}" != "extra_metrics.value" and math.isinf(known):
        return None
    is_allowed = ALLOWED.get(f"{table.name}.{name}", ALLOWED.get(name, lambda _: True))
    return known if is_allowed(known) else None


def _meant(kind: str, value: Any) -> Any:
    """Say in plain Python what a stored value of a kind means; None if it means nothing."""
    if kind in ("date", "moment"):
        if not isinstance(value, str) or not ISO_8601.fullmatch(value) or "T24" in value:
            return None
        try:
            found = datetime.fromisoformat(value)
            return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)
        except (ValueError, OverflowError):
            return None
    if kind in ("object", "array"):
        try:
            parsed = json.loads(value, parse_constant=float) if isinstance(value, str) else None
            json.dumps(parsed, ensure_ascii=False, allow_nan=False).encode()
        except ValueError:
            return None
        return value if isinstance(parsed, dict if kind == "object" else list) else None
    types = {"text": str, "float": float, "whole": int, "flag": int}
    if not isinstance(value, types[kind]) or (kind == "flag" and value not in (0, 1)):
        return None
    return bool(value) if kind == "flag" else value


def _spoil(path: Path, table: Table, copies: int, *, of_any_type: bool = True) -> None:
    """Write every right and wrong value into every column of a table, past all checks."""
    connection = sqlite3.connect(path, isolation_level=None)
    for setting in ("ignore_check_constraints = ON", "foreign_keys = OFF"):
        connection.execute(f"PRAGMA {setting}")
    keys = {records.TABLES[table.name].row_key}
    connection.execute("BEGIN")
    number = 0
    for column in table.columns:
        if column.name in keys:
            continue
        for value in VALUES[column.kind] * copies:
            if not (of_any_type or isinstance(value, TYPES.get(column.kind, str) | None)):
                continue
            number += 1
            row = {one.name: _filler(one.kind, one.name, number) for one in table.columns if one.name not in keys}
            row[column.name] = value
            if table.key is not None:
                owners, key = table.key
                (before,) = connection.execute(f"SELECT coalesce(max({key}), 0) FROM {owners}").fetchone()
                _insert(connection, owners, {key: before + 1, table.owner: row.pop(table.owner)})
                row[key] = before + 1
            _insert(connection, table.name, row)
    connection.execute("COMMIT")
    connection.close()


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    names, marks = (
        ", ".join(row),
        ", ".join("CAST(? AS TEXT)" if row[name] == b"\xff\xfe" else "?" for name in row),
    )
    connection.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", list(row.values()))


def _raw(table: Table) -> str:
    """Return the SELECT of the stored rows of a table, each with its number, in their order."""
    return f"SELECT row_id, {table.stored_names} FROM ({table.select_raw('true')}) ORDER BY row_id"


def _filler(kind: str, name: str, number: int) -> Any:
    texts = {"priority": "high", "status": "open", "timezone": "Asia/Taipei"}
    return {
        "text": texts.get(name, f"{name} {number}"),
        "float": 0.5 if name in ("initial_capital", "periods_per_year", "multiplier", "mfe") else -0.5,
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
    raw = [row for _, *row in connection.execute(_raw(table)).fetchall()]
    connection.close()
    rows = [_expected_row(table, row) for row in raw]
    lost = dict.fromkeys((column.name for column in table.columns), 0)
    for before, after in zip(raw, rows, strict=True):
        for column, one, other in zip(table.columns, before, after, strict=True):
            lost[column.name] += one is not None and other is None
    return rows, {name: count for name, count in lost.items() if count}


def _typed(table: Table) -> str:
    names = (f"{one.name}::TIMESTAMP" if one.kind == "moment" else one.name for one in table.columns)
    return f"SELECT {', '.join(names)} FROM copied.{table.name}_rows ORDER BY row_id"


def _asked(lab: fl.Lab, table: Table) -> tuple[list[tuple[Any, ...]], dict[str, int]]:
    def question(views: Any) -> Any:
        return views.connection.execute(_typed(table)).fetchall(), dict(
            views.bad_values([table.name]).get(table.name, {})
        )

    return lab._engine.answer(question, [table.name])


def _found_by_check(store: fl.StorageManager, table: Table) -> Counter[tuple[int, str]]:
    """Return the row and column of each value of a table that `check` finds, ids and unknown values apart."""
    return Counter(
        (one["row"], one["column"])
        for one in store.check(1_000_000)
        if one["table"] == table.name and one["value"] is not None and not _is_id(table, one["column"])
    )


@pytest.mark.parametrize("name", TABLES)
def test_what_the_check_finds_is_what_is_missing(tmp_path: Path, name: str) -> None:
    table, path = TABLES[name], tmp_path / "a.db"
    fl.StorageManager(path).close()
    _spoil(path, table, 1)
    missing: Counter[tuple[int, str]] = Counter()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.text_factory = lambda raw: raw.decode(errors="replace") if raw != b"\xff\xfe" else raw
        for row_id, *stored in connection.execute(_raw(table)):
            for column, before, after in zip(table.columns, stored, _expected_row(table, stored), strict=True):
                if before is not None and after is None and not _is_id(table, column.name):
                    missing[row_id, column.name] += 1
    with fl.StorageManager(path) as store:
        assert _found_by_check(store, table) == missing


@pytest.mark.slow
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
        assert _asked(lab, table) == (expected, lost)  # by the pool
        assert not lab._engine.segments()
    with fl.Lab(path) as lab, pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_BULK", 0)
        assert _asked(lab, table) == (expected, lost)  # by the child
        assert [segment.table for segment in lab._engine.segments()] == [name]
    with fl.Lab(path) as lab:
        assert _asked(lab, table) == (expected, lost)  # by what another kernel has left


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trades", pytest.param("iterations", marks=pytest.mark.slow)])
def test_values_of_the_right_type_that_break_the_rules_are_missing_in_the_fast_copy_too(
    tmp_path: Path, by_child: list[Building], name: str
) -> None:
    table, path = TABLES[name], tmp_path / "a.db"
    fl.StorageManager(path).close()
    _spoil(path, table, 3, of_any_type=False)
    expected, lost = _plain(path, table)
    with fl.Lab(path) as lab:
        assert _asked(lab, table) == (expected, lost)
        assert by_child


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ("metrics", "trades") else pytest.mark.slow) for name in TABLES]
)
def test_a_row_that_is_read_alone_is_the_same(tmp_path: Path, name: str) -> None:
    table, path = TABLES[name], tmp_path / "a.db"
    fl.StorageManager(path).close()
    _spoil(path, table, 1)
    expected, lost = _plain(path, table)
    with contextlib.closing(sqlite3.connect(path)) as source, duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        duck.execute("CREATE SCHEMA copied")
        delta.create(duck, table)
        duck.execute(f"CREATE VIEW copied.{name}_rows AS FROM copied.{name}")
        for (row,) in source.execute(f"SELECT rowid FROM {name} ORDER BY rowid").fetchall():
            delta.read(duck, source, table, [(row, row)])
        counted = delta.bad_values(duck, table, f"copied.{name}")
        assert (duck.execute(_typed(table)).fetchall(), counted) == (expected, lost)


def test_segments_without_bad_values_are_not_searched_for_them(lab: fl.Lab, by_child: list[Building]) -> None:
    fill(lab, 40)
    assert len(lab.trades()) == 20_000
    assert by_child
    assert not any(one.has_bad_values for one in lab._engine.segments())
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
    message = r"3 values that another program wrote break the rules and are missing: trades \(entry_date 1, "
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
@pytest.mark.usefixtures("by_child")
def test_text_that_is_no_unicode_is_missing_though_duckdb_writes_it_without_a_word(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "a.db") as lab:
        fill(lab, 40)
        _foreign(lab.store.path, "UPDATE trades SET stock_code = CAST(x'ff41' AS TEXT) WHERE trade_id IN (7, 19000)")
        for _ in range(2):
            with pytest.warns(fl.BadDataWarning, match="2 values .*stock_code 2"):
                codes = lab.trades()["stock_code"]
            assert codes.isna().to_numpy().nonzero()[0].tolist() == [6, 18_999]
            assert lab._engine.segments()
            lab.clear_cache()


@pytest.mark.slow
@pytest.mark.usefixtures("by_child")
def test_dates_alone_do_not_cost_the_fast_copy(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "a.db") as lab:
        fill(lab, 40)
        _foreign(lab.store.path, "UPDATE trades SET entry_date = '12:30' WHERE trade_id % 1000 = 0")
        with pytest.warns(fl.BadDataWarning, match="20 values .*entry_date 20"):
            assert lab.trades()["entry_date"].isna().sum() == 20
        with pytest.warns(fl.BadDataWarning, match="20 values"):
            lab.sql("FROM trades", to="stream")


@pytest.fixture(params=[1, 40], ids=["by the pool", "by the child"])
def spoilt(lab: fl.Lab, request: pytest.FixtureRequest) -> tuple[fl.Lab, list[str]]:
    """Return a lab with two iterations, the first of which another program has spoilt, and perhaps many more."""
    strategy = lab.store.save_strategy_version("a", "x")
    content: dict[str, Any] = {
        "strategy_id": strategy,
        "trades": [TRADE, TRADE],
        "equity": {"2024-01-02": 1.0, "2024-01-03": 2.0},
        "metrics": {
            "annualized_return": 0.1,
            "sharpe_ratio": 1.0,
            "max_drawdown": -0.1,
            "win_rate": 0.5,
            "total_trades": 2,
        },
        "extra_metrics": {"alpha": 0.5},
        "suggestions": [{"priority": "high", "description": "x"}],
        "parameters": {"lookback": 60},
        "tags": ["t"],
    }
    ids = lab.store.save_iterations([content, content])
    if request.param > 1:
        fill(lab, request.param)
    _foreign(
        lab.store.path,
        "UPDATE trades SET entry_price = 9e999, profit_loss = -9e999, stock_code = ' ' WHERE trade_id = 1",
        "UPDATE trades SET exit_date = '2024-01-01' WHERE trade_id = 2",
        "UPDATE equity SET equity = 9e999 WHERE equity_id = 1",
        "UPDATE metrics SET annualized_return = 9e999, sharpe_ratio = 9e999, max_drawdown = 0.3, win_rate = 1.5, "
        "total_trades = -1 WHERE metric_id = 1",
        f"UPDATE extra_metrics SET value = 9e999 WHERE iteration_id = '{ids[0]}' AND name = 'alpha'",
        "UPDATE suggestions SET priority = 'urgent', status = 'done', description = '' WHERE suggestion_id = 1",
        f"UPDATE iterations SET iteration_number = 0, starred = 7, parameters = '[1]', note = 'a' || char(0) "
        f"WHERE iteration_id = '{ids[0]}'",
    )
    return lab, ids


@pytest.mark.filterwarnings("ignore::finlab_nb.BadDataWarning")
def test_what_breaks_a_rule_is_missing_in_frames_of_every_kind(
    spoilt: tuple[fl.Lab, list[str]], tmp_path: Path
) -> None:
    lab, (bad, good) = spoilt
    trades = lab.trades(bad)
    assert trades["entry_price"].isna().tolist() == trades["profit_loss"].isna().tolist() == [True, False]
    assert trades["stock_code"].isna().tolist() == [True, False]
    assert trades["exit_date"].isna().tolist() == [False, True]
    assert trades["exit_price"].tolist() == [2.0, 2.0]
    assert lab.equity([bad, good])[bad].dropna().tolist() == [2.0]
    found = lab.iterations(where="'t' = tags").set_index("iteration_id")
    standard = ["annualized_return", "sharpe_ratio", "max_drawdown", "win_rate", "total_trades"]
    for name in ("iteration_number", "starred", "note", "param.lookback", *standard):
        assert pd.isna(found.loc[bad, name]), name
    assert (found.loc[bad, "metric.alpha"], found.loc[bad, "strategy"]) == (float("inf"), "a")
    assert {name: str(found[name].dtype) for name in ("iteration_number", "starred", "total_trades")} == {
        "iteration_number": "Int64",
        "starred": "boolean",
        "total_trades": "Int64",
    }
    assert found.loc[good, ["iteration_number", "total_trades", "param.lookback"]].tolist() == [2, 2, 60]
    assert lab.metrics(bad)[standard].isna().all(axis=None)
    long = lab.metrics(bad, long=True).set_index("name")["value"]
    assert long.dropna().to_dict() == {"alpha": float("inf"), "open_trades": 0.0, "total_return": 1.0}
    (suggestion,) = lab.suggestions(bad).to_dict("records")
    assert all(pd.isna(suggestion[name]) for name in ("priority", "status", "description"))
    by_stock = lab.by_stock(bad)
    assert (by_stock["stock_code"].isna().tolist(), by_stock["closed"].tolist()) == ([False, True], [0, 1])
    assert by_stock[["profit_loss", "worst_trade"]].isna().all(axis=None)
    assert lab.by_period(bad)["closed"].tolist() == [1]
    assert lab.best(1, where="'t' = tags")["iteration_id"].tolist() == [good]
    progress = lab.progress("a").set_index("iteration_id")
    assert pd.isna(progress.loc[bad, "sharpe_ratio"])
    assert progress.loc[good, "is_best"]
    assert lab.sql("SELECT count(*) AS n FROM trades WHERE isinf(entry_price)")["n"].tolist() == [0]
    (path,) = lab.export_frames(tmp_path / "out", "trades")
    assert pd.read_parquet(path)["entry_price"].isna().sum() == 1
    assert lab.store.load_iteration(bad)["metrics"]["win_rate"] == 1.5


def test_what_breaks_a_rule_is_counted_once_an_answer(spoilt: tuple[fl.Lab, list[str]]) -> None:
    lab, (bad, _) = spoilt
    counted = (
        "4 values .* break the rules and are missing: trades .stock_code 1, exit_date 1, entry_price 1, profit_loss 1"
    )
    with pytest.warns(fl.BadDataWarning, match=counted) as caught:
        lab.trades(bad)
    assert len(caught) == 1
    with pytest.warns(fl.BadDataWarning, match="1 value .* breaks the rules and is missing: equity .equity 1"):
        lab.equity(bad)
    found = {(one["table"], one["column"]) for one in lab.store.check()}
    assert ("extra_metrics", "value") not in found
    assert found >= {("trades", "entry_price"), ("equity", "equity"), ("metrics", "win_rate"), ("iterations", "note")}


def test_a_number_that_is_not_whole_is_missing_where_it_stands_alone(lab: fl.Lab) -> None:
    run = lab.store.save_iteration(lab.store.save_strategy_version("a", "x"))
    _foreign(lab.store.path, "UPDATE iterations SET iteration_number = 1.5, starred = 0.5")
    with pytest.warns(fl.BadDataWarning, match="iteration_number 1, starred 1"):
        found = lab.iterations()
    assert found["iteration_id"].tolist() == [run]
    assert found[["iteration_number", "starred"]].isna().all(axis=None)
