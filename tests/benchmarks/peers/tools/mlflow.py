"""MLflow: a run with one log_batch, whose curve is a metric by step; its trades are a Parquet artifact."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

os.environ |= {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
os.environ |= {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}

import mlflow
import pandas as pd
import pyarrow.dataset
from mlflow.entities import Metric, Param, RunTag

if TYPE_CHECKING:
    from tests.benchmarks.work import Iteration


class Sqlite:
    """Its SQLite store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        mlflow.set_tracking_uri(self._uri())
        self._client = mlflow.MlflowClient()
        found = self._client.get_experiment_by_name("book")
        self._experiment = found.experiment_id if found else None

    def _uri(self) -> str:
        return f"sqlite:///{self._folder}/mlflow.db"

    def start(self, names: list[str]) -> None:
        self._experiment = self._client.create_experiment("book", (self._folder / "artifacts").as_uri())

    def record(self, one: Iteration) -> str:
        key = self._client.create_run(self._experiment).info.run_id
        metrics = [Metric(name, value, 0, 0) for name, value in one.metrics.items()]
        moments = one.equity.index.astype("datetime64[ms]").astype("int64").tolist()
        curve = zip(moments, one.equity.tolist(), strict=True)
        metrics += [Metric("equity", value, moment, step) for step, (moment, value) in enumerate(curve)]
        parameters = [Param(name, str(value)) for name, value in one.parameters.items()]
        tags = [RunTag("strategy", str(one.strategy)), RunTag("code", one.code)]
        self._client.log_batch(key, metrics, parameters, tags)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "trades.parquet")
            one.trades.to_parquet(path, compression="zstd", index=False)
            self._client.log_artifact(key, str(path))
        self._client.set_terminated(key)
        return key

    def iterations(self) -> pd.DataFrame:
        return mlflow.search_runs([self._experiment], max_results=50_000)

    def best(self) -> pd.DataFrame:
        return mlflow.search_runs([self._experiment], max_results=10, order_by=["metrics.sharpe_ratio DESC"])

    def trades(self, key: str) -> pd.DataFrame:
        return pd.read_parquet(mlflow.artifacts.download_artifacts(run_id=key, artifact_path="trades.parquet"))

    def by_stock(self) -> pd.Series[float]:
        # Past the API, which hands out one artifact at a time.
        files = [str(path) for path in self._folder.glob("artifacts/*/artifacts/trades.parquet")]
        table = pyarrow.dataset.dataset(files).to_table(columns=["stock_code", "profit_loss"])
        return table.to_pandas().groupby("stock_code")["profit_loss"].sum()

    def close(self) -> None:
        pass


class Files(Sqlite):
    """Its file store."""

    def _uri(self) -> str:
        return (self._folder / "mlruns").as_uri()
