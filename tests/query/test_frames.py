"""The questions, held against plain SQLite and pandas on the demo's real runs."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import finlab_nb as fl
from books import TRADE
from finlab_nb.query.tables import TABLES

pytestmark = pytest.mark.sources("replica", "plain")

METRICS = ["annualized_return", "sharpe_ratio", "max_drawdown", "win_rate", "total_trades"]


@pytest.fixture(scope="module")
def plain(demo_db: Path) -> dict[str, pd.DataFrame]:
    """Return the demo's tables as plain SQLite and pandas see them."""
    connection = sqlite3.connect(demo_db)
    tables = ("strategies", "iterations", "metrics", "trades", "equity", "suggestions", "tags", "extra_metrics")
    frames = {
        table: pd.read_sql(f"{TABLES[table].select_raw('true')} ORDER BY row_id", connection).drop(columns="row_id")
        for table in tables
    }
    connection.close()
    return frames


def test_iterations_are_what_the_tables_say(demo_lab: fl.Lab, plain: dict[str, pd.DataFrame]) -> None:
    runs = demo_lab.iterations()
    expected = (
        plain["iterations"]
        .merge(plain["metrics"], on="iteration_id")
        .merge(plain["strategies"][["strategy_id", "name"]], on="strategy_id")
    )
    expected = expected.sort_values(["timestamp", "iteration_id"], ignore_index=True)
    assert runs["iteration_id"].tolist() == expected["iteration_id"].tolist()
    assert runs["strategy"].tolist() == expected["name"].tolist()
    for metric in METRICS:
        np.testing.assert_array_equal(runs[metric].astype("float64"), expected[metric].astype("float64"))
    parameters = [json.loads(text) for text in expected["parameters"]]
    for name in {name for one in parameters for name in one}:
        found = [None if pd.isna(value) else value for value in runs[f"param.{name}"]]
        assert found == [one.get(name) for one in parameters]
    tags = plain["tags"].sort_values("tag").groupby("iteration_id")["tag"].agg(", ".join)
    assert runs.set_index("iteration_id")["tags"].dropna().to_dict() == tags.to_dict()


def test_trades_are_exact_and_narrowed_by_run_stock_and_date(demo_lab: fl.Lab, plain: dict[str, pd.DataFrame]) -> None:
    trades, expected = demo_lab.trades(), plain["trades"]
    numbers = ["trade_id", "entry_price", "exit_price", "position_size", "profit_loss"]
    pd.testing.assert_frame_equal(trades[numbers], expected[numbers], check_exact=True)
    assert trades["entry_date"].tolist() == pd.to_datetime(expected["entry_date"]).tolist()
    assert trades["exit_date"].isna().sum() == expected["exit_date"].isna().sum()
    run = expected["iteration_id"].iloc[-1]
    some = demo_lab.trades(run, stocks=["AAPL", "IBM"], since="2005-01-01", until="2009-12-31")
    wanted = expected[
        (expected["iteration_id"] == run)
        & expected["stock_code"].isin(["AAPL", "IBM"])
        & expected["entry_date"].between("2005-01-01", "2009-12-31")
    ]
    assert some["trade_id"].tolist() == wanted["trade_id"].tolist()
    assert len(some) > 0


def test_equity_is_wide_by_date_in_the_order_asked(demo_lab: fl.Lab, plain: dict[str, pd.DataFrame]) -> None:
    ids = plain["iterations"]["iteration_id"].tolist()[5:2:-1]
    wide = demo_lab.equity(ids)
    assert list(wide.columns) == ids
    assert wide.index.name == "date"
    assert wide.index.dtype.kind == "M"
    for run in ids:
        expected = plain["equity"][plain["equity"]["iteration_id"] == run]
        np.testing.assert_array_equal(wide[run].dropna(), expected["equity"])
        assert wide[run].dropna().index.tolist() == pd.to_datetime(expected["date"]).tolist()


