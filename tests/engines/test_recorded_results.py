"""What eleven engines gave, stored by conversions written by hand, comes back without the loss of a number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
import pytest

import finlab_nb as fl
from recorded.cases import Case, recorded_cases
from recorded.conversions import FILLS, converted, engine_metrics
from recorded.expected import (
    assert_near,
    assert_same_curve,
    assert_same_trades,
    expected_curve,
    expected_metrics,
    local,
    metrics_of,
    periods_of,
    realised,
    zone_of,
)

CASES: Final = {case.name: case for case in recorded_cases()}
# Those that have nothing of their own beside another case of their engine are not in the fast lane.
_ALIKE: Final = {
    *("backtesting/optimize", "backtesting/single_long", "backtesting/zero_trades", "backtrader/single_long"),
    *("finlab/monthly_long", "freqtrade/two_strategies", "nautilus/single_long", "nautilus/zero_trades"),
    *("pybroker/single_long", "vectorbt/grid/column_10_40", "vectorbt/grid/column_20_60", "vectorbt/single_long"),
    *("vectorbt/grid_by_tickers/group_20_60", "zipline/zero_trades"),
}
_DATES: Final = ["entry_date", "exit_date"]
_NEAR: Final = 1e-6

Saved: TypeAlias = Callable[[Case], str]


def _each(cases: Iterable[Case]) -> pytest.MarkDecorator:
    marks = {name: [pytest.mark.slow] for name in _ALIKE}
    return pytest.mark.parametrize(
        "case", [pytest.param(case, id=case.name, marks=marks.get(case.name, [])) for case in cases]
    )


_EVERY_CASE: Final = _each(CASES.values())
_WITH_TRADES: Final = [case for case in CASES.values() if not case.trades.empty]
_WITH_FILLS: Final = _each(case for case in _WITH_TRADES if case.engine in FILLS)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fl.Lab]:
    """Return the lab that holds all results."""
    with fl.Lab(tmp_path_factory.mktemp("engines") / "lab.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def strategy(lab: fl.Lab) -> str:
    """Return the strategy that all results belong to."""
    return lab.store.save_strategy_version("Results of engines", "# see the engine")


@pytest.fixture(scope="module")
def saved(lab: fl.Lab, strategy: str) -> Saved:
    """Return what gives the id of a result, which it stores when it is asked for first.

    Strictly: no result looks like a mistake.
    """
    ids: dict[str, str] = {}

    def saved_result(case: Case) -> str:
        if case.name not in ids:
            given = converted(case) | {"extra_metrics": engine_metrics(case)}
            ids[case.name] = lab.store.save_iteration(strategy, **given, strict=True)
        return ids[case.name]

    return saved_result


# --- trades ---


@_EVERY_CASE
def test_trades_come_back_as_they_were_expected(lab: fl.Lab, saved: Saved, case: Case) -> None:
    iteration = saved(case)
    stored = lab.trades(iteration)
    assert_same_trades(stored, case)
    loaded = pd.DataFrame(lab.store.load_iteration(iteration)["trades"], columns=stored.columns[2:])
    assert_same_trades(loaded.assign(**{day: _parsed(loaded[day]) for day in _DATES}), case)


def _parsed(dates: pd.Series) -> pd.Series:
    return pd.to_datetime(dates, format="ISO8601")


@_WITH_FILLS
def test_every_fill_can_be_found_again(lab: fl.Lab, saved: Saved, case: Case) -> None:
    given, trades = FILLS[case.engine](case), lab.trades(saved(case))
    closed = trades[trades["exit_date"].notna()]
    entries = trades[["stock_code", "entry_date", "entry_price", "position_size"]]
    exits = closed[["stock_code", "exit_date", "exit_price"]].assign(position_size=-closed["position_size"])
    names = ["stock_code", "date", "price", "size"]
    found = pd.concat([side.set_axis(names, axis=1) for side in (entries, exits)])
    given["date"] = pd.to_datetime(given["date"], utc=True).dt.tz_localize(None)
    pd.testing.assert_series_equal(_filled(found), _filled(given), rtol=_NEAR, check_index_type=False)
    assert trades["fees"].sum() == pytest.approx(given["fee"].sum(), rel=_NEAR)


def _filled(fills: pd.DataFrame) -> pd.Series:
    sizes = fills["size"].astype(float)
    return sizes.groupby(
        [fills["stock_code"].astype(object), fills["date"].astype("datetime64[us]"), fills["price"]]
    ).sum()


@_EVERY_CASE
def test_sums_by_stock_and_by_month_are_those_of_the_expected_trades(lab: fl.Lab, saved: Saved, case: Case) -> None:
    iteration, money = saved(case), case.money * len(case.trades)
    by_stock = lab.by_stock(iteration).set_index("stock_code")["profit_loss"].dropna()  # unknown where all are open
    by_month = lab.by_period(iteration).set_index("period")["profit_loss"]
    assert by_stock.to_dict() == pytest.approx(realised(case, "stock_code"), rel=_NEAR, abs=money)
    assert by_month.to_dict() == pytest.approx(realised(case, "month"), rel=_NEAR, abs=money)


# --- curves and metrics ---


@_EVERY_CASE
def test_a_curve_comes_back_as_it_was_expected(lab: fl.Lab, saved: Saved, case: Case) -> None:
    iteration = saved(case)
    expected, stored = expected_curve(case), lab.equity(iteration)[iteration]
    if case.name == "bt/zero_trades":  # of what never traded, the result keeps only the days it shares with the other
        expected = expected[expected.index >= stored.index[0]]
    assert_same_curve(stored, case, expected)
    points = lab.store.load_iteration(iteration)["equity"]
    loaded = pd.Series([one["equity"] for one in points], index=_parsed(pd.Series([one["date"] for one in points])))
    assert_same_curve(loaded, case, expected)


@_EVERY_CASE
def test_metrics_are_those_of_the_definitions(lab: fl.Lab, saved: Saved, case: Case) -> None:
    loaded, given = lab.store.load_iteration(saved(case)), converted(case)
    curve, capital = case.equity, given["initial_capital"]
    if case.engine in ("nautilus", "pybroker"):  # which round to cents, and so move a ratio by a thousandth
        curve = given["equity"]
    found = loaded["metrics"] | {name: loaded["extra_metrics"][name] for name in ("total_return", "open_trades")}
    assert_near(found, expected_metrics(case, curve, capital))
    assert loaded["initial_capital"] == capital
    assert loaded["periods_per_year"] == periods_of(case)
    assert loaded["timezone"] == zone_of(case)
    assert loaded["currency"] == given.get("currency")
    assert loaded["parameters"] == (given.get("parameters") or {})


@_EVERY_CASE
def test_the_own_figures_of_an_engine_stay_beside_ours(lab: fl.Lab, saved: Saved, case: Case) -> None:
    stored = lab.store.load_iteration(saved(case))["extra_metrics"]
    given = {name: value if value == value else None for name, value in engine_metrics(case).items()}
    assert {name: stored[name] for name in given} == given


@pytest.mark.parametrize("name", ["backtrader/portfolio_open", "zipline/single_long"])
def test_the_returns_of_an_engine_give_its_curve_and_the_capital_before(lab: fl.Lab, strategy: str, name: str) -> None:
    case = CASES[name]
    given = converted(case)
    table = case.raw("raw_timereturn" if case.engine == "backtrader" else "raw_perf")
    given["returns"] = table.set_index("dt")["return"] if case.engine == "backtrader" else table["returns"]
    del given["equity"]
    iteration = lab.store.save_iteration(strategy, **given)
    stored, expected = lab.equity(iteration)[iteration], expected_curve(case)
    assert stored.iloc[0] == given["initial_capital"]
    assert stored.index[0] == expected.index[0] - pd.Timedelta(days=1)
    np.testing.assert_allclose(stored.iloc[1:], expected, rtol=_NEAR)
    found = lab.store.load_iteration(iteration)
    wanted = metrics_of([day.date() for day in stored.index], stored.tolist(), 252)
    assert found["metrics"] | found["extra_metrics"] == pytest.approx(
        found["metrics"] | found["extra_metrics"] | wanted
    )


def test_an_account_report_of_events_has_no_sharpe_ratio_and_says_so(lab: fl.Lab, strategy: str) -> None:
    case = CASES["nautilus/portfolio"]
    account = case.raw("raw_account").groupby("index")["total"].last().astype(float)
    given = converted(case) | {"equity": account}
    with pytest.warns(fl.ImplausibleDataWarning, match="periods_per_year"):
        iteration = lab.store.save_iteration(strategy, **given)
    found = lab.store.load_iteration(iteration)
    assert found["metrics"]["sharpe_ratio"] is None
    assert found["periods_per_year"] is None
    assert found["metrics"]["annualized_return"] is not None
    assert lab.equity(iteration)[iteration].tolist() == account.tolist()


# --- engines of weights ---


def test_weights_without_capital_are_judged_by_the_returns_of_trades(lab: fl.Lab, strategy: str) -> None:
    case = CASES["finlab/open_and_pending"]
    trades = converted(case)["trades"].drop(columns="profit_loss")
    trades["position_size"] = trades.pop("position")
    creturn = case.raw("raw_creturn")["creturn"]
    iteration = lab.store.save_iteration(strategy, trades=trades, equity=creturn, strict=True)
    expected = expected_metrics(case, case.equity, None)
    metrics = lab.store.load_iteration(iteration)["metrics"]
    assert_near(metrics, {name: expected[name] for name in metrics})
    stocks = lab.by_stock(iteration).set_index("stock_code")
    closed = trades[trades["exit_date"].notna()]
    won = (closed["trade_return"] > 0).groupby(closed["stock_code"]).mean().to_dict()
    assert stocks["win_rate"].to_dict() == pytest.approx(won)
    assert stocks["profit_loss"].isna().all()


# --- zones ---


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("vectorbt/portfolio_grouped", "Asia/Taipei"),
        ("backtrader/portfolio_open", "America/New_York"),
        ("finlab/open_and_pending", "Australia/Sydney"),
        ("qlib/topk", "Asia/Shanghai"),
    ],
)
def test_days_with_the_zone_of_a_market_are_the_days_without_one(
    lab: fl.Lab, strategy: str, saved: Saved, name: str, zone: str
) -> None:
    given = converted(CASES[name])
    aware = given | {
        "trades": given["trades"].assign(**{day: given["trades"][day].dt.tz_localize(zone) for day in _DATES}),
        "equity": given["equity"].tz_localize(zone),
    }
    twin = lab.store.save_iteration(strategy, **aware)
    _assert_twins(lab, saved(CASES[name]), twin)
    assert lab.store.load_iteration(twin)["timezone"] == zone


@pytest.mark.parametrize(
    "name", ["backtesting/intraday_tz", "zipline/single_long", "lean/hand_made", "freqtrade/spot_portfolio"]
)
def test_wall_time_and_the_name_of_its_zone_are_the_moments_of_that_zone(
    lab: fl.Lab, strategy: str, saved: Saved, name: str
) -> None:
    case = CASES[name]
    given, zone = converted(case), zone_of(case)
    wall = {day: local(_moments(given["trades"][day]), zone) for day in _DATES}
    naive = given | {
        "trades": given["trades"].assign(**wall),
        "equity": given["equity"].set_axis(local(_moments(given["equity"].index), zone)),
        "timezone": zone,
    }
    _assert_twins(lab, saved(case), lab.store.save_iteration(strategy, **naive))


def _moments(stamps: Any) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(stamps, utc=True)).tz_localize(None)


def _assert_twins(lab: fl.Lab, one: str, other: str) -> None:
    """Compare what was stored of the same result, and what is computed of it by days."""
    trades = [lab.trades(iteration).drop(columns=["trade_id", "iteration_id"]) for iteration in (one, other)]
    pd.testing.assert_frame_equal(*trades)
    assert lab.equity([one, other]).notna().all(axis=None)
    for question in (
        "SELECT entry_day, exit_day, stock_code FROM trades WHERE iteration_id = ? ORDER BY trade_id",
        "SELECT day, equity FROM equity WHERE iteration_id = ? ORDER BY date",
        "SELECT annualized_return, sharpe_ratio, max_drawdown, win_rate FROM metrics WHERE iteration_id = ?",
    ):
        pd.testing.assert_frame_equal(lab.sql(question, [one]), lab.sql(question, [other]))
    for period in ("day", "month"):
        pd.testing.assert_frame_equal(lab.by_period(one, period), lab.by_period(other, period))


# --- on to another store ---


def test_an_export_loses_nothing_of_any_engine(lab: fl.Lab, saved: Saved, tmp_path: Path) -> None:
    ids = [saved(case) for case in {case.engine: case for case in reversed(_WITH_TRADES)}.values()]
    file = lab.store.export_results(ids, tmp_path / "results.json")
    with fl.StorageManager(tmp_path / "other.db") as other:
        imported = other.import_results(file)
        assert list(map(_content, map(other.load_iteration, imported))) == list(
            map(_content, map(lab.store.load_iteration, ids))
        )


def _content(iteration: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in iteration.items() if not key.endswith(("_id", "_number"))}
