"""What a backtest leaves behind, made of random numbers: one work for every store that is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

TRADES: Final = 500  # of one iteration
STRATEGIES: Final = 20
DAYS: Final = 2_500
YEAR: Final = 250
_STOCKS: Final = np.array([f"{code:04d}" for code in range(1101, 1301)])
_CALENDAR: Final = pd.bdate_range("2014-01-02", periods=DAYS).as_unit("us")


@dataclass(frozen=True, slots=True)
class Iteration:
    """One backtest, as a researcher holds it when it has ended: 500 trades, and a curve of one year of days."""

    strategy: int
    code: str
    parameters: dict[str, Any]
    metrics: dict[str, float]
    trades: pd.DataFrame
    equity: pd.Series[float]


def iteration(number: int) -> Iteration:
    """Return the iteration of a number, the same in every process."""
    random = np.random.default_rng(number)
    made = trades(random)
    return Iteration(
        strategy=number % STRATEGIES,
        code=code(number),
        trades=made,
        parameters=parameters(random),
        metrics=metrics(random, made),
        equity=equity(random, YEAR),
    )


def trades(random: np.random.Generator) -> pd.DataFrame:
    """Return 500 closed trades in the columns of `save_iteration`."""
    entries = np.sort(random.integers(0, DAYS - 30, TRADES))
    prices = random.uniform(10, 900, TRADES).round(2)
    exits = (prices * random.lognormal(0.002, 0.08, TRADES)).round(2)
    sizes = random.integers(1, 40, TRADES) * 1000.0
    return pd.DataFrame(
        {
            "stock_code": random.choice(_STOCKS, TRADES),
            "entry_date": _CALENDAR[entries],
            "exit_date": _CALENDAR[entries + random.integers(1, 30, TRADES)],
            "entry_price": prices,
            "exit_price": exits,
            "position_size": sizes,
            "profit_loss": ((exits - prices) * sizes).round(2),
        }
    )


def equity(random: np.random.Generator, days: int) -> pd.Series[float]:
    """Return a daily curve."""
    return pd.Series(1e6 * np.exp(np.cumsum(random.normal(4e-4, 0.01, days))), index=_CALENDAR[:days])


def parameters(random: np.random.Generator) -> dict[str, Any]:
    """Return five parameters: whole numbers, fractions and a word."""
    return {
        "lookback": int(random.integers(5, 250)),
        "holding_days": int(random.integers(1, 60)),
        "threshold": round(float(random.uniform(0, 1)), 3),
        "stop_loss": round(float(random.uniform(0.02, 0.2)), 3),
        "universe": str(random.choice(["large", "mid", "small"])),
    }


def metrics(random: np.random.Generator, trades: pd.DataFrame) -> dict[str, float]:
    """Return the five metrics."""
    return {
        "annualized_return": float(random.normal(0.08, 0.1)),
        "sharpe_ratio": float(random.normal(0.8, 0.5)),
        "max_drawdown": -float(random.uniform(0.05, 0.5)),
        "win_rate": float((trades["profit_loss"] > 0).mean()),
        "total_trades": len(trades),
    }


def code(number: int) -> str:
    """Return sixty lines of a strategy's code."""
    lines = [f"signal_{line} = close.rolling({line + number + 2}).mean()" for line in range(60)]
    return "\n".join(["def signals(close, lookback=60):", *(f"    {line}" for line in lines), "    return signal_0"])
