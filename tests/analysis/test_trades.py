"""What follows from closed trades."""

import math

import numpy as np
import pandas as pd
import pytest

from finlab_nb.analysis import trade_metrics, win_rate


def test_win_rate_counts_what_is_known():
    assert win_rate([10.0, -5.0, 0.0, math.nan]) == pytest.approx(1 / 3)
    assert win_rate(np.array([1.0, 2.0])) == 1.0
    assert win_rate(pd.Series([1.0, pd.NA, -1.0], dtype="Float64")) == 0.5


@pytest.mark.parametrize("nothing", [[], [math.nan], pd.Series(dtype=float)])
def test_win_rate_of_nothing_known_is_nan(nothing: list[float]):
    assert math.isnan(win_rate(nothing))


def test_a_trade_counts_by_its_return_where_its_profit_is_unknown():
    profits, returns = [10.0, math.nan, math.nan, -5.0], [-0.1, 0.2, math.nan, math.nan]
    assert win_rate(profits, returns) == pytest.approx(2 / 3)
    assert win_rate(pd.Series(profits), np.array(returns)) == pytest.approx(2 / 3)
    assert win_rate([math.nan] * 4, returns) == 0.5


def test_profits_and_returns_are_of_the_same_trades():
    with pytest.raises(ValueError, match="trade_return has 1 values; it must have 2, as profit_loss has"):
        win_rate([1.0, 2.0], [0.1])


def test_trade_metrics_count_closed_trades_and_wins_among_known_results():
    results = [120.0, -40.0, 0.0, 15.0, math.nan]
    assert trade_metrics(results) == {"win_rate": 0.5, "total_trades": 5}
    assert trade_metrics(results, [0.1] * 5) == {"win_rate": 0.6, "total_trades": 5}
    nothing = trade_metrics([])
    assert nothing["total_trades"] == 0
    assert math.isnan(nothing["win_rate"])
