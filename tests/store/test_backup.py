"""Backups: made, verified, listed, kept and scheduled."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import finlab_nb as fl
from finlab_nb.store import schema
from finlab_nb.store.backup import files
from finlab_nb.store.backup import scheduler as scheduling
from finlab_nb.store.backup.files import manifest_path, verify_backup
from finlab_nb.store.backup.schedule import Schedule


@pytest.fixture
def filled(store: fl.StorageManager) -> fl.StorageManager:
    """Return a store with three runs."""
    strategy = store.save_strategy_version("momentum", "signal = 1")
    trade = {
        "stock_code": "2330",
        "entry_date": "2024-01-02",
        "exit_date": "2024-02-01",
        "entry_price": 100.0,
        "exit_price": 101.0,
        "position_size": 1.0,
        "profit_loss": 1.0,
    }
    for _ in range(3):
        store.save_iteration(strategy, trades=[trade] * 4, metrics={"sharpe_ratio": 1.0})
    return store


@pytest.fixture
def backups(filled: fl.StorageManager, tmp_path: Path) -> Iterator[fl.BackupScheduler]:
    """Return a scheduler on that store."""
    with fl.BackupScheduler(filled.path, tmp_path / "backups") as scheduler:
        yield scheduler


def put_backup(scheduler: fl.BackupScheduler, age_days: float, *, verified: bool = True) -> Path:
    """Put a file that looks like a backup of that age into the folder."""
    scheduler.backup_dir.mkdir(exist_ok=True)
    created = datetime.now(UTC) - timedelta(days=age_days)
    path = scheduler.backup_dir / f"backtest_backup_{created:%Y%m%d_%H%M%S}.db"
    path.write_bytes(b"12345")
    if verified:
        manifest = {
            "created_at": created.isoformat(),
            "size": 5,
            "sha256": "0" * 64,
            "database": str(scheduler.db_path),
            "rows": {"iterations": 1},
            "schema_version": schema.newest_version(),
            "generation": "0" * 16,
        }
        manifest_path(path).write_text(json.dumps(manifest), encoding="utf-8")
    return path


def eventually(true: Callable[[], Any], seconds: float = 10.0) -> bool:
    """Wait for something that another thread brings about."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(true())


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


# Making -----------------------------------------------------------------------------------------------------------


def test_a_backup_is_one_file_named_by_the_second_with_a_manifest_beside_it(backups):
    before = datetime.now(UTC).replace(microsecond=0)
    path = backups.backup_now()
    stamp = datetime.strptime(path.name, "backtest_backup_%Y%m%d_%H%M%S.db").replace(tzinfo=UTC)
    assert before <= stamp <= datetime.now(UTC)
    assert names(backups.backup_dir) == {path.name, f"{path.name}.json"}


def test_a_backup_holds_every_row_and_needs_no_log(backups, filled):
    path = backups.backup_now()
    with sqlite3.connect(path) as copy:
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert copy.execute("SELECT count(*) FROM trades").fetchone() == (12,)
    copy.close()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no such permissions")
def test_a_database_that_may_not_be_written_is_backed_up_without_a_traceback(filled, tmp_path):
    place = Path(tempfile.mkdtemp())  # where other users may look
    try:
        place.chmod(0o777)
        shutil.copy(fl.BackupScheduler(filled.path, tmp_path / "backups").backup_now(), place / "store.db")
        (place / "store.db").chmod(0o444)
        script = (
            "import os, sys, finlab_nb as fl\n"
            "from finlab_nb.store import backup, schema; schema.migrations()\n"
            "if os.geteuid() == 0: os.setuid(65534)\n"
            "fl.BackupScheduler(sys.argv[1], sys.argv[2]).backup_now()\n"
        )
        command = [sys.executable, "-W", "error", "-c", script, str(place / "store.db"), str(place / "backups")]
        assert subprocess.run(command, capture_output=True, text=True, check=False).stderr == ""
        (made,) = (place / "backups").glob("*.db")
        assert verify_backup(made)["iterations"] == 3
    finally:
        shutil.rmtree(place)


