"""Home-made: `DataFrame.to_sql` and `read_sql` on sqlite3, one wide table of iterations, with the indexes it needs."""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from tests.benchmarks.work import Iteration

_SCHEMA = """
    CREATE TABLE strategies (name TEXT);
    CREATE TABLE iterations (iteration_id TEXT PRIMARY KEY, strategy INTEGER, lookback INTEGER, holding_days INTEGER,
        threshold REAL, stop_loss REAL, universe TEXT, annualized_return REAL, sharpe_ratio REAL, max_drawdown REAL,
        win_rate REAL, total_trades INTEGER, code TEXT);
    CREATE INDEX best ON iterations (sharpe_ratio);
    CREATE TABLE trades (iteration_id TEXT, stock_code TEXT, entry_date TIMESTAMP, exit_date TIMESTAMP,
        entry_price REAL, exit_price REAL, position_size REAL, profit_loss REAL);
    CREATE INDEX trades_of ON trades (iteration_id);
    CREATE TABLE equity (iteration_id TEXT, date TIMESTAMP, equity REAL);
    CREATE INDEX equity_of ON equity (iteration_id);"""
_COLUMNS = """iteration_id, strategy, lookback, holding_days, threshold, stop_loss, universe, annualized_return,
    sharpe_ratio, max_drawdown, win_rate, total_trades"""


class Tool:
    """One SQLite file."""

    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / "home.db", timeout=60)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")

    def start(self, names: list[str]) -> None:
        self._connection.executescript(_SCHEMA)
        self._append(pd.DataFrame({"name": names}), "strategies")

    def record(self, one: Iteration) -> str:
        key = str(uuid.uuid4())
        row = {"iteration_id": key, "strategy": one.strategy, "code": one.code} | one.parameters | one.metrics
        self._append(one.trades.assign(iteration_id=key), "trades")
        equity = one.equity.rename("equity").rename_axis("date").reset_index()
        self._append(equity.assign(iteration_id=key), "equity")
        self._append(pd.DataFrame([row]), "iterations")
        return key

    def iterations(self) -> pd.DataFrame:
        return self._read(f"SELECT {_COLUMNS} FROM iterations")

    def best(self) -> pd.DataFrame:
        return self._read(f"SELECT {_COLUMNS} FROM iterations ORDER BY sharpe_ratio DESC LIMIT 10")

    def trades(self, key: str) -> pd.DataFrame:
        dates = ["entry_date", "exit_date"]
        return self._read("SELECT * FROM trades WHERE iteration_id = ?", params=[key], parse_dates=dates)

    def by_stock(self) -> pd.Series[float]:
        sums = self._read("SELECT stock_code, sum(profit_loss) AS profit_loss FROM trades GROUP BY stock_code")
        return sums.set_index("stock_code")["profit_loss"]

    def strategies(self) -> pd.DataFrame:
        return self._read("SELECT * FROM strategies")

    def close(self) -> None:
        self._connection.close()

    def _append(self, frame: pd.DataFrame, table: str) -> None:
        frame.to_sql(table, self._connection, if_exists="append", index=False)

    def _read(self, query: str, **options: Any) -> pd.DataFrame:
        return pd.read_sql(query, self._connection, **options)
