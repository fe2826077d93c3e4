"""The strategy versions of the demo and their grids."""

import pandas as pd
import pytest

from finlab_nb.demo.prices import load_prices, wide_prices
from finlab_nb.demo.strategies import STRATEGIES, Strategy, channel_breakout, strategy_named

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)


def test_there_are_at_least_three_versions_and_sixty_runs():
    assert len(STRATEGIES) >= 3
    assert sum(len(strategy.grid) for strategy in STRATEGIES) >= 60


def test_parents_come_first():
    seen: set[str | None] = {None}
    for strategy in STRATEGIES:
        assert strategy.parent in seen
        seen.add(strategy.name)


@every_strategy
def test_no_run_is_planned_twice(strategy: Strategy):
    keys = [tuple(sorted(parameters.items())) for parameters in strategy.grid]
    assert len(set(keys)) == len(keys)
    assert strategy.grid[0] == strategy.parameters


@every_strategy
def test_the_code_is_the_real_source_and_runs_alone(strategy: Strategy):
    namespace = {"pd": pd}
    exec(strategy.code, namespace)
    close = wide_prices(load_prices(), "close")
    own = {name: strategy.parameters[name] for name in list(strategy.parameters)[:2]}
    again = namespace[strategy.signal.__name__](close, **own)  # type: ignore[operator]
    pd.testing.assert_frame_equal(again, strategy.signal(close, **own))
    assert set(pd.unique(again.to_numpy().ravel())) <= {-1, 0, 1}


@every_strategy
def test_nothing_is_signalled_before_the_windows_are_full(strategy: Strategy):
    close = wide_prices(load_prices(), "close").iloc[:50]
    own = {name: strategy.parameters[name] for name in list(strategy.parameters)[:2]}
    if strategy.name != "Channel breakout":
        assert (strategy.signal(close, **own) == 0).all(axis=None)
    assert (strategy.signal(close, **own)["GOOG"] == 0).all()


def test_a_breakout_lasts_until_the_new_low():
    days = pd.date_range("2024-01-01", periods=8)
    close = pd.DataFrame({"A": [5.0, 6.0, 5.5, 7.0, 6.8, 6.9, 6.0, 6.5]}, index=days)
    assert channel_breakout(close, entry_window=2, exit_window=2)["A"].tolist() == [0, 0, 0, 1, 1, 1, 0, 0]


def test_a_strategy_is_found_by_name():
    assert strategy_named("Channel breakout").family == "breakout"
    with pytest.raises(ValueError, match="not 'Magic'"):
        strategy_named("Magic")
