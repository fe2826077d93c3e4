"""Home-made: one DuckDB database file; an iteration is one transaction of whole DataFrames."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pandas as pd

if TYPE_CHECKING:
    from tests.benchmarks.work import Iteration

_SCHEMA = """
    CREATE TABLE strategies (name TEXT);
    CREATE TABLE iterations (iteration_id TEXT, strategy INT, lookback INT, holding_days INT, threshold DOUBLE,
        stop_loss DOUBLE, universe TEXT, annualized_return DOUBLE, sharpe_ratio DOUBLE, max_drawdown DOUBLE,
        win_rate DOUBLE, total_trades INT, code TEXT);
    CREATE TABLE trades (iteration_id TEXT, stock_code TEXT, entry_date TIMESTAMP, exit_date TIMESTAMP,
        entry_price DOUBLE, exit_price DOUBLE, position_size DOUBLE, profit_loss DOUBLE);
    CREATE TABLE equity (iteration_id TEXT, date TIMESTAMP, equity DOUBLE);"""


class Tool:
    """One DuckDB file, by its Appender."""

    def __init__(self, folder: Path) -> None:
        self._duck = duckdb.connect(str(folder / "home.duckdb"))

    def start(self, names: list[str]) -> None:
        self._duck.execute(_SCHEMA)
        self._append(pd.DataFrame({"name": names}), "strategies")

    def record(self, one: Iteration) -> str:
        key = str(uuid.uuid4())
        row = {"iteration_id": key, "strategy": one.strategy, "code": one.code} | one.parameters | one.metrics
        self._duck.begin()
        self._append(pd.DataFrame([row]), "iterations")
        self._append(one.trades.assign(iteration_id=key), "trades")
        equity = one.equity.rename("equity").rename_axis("date").reset_index()
        self._append(equity.assign(iteration_id=key), "equity")
        self._duck.commit()
        return key

    def iterations(self) -> pd.DataFrame:
        return self._duck.sql("SELECT * EXCLUDE (code) FROM iterations").df()

    def best(self) -> pd.DataFrame:
        return self._duck.sql("SELECT * EXCLUDE (code) FROM iterations ORDER BY sharpe_ratio DESC LIMIT 10").df()

    def trades(self, key: str) -> pd.DataFrame:
        return self._duck.execute("FROM trades WHERE iteration_id = ?", [key]).df()

    def by_stock(self) -> pd.Series[float]:
        sums = self._duck.sql("SELECT stock_code, sum(profit_loss) AS profit_loss FROM trades GROUP BY stock_code")
        return sums.df().set_index("stock_code")["profit_loss"]

    def strategies(self) -> pd.DataFrame:
        return self._duck.sql("FROM strategies").df()

    def close(self) -> None:
        self._duck.close()

    def _append(self, frame: pd.DataFrame, table: str) -> None:
        self._duck.append(table, frame, by_name=True)
