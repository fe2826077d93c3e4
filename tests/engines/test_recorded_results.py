"""What eleven engines gave comes back from ``lab.record`` without the loss of a number.

Each result is recorded as an object with the attributes that were recorded of it and, of the engines that are installed
here, as the engine's own object of the same trades; the summary of the run tells which were which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
import pytest

import finlab_nb as fl
from recorded import live
from recorded.cases import Case, recorded_cases
from recorded.conversions import FILLS, converted, engine_metrics, result_of
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
from recorded.stand_ins import STAND_INS, options

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


@dataclass(frozen=True)
class Way:
    """A result, and whether the engine itself makes it anew."""

    case: Case
    is_live: bool = False

    def __str__(self) -> str:
        return f"{self.case.name}-{'live' if self.is_live else 'recorded'}"

    def made(self) -> Any:
        """Return the object that is recorded."""
        if not self.is_live:
            return STAND_INS[self.case.engine](self.case)
        if not live.is_here(self.case.engine):
            pytest.skip(f"{self.case.engine} is not installed")
        return live.made_anew(self.case)


def _has_figures(case: Case) -> bool:
    """Tell whether the result itself has the figures that were noted of it."""
    return case.engine not in ("qlib", "zipline") and not case.name.startswith("vectorbt/grid")


Recorded: TypeAlias = Callable[[Way], str]


def _each(cases: Iterable[Case]) -> pytest.MarkDecorator:
    ways = [Way(case, is_live) for case in cases for is_live in (False, True) if not is_live or live.can_trade(case)]
    is_slow = {way: way.is_live or way.case.name in _ALIKE for way in ways}
    return pytest.mark.parametrize(
        "way", [pytest.param(way, id=str(way), marks=[pytest.mark.slow] if is_slow[way] else []) for way in ways]
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
    """Return the strategy of the results that are saved, not recorded."""
    return lab.store.save_strategy_version("Results of engines", "# see the engine")


@pytest.fixture(scope="module")
def recorded(lab: fl.Lab) -> Recorded:
    """Return what gives the id of a result, which it records when it is asked for first."""
    ids: dict[Way, str] = {}

    def recorded_result(way: Way) -> str:
        if way not in ids:
            ids[way] = _of_case(lab, way.case, lab.record(way.made(), str(way), code="# see the engine", **_said(way)))
        return ids[way]

    return recorded_result


def _said(way: Way) -> dict[str, Any]:
    return options(way.case)


def _of_case(lab: fl.Lab, case: Case, found: str | list[str]) -> str:
    """Return the one of several results that the expectation is of."""
    if isinstance(found, str) or len(found) == 1:
        return found if isinstance(found, str) else found[0]
    if case.engine == "freqtrade":
        return found[case.strategies().index(case.facts["strategy"])]
    return next(one for one in found if lab.store.load_iteration(one)["parameters"] == case.facts["parameters"])


# --- trades ---


@_EVERY_CASE
def test_trades_come_back_as_they_were_expected(lab: fl.Lab, recorded: Recorded, way: Way) -> None:
    iteration = recorded(way)
    stored = lab.trades(iteration)
    assert_same_trades(stored, way.case)
    loaded = pd.DataFrame(lab.store.load_iteration(iteration)["trades"], columns=stored.columns[2:])
    assert_same_trades(loaded.assign(**{day: _parsed(loaded[day]) for day in _DATES}), way.case)


def _parsed(dates: pd.Series) -> pd.Series:
    return pd.to_datetime(dates, format="ISO8601")


@_WITH_FILLS
def test_every_fill_can_be_found_again(lab: fl.Lab, recorded: Recorded, way: Way) -> None:
    given, trades = FILLS[way.case.engine](way.case), lab.trades(recorded(way))
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
        [fills["stock_code"].astype(object), fills["date"].astype("datetime64[us]"), fills["price"].round(6)]
    ).sum()


@_EVERY_CASE
def test_sums_by_stock_and_by_month_are_those_of_the_expected_trades(lab: fl.Lab, recorded: Recorded, way: Way) -> None:
    case = way.case
    iteration, money = recorded(way), case.money * len(case.trades)
    by_stock = lab.by_stock(iteration).set_index("stock_code")["profit_loss"].dropna()  # unknown where all are open
    by_month = lab.by_period(iteration).set_index("period")["profit_loss"]
    assert by_stock.to_dict() == pytest.approx(realised(case, "stock_code"), rel=_NEAR, abs=money)
    assert by_month.to_dict() == pytest.approx(realised(case, "month"), rel=_NEAR, abs=money)


# --- curves and metrics ---


@_EVERY_CASE
def test_a_curve_comes_back_as_it_was_expected(lab: fl.Lab, recorded: Recorded, way: Way) -> None:
    case, iteration = way.case, recorded(way)
    expected, stored = expected_curve(case), lab.equity(iteration)[iteration]
    if case.name == "bt/zero_trades":  # of what never traded, the result keeps only the days it shares with the other
        expected = expected[expected.index >= stored.index[0]]
    assert_same_curve(stored, case, expected)
    points = lab.store.load_iteration(iteration)["equity"]
    loaded = pd.Series([one["equity"] for one in points], index=_parsed(pd.Series([one["date"] for one in points])))
    assert_same_curve(loaded, case, expected)


@_EVERY_CASE
def test_metrics_are_those_of_the_definitions(lab: fl.Lab, recorded: Recorded, way: Way) -> None:
    case, loaded, read = way.case, lab.store.load_iteration(recorded(way)), result_of(way.case)
    curve = case.equity
    if case.engine in ("nautilus", "pybroker"):  # which round to cents, and so move a ratio by a thousandth
        curve = read.equity
    found = loaded["metrics"] | {name: loaded["extra_metrics"][name] for name in ("total_return", "open_trades")}
    assert_near(found, expected_metrics(case, curve, read.initial_capital))
    assert loaded["initial_capital"] == read.initial_capital
    assert loaded["periods_per_year"] == periods_of(case)
    assert loaded["timezone"] == zone_of(case)
    assert loaded["currency"] == read.currency
    assert {name: loaded["parameters"][name] for name in case.facts.get("parameters", {})} == case.facts.get(
        "parameters", {}
    )


@_EVERY_CASE
def test_the_gap_between_trades_and_curve_is_stored_where_it_can_be_known(
    lab: fl.Lab, recorded: Recorded, way: Way
) -> None:
    case, stored = way.case, lab.store.load_iteration(recorded(way))
    if case.engine == "finlab":  # whose profits are estimates
        assert "check.pnl_gap" not in stored["extra_metrics"]
        return
    capital = result_of(case).initial_capital
    change = case.equity.iloc[-1] - (case.equity.iloc[0] if capital is None else capital)
    rounded = case.money * len(case.trades) + _NEAR * case.equity.iloc[-1]
    wanted = case.facts["expected"]["pnl_sum"] - change
    assert stored["extra_metrics"]["check.pnl_gap"] == pytest.approx(wanted, abs=rounded)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES.values() if _has_figures(case)])
def test_the_own_figures_of_an_engine_stay_beside_ours(lab: fl.Lab, recorded: Recorded, case: Case) -> None:
    stored = lab.store.load_iteration(recorded(Way(case)))["extra_metrics"]
    for path, value in engine_metrics(case).items():
        last = path.rpartition(".")[2]
        found = [stored[name] for name in stored if name.startswith("engine.") and name.endswith(f".{last}")]
        assert (float(value) if value == value else None) in found, path


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


def test_weights_without_capital_are_judged_by_the_returns_of_trades(lab: fl.Lab) -> None:
    case = CASES["finlab/open_and_pending"]
    iteration = lab.record(STAND_INS["finlab"](case), "Weights")
    trades = lab.trades(iteration)
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
    lab: fl.Lab, strategy: str, recorded: Recorded, name: str, zone: str
) -> None:
    given = converted(CASES[name])
    trades = pd.DataFrame(given["trades"])
    aware = given | {
        "trades": trades.assign(**{day: trades[day].dt.tz_localize(zone) for day in _DATES}),
        "equity": given["equity"].tz_localize(zone),
    }
    twin = lab.store.save_iteration(strategy, **aware)
    _assert_twins(lab, recorded(Way(CASES[name])), twin)
    assert lab.store.load_iteration(twin)["timezone"] == zone


@pytest.mark.parametrize(
    "name", ["backtesting/intraday_tz", "zipline/single_long", "lean/hand_made", "freqtrade/spot_portfolio"]
)
def test_wall_time_and_the_name_of_its_zone_are_the_moments_of_that_zone(
    lab: fl.Lab, strategy: str, recorded: Recorded, name: str
) -> None:
    case = CASES[name]
    given, zone = converted(case), zone_of(case)
    wall = {day: local(_moments(given["trades"][day]), zone) for day in _DATES}
    naive = given | {
        "trades": given["trades"].assign(**wall),
        "equity": given["equity"].set_axis(local(_moments(given["equity"].index), zone)),
        "timezone": zone,
    }
    _assert_twins(lab, recorded(Way(case)), lab.store.save_iteration(strategy, **naive))


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


def test_an_export_loses_nothing_of_any_engine(lab: fl.Lab, recorded: Recorded, tmp_path: Path) -> None:
    ids = [recorded(Way(case)) for case in {case.engine: case for case in reversed(_WITH_TRADES)}.values()]
    file = lab.store.export_results(ids, tmp_path / "results.json")
    with fl.StorageManager(tmp_path / "other.db") as other:
        imported = other.import_results(file)
        assert list(map(_content, map(other.load_iteration, imported))) == list(
            map(_content, map(lab.store.load_iteration, ids))
        )


def _content(iteration: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in iteration.items() if not key.endswith(("_id", "_number"))}
