"""Periods a year by the days of a curve, for calendars of every kind."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finlab_nb.analysis import before_first, periods_per_year

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
FIVE_DAY_WEEKS = list(itertools.combinations(WEEKDAYS, 5))

starts = st.dates(pd.Timestamp("1990-01-01").date(), pd.Timestamp("2030-01-01").date())
seeds = st.integers(0, 2**32 - 1)


def days_of(index) -> np.ndarray:
    return pd.DatetimeIndex(index).to_numpy().astype("datetime64[D]")


def weeks(start, length: int, week) -> np.ndarray:
    """All days of these weekdays from a date on."""
    days = np.arange(np.datetime64(start, "D"), np.datetime64(start, "D") + length)
    return days[np.is_busday(days, weekmask=" ".join(week))]


def without_some(days: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The days without the holidays: a share of them, but neither the first nor the last."""
    inner = np.arange(1, days.size - 1)
    holidays = np.random.default_rng(seed).choice(inner, int(share * inner.size), replace=False)
    return np.delete(days, holidays)


@given(starts, st.integers(60, 2000), st.sampled_from(FIVE_DAY_WEEKS), st.floats(0, 0.15), seeds)
def test_any_five_day_week_has_252_days_a_year(start, length, week, holidays, seed):
    assert periods_per_year(without_some(weeks(start, length, week), holidays, seed)) == 252


