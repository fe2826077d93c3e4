"""finlab_nb by its public calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import finlab_nb as fl

if TYPE_CHECKING:
    import pandas as pd

    from tests.benchmarks.work import Iteration


class Tool:
    """A lab; the cache stands beside the database."""

    def __init__(self, folder: Path) -> None:
        self._lab = fl.Lab(folder / "lab.db")
        self._ids: list[str] = []

    def start(self, names: list[str]) -> None:
        for name in names:
            self._lab.store.save_strategy_version(name, f"# {name}")

    def record(self, one: Iteration) -> str:
        self._ids = self._ids or self._lab.strategies()["strategy_id"].tolist()
        return self._lab.store.save_iteration(
            self._ids[one.strategy],
            code=one.code,
            parameters=one.parameters,
            metrics=one.metrics,
            trades=one.trades,
            equity=one.equity,
        )

    def iterations(self) -> pd.DataFrame:
        return self._lab.iterations()

    def best(self) -> pd.DataFrame:
        return self._lab.best(10, by="sharpe_ratio")

    def trades(self, key: str) -> pd.DataFrame:
        return self._lab.trades([key])

    def by_stock(self) -> pd.Series[float]:
        return self._lab.by_stock().set_index("stock_code")["profit_loss"]

    def strategies(self) -> pd.DataFrame:
        return self._lab.sql("SELECT * FROM strategies")

    def close(self) -> None:
        self._lab.close()
