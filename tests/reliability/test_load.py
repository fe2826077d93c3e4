"""Many processes and threads save, read and analyse one store at once, while its log is cut under them."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import pytest
from journaled import LONG, Journal, acknowledged, check_store, check_whole, content, processes

import finlab_nb as fl

# Of ten thousand random runs some have metrics that look like percent of what their curve gives.
pytestmark = [pytest.mark.reliability, pytest.mark.filterwarnings("ignore::finlab_nb.ImplausibleDataWarning")]
PROCESSES, THREADS = 8, 4
SECONDS = 120.0 if LONG else 12.0
MEGABYTE = 2**20
CREATORS, CREATIONS = 12, (50 if LONG else 4)

RUNS_AND_THEIR_TRADES = """
    SELECT i.note, i.parameters, count(t.trade_id) AS trades
    FROM iterations AS i LEFT JOIN trades AS t USING (iteration_id)
    GROUP BY ALL"""
TRADES_OF_NO_RUN = "SELECT count(*) AS n FROM trades AS t ANTI JOIN iterations AS i USING (iteration_id)"


class LogWatch(threading.Thread):
    """Remembers the largest size of a write-ahead log; it asks for the size only and opens nothing."""

    def __init__(self, database: Path) -> None:
        super().__init__(daemon=True)
        self._log, self._over = f"{database}-wal", threading.Event()
        self.largest = 0

    def run(self) -> None:
        while not self._over.wait(0.002):
            with contextlib.suppress(FileNotFoundError):
                self.largest = max(self.largest, os.stat(self._log).st_size)

    def stop(self) -> int:
        self._over.set()
        self.join()
        return self.largest


@contextlib.contextmanager
def reported_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        folder.mkdir(exist_ok=True)
        (folder / f"{os.getpid()} {threading.get_ident()}").write_text(traceback.format_exc())


def errors(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.iterdir()] if folder.exists() else []


def in_threads(*tasks: Callable[[], None]) -> None:
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# Everything at once -----------------------------------------------------------------------------------------------


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("truncated", "largest_log"),
    # A foreign TRUNCATE keeps all others from copying the log back while it waits for the write lock, badly.
    [(True, 256 * MEGABYTE), (False, 64 * MEGABYTE)],
    ids=["log truncated from outside", "log left alone"],
)
def test_nothing_is_lost_torn_or_locked_under_load(tmp_path: Path, truncated: bool, largest_log: int) -> None:
    path, context = tmp_path / "a.db", processes()
    stop, truncations = context.Event(), context.Value("i", 0)
    fl.StorageManager(path).close()
    watch = LogWatch(path)
    workers = [context.Process(target=save_and_read, args=(tmp_path, number, stop)) for number in range(PROCESSES)]
    if truncated:
        workers.append(context.Process(target=truncate_log, args=(path, stop, truncations)))
    watch.start()
    for worker in workers:
        worker.start()
    time.sleep(SECONDS if truncated or LONG else SECONDS / 2)
    stop.set()
    for worker in workers:
        worker.join(60)
    largest = watch.stop()
    assert errors(tmp_path / "errors") == []
    assert [worker.exitcode for worker in workers] == [0] * len(workers)
    done = acknowledged(tmp_path / "journals")
    stored = check_store(path, done)
    answers = (tmp_path / "answers").stat().st_size
    print(
        f"\n{PROCESSES} processes x {THREADS} threads: {len(done)} runs saved, {answers} rounds of frames, "
        f"{truncations.value} truncations, log at most {largest / MEGABYTE:.1f} MB, "
        f"database {path.stat().st_size / MEGABYTE:.1f} MB"
    )
    assert stored == done
    assert answers > 0
    assert largest < largest_log
    with fl.Lab(path) as lab:
        assert set(lab.iterations()["note"]) == done


def save_and_read(folder: Path, number: int, stop: Event) -> None:
    path = folder / "a.db"
    with reported_errors(folder / "errors"):
        if number == 0:
            with fl.Lab(path) as lab:
                savers = saving_threads(folder, number, lab.store, stop)
                in_threads(*savers, lambda: analyse(folder, lab, stop))
        else:
            with fl.StorageManager(path) as store:
                in_threads(*saving_threads(folder, number, store, stop))


def saving_threads(folder: Path, number: int, store: fl.StorageManager, stop: Event) -> list[Callable[[], None]]:
    return [
        lambda name=f"process {number}, thread {thread}": save_and_read_in_thread(folder, name, store, stop)
        for thread in range(THREADS)
    ]


def save_and_read_in_thread(folder: Path, name: str, store: fl.StorageManager, stop: Event) -> None:
    with reported_errors(folder / "errors"):
        chance, journal, saved = random.Random(name), Journal(folder / "journals", name), {}
        strategy = store.save_strategy_version(name, "signal = 1")
        while not stop.is_set():
            note = f"{name}, run {len(saved)}"
            saved[store.save_iteration(strategy, **content(note))] = note
            journal.add(note)
            for key in chance.choices(list(saved), k=3):
                run = store.load_iteration(key)
                assert run["note"] == saved[key]
                check_whole(run)
            if chance.random() < 0.1:
                history = store.load_strategy_history(strategy)
                assert [run["iteration_id"] for run in history] == list(saved)
                assert [run["iteration_number"] for run in history] == list(range(1, len(saved) + 1))
        journal.close()


def analyse(folder: Path, lab: fl.Lab, stop: Event) -> None:
    with reported_errors(folder / "errors"), (folder / "answers").open("wb", buffering=0) as answers:
        while not stop.is_set():
            before = acknowledged(folder / "journals") if (folder / "journals").exists() else set()
            runs = lab.iterations()
            assert before <= set(runs["note"])
            assert runs["iteration_id"].is_unique
            counted = lab.sql(RUNS_AND_THEIR_TRADES)
            wanted = [len(content(note)["trades"]) for note in counted["note"].tail(50)]
            assert counted["trades"].tail(50).tolist() == wanted
            assert lab.sql(TRADES_OF_NO_RUN)["n"].tolist() == [0]
            if len(runs):
                some = runs.sample(min(5, len(runs)), random_state=1)
                trades = lab.trades(some["iteration_id"].tolist())
                assert len(trades) == sum(len(content(note)["trades"]) for note in some["note"])
            answers.write(b"x")


def truncate_log(path: Path, stop: Event, truncations) -> None:
    # Its patience is longer than that of all others: a TRUNCATE that cannot get the write lock copies the log back
    # without it, and that is where SQLite before 3.51.3 can corrupt a database.
    connection = sqlite3.connect(path, timeout=120, isolation_level=None)
    while not stop.is_set():
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        truncations.value += not busy
        time.sleep(0.02)
    connection.close()


# Readers that always overlap --------------------------------------------------------------------------------------


@pytest.mark.timeout(900)
@pytest.mark.parametrize("milliseconds", [1, 20, 50])
def test_the_log_stays_small_where_there_is_always_a_reader(tmp_path: Path, milliseconds: int) -> None:
    path, context, saves = tmp_path / "a.db", processes(), 10_000 if LONG else 600
    stop, ready = context.Event(), context.Barrier(3)
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        arguments = (path, milliseconds / 1000, ready, stop)
        readers = [context.Process(target=read_without_end, args=arguments) for _ in range(2)]
        for reader in readers:
            reader.start()
        ready.wait(60)
        watch, latencies = LogWatch(path), []
        watch.start()
        for number in range(saves):
            run = content(f"run {number}", 500)
            started = time.perf_counter()
            store.save_iteration(strategy, **run)
            latencies.append(time.perf_counter() - started)
        largest = watch.stop()
        stop.set()
        for reader in readers:
            reader.join(60)
    assert [reader.exitcode for reader in readers] == [0, 0]
    latencies.sort()
    print(
        f"\n6 readers of {milliseconds} ms: {saves} saves, log at most {largest / MEGABYTE:.1f} MB, "
        f"database {path.stat().st_size / MEGABYTE:.1f} MB, saves within "
        f"{latencies[saves // 2] * 1e3:.1f} ms (half), {latencies[-1] * 1e3:.0f} ms (all)"
    )
    assert largest < 64 * MEGABYTE
    assert latencies[-1] < 2.0


def read_without_end(path: Path, seconds: float, ready: Barrier, stop: Event) -> None:
    def read(number: int) -> None:
        chance = random.Random(number)
        while not stop.is_set():
            with store.pool.read() as connection:
                connection.execute("SELECT count(*) FROM strategies").fetchone()
                time.sleep(seconds * chance.uniform(0.5, 1.0))

    with fl.StorageManager(path) as store:
        ready.wait(60)
        in_threads(*(lambda number=number: read(number) for number in range(3)))


# The first moment -------------------------------------------------------------------------------------------------

SCHEMA = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
STATE = "SELECT (SELECT count(*) FROM store_state), (SELECT count(DISTINCT name) FROM strategies)"


def test_processes_that_create_the_same_database_at_once_all_succeed(tmp_path: Path, store: fl.StorageManager) -> None:
    context = processes()
    with store.pool.read() as connection:
        schema = connection.execute(SCHEMA).fetchall()
    for attempt in range(CREATIONS):
        path, together = tmp_path / f"{attempt}.db", context.Barrier(CREATORS)
        creators = [context.Process(target=create_and_save, args=(path, together, i)) for i in range(CREATORS)]
        for creator in creators:
            creator.start()
        for creator in creators:
            creator.join(60)
        assert [creator.exitcode for creator in creators] == [0] * CREATORS
        with fl.StorageManager(path) as created, created.pool.read() as connection:
            assert connection.execute(SCHEMA).fetchall() == schema
            assert connection.execute(STATE).fetchone() == (1, CREATORS)


def create_and_save(path: Path, together: Barrier, number: int) -> None:
    together.wait(60)
    with fl.StorageManager(path) as store:
        store.save_iteration(store.save_strategy_version(f"strategy {number}", "signal = 1"), **content("run"))
