"""Record a Report of finlab, whose sim() asks FinLab's server for leave: it needs an account, and its token.

How to run it:

    pip install finlab
    export FINLAB_API_TOKEN=...
    python record_finlab.py research.db
"""

import os
import sys
from importlib.util import find_spec

import finlab_nb as fl

DATABASE = sys.argv[1] if len(sys.argv) > 1 else "research.db"


def above_average(close, days):
    """Hold the ten stocks that are furthest above their moving average."""
    return (close / close.average(days)).is_largest(10)


if find_spec("finlab") is None or "FINLAB_API_TOKEN" not in os.environ:
    sys.exit("finlab: is not installed, or FINLAB_API_TOKEN is not set; nothing was recorded")

import finlab
from finlab import backtest, data

finlab.login(os.environ["FINLAB_API_TOKEN"])
position = above_average(data.get("price:收盤價"), 60)
report = backtest.sim(position, resample="M", upload=False)

with fl.Lab(DATABASE) as lab:
    # A Report knows weights and returns: with the capital, profits are estimated.
    lab.record(
        report,
        "above average",
        code=above_average,
        parameters={"days": 60},
        initial_capital=1_000_000,
        timezone="Asia/Taipei",
    )
    print(
        lab.iterations()[["strategy", "annualized_return", "sharpe_ratio", "max_drawdown", "total_trades"]].to_string(
            index=False
        )
    )
