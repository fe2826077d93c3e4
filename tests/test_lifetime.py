"""Whatever nobody holds any more closes itself: connections, threads, temporary folders, processes."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import finlab_nb as fl
from finlab_nb.store import registry

PATIENCE = 10.0
LABS = 1000 if os.environ.get("FINLAB_NB_LONG") else 20
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")


def open_files(path: Path) -> list[str]:
    """Return the files of a database that this process has open."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:  # the one that lists them
            continue
        if name.startswith(str(path)):
            found.append(name)
    return found


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def save(store: fl.StorageManager, **values: Any) -> str:
    strategy = store.save_strategy_version("momentum", "code")
    return store.save_iteration(strategy, metrics={"sharpe_ratio": 1.0}, **values)


# Stores -----------------------------------------------------------------------------------------------------------


@needs_proc
def test_a_store_that_nobody_holds_closes_its_connections_at_once(tmp_path: Path) -> None:
    store = fl.StorageManager(tmp_path / "a.db")
    assert store.find_strategies("momentum") == []
    assert open_files(tmp_path / "a.db")
    gc.disable()
    try:
        del store
        assert open_files(tmp_path / "a.db") == []
    finally:
        gc.enable()


@needs_proc
def test_a_store_that_has_written_brings_its_log_back_when_nobody_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    log = path.with_name("a.db-wal")
    with fl.StorageManager(path) as reading:  # while another store has the file open, SQLite itself leaves the log
        store = fl.StorageManager(path)
        save(store, note="n" * 1_000_000)
        others = len(open_files(path))
        assert path.stat().st_size < 1_000_000
        del store
        wait_until(lambda: len(open_files(path)) < others)
        assert path.stat().st_size > 1_000_000
        assert log.exists()
        assert reading.find_strategies("momentum")
    assert not log.exists()


def test_the_private_database_of_a_store_goes_with_it() -> None:
    store = fl.StorageManager(":memory:")
    save(store)
    folder = store.path.parent
    assert folder.is_dir()
    del store
    wait_until(lambda: not folder.exists())


@needs_proc
def test_a_store_in_a_cycle_is_closed_by_the_garbage_collector(tmp_path: Path) -> None:
    store = fl.StorageManager(tmp_path / "a.db")
    cycle: dict[str, Any] = {"store": store}
    cycle["itself"] = cycle
    del store, cycle
    assert open_files(tmp_path / "a.db")
    gc.collect()
    assert open_files(tmp_path / "a.db") == []


def test_stores_are_collected_between_any_two_steps_of_another_one(tmp_path: Path) -> None:
    """A finalizer that waits for a lock would wait here for the very thread that it interrupts."""
    thresholds = gc.get_threshold()
    with fl.StorageManager(tmp_path / "a.db") as store:
        for _ in range(30):
            other = fl.StorageManager(tmp_path / ("a.db" if _ % 2 else "b.db"))
            save(other)
            cycle: list[Any] = [other]
            cycle.append(cycle)
            gc.set_threshold(1 + _)
            del other, cycle
            try:
                save(store)
            finally:
                gc.set_threshold(*thresholds)
        assert store.check() == []


def test_a_store_whose_file_is_refused_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database" * 100)
    with pytest.raises(fl.StorageError, match="not a SQLite database"):
        fl.StorageManager(tmp_path / "a.db")
    gc.collect()
    assert open_files(tmp_path / "a.db") == []


