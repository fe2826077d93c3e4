"""The definitions of performance, against hand-computed values, their edges and their laws."""

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finlab_nb.analysis import (
    annualized_return,
    daily_returns,
    drawdown,
    equity_metrics,
    max_drawdown,
    performance,
    sharpe_ratio,
    trade_metrics,
    win_rate,
)


def daily(*values: float | None) -> pd.Series:
    return pd.Series(values, index=pd.date_range("2024-01-01", periods=len(values)), dtype=float)


positive_curves = st.lists(st.floats(0.5, 2.0), min_size=3, max_size=60).map(
    lambda steps: daily(*(1e5 * np.cumprod(steps)))
)


def test_daily_returns_are_hand_computed_fractions():
    returns = daily_returns(daily(100, 110, 99))
    assert returns.tolist() == pytest.approx([0.1, -0.1])
    assert returns.index.tolist() == [pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-03")]


def test_the_last_point_of_a_day_counts():
    times = pd.to_datetime(["2024-01-01 09:00", "2024-01-01 13:30", "2024-01-02 09:00", "2024-01-02 13:30"])
    returns = daily_returns(pd.Series([90.0, 100.0, 55.0, 105.0], index=times))
    assert returns.tolist() == pytest.approx([0.05])
    assert returns.index.tolist() == [pd.Timestamp("2024-01-02")]


def test_an_aware_curve_is_read_in_utc():
    local = daily(100, 110, 99).tz_localize("Asia/Taipei")
    stored = pd.Series(local.to_numpy(), index=local.index.tz_convert(None))
    assert daily_returns(local).equals(daily_returns(stored))
    assert equity_metrics(local) == equity_metrics(stored)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_every_datetime_unit_gives_the_same_metrics(unit: str):
    curve = daily(100, 120, 90, 132)
    other = pd.Series(curve.to_numpy(), index=pd.DatetimeIndex(curve.index).as_unit(unit))
    assert equity_metrics(other) == equity_metrics(curve)


def test_annualized_return_follows_the_calendar():
    four_years = pd.Series([100.0, 146.41], index=pd.to_datetime(["2020-01-01", "2024-01-01"]))
    assert annualized_return(four_years) == pytest.approx(0.1)


def test_an_account_that_ends_at_nothing_lost_everything():
    assert annualized_return(daily(100, 50, 0)) == -1.0
    assert max_drawdown(daily(100, 50, 0)) == -1.0


@pytest.mark.parametrize(
    "curve",
    [
        daily(),
        daily(100),
        daily(0, 100),
        daily(-5, 100),
        daily(100, -1),
        daily(100, 1000),
        pd.Series([100.0, 101.0], index=pd.to_datetime(["2024-01-01 09:00", "2024-01-01 13:30"])),
    ],
    ids=["empty", "one point", "from zero", "from debt", "to debt", "too large", "within a day"],
)
def test_annualized_return_is_nan_where_undefined(curve: pd.Series):
    assert math.isnan(annualized_return(curve))


def test_sharpe_ratio_is_mean_over_deviation_times_root_252():
    # Returns 0.1, -0.1, 0.3: mean 0.1, sample deviation 0.2.
    assert sharpe_ratio(daily(100, 110, 99, 128.7)) == pytest.approx(0.5 * math.sqrt(252))


@pytest.mark.parametrize(
    "curve",
    [
        daily(),
        daily(100, 101),
        daily(100, 100, 100, 100),
        daily(*(100 * 1.001 ** np.arange(500))),
        daily(*(0.1 + np.cumsum([0.0] * 50))),
        daily(100, 0, 50, 60),
        daily(100, -10, 50, 60),
    ],
    ids=["empty", "two points", "constant", "steady growth", "dust", "through zero", "through debt"],
)
def test_sharpe_ratio_is_nan_where_undefined(curve: pd.Series):
    assert math.isnan(sharpe_ratio(curve))


def test_drawdown_measures_from_the_running_peak():
    assert drawdown(daily(100, 120, 90, 132, 66)).tolist() == pytest.approx([0, 0, -0.25, 0, -0.5])


def test_drawdown_of_a_debt_falls_below_minus_one():
    assert drawdown(daily(100, -50)).tolist() == pytest.approx([0, -1.5])


@pytest.mark.parametrize("first", [0, -10])
def test_every_metric_on_a_base_of_nothing_or_less_is_unknown(first: float):
    curve = daily(first, 0, 50, 25)
    assert drawdown(curve).isna().all()
    assert all(math.isnan(value) for value in equity_metrics(curve).values())
    assert drawdown(daily(None, first, 50, 25)).isna().all()


def test_the_first_known_value_is_the_base():
    assert drawdown(daily(None, 50, 0, 25)).tolist() == pytest.approx([math.nan, 0, -1, -0.5], nan_ok=True)
    assert max_drawdown(daily(None, 50, 25)) == -0.5
    assert math.isnan(max_drawdown(daily()))


def test_max_drawdown_sees_a_fall_within_the_day():
    times = pd.to_datetime(["2024-01-01 09:00", "2024-01-01 11:00", "2024-01-01 13:30"])
    assert max_drawdown(pd.Series([100.0, 60.0, 100.0], index=times)) == pytest.approx(-0.4)


def test_points_without_a_value_are_passed_over():
    gaps = daily(None, 100, None, 120, 90, None)
    assert drawdown(gaps).isna().tolist() == [True, False, True, False, False, True]
    assert equity_metrics(gaps) == equity_metrics(gaps.dropna())


def test_nullable_and_integer_curves_are_understood():
    curve = daily(100, 120, 90, 132)
    assert equity_metrics(curve.astype("Int64")) == equity_metrics(curve)
    assert equity_metrics(curve.astype("int64")) == equity_metrics(curve)
    assert math.isnan(max_drawdown(pd.Series([pd.NA], index=curve.index[:1], dtype="Float64")))


def test_a_curve_without_dates_is_refused():
    with pytest.raises(ValueError, match="indexed by datetime, not by RangeIndex"):
        equity_metrics(pd.Series([1.0, 2.0]))


def test_win_rate_counts_what_is_known():
    assert win_rate([10.0, -5.0, 0.0, math.nan]) == pytest.approx(1 / 3)
    assert win_rate(np.array([1.0, 2.0])) == 1.0
    assert win_rate(pd.Series([1.0, pd.NA, -1.0], dtype="Float64")) == 0.5


@pytest.mark.parametrize("nothing", [[], [math.nan], pd.Series(dtype=float)])
def test_win_rate_of_nothing_known_is_nan(nothing: list[float]):
    assert math.isnan(win_rate(nothing))


def test_equity_metrics_are_the_single_functions():
    curve = daily(100, 120, 90, 132, 140, 133)
    assert equity_metrics(curve).keys() >= {"annualized_return", "sharpe_ratio", "max_drawdown"}
    for name, value in equity_metrics(curve).items():
        assert value == getattr(performance, name)(curve), name


def test_trade_metrics_count_closed_trades_and_wins_among_known_results():
    results = [120.0, -40.0, 0.0, 15.0, math.nan]
    assert trade_metrics(results) == {"win_rate": 0.5, "total_trades": 5}
    nothing = trade_metrics([])
    assert nothing["total_trades"] == 0
    assert math.isnan(nothing["win_rate"])


def test_metrics_leave_the_curve_as_it_was():
    curve = daily(100, None, 90, 132).iloc[::-1]
    before = curve.copy()
    equity_metrics(curve)
    drawdown(curve)
    pd.testing.assert_series_equal(curve, before)


@given(positive_curves)
def test_a_positive_account_never_falls_by_more_than_everything(curve: pd.Series):
    assert -1 <= max_drawdown(curve) <= 0
    assert max_drawdown(curve) == drawdown(curve).min()


@given(positive_curves, st.integers(-20, 20))
def test_the_currency_does_not_matter(curve: pd.Series, power: int):
    for name, value in equity_metrics(curve * 2.0**power).items():
        assert value == pytest.approx(equity_metrics(curve)[name], nan_ok=True), name


@given(positive_curves, st.randoms())
def test_the_order_of_the_points_does_not_matter(curve: pd.Series, random):
    places = list(range(len(curve)))
    random.shuffle(places)
    shuffled = equity_metrics(curve.iloc[places])
    assert list(shuffled.values()) == pytest.approx(list(equity_metrics(curve).values()), nan_ok=True)


@given(positive_curves)
def test_daily_returns_compound_to_the_whole_return(curve: pd.Series):
    assert np.prod(1 + daily_returns(curve)) == pytest.approx(curve.iloc[-1] / curve.iloc[0])


@given(positive_curves)
def test_metrics_agree_with_the_plain_pandas_formulas(curve: pd.Series):
    returns = curve.pct_change().dropna()
    metrics = equity_metrics(curve)
    assert metrics["max_drawdown"] == pytest.approx((curve / curve.cummax() - 1).min())
    if returns.std() > 1e-9:
        assert metrics["sharpe_ratio"] == pytest.approx(returns.mean() / returns.std() * 252**0.5)


def test_importing_the_definitions_loads_no_matplotlib():
    code = "import sys, finlab_nb.analysis; print('matplotlib' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


@pytest.mark.parametrize("values", [[1e-300, 1.8e8, 1.0], [1.0, 1e308, -1.7e308, 1e308], [5e-324, 1e308, 5e-324]])
def test_figures_of_absurd_curves_are_unknown_and_never_infinite(values: list[float]) -> None:
    curve = pd.Series(values, index=pd.bdate_range("2024-01-01", periods=len(values)))
    found = equity_metrics(curve)
    assert not any(np.isinf(value) for value in found.values())
    assert not np.isinf(daily_returns(curve)).any()
