"""Backtest in a pool of processes, and record each result as it arrives.

The workers compute and the coordinator alone records, in one transaction for each result: a run that is stopped keeps
all that it has recorded, and no worker waits for the database.

    python process_pool.py research.db
"""

import itertools
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

import finlab_nb as fl
from finlab_nb.demo.backtest import backtest
from finlab_nb.demo.prices import load_prices, wide_prices

DATABASE = sys.argv[1] if len(sys.argv) > 1 else "research.db"
GRID = [{"fast": fast, "slow": slow} for fast, slow in itertools.product([5, 10, 20, 40], [60, 120, 240])]
CAPITAL = 1_000_000.0


def crossover(fast, slow):
    """Long while the fast moving average is above the slow one, else out of the market."""
    prices = load_prices()
    close = wide_prices(prices, "close")
    signals = (close.rolling(fast).mean() > close.rolling(slow).mean()).astype(int)
    return backtest(prices, signals, capital=CAPITAL)


if __name__ == "__main__":
    workers = ProcessPoolExecutor(max_workers=2, mp_context=multiprocessing.get_context("spawn"))
    with fl.Lab(DATABASE) as lab, workers as pool:
        strategy = lab.store.save_strategy_version("crossover in a pool", Path(__file__).read_text("utf-8"))
        running = {pool.submit(crossover, **parameters): parameters for parameters in GRID}
        for done in tqdm(as_completed(running), total=len(running), unit="backtest"):
            result = done.result()
            lab.store.save_iteration(
                strategy, trades=result.trades, equity=result.equity, parameters=running[done], initial_capital=CAPITAL
            )
        columns = ["param.fast", "param.slow", "annualized_return", "sharpe_ratio", "max_drawdown", "total_trades"]
        print(lab.best(5)[columns].to_string(index=False))
