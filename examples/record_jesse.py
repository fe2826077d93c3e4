"""Record the dict that jesse's research.backtest() returns.

In a notebook or script that runs jesse, which needs its own PostgreSQL, it is one line:

    result = research.backtest(config, routes, [], candles, generate_equity_curve=True)
    lab.record(result, "my strategy", code=MyStrategy)

From elsewhere, dump the dict, and give the file to this script:

    json.dump(result, open("result.json", "w"), default=str)
    python record_jesse.py research.db result.json
"""

import json
import sys
from pathlib import Path

import finlab_nb as fl

if len(sys.argv) < 3:
    sys.exit("jesse: give the database, and a file with the dict of research.backtest(); nothing was recorded")

result = json.loads(Path(sys.argv[2]).read_text("utf-8"))
with fl.Lab(sys.argv[1]) as lab:
    lab.record(result, engine="jesse")
    print(
        lab.iterations()[["strategy", "annualized_return", "sharpe_ratio", "win_rate", "total_trades"]].to_string(
            index=False
        )
    )
