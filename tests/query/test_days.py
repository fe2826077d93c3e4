"""A day is a day of the market: in views, bounds, sums and returns, whatever another program writes."""

from __future__ import annotations

import contextlib
import itertools
import random
import sqlite3
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import finlab_nb as fl
from books import TRADE, day_of, elsewhere, fill

pytestmark = pytest.mark.sources("replica", "plain")

ZONES = (
    "Asia/Taipei",
    "America/New_York",
    "Australia/Sydney",
    "Europe/London",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "UTC",
)
FEBRUARY = "2024-01-31T16:00:00"  # midnight of 1 February in Taipei


@pytest.fixture
def taipei(lab: fl.Lab) -> tuple[fl.Lab, str]:
    """Return a lab with one iteration, whose two trades were entered and left at midnight in Taipei."""
    run = lab.store.save_iteration(lab.store.save_strategy_version("a", "x"), trades=[TRADE] * 2)
    elsewhere(
        lab.store.path,
        f"UPDATE trades SET entry_date = '{FEBRUARY}', exit_date = '2024-03-31T16:00:00'",
        "UPDATE iterations SET timezone = 'Asia/Taipei'",
    )
    return lab, run


def _in_zone(lab: fl.Lab, zone: str, moments: list[str], values: list[float]) -> str:
    """Save a curve of moments in UTC, and its zone as another program would."""
    strategy = lab.store.save_strategy_version("a", "x")
    run = lab.store.save_iteration(strategy, equity=dict(zip(moments, values, strict=True)))
    elsewhere(lab.store.path, f"UPDATE iterations SET timezone = '{zone}' WHERE iteration_id = '{run}'")
    return run


def test_a_bar_of_february_in_taipei_is_of_february(taipei: tuple[fl.Lab, str]) -> None:
    lab, run = taipei
    found = lab.trades(run, columns=["entry_date", "entry_day", "exit_day"])
    assert found["entry_date"].tolist() == [pd.Timestamp(FEBRUARY)] * 2
    assert found["entry_day"].tolist() == [pd.Timestamp("2024-02-01")] * 2
    assert found["exit_day"].tolist() == [pd.Timestamp("2024-04-01")] * 2
    assert found.dtypes.astype(str).tolist() == ["datetime64[us]"] * 3
    assert lab.by_period()["period"].tolist() == [pd.Timestamp("2024-04-01")]


@pytest.mark.parametrize(
    ("since", "until", "count"),
    [
        ("2024-02-01", "2024-02-01", 2),
        (date(2024, 2, 1), np.datetime64("2024-02-01"), 2),
        (None, "2024-01-31", 0),
        ("2024-02-02", None, 0),
        (FEBRUARY, FEBRUARY, 2),
        ("2024-01-31T16:00:01", None, 0),
        ("2024-02-01T00:00+08:00", "2024-02-01T00:00:00+08:00", 2),
        (None, "2024-01-31T15:59:59.999999", 0),
    ],
)
def test_a_bound_that_is_a_day_is_one_of_the_market(
    taipei: tuple[fl.Lab, str], since: Any, until: Any, count: int
) -> None:
    lab, _ = taipei
    assert len(lab.trades(since=since, until=until)) == count


