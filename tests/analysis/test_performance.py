"""The definitions of performance, against hand-computed values, their edges and their laws."""

import itertools
import math
import statistics
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finlab_nb.analysis import (
    annualized_return,
    curve_metrics,
    daily_returns,
    drawdown,
    equity_metrics,
    max_drawdown,
    performance,
    sharpe_ratio,
    total_return,
    with_initial_capital,
)

ZONES = [
    "Africa/Cairo",
    "America/Havana",
    "America/New_York",
    "America/Sao_Paulo",  # summer days begin at 01:00
    "America/St_Johns",  # the clock was put back at 00:01: a day begins twice
    "Asia/Kolkata",
    "Asia/Taipei",
    "Asia/Tehran",
    "Atlantic/Azores",
    "Australia/Sydney",
    "Pacific/Apia",  # has no 30 December 2011
    "Pacific/Chatham",
    "UTC",
]


def daily(*values: float | None) -> pd.Series:
    return pd.Series(values, index=pd.date_range("2024-01-01", periods=len(values)), dtype=float)


def monthly(*values: float | None) -> pd.Series:
    return pd.Series(values, index=pd.date_range("2020-01-31", periods=len(values), freq="ME"), dtype=float)


def walk(count: int, freq: str = "B", mean: float = 5e-4, seed: int = 7) -> pd.Series:
    steps = 1 + np.random.default_rng(seed).normal(mean, 0.01, count)
    return pd.Series(1e6 * np.cumprod(steps), index=pd.date_range("2015-01-01", periods=count, freq=freq))


def plain_sharpe_ratio(values, per_year: float) -> float:
    returns = [value / before - 1 for before, value in itertools.pairwise(values)]
    return statistics.fmean(returns) / statistics.stdev(returns) * math.sqrt(per_year)


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


def test_the_days_of_an_aware_curve_are_those_of_its_zone():
    plain = walk(250)
    local = plain.tz_localize("Asia/Taipei")  # midnight there is the day before in UTC
    pd.testing.assert_series_equal(daily_returns(local), daily_returns(plain))
    assert equity_metrics(local) == equity_metrics(plain)


def test_a_session_of_sydney_is_one_day():
    closes = walk(500)
    sessions = pd.DatetimeIndex([day + pd.Timedelta(hours=hour) for day in closes.index for hour in (10, 12, 14, 16)])
    moments = sessions.tz_localize("Australia/Sydney")
    curve = pd.Series(np.repeat(closes.to_numpy(), 4) * np.tile([1.01, 0.99, 1.02, 1.0], len(closes)), index=moments)
    assert sharpe_ratio(curve) == sharpe_ratio(closes)
    assert sharpe_ratio(curve.tz_convert("UTC")) != pytest.approx(sharpe_ratio(closes), rel=0.01)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_every_datetime_unit_gives_the_same_metrics(unit: str):
    curve = walk(60)
    other = pd.Series(curve.to_numpy(), index=pd.DatetimeIndex(curve.index).as_unit(unit))
    for capital in (None, 2e6):
        metrics = equity_metrics(curve, initial_capital=capital)
        assert equity_metrics(other, initial_capital=capital) == metrics
        assert drawdown(other, capital).min() == metrics["max_drawdown"]


def test_annualized_return_follows_the_calendar():
    four_years = pd.Series([100.0, 146.41], index=pd.to_datetime(["2020-01-01", "2024-01-01"]))
    assert annualized_return(four_years) == pytest.approx(0.1)


@pytest.mark.parametrize(("last", "known"), [("2024-01-30", False), ("2024-01-31", True)])
def test_a_year_is_not_guessed_from_less_than_thirty_days(last: str, known: bool):
    curve = pd.Series([100.0, 101.0], index=pd.to_datetime(["2024-01-01", last]))
    assert math.isnan(annualized_return(curve)) != known
    assert total_return(curve) == pytest.approx(0.01)


