"""Home-made: a folder of Parquet files, three for an iteration, asked by DuckDB."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pandas as pd

if TYPE_CHECKING:
    from tests.benchmarks.work import Iteration


class Tool:
    """A folder for each table."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._duck = duckdb.connect()

    def start(self, names: list[str]) -> None:
        for table in ("strategies", "iterations", "trades", "equity"):
            (self._folder / table).mkdir()
        self._write(pd.DataFrame({"name": names}), "strategies", "all")

    def record(self, one: Iteration) -> str:
        key = str(uuid.uuid4())
        row = {"iteration_id": key, "strategy": one.strategy, "code": one.code} | one.parameters | one.metrics
        self._write(one.trades.assign(iteration_id=key), "trades", key)
        equity = one.equity.rename("equity").rename_axis("date").reset_index()
        self._write(equity.assign(iteration_id=key), "equity", key)
        self._write(pd.DataFrame([row]), "iterations", key)
        return key

    def iterations(self) -> pd.DataFrame:
        return self._ask("SELECT * EXCLUDE (code) FROM '{}/iterations/*.parquet'")

    def best(self) -> pd.DataFrame:
        return self._ask("SELECT * EXCLUDE (code) FROM '{}/iterations/*.parquet' ORDER BY sharpe_ratio DESC LIMIT 10")

    def trades(self, key: str) -> pd.DataFrame:
        return pd.read_parquet(self._folder / "trades" / f"{key}.parquet")

    def by_stock(self) -> pd.Series[float]:
        sums = self._ask("SELECT stock_code, sum(profit_loss) AS profit_loss FROM '{}/trades/*.parquet' GROUP BY 1")
        return sums.set_index("stock_code")["profit_loss"]

    def strategies(self) -> pd.DataFrame:
        return self._ask("FROM '{}/strategies/*.parquet'")

    def close(self) -> None:
        self._duck.close()

    def _ask(self, query: str) -> pd.DataFrame:
        return self._duck.sql(query.format(self._folder)).df()

    def _write(self, frame: pd.DataFrame, table: str, name: str) -> None:
        frame.to_parquet(self._folder / table / f"{name}.parquet", compression="zstd", index=False)
