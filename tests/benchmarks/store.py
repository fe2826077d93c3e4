"""Saving and loading: beside bare sqlite3 that writes and reads the same rows."""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import json
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import pandas as pd

import finlab_nb as fl
from finlab_nb.demo.prices import load_prices, wide_prices
from finlab_nb.records import TRADE_FIELDS, new_id, trades_record
from tests.benchmarks import work
from tests.benchmarks.book import Book, Runs, remove, working_copy
from tests.benchmarks.children import Child
from tests.benchmarks.table import Row, Target
from tests.benchmarks.timing import milliseconds, side_by_side, typical

_BACKUP_BYTES: Final = 500e6  # the size that the three seconds are meant for
_BACKUP_MS: Final = 3_000.0
_BULK_RUNS: Final = 200
_WRITERS: Final = 16
_LOOP_SECONDS: Final = 10.0

# The same columns, key and index as the store's table, without its checks, foreign key and triggers.
_BARE_SCHEMA: Final = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE trades (trade_id INTEGER PRIMARY KEY AUTOINCREMENT, iteration_id TEXT NOT NULL,
        stock_code TEXT NOT NULL, entry_date TEXT, exit_date TEXT, entry_price REAL, exit_price REAL,
        position_size REAL, profit_loss REAL);
    CREATE INDEX trades_by_iteration ON trades (iteration_id);"""
_BARE_INSERT: Final = """
    INSERT INTO trades (iteration_id, stock_code, entry_date, exit_date, entry_price, exit_price, position_size,
                        profit_loss) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""

_GIVEN: Final = TRADE_FIELDS[:7]  # the columns that the book's trades have

_EQUITY: Final = "equity JOIN curves USING (curve_id)"
_INSERT_RUN: Final = """
    INSERT INTO iterations (iteration_id, strategy_id, iteration_number, code)
    SELECT ?1, ?2, coalesce(max(iteration_number), 0) + 1, '' FROM iterations WHERE strategy_id = ?2"""


def save_one(book: Book) -> list[Row]:
    """One run with 500 trades, durable when the call returns.

    The baseline inserts the same rows by executemany into a file of the store's own schema, as a careful script would:
    a run and its trades, with foreign keys on. For information: into a table with nothing but the index.
    """
    with _fresh_store(book) as (store, strategy, bare), _same_schema(book) as (own, own_strategy):
        runs = Runs(strategy, seed=1)
        rows: list[Row] = []
        for form in ("DataFrame", "dicts"):

            def ours(form: str = form) -> float:
                run = runs.next_run()
                if form == "dicts":
                    run["trades"] = run["trades"].to_dict("records")
                return milliseconds(lambda: store.save_iteration(**run))

            def by_hand() -> float:
                run_rows = _rows(runs.next_run()["trades"])
                return milliseconds(lambda: _insert_run(own, own_strategy, run_rows))

            name = f"save an iteration of {work.TRADES} trades, durable ({form})"
            saved, inserted = side_by_side(ours, by_hand, repeats=80, warm_up=5)
            rows.append(Row(name, saved, "executemany, same schema", inserted, Target(1.2, of_ratio=True)))
            saved, inserted = side_by_side(ours, lambda: _bare_save(bare, runs), repeats=80, warm_up=5)
            rows.append(Row("", saved, "executemany, a table without checks and keys", inserted))
    return [*rows, _flush(book)]


def save_curve(book: Book) -> list[Row]:
    """A daily curve of ten years, durable when the call returns; and what it takes in the file."""
    index = pd.bdate_range("2014-01-02", periods=2520)
    curves = (
        pd.Series(1e6 * np.cumprod(1 + rng.normal(0.0003, 0.01, len(index))), index)
        for rng in map(np.random.default_rng, itertools.count())
    )
    with _fresh_store(book) as (store, strategy, _), _same_schema(book) as (own, own_strategy):

        def ours() -> float:
            curve = next(curves)
            return milliseconds(lambda: store.save_iteration(strategy, equity=curve))

        def by_hand() -> float:
            points = [(str(date), value) for date, value in zip(index.date, next(curves).tolist(), strict=True)]
            return milliseconds(lambda: _insert_curve(own, own_strategy, points))

        saved, inserted = side_by_side(ours, by_hand, repeats=80, warm_up=5)
        empty = typical(lambda: milliseconds(lambda: store.save_iteration(strategy)), repeats=80)
        before = _bytes(store.path)
        count = 100
        store.save_iterations({"strategy_id": strategy, "equity": next(curves)} for _ in range(count))
        size = (_bytes(store.path) - before) / count / 1000
    name = f"save a daily curve of {len(index):,} points, durable"
    return [
        Row(name, saved, "executemany, same schema", inserted, Target(1.2, of_ratio=True)),
        Row("  more than an iteration without one", saved - empty, target=Target(12)),
        Row("  space for it", size, target=Target(120), unit="kB"),
    ]