def test_an_account_that_ends_at_nothing_lost_everything():
    assert annualized_return(monthly(100, 50, 0)) == -1.0
    assert max_drawdown(monthly(100, 50, 0)) == -1.0
    assert total_return(monthly(100, 50, 0)) == -1.0


@pytest.mark.parametrize(
    "curve",
    [
        daily(),
        daily(100),
        monthly(0, 100),
        monthly(-5, 100),
        monthly(100, -1),
        monthly(1, 1e300),
        daily(100, 101),
        pd.Series([100.0, 101.0], index=pd.to_datetime(["2024-01-01 09:00", "2024-01-01 13:30"])),
    ],
    ids=["empty", "one point", "from zero", "from debt", "to debt", "too large", "two days", "within a day"],
)
def test_annualized_return_is_nan_where_undefined(curve: pd.Series):
    assert math.isnan(annualized_return(curve))


@pytest.mark.parametrize(
    ("freq", "per_year"), [("D", 365), ("B", 252), ("W-FRI", 52), ("ME", 12), ("BME", 12), ("QE", 4), ("YE", 1)]
)
def test_sharpe_ratio_is_mean_over_deviation_times_the_root_of_the_periods_of_a_year(freq: str, per_year: int):
    curve = walk(50, freq)
    assert equity_metrics(curve)["periods_per_year"] == per_year
    assert sharpe_ratio(curve) == pytest.approx(plain_sharpe_ratio(curve.to_list(), per_year))
    assert sharpe_ratio(curve, periods_per_year=100) == pytest.approx(plain_sharpe_ratio(curve.to_list(), 100))


@pytest.mark.parametrize("seed", range(5))
def test_a_curve_has_about_the_same_sharpe_ratio_however_often_it_is_stored(seed: int):
    curve = walk(2520, mean=6e-4, seed=seed)
    whole = sharpe_ratio(curve)
    assert sharpe_ratio(curve.resample("W-FRI").last()) == pytest.approx(whole, abs=0.15)
    assert sharpe_ratio(curve.resample("ME").last()) == pytest.approx(whole, abs=0.3)
    assert math.isnan(sharpe_ratio(curve.iloc[::50]))
    assert annualized_return(curve.resample("ME").last()) == pytest.approx(annualized_return(curve), abs=0.02)


def test_points_of_an_irregular_curve_need_a_number_of_periods():
    sparse = walk(2520).iloc[::50]
    assert math.isnan(equity_metrics(sparse)["periods_per_year"])
    assert sharpe_ratio(sparse, periods_per_year=5.04) == pytest.approx(plain_sharpe_ratio(sparse.to_list(), 5.04))


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_a_number_of_periods_that_is_unknown_follows_from_the_days(unknown: float | None):
    assert equity_metrics(walk(60), periods_per_year=unknown) == equity_metrics(walk(60))


@pytest.mark.parametrize("wrong", [0, -12.0])
def test_a_number_of_periods_is_above_zero(wrong: float):
    with pytest.raises(ValueError, match=r"periods_per_year is .*; it must be a number above 0"):
        sharpe_ratio(walk(60), periods_per_year=wrong)


def test_each_point_is_a_period_where_a_year_has_more_periods_than_days():
    hours = walk(24 * 40, "h")
    assert equity_metrics(hours)["periods_per_year"] == 365
    assert sharpe_ratio(hours) == pytest.approx(plain_sharpe_ratio(hours.iloc[23::24].to_list(), 365))
    for per_year, points in ((8760, hours), (366.5, hours), (366, hours.iloc[23::24])):
        expected = plain_sharpe_ratio(points.to_list(), per_year)
        assert sharpe_ratio(hours, periods_per_year=per_year) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("curve", "known"),
    [
        (walk(21, "W-FRI"), True),
        (walk(20, "W-FRI"), False),
        (walk(31, "D"), True),
        (walk(30, "D"), False),
        (walk(60, "h"), False),
    ],
    ids=["20 returns", "19 returns", "30 days", "29 days", "60 hours"],
)
def test_a_sharpe_ratio_takes_twenty_returns_and_thirty_days(curve: pd.Series, known: bool):
    assert math.isnan(sharpe_ratio(curve)) != known


