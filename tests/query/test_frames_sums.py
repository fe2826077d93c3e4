"""Sums, rankings and returns, held against pandas on the demo's real runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import finlab_nb as fl
from books import TRADE
from finlab_nb.analysis import daily_returns, sharpe_ratio, win_rate

pytestmark = pytest.mark.sources("replica", "plain")


@pytest.fixture(scope="module")
def trades(demo_db: Path) -> pd.DataFrame:
    """Return the demo's trades as plain SQLite and pandas see them."""
    connection = sqlite3.connect(demo_db)
    frame = pd.read_sql("SELECT * FROM trades ORDER BY rowid", connection, parse_dates=["entry_date", "exit_date"])
    connection.close()
    return frame


def _summed(rows: pd.DataFrame) -> pd.Series:
    closed = rows[rows["exit_date"].notna()]["profit_loss"]
    return pd.Series(
        {
            "trades": len(rows),
            "closed": len(closed),
            "win_rate": win_rate(closed),
            "profit_loss": closed.sum(min_count=1),
            "mean_profit_loss": closed.mean(),
            "best_trade": closed.max(),
            "worst_trade": closed.min(),
        }
    )


@pytest.mark.parametrize("per_iteration", [False, True])
def test_by_stock_is_what_pandas_says(demo_lab: fl.Lab, trades: pd.DataFrame, per_iteration: bool) -> None:
    keys = ["iteration_id", "stock_code"] if per_iteration else ["stock_code"]
    ids = trades["iteration_id"].unique().tolist()[3:9]
    found = demo_lab.by_stock(ids, per_iteration=per_iteration)
    some = trades[trades["iteration_id"].isin(ids)]
    expected = pd.DataFrame({key: _summed(rows) for key, rows in some.groupby(keys)}).T
    assert found.set_index(keys).index.tolist() == expected.index.tolist() if per_iteration else True
    np.testing.assert_allclose(
        found[list(expected.columns)].astype(float), expected.astype(float), rtol=1e-12, equal_nan=True
    )
    assert found["first_entry"].tolist() == some.groupby(keys)["entry_date"].min().tolist()
    assert found["trades"].sum() == len(some)


def test_a_win_rate_by_stock_counts_closed_trades_with_a_known_result(lab: fl.Lab) -> None:
    results: tuple[tuple[str | None, float | None], ...] = (
        ("2024-01-05", 5.0),
        ("2024-01-05", 0.0),
        ("2024-01-05", None),
        (None, 100.0),
    )
    rows = [{**TRADE, "exit_date": leave, "profit_loss": result} for leave, result in results]
    rows.append({**TRADE, "stock_code": "open", "exit_date": None})
    lab.store.save_iteration(lab.store.save_strategy_version("a", "x"), trades=rows)
    one, other = lab.by_stock().to_dict("records")
    assert (one["trades"], one["closed"], one["win_rate"], one["profit_loss"]) == (4, 3, 0.5, 5.0)
    assert (other["trades"], other["closed"]) == (1, 0)
    assert np.isnan([other["win_rate"], other["profit_loss"], other["best_trade"]]).all()


@pytest.mark.parametrize(
    ("period", "code"), [("day", "D"), ("week", "W"), ("month", "M"), ("quarter", "Q"), ("year", "Y")]
)
def test_by_period_counts_what_was_closed_in_it(demo_lab: fl.Lab, trades: pd.DataFrame, period: str, code: str) -> None:
    closed = trades[trades["exit_date"].notna()]
    groups = closed.groupby(closed["exit_date"].dt.to_period(code).dt.start_time)["profit_loss"]
    found = demo_lab.by_period(period=period)
    assert found["period"].tolist() == list(groups.groups)
    assert found["closed"].tolist() == groups.size().tolist()
    np.testing.assert_allclose(found["profit_loss"], groups.sum(), rtol=1e-9)
    np.testing.assert_allclose(found["win_rate"], groups.apply(win_rate), rtol=1e-12)
    per_run = demo_lab.by_period(period=period, per_iteration=True)
    assert per_run["closed"].sum() == len(closed)
    assert list(per_run.columns) == ["iteration_id", "period", "currency", "closed", "win_rate", "profit_loss"]


