"""Whose a transaction is: no save that was acknowledged is undone by the block of somebody else."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, TypeVar

import pytest

import finlab_nb as fl

Result = TypeVar("Result")
SECONDS_OF_PATIENCE = 10.0  # far less than the minute that the write lock is waited for


def names(store: fl.StorageManager) -> list[str]:
    with store.pool.snapshot() as connection:
        return [name for (name,) in connection.execute("SELECT name FROM strategies ORDER BY name")]


@contextlib.contextmanager
def refused_soon(message: str) -> Iterator[None]:
    started = time.monotonic()
    with pytest.raises(fl.StorageError, match=message):
        yield
    assert time.monotonic() - started < SECONDS_OF_PATIENCE


def in_a_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in an event loop, and so in a thread of its own: the browser tests leave a loop in this one."""
    with ThreadPoolExecutor(1, "notebook") as thread:
        return thread.submit(asyncio.run, work).result()


# Tasks ------------------------------------------------------------------------------------------------------------


def test_a_task_that_awaits_in_a_transaction_swallows_no_save_of_another(store: fl.StorageManager) -> None:
    async def fails(inside: asyncio.Event, go_on: asyncio.Event) -> None:
        with store.transaction():
            store.save_strategy_version("of the task", "x")
            inside.set()
            await go_on.wait()
            raise RuntimeError

    async def notebook() -> None:
        inside, go_on = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(fails(inside, go_on))
        await inside.wait()
        assert store.find_strategies("of the task") == []  # another task reads what is committed
        with refused_soon("this process itself holds the write lock .* a task of this very thread"):
            store.save_strategy_version("of another", "x")
        go_on.set()
        with pytest.raises(RuntimeError):
            await task
        store.save_strategy_version("of another", "x")

    in_a_loop(notebook())
    assert names(store) == ["of another"]


def test_a_task_may_await_in_its_transaction_and_its_saves_are_part_of_it(store: fl.StorageManager) -> None:
    async def saves(number: int) -> None:
        with store.transaction():
            store.save_strategy_version(f"a{number}", "x")
            await asyncio.sleep(0)
            store.save_strategy_version(f"b{number}", "x")
            assert len(store.find_strategies(f"a{number}")) == 1

    in_a_loop(saves(1))
    assert names(store) == ["a1", "b1"]


def test_a_transaction_that_two_tasks_interleave_commits_nothing_of_what_fails(store: fl.StorageManager) -> None:
    async def saves(name: str, fail: bool) -> None:
        with store.transaction():
            store.save_strategy_version(name, "x")
            await asyncio.sleep(0.01)
            if fail:
                raise RuntimeError

    async def both() -> list[Any]:
        return await asyncio.gather(saves("fails", True), saves("other", False), return_exceptions=True)

    first, second = in_a_loop(both())
    assert isinstance(first, RuntimeError)
    assert isinstance(second, fl.StorageError)  # it was refused at once, and has acknowledged nothing
    assert names(store) == []


# Generators -------------------------------------------------------------------------------------------------------


def saving_generator(store: fl.StorageManager, name: str) -> Iterator[None]:
    with store.transaction():
        store.save_strategy_version(name, "x")
        yield


def test_a_block_left_in_another_thread_is_rolled_back_with_an_error(store: fl.StorageManager) -> None:
    generator = saving_generator(store, "of the generator")
    next(generator)
    errors: list[BaseException] = []

    def leave() -> None:
        try:
            next(generator)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    assert [type(error) for error in errors] == [fl.StorageError]
    assert "left by another thread or task than entered it" in str(errors[0])
    store.save_strategy_version("afterwards", "x")
    assert names(store) == ["afterwards"]


def test_blocks_left_in_another_order_than_entered_are_rolled_back_with_an_error(store: fl.StorageManager) -> None:
    first, second = saving_generator(store, "first"), saving_generator(store, "second")
    next(first)
    next(second)
    with pytest.raises(fl.StorageError, match="before a block that was entered later"):
        next(first)
    store.save_strategy_version("in between", "x")
    with pytest.raises(fl.StorageError, match="nothing of it was saved"):
        next(second)
    assert names(store) == ["in between"]


def test_an_inner_block_left_too_early_rolls_all_back_whatever_follows(store: fl.StorageManager) -> None:
    with pytest.raises(fl.StorageError, match="has failed as a whole"), store.transaction():
        store.save_strategy_version("outer", "x")
        inner, innermost = saving_generator(store, "inner"), saving_generator(store, "innermost")
        next(inner)
        next(innermost)
        with pytest.raises(fl.StorageError, match="before a block that was entered later"):
            next(inner)
        store.save_strategy_version("outer again", "x")
    with pytest.raises(fl.StorageError, match="nothing of it was saved"):
        next(innermost)
    assert names(store) == []


