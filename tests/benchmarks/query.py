"""Answers as DataFrames: each question beside what a researcher would write without finlab_nb."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import duckdb

import finlab_nb as fl
from tests.benchmarks.book import RUNS, Book, open_book, remove, working_copy
from tests.benchmarks.children import Child, milliseconds_of, new_kernel, peak_memory
from tests.benchmarks.table import Row, Target
from tests.benchmarks.timing import milliseconds, side_by_side, typical

_GROWTH: Final = 4

_AGGREGATE: Final = """
    SELECT stock_code, count(*) AS trades, sum(profit_loss) AS profit_loss, avg(exit_price / entry_price - 1) AS mean
    FROM {trades} GROUP BY stock_code ORDER BY stock_code"""
_ONE_RUN: Final = "SELECT * FROM {trades} WHERE iteration_id = '{run}'"
_COUNT: Final = "SELECT count(*) FROM trades"
_FEW: Final = 2_000
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
    whole, imports = side_by_side(
        lambda: milliseconds_of(
            f"import finlab_nb as fl; lab = fl.Lab({str(book.database)!r}); lab.best(10); lab.close()"
        ),
        lambda: milliseconds_of("import pandas, pyarrow, duckdb"),
        repeats=5,
    )
    return [
        Row("ten best of a new kernel, imports included", whole, "imports alone", imports, Target(2, of_ratio=True)),
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
            nothing_new = typical(lambda: milliseconds(lab._engine.keep_up), repeats=500, warm_up=20)
    finally:
        remove(database)
    return [
        Row("seen after another process commits 500 trades", median(all_of_them), target=Target(15)),
        Row("seen after another process commits: slowest of 60", max(all_of_them)),
        Row("finding out that nothing is new", nothing_new),
    ]


def runs_table(book: Book) -> list[Row]:
    """All runs with parameters and metrics."""
    with fl.Lab(book.database) as lab:
        ours = typical(lambda: milliseconds(lab.iterations), repeats=15, warm_up=2)
    return [Row(f"{book.runs:,} iterations with parameters and metrics", ours, target=Target(40))]


def small(book: Book) -> list[Row]:
    """Small answers: what they cost in a small book, and how little that grows with the book."""
    few = open_book(book.folder.parent, _FEW / RUNS)
    thousand = open_book(book.folder.parent, 1_000 / RUNS)
    with fl.Lab(few.database) as lab:
        runs = itertools.cycle(few.sample)
        questions: list[tuple[str, float, Callable[[], Any]]] = [
            ("the frame", 8, lab.iterations),
            ("ten best", 5, lambda: lab.best(10)),
            ("trades of one", 4, lambda: lab.trades([next(runs)])),
            ("a small view by sql", 3, lambda: lab.sql("SELECT * FROM strategies")),
        ]
        rows = [
            Row(f"{few.runs:,} iterations: {name}", _typical(question), target=Target(most))
            for name, most, question in questions
        ]
    with fl.Lab(book.database) as lab, fl.Lab(thousand.database) as small_lab:
        for name, question in (("best(10)", fl.Lab.best), ("iterations(limit=10)", _ten)):
            ours, baseline = side_by_side(
                partial(_typical, partial(question, lab)), partial(_typical, partial(question, small_lab)), repeats=5
            )
            against = f"among {thousand.runs:,}"
            rows.append(Row(f"{name} among {book.runs:,}", ours, against, baseline, Target(2, of_ratio=True)))
    return rows


def _ten(lab: fl.Lab) -> Any:
    return lab.iterations(limit=10)


def _typical(question: Callable[[], Any]) -> float:
    return typical(lambda: milliseconds(question), repeats=30, warm_up=3)


def first_cache(book: Book) -> list[Row]:
    """The first question ever: a small answer, which waits for no copy, and one that waits for the trades."""
    database = working_copy(book)
    run = book.sample[len(book.sample) // 2]
    try:

        def without_cache(question: Callable[[fl.Lab], Any]) -> float:
            remove_cache(database)
            with fl.Lab(database) as lab:
                return milliseconds(lambda: question(lab))

        first = "first question without a cache"
        return [
            Row(f"{first}: trades of one", _first(without_cache, lambda lab: lab.trades([run])), target=Target(300)),
            Row(f"{first}: ten best", _first(without_cache, lambda lab: lab.best(10)), target=Target(300)),
            Row(f"{first}: all trades counted", _first(without_cache, lambda lab: lab.sql(_COUNT))),
        ]
    finally:
        remove(database)


def _first(without_cache: Callable[[Callable[[fl.Lab], Any]], float], question: Callable[[fl.Lab], Any]) -> float:
    return typical(lambda: without_cache(question), repeats=3, warm_up=0)


def size(book: Book) -> list[Row]:
    """The cache beside the database, and the memory of a kernel that sums up all trades."""
    cache = sum(path.stat().st_size for path in Path(f"{book.database}.cache").rglob("*") if path.is_file())
    database = book.database.stat().st_size
    query = _AGGREGATE.format(trades="trades")
    return [
        Row("size of the cache", cache / 1e6, "the database", database / 1e6, Target(0.25, of_ratio=True), unit="MB"),
        Row("memory of a kernel that sums up all trades", peak_memory(book.database, query), unit="MB"),
    ]


def remove_cache(database: Path) -> None:
    """Remove the cache of a database."""
    shutil.rmtree(f"{database}.cache", ignore_errors=True)


def growth(book: Book) -> list[Row]:
    """The cost of a question follows its answer: the same on a book four times as large."""
    large = open_book(book.folder.parent, _GROWTH * book.runs / 10_000)
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