def test_returns_are_those_of_the_sharpe_ratio(demo_lab: fl.Lab) -> None:
    ids = demo_lab.iterations()["iteration_id"].tolist()[9:2:-2]
    equity, returns = demo_lab.equity(ids), demo_lab.returns(ids)
    assert list(returns.columns) == ids
    assert returns.index.dtype == equity.index.dtype
    stored = demo_lab.metrics(ids).set_index("iteration_id")["sharpe_ratio"]
    for run in ids:
        expected = daily_returns(equity[run].dropna())
        found = returns[run].dropna()
        np.testing.assert_array_equal(found, expected)
        assert found.index.tolist() == expected.index.tolist()
        assert found.mean() / found.std(ddof=1) * 252**0.5 == pytest.approx(stored[run], rel=1e-12)
        assert sharpe_ratio(equity[run]) == stored[run]


def test_returns_know_days_not_moments_and_runs_without_a_curve(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    intraday = {"2024-01-02T09:00:00": 100.0, "2024-01-02T13:30:00": 110.0, "2024-01-03T09:00:00": 121.0}
    one = lab.store.save_iteration(strategy, equity=intraday)
    two = lab.store.save_iteration(strategy)
    three = lab.store.save_iteration(strategy, equity={"2024-01-05": 7.0})
    returns = lab.returns([three, one, two])
    assert returns.columns.tolist() == [three, one, two]
    assert returns.index.tolist() == [pd.Timestamp("2024-01-03")]
    assert returns[one].tolist() == [pytest.approx(0.1)]
    assert returns[[two, three]].isna().all(axis=None)
    assert lab.equity().columns.tolist() == [one, three]
    assert len(lab.equity([two])) == 0
    assert lab.returns([]).shape == (0, 0)
    assert lab.returns([two]).dtypes.tolist() == [np.float64]


def test_the_best_runs_come_first_whatever_way_is_better(demo_lab: fl.Lab) -> None:
    runs = demo_lab.iterations()
    for metric in ("sharpe_ratio", "max_drawdown", "annualized_return"):
        found = demo_lab.best(5, metric)
        expected = runs.dropna(subset=[metric]).sort_values(metric, ascending=False, kind="stable").head(5)
        assert found["iteration_id"].tolist() == expected["iteration_id"].tolist()
    assert (demo_lab.best(1, "max_drawdown")["max_drawdown"] == runs["max_drawdown"].max()).all()  # nearest to 0
    worst = demo_lab.best(3, "sharpe_ratio", lowest=True)
    assert worst["sharpe_ratio"].tolist() == runs["sharpe_ratio"].sort_values().head(3).tolist()
    name = runs["strategy"].iloc[0]
    assert set(demo_lab.best(3, strategy=name, where="max_drawdown > -1")["strategy"]) == {name}


def test_the_best_by_an_extra_metric_leaves_out_runs_without_it(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    runs = [
        lab.store.save_iteration(strategy, extra_metrics=extra)
        for extra in ({"ulcer": 2.0}, {}, {"ulcer": float("inf")}, {"ulcer": None}, {"ulcer": 1.0})
    ]
    assert lab.best(9, "metric.ulcer", lowest=True)["iteration_id"].tolist() == [runs[4], runs[0], runs[2]]
    assert lab.best(1, "metric.ulcer")["iteration_id"].tolist() == [runs[2]]
    assert lab.best(by="sharpe_ratio").empty


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("volatility", [1, 0, 2]),  # lower is better
        ("sortino_ratio", [2, 0, 1]),  # higher is better
        ("value_at_risk", [2, 0, 1]),  # neither
        ("my_score", [2, 0, 1]),  # unknown
    ],
)
def test_best_and_progress_follow_the_direction_of_a_metric(lab: fl.Lab, extra: str, expected: list[int]) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    values = [0.2, 0.1, 0.3]
    runs = [lab.store.save_iteration(strategy, extra_metrics={extra: value}) for value in values]
    by = f"metric.{extra}"
    assert lab.best(by=by)["iteration_id"].tolist() == [runs[place] for place in expected]
    extreme = min if expected[0] == 1 else max
    assert lab.progress("a", by)["best_so_far"].tolist() == [extreme(values[: place + 1]) for place in range(3)]
    for lowest, order in ((True, [1, 0, 2]), (False, [2, 0, 1])):  # what the caller says wins
        assert lab.best(by=by, lowest=lowest)["iteration_id"].tolist() == [runs[place] for place in order]
        extreme = min if lowest else max
        assert lab.progress("a", by, lowest=lowest)["best_so_far"].iloc[-1] == extreme(values)