def test_the_manifest_says_what_the_backup_holds(backups, filled):
    path = backups.backup_now()
    manifest = json.loads(manifest_path(path).read_text(encoding="utf-8"))
    with filled.pool.read() as connection:
        generation, counter = connection.execute("SELECT generation, change_counter FROM store_state").fetchone()
        (store_id,) = connection.execute("SELECT store_id FROM store_state").fetchone()
    assert manifest["store_id"] == store_id
    assert manifest["rows"]["iterations"] == 3
    assert manifest["rows"]["trades"] == 12
    assert (manifest["generation"], manifest["change_counter"]) == (generation, counter)
    assert manifest["size"] == path.stat().st_size
    assert manifest["database"] == str(filled.path)
    assert manifest["schema_version"] == schema.newest_version()


@pytest.mark.slow
def test_two_backups_within_a_second_have_names_of_their_own(backups):
    made = [backups.backup_now() for _ in range(3)]
    assert len(set(made)) == 3
    assert [one["path"] for one in backups.list_backups()] == made[::-1]


@pytest.mark.slow
def test_backups_made_by_several_threads_at_once_are_all_whole(backups):
    made: list[Path] = []
    threads = [threading.Thread(target=lambda: made.append(backups.backup_now())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 3
    assert all(verify_backup(path)["verified"] for path in made)


def test_a_compressed_backup_is_smaller_and_verifies(backups):
    plain, packed = backups.backup_now(), backups.backup_now(compress=True)
    assert packed.name.endswith(".db.zst")
    assert packed.stat().st_size < plain.stat().st_size / 3
    assert verify_backup(packed)["rows"] == verify_backup(plain)["rows"]
    assert names(backups.backup_dir) == {plain.name, packed.name, f"{plain.name}.json", f"{packed.name}.json"}


def test_a_missing_database_is_not_created(tmp_path):
    scheduler = fl.BackupScheduler(tmp_path / "no.db", tmp_path / "backups")
    with pytest.raises(fl.StorageError, match=r"no\.db does not exist"):
        scheduler.backup_now()
    assert not (tmp_path / "no.db").exists()
    assert "does not exist" in scheduler.get_backup_info()["last_error"]


def test_the_database_of_another_program_is_not_backed_up(tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE photos (name)")
    other.close()
    scheduler = fl.BackupScheduler(tmp_path / "other.db", tmp_path / "backups")
    with pytest.raises(fl.StorageError, match="another program"):
        scheduler.backup_now()
    assert scheduler.list_backups() == []


def test_a_database_with_orphan_rows_gives_no_backup_but_an_error_that_names_them(backups, filled):
    with sqlite3.connect(filled.path) as foreign:
        foreign.execute("INSERT INTO tags VALUES ('nobody', 'lost')")
    foreign.close()
    with pytest.raises(fl.StorageError, match="tags names a row of iterations that is missing"):
        backups.backup_now()
    assert names(backups.backup_dir) == set()


def test_a_row_that_breaks_a_check_is_copied_as_it_is(backups, filled):
    with sqlite3.connect(filled.path) as foreign:
        foreign.execute("PRAGMA ignore_check_constraints = ON")
        foreign.execute("UPDATE metrics SET win_rate = 7.0")
    foreign.close()
    assert verify_backup(backups.backup_now())["verified"]


def test_a_backup_folder_that_is_a_file_is_refused_with_advice(filled, tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(fl.StorageError, match="choose"):
        fl.BackupScheduler(filled.path, tmp_path / "taken").backup_now()


def test_loss_between_copying_and_verifying_is_noticed(backups, monkeypatch):
    path = backups.backup_now()
    manifest = json.loads(manifest_path(path).read_text(encoding="utf-8"))
    manifest["rows"]["trades"] += 1
    manifest_path(path).write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(fl.StorageError, match="differs from its manifest: rows"):
        backups.verify_backup(path)


# Verifying and listing --------------------------------------------------------------------------------------------


def test_a_changed_byte_is_noticed(backups):
    for path in (backups.backup_now(), backups.backup_now(compress=True)):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
        with pytest.raises(fl.StorageError, match=r"damaged|differs"):
            verify_backup(path)


def test_a_backup_that_was_cut_short_is_listed_as_unverified_and_refused(backups):
    for path in (backups.backup_now(), backups.backup_now(compress=True)):
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(fl.StorageError):
            verify_backup(path)
    assert [one["verified"] for one in backups.list_backups()] == [False, False]
    assert backups.get_backup_info()["last_backup"] is None


def test_a_backup_without_a_manifest_is_checked_but_stays_unverified(backups):
    path = backups.backup_now()
    manifest_path(path).unlink()
    assert backups.list_backups()[0]["verified"] is False
    assert verify_backup(path)["verified"] is False
    assert verify_backup(path)["iterations"] == 3


def test_a_manifest_that_is_no_manifest_counts_as_none(backups):
    path = backups.backup_now()
    for text in ("", "[]", "{}", '{"size": 1}', "\x00"):
        manifest_path(path).write_text(text, encoding="utf-8")
        assert backups.list_backups()[0]["verified"] is False


def test_a_database_in_use_is_not_taken_for_a_backup(filled):
    with pytest.raises(fl.StorageError, match="open in this process, and no backup"):
        verify_backup(filled.path)


def test_files_that_are_no_backups_are_not_listed(backups):
    path = backups.backup_now()
    for name in ("notes.txt", "backtest_backup_20249999_000000.db", "backtest_backup_20240101_000000.db.part"):
        (backups.backup_dir / name).write_text("x")
    (backups.backup_dir / "backtest_backup_20240101_000000.db").mkdir()
    assert [one["path"] for one in backups.list_backups()] == [path]


def test_a_folder_that_does_not_exist_holds_no_backups(filled, tmp_path):
    scheduler = fl.BackupScheduler(filled.path, tmp_path / "none")
    assert scheduler.list_backups() == []
    assert scheduler.cleanup_old_backups() == 0
    assert scheduler.get_backup_info()["backups"] == 0
    assert not (tmp_path / "none").exists()


def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(backups):
    path = backups.backup_now()
    stem = "backtest_backup_20240101_000000"
    for name in (
        f"{stem}.db.tmp",
        f"{stem}.db.tmp-journal",
        f"{stem}.db.tmp-wal",
        f"{stem}.db.tmp-shm",
        f"{stem}.db.zst.tmp",
        f"{stem}.db.json",
        f"{stem}.db.tmp.json",
    ):
        (backups.backup_dir / name).write_text("x")
    foreign = {"mine.tmp", f"{stem}.db.tmp.txt", "backtest_backup_old.db.tmp", "backtest_backup_notes.json"}
    for name in foreign:
        (backups.backup_dir / name).write_text("x")
    backups.cleanup_old_backups()
    assert names(backups.backup_dir) == {path.name, f"{path.name}.json", *foreign}


# Arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [("retention_days", -1), ("retention_days", "30"), ("retention_days", float("nan")), ("retention_days", True)]
    + [("keep", 0), ("keep", 1.5), ("keep", None)]
    + [(f"keep_{period}", value) for period in ("hourly", "daily", "weekly", "monthly") for value in (-1, 1.5, None)],
)
def test_a_wrong_retention_is_named(tmp_path, field, value):
    with pytest.raises(ValueError, match=field):
        fl.BackupScheduler(tmp_path / "a.db", tmp_path, **{field: value})


@pytest.mark.parametrize(
    "wrong",
    [{"hour": 24}, {"hour": -1}, {"hour": "2"}, {"minute": 60}, {"minute": 1.5}, {"timezone": "Mars"}, {"timezone": 3}],
)
def test_a_wrong_time_is_named(backups, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        backups.start_daily_backups(**wrong)
    assert not backups.get_backup_info()["running"]


# The schedule -----------------------------------------------------------------------------------------------------


def test_a_start_without_any_backup_makes_one_at_once(backups):
    backups.start_daily_backups()
    assert eventually(lambda: backups.get_backup_info()["last_backup"])


def test_a_start_after_a_missed_time_catches_up(backups):
    put_backup(backups, 1.1)
    backups.start_daily_backups()
    assert eventually(lambda: backups.get_backup_info()["backups"] == 2)


def test_a_start_with_a_backup_of_this_day_waits_for_the_time(backups):
    backups.backup_now()
    soon = datetime.now(UTC) + timedelta(hours=2)
    put_backup(backups, 0.001)
    backups.start_daily_backups(soon.hour, soon.minute, timezone="UTC")
    info = backups.get_backup_info()
    assert info["running"]
    assert info["next_backup"] == soon.replace(second=0, microsecond=0)
    assert info["schedule"] == {"hour": soon.hour, "minute": soon.minute, "timezone": "UTC", "compress": False}
    time.sleep(0.2)
    assert backups.get_backup_info()["backups"] == 2


def test_the_time_of_day_is_that_of_the_timezone(backups):
    backups.backup_now()
    backups.start_daily_backups(2, 30, timezone="Asia/Taipei")
    due = backups.get_backup_info()["next_backup"].astimezone(UTC)
    assert (due.hour, due.minute) == (18, 30)


def test_the_time_of_day_is_that_of_this_machine_unless_told_otherwise(backups):
    backups.backup_now()
    script = (
        "import sys, finlab_nb as fl\n"
        "with fl.BackupScheduler(sys.argv[1], sys.argv[2]) as backups:\n"
        "    backups.start_daily_backups(hour=2)\n"
        "    info = backups.get_backup_info()\n"
        "print(info['next_backup'].utcoffset(), info['next_backup'].hour, info['schedule']['timezone'])\n"
    )
    printed = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(backups.db_path), str(backups.backup_dir)],
        env=os.environ | {"TZ": "Asia/Taipei"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == "8:00:00 2 local\n"


@pytest.mark.parametrize(
    ("now", "last", "following"),
    [("2026-03-29 12:00", "2026-03-29 02:00", "2026-03-30 02:00"), ("2026-03-29 00:30", "2026-03-28 03:00", None)],
)
def test_a_time_that_daylight_saving_moves_is_found(now, last, following):
    moments = [one and datetime.fromisoformat(f"{one}+00:00") for one in (now, last, following)]
    found = Schedule(4, 0, ZoneInfo("Europe/Berlin"), compress=False).times(moments[0])
    assert found == (moments[1], moments[2] or datetime(2026, 3, 29, 2, tzinfo=UTC))


def test_a_failed_backup_is_tried_again_within_the_hour(backups, filled):
    hidden = filled.path.rename(filled.path.with_suffix(".hidden"))
    backups.start_daily_backups()
    assert eventually(lambda: backups.get_backup_info()["last_error"])
    (job,) = backups._scheduler.get_jobs()
    assert job.next_run_time < datetime.now(UTC) + timedelta(hours=1)
    hidden.rename(filled.path)
    job.modify(next_run_time=datetime.now(UTC))  # instead of ten minutes
    assert eventually(lambda: backups.get_backup_info()["last_backup"])
    assert eventually(lambda: backups.get_backup_info()["last_error"] is None)


def test_a_backup_from_the_future_does_not_keep_the_next_ones_from_being_made(backups):
    put_backup(backups, -400)
    backups.start_daily_backups()
    assert eventually(lambda: backups.get_backup_info()["backups"] == 2)


def test_an_error_of_a_scheduled_backup_is_seen_and_logged(tmp_path, caplog):
    with fl.BackupScheduler(tmp_path / "no.db", tmp_path / "backups") as scheduler:
        with caplog.at_level(logging.ERROR, "finlab_nb"):
            scheduler.start_daily_backups()
            assert eventually(lambda: any("the backup of" in record.message for record in caplog.records))
        assert all(record.exc_info is None for record in caplog.records)
        info = scheduler.get_backup_info()
    assert "does not exist" in info["last_error"]
    assert info["last_error_at"] <= datetime.now(UTC)


def test_a_success_clears_the_error(backups, filled):
    hidden = filled.path.rename(filled.path.with_suffix(".hidden"))
    with pytest.raises(fl.StorageError):
        backups.backup_now()
    hidden.rename(filled.path)
    backups.backup_now()
    assert backups.get_backup_info()["last_error"] is None


def test_stop_ends_the_threads_and_can_be_called_twice(backups):
    before = set(threading.enumerate())
    backups.start_daily_backups()
    assert set(threading.enumerate()) > before
    backups.stop()
    backups.stop()
    assert set(threading.enumerate()) <= before
    assert not backups.get_backup_info()["running"]
    assert backups.get_backup_info()["next_backup"] is None


def test_stop_lets_a_backup_under_way_finish(backups):
    backups.start_daily_backups()
    backups.stop()
    assert [one["verified"] for one in backups.list_backups()] in ([True], [])
    assert all(not name.endswith(".tmp") for name in names(backups.backup_dir))


def test_starting_again_replaces_the_schedule(backups):
    backups.start_daily_backups(3)
    backups.start_daily_backups(4)
    assert backups.get_backup_info()["schedule"]["hour"] == 4
    assert sum(thread.name == "APScheduler" for thread in threading.enumerate()) == 1


def test_a_second_scheduler_of_the_process_takes_the_folder_over(backups, filled):
    backups.start_daily_backups(3)
    with fl.BackupScheduler(filled.path, backups.backup_dir) as again:
        again.start_daily_backups(4)
        assert not backups.get_backup_info()["running"]
        assert again.get_backup_info()["running"]
        backups.stop()
        assert again.get_backup_info()["running"]


def test_a_folder_has_the_schedule_of_one_database(backups, tmp_path):
    backups.start_daily_backups()
    with pytest.raises(fl.StorageError, match="choose another folder"):
        fl.BackupScheduler(tmp_path / "other.db", backups.backup_dir).start_daily_backups()


@pytest.mark.slow
def test_another_process_cannot_start_a_second_schedule(backups):
    backups.start_daily_backups()
    script = (
        "import sys, finlab_nb as fl\n"
        "try: fl.BackupScheduler(sys.argv[1], sys.argv[2]).start_daily_backups()\n"
        "except fl.StorageError as error: print(error)"
    )
    command = [sys.executable, "-c", script, str(backups.db_path), str(backups.backup_dir)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"process {os.getpid()} runs daily backups" in printed
    backups.stop()
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_a_process_that_ends_without_stop_leaves_no_thread_and_no_lock(backups):
    script = "import sys, finlab_nb as fl; fl.BackupScheduler(sys.argv[1], sys.argv[2]).start_daily_backups()"
    subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(backups.db_path), str(backups.backup_dir)],
        timeout=30,
        check=True,
    )
    backups.start_daily_backups()
    assert backups.get_backup_info()["running"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_run_the_schedule_nor_hold_its_lock(backups):
    backups.backup_now()
    backups.start_daily_backups()
    backups.stop()
    backups.start_daily_backups()
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready[1], b"r" if backups.get_backup_info()["running"] else b"-")
        os.read(done[0], 1)
        os._exit(0)
    try:
        assert os.read(ready[0], 1) == b"-"
        backups.stop()
        backups.start_daily_backups()
        assert backups.get_backup_info()["running"]
    finally:
        os.write(done[1], b"d")
        os.waitpid(child, 0)


def test_importing_the_package_loads_no_scheduler():
    script = "import sys, finlab_nb, finlab_nb.store; print('apscheduler' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed == "False\n"


def test_the_names_of_the_package_are_those_of_the_modules():
    assert fl.BackupScheduler is scheduling.BackupScheduler
    assert files.verify_backup is verify_backup


def test_a_database_that_is_open_here_is_never_read_as_a_backup(tmp_path):
    """Its log is empty, so that only this process knows that it is in use."""
    with fl.StorageManager(tmp_path / "open.db") as store:
        with store.pool.read() as connection:
            connection.execute("SELECT 1 FROM strategies").fetchall()
        assert not Path(f"{store.path}-wal").exists() or Path(f"{store.path}-wal").stat().st_size == 0
        with pytest.raises(fl.StorageError, match="open in this process, and no backup"):
            verify_backup(store.path)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_another_name_of_a_database_that_is_open_here_is_no_backup_either(filled, tmp_path, link):
    for name in ("other.db", "backtest_backup_20240101_000000.db"):
        link(filled.path, tmp_path / name)
        with pytest.raises(fl.StorageError, match="open in this process, and no backup"):
            verify_backup(tmp_path / name)
        with pytest.raises(fl.StorageError, match=r"open in this process|the database itself"):
            fl.restore_backup(tmp_path / name, filled.path, force=True)
        with pytest.raises(fl.StorageError, match=r"open in this process|the database itself"):
            fl.restore_backup(filled.path, tmp_path / name)


# As it is ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "schema_of_it"), [("schema_1.db", 1), ("schema_2.db", 2), ("schema_5.db", 5), ("original", 0)]
)
@pytest.mark.parametrize("compress", [False, True])
def test_an_older_database_is_backed_up_as_it_is_and_upgraded_after_its_restore(tmp_path, name, schema_of_it, compress):
    database = older(tmp_path / "older.db", name)
    before = database.read_bytes()
    backups = fl.BackupScheduler(database, tmp_path / "backups")
    made = backups.backup_now(compress=compress)
    with sqlite3.connect(database) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        held = connection.execute("SELECT * FROM iterations ORDER BY 1").fetchall()
    connection.close()
    assert version == schema_of_it
    assert schema_of_it or database.read_bytes() == before
    assert verify_backup(made)["verified"]
    assert [one["schema_version"] for one in backups.list_backups()] == [version]
    assert backups.get_backup_info()["last_backup"] == made
    fl.restore_backup(made, tmp_path / "restored.db")
    with sqlite3.connect(tmp_path / "restored.db") as connection:
        assert connection.execute("SELECT * FROM iterations ORDER BY 1").fetchall() == held
    connection.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fl.UpgradeWarning)
        with fl.StorageManager(tmp_path / "restored.db") as store, store.pool.read() as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (schema.newest_version(),)
            assert connection.execute("SELECT count(*) FROM iterations").fetchone() >= (len(held),)


def older(path: Path, name: str) -> Path:
    """Put a database of an earlier release there, or one of the original layer, with a row that has lost its owner."""
    if name != "original":
        return Path(shutil.copy(Path(__file__).parents[1] / "data" / name, path))
    with sqlite3.connect(path) as connection:
        for table, columns in schema.ORIGINAL_TABLES.items():
            parent = ", FOREIGN KEY (iteration_id) REFERENCES iterations (iteration_id)" if table == "metrics" else ""
            connection.execute(f"CREATE TABLE {table} ({columns[0]} PRIMARY KEY, {', '.join(columns[1:])}{parent})")
        connection.execute("INSERT INTO strategies VALUES ('s1', 'momentum', 'signal = 1', '{}', '2024-01-02', NULL)")
        connection.execute("INSERT INTO iterations VALUES ('i1', 's1', 1, 'signal = 1', '2024-01-02T03:04:05')")
        connection.execute("INSERT INTO metrics VALUES (1, 'lost', 0.1, 1.0, -0.1, 0.5, 3)")
    connection.close()
    return path
