"""The strategy versions of the demo, how they descend from each other, and the grid of iterations of each."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import pandas as pd

from finlab_nb.demo.backtest import BacktestResult, backtest
from finlab_nb.demo.prices import wide_prices

Parameters: TypeAlias = dict[str, Any]
Signal: TypeAlias = Callable[..., pd.DataFrame]

# Parameters of the account; all others belong to the signal.
_ACCOUNT_PARAMETERS: Final = frozenset({"cost_bps", "exposure", "whole_shares"})


class Strategy(NamedTuple):
    """One version of a strategy.

    Attributes
    ----------
    name
        What the researcher calls it.
    family
        One word for its idea, used as a tag.
    signal
        Closing prices (dates by shares) and its own parameters -> signals as `backtest` takes them.
    parameters
        The parameters of its first iteration: those of the signal, and ``cost_bps, exposure, whole_shares``.
    parent
        The strategy that it was made from, by name; None for the first.
    grid
        The parameters of all its iterations, starting with ``parameters``.
    """

    name: str
    family: str
    signal: Signal
    parameters: Parameters
    parent: str | None
    grid: tuple[Parameters, ...]

    @property
    def code(self) -> str:
        """The source code of the signal."""
        return inspect.getsource(self.signal)

    def run(self, prices: pd.DataFrame, parameters: Mapping[str, Any]) -> BacktestResult:
        """Backtest one set of parameters on tidy prices."""
        account = {name: value for name, value in parameters.items() if name in _ACCOUNT_PARAMETERS}
        own = {name: value for name, value in parameters.items() if name not in _ACCOUNT_PARAMETERS}
        return backtest(prices, self.signal(wide_prices(prices, "close"), **own), **account)


def crossover(close: pd.DataFrame, fast: int, slow: int) -> pd.DataFrame:
    """Long while the fast moving average is above the slow one."""
    above = close.rolling(fast).mean() > close.rolling(slow).mean()
    return above.astype(int)


def crossover_long_short(close: pd.DataFrame, fast: int, slow: int) -> pd.DataFrame:
    """Long while the fast moving average is above the slow one, short while it is below."""
    slow_average = close.rolling(slow).mean()
    difference = close.rolling(fast).mean() - slow_average
    signal = (difference > 0).astype(int) - (difference < 0).astype(int)
    return signal.where(slow_average.notna(), 0)


def momentum_with_trend_filter(close: pd.DataFrame, lookback: int, trend: int) -> pd.DataFrame:
    """Long after a rise over the lookback, but only while the price is above its long average."""
    risen = close > close.shift(lookback)
    in_trend = close > close.rolling(trend).mean()
    return (risen & in_trend).astype(int)


def channel_breakout(close: pd.DataFrame, entry_window: int, exit_window: int) -> pd.DataFrame:
    """Long from a new high of the entry window until a new low of the exit window."""
    new_high = close > close.shift(1).rolling(entry_window).max()
    new_low = close < close.shift(1).rolling(exit_window).min()
    changes = new_high.astype(float).where(new_high | new_low)
    return changes.ffill().fillna(0.0).astype(int)


def _grid(first: Parameters, axes: Mapping[str, Iterable[Any]]) -> tuple[Parameters, ...]:
    """Combine the axes over the first parameters; these come first, and each combination once."""
    names = list(axes)
    varied = [first | dict(zip(names, values, strict=True)) for values in itertools.product(*axes.values())]
    return (first, *(parameters for parameters in varied if parameters != first))


_CROSSOVER: Final[Parameters] = {
    "fast": 20, "slow": 100, "cost_bps": 10.0, "exposure": 1.0, "whole_shares": True,
}  # fmt: skip
_MOMENTUM: Final[Parameters] = {
    "lookback": 120, "trend": 200, "cost_bps": 10.0, "exposure": 1.0, "whole_shares": True,
}  # fmt: skip
_BREAKOUT: Final[Parameters] = {
    "entry_window": 55, "exit_window": 20, "cost_bps": 10.0, "exposure": 1.0, "whole_shares": True,
}  # fmt: skip

STRATEGIES: Final = (
    Strategy(
        name="Moving-average crossover",
        family="crossover",
        signal=crossover,
        parameters=_CROSSOVER,
        parent=None,
        grid=_grid(_CROSSOVER, {"fast": (5, 20, 50), "slow": (100, 150, 200), "cost_bps": (2.0, 10.0)}),
    ),
    Strategy(
        name="Crossover, long and short",
        family="crossover",
        signal=crossover_long_short,
        parameters=_CROSSOVER,
        parent="Moving-average crossover",
        grid=_grid(_CROSSOVER, {"fast": (5, 20, 50), "slow": (100, 150, 200), "exposure": (0.5, 1.0)}),
    ),
    Strategy(
        name="Momentum with a trend filter",
        family="momentum",
        signal=momentum_with_trend_filter,
        parameters=_MOMENTUM,
        parent="Crossover, long and short",
        grid=_grid(_MOMENTUM, {"lookback": (20, 60, 120, 250), "trend": (100, 200), "cost_bps": (2.0, 10.0, 30.0)}),
    ),
    Strategy(
        name="Channel breakout",
        family="breakout",
        signal=channel_breakout,
        parameters=_BREAKOUT,
        parent="Moving-average crossover",
        grid=_grid(
            _BREAKOUT, {"entry_window": (20, 55, 100), "exit_window": (10, 20, 50), "whole_shares": (True, False)}
        ),
    ),
)


def strategy_named(name: str) -> Strategy:
    """Return the strategy of the demo with this name.

    Raises
    ------
    ValueError
        If there is no such strategy.
    """
    for strategy in STRATEGIES:
        if strategy.name == name:
            return strategy
    raise ValueError(f"name must be one of {[strategy.name for strategy in STRATEGIES]}, not {name!r}")