@pytest.mark.parametrize(
    "curve",
    [
        daily(),
        daily(100, 101),
        daily(*[100] * 50),
        daily(*(100 * 1.001 ** np.arange(500))),
        daily(*(0.1 + np.cumsum([0.0] * 50))),
        daily(100, 0, *[50, 60] * 30),
        daily(100, -10, *[50, 60] * 30),
    ],
    ids=["empty", "two points", "constant", "steady growth", "dust", "through zero", "through debt"],
)
def test_sharpe_ratio_is_nan_where_undefined(curve: pd.Series):
    assert math.isnan(sharpe_ratio(curve))


def test_the_initial_capital_is_a_point_one_period_earlier():
    fallen = daily(80, 90)
    assert equity_metrics(fallen, initial_capital=100)["max_drawdown"] == pytest.approx(-0.2)
    assert total_return(fallen, initial_capital=100) == pytest.approx(-0.1)
    assert daily_returns(fallen, 100).tolist() == pytest.approx([-0.2, 0.125])
    assert daily_returns(fallen, 100).index.tolist() == fallen.index.tolist()
    assert drawdown(fallen, 100).tolist() == pytest.approx([0, -0.2, -0.1])


@pytest.mark.parametrize("freq", ["D", "W-FRI", "ME", "QE", "YE"])
def test_a_curve_and_its_capital_are_the_curve_that_begins_with_the_capital(freq: str):
    whole = walk(40, freq)
    rest = equity_metrics(whole.iloc[1:], initial_capital=whole.iloc[0])
    assert rest == pytest.approx(equity_metrics(whole))
    pd.testing.assert_series_equal(with_initial_capital(whole.iloc[1:], whole.iloc[0]), whole, check_freq=False)


def test_the_capital_of_a_curve_that_begins_with_it_changes_nothing():
    curve = walk(40)
    for same in (curve.iloc[0], curve.iloc[0] * (1 + 1e-13), None, math.nan):
        assert equity_metrics(curve, initial_capital=same) == equity_metrics(curve)
        assert with_initial_capital(curve, same) is curve
    assert equity_metrics(curve, initial_capital=curve.iloc[0] * (1 + 1e-9)) != equity_metrics(curve)


def test_one_point_has_a_return_only_beside_a_capital():
    assert math.isnan(total_return(daily(90)))
    assert math.isnan(total_return(daily(90), initial_capital=90))
    assert total_return(daily(90), initial_capital=100) == pytest.approx(-0.1)
    assert math.isnan(total_return(daily(), initial_capital=100))


def test_the_capital_is_the_base_of_an_account_that_is_in_debt_from_its_first_day():
    metrics = equity_metrics(daily(-50, -20), initial_capital=100)
    assert (metrics["max_drawdown"], metrics["total_return"]) == pytest.approx((-1.5, -1.2))
    assert math.isnan(equity_metrics(daily(50, 60), initial_capital=0)["max_drawdown"])


def test_a_curve_of_whole_numbers_with_gaps_can_begin_at_a_capital():
    curve = pd.Series(
        [90, None, 80], index=pd.date_range("2024-01-02 15:30", periods=3, tz="Asia/Taipei"), dtype="Int64"
    )
    begun = with_initial_capital(curve.iloc[::-1], 99.5)
    assert begun.tolist() == pytest.approx([99.5, 90, math.nan, 80], nan_ok=True)
    assert begun.index.tolist() == [pd.Timestamp("2023-12-31 15:30", tz="Asia/Taipei"), *curve.index]


