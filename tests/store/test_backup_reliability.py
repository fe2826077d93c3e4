"""Backups and restores under load, under kill -9 and on a full disk."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import finlab_nb as fl
from finlab_nb.store.backup import restore
from finlab_nb.store.backup import scheduler as scheduling
from finlab_nb.store.backup.files import verify_backup

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals and limits"),
]
LONG = bool(os.environ.get("FINLAB_NB_LONG"))

# Saves runs and writes the number of each into a journal after the save has returned.
WRITER = """
import os, sys, finlab_nb as fl
database, strategy, name, folder = sys.argv[1:]
trade = dict(stock_code="2330", entry_date="2024-01-02", exit_date="2024-02-01", entry_price=1.0, exit_price=2.0,
             position_size=1.0, profit_loss=1.0)
journal = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
with fl.StorageManager(database) as store:
    number = 0
    while not os.path.exists(os.path.join(folder, "stop")):
        number += 1
        try:
            store.save_iteration(strategy, tags=[name], note=str(number), trades=[trade] * 20)
        except fl.StrategyNotFoundError:
            break
        os.write(journal, b"x")
"""
RUNS = "SELECT tag, count(*), max(CAST(note AS INTEGER)) FROM iterations JOIN tags USING (iteration_id) GROUP BY tag"
TORN = """
    SELECT count(*) FROM iterations AS i
    WHERE (SELECT count(*) FROM trades AS t WHERE t.iteration_id = i.iteration_id) <> 20"""


@pytest.fixture
def writers(store: fl.StorageManager, tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Return a way to start processes that save without a pause; it gives the folder of their journals."""
    folder, processes = tmp_path / "journals", []
    folder.mkdir()

    def start(count: int) -> Path:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        for number in range(count):
            command = [sys.executable, "-c", WRITER, str(store.path), strategy, f"writer{number}", str(folder)]
            processes.append(subprocess.Popen(command))
        wait_for(lambda: len(acknowledged(folder)) == count and min(acknowledged(folder).values()) > 0)
        return folder

    yield start
    (folder / "stop").touch()
    for process in processes:
        assert process.wait(60) == 0


def acknowledged(folder: Path) -> dict[str, int]:
    """Return how many saves each writer has journaled."""
    return {path.name: path.stat().st_size for path in folder.glob("writer*")}


