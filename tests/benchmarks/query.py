"""Answers as DataFrames: each question beside what a researcher would write without finlab_nb."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

import duckdb

import finlab_nb as fl
from tests.benchmarks.book import Book, open_book, remove, working_copy
from tests.benchmarks.children import Child, new_kernel
from tests.benchmarks.table import Row, Target
from tests.benchmarks.timing import milliseconds, side_by_side, typical

_GROWTH: Final = 4

_AGGREGATE: Final = """
    SELECT stock_code, count(*) AS trades, sum(profit_loss) AS profit_loss, avg(exit_price / entry_price - 1) AS mean
    FROM {trades} GROUP BY stock_code ORDER BY stock_code"""
_ONE_RUN: Final = "SELECT * FROM {trades} WHERE iteration_id = '{run}'"
_ALL_TRADES: Final = "SELECT * FROM {trades}"
_RUNS_BY_HAND: Final = """
    SELECT i.*, m.* EXCLUDE (iteration_id) FROM s.iterations AS i JOIN s.metrics AS m USING (iteration_id)"""


def one_run(book: Book) -> list[Row]:
    """Trades of one run."""
    runs = itertools.cycle(book.sample)
    with fl.Lab(book.database) as lab, Child("attached", book.copy) as naive:
        ours, attached = side_by_side(
            lambda: milliseconds(lambda: lab.trades([next(runs)])),
            lambda: naive.ask(_ONE_RUN.format(trades="s.trades", run=next(runs))),
            repeats=7,
        )
        ours = typical(lambda: milliseconds(lambda: lab.trades([next(runs)])), repeats=60)
    return [Row("trades of one iteration", ours, "naive ATTACH", attached, Target(10))]


def aggregate(book: Book) -> list[Row]:
    """Aggregate over all trades."""
    bare = duckdb.connect()
    bare_query = _AGGREGATE.format(trades=f"'{book.parquet}'")
    our_query = _AGGREGATE.format(trades="trades")
    with fl.Lab(book.database) as lab, Child("attached", book.copy) as naive, Child("read_sql", book.copy) as sqlite:
        ours, parquet = side_by_side(
            lambda: milliseconds(lambda: lab.sql(our_query)),
            lambda: milliseconds(lambda: bare.execute(bare_query).df()),
            repeats=25,
            warm_up=3,
        )
        attached = typical(lambda: naive.ask(_AGGREGATE.format(trades="s.trades")), repeats=3)
        by_sqlite = typical(lambda: sqlite.ask(our_query), repeats=2, warm_up=0)
    name = "aggregate over all trades"
    return [
        Row(name, ours, "DuckDB on bare Parquet", parquet, Target(1.3, of_ratio=True)),
        Row(name, ours, "naive ATTACH", attached),
        Row(name, ours, "pandas.read_sql, SQLite aggregates", by_sqlite),
    ]


def all_trades(book: Book) -> list[Row]:
    """Every trade as one DataFrame."""
    bare = duckdb.connect()
    bare_query = _ALL_TRADES.format(trades=f"'{book.parquet}'")
    with fl.Lab(book.database) as lab, Child("read_sql", book.copy) as sqlite, Child("attached", book.copy) as naive:
        ours, by_pandas = side_by_side(
            lambda: typical(lambda: milliseconds(lab.trades), repeats=3, warm_up=0),
            lambda: sqlite.ask(_ALL_TRADES.format(trades="trades")),
            repeats=2,
        )
        attached = typical(lambda: naive.ask(_ALL_TRADES.format(trades="s.trades")), repeats=1, warm_up=0)
        by_df = typical(lambda: milliseconds(lambda: bare.execute(bare_query).df()), repeats=3)
        by_arrow = typical(lambda: milliseconds(lambda: bare.execute(bare_query).to_arrow_table()), repeats=3)
    name = "all trades"
    return [
        Row(name, ours, "pandas.read_sql", by_pandas, Target(1 / 15, of_ratio=True)),
        Row(name, ours, "naive ATTACH", attached),
        Row(name, ours, "DuckDB on bare Parquet, .df()", by_df),
        Row(name, ours, "DuckDB on bare Parquet, Arrow, no pandas", by_arrow),
    ]


def new_kernel_rows(book: Book) -> list[Row]:
    """The first frame of a process that has just imported finlab_nb, with a complete cache."""
    run = book.sample[len(book.sample) // 2]
    ours, attached = side_by_side(
        lambda: new_kernel("first_frame", book.database, "trades", run),
        lambda: new_kernel("first_attach", book.copy, _ONE_RUN.format(trades="s.trades", run=run)),
        repeats=5,
    )
    table, table_attached = side_by_side(
        lambda: new_kernel("first_frame", book.database, "iterations"),
        lambda: new_kernel("first_attach", book.copy, _RUNS_BY_HAND),
        repeats=5,
    )
    return [
        Row("first frame of a new kernel: trades of one iteration", ours, "naive ATTACH", attached, Target(600)),
        Row(
            "first frame of a new kernel: all iterations",
            table,
            "naive ATTACH, JSON unread",
            table_attached,
            Target(600),
        ),
    ]


def seen(book: Book) -> list[Row]:
    """The frame with 500 trades that another process has just committed."""
    database = working_copy(book)
    try:
        with fl.Lab(database) as lab, Child("writer", database, book.strategy_ids[0]) as other:
            lab.trades([book.sample[0]])

            def first_frame_after_commit() -> float:
                run = other.ask()
                frames: list[Any] = []
                elapsed = milliseconds(lambda: frames.append(lab.trades([run])))
                assert len(frames[0]) == 500
                return elapsed

            all_of_them = [first_frame_after_commit() for _ in range(61)][1:]
            nothing_new = typical(lambda: milliseconds(lab._engine.refresh), repeats=500, warm_up=20)
    finally:
        remove(database)
    return [
        Row("seen after another process commits 500 trades", median(all_of_them), target=Target(20)),
        Row("seen after another process commits: slowest of 60", max(all_of_them)),
        Row("finding out that nothing is new", nothing_new),
    ]


def runs_table(book: Book) -> list[Row]:
    """All runs with parameters and metrics."""
    with fl.Lab(book.database) as lab:
        ours = typical(lambda: milliseconds(lab.iterations), repeats=15, warm_up=2)
    return [Row(f"{book.runs:,} iterations with parameters and metrics", ours, target=Target(60))]


def first_cache(book: Book) -> list[Row]:
    """The first question ever, which copies the whole book to Parquet."""
    database = working_copy(book)
    try:

        def without_cache() -> float:
            remove_cache(database)
            with fl.Lab(database) as lab:
                return milliseconds(lambda: lab.sql("SELECT count(*) FROM trades"))

        return [Row("first question without a cache", typical(without_cache, repeats=2, warm_up=0))]
    finally:
        remove(database)


def remove_cache(database: Path) -> None:
    """Remove the cache of a database."""
    shutil.rmtree(f"{database}.cache", ignore_errors=True)


def growth(book: Book) -> list[Row]:
    """The cost of a question follows its answer: the same on a book four times as large."""
    large = open_book(book.folder.parent, _GROWTH * book.runs / 10_000, baselines=False)
    with fl.Lab(book.database) as lab, fl.Lab(large.database) as large_lab:
        small_runs, large_runs = itertools.cycle(book.sample), itertools.cycle(large.sample)
        ours, baseline = side_by_side(
            lambda: milliseconds(lambda: large_lab.trades([next(large_runs)])),
            lambda: milliseconds(lambda: lab.trades([next(small_runs)])),
            repeats=60,
            warm_up=3,
        )
    kernel, kernel_baseline = side_by_side(_first_frame(large), _first_frame(book), repeats=7)
    against = f"the book of {book.trades:,}"
    return [
        Row(f"trades of one iteration among {large.trades:,}", ours, against, baseline, Target(1.5, of_ratio=True)),
        Row(
            f"first frame of a new kernel, {large.trades:,} trades",
            kernel,
            against,
            kernel_baseline,
            Target(2, of_ratio=True),
        ),
    ]


def _first_frame(book: Book) -> Callable[[], float]:
    return lambda: new_kernel("first_frame", book.database, "trades", book.sample[len(book.sample) // 2])