def test_metrics_come_wide_and_long(demo_lab: fl.Lab, plain: dict[str, pd.DataFrame]) -> None:
    wide, long = demo_lab.metrics(), demo_lab.metrics(long=True)
    assert len(wide) == len(plain["metrics"])
    assert len(long) == (plain["metrics"].shape[1] - 2) * len(plain["metrics"]) + len(plain["extra_metrics"])
    one = long[(long["iteration_id"] == wide["iteration_id"][0]) & (long["name"] == "sharpe_ratio")]
    assert one["value"].item() == wide["sharpe_ratio"][0]


def test_strategies_count_their_runs_and_name_the_best(demo_lab: fl.Lab, plain: dict[str, pd.DataFrame]) -> None:
    strategies = demo_lab.strategies().set_index("strategy_id")
    runs = plain["iterations"].merge(plain["metrics"], on="iteration_id")
    by_strategy = runs.groupby("strategy_id")["sharpe_ratio"]
    assert strategies["iterations"].to_dict() == by_strategy.size().to_dict()
    assert strategies["best_sharpe_ratio"].to_dict() == by_strategy.max().to_dict()


def test_suggestions_come_high_priority_first(demo_lab: fl.Lab, plain: dict[str, pd.DataFrame]) -> None:
    suggestions = demo_lab.suggestions()
    assert len(suggestions) == len(plain["suggestions"])
    rank = suggestions["priority"].map({"high": 1, "medium": 2, "low": 3})
    assert rank.groupby(suggestions["iteration_id"]).apply(lambda one: one.is_monotonic_increasing).all()
    assert demo_lab.suggestions(status="rejected").empty


def test_iterations_are_narrowed_and_ordered(demo_lab: fl.Lab) -> None:
    runs = demo_lab.iterations()
    median = runs["sharpe_ratio"].median()
    better = demo_lab.iterations(where=f"sharpe_ratio > {median}", order_by="sharpe_ratio desc", limit=5)
    expected = runs.sort_values("sharpe_ratio", ascending=False, kind="stable").head(5)
    assert better["sharpe_ratio"].tolist() == expected["sharpe_ratio"].tolist()
    name = runs["strategy"].iloc[0]
    of_strategy = demo_lab.iterations(name)
    assert set(of_strategy["strategy"]) == {name}
    assert len(demo_lab.iterations(runs["strategy_id"].iloc[0])) == len(of_strategy)
    assert demo_lab.iterations(starred=True)["starred"].all()
    tag = runs["tags"].iloc[0].split(", ")[0]
    assert len(demo_lab.iterations(tags=[tag])) == runs["tags"].str.split(", ").map(lambda tags: tag in tags).sum()
    assert demo_lab.iterations(tags=[tag, "no such tag"]).empty
    assert demo_lab.iterations(order_by=["strategy", "iteration_number desc"])["strategy"].is_monotonic_increasing


