"""Forks and spawns in the middle of use, threads that give nothing back, and Ctrl-C at any moment."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from journaled import LONG, Journal, acknowledged, check_store, content, in_child

import finlab_nb as fl

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]
FORKS = 300 if LONG else 30
SECONDS = 60.0 if LONG else 3.0
REFUSED = 3


@contextlib.contextmanager
def saving_threads(store: fl.StorageManager, strategy: str, journals: Path, count: int = 3) -> Iterator[None]:
    """Save and read in threads meanwhile; whatever goes wrong in them is raised at the end."""
    over, failures = threading.Event(), []

    def save(name: str) -> None:
        journal = Journal(journals, name)
        try:
            for number in itertools.count():
                if over.is_set():
                    break
                note = f"{name}, run {number}"
                run = store.save_iteration(strategy, **content(note))
                journal.add(note)
                assert store.load_iteration(run)["note"] == note
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=save, args=(f"thread {number}",)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert failures == []


# Fork and spawn ---------------------------------------------------------------------------------------------------


def fork_while_threads_save(path: Path, journals: Path) -> None:
    chance, refused, context = random.Random(7), 0, multiprocessing.get_context("fork")
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        with saving_threads(store, strategy, journals):
            for number in range(FORKS):
                time.sleep(chance.uniform(0.0, 0.03))
                child = context.Process(target=save_in_fork, args=(store, strategy, journals, f"fork {number}"))
                child.start()
                child.join(60)
                assert child.exitcode in (0, REFUSED)
                refused += child.exitcode == REFUSED
        assert store.pool.in_use == 0
    print(f"{FORKS} forks, {refused} of them refused", flush=True)
    assert refused == 0, "threads that save give their connections back before a fork"


def save_in_fork(store: fl.StorageManager, strategy: str, journals: Path, name: str) -> None:
    journal = Journal(journals, name)
    for number in range(3):
        note = f"{name}, run {number}"
        try:
            run = store.save_iteration(strategy, **content(note))
        except fl.StorageError as error:
            if "was forked while a connection" in str(error):
                os._exit(REFUSED)
            raise
        journal.add(note)
        assert store.load_iteration(run)["note"] == note


def test_forks_while_threads_save_lose_nothing_on_either_side(tmp_path: Path) -> None:
    in_child(fork_while_threads_save, tmp_path / "a.db", tmp_path / "journals")
    done = acknowledged(tmp_path / "journals")
    assert len([note for note in done if note.startswith("fork")]) == 3 * FORKS
    assert check_store(tmp_path / "a.db", done) == done


def fork_inside_a_transaction(path: Path) -> None:
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        with store.transaction():
            store.save_iteration(strategy, **content("in the parent"))
            child = os.fork()
            if child == 0:
                status = 1
                with contextlib.suppress(fl.StorageError):
                    store.save_iteration(strategy, **content("in the child"))
                    status = 2
                os._exit(status if status != 1 else unwind(store, strategy))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            store.save_iteration(strategy, **content("in the parent, afterwards"))
        assert len(store.load_strategy_history(strategy)) == 2


def leave_a_transaction_in_both(path: Path) -> None:
    with fl.StorageManager(path) as store:
        strategy, child = store.save_strategy_version("momentum", "signal = 1"), None
        try:
            with store.transaction():
                store.save_iteration(strategy, **content("in the parent"))
                child = os.fork()
                if child:
                    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
                    store.save_iteration(strategy, **content("in the parent, afterwards"))
        except fl.StorageError as error:
            os._exit(0 if child == 0 and "was forked while a connection" in str(error) else 1)
        if child == 0:
            os._exit(2)  # it believes that it has committed
        assert len(store.load_strategy_history(strategy)) == 2


def unwind(store: fl.StorageManager, strategy: str) -> int:
    """Leave the parent's transaction as a child may, by closing the store; then use the database anew."""
    store.close()
    grandchild = os.fork()
    if grandchild == 0:
        try:
            store.load_strategy(strategy)
        except fl.StorageError:
            os._exit(0)
        os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1])


@pytest.mark.parametrize("task", [fork_inside_a_transaction, leave_a_transaction_in_both])
def test_a_child_forked_inside_a_transaction_leaves_it_to_the_parent(
    tmp_path: Path, task: Callable[[Path], None]
) -> None:
    in_child(task, tmp_path / "a.db")
    assert check_store(tmp_path / "a.db", []) == {"in the parent", "in the parent, afterwards"}