def test_a_generator_that_is_closed_rolls_back_what_it_saved(store: fl.StorageManager) -> None:
    generator = saving_generator(store, "of the generator")
    next(generator)
    generator.close()  # type: ignore[attr-defined]
    store.save_strategy_version("afterwards", "x")
    assert names(store) == ["afterwards"]


# Threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_long_transaction_loses_no_save_and_no_read_of_other_threads(store: fl.StorageManager) -> None:
    inside = threading.Event()

    def hold() -> None:
        with store.transaction():
            store.save_strategy_version("long", "x")
            inside.set()
            time.sleep(7)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    with ThreadPoolExecutor(13) as threads:
        saves = [threads.submit(store.save_strategy_version, f"short {i}", "x") for i in range(12)]
        time.sleep(0.2)
        assert threads.submit(names, store).result(timeout=1) == []  # there is a connection to read by
        assert len({save.result() for save in saves}) == 12
    holder.join()
    assert len(names(store)) == 13


def of_executor(work: Callable[[], object]) -> object:
    with ThreadPoolExecutor(1) as workers:
        return workers.submit(work).result()


def mapped(work: Callable[[], object]) -> object:
    with ThreadPoolExecutor(2) as workers:
        return list(workers.map(lambda _: work(), range(3)))


def of_pool(work: Callable[[], object]) -> object:
    with ThreadPool(1) as workers:
        return workers.apply(work)


def joined(work: Callable[[], object]) -> object:
    errors: list[Exception] = []

    def run() -> None:
        try:
            work()
        except fl.StorageError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    raise errors[0]


@pytest.mark.parametrize("wait", [of_executor, mapped, of_pool, joined])
def test_a_worker_that_the_transaction_waits_for_is_told_so(store: fl.StorageManager, wait: Callable[..., Any]) -> None:
    with refused_soon("is held by this process itself, in a transaction of the thread 'MainThread', which waits for"):
        with store.transaction():
            store.save_strategy_version("of the owner", "x")
            wait(lambda: store.save_strategy_version("of the worker", "x"))
    assert names(store) == []
    store.save_strategy_version("afterwards", "x")


@pytest.mark.slow
def test_a_worker_that_a_task_awaits_in_its_transaction_is_told_so(store: fl.StorageManager) -> None:
    async def saves() -> None:
        with store.transaction():
            store.save_strategy_version("of the task", "x")
            await asyncio.to_thread(store.save_strategy_version, "of the worker", "x")

    with refused_soon("is held by this process itself, in a transaction of the thread 'notebook_0', which waits for"):
        in_a_loop(saves())
    assert names(store) == []


@pytest.mark.slow
def test_a_thread_that_waits_for_a_transaction_of_this_process_is_told_who_holds_it(
    store: fl.StorageManager, caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadPoolExecutor(1) as workers:
        with store.transaction():
            save = workers.submit(store.save_strategy_version, "of the worker", "x")
            time.sleep(4.2)
        save.result()
    (record,) = caplog.records
    assert "held by this process itself, in a transaction of the thread 'MainThread', which goes on" in record.message


@pytest.mark.slow
def test_an_uncommitted_connection_of_the_same_notebook_is_named(store: fl.StorageManager) -> None:
    other = sqlite3.connect(store.path)
    other.execute("UPDATE store_state SET change_counter = change_counter")
    with refused_soon("this process itself, by a connection of another library, such as an open sqlite3.connect"):
        store.save_strategy_version("a", "x")
    other.commit()
    other.close()
    store.save_strategy_version("a", "x")


def test_another_store_of_the_same_thread_is_refused_within_a_transaction(store: fl.StorageManager) -> None:
    with fl.StorageManager(store.path) as other, store.transaction():
        store.save_strategy_version("a", "x")
        with refused_soon("in a transaction of another store of this very thread"):
            other.save_strategy_version("b", "x")
    assert names(store) == ["a"]


def test_a_backup_within_a_transaction_is_refused_at_once(store: fl.StorageManager, tmp_path: Path) -> None:
    backups = fl.BackupScheduler(store.path, tmp_path / "backups")
    with store.transaction():
        store.save_strategy_version("a", "x")
        with refused_soon("a backup cannot run within a transaction of this process itself"):
            backups.backup_now()
    assert backups.backup_now().exists()


# Bulk saves -------------------------------------------------------------------------------------------------------


def test_a_generator_of_iterations_runs_before_the_write_lock_is_taken(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("a", "x")

    def backtests() -> Iterator[dict[str, Any]]:
        for number in range(3):
            with ThreadPoolExecutor(1) as another:  # saves while the backtest runs
                another.submit(store.save_strategy_version, f"b{number}", "x").result(timeout=5)
            yield {"strategy_id": strategy, "note": str(number)}

    ids = store.save_iterations(backtests())
    assert [store.load_iteration(key)["note"] for key in ids] == ["0", "1", "2"]
    assert names(store) == ["a", "b0", "b1", "b2"]
