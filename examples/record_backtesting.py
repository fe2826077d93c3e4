"""Record a run of backtesting.py, and what its optimizer found.

How to run it:

    pip install "finlab-nb[engines]"
    python record_backtesting.py research.db
"""

import sys

from backtesting import Backtest, Strategy
from backtesting.lib import crossover

import finlab_nb as fl
from finlab_nb.demo.prices import load_prices

DATABASE = sys.argv[1] if len(sys.argv) > 1 else "research.db"


def average(values, window):
    return values.s.rolling(window).mean()


class Cross(Strategy):
    """Long while the fast moving average is above the slow one, else short."""

    fast = 20
    slow = 100

    def init(self):
        self.quick = self.I(average, self.data.Close, self.fast)
        self.calm = self.I(average, self.data.Close, self.slow)

    def next(self):
        if crossover(self.quick, self.calm):
            self.position.close()
            self.buy(size=0.9)
        elif crossover(self.calm, self.quick):
            self.position.close()
            self.sell(size=0.9)


if __name__ == "__main__":  # optimize() starts processes
    prices = load_prices()
    bars = prices[prices["stock_code"] == "AAPL"].set_index("date").loc["2005":"2008"].drop(columns="stock_code")
    test = Backtest(bars.rename(columns=str.title), Cross, cash=100_000, commission=0.001)

    lab = fl.Lab(DATABASE)
    lab.record(test.run(), ticker="AAPL")  # name, code and parameters are those of the class

    # The best run with its trades and curve; of the others the heatmap has one figure each.
    best, heatmap = test.optimize(fast=[10, 20, 50], slow=[100, 200], maximize="Sharpe Ratio", return_heatmap=True)
    lab.record([best, heatmap], "Cross", ticker="AAPL", tags="optimize")

    columns = ["param.fast", "param.slow", "total_trades", "sharpe_ratio", "metric.engine.Sharpe Ratio"]
    print(lab.iterations()[columns].to_string(index=False))
    lab.close()
