"""Record two portfolios of bt in one go.

How to run it:

    pip install "finlab-nb[engines]"
    python record_bt.py research.db
"""

import sys
from pathlib import Path

import bt
import pandas as pd

import finlab_nb as fl
from finlab_nb.demo.prices import load_prices, wide_prices

DATABASE = sys.argv[1] if len(sys.argv) > 1 else "research.db"


def commission(quantity, price):
    return abs(quantity * price) * 0.001


def rebalanced(name, *select):
    return bt.Strategy(name, [bt.algos.RunMonthly(), *select, bt.algos.WeighEqually(), bt.algos.Rebalance()])


close = wide_prices(load_prices(), "close").loc["2005":"2008"]
momentum = [bt.algos.SelectAll(), bt.algos.SelectMomentum(2, lookback=pd.DateOffset(months=6))]
strategies = [rebalanced("equal weight", bt.algos.SelectAll()), rebalanced("momentum", *momentum)]
tests = [bt.Backtest(one, close, commissions=commission, progress_bar=False) for one in strategies]
result = bt.run(*tests)

lab = fl.Lab(DATABASE)
lab.record(result, code=Path(__file__).read_text("utf-8"))  # bt knows the names; the source is this file

print(
    lab.iterations()[["strategy", "annualized_return", "sharpe_ratio", "max_drawdown", "total_trades"]].to_string(
        index=False
    )
)
lab.close()
