"""The tools that are compared: what is installed, under which licence, and what each promises.

None of them is a dependency of finlab_nb: only the environments of this benchmark install them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
_PANDAS: Final = ("pandas==3.1.1", "numpy==2.4.6")
_PYARROW: Final = "pyarrow==26.0.1"
_DUCKDB: Final = "duckdb==2.0.1"


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool; all but the first five fields are cells of the second table.

    Parameters
    ----------
    tool
        Module and class in `tools`.
    title
        The head of its column.
    requirements
        What pip installs into its environment; tools with the same requirements share one.
    cache
        The folder that it builds in that of its book, and can lose.
    past_api
        The questions that it is asked past its API, because that takes an age.
    version, licence
        Of the tool itself.
    holds
        Where the trades and the curve of an iteration go.
    promise
        What holds when the call that records has returned.
    others
        What other processes can do meanwhile.
    cost
        What one pays for it.
    """

    tool: str
    title: str
    requirements: tuple[str, ...]
    cache: str | None = None
    past_api: tuple[str, ...] = ()
    version: str = ""
    licence: str = ""
    holds: str = ""
    promise: str = ""
    others: str = ""
    cost: str = ""


_MLFLOW: Final = ("mlflow==3.17.2",)
_OPTUNA: Final = ("optuna==5.0.0", *_PANDAS, _PYARROW)
_FILES: Final = "Parquet artifacts"

PEERS: Final[dict[str, Peer]] = {
    "finlab": Peer(
        "finlab:Tool",
        "finlab_nb",
        ("-e", str(ROOT)),
        cache="lab.db.cache",
        version="this checkout",
        licence="MIT",
        holds="tables",
        promise="all of the iteration on the disk, or nothing of it",
        others="read and record; an answer is one moment",
        cost="a cache beside the file, which the first question builds",
    ),
    "mlflow-sqlite": Peer(
        "mlflow:Sqlite",
        "MLflow, SQLite",
        _MLFLOW,
        past_api=("by_stock",),
        version="3.17.2",
        licence="Apache-2.0",
        holds="trades: Parquet artifacts; curve: a metric by step",
        promise="each of its calls committed to the disk, the trades not synced; an iteration can be half there",
        others="read and record; one that records shuts the others out for a moment",
        cost="no SQL; parameters are text; trades of many iterations only past its API †",
    ),
    "mlflow-files": Peer(
        "mlflow:Files",
        "MLflow, files",
        _MLFLOW,
        past_api=("by_stock",),
        version="3.17.2",
        licence="Apache-2.0",
        holds="trades: Parquet artifacts; curve: a metric by step",
        promise="nothing is synced; an iteration can be half there",
        others="read and record, each its own files",
        cost="as its SQLite store; every question reads many small files",
    ),
    "optuna-rdb": Peer(
        "optuna:Rdb",
        "Optuna, SQLite",
        _OPTUNA,
        past_api=("by_stock",),
        version="5.0.0",
        licence="MIT",
        holds=_FILES,
        promise="the trial committed to the disk, its artifacts not synced",
        others="read and record; one that records shuts the others out for a moment",
        cost="no SQL; ranges of parameters are declared; trades of many iterations only past its API †",
    ),
    "optuna-journal": Peer(
        "optuna:Journal",
        "Optuna, journal",
        _OPTUNA,
        past_api=("by_stock",),
        version="5.0.0",
        licence="MIT",
        holds=_FILES,
        promise="the trial appended and synced, its artifacts not synced",
        others="read and record, one at a time",
        cost="as its SQLite storage; a new process reads the whole journal",
    ),
    "trackio": Peer(
        "trackio:Tool",
        "Trackio",
        ("trackio==0.43.0", *_PANDAS, _PYARROW),
        past_api=("by_stock",),
        version="0.43.0",
        licence="MIT",
        holds="trades: a table in JSON; curve: a metric by step",
        promise="log(): nothing; finish(): committed, not past a power cut",
        others="read and record",
        cost="a queue and its thread for each run; trades of many iterations only past its API †",
    ),
    "to_sql": Peer(
        "to_sql:Tool",
        "SQLite, to_sql",
        _PANDAS,
        version="pandas 3.1.1",
        licence="BSD-3-Clause",
        holds="tables",
        promise="each table's rows on the disk; an iteration can be half there",
        others="read and record",
        cost="a sum reads every row of the trades; nothing is checked",
    ),
    "parquet": Peer(
        "parquet:Tool",
        "Parquet files",
        (*_PANDAS, _PYARROW, _DUCKDB),
        version="pyarrow 26.0.1",
        licence="Apache-2.0",
        holds="three files",
        promise="nothing is synced; a file can be half there",
        others="read and record; a reader can meet half a file",
        cost="every question opens a file for each iteration; nothing is checked",
    ),
    "duckdb": Peer(
        "duckdb_file:Tool",
        "DuckDB file",
        (*_PANDAS, _DUCKDB),
        version="2.0.1",
        licence="MIT",
        holds="tables",
        promise="all of the iteration on the disk, or nothing of it",
        others="nothing: one process has the file",
        cost="one process; nothing is checked",
    ),
}
