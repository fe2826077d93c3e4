"""Record the result of a backtest of LEAN, the .json that it leaves in its folder of results.

    lean backtest "My Project"
    python record_lean.py research.db "My Project/backtests/2024-01-31_09-30-00/1234567890.json"

Without the second argument it is a result that was written by hand in LEAN's layout, which is kept in this checkout.
"""

import sys
from pathlib import Path

import finlab_nb as fl

CHECKOUT = Path(__file__).parents[1]
DATABASE = sys.argv[1] if len(sys.argv) > 1 else "research.db"
RESULT = sys.argv[2] if len(sys.argv) > 2 else CHECKOUT / "tests/data/engine_cases/lean/hand_made/result.json"

lab = fl.Lab(DATABASE)
lab.record(RESULT, "my project")  # LEAN's list of trades has closed ones only; the curve and parameters are in the file

print(
    lab.iterations()[["strategy", "annualized_return", "sharpe_ratio", "max_drawdown", "total_trades"]].to_string(
        index=False
    )
)
lab.close()