def test_parameters_of_any_kind_become_typed_columns(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    for parameters in (
        {"whole": 1, "ratio": 0.5, "on": True, "text": "快", "list": [1, 2], 'odd "/~ name': 1, "mixed": 1},
        {"whole": 2, "ratio": 2, "on": False, "text": "慢", "mixed": "two"},
        {},
    ):
        lab.store.save_iteration(strategy, parameters=parameters)
    runs = lab.iterations()
    assert str(runs["param.whole"].dtype) == "Int64"
    assert runs["param.whole"].tolist()[:2] == [1, 2]
    assert runs["param.whole"].isna().tolist() == [False, False, True]
    assert runs["param.ratio"].dtype == np.float64
    assert str(runs["param.on"].dtype) == "boolean"
    assert runs["param.text"].tolist()[:2] == ["快", "慢"]
    assert runs["param.list"][0] == "[1,2]"
    assert runs['param.odd "/~ name'][0] == 1
    assert runs["param.mixed"].tolist()[:2] == ["1", "two"]
    assert lab.iterations(order_by="param.whole desc")["param.whole"].tolist()[:2] == [2, 1]
    assert len(lab.iterations(where='"param.whole" > 1')) == 1


def test_extra_metrics_become_columns_and_infinity_survives(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    lab.store.save_iteration(strategy, extra_metrics={"calmar": 1.5, "profit_factor": float("inf")})
    lab.store.save_iteration(strategy, extra_metrics={"engine.sharpe": 0.1 + 0.2})
    runs = lab.iterations()
    assert runs["metric.calmar"].tolist()[0] == 1.5
    assert runs["metric.profit_factor"].tolist()[0] == float("inf")
    assert runs["metric.engine.sharpe"].tolist()[1] == 0.1 + 0.2
    assert runs["metric.calmar"].isna().tolist() == [False, True]


def test_empty_answers_have_the_same_columns_and_dtypes(lab: fl.Lab) -> None:
    questions = {
        "iterations": lab.iterations,
        "strategies": lab.strategies,
        "metrics": lab.metrics,
        "long metrics": lambda: lab.metrics(long=True),
        "trades": lab.trades,
        "suggestions": lab.suggestions,
    }
    empty = {name: question().dtypes for name, question in questions.items()}
    assert lab.equity().empty
    assert lab.equity().index.dtype.kind == "M"
    run = lab.store.save_iteration(
        lab.store.save_strategy_version("a", "x"),
        trades=[TRADE],
        equity={"2024-01-02": 1.0},
        suggestions=[{"priority": "low", "description": "x"}],
        tags=["t"],
        note="n",
    )
    for name, question in questions.items():
        own = question().drop(columns="metric.open_trades", errors="ignore")  # a column for each extra metric there is
        pd.testing.assert_series_equal(own.dtypes, empty[name])
    assert lab.equity(run).dtypes.tolist() == [np.float64]
    assert lab.equity([]).empty


def test_an_unknown_run_is_an_error_that_names_it(demo_lab: fl.Lab) -> None:
    for question in (demo_lab.trades, demo_lab.equity, demo_lab.metrics, demo_lab.suggestions):
        with pytest.raises(fl.IterationNotFoundError, match="iterations holds 'nope'; no iteration has this id"):
            question(["nope"])


def test_sql_takes_parameters_and_reports_what_is_wrong(demo_lab: fl.Lab) -> None:
    counted = demo_lab.sql("SELECT count(*) AS n FROM trades WHERE stock_code = ?", ["AAPL"])
    named = demo_lab.sql("SELECT count(*) AS n FROM trades WHERE stock_code = $stock", {"stock": "AAPL"})
    assert counted["n"].item() == named["n"].item() > 0
    assert demo_lab.sql("WITH a AS (SELECT 1 AS x) SELECT * FROM a")["x"].tolist() == [1]
    with pytest.raises(fl.QueryError, match="nothing"):
        demo_lab.sql("SELECT nothing FROM trades")
    with pytest.raises(fl.QueryError, match="only SELECT is allowed"):
        demo_lab.sql("DROP VIEW trades")
    with pytest.raises(fl.QueryError, match="it must be one"):
        demo_lab.sql("SELECT 1; SELECT 2")
    with pytest.raises(fl.QueryError):
        demo_lab.iterations(where="sharpe_ratio > 1; DROP VIEW trades")
    with pytest.raises(fl.QueryError, match="no such column"):
        demo_lab.iterations(order_by="no such column")
    with pytest.raises(ValueError, match="limit is -1"):
        demo_lab.iterations(limit=-1)


def test_text_is_data_whatever_it_looks_like(lab: fl.Lab) -> None:
    name = "'; DROP TABLE iterations; -- <script>alert(1)</script> {condition} $strategy"
    strategy = lab.store.save_strategy_version(name, "x", {"a'b\"c": "{x}"})
    lab.store.save_iteration(
        strategy, tags=["it's"], extra_metrics={'o\'clock "x"': 1.0}, trades=[{**TRADE, "stock_code": name}]
    )
    runs = lab.iterations(name, tags="it's")
    assert runs["strategy"].tolist() == [name]
    assert runs["param.a'b\"c"].tolist() == ["{x}"]
    assert runs['metric.o\'clock "x"'].tolist() == [1.0]
    assert lab.trades(stocks=name)["stock_code"].tolist() == [name]