def test_processes_that_are_spawned_while_threads_save_lose_nothing(tmp_path: Path) -> None:
    journals, context = tmp_path / "journals", multiprocessing.get_context("spawn")
    with fl.StorageManager(tmp_path / "a.db") as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        with saving_threads(store, strategy, journals):
            children = [
                context.Process(target=open_and_save, args=(store.path, strategy, journals, f"spawned {number}"))
                for number in range(3)
            ]
            for child in children:
                child.start()
            for child in children:
                child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0]
    done = acknowledged(journals)
    assert check_store(tmp_path / "a.db", done) == done


def open_and_save(path: Path, strategy: str, journals: Path, name: str) -> None:
    with fl.StorageManager(path) as store:
        save_in_fork(store, strategy, journals, name)


# Threads ----------------------------------------------------------------------------------------------------------


def test_threads_that_die_with_a_connection_cost_the_pool_nothing(tmp_path: Path) -> None:
    with fl.StorageManager(tmp_path / "a.db", timeout=1.0) as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")

        def die() -> None:
            connection = store.pool._free_reader()
            connection.execute("SELECT count(*) FROM strategies").fetchone()
            connection.close()  # an open one that is merely dropped is a warning since Python 3.13

        def die_half_saved() -> None:
            lent = store.pool.write()  # entered, and never left
            connection = lent.__enter__()
            connection.execute("UPDATE strategies SET name = 'half saved'")
            del connection

        for _ in range(20):
            for task in (die, die_half_saved):
                thread = threading.Thread(target=task)
                thread.start()
                thread.join()
        with contextlib.ExitStack() as stack:
            for _ in range(store.pool.size):  # one that is missing is waited for, and refused after a second
                stack.enter_context(store.pool.snapshot())
        store.save_iteration(strategy, **content("after"))
        assert store.pool.in_use == 0
        assert store.load_strategy(strategy)["name"] == "momentum"


# Ctrl-C -----------------------------------------------------------------------------------------------------------


class Interrupted(KeyboardInterrupt):
    """Ctrl-C at a moment when the program under test is at work."""


def interrupt_at_random(path: Path, journals: Path, mode: str) -> None:
    chance, over, journal, interrupts = random.Random(mode), threading.Event(), Journal(journals, mode), 0
    armed = threading.Event()

    def strike() -> None:
        while not over.wait(chance.uniform(0.0, 0.008)):
            if armed.is_set():
                os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    with fl.StorageManager(path) as store, contextlib.ExitStack() as others:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        if mode == "beside threads":
            others.enter_context(saving_threads(store, strategy, journals, 2))
        striker = threading.Thread(target=strike)
        striker.start()
        end = time.monotonic() + SECONDS
        number = 0
        while time.monotonic() < end:
            number += 1
            note = f"{mode}, run {number}"
            arguments = content(note)
            try:
                armed.set()
                if mode == "nested":
                    with store.transaction():
                        run = store.save_iteration(strategy, **arguments)
                        store.annotate(run, starred=True)
                else:
                    run = store.save_iteration(strategy, **arguments)
                journal.add(note)
                store.load_iteration(run)
                armed.clear()
            except KeyboardInterrupt:
                armed.clear()
                interrupts += 1
        over.set()
        striker.join()
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(0.05)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        started = time.monotonic()
        store.save_iteration(strategy, **content(f"{mode}, afterwards"))
        others.close()
        with contextlib.ExitStack() as stack:
            for _ in range(store.pool.size):
                stack.enter_context(store.pool.snapshot())
        assert store.pool.in_use == 0
        assert time.monotonic() - started < 4.0, "places were missing in the pool"
    other = sqlite3.connect(path, timeout=0)
    other.execute("BEGIN IMMEDIATE")  # and nobody holds the write lock
    other.close()
    print(f"{mode}: {interrupts} interrupts, {number} saves tried", flush=True)
    assert interrupts > 30


@pytest.mark.parametrize("mode", ["plain", "nested", "beside threads"])
def test_ctrl_c_at_any_moment_leaves_nothing_half_saved_and_a_store_that_works(tmp_path: Path, mode: str) -> None:
    in_child(interrupt_at_random, tmp_path / "a.db", tmp_path / "journals", mode)
    done = acknowledged(tmp_path / "journals")
    stored = check_store(tmp_path / "a.db", done)
    print(f"\n{len(done)} acknowledged, {len(stored)} stored")
    assert done | {f"{mode}, afterwards"} <= stored
