"""Which backups are removed, and when none is: whatever the clock, the folder and the newest backup look like."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import finlab_nb as fl
from finlab_nb.store import schema
from finlab_nb.store.backup import scheduler as scheduling
from finlab_nb.store.backup.files import Backup, manifest_path
from finlab_nb.store.backup.making import store_id_of
from finlab_nb.store.backup.retention import Retention, reason_to_wait

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
TODAY = datetime.now(UTC)


def of_age(days: float, iterations: int = 1, **manifest: Any) -> Backup:
    """Return a verified backup of that age on the day NOW."""
    created = NOW - timedelta(days=days)
    path = Path(f"backtest_backup_{created:%Y%m%d_%H%M%S}.db")
    return Backup(path, created, created, 5, {"size": 5, "rows": {"iterations": iterations}} | manifest)


def ages(backups: Sequence[Backup]) -> list[float]:
    return [(NOW - one.created_at) / timedelta(days=1) for one in backups]


@pytest.fixture
def backups(store: fl.StorageManager, tmp_path: Path) -> fl.BackupScheduler:
    """Return a scheduler on a store with ten runs."""
    strategy = store.save_strategy_version("momentum", "signal = 1")
    store.save_iterations({"strategy_id": strategy} for _ in range(10))
    return fl.BackupScheduler(store.path, tmp_path / "backups")


def put_backup(scheduler: fl.BackupScheduler, age_days: float, written: float | None = None, **fields: Any) -> Path:
    """Put a file that looks like a verified backup of that age into the folder."""
    scheduler.backup_dir.mkdir(exist_ok=True)
    created = TODAY - timedelta(days=age_days)
    path = scheduler.backup_dir / f"backtest_backup_{created:%Y%m%d_%H%M%S}.db"
    path.write_bytes(b"12345")
    manifest = {
        "created_at": created.isoformat(),
        "size": 5,
        "sha256": "0" * 64,
        "database": str(scheduler.db_path),
        "store_id": store_id_of(scheduler.db_path) if scheduler.db_path.exists() else None,
        "rows": {"iterations": 10},
        "schema_version": schema.newest_version(),
        "generation": "0" * 16,
    }
    manifest_path(path).write_text(json.dumps(manifest | fields), encoding="utf-8")
    moment = (TODAY - timedelta(days=age_days if written is None else written)).timestamp()
    os.utime(path, (moment, moment))
    return path


def kept(scheduler: fl.BackupScheduler) -> set[Path]:
    return {one["path"] for one in scheduler.list_backups()}


# By age and by count ----------------------------------------------------------------------------------------------


def test_backups_older_than_the_retention_go_with_their_manifests(backups):
    paths = [put_backup(backups, age) for age in range(40)]
    assert backups.cleanup_old_backups() == 10
    assert kept(backups) == set(paths[:30])
    assert len(list(backups.backup_dir.glob("*.json"))) == 30


def test_age_counts_from_the_newest_backup_and_not_from_today(backups):
    paths = {put_backup(backups, age) for age in range(400, 430)}
    assert backups.cleanup_old_backups() == 0
    assert kept(backups) == paths


def test_after_a_holiday_longer_than_the_retention_the_backups_before_it_stay_until_others_follow():
    before = [of_age(age) for age in range(92, 122)]
    rule = Retention(30)
    assert ages(rule.expired([of_age(0), *before])) == list(range(112, 122))
    lost = rule.expired([*(of_age(age) for age in range(19)), *before])
    assert ages(lost) == list(range(94, 122))
    assert ages(rule.expired([*(of_age(age) for age in range(30)), *before])) == list(range(92, 122))


def test_a_clock_that_jumped_before_the_newest_backup_was_made_costs_no_more_than_a_holiday():
    real = [of_age(age) for age in range(3650, 3680)]
    assert ages(Retention(30).expired([of_age(0), *real])) == list(range(3670, 3680))


@given(
    st.lists(st.tuples(st.floats(0, 5000), st.booleans()), max_size=40),
    st.one_of(st.just(0), st.floats(0, 100)),
    st.integers(1, 5),
)
def test_whatever_the_dates_the_newest_verified_backups_stay(dates, days, keep):
    made = sorted((of_age(age, **({} if good else {"size": 4})) for age, good in dates), key=lambda one: one.created_at)
    gone = Retention(days, keep).expired(made[::-1])
    verified = [one for one in made[::-1] if one.verified]
    assert not [one for one in gone if one in verified[:keep]]
    assert verified or not gone


def test_counts_keep_the_newest_of_each_period():
    dated = [of_age(number / 4) for number in range(4 * 200)]
    rule = Retention(days=0, keep=1, keep_hourly=2, keep_daily=3, keep_weekly=2, keep_monthly=3)
    gone = {one.created_at for one in rule.expired(dated)}
    stay = [one.created_at.strftime("%m-%d %H") for one in dated if one.created_at not in gone]
    assert stay == ["06-30 12", "06-30 06", "06-29 18", "06-28 18", "05-31 18", "04-30 18"]


def test_a_count_is_not_filled_by_backups_that_were_cut_short():
    made = [of_age(1, size=4), of_age(3), of_age(5), of_age(7, size=4)]
    assert Retention(days=0, keep=1, keep_daily=2).expired(made) == [made[0], made[3]]


def test_without_any_verified_backup_nothing_goes():
    assert Retention(days=0, keep=1).expired([of_age(1, size=4), of_age(300, size=4)]) == []


def test_no_retention_keeps_everything_and_needs_no_database(tmp_path):
    scheduler = fl.BackupScheduler(tmp_path / "gone.db", tmp_path / "backups", retention_days=None)
    for age in (-5, 1, 1000, 5000):
        put_backup(scheduler, age)
    assert scheduler.cleanup_old_backups() == 0


# A clock that is wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "written"), [(-2, -2), (-2, 0), (3, 5)])
def test_a_clock_that_disagrees_with_the_files_removes_nothing(backups, age, written):
    wrong = put_backup(backups, age, written)
    paths = {put_backup(backups, age) for age in range(10, 60, 5)}
    with pytest.warns(fl.RetentionHeldWarning, match=rf"a clock is or was wrong: {wrong.name}.*force=True"):
        assert backups.cleanup_old_backups() == 0
    assert kept(backups) == {wrong, *paths}
    assert wrong.name in backups.get_backup_info()["retention_held"]
    assert backups.cleanup_old_backups(force=True) > 0


def test_a_clock_that_is_set_back_removes_nothing(backups, monkeypatch):
    for age in range(40):
        put_backup(backups, age)
    monkeypatch.setattr(scheduling, "_now", lambda: datetime(2000, 1, 1, tzinfo=UTC))
    with pytest.warns(fl.RetentionHeldWarning, match="now it is 2000-01-01"):
        assert backups.cleanup_old_backups() == 0


def test_backups_that_were_copied_to_another_disk_later_are_still_pruned(backups):
    for age in range(40):
        put_backup(backups, age, written=0)
    assert backups.cleanup_old_backups() == 10


# A newest backup that has lost much -------------------------------------------------------------------------------


def test_a_newest_backup_with_fewer_than_half_the_iterations_holds_everything_until_force(backups, store):
    for age in range(1, 60):
        put_backup(backups, age)
    store.delete_strategy(store.find_strategies("momentum")[0]["strategy_id"], cascade=True)
    backups.backup_now()
    for _ in range(2):
        with pytest.warns(fl.RetentionHeldWarning, match=r"holds 0 iterations, backtest_backup_.* 10"):
            assert backups.cleanup_old_backups() == 0
    assert backups.cleanup_old_backups(force=True) == 30
    assert backups.get_backup_info()["retention_held"] is None
    assert backups.verify_backup(backups.get_backup_info()["last_backup"])["verified"]
    assert backups.cleanup_old_backups() == 0


def test_small_backups_that_follow_a_small_one_do_not_let_the_large_ones_go():
    small, large = [of_age(age, iterations=4) for age in range(3)], of_age(3, iterations=10)
    assert "holds 4 iterations" in str(reason_to_wait([*small, large], NOW))
    assert reason_to_wait([of_age(0, iterations=5), *small, large], NOW) is None
    assert reason_to_wait([of_age(0, iterations=4, accepted=True), *small, large], NOW) is None
    assert reason_to_wait([of_age(0, 4), of_age(1, 4, accepted=True), large], NOW) is None
    assert reason_to_wait([of_age(0, 1), of_age(1, 4, accepted=True), large], NOW) is not None
    assert reason_to_wait([], NOW) is None
    both = str(reason_to_wait([of_age(-1, iterations=4), large], NOW))
    assert "a clock" in both
    assert "holds 4 iterations" in both


def test_a_scheduled_backup_of_an_emptied_store_removes_nothing(backups, store):
    paths = {put_backup(backups, age) for age in range(2, 60)}
    store.delete_strategy(store.find_strategies("momentum")[0]["strategy_id"], cascade=True)
    with pytest.warns(fl.RetentionHeldWarning):
        backups._back_up_if_overdue(scheduling.Schedule(0, 0, UTC, compress=False))
    assert kept(backups) > paths
    assert backups.get_backup_info()["last_error"] is None


# Whose backups they are -------------------------------------------------------------------------------------------


def test_a_moved_database_keeps_pruning_its_own_backups(backups, store, tmp_path):
    for age in range(40):
        put_backup(backups, age)
    store.close()
    store.path.rename(tmp_path / "moved.db")
    for replaced in (False, True):
        if replaced:  # another store has taken its former place
            fl.StorageManager(store.path).close()
        moved = fl.BackupScheduler(tmp_path / "moved.db", backups.backup_dir, 30 - 10 * replaced)
        assert moved.get_backup_info()["backups"] == 40 - 10 * replaced
        assert moved.cleanup_old_backups() == 10


def test_backups_of_another_store_are_neither_pruned_nor_counted(backups, tmp_path):
    with fl.StorageManager(tmp_path / "other.db"):
        other = fl.BackupScheduler(tmp_path / "other.db", backups.backup_dir)
        foreign = {put_backup(other, age) for age in (100, 200, 300, 400, 500, 600)}
    foreign |= {put_backup(backups, age, store_id="0" * 32) for age in (101, 201, 301, 401, 501)}  # was here before
    foreign.add(put_backup(other, 601, store_id=None))
    own = put_backup(backups, 1)
    assert backups.cleanup_old_backups() == 0
    assert kept(backups) == {own, *foreign}
    assert backups.get_backup_info()["backups"] == 1


def test_a_copy_of_a_store_and_its_original_leave_each_others_backups_alone(backups, store, tmp_path):
    shutil.copy(backups.backup_now(), tmp_path / "copy.db")
    assert store_id_of(tmp_path / "copy.db") == store_id_of(store.path)
    copy = fl.BackupScheduler(tmp_path / "copy.db", backups.backup_dir)
    foreign = {put_backup(backups, age) for age in range(100, 140)}
    for age in range(50):
        put_backup(copy, age + 0.5)
    assert copy.cleanup_old_backups() == 20
    assert kept(backups) > foreign


def test_manifests_of_earlier_releases_go_by_the_path(backups):
    for age in range(40):
        path = put_backup(backups, age)
        manifest = json.loads(manifest_path(path).read_text(encoding="utf-8"))
        del manifest["store_id"]
        manifest_path(path).write_text(json.dumps(manifest), encoding="utf-8")
    assert backups.cleanup_old_backups() == 10


def test_a_backup_that_lost_its_manifest_is_never_removed(backups):
    lost = [put_backup(backups, age) for age in range(100, 140)]
    for path in lost:
        manifest_path(path).unlink()
    for age in range(40):
        put_backup(backups, age)
    assert backups.cleanup_old_backups(force=True) == 10
    assert kept(backups) > set(lost)
    assert backups.get_backup_info()["backups"] == 30


@pytest.mark.parametrize("damage", ["missing", "another program's"])
def test_without_a_readable_database_nothing_is_removed_and_the_backups_are_still_told(backups, store, damage):
    for age in range(40):
        put_backup(backups, age)
    store.close()
    store.path.unlink()
    if damage != "missing":
        with sqlite3.connect(store.path) as connection:
            connection.execute("CREATE TABLE photos (name)")
        connection.close()
    with pytest.raises(fl.StorageError, match=r"does not exist|another program"):
        backups.cleanup_old_backups(force=True)
    assert backups.get_backup_info()["backups"] == 40