def test_drawdown_measures_from_the_running_peak():
    assert drawdown(daily(100, 120, 90, 132, 66)).tolist() == pytest.approx([0, 0, -0.25, 0, -0.5])


def test_drawdown_of_a_debt_falls_below_minus_one():
    assert drawdown(daily(100, -50)).tolist() == pytest.approx([0, -1.5])


@pytest.mark.parametrize("first", [0, -10])
def test_every_metric_on_a_base_of_nothing_or_less_is_unknown(first: float):
    curve = daily(first, 0, *[50, 25] * 20)
    assert drawdown(curve).isna().all()
    metrics = equity_metrics(curve)
    assert metrics.pop("periods_per_year") == 365
    assert all(math.isnan(value) for value in metrics.values())
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


def test_equity_metrics_are_the_single_functions():
    curve = walk(100)
    for keywords in ({}, {"initial_capital": 2e6}):
        metrics = equity_metrics(curve, **keywords)
        for name in ("annualized_return", "sharpe_ratio", "max_drawdown", "total_return"):
            assert metrics[name] == getattr(performance, name)(curve, **keywords), name


def test_arrays_give_what_the_series_gives():
    curve = walk(100).tz_localize("America/New_York") * np.where(np.arange(100) == 50, np.nan, 1)
    days = curve.index.tz_localize(None).to_numpy().astype("datetime64[D]")
    for keywords in ({}, {"initial_capital": 2e6}, {"periods_per_year": 260}):
        for unit in ("D", "s", "us"):
            found = curve_metrics(days.astype(f"datetime64[{unit}]"), curve.to_numpy(), **keywords)
            assert found == equity_metrics(curve, **keywords)


def test_metrics_leave_the_curve_as_it_was():
    curve = daily(100, None, 90, 132).iloc[::-1]
    before = curve.copy()
    equity_metrics(curve, initial_capital=120)
    drawdown(curve, 120)
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
    assert metrics["total_return"] == pytest.approx(curve.iloc[-1] / curve.iloc[0] - 1)
    if len(returns) >= 30 and returns.std() > 1e-9:
        assert metrics["sharpe_ratio"] == pytest.approx(returns.mean() / returns.std() * 365**0.5)


@given(
    st.sampled_from(ZONES),
    st.datetimes(pd.Timestamp("1995-01-01"), pd.Timestamp("2024-01-01"), timezones=st.just(UTC)),
    st.integers(20, 1400),
    st.integers(0, 2**32 - 1),
)
def test_days_of_any_zone_are_those_of_a_plain_computation(zone: str, start: datetime, minutes: int, seed: int):
    random = np.random.default_rng(seed)
    steps = np.cumsum(random.integers(1, minutes + 1, 400 if minutes < 300 else 120))
    moments = [start + timedelta(minutes=int(step)) for step in steps]
    values = 1e5 * np.cumprod(1 + random.normal(0, 0.01, len(moments)))
    last_of = {moment.astimezone(ZoneInfo(zone)).date(): v for moment, v in zip(moments, values, strict=True)}
    ends = [float(last_of[day]) for day in sorted(last_of)]
    days = (max(last_of) - min(last_of)).days
    curve = pd.Series(values, index=pd.DatetimeIndex(moments).tz_convert(zone))
    metrics = equity_metrics(curve)
    assert daily_returns(curve).index.tolist() == [pd.Timestamp(day) for day in sorted(last_of)[1:]]
    if len(ends) > 20 and days >= 30:
        assert metrics["periods_per_year"] == 365
        assert metrics["sharpe_ratio"] == pytest.approx(plain_sharpe_ratio(ends, 365))
        assert metrics["annualized_return"] == pytest.approx((values[-1] / values[0]) ** (365.25 / days) - 1)
    else:
        assert math.isnan(metrics["sharpe_ratio"])
    assert metrics["max_drawdown"] == pytest.approx((values / np.maximum.accumulate(values) - 1).min())


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