def _insert_curve(connection: sqlite3.Connection, strategy: str, points: list[tuple[str, float]]) -> None:
    owner = new_id()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_INSERT_RUN, (owner, strategy))
    curve = connection.execute("INSERT INTO curves (iteration_id) VALUES (?)", (owner,)).lastrowid
    connection.executemany(
        "INSERT INTO equity (curve_id, date, equity) VALUES (?, ?, ?)", [(curve, *point) for point in points]
    )
    connection.execute("COMMIT")


def _bytes(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(
            connection.execute(
                "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, "
                "pragma_page_size"
            ).fetchone()[0]
        )


def _flush(book: Book) -> Row:
    """What one fsync takes on this disk: it is in all of these figures, and where it is dear they come close."""
    with tempfile.TemporaryFile(dir=book.folder) as file:

        def flushed() -> float:
            file.write(bytes(4096))
            file.flush()
            return milliseconds(lambda: os.fsync(file.fileno()))

        return Row("  of which one fsync of this disk", typical(flushed, repeats=50))


def save_many(book: Book) -> list[Row]:
    """Many runs in one transaction."""
    rows = []
    with _fresh_store(book) as (store, strategy, bare):
        runs = Runs(strategy, seed=3)
        batch = [runs.next_run() for _ in range(_BULK_RUNS)]
        bare_rows = [row for run in batch for row in _rows(run["trades"])]
        count = len(bare_rows)
        ours, baseline = side_by_side(
            lambda: milliseconds(lambda: store.save_iterations(batch)),
            lambda: milliseconds(lambda: _insert(bare, bare_rows)),
            repeats=5,
        )
        rows.append(
            Row(
                f"trades saved in bulk, {_BULK_RUNS} iterations a transaction",
                count / ours * 1000,
                "bare executemany",
                count / baseline * 1000,
                Target(100_000, at_least=True),
                "/s",
            )
        )
    rows.append(Row("trades saved while building the book", book.trades_per_second, unit="/s"))
    return rows


def record_grid(book: Book) -> list[Row]:
    """Grids of vectorbt, 231 results each, recorded in one transaction; the baseline inserts their rows, already made.

    Of four stocks that share an account, and of one, where curves have eight times as many rows as trades.
    """
    try:
        from vectorbt import MA, Portfolio
    except ImportError:
        raise SystemExit('record-grid needs vectorbt: pip install -e ".[engines]"') from None
    closes = wide_prices(load_prices(), "close").loc["2004-09":]
    shared: dict[str, Any] = {"group_by": ["fast_window", "slow_window"], "cash_sharing": True}
    rows = []
    for name, prices, options in (("four stocks", closes, shared), ("one stock", closes["AAPL"], {})):
        fast, slow = MA.run_combs(prices, window=list(range(2, 24)), r=2, short_names=["fast", "slow"])
        signals = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
        grid = Portfolio.from_signals(prices, *signals, size=10, fees=0.001, init_cash=1e5, freq="1D", **options)
        rows.append(_recorded(book, name, grid))
    return rows


def _recorded(book: Book, name: str, grid: Any) -> Row:
    with tempfile.TemporaryDirectory(dir=book.folder) as folder, fl.Lab(Path(folder, "lab.db")) as lab:
        ticker = None if grid.wrapper.grouper.is_grouped() else "AAPL"

        def ours() -> float:
            with contextlib.redirect_stdout(io.StringIO()):
                return milliseconds(lambda: lab.record(grid, "grid", code="", ticker=ticker, again=True))

        ours()
        runs = [lab.store.load_iteration(one) for one in lab.iterations()["iteration_id"]]
        gc.freeze()  # the baseline's rows, a million dicts, which only this process has to look through
        with _same_schema(book) as (own, strategy):
            taken, inserted = side_by_side(ours, lambda: milliseconds(lambda: _insert_grid(own, strategy, runs)), 5)
    trades, points = (sum(len(run[table]) for run in runs) for table in ("trades", "equity"))
    name = f"trades recorded of a grid, {len(runs)} results of {name}: {trades:,} and {points:,} points"
    against = "their rows by executemany, same schema"
    return Row(name, trades / taken * 1000, against, trades / inserted * 1000, Target(20_000, at_least=True), "/s")


def _insert_grid(connection: sqlite3.Connection, strategy: str, runs: list[dict[str, Any]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for run in runs:
        owner = new_id()
        connection.execute(_INSERT_RUN, (owner, strategy))
        curve = connection.execute("INSERT INTO curves (iteration_id) VALUES (?)", (owner,)).lastrowid
        connection.executemany(_BARE_INSERT, [(owner, *map(trade.get, _GIVEN)) for trade in run["trades"]])
        points = [(curve, point["date"], point["equity"]) for point in run["equity"]]
        connection.executemany("INSERT INTO equity (curve_id, date, equity) VALUES (?, ?, ?)", points)
    connection.execute("COMMIT")


def load_one(book: Book) -> list[Row]:
    """One run with everything that belongs to it, as dicts."""
    runs = itertools.cycle(book.sample)
    with fl.StorageManager(book.database) as store, closing(sqlite3.connect(book.copy)) as bare:
        ours, baseline = side_by_side(
            lambda: milliseconds(lambda: store.load_iteration(next(runs))),
            lambda: milliseconds(lambda: _load_bare(bare, next(runs))),
            repeats=120,
            warm_up=5,
        )
    return [
        Row(f"load an iteration of {work.TRADES} trades", ours, "sqlite3 and json", baseline, Target(3, of_ratio=True))
    ]


def closed_loop(book: Book) -> list[Row]:
    """Processes that save without a pause, beside one that is alone: a fair queue makes each wait for all others."""
    with _fresh_store(book) as (store, strategy, _), ExitStack() as stack, ThreadPoolExecutor(_WRITERS) as threads:
        writers = [stack.enter_context(Child("closed_loop", store.path, strategy)) for _ in range(_WRITERS)]

        def saved_by(savers: list[Child], seconds: float) -> tuple[list[float], int]:
            answers = list(threads.map(lambda saver: saver.ask(seconds), savers))
            return [one for taken, _ in answers for one in taken], sum(refused for _, refused in answers)

        saved_by(writers, 0.1)  # all have started
        (before, _), (taken, refused), (after, _) = (
            saved_by(savers, seconds)
            for savers, seconds in (
                (writers[:1], _LOOP_SECONDS / 4),
                (writers, _LOOP_SECONDS),
                (writers[:1], _LOOP_SECONDS / 4),
            )
        )
    alone, slow = median(before + after), sorted(taken)[int(0.99 * len(taken))]
    name = f"{_WRITERS} processes save in a closed loop"
    return [
        Row(f"{name}: p99", slow, f"{_WRITERS} x the median of one alone", _WRITERS * alone, Target(3, of_ratio=True)),
        Row("  refused", refused, target=Target(0), unit=""),
        Row("  slowest", max(taken), f"{_WRITERS} x the median of one alone", _WRITERS * alone),
        Row("  iterations", len(taken) / _LOOP_SECONDS, "one alone", 1000 / alone, unit="/s"),
    ]


def start(book: Book) -> list[Row]:
    """Opening the store of an existing file."""

    def opened() -> float:
        stores: list[fl.StorageManager] = []
        elapsed = milliseconds(lambda: stores.append(fl.StorageManager(book.database)))
        stores[0].close()
        return elapsed

    return [Row("pool start", typical(opened, repeats=30), target=Target(20))]


def backup(book: Book) -> list[Row]:
    """A verified backup, while another thread of the process saves runs."""
    database = working_copy(book)
    try:
        with tempfile.TemporaryDirectory(dir=book.folder) as folder, fl.StorageManager(database) as store:
            saver = _Saver(store, Runs(book.strategy_ids[0], seed=4))
            with saver:
                time.sleep(2)
                before = saver.take()
                elapsed = milliseconds(fl.BackupScheduler(database, folder).backup_now)
                during = saver.take()
        size = database.stat().st_size
    finally:
        remove(database)
    allowed = _BACKUP_MS * size / _BACKUP_BYTES
    return [
        Row(f"backup of {size / 1e6:,.0f} MB under load (3 s for 500 MB)", elapsed, target=Target(allowed)),
        Row(f"slowest of {len(during)} saves meanwhile", max(during), "the same before it", max(before), Target(100)),
        Row("typical save meanwhile", median(during), "the same before it", median(before)),
    ]


class _Saver:
    """A thread that saves a run every 20 ms and notes how long each save takes."""

    def __init__(self, store: fl.StorageManager, runs: Runs) -> None:
        self._store, self._runs = store, runs
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._save)
        self._taken: list[float] = []

    def __enter__(self) -> _Saver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def take(self) -> list[float]:
        """Return the milliseconds of the saves since the last time."""
        taken, self._taken = self._taken, []
        return taken

    def _save(self) -> None:
        while not self._stopped.wait(0.02):
            save = partial(self._store.save_iteration, **self._runs.next_run())
            self._taken.append(milliseconds(save))


@contextmanager
def _fresh_store(book: Book) -> Iterator[tuple[fl.StorageManager, str, sqlite3.Connection]]:
    """Lend an empty store and a bare database on the same disk."""
    with tempfile.TemporaryDirectory(dir=book.folder) as folder, fl.StorageManager(Path(folder, "store.db")) as store:
        strategy = store.save_strategy_version("momentum", "signal = ...", {"lookback": 60})
        with closing(sqlite3.connect(Path(folder, "bare.db"), isolation_level=None)) as bare:
            bare.executescript(_BARE_SCHEMA)
            yield store, strategy, bare


@contextmanager
def _same_schema(book: Book) -> Iterator[tuple[sqlite3.Connection, str]]:
    """Lend a plain connection to an empty file of the store's schema, and the id of a strategy in it."""
    with tempfile.TemporaryDirectory(dir=book.folder) as folder:
        path = Path(folder, "same.db")
        with fl.StorageManager(path) as store:
            strategy = store.save_strategy_version("momentum", "signal = ...", {"lookback": 60})
        with closing(sqlite3.connect(path, isolation_level=None)) as own:
            own.executescript("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 0")
            yield own, strategy


def _rows(trades: Any) -> list[tuple[Any, ...]]:
    run_id, columns = new_id(), trades_record(trades).columns
    return [(run_id, *row) for row in zip(*(columns[name] for name in _GIVEN), strict=True)]


def _bare_save(connection: sqlite3.Connection, runs: Runs) -> float:
    run_rows = _rows(runs.next_run()["trades"])
    return milliseconds(lambda: _insert(connection, run_rows))


def _insert(connection: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_BARE_INSERT, rows)
    connection.execute("COMMIT")


def _insert_run(connection: sqlite3.Connection, strategy: str, rows: list[tuple[Any, ...]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_INSERT_RUN, (rows[0][0], strategy))
    connection.executemany(_BARE_INSERT, rows)
    connection.execute("COMMIT")


def _load_bare(connection: sqlite3.Connection, run: str) -> dict[str, Any]:
    """Read the same by hand."""
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    key = (run,)
    loaded = dict(cursor.execute("SELECT * FROM iterations WHERE iteration_id = ?", key).fetchone())
    loaded["parameters"] = json.loads(loaded["parameters"])
    loaded["metrics"] = dict(cursor.execute("SELECT * FROM metrics WHERE iteration_id = ?", key).fetchone())
    for table, order in (("trades", "entry_date, trade_id"), (_EQUITY, "date"), ("suggestions", "suggestion_id")):
        rows = cursor.execute(f"SELECT * FROM {table} WHERE iteration_id = ? ORDER BY {order}", key)
        loaded[table] = [dict(row) for row in rows]
    loaded["extra_metrics"] = [
        dict(row) for row in cursor.execute("SELECT * FROM extra_metrics WHERE iteration_id = ?", key)
    ]
    loaded["tags"] = [row["tag"] for row in cursor.execute("SELECT tag FROM tags WHERE iteration_id = ?", key)]
    assert TRADE_FIELDS[0] in loaded["trades"][0]
    return loaded
