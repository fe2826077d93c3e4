"""Whatever happens to the database, every frame equals what plain sqlite3 and pandas say of it.

Hypothesis runs random saves, deletes, annotations, changes by foreign tools, restores, removals of the cache and
restarts of the kernel, from this process and from another one, and compares after each step. The sizes at which rows
are sealed and copied in bulk are made small, so that a few dozen rows go through everything that millions do.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import finlab_nb as fl
from books import day_of
from finlab_nb.analysis import daily_returns, win_rate
from finlab_nb.query.replica import compaction, engine
from finlab_nb.query.tables import TABLES, Table

pytestmark = pytest.mark.slow
LONG = os.environ.get("FINLAB_NB_LONG") == "1"

OTHER = """
import json, sys, finlab_nb as fl
with fl.Lab(sys.argv[1]) as lab:
    for line in sys.stdin:
        order = json.loads(line)
        getattr(lab.store, order["method"])(*order["arguments"], **order["options"])
        print(len(lab.iterations()), len(lab.trades()), flush=True)
"""

# What a foreign tool may do: to single rows, to ranges, to keys. The number stands for anything from first to last row.
FOREIGN = (
    "UPDATE trades SET profit_loss = profit_loss + 1 WHERE rowid % 7 = {number} % 7",
    "UPDATE trades SET exit_date = NULL, stock_code = 'changed' WHERE rowid = {number}",
    "DELETE FROM trades WHERE rowid BETWEEN {number} AND {number} + 5",
    "DELETE FROM trades WHERE rowid >= {number}",
    "UPDATE trades SET trade_id = trade_id + 1000 WHERE rowid = {number}",
    "INSERT OR REPLACE INTO trades (trade_id, iteration_id, stock_code) "
    "SELECT {number}, iteration_id, 'replaced' FROM iterations LIMIT 1",
    "INSERT INTO trades (iteration_id, stock_code, entry_date, exit_date, exit_price) "
    "SELECT iteration_id, 'foreign', '2023-05-05 09:00:00', '2023-05-08T09:00:00', 2.0 FROM iterations",
    "UPDATE equity SET equity = equity * 2 WHERE rowid % 5 = 0",
    "DELETE FROM equity WHERE rowid % 3 = {number} % 3",
    "INSERT OR REPLACE INTO metrics (iteration_id, sharpe_ratio) SELECT iteration_id, {number} FROM iterations LIMIT 2",
    "INSERT OR REPLACE INTO extra_metrics SELECT iteration_id, 'foreign', {number} FROM iterations",
    'UPDATE iterations SET parameters = \'{{"lookback": {number}, "mode": "x"}}\' WHERE rowid % 2 = 0',
    "UPDATE iterations SET rowid = rowid + 50 WHERE rowid = {number}",
    "DELETE FROM tags",
    "INSERT OR REPLACE INTO tags SELECT iteration_id, 't' || {number} FROM iterations",
    "UPDATE suggestions SET status = 'rejected' WHERE rowid % 2 = 1",
    "UPDATE suggestions SET status = 'applied' WHERE rowid % 2 = 0",
    "INSERT OR IGNORE INTO applications SELECT s.suggestion_id, i.iteration_id "
    "FROM suggestions AS s, iterations AS i WHERE (s.rowid + i.rowid + {number}) % 3 = 0",
    "UPDATE OR REPLACE applications SET iteration_id = (SELECT max(iteration_id) FROM iterations) "
    "WHERE rowid % 4 = {number} % 4",
    "DELETE FROM applications WHERE rowid % 3 = {number} % 3",
    "UPDATE OR REPLACE provenance SET iteration_id = (SELECT max(iteration_id) FROM iterations), seed = {number}",
    'UPDATE provenance SET packages = \'{{"numpy": "{number}"}}\' WHERE rowid % 2 = 0',
    "UPDATE strategies SET name = name || '!' WHERE rowid = {number} % 3 + 1",
    "DELETE FROM iterations WHERE rowid = {number}",
    "DELETE FROM iterations WHERE rowid = (SELECT max(rowid) FROM iterations)",
    "UPDATE OR REPLACE metrics SET iteration_id = (SELECT max(iteration_id) FROM iterations) WHERE rowid = {number}",
    "UPDATE OR REPLACE iterations SET iteration_number = {number} % 4 + 1",
    "UPDATE OR REPLACE tags SET tag = 'a'",
    "UPDATE iterations SET timezone = CASE {number} % 4 WHEN 0 THEN 'Asia/Taipei' WHEN 1 THEN 'America/New_York' "
    "WHEN 2 THEN 'Nope/Where' END WHERE rowid % 2 = {number} % 2",
    "UPDATE equity SET date = date || 'T20:00:00' WHERE length(date) = 10",
    "DELETE FROM curves WHERE curve_id % 7 = {number} % 7",
    "UPDATE OR IGNORE curves SET iteration_id = (SELECT max(iteration_id) FROM iterations) WHERE curve_id = {number}",
    "INSERT OR REPLACE INTO series_names (name, timezone) VALUES ('s' || {number} % 3, 'Asia/Taipei')",
    "INSERT INTO series (series_id, date, value) SELECT series_id, '2024-03-05T16:30:00', {number} FROM series_names",
    "UPDATE series_names SET timezone = 'Pacific/Auckland', name = name || '!' WHERE series_id = {number} % 5",
    "DROP TRIGGER IF EXISTS trades_updated",
    "DROP INDEX IF EXISTS iterations_by_zone",
    "DROP INDEX IF EXISTS trades_by_iteration",
    "CREATE TABLE IF NOT EXISTS mine (a)",
    "INSERT OR IGNORE INTO trades (trade_id, iteration_id, stock_code) "
    "SELECT -5000000000000000000 + {number}, iteration_id, 'far' FROM iterations LIMIT 1",
    "INSERT OR REPLACE INTO edited_rows VALUES ('no such table', {number}, 1)",
    "INSERT OR REPLACE INTO edited_rows VALUES ('trades', {number}, 'x')",
    "INSERT OR REPLACE INTO edited_rows VALUES ('trades', -{number}, 5), ('tags', 1.5, 5)",
    "DELETE FROM edited_rows",
)


def _flip(path: Path, number: int) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[number * 7919 % len(content)] ^= 1 << number % 8
    path.write_bytes(content)


NAMES = ("mode", "Mode", "MODE", "快", "q'", 'a"b', "a.b", "", "%s {x}", "$1", "results", "sharpe_ratio")

# What a disk, or a person, may do to a file of the cache.
DAMAGE: dict[str, Callable[[Path, int], Any]] = {
    "a bit is flipped": _flip,
    "the end is missing": lambda path, number: os.truncate(path, path.stat().st_size * (number % 10) // 10),
    "it is full of zeros": lambda path, _: path.write_bytes(bytes(path.stat().st_size)),
    "it is gone": lambda path, _: path.unlink(),
    "it is another one": lambda path, _: (
        shutil.copyfile(sorted(path.parent.glob(f"*{path.suffix}"))[0], path)
        if sorted(path.parent.glob(f"*{path.suffix}"))[0] != path
        else None
    ),
}


def _run(seed: int) -> dict[str, Any]:
    """Return the arguments of one run, with everything that a run can have."""
    chance = random.Random(seed)
    days = pd.date_range("2024-01-01", periods=chance.randint(0, 6)).strftime("%Y-%m-%d")
    return {
        "parameters": {
            "lookback": chance.randint(1, 99),
            chance.choice(["mode", "快", "q'", "Mode", 'a"b', "a.b", "", "%s {x}", "results"]): chance.choice(
                [1.5, "x"]
            ),
        },
        "trades": [_trade(chance) for _ in range(chance.randint(0, 30))],
        "equity": {day: 100.0 + chance.random() for day in days},
        "suggestions": [{"priority": chance.choice(["low", "high"]), "description": "d"}] * chance.randint(0, 2),
        "extra_metrics": {
            chance.choice(["calmar", "Calmar", *filter(None, NAMES)]): chance.choice([None, 1.0, float("inf")])
        }
        if seed % 2
        else {},
        "tags": ["a", "b"][: chance.randint(0, 2)],
        "provenance": chance.choice([None, {"engine": "vectorbt", "seed": 7}]),
    }


def _trade(chance: random.Random) -> dict[str, Any]:
    entry, leave, size = chance.random(), 1 / 3, chance.choice([-1, 2.5])
    return {
        "stock_code": chance.choice(["2330", "2317", "台"]),
        "entry_date": f"2024-0{chance.randint(1, 3)}-11",
        "exit_date": chance.choice([None, "2024-04-01", "2024-05-02T10:30:00"]),
        "entry_price": entry,
        "exit_price": leave,
        "position_size": size,
        "profit_loss": chance.choice([None, 0.0, (leave - entry) * size]),
    }


class Books(RuleBasedStateMachine):
    """One database, two labs of this process on it, one lab of another process, and a backup."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="finlab_nb_model_"))
        self.path = self.folder / "a.db"
        self.lab = fl.Lab(self.path)
        self.second = fl.Lab(self.path)
        self.other: subprocess.Popen[str] | None = None
        self.backup: Path | None = None

    def teardown(self) -> None:
        self._end_other()
        self.lab.close()
        self.second.close()
        shutil.rmtree(self.folder)

    def _end_other(self) -> None:
        if self.other is not None:
            self.other.communicate()
            self.other = None

    def _strategies(self) -> list[str]:
        with contextlib.closing(sqlite3.connect(self.path)) as plain:
            return [one for (one,) in plain.execute("SELECT strategy_id FROM strategies ORDER BY rowid")]

    def _iterations(self) -> list[str]:
        with contextlib.closing(sqlite3.connect(self.path)) as plain:
            return [one for (one,) in plain.execute("SELECT iteration_id FROM iterations ORDER BY rowid")]

    def _call(self, elsewhere: bool, method: str, *arguments: Any, **options: Any) -> None:
        """Call a method of the store, in this process or in the other one."""
        if not elsewhere:
            getattr(self.lab.store, method)(*arguments, **options)
            return
        if self.other is None:
            self.other = subprocess.Popen(
                [sys.executable, "-c", OTHER, str(self.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self.other.stdin is not None
        assert self.other.stdout is not None
        order = {"method": method, "arguments": arguments, "options": options}
        self.other.stdin.write(json.dumps(order) + "\n")
        self.other.stdin.flush()
        counts = [int(one) for one in self.other.stdout.readline().split()]
        assert counts == [len(self._plain("iterations")), len(self._plain("trades"))]

    @initialize()
    def start(self) -> None:
        for name in ("momentum", "reversal"):
            self.lab.store.save_strategy_version(name, "x", {"lookback": 1})

    @rule(seed=st.integers(0, 999), elsewhere=st.booleans(), place=st.integers(0, 9))
    def save(self, seed: int, elsewhere: bool, place: int) -> None:
        strategies = self._strategies()
        self._call(elsewhere, "save_iteration", strategies[place % len(strategies)], **_run(seed))

    @rule(seed=st.integers(0, 999), count=st.integers(2, 6))
    def save_many(self, seed: int, count: int) -> None:
        strategy = self._strategies()[0]
        self.lab.store.save_iterations({"strategy_id": strategy} | _run(seed + one) for one in range(count))

    @rule()
    def save_strategy(self) -> None:
        self.lab.store.save_strategy_version("momentum", "y")

    @precondition(lambda self: self._iterations())
    @rule(place=st.integers(0, 99), elsewhere=st.booleans())
    def delete(self, place: int, elsewhere: bool) -> None:
        runs = self._iterations()
        self._call(elsewhere, "delete_iteration", runs[place % len(runs)])

    @precondition(lambda self: self._iterations())
    @rule(place=st.integers(0, 99), elsewhere=st.booleans(), starred=st.booleans())
    def annotate(self, place: int, elsewhere: bool, starred: bool) -> None:
        runs = self._iterations()
        self._call(
            elsewhere,
            "annotate",
            runs[place % len(runs)],
            note=f"n{place}",
            starred=starred,
            add_tags=[f"t{place % 3}"],
        )

    @rule(statement=st.sampled_from(FOREIGN), number=st.integers(1, 120))
    def change_by_a_foreign_tool(self, statement: str, number: int) -> None:
        with contextlib.closing(sqlite3.connect(self.path)) as foreign:
            foreign.execute("PRAGMA foreign_keys = ON")
            with contextlib.suppress(sqlite3.IntegrityError):
                foreign.execute(statement.format(number=number))
                foreign.commit()

    @rule()
    def vacuum(self) -> None:
        with contextlib.closing(sqlite3.connect(self.path)) as foreign:
            foreign.execute("VACUUM")

    @rule()
    def back_up(self) -> None:
        self.backup = self.folder / "copy.db"
        self.backup.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(self.path)) as source:
            source.execute("VACUUM INTO ?", (str(self.backup),))

    @precondition(lambda self: self.backup is not None)
    @rule()
    def put_the_copy_in_place_by_hand(self) -> None:
        self._end_other()
        assert self.backup is not None
        copy = self.folder / "in_place.db"
        shutil.copyfile(self.backup, copy)
        for suffix in ("-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        copy.replace(self.path)

    @rule()
    def remove_the_cache(self) -> None:
        shutil.rmtree(f"{self.path}.cache", ignore_errors=True)

    @rule(number=st.integers(0, 999), how=st.sampled_from(sorted(DAMAGE)))
    def damage_the_cache(self, number: int, how: str) -> None:
        for lab in (self.lab, self.second):
            lab.close()
        files = sorted(self.folder.glob("a.db.cache/*/*.*"))
        if files:
            DAMAGE[how](files[number % len(files)], number)
        self.lab, self.second = fl.Lab(self.path), fl.Lab(self.path)

    @rule()
    def copy_all_that_is_worth_it(self) -> None:
        self.lab._engine.settle()

    @rule()
    def restart_the_kernel(self) -> None:
        self.lab.close()
        self.lab, self.second = self.second, fl.Lab(self.path)

    # What is compared ---------------------------------------------------------------------------------------------

    def _plain(self, table: str) -> pd.DataFrame:
        with contextlib.closing(sqlite3.connect(self.path)) as plain:
            rows = pd.read_sql(f"{TABLES[table].select_raw('true')} ORDER BY row_id", plain)
            return rows.drop(columns="row_id")

    @invariant()
    def every_view_is_what_sqlite_says(self) -> None:
        for lab in (self.lab, self.second):
            for table in TABLES.values():
                found = lab.sql(f"SELECT * FROM {table.name}")
                _compare(found, self._plain(table.name), table.name)

    @invariant()
    def every_frame_is_what_pandas_says(self) -> None:
        plain = {table: self._plain(table) for table in TABLES}
        _check_runs(self.lab, plain)
        _check_suggestions(self.lab, plain)
        _check_trades(self.lab, plain["trades"])
        _check_curves(self.lab, plain["equity"])


def _compare(found: pd.DataFrame, expected: pd.DataFrame, table: str) -> None:
    kinds = {column.name: column.kind for column in TABLES[table].columns}
    assert list(found.columns) == [column.name for column in TABLES[table].shown]
    assert len(found) == len(expected), table
    # Edited rows come out of the delta, after those of the segments.
    keys = [name for name in found.columns if name.endswith("_id") or name in ("name", "tag")]
    found, expected = (
        frame.sort_values(keys, ignore_index=True, kind="stable", key=lambda one: one.astype(str))
        for frame in (found, expected)
    )
    for name, kind in kinds.items():
        one, other = found[name], expected[name]
        if kind in ("float", "whole", "flag"):
            np.testing.assert_array_equal(one.astype("float64"), other.astype("float64"), err_msg=f"{table}.{name}")
        elif kind in ("date", "moment"):
            moments = pd.to_datetime(other, format="ISO8601", utc=True)
            moments = moments if kind == "moment" else moments.dt.tz_localize(None)
            assert one.isna().tolist() == other.isna().tolist(), name
            assert one.dropna().tolist() == moments.dropna().tolist(), name
        else:
            assert _texts(one) == _texts(other), name
    for day in TABLES[table].days:
        assert found[day.name].tolist() == _days(expected, day.date).tolist(), day.name


def _days(rows: pd.DataFrame, date: str) -> pd.Series:
    days = [day_of(*_texts(pair)) for _, pair in rows[[date, "zone"]].iterrows()]
    return pd.Series(pd.to_datetime(days), index=rows.index).astype("datetime64[us]")


def _texts(column: pd.Series) -> list[Any]:
    return [None if pd.isna(value) else value for value in column]


def _check_suggestions(lab: fl.Lab, plain: dict[str, pd.DataFrame]) -> None:
    applied = plain["applications"].groupby("suggestion_id")["iteration_id"].agg(list)
    found = lab.suggestions().set_index("suggestion_id")
    assert found["applied_iteration_ids"].to_dict() == {one: applied.get(one, []) for one in found.index}
    assert set(found.index) == set(plain["suggestions"]["suggestion_id"])


def _check_runs(lab: fl.Lab, plain: dict[str, pd.DataFrame]) -> None:
    expected = plain["iterations"].merge(plain["metrics"], on="iteration_id", how="left")
    expected = expected.sort_values(["timestamp", "iteration_id"], ignore_index=True)
    runs = lab.iterations()
    assert runs["iteration_id"].tolist() == expected["iteration_id"].tolist()
    np.testing.assert_array_equal(runs["sharpe_ratio"].astype(float), expected["sharpe_ratio"].astype(float))
    names = plain["strategies"].set_index("strategy_id")["name"]
    assert runs["strategy"].tolist() == expected["strategy_id"].map(names).tolist()
    parameters = [json.loads(text) for text in expected["parameters"]]
    for name, shown in _shown({name for one in parameters for name in one}).items():
        values = [one.get(name) for one in parameters]
        if {type(value) for value in values} <= {int, float, type(None)}:
            found = [None if pd.isna(value) else value for value in runs[f"param.{shown}"]]
            assert found == values, name
            some = next((value for value in values if value is not None), None)
            if some is not None:
                chosen = lab.iterations(where=f'"param.{shown.replace(chr(34), chr(34) * 2)}" = {some}')
                ids = expected["iteration_id"][[value == some for value in values]]
                assert chosen["iteration_id"].tolist() == ids.tolist(), name
    tags = plain["tags"].sort_values("tag").groupby("iteration_id")["tag"].agg(", ".join)
    assert _texts(runs["tags"]) == _texts(expected["iteration_id"].map(tags))
    extra = plain["extra_metrics"].pivot(index="iteration_id", columns="name", values="value")
    for name, shown in _shown(extra.columns).items():
        values = expected["iteration_id"].map(extra[name]).astype("float64")
        np.testing.assert_array_equal(runs[f"metric.{shown}"], values)
        best = expected.assign(value=values).dropna(subset=["value"])
        best = best.sort_values("value", ascending=False, kind="stable")["iteration_id"].tolist()
        assert lab.best(3, f"metric.{shown}", archived=None)["iteration_id"].tolist() == best[:3], name
    counts = plain["iterations"].groupby("strategy_id").size()
    strategies = lab.strategies().set_index("strategy_id")["iterations"]
    assert strategies.to_dict() == {one: int(counts.get(one, 0)) for one in plain["strategies"]["strategy_id"]}
    best = expected.dropna(subset=["sharpe_ratio"]).sort_values("sharpe_ratio", ascending=False, kind="stable")
    assert lab.best(3)["iteration_id"].tolist() == best["iteration_id"].tolist()[:3]
    assert len(lab.metrics(long=True)) == (plain["metrics"].shape[1] - 2) * len(plain["metrics"]) + len(
        plain["extra_metrics"]
    )


def _shown(names: Iterable[str]) -> dict[str, str]:
    """Return the names that columns have: a later twin but for case has a number, an empty name a symbol."""
    shown: dict[str, str] = {}
    twins: dict[str, int] = {}
    for name in sorted(names):
        twins[name.lower()] = twins.get(name.lower(), 0) + 1
        shown[name] = (name or "∅") + (f"_{twins[name.lower()]}" if twins[name.lower()] > 1 else "")
    return shown


def _check_trades(lab: fl.Lab, plain: pd.DataFrame) -> None:
    closed = plain[plain["exit_date"].notna()]
    stocks = lab.by_stock().set_index("stock_code")
    assert stocks["trades"].to_dict() == plain.groupby("stock_code").size().to_dict()
    for code, results in closed.groupby("stock_code")["profit_loss"]:
        assert stocks.loc[code, "closed"] == len(results)
        np.testing.assert_allclose(
            stocks.loc[code, ["profit_loss", "win_rate", "best_trade"]].astype(float),
            [results.sum(min_count=1), win_rate(results), results.max()],
            rtol=1e-12,
            atol=1e-12,
        )
    months = closed.groupby(_days(closed, "exit_date").dt.strftime("%Y-%m"))["profit_loss"].size()
    periods = lab.by_period(period="month")
    assert dict(zip(periods["period"].dt.strftime("%Y-%m"), periods["closed"], strict=True)) == months.to_dict()
    assert lab.trades()["trade_id"].tolist() == plain["trade_id"].tolist()
    for run in plain["iteration_id"].unique()[:2]:
        assert lab.trades(run)["trade_id"].tolist() == plain[plain["iteration_id"] == run]["trade_id"].tolist()


def _check_curves(lab: fl.Lab, plain: pd.DataFrame) -> None:
    equity, returns = lab.equity(), lab.returns()
    assert sorted(equity.columns) == sorted(plain["iteration_id"].unique())
    for run, points in plain.groupby("iteration_id"):
        curve = pd.Series(points["equity"].to_numpy(), index=pd.to_datetime(points["date"]))
        np.testing.assert_array_equal(equity[run].dropna(), curve)
        by_day = daily_returns(curve.set_axis(pd.DatetimeIndex(_days(points, "date"))))
        np.testing.assert_array_equal(returns[run].dropna(), by_day)


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make rows go to segments by the dozen, by the pool and by the child."""
    monkeypatch.setattr(Table, "sealed_rows", 24)
    monkeypatch.setattr(engine, "_BULK", 2)
    monkeypatch.setattr(compaction, "MERGED_ROWS", 200)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("small_sizes")
def test_every_frame_equals_plain_sqlite_and_pandas_whatever_happens() -> None:
    run_state_machine_as_test(
        Books,
        settings=settings(
            max_examples=60 if LONG else 3,
            stateful_step_count=30 if LONG else 10,
            database=None,
            phases=[Phase.generate],  # what fails is shown as it is: shrinking takes minutes here
        ),
    )
