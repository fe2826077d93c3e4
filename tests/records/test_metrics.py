"""The table of metrics, and every place that must agree with it: where one was forgotten, the message names it."""

from __future__ import annotations

import contextlib
import math
import re
import sqlite3
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

import finlab_nb as fl
from finlab_nb import cli
from finlab_nb.analysis import equity_metrics, trade_metrics
from finlab_nb.records import METRICS
from finlab_nb.records.metrics import (
    KNOWN_METRICS,
    STANDARD_SET,
    Format,
    Metric,
    count,
    lowest_is_best,
    number,
    percent,
    ratio,
)
from finlab_nb.widgets.comparison import comparison_info

CURVE = pd.Series(
    [100.0, 110.0, 99.0, 121.0], index=pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-04", "2025-01-02"])
)
TRADE = {
    "stock_code": "2330",
    "entry_date": "2024-01-02",
    "exit_date": "2024-01-03",
    "entry_price": 580.0,
    "exit_price": 585.0,
    "position_size": 1,
}


def _value(metric: Metric) -> float:
    """Return a value that a metric may have."""
    return 7 if metric.kind == "whole" else -0.25 if metric.most <= 0 else 0.25


@pytest.fixture
def full_lab(lab: fl.Lab) -> fl.Lab:
    """Return a lab with one iteration that has every metric of the standard set."""
    strategy = lab.store.save_strategy_version("a", "x")
    lab.store.save_iteration(strategy, metrics={metric.name: _value(metric) for metric in STANDARD_SET})
    return lab


@pytest.fixture
def foreign(full_lab: fl.Lab) -> Iterator[sqlite3.Connection]:
    """Return a connection of another program to the lab's database."""
    with contextlib.closing(sqlite3.connect(full_lab.store.path)) as connection:
        yield connection


def _assert_complete(place: str, found: object) -> None:
    lacking = [name for name in METRICS if name not in found]  # type: ignore[operator]
    assert not lacking, f"{place} lacks {', '.join(lacking)} of the standard set in records/metrics.py"


# The table itself -----------------------------------------------------------------------------------------------------


def test_the_standard_set_has_its_names_and_order() -> None:
    assert METRICS[:5] == ("annualized_return", "sharpe_ratio", "max_drawdown", "win_rate", "total_trades")
    assert tuple(metric.name for metric in STANDARD_SET) == METRICS


def test_every_metric_has_a_name_for_sql_and_a_label_of_its_own() -> None:
    labels = [metric.label for metric in KNOWN_METRICS.values()]
    assert len(set(labels)) == len(labels)
    for name, metric in KNOWN_METRICS.items():
        assert re.fullmatch("[a-z][a-z_]*", name), name
        assert metric.label.strip(), f"{name} has no label"
        assert metric.unit.strip(), f"{name} has no unit"
        assert metric.better in ("higher", "lower", None), name
        assert metric.kind == "float" or math.isfinite(metric.least), f"{name} is whole and needs a least value"


@pytest.mark.parametrize("name", ["volatility", "max_drawdown_duration", "ulcer_index", "turnover", "tracking_error"])
def test_less_of_a_risk_or_a_cost_is_better(name: str) -> None:
    assert lowest_is_best(name)


@pytest.mark.parametrize("name", ["sharpe_ratio", "max_drawdown", "total_trades", "sortino_ratio", "my_score"])
def test_the_largest_is_best_of_gains_of_falls_and_of_what_is_unknown(name: str) -> None:
    assert not lowest_is_best(name)


@pytest.mark.parametrize(
    ("show", "value", "shown"),
    [
        (percent, -0.1234, "-12.3%"),
        (percent, None, "–"),
        (percent, -math.inf, "-∞"),
        (ratio, 1.005, "1.00"),
        (ratio, math.inf, "∞"),
        (ratio, np.float64("nan"), "–"),
        (count, 12345, "12,345"),
        (count, 12345.0, "12,345"),
        (count, 2.5, "2.5"),
        (count, math.inf, "∞"),
        (count, pd.NA, "–"),
        (number, 1234567.0, "1.23457e+06"),
        (number, None, "–"),
    ],
)
def test_values_read_as_expected(show: Format, value: object, shown: str) -> None:
    assert show(value) == shown


@pytest.mark.parametrize(
    ("metric", "allowed"),
    [
        (Metric("a", "A", "fraction", None, percent), "a finite number"),
        (Metric("a", "A", "fraction", None, percent, most=0), "a fraction of at most 0"),
        (Metric("a", "A", "fraction", None, percent, least=-0.5), "a fraction of at least -0.5"),
        (Metric("a", "A", "fraction", None, percent, least=0, most=1), "a fraction from 0 to 1"),
        (Metric("a", "A", "trades", None, count, kind="whole", least=0), "a whole number of at least 0"),
    ],
)
def test_a_message_says_what_is_allowed(metric: Metric, allowed: str) -> None:
    assert metric.allowed == allowed


# What must agree with it ----------------------------------------------------------------------------------------------


