"""Books of runs for the tests of this folder."""

from __future__ import annotations

import finlab_nb as fl

TRADE = {
    "stock_code": "2330",
    "entry_date": "2024-01-02",
    "exit_date": "2024-01-03",
    "entry_price": 1.5,
    "exit_price": 2.0,
    "position_size": 1,
    "profit_loss": 0.5,
}


def fill(lab: fl.Lab, runs: int = 60) -> str:
    """Save so many trades, 500 a run, that the reader copies them."""
    strategy = lab.store.save_strategy_version("a", "x")
    lab.store.save_iterations({"strategy_id": strategy, "trades": [TRADE] * 500} for _ in range(runs))
    return strategy
