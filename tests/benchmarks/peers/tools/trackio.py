"""Trackio on this machine: a run that is ended by finish(), whose curve is a metric by step; its trades are a table."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ |= {"HF_HUB_OFFLINE": "1"}

import pandas as pd

if TYPE_CHECKING:
    from tests.benchmarks.work import Iteration

_LAST = 1_000  # the step that holds the metrics, after those of the curve
_ITERATIONS = f"""
    SELECT c.run_name, json_remove(c.config, '$.code') AS config, json_remove(m.metrics, '$.trades') AS metrics
    FROM configs AS c JOIN metrics AS m USING (run_id) WHERE m.step = {_LAST}"""
_BY_STOCK = f"""
    SELECT t.value ->> 'stock_code' AS stock_code, sum(t.value ->> 'profit_loss') AS profit_loss
    FROM metrics, json_each(metrics, '$.trades._value') AS t WHERE step = {_LAST} GROUP BY 1"""


class Tool:
    """A project for the iterations, and one for the strategies."""

    def __init__(self, folder: Path) -> None:
        os.environ["TRACKIO_DIR"] = str(folder)  # read when the package is imported
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        self._trackio, self._store = trackio, SQLiteStorage

    def start(self, names: list[str]) -> None:
        for name in names:
            self._run("strategies", name, {}).log({"saved": 1}, step=0)
            self._trackio.finish()

    def record(self, one: Iteration) -> str:
        key = str(uuid.uuid4())
        run = self._run("book", key, one.parameters | {"strategy": one.strategy, "code": one.code})
        for step, value in enumerate(one.equity.tolist()):
            run.log({"equity": value}, step=step)
        dates = {name: one.trades[name].astype(str) for name in ("entry_date", "exit_date")}
        run.log(one.metrics | {"trades": self._trackio.Table(dataframe=one.trades.assign(**dates))}, step=_LAST)
        self._trackio.finish()
        return key

    def iterations(self) -> pd.DataFrame:
        return self._frame(_ITERATIONS)

    def best(self) -> pd.DataFrame:
        return self._frame(f"{_ITERATIONS} ORDER BY json_extract(m.metrics, '$.sharpe_ratio') DESC LIMIT 10")

    def trades(self, key: str) -> pd.DataFrame:
        values = self._store.get_metric_values("book", key, "trades", step=_LAST)
        frame = pd.DataFrame(values[0]["value"]["_value"])
        return frame.assign(**{name: pd.to_datetime(frame[name]) for name in ("entry_date", "exit_date")})

    def by_stock(self) -> pd.Series[float]:
        # Past the API, whose own SQL refuses json_each and whose functions hand out one run at a time.
        with contextlib.closing(sqlite3.connect(self._store.get_project_db_path("book"))) as connection:
            return pd.read_sql(_BY_STOCK, connection).set_index("stock_code")["profit_loss"]

    def strategies(self) -> pd.DataFrame:
        answer = self._store.query_project("strategies", "SELECT run_name AS name FROM configs")
        return pd.DataFrame(answer["rows"])

    def close(self) -> None:
        pass

    def _run(self, project: str, name: str, config: dict[str, Any]) -> Any:
        return self._trackio.init(
            project=project, name=name, config=config, embed=False, auto_log_cpu=False, auto_log_gpu=False
        )

    def _frame(self, query: str) -> pd.DataFrame:
        rows = self._store.query_project("book", query)["rows"]  # what the command `trackio query` calls
        return pd.DataFrame(
            [{"run_name": row["run_name"]} | json.loads(row["config"]) | json.loads(row["metrics"]) for row in rows]
        )