def wait_for(true: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def check(path: Path, before: dict[str, int], after: dict[str, int]) -> None:
    """Check that a store holds a prefix of each journal, with all that was saved before and nothing torn."""
    with fl.StorageManager(path) as store, store.pool.read() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute(TORN).fetchone() == (0,)
        held = {name: (count, last) for name, count, last in connection.execute(RUNS)}
    assert held.keys() == before.keys()
    for name, (count, last) in held.items():
        assert count == last, f"{name} has a gap"
        assert before[name] <= count <= after[name] + 1, name


@pytest.mark.timeout(900)
def test_backups_under_load_restore_to_a_prefix_of_the_journal(store, writers, tmp_path):
    folder = writers(3)
    scheduler = fl.BackupScheduler(store.path, tmp_path / "backups")
    made = []
    for number in range(50 if LONG else 3):
        before = acknowledged(folder)
        path = scheduler.backup_now(compress=number % 3 == 2)
        made.append((path, before, acknowledged(folder)))
    for path, before, after in itertools.islice(itertools.cycle(made), 50 if LONG else 9):
        fl.restore_backup(path, tmp_path / "restored.db")
        check(tmp_path / "restored.db", before, after)


@pytest.mark.timeout(900)
def test_stores_of_other_processes_go_over_to_a_restored_database_by_themselves(store, writers, tmp_path, monkeypatch):
    monkeypatch.setattr(restore, "_LOCK_PATIENCE_SECONDS", 0.1)
    scheduler = fl.BackupScheduler(store.path, tmp_path / "backups")
    folder = writers(2)
    for _ in range(30 if LONG else 4):
        path = scheduler.backup_now()
        fl.restore_backup(path, store.path, force=True)
        before = acknowledged(folder)
        wait_for(lambda before=before: all(acknowledged(folder)[name] > before[name] + 3 for name in before))
    with store.pool.read() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute(TORN).fetchone() == (0,)


def test_the_real_scheduler_backs_up_when_the_time_comes(store, tmp_path, monkeypatch):
    store.save_strategy_version("momentum", "signal = 1")
    with fl.BackupScheduler(store.path, tmp_path / "backups") as scheduler, monkeypatch.context() as later:
        first = scheduler.backup_now()
        at = datetime.now(UTC) + timedelta(minutes=1)
        scheduler.start_daily_backups(at.hour, at.minute, timezone="UTC")
        (job,) = scheduler._scheduler.get_jobs()
        due = at.replace(second=0, microsecond=0)
        assert job.trigger.get_next_fire_time(None, due) == due
        if not LONG:  # the schedule knows whole minutes; the scheduler is told that one has passed
            later.setattr(scheduling, "_now", lambda: datetime.now(UTC) + timedelta(minutes=1))
            job.modify(next_run_time=datetime.now(UTC))
        wait_for(lambda: scheduler.get_backup_info()["verified_backups"] == 2, 90)
        later.undo()
        newest = scheduler.get_backup_info()
        assert newest["last_backup"] != first
        assert newest["next_backup"] > datetime.now(UTC)
        assert newest["last_error"] is None


# kill -9 ----------------------------------------------------------------------------------------------------------

BACKUPS_WITHOUT_END = """
import sys, finlab_nb as fl
scheduler = fl.BackupScheduler(sys.argv[1], sys.argv[2])
while True:
    scheduler.backup_now(sys.argv[3] == "True")
"""


@pytest.fixture
def large(store: fl.StorageManager) -> fl.StorageManager:
    """Return a store of 10 MB, whose backup takes long enough to be killed."""
    strategy = store.save_strategy_version("momentum", "signal = 1" * 1000)
    store.save_iterations({"strategy_id": strategy, "code": os.urandom(4000).hex()} for _ in range(1200))
    return store


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("ending", ["started again", "next backup"])
def test_what_a_killed_backup_leaves_is_no_backup_and_is_cleaned_up(large, tmp_path, compress, ending):
    folder = tmp_path / "backups"
    unfinished = "*.db.zst.tmp" if compress else "*.db.tmp"
    for _ in range(10 if LONG else 1):
        command = [sys.executable, "-c", BACKUPS_WITHOUT_END, str(large.path), str(folder), str(compress)]
        with subprocess.Popen(command) as process:
            while True:
                wait_for(lambda: list(folder.glob(unfinished)))
                process.send_signal(signal.SIGSTOP)
                time.sleep(0.01)
                if list(folder.glob(unfinished)):
                    break
                process.send_signal(signal.SIGCONT)
            process.kill()
        with fl.BackupScheduler(large.path, folder) as scheduler:
            assert all(verify_backup(one["path"])["verified"] for one in scheduler.list_backups())
            if ending == "next backup":
                scheduler.backup_now()
            else:
                scheduler.start_daily_backups()
                scheduler.stop()
        assert not list(folder.glob("*.tmp*"))
        kept = {path.name for path in folder.glob("*.db")} | {path.name for path in folder.glob("*.zst")}
        assert {path.stem for path in folder.glob("*.json")} == kept


DYING_RESTORE = """
import os, signal, sys
from pathlib import Path
from finlab_nb.store.backup import restore
steps = [0]

def dying(real):
    def step(*arguments):
        for moment in ("before", "after"):
            steps[0] += 1
            if steps[0] == int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)
            if moment == "before":
                result = real(*arguments)
        return result
    return step

for name in ("rename", "replace", "hardlink_to"):
    setattr(Path, name, dying(getattr(Path, name)))
restore.flush_folder = dying(restore.flush_folder)
restore.restore_backup(sys.argv[1], sys.argv[2])
"""


def test_a_restore_killed_at_any_step_leaves_the_old_or_the_new_database(store, tmp_path):
    strategy = store.save_strategy_version("momentum", "signal = 1")
    store.save_iteration(strategy, note="both")
    path = fl.BackupScheduler(store.path, tmp_path / "backups").backup_now()
    store.save_iteration(strategy, note="old only")
    store.close()
    seen = []
    for step in itertools.count(1):
        # A log that was not copied back, as a killed program leaves it.
        log = "import os,sqlite3,sys; c=sqlite3.connect(sys.argv[1],isolation_level=None);"
        log += "c.execute('UPDATE iterations SET archived=1-archived'); os.kill(os.getpid(), 9)"
        subprocess.run([sys.executable, "-c", log, str(store.path)], check=False)
        command = [sys.executable, "-c", DYING_RESTORE, str(path), str(store.path), str(step)]
        status = subprocess.run(command, check=False).returncode
        with sqlite3.connect(store.path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            held = connection.execute("SELECT note, archived FROM iterations ORDER BY iteration_number").fetchall()
        connection.close()
        seen.append(held)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        if held == [("both", 0)]:
            break
    assert len(seen) >= 5
    assert seen[-1] == [("both", 0)], "the backup is not in place"
    for number, held in enumerate(seen[:-1], start=1):
        assert held == [("both", number % 2), ("old only", number % 2)], "the old database lost commits"


# A full disk ------------------------------------------------------------------------------------------------------

FULL_DISK = """
import resource, sys, finlab_nb as fl
scheduler = fl.BackupScheduler(sys.argv[1], sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    print(scheduler.backup_now(sys.argv[4] == "True"))
except fl.StorageError as error:
    print("refused", error)
"""


@pytest.mark.parametrize(
    ("compress", "limit"), [(False, 100_000), (False, 4_000_000), (True, 15_000), (True, 4_000_000)]
)
def test_a_full_disk_gives_an_error_and_no_backup(large, tmp_path, compress, limit):
    folder = tmp_path / "backups"
    command = [sys.executable, "-c", FULL_DISK, str(large.path), str(folder), str(limit), str(compress)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("refused")
    assert "disk" in printed
    assert [file.name for file in folder.iterdir()] == [".backup.writing.lock"]
    assert fl.BackupScheduler(large.path, folder).get_backup_info()["last_backup"] is None


def test_a_disk_that_is_full_during_a_restore_leaves_the_database_alone(large, tmp_path):
    path = fl.BackupScheduler(large.path, tmp_path / "backups").backup_now()
    large.close()
    script = FULL_DISK.replace(
        'scheduler.backup_now(sys.argv[4] == "True")', "fl.restore_backup(sys.argv[4], sys.argv[1])"
    )
    command = [sys.executable, "-c", script, str(large.path), str(tmp_path), "1000000", str(path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("refused")
    with fl.StorageManager(large.path) as again, again.pool.read() as connection:
        assert connection.execute("SELECT count(*) FROM iterations").fetchone() == (1200,)
    assert not list(tmp_path.glob(".*restoring*"))


def test_a_restore_waits_for_a_short_query_of_another_program(store, tmp_path, monkeypatch):
    store.save_strategy_version("momentum", "signal = 1")
    path = fl.BackupScheduler(store.path, tmp_path / "backups").backup_now()
    store.close()
    script = "import sqlite3,sys,time; c=sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM strategies'); "
    script += "print('ready', flush=True); time.sleep(0.5); c.close()"
    monkeypatch.setattr(restore, "_LOCK_PATIENCE_SECONDS", 30.0)
    with subprocess.Popen([sys.executable, "-c", script, str(store.path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(fl.restore_backup(path, store.path)) >= 1
