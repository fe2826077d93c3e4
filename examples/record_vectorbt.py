"""Record a backtest of vectorbt, and a grid of them.

How to run it:

    pip install "finlab-nb[engines]"
    python record_vectorbt.py research.db
"""

import sys

import vectorbt as vbt

import finlab_nb as fl
from finlab_nb.demo.prices import load_prices, wide_prices

DATABASE = sys.argv[1] if len(sys.argv) > 1 else "research.db"
ACCOUNT = {"init_cash": 100_000, "fees": 0.001, "freq": "1D"}


def crossover(fast, slow):
    """Hold while the fast moving average is above the slow one."""
    return fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)


close = wide_prices(load_prices(), "close").loc["2005":"2008"]

lab = fl.Lab(DATABASE)

# A portfolio of four stocks that share their cash: one iteration.
fast, slow = vbt.MA.run(close, 20), vbt.MA.run(close, 100)
entries, exits = crossover(fast, slow)
portfolio = vbt.Portfolio.from_signals(
    close,
    entries.to_numpy(),
    exits.to_numpy(),
    size=0.25,
    size_type="percent",
    group_by=True,
    cash_sharing=True,
    **ACCOUNT,
)
lab.record(portfolio, "crossover", code=crossover, parameters={"fast_window": 20, "slow_window": 100}, prices=close)

# A grid on one stock: one iteration for each combination. The parameters are the levels of the columns.
fast, slow = vbt.MA.run_combs(close["AAPL"], [10, 20, 50, 100, 200], short_names=["fast", "slow"])
entries, exits = crossover(fast, slow)
grid = vbt.Portfolio.from_signals(close["AAPL"], entries, exits, **ACCOUNT)
lab.record(grid, "crossover", code=crossover, ticker="AAPL", tags=["grid"])

print(
    lab.best(5)[
        ["param.fast_window", "param.slow_window", "sharpe_ratio", "max_drawdown", "total_trades", "tags"]
    ].to_string(index=False)
)
lab.close()