def test_progress_is_the_best_so_far_by_number(demo_lab: fl.Lab) -> None:
    strategy = demo_lab.strategies()["strategy_id"].iloc[0]
    found = demo_lab.progress(strategy, "sharpe_ratio")
    runs = demo_lab.iterations(strategy).sort_values("iteration_number")
    assert found["iteration_id"].tolist() == runs["iteration_id"].tolist()
    assert found["best_so_far"].tolist() == runs["sharpe_ratio"].cummax().tolist()
    before = runs["sharpe_ratio"].cummax().shift().fillna(-np.inf)
    assert found["is_best"].tolist() == (runs["sharpe_ratio"] > before).tolist()


def test_progress_passes_over_unknown_values_and_follows_versions_of_one_name(lab: fl.Lab) -> None:
    first = lab.store.save_strategy_version("a", "x")
    second = lab.store.save_strategy_version("a", "y")
    for strategy, value in ((second, 3.0), (first, None), (first, 1.0), (first, 1.0), (first, 2.0), (second, 1.0)):
        lab.store.save_iteration(strategy, metrics={"sharpe_ratio": value}, extra_metrics={"loss": value})
    found = lab.progress("a")
    assert found["iteration_number"].tolist() == [1, 2, 3, 4, 1, 2]
    assert found["best_so_far"].fillna(-1).tolist() == [-1, 1, 1, 2, 3, 3]
    assert found["is_best"].tolist() == [False, True, False, True, True, False]
    least = lab.progress(first, "metric.loss", lowest=True)
    assert least["best_so_far"].fillna(-1).tolist() == [-1, 1, 1, 1]
    assert least.columns.tolist()[4:] == ["metric.loss", "best_so_far", "is_best"]