def test_a_store_that_nobody_holds_keeps_no_restore_from_its_work(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = fl.StorageManager(path)
    save(store)
    backup = fl.BackupScheduler(path, tmp_path / "backups").backup_now()
    save(store)
    cycle: list[Any] = [store]
    cycle.append(cycle)
    with pytest.raises(fl.StorageError, match="open in this process"):
        fl.restore_backup(backup, path)
    del store, cycle
    fl.restore_backup(backup, path)
    with fl.Lab(path) as lab:
        assert len(lab.iterations()) == 1


def test_a_schedule_goes_on_though_nobody_holds_it_or_the_store(tmp_path: Path) -> None:
    store = fl.StorageManager(tmp_path / "a.db")
    save(store)
    fl.BackupScheduler(store.path, tmp_path / "backups").start_daily_backups()
    del store
    gc.collect()
    backups = fl.BackupScheduler(tmp_path / "a.db", tmp_path / "backups")
    wait_until(backups.list_backups)
    backups.start_daily_backups()  # takes the schedule over, which shows that it was still there
    backups.stop()


def test_stores_may_be_opened_while_others_are_looked_at(tmp_path: Path) -> None:
    over, interval, others = threading.Event(), sys.getswitchinterval(), contextlib.ExitStack()

    def open_and_close() -> None:
        while not over.is_set():
            fl.StorageManager(tmp_path / "a.db").close()

    threads = [threading.Thread(target=open_and_close) for _ in range(2)]
    sys.setswitchinterval(1e-6)
    try:
        with others:
            stores = [others.enter_context(fl.StorageManager(tmp_path / f"{number}.db")) for number in range(20)]
            for thread in threads:
                thread.start()
            for _ in range(20_000):
                assert registry.transaction_on(stores[0].path) is None
    finally:
        sys.setswitchinterval(interval)
        over.set()
        for thread in threads:
            thread.join()


# Labs -------------------------------------------------------------------------------------------------------------


def test_what_is_held_of_a_lab_goes_on_without_it(tmp_path: Path) -> None:
    lab = fl.Lab(tmp_path / "a.db")
    store, frames = lab.store, lab.frames
    del lab
    gc.collect()
    save(store)
    assert len(frames.iterations()) == 1
    del store
    gc.collect()
    assert len(frames.iterations()) == 1


def own_threads() -> list[str]:
    """Return the functions of this package that are what a thread runs."""
    found = []
    for frame in sys._current_frames().values():
        outermost: FrameType = frame
        while outermost.f_back is not None:
            outermost = outermost.f_back
        if outermost.f_globals["__name__"].startswith("finlab_nb"):
            found.append(outermost.f_code.co_qualname)
    return found


def _state(folder: Path) -> dict[str, int]:
    gc.collect()
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "temporary files": len(os.listdir(folder)),
        "children": len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()),
    }


@needs_proc
@pytest.mark.parametrize("place", [":memory:", "a.db"])
def test_labs_that_are_made_used_and_dropped_leave_nothing(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def use(times: int) -> None:
        for number in range(times):
            lab = fl.Lab(place if place == ":memory:" else tmp_path / place)
            if number % 2:
                lab.store.annotate(save(lab.store), starred=True)
            if number % 3:
                assert len(lab.iterations()) >= number % 2
            if number % 10 == 9:
                lab.explore().close()

    gc.collect()
    others = own_threads()  # of a test that failed, whose lab its traceback holds
    use(20)  # after which the threads of libraries are there
    wait_until(lambda: len(own_threads()) <= len(others) and not os.listdir(scratch))  # a new thread has no frame yet
    before = _state(scratch)
    use(LABS)
    # Libraries start threads of their own when it suits them, but not one a lab.
    most = {what: number + (LABS // 2 if what in ("descriptors", "threads") else 0) for what, number in before.items()}
    wait_until(lambda: all(number <= most[what] for what, number in _state(scratch).items()))
    wait_until(lambda: len(own_threads()) <= len(others))


AT_THE_END = """
import sys, finlab_nb as fl

def used(path):
    lab = fl.Lab(path)
    lab.store.save_iteration(lab.store.save_strategy_version("momentum", "code"))
    assert len(lab.iterations()) >= 1
    return lab

kept = used("kept.db")
used("dropped.db")
private = used(":memory:")
cycle = [used("cycle.db"), used(":memory:")]
cycle.append(cycle)
del cycle
"""


def test_the_end_of_a_program_is_silent_and_leaves_single_files(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", AT_THE_END],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path / "temporary")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(path.name for path in tmp_path.glob("*.db*") if path.is_file()) == [
        "cycle.db",
        "dropped.db",
        "kept.db",
    ]
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forks_beside_threads_that_drop_stores_disturb_neither(tmp_path: Path) -> None:
    path, over, failures = tmp_path / "a.db", threading.Event(), []

    def drop() -> None:
        while not over.is_set():
            try:
                save(fl.StorageManager(path))
                save(fl.StorageManager(":memory:"))
            except BaseException as error:
                failures.append(error)
                raise

    threads = [threading.Thread(target=drop) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        child = os.fork()
        if child == 0:
            try:
                with fl.StorageManager(path) as store:
                    save(store)
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    over.set()
    for thread in threads:
        thread.join()
    assert failures == []
    with fl.StorageManager(path) as store:
        assert store.check() == []
