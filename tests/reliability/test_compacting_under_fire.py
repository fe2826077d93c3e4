"""Compacting under kill -9, beside processes that read and save, loses nothing and shows nobody a wrong value."""

from __future__ import annotations

import itertools
import random
import signal
import time
import traceback
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import pandas as pd
import pytest
from journaled import LONG, Journal, acknowledged, check_store, check_whole, content, processes, wait_for

import finlab_nb as fl

pytestmark = pytest.mark.reliability
KILLS = 300 if LONG else 16
SECONDS = 60.0 if LONG else 4.0


@pytest.fixture
def book(tmp_path: Path) -> tuple[Path, str]:
    """Return a store of some megabytes, so that compacting takes a while, and its strategy."""
    path = tmp_path / "a.db"
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        store.save_iterations({"strategy_id": strategy, **content(f"run {i}")} for i in range(40))
        store.save_series("ballast", pd.Series(1.0, pd.date_range("2000-01-01", periods=150_000, freq="h")))
    return path, strategy


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.timeout(1800)
def test_kills_while_it_is_compacted_lose_nothing(tmp_path: Path, book: tuple[Path, str]) -> None:
    path, strategy = book
    journals, chance, context = tmp_path / "journals", random.Random(20240102), processes()
    for kill in range(KILLS):
        worker = context.Process(target=compact_without_end, args=(path, strategy, journals, f"worker {kill}"))
        worker.start()
        wait_for(lambda: (journals / f"worker {kill}").exists())  # noqa: B023 - within this turn
        time.sleep(chance.uniform(0.0, 0.5))
        assert worker.is_alive(), f"the worker ended by itself with exit status {worker.exitcode}"
        worker.kill()
        worker.join()
    done = acknowledged(journals)
    assert len(done) > KILLS
    stored = check_store(path, done | {f"run {i}" for i in range(40)})
    with fl.StorageManager(path) as store:
        store.compact(progress=False)
        assert [one["name"] for one in store.search_strategies("signal")] == ["momentum"]
    assert check_store(path, done) == stored


def free_some(store: fl.StorageManager) -> None:
    store.save_series("to be deleted", pd.Series(2.0, pd.date_range("2000-01-01", periods=2000)))
    store.delete_series("to be deleted")


def compact_without_end(path: Path, strategy: str, journals: Path, name: str) -> None:
    with fl.StorageManager(path) as store:
        journal = Journal(journals, name)
        for number in itertools.count():
            note = f"{name}, run {number}"
            store.save_iteration(strategy, **content(note))
            journal.add(note)
            free_some(store)
            assert store.compact(progress=False)["freed"] > 0


def test_other_processes_read_and_save_while_it_is_compacted(tmp_path: Path, book: tuple[Path, str]) -> None:
    path, strategy = book
    context, journals = processes(), tmp_path / "journals"
    ended, pipes, workers = context.Event(), [], []
    for task in (load_until, ask_until, save_until):
        here, there = context.Pipe(duplex=False)
        workers.append(context.Process(target=told, args=(there, task, path, strategy, journals, ended)))
        workers[-1].start()
        there.close()
        pipes.append(here)
    assert [pipe.recv() for pipe in pipes] == ["begun"] * 3
    compacted, deadline = 0, time.monotonic() + SECONDS
    with fl.StorageManager(path) as store:
        while time.monotonic() < deadline or compacted < 3:
            free_some(store)
            compacted += store.compact(progress=False)["freed"] > 0
    ended.set()
    assert [pipe.recv() for pipe in pipes] == [None] * 3
    for worker in workers:
        worker.join()
    check_store(path, acknowledged(journals))


def told(there: Connection, task, path: Path, strategy: str, journals: Path, ended: Event) -> None:
    there.send("begun")
    try:
        task(path, strategy, journals, ended)
    except BaseException:
        there.send(traceback.format_exc())
    else:
        there.send(None)


def load_until(path: Path, strategy: str, journals: Path, ended: Event) -> None:
    with fl.StorageManager(path) as store:
        runs = [one["iteration_id"] for one in store.load_strategy_history(strategy)][:40]
        while not ended.is_set():
            for run in runs:
                check_whole(store.load_iteration(run))


def ask_until(path: Path, strategy: str, journals: Path, ended: Event) -> None:
    question = """
        SELECT (SELECT sum(value) FROM series WHERE name = 'ballast'),
               (SELECT count(*) FROM trades WHERE iteration_id IN (SELECT iteration_id FROM tags WHERE tag = 'run 7')),
               (SELECT count(*) FROM trades ANTI JOIN iterations USING (iteration_id))"""
    expected = [150_000.0, len(content("run 7")["trades"]), 0]
    with fl.Lab(path) as lab:
        while not ended.is_set():
            assert lab.sql(question).iloc[0].tolist() == expected


def save_until(path: Path, strategy: str, journals: Path, ended: Event) -> None:
    journal = Journal(journals, "saver")
    with fl.StorageManager(path) as store:
        for number in itertools.count():
            note = f"saver, run {number}"
            store.save_iteration(strategy, **content(note))
            journal.add(note)
            if ended.is_set():
                break
