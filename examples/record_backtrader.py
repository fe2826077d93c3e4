"""Record a run of backtrader on four stocks, and the runs of its optimizer.

How to run it:

    pip install "finlab-nb[engines]"
    python record_backtrader.py research.db
"""

import sys

import backtrader as bt

import finlab_nb as fl
from finlab_nb.demo.prices import load_prices
from finlab_nb.engines.adapters.backtrader import Recorder

DATABASE = sys.argv[1] if len(sys.argv) > 1 else "research.db"


class Breakout(bt.Strategy):
    """Buy a new high, and sell a new low."""

    params = (("days", 50),)

    def __init__(self):
        self.highs = {data: bt.indicators.Highest(data.high, period=self.p.days) for data in self.datas}
        self.lows = {data: bt.indicators.Lowest(data.low, period=self.p.days) for data in self.datas}

    def next(self):
        for data in self.datas:
            if not self.getposition(data) and data.close[0] > self.highs[data][-1]:
                self.order_target_percent(data, 0.2)
            elif self.getposition(data) and data.close[0] < self.lows[data][-1]:
                self.close(data)


def cerebro():
    made = bt.Cerebro()
    for code, bars in load_prices().groupby("stock_code"):
        made.adddata(bt.feeds.PandasData(dataname=bars.set_index("date").loc["2005":"2008"]), name=code)
    made.broker.setcash(100_000)
    made.broker.setcommission(0.001)
    return made


if __name__ == "__main__":  # optstrategy starts processes
    lab = fl.Lab(DATABASE)

    single = cerebro()
    single.addstrategy(Breakout)
    lab.record(single.run())  # name, code and parameters are those of the class

    grid = cerebro()
    grid.optstrategy(Breakout, days=[20, 50, 100])
    grid.addanalyzer(Recorder)  # runs of an optimization keep nothing but their analyzers
    lab.record(grid.run(), tags="optimize")

    print(
        lab.iterations()[
            ["param.days", "annualized_return", "sharpe_ratio", "total_trades", "metric.open_trades"]
        ].to_string(index=False)
    )
    lab.close()
