"""What the file takes for what is stored: curves and the search index."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import finlab_nb as fl

DAILY = pd.bdate_range("2014-01-02", periods=2520)
INTRADAY = pd.date_range("2024-01-02T09:00", periods=2520, freq="5min")
CURVES = 120


def taken(path: Path, *tables: str) -> int:
    """Return how many bytes tables take, with their indexes."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        query = """
            SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name IN (
                SELECT name FROM sqlite_schema WHERE tbl_name = ?)"""
        try:
            return sum(connection.execute(query, (table,)).fetchone()[0] for table in tables)
        except sqlite3.OperationalError:
            pytest.skip("SQLite was built without dbstat")


@pytest.mark.slow
@pytest.mark.parametrize(("index", "most"), [(DAILY, 45), (INTRADAY, 55)], ids=["daily", "intraday"])
def test_a_point_of_a_curve_takes_few_bytes(store: fl.StorageManager, index: pd.DatetimeIndex, most: int) -> None:
    strategy = store.save_strategy_version("momentum", "x")
    rng = np.random.default_rng(1)
    curves = (pd.Series(1e6 * np.cumprod(1 + rng.normal(0, 0.001, len(index))), index) for _ in range(CURVES))
    store.save_iterations({"strategy_id": strategy, "equity": curve} for curve in curves)
    assert taken(store.path, "equity", "curves") / (CURVES * len(index)) <= most


WORDS = ["close", "open", "high", "low", "rolling", "shift", "mean", "std", "rank", "signal", "weight", "entry", "exit"]


def code(rng: random.Random) -> str:
    return "\n".join(
        f"{rng.choice(WORDS)}_{rng.randrange(99)} = {rng.choice(WORDS)}.{rng.choice(WORDS)}({rng.randrange(250)})"
        for _ in range(60)
    )


@pytest.mark.parametrize("versions", ["of one strategy", "of many strategies", "of one line"])
def test_the_search_index_takes_at_most_twice_its_text(store: fl.StorageManager, versions: str) -> None:
    rng = random.Random(1)
    texts = {
        "of one strategy": lambda i: f"lookback = {i}\n{first}",
        "of many strategies": lambda i: code(rng),
        "of one line": lambda i: f"signal = close.rolling({i}).mean() > close.shift({i % 7})",
    }[versions]
    first = code(rng)
    total = 0
    with store.transaction():
        for i in range(1000):
            text = texts(i)
            store.save_strategy_version(f"momentum {i}", text)
            total += len(f"momentum {i}{text}".encode())
    tables = [f"strategies_search_{part}" for part in ("data", "idx", "config", "content", "docsize")]
    assert taken(store.path, *tables) <= 2 * total
    assert len(store.search_strategies("momentum 17", limit=1000)) >= 1
