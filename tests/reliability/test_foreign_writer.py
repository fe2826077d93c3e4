"""Other programs write beside ours, with SQLite's automatic checkpoints, and open and close the file as they like."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from importlib.machinery import PathFinder
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import pytest
from journaled import LONG, Journal, acknowledged, check_store, content
from other_sqlite import run
from test_load import errors, reported_errors

import finlab_nb as fl
from finlab_nb.store import checkpoint

pytestmark = pytest.mark.reliability
OURS, FOREIGN = 2, 3  # processes
SECONDS = 150.0 if LONG else 6.0
FIXED = "pysqlite3"  # brings a newer SQLite than most Pythons have

ADD = "INSERT INTO strategies (strategy_id, name, code) VALUES (?, 'foreign', ?)"
CHANGE = "UPDATE strategies SET name = 'changed' WHERE strategy_id = ?"
FOUND = "SELECT strategy_id, name, code FROM strategies WHERE name IN ('foreign', 'changed')"


def version_of(library: str) -> tuple[int, ...]:
    """Return a library's version of SQLite; this process must not load a second one."""
    command = [sys.executable, "-c", f"import {library}; print({library}.sqlite_version)"]
    return tuple(map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(".")))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("library", ["sqlite3", FIXED])
def test_nothing_is_lost_beside_a_program_that_checkpoints_by_itself(tmp_path: Path, library: str) -> None:
    if PathFinder.find_spec(library) is None:
        pytest.skip(f"{library} is not installed; only some systems have wheels of it")
    version = version_of(library)
    assert library != FIXED or not checkpoint.may_corrupt(version)
    try:
        work_beside_each_other(tmp_path, library)
    except (AssertionError, fl.StorageError, sqlite3.Error) as error:
        if checkpoint.may_corrupt(version):
            pytest.xfail(f"SQLite {sqlite3.sqlite_version} has the WAL-reset bug: {error!r}")
        raise


def work_beside_each_other(folder: Path, library: str) -> None:
    path, context = folder / "a.db", multiprocessing.get_context("spawn")
    stop, ready = context.Event(), context.Barrier(OURS + FOREIGN + 1)
    fl.StorageManager(path).close()
    module = Path(__file__).stem
    workers = [
        context.Process(target=run, args=(library, module, task, folder, number, ready, stop))
        for task, count in (("save", OURS), ("write", FOREIGN))
        for number in range(count)
    ]
    for worker in workers:
        worker.start()
    ready.wait(60)
    time.sleep(SECONDS)
    stop.set()
    for worker in workers:
        worker.join(60)
    assert errors(folder / "errors") == []
    assert [worker.exitcode for worker in workers] == [0] * len(workers)
    ours, foreign = acknowledged(folder / "ours"), acknowledged(folder / "foreign")
    assert min(len(ours), len(foreign)) > 10
    assert check_store(path, ours) == ours
    with closing(sqlite3.connect(path)) as connection:
        rows = {f"{key} {name}": code for key, name, code in connection.execute(FOUND)}
    print(f"\n{len(ours)} runs saved, {len(foreign)} commits of other programs")
    changed = {note for note in foreign if note.endswith("changed")}
    assert rows.keys() == foreign - {note.replace("changed", "foreign") for note in changed}
    assert all(code == code_of(note.split()[0]) for note, code in rows.items())


def code_of(key: str) -> str:
    return random.Random(key).randbytes(10_000).hex()


def save(folder: Path, number: int, ready: Barrier, stop: Event) -> None:
    with reported_errors(folder / "errors"), fl.StorageManager(folder / "a.db") as store:
        journal, notes = (
            Journal(folder / "ours", f"{number}"),
            (f"process {number}, run {n}" for n in itertools.count()),
        )
        strategy = store.save_strategy_version("momentum", "signal = 1")
        ready.wait(60)
        while not stop.wait(0.005):  # SQLite's own way to wait, that of the other programs, is not a fair one
            note = next(notes)
            store.save_iteration(strategy, **content(note))
            journal.add(note)
        journal.close()


def write(folder: Path, number: int, ready: Barrier, stop: Event) -> None:
    with reported_errors(folder / "errors"):
        chance, journal = random.Random(number), Journal(folder / "foreign", f"program {number}")
        keys = (f"{number}-{place}" for place in itertools.count())
        ready.wait(60)
        while not stop.is_set():
            with closing(sqlite3.connect(folder / "a.db", timeout=60, isolation_level=None)) as connection:
                for _ in range(chance.randint(1, 200)):
                    key = next(keys)
                    connection.execute(ADD, (key, code_of(key)))
                    journal.add(f"{key} foreign")
                    if chance.random() < 0.3:
                        connection.execute(CHANGE, (key,))
                        journal.add(f"{key} changed")
                    if stop.is_set():
                        break
        journal.close()
