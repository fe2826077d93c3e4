"""Record a backtest of qlib, on the packaged prices in the form that qlib reads.

How to run it:

    pip install pyqlib
    python record_qlib.py research.db
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import qlib
from qlib.backtest import backtest
from qlib.contrib.strategy import TopkDropoutStrategy

import finlab_nb as fl
from finlab_nb.demo.prices import load_prices, wide_prices

DATABASE = sys.argv[1] if len(sys.argv) > 1 else "research.db"
EXECUTOR = {
    "class": "SimulatorExecutor",
    "module_path": "qlib.backtest.executor",
    "kwargs": {"time_per_step": "day", "generate_portfolio_metrics": True},
}


def write(close, folder):
    """Write prices as qlib's own files: the place of the first day, then a value a day, in 32 bits."""
    days = close.index.strftime("%Y-%m-%d")
    texts = {"calendars/day.txt": days, "instruments/all.txt": [f"{code}\t{days[0]}\t{days[-1]}" for code in close]}
    for name, lines in texts.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text("\n".join(lines))
    for code, price in close.items():
        fields = {"close": price, "change": price.pct_change(), "factor": 0 * price + 1, "volume": 0 * price + 1e9}
        (folder / "features" / code.lower()).mkdir(parents=True)
        for field, values in fields.items():
            np.hstack([[0], values]).astype("<f").tofile(folder / "features" / code.lower() / f"{field}.day.bin")


def momentum(close, sessions):
    """Score each stock by its return over some sessions."""
    return close.pct_change(sessions).rename_axis("datetime").rename_axis("instrument", axis=1).stack().swaplevel()


if __name__ == "__main__":
    close = wide_prices(load_prices(), "close").loc["2004-09":"2008"]
    with tempfile.TemporaryDirectory() as folder, fl.Lab(DATABASE) as lab:
        write(close, Path(folder))
        qlib.init(provider_uri=folder, region="us", kernels=1)
        strategy = TopkDropoutStrategy(signal=momentum(close, 60).sort_index(), topk=2, n_drop=1)
        costs = {"open_cost": 0.0005, "close_cost": 0.0015, "min_cost": 5}
        exchange = {"freq": "day", "codes": list(close), "deal_price": "close", "limit_threshold": None} | costs
        result = backtest(
            "2005-01-03", "2008-12-30", strategy, EXECUTOR, benchmark="IBM", account=100_000, exchange_kwargs=exchange
        )

        lab.record(result, "momentum", code=momentum, parameters={"sessions": 60, "topk": 2, "n_drop": 1}, prices=close)
        print(
            lab.iterations()[
                ["strategy", "annualized_return", "sharpe_ratio", "max_drawdown", "total_trades"]
            ].to_string(index=False)
        )
