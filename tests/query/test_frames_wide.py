"""The wide table as callers see it: names, types, conditions, ties, and what is narrowed to some iterations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import finlab_nb as fl
from books import TRADE, elsewhere

pytestmark = pytest.mark.sources("replica", "plain")

TWINS = ("Lookback", "lookback", "LOOKBACK")


@pytest.fixture
def twins(lab: fl.Lab) -> fl.Lab:
    """Return a lab whose parameters and extra metrics differ only in case."""
    strategy = lab.store.save_strategy_version("a", "x")
    for number in (1, 2, 3):
        values = {name: float(place * number) for place, name in enumerate(TWINS, 1)}
        lab.store.save_iteration(strategy, parameters=values, extra_metrics=values)
    return lab


def test_names_that_differ_only_in_case_are_told_apart_everywhere(twins: fl.Lab, tmp_path: Path) -> None:
    shown = {"LOOKBACK": 3.0, "Lookback_2": 1.0, "lookback_3": 2.0}  # in the order of the names as they were given
    (first, *_), columns = twins.iterations()["iteration_id"], twins.iterations().columns
    (path,) = twins.export_frames(tmp_path, "results", where="param.lookback_3 = 2")
    exported = pd.read_parquet(path)
    assert exported["iteration_id"].tolist() == [first]
    for name, value in shown.items():
        for kind in ("param", "metric"):
            assert f"{kind}.{name}" in columns
            found = twins.sql(f"SELECT iteration_id, {kind}.{name} AS x FROM results WHERE iteration_number = 1")
            assert found["x"].item() == exported[f"{kind}.{name}"].item() == value
            assert len(twins.iterations(where=f'{kind}.{name} = {value} AND "{kind}.{name}" = {value}')) == 1
            (largest,) = twins.iterations(order_by=f"{kind}.{name} desc", limit=1)[f"{kind}.{name}"]
            assert largest == 3 * value
        assert twins.best(1, f"metric.{name}")[f"metric.{name}"].item() == 3 * value
        assert twins.progress("a", f"metric.{name}")["best_so_far"].tolist() == [value, 2 * value, 3 * value]


def test_any_case_of_a_name_is_understood(twins: fl.Lab) -> None:
    found = twins.best(1, "METRIC.LookBack_3")
    assert found["metric.lookback_3"].item() == 6
    assert twins.progress("a", "Metric.lookback").columns[4] == "metric.LOOKBACK"
    with pytest.raises(fl.QueryError, match=r"no such metric, there are .*metric.LOOKBACK, metric.Lookback_2"):
        twins.best(by="metric.lookbak")


def test_the_columns_are_those_of_the_chosen_iterations_with_their_types(lab: fl.Lab) -> None:
    whole, mixed = (lab.store.save_strategy_version(name, "x") for name in ("whole", "mixed"))
    lab.store.save_iteration(whole, parameters={"lookback": 2**60 + 1}, extra_metrics={"calmar": 1.0})
    lab.store.save_iteration(mixed, parameters={"lookback": 0.5, "mode": "x"})
    lab.store.save_iteration(mixed, parameters={"lookback": "all"}, tags=["t"])
    own = lab.iterations("whole")
    assert own["param.lookback"].tolist() == [2**60 + 1]
    assert str(own["param.lookback"].dtype) == "Int64"
    assert [name for name in own if "." in name] == ["param.lookback", "metric.calmar"]
    assert lab.iterations()["param.lookback"].tolist() == [str(2**60 + 1), "0.5", "all"]
    limited = lab.iterations("mixed", where="param.lookback = '0.5'", limit=1)
    assert [name for name in limited if "." in name] == ["param.lookback", "param.mode"]
    assert [name for name in lab.iterations(tags="t") if "." in name] == ["param.lookback"]
    assert len(lab.iterations(tags=[])) == 3
    assert lab.iterations(tags="none").columns.tolist() == own.columns.tolist()[:-2]


def test_not_all_of_many_different_questions_are_remembered(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x", {"lookback": 1})
    lab.store.save_iteration(strategy)
    for number in range(200):
        assert lab.iterations(tags=f"tag {number}").empty
    assert "param.lookback" in lab.iterations("a")
    remembered = lab.frames.ask(lambda views: len(views.moment.results.asked), {"results"})
    assert 0 < remembered <= 64


def test_archived_iterations_are_no_candidates_unless_asked_for(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    good, better = (lab.store.save_iteration(strategy, metrics={"sharpe_ratio": value}) for value in (1.0, 2.0))
    lab.store.annotate(better, archived=True)
    for archived, expected in ((False, [good]), (True, [better]), (None, [better, good])):
        assert lab.best(archived=archived)["iteration_id"].tolist() == expected
    assert lab.best()["iteration_id"].tolist() == [good]
    assert len(lab.iterations()) == 2


@pytest.mark.parametrize("lowest", [False, True])
@pytest.mark.parametrize("n", [3, 2_000])
def test_of_equal_ones_the_earliest_is_the_best(lab: fl.Lab, n: int, lowest: bool) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    moments = [f"2024-01-{day:02}T00:00:00Z" for day in (5, 3, 9, 3, 1)]
    runs = [
        lab.store.save_iteration(strategy, metrics={"sharpe_ratio": 1.0}, timestamp=moment) for moment in moments[:4]
    ]
    lab.store.save_iteration(strategy, metrics={"sharpe_ratio": None}, timestamp=moments[4])
    earliest = sorted(runs, key=lambda run: (moments[runs.index(run)], run))
    assert lab.best(n, lowest=lowest)["iteration_id"].tolist() == earliest[:n]
    assert lab.best(n, lowest=lowest, where="true")["iteration_id"].tolist() == earliest[:n]
    (found,) = lab.strategies().to_dict("records")
    assert (found["iterations"], found["best_iteration_id"], found["best_sharpe_ratio"]) == (5, earliest[0], 1.0)


def test_iterations_stay_in_order_of_time_whatever_was_changed_last(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    moments = [f"2024-01-{day:02}T00:00:00Z" for day in (5, 3, 9, 3)]
    runs = [lab.store.save_iteration(strategy, timestamp=moment) for moment in moments]
    expected = sorted(runs, key=lambda run: (moments[runs.index(run)], run))
    lab.store.annotate(expected[1], note="x")
    assert lab.iterations()["iteration_id"].tolist() == expected
    assert lab.iterations(limit=9)["iteration_id"].tolist() == expected


def test_a_figure_named_like_one_of_the_standard_set_has_a_name_of_its_own(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    extra = {"sharpe_ratio": 7.0, "metric.sharpe_ratio": 8.0, "calmar": 9.0}
    run = lab.store.save_iteration(strategy, metrics={"sharpe_ratio": 1.0}, extra_metrics=extra)
    long = lab.metrics(run, long=True)
    assert long["name"].is_unique
    found = long.set_index("name")["value"]
    names = ["sharpe_ratio", "metric.sharpe_ratio", "metric.metric.sharpe_ratio", "calmar"]
    assert found[names].tolist() == [1.0, 7.0, 8.0, 9.0]
    row = lab.iterations()
    assert row[["sharpe_ratio", "metric.sharpe_ratio", "metric.metric.sharpe_ratio"]].iloc[0].tolist() == [1, 7, 8]


def test_parameters_join_trades(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    for lookback in (20, 60):
        lab.store.save_iteration(strategy, parameters={"lookback": lookback}, trades=[TRADE] * (lookback // 20))
    found = lab.sql(
        "SELECT stock_code, param.lookback, count(*) AS n FROM trades JOIN results USING (iteration_id) "
        "GROUP BY ALL ORDER BY ALL"
    )
    assert found.to_numpy().tolist() == [["2330", 20, 1], ["2330", 60, 3]]
    assert found.columns.tolist() == ["stock_code", "lookback", "n"]
    with pytest.raises(ValueError, match="frames has the name 'results'"):
        lab.sql("SELECT * FROM results", frames={"results": found})


def test_a_condition_is_one_on_the_columns_alone(twins: fl.Lab) -> None:
    with pytest.raises(fl.QueryError, match="p1"):
        twins.iterations(where="p1 = 1")
    with pytest.raises(fl.QueryError, match="parameter_shape"):
        twins.iterations(where="parameter_shape = 0")


def test_answers_about_some_iterations_hold_what_others_add(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    first = lab.store.save_iteration(
        strategy,
        suggestions=[{"priority": "high", "description": "x"}],
        trades=[{**TRADE, "extra": {"signal": 1}}],
        equity={"2024-01-02": 100.0, "2024-01-03": 110.0},
        initial_capital=50.0,
    )
    elsewhere(lab.store.path, "UPDATE iterations SET currency = 'TWD'")
    (suggestion,) = lab.suggestions(first)["suggestion_id"]
    second = lab.store.save_iteration(strategy, applies=[suggestion], trades=[TRADE])
    assert lab.suggestions([first])["applied_iteration_ids"].tolist() == [[second]]
    assert lab.by_stock([first])["currency"].tolist() == ["TWD"]
    assert lab.by_period([first])["currency"].tolist() == ["TWD"]
    np.testing.assert_allclose(lab.returns([first])[first], [1.0, 0.1])
    assert lab.trades([second], columns=["signal"])["signal"].isna().all()
    with pytest.raises(fl.QueryError, match=r"columns has 'singal'; no such column, there are .*, signal"):
        lab.trades([second], columns=["singal"])


@pytest.mark.parametrize(("kind", "read"), [("csv", pd.read_csv), ("json", pd.read_json), ("xlsx", pd.read_excel)])
def test_the_wide_table_is_exported_in_every_format(twins: fl.Lab, tmp_path: Path, kind: str, read: object) -> None:
    (path,) = twins.export_frames(tmp_path, "results", kind)
    found, expected = read(path), twins.iterations()  # type: ignore[operator]
    assert found.columns.tolist() == expected.columns.tolist()
    assert found["param.Lookback_2"].tolist() == expected["param.Lookback_2"].tolist()
    assert pd.to_datetime(found["timestamp"], utc=True).dt.floor("s").tolist() == (
        expected["timestamp"].dt.floor("s").tolist()
    )


def test_the_wide_table_is_partitioned_like_the_others(twins: fl.Lab, tmp_path: Path) -> None:
    (path,) = twins.export_frames(tmp_path, "results", partition_by="strategy")
    found = pd.read_parquet(path)
    assert set(found.columns) == set(twins.iterations().columns)
    assert len(found) == 3
    assert "results.parquet" not in {one.name for one in twins.export_frames(tmp_path)}
