"""Record a run of PyBroker.

How to run it:

    pip install lib-pybroker
    python record_pybroker.py research.db
"""

import sys

import pybroker

import finlab_nb as fl
from finlab_nb.demo.prices import load_prices, wide_prices

DATABASE = sys.argv[1] if len(sys.argv) > 1 else "research.db"


def buy_dips(context):
    """Buy after three falls in a row, and sell ten sessions later or 5% below."""
    if not context.long_pos() and all(context.close[-place] < context.close[-place - 1] for place in (1, 2, 3)):
        context.buy_shares = context.calc_target_shares(0.2)
        context.hold_bars = 10
        context.stop_loss_pct = 5


pybroker.disable_logging()
pybroker.disable_progress_bar()
prices = load_prices()
config = pybroker.StrategyConfig(
    initial_cash=100_000,
    fee_mode=pybroker.FeeMode.ORDER_PERCENT,
    fee_amount=0.1,
    round_test_result=False,  # else trades and account are rounded, and differ by that
)
strategy = pybroker.Strategy(prices.rename(columns={"stock_code": "symbol"}), "2005-01-03", "2008-12-31", config)
strategy.add_execution(buy_dips, ["AAPL", "GOOG", "IBM", "MSFT"])
result = strategy.backtest(warmup=4)

lab = fl.Lab(DATABASE)
close = wide_prices(prices, "close").loc["2005":"2008"]  # values what is open at the end, which PyBroker does not
lab.record(result, "buy dips", code=buy_dips, parameters={"falls": 3, "hold": 10, "stop": 0.05}, prices=close)

print(
    lab.iterations()[["strategy", "annualized_return", "sharpe_ratio", "win_rate", "total_trades"]].to_string(
        index=False
    )
)
lab.close()