@given(starts, st.integers(200, 2000), st.integers(1, 8), seeds)
def test_make_up_saturdays_change_nothing(start, length, a_year, seed):
    saturdays = weeks(start, length, ("Sat",))
    extra = np.random.default_rng(seed).choice(saturdays, max(a_year * length // 365, 1), replace=False)
    days = without_some(weeks(start, length, WEEKDAYS[:5]), 0.06, seed)
    assert periods_per_year(np.union1d(days, extra)) == 252


@given(starts, st.integers(60, 2000), st.floats(0, 0.12), seeds)
def test_sunday_evenings_of_futures_change_nothing(start, length, holidays, seed):
    days = weeks(start, length, ("Sun", *WEEKDAYS[:5]))
    assert periods_per_year(without_some(days, holidays, seed)) == 252


@given(starts, st.integers(60, 2000), st.floats(0, 0.18), seeds)
def test_a_market_without_weekends_has_365_days_a_year(start, length, gaps, seed):
    assert periods_per_year(without_some(weeks(start, length, WEEKDAYS), gaps, seed)) == 365


def test_one_day_of_rest_outside_the_weekend_leaves_a_week_of_seven_days():
    assert periods_per_year(weeks("2020-01-01", 1000, set(WEEKDAYS) - {"Fri"})) == 365


@given(starts, st.integers(200, 2000), st.floats(0.3, 0.45), seeds)
def test_a_market_without_weekends_of_which_much_is_missing_has_no_regular_period(start, length, gaps, seed):
    assert math.isnan(periods_per_year(without_some(weeks(start, length, WEEKDAYS), gaps, seed)))


def test_a_long_new_year_is_a_holiday_and_half_days_are_days():
    lunar = days_of(pd.bdate_range("2023-01-02", "2024-12-31"))
    closed = (lunar >= np.datetime64("2024-02-06")) & (lunar <= np.datetime64("2024-02-14"))
    assert periods_per_year(lunar[~closed]) == 252


@given(st.sampled_from(["W-MON", "W-FRI", "W-SUN"]), starts, st.integers(25, 300), seeds)
def test_a_week_whose_end_moves_for_holidays_is_a_week(frequency, start, count, seed):
    ends = days_of(pd.date_range(start, periods=count, freq=frequency))
    moved = np.random.default_rng(seed).random(count) < 0.1
    assert periods_per_year(ends - moved.astype("timedelta64[D]")) == 52


ENDS_AND_BEGINNINGS = {
    **dict.fromkeys(("MS", "ME", "BMS", "BME"), 12),
    **dict.fromkeys(("QS", "QE", "BQS", "BQE"), 4),
    **dict.fromkeys(("YS", "YE", "BYS", "BYE"), 1),
}


@given(st.sampled_from(list(ENDS_AND_BEGINNINGS)), starts, st.integers(3, 100))
def test_ends_and_beginnings_of_months_quarters_and_years_are_regular(frequency, start, count):
    expected = ENDS_AND_BEGINNINGS[frequency]
    days = days_of(pd.date_range(start, periods=min(count, 30 * expected), freq=frequency))
    assert periods_per_year(days) == expected


@given(st.sampled_from([2, 3, 4, 5, 10, 14, 15, 21, 28, 45, 50, 60, 100, 180, 400]), starts, st.integers(2, 300))
def test_every_so_many_days_is_no_regular_period(gap, start, count):
    assert math.isnan(periods_per_year(np.datetime64(start, "D") + gap * np.arange(count)))


@given(starts, st.integers(20, 200), seeds)
def test_points_of_closed_trades_only_have_no_regular_period(start, count, seed):
    gaps = np.random.default_rng(seed).integers(1, 40, count)
    assert math.isnan(periods_per_year(np.datetime64(start, "D") + np.cumsum(gaps)))


def test_most_gaps_must_fit_not_only_the_middle_one():
    monthly = days_of(pd.date_range("2015-01-31", periods=60, freq="ME"))
    few, many = np.delete(monthly, [10, 20, 30]), np.delete(monthly, np.arange(4, 56, 4))
    assert periods_per_year(few) == 12
    assert math.isnan(periods_per_year(many))


@pytest.mark.parametrize("days", [[], ["2024-01-02"], ["2024-01-02", "2024-02-20"]])
def test_too_few_days_have_no_regular_period(days):
    assert math.isnan(periods_per_year(np.array(days, dtype="datetime64[D]")))


def test_a_few_days_of_one_week_are_trading_days():
    assert periods_per_year(weeks("2024-01-01", 5, WEEKDAYS)) == 252
    assert periods_per_year(weeks("2024-01-01", 14, WEEKDAYS)) == 365


@pytest.mark.parametrize(
    ("days", "before"),
    [
        (["2024-01-02"], "2024-01-01"),
        (["2024-01-02", "2024-01-03", "2024-01-04"], "2024-01-01"),
        (["2024-01-05", "2024-01-12", "2024-01-19"], "2023-12-29"),
        (["2024-03-31", "2024-04-30", "2024-05-31"], "2024-02-29"),
        (["2024-02-29", "2024-03-31", "2024-04-30"], "2024-01-31"),
        (["2024-01-15", "2024-02-15", "2024-03-15"], "2023-12-15"),
        (["2023-03-30", "2023-04-28", "2023-05-30"], "2023-02-28"),
        (["2024-03-31", "2024-06-30", "2024-09-30"], "2023-12-31"),
        (["2021-12-31", "2022-12-31", "2023-12-31"], "2020-12-31"),
        (["2024-02-29", "2025-02-28", "2026-02-28"], "2023-02-28"),
        (["2024-01-10", "2024-01-30", "2024-03-10"], "2023-12-11"),
    ],
    ids=[
        "one",
        "day",
        "week",
        "month end",
        "leap",
        "mid month",
        "clipped",
        "quarter",
        "year",
        "leap year",
        "irregular",
    ],
)
def test_the_day_before_the_first_is_one_period_earlier(days, before):
    assert before_first(np.array(days, dtype="datetime64[D]")) == np.datetime64(before)


@given(starts, st.integers(2, 60), st.sampled_from(["D", "B", "W-FRI", "MS", "ME", "QE", "YE", "17D"]))
def test_the_day_before_the_first_keeps_a_regular_curve_regular(start, count, frequency):
    days = days_of(pd.date_range(start, periods=count, freq=frequency))
    longer = np.concatenate([[before_first(days)], days])
    assert longer[0] < longer[1]
    if frequency not in ("D", "B"):
        assert periods_per_year(longer) == pytest.approx(periods_per_year(days), nan_ok=True)
