"""The conversions that a user writes today give what was expected, before anything is stored."""

from __future__ import annotations

import pandas as pd
import pytest

from recorded.cases import Case, recorded_cases
from recorded.conversions import CONVERSIONS, converted
from recorded.expected import assert_same_curve, assert_same_trades

CASES = [pytest.param(case, id=case.name) for case in recorded_cases()]


def _naive(stamps: pd.Series) -> pd.Series:
    return pd.to_datetime(stamps, utc=True).dt.tz_localize(None)


@pytest.mark.parametrize("case", CASES)
def test_a_conversion_gives_the_expected_trades(case: Case) -> None:
    trades = pd.DataFrame(converted(case)["trades"])
    if trades.empty:
        assert case.trades.empty
    else:
        dates = {day: _naive(trades[day]) for day in ("entry_date", "exit_date")}
        assert_same_trades(trades.assign(**dates), case)


@pytest.mark.parametrize("case", CASES)
def test_a_conversion_gives_the_expected_curve(case: Case) -> None:
    given = converted(case)
    curve = given["equity"] if "equity" in given else given["initial_capital"] * (1 + given["returns"]).cumprod()
    curve.index = pd.to_datetime(curve.index, utc=True).tz_localize(None)
    expected = case.equity
    if case.name == "bt/zero_trades":  # of what never traded, the result keeps only the days it shares with the other
        expected = expected[curve.index]
    assert_same_curve(curve, case, expected)


def test_every_engine_has_cases_with_and_without_trades() -> None:
    cases = recorded_cases()
    assert {case.engine for case in cases} == set(CONVERSIONS)
    assert len(cases) == 33
    assert sum(case.trades.empty for case in cases) == 6