def test_the_migrations_have_a_column_for_each_metric(store: fl.StorageManager) -> None:
    with store.pool.read() as connection:
        columns = {name: kind for _, name, kind, *_ in connection.execute("PRAGMA table_info(metrics)")}
    _assert_complete("the table metrics, made by store/migrations,", columns)
    unknown = columns.keys() - {"metric_id", "iteration_id", *METRICS}
    assert not unknown, f"records/metrics.py lacks {', '.join(unknown)}, a column of the table metrics"
    for metric in STANDARD_SET:
        assert columns[metric.name] == {"float": "REAL", "whole": "INTEGER"}[metric.kind], metric.name


@pytest.mark.parametrize("metric", STANDARD_SET, ids=METRICS)
def test_the_checks_of_the_migrations_allow_what_the_table_allows(
    full_lab: fl.Lab, foreign: sqlite3.Connection, metric: Metric
) -> None:
    for value in (-1e9, -1.0, -0.25, 0.0, 0.25, 1.0, 1.5, 7.0):
        allowed = metric.allows(value) and (metric.kind == "float" or value % 1 == 0)
        kept = True
        try:
            foreign.execute(f"UPDATE metrics SET {metric.name} = ?", (value,))
        except sqlite3.IntegrityError:
            kept = False
        assert kept == allowed, f"the CHECK of metrics.{metric.name} in store/migrations at {value}"
    with pytest.raises(sqlite3.IntegrityError):
        foreign.execute(f"UPDATE metrics SET {metric.name} = 'text'")


def test_check_looks_at_each_metric(full_lab: fl.Lab, foreign: sqlite3.Connection) -> None:
    foreign.execute("PRAGMA ignore_check_constraints = ON")
    foreign.execute(f"UPDATE metrics SET {', '.join(f'{name} = -1e9' for name in METRICS)}")
    foreign.commit()
    problems = {one["column"]: one["problem"] for one in full_lab.store.check()}
    for metric in STANDARD_SET:
        wanted = None if metric.allows(-1e9) else f"it must be {metric.allowed}"
        assert problems.get(metric.name) == wanted, f"store.check() and the range of metrics.{metric.name}"
    foreign.execute(f"UPDATE metrics SET {', '.join(f'{name} = char(120)' for name in METRICS)}")
    foreign.commit()
    _assert_complete("store.check()", {one["column"] for one in full_lab.store.check()})


def test_every_metric_is_defined_and_computed_on_saving(lab: fl.Lab) -> None:
    results = [5.0, -2.0]
    curve = pd.Series(100.0 + np.arange(40) % 7, index=pd.bdate_range("2024-01-02", periods=40))
    defined = equity_metrics(curve) | trade_metrics(results)
    _assert_complete("finlab_nb.analysis", defined)
    trades = [{**TRADE, "profit_loss": result} for result in results]
    iteration = lab.store.save_iteration(lab.store.save_strategy_version("a", "x"), equity=curve, trades=trades)
    assert lab.store.load_iteration(iteration)["metrics"] == {name: defined[name] for name in METRICS}


def test_every_metric_is_saved_loaded_and_in_every_frame(full_lab: fl.Lab) -> None:
    values = {metric.name: _value(metric) for metric in STANDARD_SET}
    (iteration,) = full_lab.iterations()["iteration_id"]
    assert full_lab.store.load_iteration(iteration)["metrics"] == values
    for place, frame in {
        "lab.iterations()": full_lab.iterations(),
        "lab.metrics()": full_lab.metrics(),
        "the view metrics": full_lab.sql("SELECT * FROM metrics"),
    }.items():
        _assert_complete(place, frame.columns)
        assert frame[list(METRICS)].to_dict("records") == [values], place
        for metric in STANDARD_SET:
            assert str(frame[metric.name].dtype) == {"float": "float64", "whole": "Int64"}[metric.kind], place
    long = full_lab.metrics(long=True).set_index("name")["value"]
    _assert_complete("lab.metrics(long=True)", long.index)
    assert long.to_dict() == values
    strategies = full_lab.strategies()
    best = {f"best_{metric.name}": values[metric.name] for metric in STANDARD_SET if metric.better}
    assert {name: strategies[name].item() for name in strategies.columns if name[5:] in METRICS} == best
    for name in METRICS:
        assert len(full_lab.best(by=name)) == len(full_lab.progress("a", name)) == 1


def test_widgets_and_the_command_show_every_metric_by_its_label(full_lab: fl.Lab) -> None:
    labels = [metric.label for metric in STANDARD_SET]
    shown = [metric.format(_value(metric)) for metric in STANDARD_SET]
    explorer = full_lab.explore()
    view = explorer.table.view
    places = [place for place, column in enumerate(view["columns"]) if column["key"] in METRICS]
    assert [view["columns"][place]["label"] for place in places] == labels
    assert [view["rows"][0]["cells"][place] for place in places] == shown
    explorer.close()
    frame = full_lab.iterations()
    compared = comparison_info(frame.assign(name="a #1"))
    assert [(row.label, row.cells) for row in compared.metrics] == [
        (label, (cell,)) for label, cell in zip(labels, shown, strict=True)
    ]
    heading, row = cli._table(frame).splitlines()
    assert heading.split() == ["Strategy", "#", *" ".join(labels).split()]
    assert row.split() == ["a", "1", *shown]
