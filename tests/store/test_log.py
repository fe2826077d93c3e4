"""The write-ahead log goes back into the one file when nobody writes any more."""

from __future__ import annotations

import contextlib
import gc
import shutil
import sqlite3
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

import finlab_nb as fl

PATIENCE = 10.0


def idle_threads() -> list[FrameType]:
    """Return the threads that wait for idleness, by where they are."""
    return [frame for frame in sys._current_frames().values() if frame.f_code.co_qualname == "IdleTimer._run"]


def wait_for_idleness() -> None:
    deadline = time.monotonic() + PATIENCE
    while idle_threads():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _no_others() -> None:
    gc.collect()
    wait_for_idleness()


def runs_in_copy(path: Path) -> int:
    """Copy the file alone, as a person does, in another process, and count its iterations."""
    copy = path.with_name("copy.db")
    subprocess.run([sys.executable, "-c", "import shutil, sys; shutil.copy(*sys.argv[1:])", path, copy], check=True)
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM iterations").fetchone()
    return int(count)


def save_some(store: fl.StorageManager, count: int = 5) -> None:
    strategy = store.save_strategy_version("momentum", "signal = 1")
    for _ in range(count):
        store.save_iteration(strategy, note="n" * 10_000)


@pytest.mark.slow
def test_a_copy_of_the_file_has_every_run_once_nobody_writes(store: fl.StorageManager) -> None:
    save_some(store)
    wait_for_idleness()
    assert runs_in_copy(store.path) == 5


def test_a_store_that_only_reads_starts_no_thread(store: fl.StorageManager) -> None:
    assert store.find_strategies("momentum") == []
    assert idle_threads() == []


@pytest.mark.slow
def test_one_thread_waits_for_idleness_and_ends_with_it_and_begins_again(store: fl.StorageManager) -> None:
    for _ in range(2):
        save_some(store)
        assert len(idle_threads()) == 1
        wait_for_idleness()
    assert runs_in_copy(store.path) == 10


@pytest.mark.slow
def test_a_reader_delays_it_and_is_not_disturbed(store: fl.StorageManager) -> None:
    with store.pool.snapshot() as early:
        assert early.execute("SELECT count(*) FROM iterations").fetchone() == (0,)
        save_some(store)
        time.sleep(3)
        assert len(idle_threads()) == 1  # it tries again and again
        assert early.execute("SELECT count(*) FROM iterations").fetchone() == (0,)
    wait_for_idleness()
    assert runs_in_copy(store.path) == 5


def test_closing_leaves_one_file_and_no_thread(tmp_path: Path) -> None:
    with fl.StorageManager(tmp_path / "a.db") as store:
        save_some(store)
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]
    assert idle_threads() == []


def test_closing_brings_the_log_back_though_another_process_has_the_file_open(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with fl.StorageManager(path) as store:
        save_some(store)
        with another_reader(path):
            save_some(store)
            store.close()
            assert runs_in_copy(path) == 10


@contextlib.contextmanager
def another_reader(path: Path) -> Iterator[None]:
    program = (
        "import sqlite3, sys; other = sqlite3.connect(sys.argv[1])\n"
        "other.execute('SELECT count(*) FROM iterations').fetchall(); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        yield
        other.stdin.close()


@pytest.mark.slow
def test_a_store_that_nobody_holds_is_not_kept_alive_by_its_thread(tmp_path: Path) -> None:
    store = fl.StorageManager(tmp_path / "a.db")
    save_some(store)
    pool = weakref.ref(store.pool)
    del store
    gc.collect()
    assert pool() is None
    wait_for_idleness()


@pytest.mark.slow
def test_a_file_that_has_gone_ends_it_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with fl.StorageManager(folder / "a.db") as store:
        save_some(store)
        shutil.rmtree(folder)
        wait_for_idleness()
    assert caplog.records == []
