"""The pool under threads, forks, swapped files and impossible places."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import finlab_nb as fl
from finlab_nb.store import checkpoint, pool, schema, upgrade
from finlab_nb.store import connection as one_connection
from finlab_nb.store.pool import ConnectionPool


@pytest.fixture
def opened(tmp_path: Path) -> contextlib.closing[ConnectionPool]:
    """Return a pool of two connections with a short patience."""
    return contextlib.closing(ConnectionPool(tmp_path / "a.db", 2, 0.2, upgrade.prepare))


def test_an_exhausted_pool_says_so_and_recovers(opened: contextlib.closing[ConnectionPool]) -> None:
    with opened as connections:
        with connections.read(), connections.read():
            assert connections.in_use == 2
            with pytest.raises(fl.PoolTimeoutError, match=r"no free connection .* within 0\.2 s: all 2 are in use"):
                with connections.read():
                    pass
        with connections.read() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert connections.waits == 1
        assert connections.longest_wait >= 0.2


def test_a_waiting_thread_gets_the_connection_that_comes_free(tmp_path: Path) -> None:
    with contextlib.closing(ConnectionPool(tmp_path / "a.db", 1, 5, upgrade.prepare)) as connections:
        taken, got = threading.Event(), []

        def hold() -> None:
            with connections.read():
                taken.set()
                time.sleep(0.1)

        holder = threading.Thread(target=hold)
        holder.start()
        taken.wait()
        with connections.read() as connection:
            got.append(connection.execute("SELECT 1").fetchone())
        holder.join()
        assert got == [(1,)]


def test_a_lease_that_an_exception_lost_gives_its_slot_back(opened: contextlib.closing[ConnectionPool]) -> None:
    with opened as connections:
        connections._free_reader()  # never given back, and nobody holds it
        connections._free_reader()
        with connections.read() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert connections.in_use == 0


def test_readers_see_one_moment_while_a_writer_commits(store: fl.StorageManager) -> None:
    with store.pool.snapshot() as before:
        before.execute("SELECT count(*) FROM strategies").fetchone()
        store.save_strategy_version("a", "x")
        assert before.execute("SELECT count(*) FROM strategies").fetchone() == (0,)
    with store.pool.snapshot() as after:
        assert after.execute("SELECT count(*) FROM strategies").fetchone() == (1,)


def test_a_thread_reads_its_own_transaction_and_a_snapshot_only_what_is_committed(store: fl.StorageManager) -> None:
    with store.transaction():
        store.save_strategy_version("a", "x")
        assert len(store.find_strategies("a")) == 1
        with store.pool.snapshot() as committed:
            assert committed.execute("SELECT count(*) FROM strategies").fetchone() == (0,)


def test_the_data_version_changes_with_every_commit_and_only_then(store: fl.StorageManager) -> None:
    first = store.pool.data_version()
    assert store.pool.data_version() == first
    store.save_strategy_version("a", "x")
    second = store.pool.data_version()
    assert second != first
    other = sqlite3.connect(store.path)
    other.execute("UPDATE strategies SET name = 'b'")
    other.commit()
    other.close()
    assert store.pool.data_version() != second


def test_a_deleted_file_is_reported_and_work_goes_on_when_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("a", "x")
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        aside = tmp_path / "aside"
        aside.mkdir()
        for file in tmp_path.glob("a.db*"):
            file.rename(aside / file.name)
        with pytest.raises(fl.StorageError, match="has disappeared; put the file back"):
            store.save_iteration(strategy)
        with pytest.raises(fl.StorageError, match="has disappeared"):
            store.load_strategy(strategy)
        assert not path.exists()  # no empty database came into being in its place
        for file in aside.iterdir():
            file.rename(tmp_path / file.name)
        assert store.load_strategy(strategy)["name"] == "a"


def test_a_swapped_file_is_noticed(tmp_path: Path) -> None:
    one, two = tmp_path / "one.db", tmp_path / "two.db"
    with fl.StorageManager(two) as store:
        store.save_strategy_version("two", "x")
    with fl.StorageManager(one) as store:
        store.save_strategy_version("one", "x")
        version = store.pool.data_version()
        for suffix in ("-wal", "-shm"):
            Path(f"{one}{suffix}").unlink(missing_ok=True)
        os.replace(two, one)
        assert store.pool.data_version() != version
        assert len(store.find_strategies("two")) == 1
        assert store.find_strategies("one") == []


@pytest.mark.parametrize("kind", ["folder", "text", "other program", "newer"])
def test_what_is_not_ours_is_refused_and_not_touched(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.db"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("this is no database, but long enough to look like something\n" * 50)
    else:
        connection = sqlite3.connect(path)
        if kind == "newer":
            connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            connection.execute("PRAGMA user_version = 99")
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
        connection.commit()
        connection.close()
    before = path.read_bytes() if path.is_file() else None
    message = {
        "folder": "cannot be opened; .* the path is no folder",
        "text": "not a SQLite database; nothing was changed",
        "other program": r"database of another program \(it holds bookmarks\)",
        "newer": r"needs a newer finlab_nb \(it has schema 99; this release knows \d+\)",
    }[kind]
    with pytest.raises(fl.StorageError, match=message):
        fl.StorageManager(path)
    if before is not None:
        assert path.read_bytes() == before
        assert sorted(file.name for file in tmp_path.iterdir()) == ["a.db"]


def test_a_missing_folder_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(fl.StorageError, match="check that the folder exists"):
        fl.StorageManager(tmp_path / "missing" / "a.db")


@pytest.mark.slow
def test_many_processes_may_create_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_save_one, args=(path, f"strategy {i}")) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    with fl.StorageManager(path) as store:
        assert sum(len(store.find_strategies(f"strategy {i}")) for i in range(4)) == 4


def _save_one(path: Path, name: str) -> None:
    with fl.StorageManager(path) as store:
        store.save_strategy_version(name, "x")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_opens_connections_of_its_own(tmp_path: Path) -> None:
    with fl.StorageManager(tmp_path / "a.db") as store:
        strategy = store.save_strategy_version("a", "x")
        store.pool.data_version()
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=_save_in_child, args=(store, strategy)) for _ in range(3)]
        for child in children:
            child.start()
        for _ in range(5):
            store.save_iteration(strategy)
        for child in children:
            child.join(30)
        assert [child.exitcode for child in children] == [0, 0, 0]
        assert len(store.load_strategy_history(strategy)) == 20


def _save_in_child(store: fl.StorageManager, strategy: str) -> None:
    for _ in range(5):
        store.save_iteration(strategy)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_inside_a_transaction_refuses_to_work(tmp_path: Path) -> None:
    with fl.StorageManager(tmp_path / "a.db") as store:
        with store.transaction():
            store.save_strategy_version("a", "x")
            child = os.fork()
            if child == 0:
                try:
                    store.find_strategies("a")
                except fl.StorageError as error:
                    os._exit(0 if "was forked while a connection" in str(error) else 1)
                os._exit(2)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(store.find_strategies("a")) == 1


def test_the_log_stays_small_under_steady_writing_and_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "WAL_BYTES", 200_000)
    monkeypatch.setattr(checkpoint, "_GROWTH", 1.0)
    monkeypatch.setattr(one_connection, "_SETTINGS", (*one_connection._SETTINGS, "PRAGMA journal_size_limit = 200000"))
    with fl.StorageManager(tmp_path / "a.db") as store:
        strategy = store.save_strategy_version("a", "x")
        largest = 0
        for _ in range(60):
            store.save_iteration(strategy, note="n" * 30_000)
            store.load_strategy_history(strategy)
            largest = max(largest, os.stat(f"{store.path}-wal").st_size)
        assert largest < 600_000
        assert len(store.load_strategy_history(strategy)) == 60


def test_a_write_waits_for_another_process_longer_than_for_a_connection(tmp_path: Path) -> None:
    with fl.StorageManager(tmp_path / "a.db", timeout=0.1) as store:
        other = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.5, other.rollback).start()
        store.save_strategy_version("a", "x")
        other.close()


def test_no_write_lock_within_the_deadline_is_an_error_that_names_the_holder(
    store: fl.StorageManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "WRITE_LOCK_SECONDS", 0.2)
    with another_process_that_writes(store.path) as number:
        with pytest.raises(fl.PoolTimeoutError, match=rf"no write lock .* process ({number})?.* wait for it or end it"):
            store.save_strategy_version("a", "x")
    store.save_strategy_version("a", "x")


@contextlib.contextmanager
def another_process_that_writes(path: Path) -> Iterator[int]:
    program = (
        "import sqlite3, sys; other = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "other.execute('BEGIN IMMEDIATE'); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        yield other.pid
        other.stdin.close()
