"""kill -9 in the middle of saving loses nothing that was acknowledged and keeps nothing that was not whole."""

from __future__ import annotations

import itertools
import random
import signal
import time
from pathlib import Path

import pytest
from journaled import LONG, Journal, acknowledged, check_store, content, processes

import finlab_nb as fl

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL"),
]
WRITERS = 4
KILLS = 1000 if LONG else 24
LONGEST_LIFE = 0.6  # seconds, enough to open the store and save some dozens of runs


@pytest.mark.timeout(1800)
def test_kills_lose_nothing_acknowledged_and_leave_nothing_half_saved(tmp_path: Path) -> None:
    path, journals, chance, context = tmp_path / "a.db", tmp_path / "journals", random.Random(20240102), processes()
    journals.mkdir()
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")
    names = (f"writer {number}" for number in itertools.count())

    def start():
        writer = context.Process(target=save_without_end, args=(path, strategy, journals, next(names)))
        writer.start()
        return time.monotonic() + chance.uniform(0.0, LONGEST_LIFE), writer

    alive, kills = [start() for _ in range(WRITERS)], 0
    while alive:
        alive.sort(key=lambda one: one[0])
        end, writer = alive.pop(0)
        time.sleep(max(0.0, end - time.monotonic()))
        assert writer.is_alive(), f"the writer ended by itself with exit status {writer.exitcode}"
        writer.kill()
        writer.join()
        kills += 1
        # Where others use the machine, a life is too short for many saves: there are more lives.
        if kills + len(alive) < KILLS or len(acknowledged(journals)) <= KILLS:
            alive.append(start())
    done = acknowledged(journals)
    stored = check_store(path, done)
    print(f"\n{kills} kills: {len(done)} runs acknowledged, {len(stored)} stored")
    with fl.StorageManager(path) as store:
        store.save_iteration(strategy, **content("afterwards"))
    assert check_store(path, done) == stored | {"afterwards"}


def save_without_end(path: Path, strategy: str, journals: Path, name: str) -> None:
    with fl.StorageManager(path) as store:
        journal = Journal(journals, name)
        for number in itertools.count():
            note = f"{name}, run {number}"
            store.save_iteration(strategy, **content(note))
            journal.add(note)
