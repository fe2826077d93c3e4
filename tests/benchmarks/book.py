"""The reference book: 10,000 runs of 500 trades, built once in a folder, with the copies that the baselines read."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from tqdm import tqdm

import finlab_nb as fl
from tests.benchmarks import work
from tests.benchmarks.children import Child

RUNS: Final = 10_000
_EQUITY_EVERY: Final = 50  # so that 200 of 10,000 runs have a curve
_BATCH: Final = 250  # runs of one transaction

# What a careful analyst would write by hand: the types of the frames, in DuckDB's own default format.
_BARE_PARQUET: Final = """
    COPY (SELECT trade_id, iteration_id, stock_code, entry_date::TIMESTAMP AS entry_date,
                 exit_date::TIMESTAMP AS exit_date, entry_price, exit_price, position_size, profit_loss
          FROM s.trades ORDER BY trade_id) TO '{path}' (FORMAT parquet)"""


@dataclass(frozen=True, slots=True)
class Book:
    """Where the book and its copies stand, and what building it took.

    `database` is the book with a complete cache beside it; the measuring process opens it. `copy` is the same file
    again, for naive readers in processes of their own, and `parquet` holds its trades.
    """

    folder: Path
    runs: int
    strategy_ids: tuple[str, ...]
    sample: tuple[str, ...]
    trades_per_second: float
    seconds_of_first_cache: float

    @property
    def database(self) -> Path:
        """The book."""
        return self.folder / "book.db"

    @property
    def copy(self) -> Path:
        """The copy for naive readers, made when it is asked for first."""
        path = self.folder / "copy.db"
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            copy_file(self.database, unfinished)
            unfinished.rename(path)
        return path

    @property
    def parquet(self) -> Path:
        """The trades as bare Parquet, made when they are asked for first."""
        path = self.folder / "trades.parquet"
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            with Child("export", self.copy) as child:
                child.ask(_BARE_PARQUET.format(path=unfinished))
            unfinished.rename(path)
        return path

    @property
    def trades(self) -> int:
        """How many trades there are."""
        return self.runs * work.TRADES


class Runs:
    """Runs of one strategy with random trades, in the form that an engine would hand over: trades as a DataFrame."""

    def __init__(self, strategy_id: str, seed: int) -> None:
        self._strategy_id = strategy_id
        self._random = np.random.default_rng(seed)

    def next_run(self, *, equity: bool = False) -> dict[str, Any]:
        """Return the arguments of `save_iteration`."""
        trades = work.trades(self._random)
        return {
            "strategy_id": self._strategy_id,
            "parameters": work.parameters(self._random),
            "metrics": work.metrics(self._random, trades),
            "trades": trades,
            "equity": work.equity(self._random, work.DAYS) if equity else None,
        }


def open_book(keep: Path, scale: float) -> Book:
    """Return the book of a scale, built first if the folder does not hold it.

    Parameters
    ----------
    keep
        The folder of all books.
    scale
        Multiplies the number of runs.
    """
    runs = max(work.STRATEGIES, round(RUNS * scale))
    folder = keep / f"book_{runs}"
    facts = folder / "book.json"
    if not facts.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        facts.write_text(json.dumps(_build(folder / "book.db", runs)), encoding="utf-8")
    known = json.loads(facts.read_text(encoding="utf-8"))
    return Book(folder, runs, **{name: tuple(one) if isinstance(one, list) else one for name, one in known.items()})


def copy_file(source: Path, target: Path) -> None:
    """Copy a database that is closed, by a process that never opens one."""
    target.unlink(missing_ok=True)
    subprocess.run(["cp", "-r", source, target], check=True)


def working_copy(book: Book) -> Path:
    """Return a copy of the book, cache included, that a measurement may write to."""
    target = book.folder / "written.db"
    remove(target)
    copy_file(book.database, target)
    subprocess.run(["cp", "-r", f"{book.database}.cache", f"{target}.cache"], check=True)
    return target


def remove(database: Path) -> None:
    """Remove a database with its log and cache."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    shutil.rmtree(f"{database}.cache", ignore_errors=True)


def _build(database: Path, runs: int) -> dict[str, Any]:
    """Write the book and its cache, and return the facts about both."""
    with fl.Lab(database) as lab:
        strategies = [
            lab.store.save_strategy_version(f"strategy {number % 4}", work.code(number), {"lookback": 60})
            for number in range(work.STRATEGIES)
        ]
        made = _all_runs(strategies, runs)
        ids: list[str] = []
        seconds = 0.0
        with tqdm(total=runs, desc=f"building a book of {runs * work.TRADES:,} trades", unit="run") as progress:
            while batch := list(islice(made, _BATCH)):
                started = time.perf_counter()
                ids += lab.store.save_iterations(batch)
                seconds += time.perf_counter() - started
                progress.update(len(batch))
        started = time.perf_counter()
        lab.sql("SELECT count(*) FROM trades")
        first_cache = time.perf_counter() - started
        lab._engine.settle()
        return {
            "strategy_ids": strategies,
            "sample": ids[:: max(1, runs // 500)],
            "trades_per_second": runs * work.TRADES / seconds,
            "seconds_of_first_cache": first_cache,
        }


def _all_runs(strategies: list[str], runs: int) -> Iterator[dict[str, Any]]:
    made = [Runs(strategy, seed) for seed, strategy in enumerate(strategies)]
    for number in range(runs):
        yield made[number % len(made)].next_run(equity=number % _EQUITY_EVERY == 0)


def facts_of(book: Book) -> dict[str, Any]:
    """Return what JSON says of the book."""
    size = book.database.stat().st_size
    kept = {name: one for name, one in asdict(book).items() if name not in ("folder", "sample", "strategy_ids")}
    return {**kept, "trades": book.trades, "database_bytes": size}
