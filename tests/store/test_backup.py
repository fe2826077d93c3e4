"""Backups: made, verified, listed, kept and scheduled."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
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
from finlab_nb.store.backup.retention import Retention


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


def test_the_manifest_says_what_the_backup_holds(backups, filled):
    path = backups.backup_now()
    manifest = json.loads(manifest_path(path).read_text(encoding="utf-8"))
    with filled.pool.read() as connection:
        generation, counter = connection.execute("SELECT generation, change_counter FROM store_state").fetchone()
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


# Keeping ----------------------------------------------------------------------------------------------------------


def test_backups_older_than_the_retention_are_removed_with_their_manifests(backups):
    old, young = put_backup(backups, 31), put_backup(backups, 29)
    assert backups.cleanup_old_backups() == 1
    assert names(backups.backup_dir) == {young.name, f"{young.name}.json"}
    assert not old.exists()


def test_the_newest_verified_backup_stays_however_old(backups):
    newest = put_backup(backups, 400)
    put_backup(backups, 500)
    put_backup(backups, 300, verified=False)
    assert backups.cleanup_old_backups() == 2
    assert names(backups.backup_dir) == {newest.name, f"{newest.name}.json"}


def test_without_any_verified_backup_the_newest_file_stays(backups):
    newest = put_backup(backups, 300, verified=False)
    put_backup(backups, 500, verified=False)
    assert backups.cleanup_old_backups() == 1
    assert newest.exists()


def test_no_retention_keeps_everything(filled, tmp_path):
    scheduler = fl.BackupScheduler(filled.path, tmp_path / "backups", retention_days=None)
    for age in (1, 1000, 5000):
        put_backup(scheduler, age)
    assert scheduler.cleanup_old_backups() == 0


def test_backups_of_another_database_in_the_folder_are_left_alone(backups, tmp_path):
    other = fl.BackupScheduler(tmp_path / "other.db", backups.backup_dir)
    foreign = [put_backup(other, age) for age in (100, 200)]
    put_backup(backups, 1)
    assert backups.cleanup_old_backups() == 0
    assert all(path.exists() for path in foreign)
    assert backups.get_backup_info()["backups"] == 1
    assert len(backups.list_backups()) == 3


def test_counts_keep_the_newest_of_each_period():
    class Dated:
        verified = True

        def __init__(self, created_at: datetime) -> None:
            self.created_at = created_at

    now = datetime(2026, 6, 30, 12, tzinfo=UTC)
    dated = [Dated(now - timedelta(hours=6 * number)) for number in range(4 * 200)]
    rule = Retention(days=0, keep_hourly=2, keep_daily=3, keep_weekly=2, keep_monthly=3)
    gone = {one.created_at for one in rule.expired(dated, now)}
    kept = [one.created_at.strftime("%m-%d %H") for one in dated if one.created_at not in gone]
    assert kept == ["06-30 12", "06-30 06", "06-29 18", "06-28 18", "05-31 18", "04-30 18"]


def test_a_count_is_not_filled_by_unverified_backups(filled, tmp_path):
    scheduler = fl.BackupScheduler(filled.path, tmp_path / "backups", retention_days=0, keep_daily=2)
    kept = [put_backup(scheduler, 3), put_backup(scheduler, 5)]
    put_backup(scheduler, 1, verified=False)
    assert scheduler.cleanup_old_backups() == 1
    assert all(path.exists() for path in kept)


def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(backups):
    path = backups.backup_now()
    stem = "backtest_backup_20240101_000000"
    for name in (
        f"{stem}.db.tmp",
        f"{stem}.db.tmp-journal",
        f"{stem}.db.zst.tmp",
        f"{stem}.db.json",
        f"{stem}.db.tmp.json",
    ):
        (backups.backup_dir / name).write_text("x")
    (backups.backup_dir / "mine.tmp").write_text("x")
    backups.cleanup_old_backups()
    assert names(backups.backup_dir) == {path.name, f"{path.name}.json", "mine.tmp"}


# Arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [("retention_days", -1), ("retention_days", "30"), ("retention_days", float("nan")), ("retention_days", True)]
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
    backups.start_daily_backups(soon.hour, soon.minute)
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


def test_a_time_that_daylight_saving_moves_is_found():
    zone = ZoneInfo("Europe/Berlin")
    now = datetime(2026, 3, 29, 12, tzinfo=UTC)
    assert scheduling._last_due(now, 4, 0, zone).astimezone(UTC) == datetime(2026, 3, 29, 2, tzinfo=UTC)
    early = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    assert scheduling._last_due(early, 4, 0, zone).astimezone(UTC) == datetime(2026, 3, 28, 3, tzinfo=UTC)


def test_an_error_of_a_scheduled_backup_is_seen_and_logged(tmp_path, caplog):
    with fl.BackupScheduler(tmp_path / "no.db", tmp_path / "backups") as scheduler:
        with caplog.at_level(logging.ERROR, "finlab_nb"):
            scheduler.start_daily_backups()
            assert eventually(lambda: any("the backup of" in record.message for record in caplog.records))
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