def test_whole_numbers_beyond_64_bits_are_exact(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    values = {
        "seed": (2**63, 2**64 - 1),
        "huge": (2**70, 1),
        "low": (-(2**63) - 1, 1),
        "whole": (2**63 - 1, -(2**63)),
        "both": (2**63, -1),
        "mixed": (2**63, 0.5),
    }
    for place in range(2):
        lab.store.save_iteration(strategy, parameters={name: pair[place] for name, pair in values.items()})
    runs = lab.iterations()
    assert {name: str(runs[f"param.{name}"].dtype) for name in values} == {
        "seed": "UInt64",
        "huge": "str",
        "low": "str",
        "whole": "Int64",
        "both": "str",
        "mixed": "float64",
    } or pd.__version__ < "3"
    for name in ("seed", "whole"):
        assert runs[f"param.{name}"].tolist() == list(values[name])
    for name in ("huge", "low", "both"):
        assert runs[f"param.{name}"].tolist() == [str(value) for value in values[name]]


def test_parameters_that_differ_in_case_or_look_like_paths_keep_their_columns(lab: fl.Lab) -> None:
    parameters = {
        "Fast": 1,
        "fast": 2,
        "a.b": 3,
        "": 4,
        "0": 5,
        "窗口": 6,
        'q"': 7,
        "nested": {"x": [1, None]},
        "none": None,
    }
    lab.store.save_iteration(
        lab.store.save_strategy_version("a", "x"), parameters=parameters, extra_metrics={"X": 1, "x": 2}
    )
    runs = lab.iterations(where="iteration_number = 1", order_by='param.q" desc')
    names = ["Fast", "fast_2", "a.b", "∅", "0", "窗口", 'q"']
    assert [runs[f"param.{name}"].item() for name in names] == [1, 2, 3, 4, 5, 6, 7]
    assert runs["param.nested"].item() == '{"x":[1,null]}'
    assert runs["param.none"].isna().all()
    assert runs["metric.X"].item() == 1
    assert runs["metric.x_2"].item() == 2
    assert not any(str(kind) == "object" for kind in runs.dtypes)


@pytest.mark.parametrize(
    ("since", "until", "count"),
    [
        ("2024-01-02", "2024-01-02", 2),
        (date(2024, 1, 2), pd.Timestamp("2024-01-02"), 2),
        (np.datetime64("2024-01-02"), datetime.fromisoformat("2024-01-02"), 2),
        ("2024-01-02T09:30:00", None, 3),
        (None, "2024-01-02T09:30:00", 2),
        (None, "2024-01-02T09:29:59", 1),
        (None, datetime(2024, 1, 2, 9, 30, tzinfo=UTC), 2),
        (pd.Timestamp("2024-01-02 17:30", tz="Asia/Taipei"), None, 3),
        ("2024-01", None, None),
    ],
)
def test_bounds_of_trades_are_days_or_moments(lab: fl.Lab, since: Any, until: Any, count: int | None) -> None:
    dates = ("2024-01-02", "2024-01-02T09:30:00", "2024-01-03", "2024-01-04T10:00:00")
    rows = [{**TRADE, "entry_date": one, "exit_date": None} for one in dates]
    lab.store.save_iteration(lab.store.save_strategy_version("a", "x"), trades=rows)
    if count is None:
        with pytest.raises(ValueError, match="since is '2024-01'; it must be a date"):
            lab.trades(since=since)
    else:
        assert len(lab.trades(since=since, until=until)) == count


WRONG: list[tuple[Callable[[fl.Lab], Any], type[Exception], str]] = [
    (lambda lab: lab.by_stock(["nope", "no"]), fl.IterationNotFoundError, "'nope'; no iteration.*nor 1 others"),
    (lambda lab: lab.trades(until=pd.NaT), ValueError, "until is NaT"),
    (lambda lab: lab.iterations("nope"), fl.StrategyNotFoundError, "strategy is 'nope'; no strategy has"),
    (lambda lab: lab.iterations(where="sharp > 1"), fl.QueryError, "sharp"),
    (lambda lab: lab.iterations(where="1; SELECT 1"), fl.QueryError, "."),
    (
        lambda lab: lab.iterations(order_by="sharpe"),
        fl.QueryError,
        "order_by is 'sharpe'; no such column.*sharpe_ratio",
    ),
    (lambda lab: lab.best(by="note"), fl.QueryError, "by is 'note'; no such metric, there are .*max_drawdown"),
    (lambda lab: lab.progress("nope"), fl.StrategyNotFoundError, "strategy is 'nope'"),
]


@pytest.mark.parametrize(("question", "kind", "message"), WRONG)
def test_what_is_not_there_is_named(
    demo_lab: fl.Lab, question: Callable[[fl.Lab], Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        question(demo_lab)


def test_empty_sums_have_the_columns_and_dtypes_of_full_ones(lab: fl.Lab) -> None:
    questions: dict[str, Callable[[], pd.DataFrame]] = {
        "by_stock": lab.by_stock,
        "by_stock per iteration": lambda: lab.by_stock(per_iteration=True),
        "by_period": lab.by_period,
        "by_period per iteration": lambda: lab.by_period(per_iteration=True),
        "best": lab.best,
        "progress": lambda: lab.progress("a"),
        "sql": lambda: lab.sql("SELECT * FROM trades"),
    }
    strategy = lab.store.save_strategy_version("a", "x")
    empty = {name: question().dtypes for name, question in questions.items()}
    lab.store.save_iteration(strategy, trades=[TRADE], metrics={"sharpe_ratio": 1.0})
    for name, question in questions.items():
        assert len(question()) == 1
        own = question().drop(columns="metric.open_trades", errors="ignore")  # a column for each extra metric there is
        pd.testing.assert_series_equal(own.dtypes, empty[name])
