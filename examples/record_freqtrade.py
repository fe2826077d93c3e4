"""Record what freqtrade's backtesting command left: its .zip, or the folder with the newest of them.

    freqtrade backtesting --strategy MyStrategy
    python record_freqtrade.py research.db user_data/backtest_results

Without the second argument it is the result of a real run of freqtrade on four stocks, which is kept in this checkout.
"""

import sys
from pathlib import Path

import finlab_nb as fl

CHECKOUT = Path(__file__).parents[1]
DATABASE = sys.argv[1] if len(sys.argv) > 1 else "research.db"
RECORDED = CHECKOUT / "tests/data/engine_cases/freqtrade/spot_portfolio/backtest-result.zip"
RESULT = sys.argv[2] if len(sys.argv) > 2 else RECORDED

lab = fl.Lab(DATABASE)
lab.record(RESULT)  # name, source, parameters, trades and the wallet of each day are in the .zip

print(
    lab.iterations()[
        ["strategy", "annualized_return", "sharpe_ratio", "total_trades", "metric.engine.force_exits"]
    ].to_string(index=False)
)
lab.close()