def test_sql_groups_by_the_same_days_as_by_period(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    zones = ["Asia/Taipei", "America/New_York", "Australia/Sydney", "Nope/Where", None]
    for zone in zones:
        hours = [f"2024-0{month}-{day}T{hour:02}:30:00" for month in (3, 4) for day in (29, 30) for hour in (1, 13, 22)]
        trades = [{**TRADE, "entry_date": "2024-01-02", "exit_date": hour} for hour in [*hours, "2024-04-01"]]
        run = lab.store.save_iteration(strategy, trades=trades)
        if zone is not None:
            elsewhere(lab.store.path, f"UPDATE iterations SET timezone = '{zone}' WHERE iteration_id = '{run}'")
    for period in ("day", "week", "month", "quarter", "year"):
        found = lab.by_period(period=period)
        grouped = lab.sql(
            f"SELECT date_trunc('{period}', exit_day) AS period, count(*) AS n FROM trades GROUP BY 1 ORDER BY 1"
        )
        assert found["period"].tolist() == grouped["period"].tolist()
        assert found["closed"].tolist() == grouped["n"].tolist()
    days = lab.sql("SELECT exit_date, exit_day, timezone FROM trades JOIN iterations USING (iteration_id)")
    for exit_date, exit_day, zone in days.itertuples(index=False):
        stored = exit_date.isoformat() if exit_date.hour else exit_date.date().isoformat()
        assert exit_day.date() == day_of(stored, None if pd.isna(zone) else zone)


def test_a_session_of_sydney_is_one_day(lab: fl.Lab) -> None:
    moments = [f"2024-02-{day:02}T{time}" for day in range(5, 9) for time in ("00:30:00", "04:00:00")]
    before = [f"2024-02-{day - 1:02}T23:30:00" for day in range(5, 9)]  # 10:30 in Sydney
    run = _in_zone(lab, "Australia/Sydney", sorted([*moments, *before]), [100.0 + one for one in range(12)])
    assert len(lab.equity(run)) == 12
    returns = lab.returns(run)[run]
    assert returns.index.tolist() == list(pd.date_range("2024-02-06", "2024-02-08"))
    np.testing.assert_allclose(returns, [105 / 102 - 1, 108 / 105 - 1, 111 / 108 - 1])
    days = lab.sql("SELECT day, max_by(equity, date) AS close FROM equity GROUP BY day ORDER BY day")
    assert days["close"].tolist() == [102.0, 105.0, 108.0, 111.0]


def test_curves_of_the_same_days_share_rows_whatever_their_zones(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    curve = {"2024-02-01": 100.0, "2024-02-02": 110.0, "2024-02-05": 99.0}
    naive, aware = (lab.store.save_iteration(strategy, equity=curve) for _ in range(2))
    elsewhere(lab.store.path, f"UPDATE iterations SET timezone = 'Asia/Taipei' WHERE iteration_id = '{aware}'")
    returns = lab.returns([naive, aware])
    assert returns.index.tolist() == [pd.Timestamp("2024-02-02"), pd.Timestamp("2024-02-05")]
    assert returns[naive].tolist() == returns[aware].tolist()
    assert len(lab.equity([naive, aware]).dropna()) == 3


def test_returns_begin_with_the_initial_capital_where_it_is_another_value(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    curve = {"2024-02-01": 110.0, "2024-02-02": 99.0}
    with_capital, same, without = (lab.store.save_iteration(strategy, equity=curve) for _ in range(3))
    elsewhere(
        lab.store.path,
        f"UPDATE iterations SET initial_capital = 100.0 WHERE iteration_id = '{with_capital}'",
        f"UPDATE iterations SET initial_capital = 110.0 WHERE iteration_id = '{same}'",
    )
    returns = lab.returns([with_capital, same, without])
    assert returns.index.tolist() == [pd.Timestamp("2024-02-01"), pd.Timestamp("2024-02-02")]
    np.testing.assert_allclose(returns[with_capital], [0.1, -0.1])
    np.testing.assert_allclose(returns[[same, without]], [[np.nan, np.nan], [-0.1, -0.1]])


@pytest.mark.parametrize("zone", ["Nope/Where", "UTC+99", "'; DROP TABLE trades", "台北", "a/../../etc", "localtime"])
def test_a_zone_that_nobody_knows_leaves_the_date_as_it_is(taipei: tuple[fl.Lab, str], zone: str) -> None:
    lab, run = taipei
    elsewhere(lab.store.path, f"UPDATE iterations SET timezone = '{zone.replace(chr(39), chr(39) * 2)}'")
    assert lab.trades(run, columns=["entry_day"])["entry_day"].tolist() == [pd.Timestamp("2024-01-31")] * 2


@pytest.mark.sources("replica")
@pytest.mark.parametrize("runs", [2, pytest.param(60, marks=pytest.mark.slow)], ids=["by the pool", "by the child"])
def test_when_another_program_changes_a_zone_the_next_question_knows_its_days(tmp_path: Path, runs: int) -> None:
    path = tmp_path / "a.db"
    with fl.Lab(path) as lab:
        fill(lab, runs)
        elsewhere(path, f"UPDATE trades SET entry_date = '{FEBRUARY}', exit_date = NULL")
        first, *_, last = lab.iterations()["iteration_id"]
        days = {"Asia/Taipei": "2024-02-01", "America/New_York": "2024-01-31", "Nope/Where": "2024-01-31"}
        for zone in itertools.chain(days, ["Asia/Taipei"]):
            elsewhere(path, f"UPDATE iterations SET timezone = '{zone}' WHERE iteration_id = '{last}'")
            shown = lab.trades([first, last], columns=["iteration_id", "entry_day"]).groupby("iteration_id")[
                "entry_day"
            ]
            assert shown.unique().map(lambda one: str(one[0])[:10]).to_dict() == {first: "2024-01-31", last: days[zone]}
        elsewhere(path, "UPDATE iterations SET timezone = NULL")
        assert lab.sql("SELECT DISTINCT entry_day FROM trades")["entry_day"].tolist() == [pd.Timestamp("2024-01-31")]
    with fl.Lab(path) as lab:  # by what the other has left in the cache
        assert lab.sql("SELECT DISTINCT entry_day FROM trades")["entry_day"].tolist() == [pd.Timestamp("2024-01-31")]


@pytest.mark.sources("replica")
@pytest.mark.slow
@pytest.mark.usefixtures("by_child")
@pytest.mark.filterwarnings("ignore::finlab_nb.BadDataWarning")
def test_the_fast_copy_and_the_careful_one_know_the_same_days_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with fl.Lab(path) as lab:
        strategy = lab.store.save_strategy_version("a", "x")
        curve = pd.Series(range(1, 601), index=pd.date_range("2024-01-01T03:00", periods=600, freq="7h"))
        lab.store.save_iterations({"strategy_id": strategy, "equity": curve} for _ in range(40))
    for number, zone in enumerate(ZONES):
        elsewhere(path, f"UPDATE iterations SET timezone = '{zone}' WHERE iteration_number % 8 = {number}")
    answers = []
    for folder in ("fast", "careful"):
        if folder == "careful":  # a value of another type sends the whole range this way
            elsewhere(
                path, "PRAGMA ignore_check_constraints = ON", "UPDATE equity SET equity = 'x' WHERE equity_id = 9"
            )
        with fl.Lab(path, cache_dir=tmp_path / folder) as lab:
            answers.append(lab.sql("SELECT * FROM equity"))
            assert [segment.table for segment in lab._engine.segments()] == ["equity"]
    fast, careful = (rows.drop(columns="equity") for rows in answers)
    assert fast["equity_id"].is_monotonic_increasing
    pd.testing.assert_frame_equal(fast, careful)


def test_days_are_what_python_says_in_every_zone(lab: fl.Lab) -> None:
    chance, start = random.Random(7), pd.Timestamp("1990-01-01")
    strategy = lab.store.save_strategy_version("a", "x")
    for zone in ZONES:
        moments = {start + timedelta(seconds=chance.randrange(40 * 365 * 86_400)) for _ in range(200)}
        values = pd.Series(1.0, index=pd.DatetimeIndex(sorted(moments)))
        run = lab.store.save_iteration(strategy, equity=values, periods_per_year=5.0)
        elsewhere(lab.store.path, f"UPDATE iterations SET timezone = '{zone}' WHERE iteration_id = '{run}'")
    found = lab.sql("SELECT date, day, timezone FROM equity JOIN iterations USING (iteration_id)")
    expected = [
        day_of(f"{one:%Y-%m-%dT%H:%M:%S}", zone) for one, zone in zip(found["date"], found["timezone"], strict=True)
    ]
    assert found["day"].dt.date.tolist() == expected
    assert len(found) == 200 * len(ZONES)


def test_a_moment_at_the_ends_of_time_has_a_day(lab: fl.Lab) -> None:
    for zone in ("Asia/Taipei", "America/New_York"):
        run = lab.store.save_iteration(lab.store.save_strategy_version("a", "x"), trades=[TRADE])
        elsewhere(
            lab.store.path,
            "UPDATE trades SET entry_date = '0001-01-01T00:00:00', exit_date = '9999-12-31T23:00:00' "
            f"WHERE iteration_id = '{run}'",
            f"UPDATE iterations SET timezone = '{zone}' WHERE iteration_id = '{run}'",
        )
        assert (
            lab.sql(f"SELECT count(entry_day) + count(exit_day) AS n FROM trades WHERE iteration_id = '{run}'")[
                "n"
            ].item()
            == 2
        )


def test_a_curve_that_is_removed_and_made_again_shows_what_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with fl.Lab(path) as lab:
        strategy = lab.store.save_strategy_version("a", "x")
        first, second = (lab.store.save_iteration(strategy, equity={"2024-01-02": value}) for value in (1.0, 2.0))
        assert lab.equity().iloc[0].tolist() == [1.0, 2.0]
        elsewhere(path, f"DELETE FROM curves WHERE iteration_id = '{first}'")
        assert lab.equity().columns.tolist() == [second]
        elsewhere(
            path,
            f"INSERT INTO curves (iteration_id) VALUES ('{first}')",
            "INSERT INTO equity (curve_id, date, equity) SELECT max(curve_id), '2024-01-03', 3.0 FROM curves",
        )
        assert lab.equity([first])[first].tolist() == [3.0]
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("VACUUM")
        assert lab.equity([second, first]).to_numpy(na_value=0.0).tolist() == [[2.0, 0.0], [0.0, 3.0]]
        assert "curve_id" not in lab.sql("SELECT * FROM equity").columns
        assert "zone" not in lab.sql("SELECT * FROM equity").columns


def test_exports_have_the_days(taipei: tuple[fl.Lab, str], tmp_path: Path) -> None:
    lab, _ = taipei
    for form, read in (
        ("parquet", pd.read_parquet),
        ("csv", pd.read_csv),
        ("json", pd.read_json),
        ("xlsx", pd.read_excel),
    ):
        (path,) = lab.export_frames(tmp_path, "trades", form)
        assert pd.to_datetime(read(path)["entry_day"]).tolist() == [pd.Timestamp("2024-02-01")] * 2, form
