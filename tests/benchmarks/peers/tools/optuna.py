"""Optuna: a trial added whole, with metrics and code as its attributes; trades and curve are Parquet artifacts."""

from __future__ import annotations

import io
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pandas as pd
import pyarrow.dataset
from optuna.artifacts import FileSystemArtifactStore
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

if TYPE_CHECKING:
    from tests.benchmarks.work import Iteration

_SPACE = {
    "lookback": IntDistribution(5, 250),
    "holding_days": IntDistribution(1, 60),
    "threshold": FloatDistribution(0, 1),
    "stop_loss": FloatDistribution(0.02, 0.2),
    "universe": CategoricalDistribution(["large", "mid", "small"]),
}
optuna.logging.set_verbosity(optuna.logging.ERROR)


class Rdb:
    """Its relational storage, on SQLite."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "artifacts").mkdir(exist_ok=True)
        self._artifacts = FileSystemArtifactStore(base_path=folder / "artifacts")
        self._storage = self._open()
        known = optuna.get_all_study_names(self._storage)
        self._study = optuna.load_study(study_name="book", storage=self._storage) if known else None

    def _open(self) -> BaseStorage:
        return RDBStorage(f"sqlite:///{self._folder}/optuna.db")

    def start(self, names: list[str]) -> None:
        self._study = optuna.create_study(study_name="book", storage=self._storage, direction="maximize")

    def record(self, one: Iteration) -> str:
        key = str(uuid.uuid4())
        for name, frame in (("trades", one.trades), ("equity", one.equity.rename("equity").to_frame())):
            self._artifacts.write(f"{key}.{name}.parquet", io.BytesIO(frame.to_parquet(compression="zstd")))
        self._study.add_trial(
            optuna.trial.create_trial(
                params=one.parameters,
                distributions=_SPACE,
                value=one.metrics["sharpe_ratio"],
                user_attrs={"key": key, "strategy": one.strategy, "code": one.code} | one.metrics,
            )
        )
        return key

    def iterations(self) -> pd.DataFrame:
        return self._study.trials_dataframe(attrs=("number", "params", "user_attrs"))

    def best(self) -> pd.DataFrame:
        trials = self._study.get_trials(deepcopy=False)
        best = sorted(trials, key=lambda trial: trial.value, reverse=True)[:10]
        return pd.DataFrame([trial.params | trial.user_attrs for trial in best])

    def trades(self, key: str) -> pd.DataFrame:
        with self._artifacts.open_reader(f"{key}.trades.parquet") as file:
            return pd.read_parquet(io.BytesIO(file.read()))

    def by_stock(self) -> pd.Series[float]:
        # Past the API, which hands out one artifact at a time.
        files = [str(path) for path in self._folder.glob("artifacts/*.trades.parquet")]
        table = pyarrow.dataset.dataset(files).to_table(columns=["stock_code", "profit_loss"])
        return table.to_pandas().groupby("stock_code")["profit_loss"].sum()

    def close(self) -> None:
        pass


class Journal(Rdb):
    """Its journal, on one file."""

    def _open(self) -> BaseStorage:
        return JournalStorage(JournalFileBackend(str(self._folder / "journal.log")))
