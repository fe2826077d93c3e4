"""BackupScheduler: verified copies of the database, every day or on demand, and how long they are kept.

The lock file ``.backup.lock`` in the folder belongs to the only scheduler on the machine that uses this folder.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
from dataclasses import asdict
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final, NoReturn, Self

from finlab_nb.errors import RetentionHeldWarning, StorageError, StorePicklingError, warn
from finlab_nb.records import arguments
from finlab_nb.store.backup import files, retention
from finlab_nb.store.backup.files import Backup
from finlab_nb.store.backup.making import make_backup, writing
from finlab_nb.store.backup.retention import Retention
from finlab_nb.store.backup.schedule import Schedule
from finlab_nb.store.file_lock import FileLock
from finlab_nb.store.fsync import translated_os_errors

_SCHEDULE_LOCK: Final = ".backup.lock"
_MINUTES: Final = 10

_log = logging.getLogger(__name__)
_registry_lock = threading.RLock()
_running: dict[Path, BackupScheduler] = {}


class BackupScheduler:
    """Backs up one database into a folder, on demand and every day.

    Parameters
    ----------
    db_path
        The database; it must exist when it is backed up.
    backup_dir
        The folder of the backups, created as needed. It may hold those of several databases, which are kept apart by
        the id of their store; a database that was moved keeps its backups.
    retention_days
        Backups younger than this stay; None keeps everything. Ages count from the newest verified backup, not from
        today, and a pause between two backups counts as at most a `keep`-th of it. So after a holiday of any length the
        backups from before it go only as new ones follow.
    keep
        The newest verified backups that always stay.
    keep_hourly, keep_daily, keep_weekly, keep_monthly
        Beyond that, the newest backup of each of this many hours, days, weeks and months (UTC) stays.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import tempfile
    >>> from finlab_nb.store import StorageManager
    >>> with tempfile.TemporaryDirectory() as folder, StorageManager(f"{folder}/research.db") as store:
    ...     backups = BackupScheduler(store.path, f"{folder}/backups")
    ...     backups.backup_now().name.startswith("backtest_backup_")
    True
    """

    def __init__(
        self,
        db_path: str | os.PathLike[str],
        backup_dir: str | os.PathLike[str],
        retention_days: float | None = 30,
        *,
        keep: int = 3,
        keep_hourly: int = 0,
        keep_daily: int = 0,
        keep_weekly: int = 0,
        keep_monthly: int = 0,
    ) -> None:
        self.db_path = arguments.path("db_path", db_path)
        self.backup_dir = arguments.path("backup_dir", backup_dir, "folder")
        self.retention = Retention(
            None if retention_days is None else arguments.quantity("retention_days", retention_days, "days"),
            arguments.whole("keep", keep, 1),
            arguments.whole("keep_hourly", keep_hourly, 0),
            arguments.whole("keep_daily", keep_daily, 0),
            arguments.whole("keep_weekly", keep_weekly, 0),
            arguments.whole("keep_monthly", keep_monthly, 0),
        )
        self._note(None)
        self.start_over()

    def __reduce__(self) -> NoReturn:
        raise StorePicklingError(
            "a BackupScheduler belongs to its process, as its schedule does, and cannot be pickled or copied; make one "
            f"where it is needed: BackupScheduler({str(self.db_path)!r}, {str(self.backup_dir)!r})"
        )

    def start_over(self) -> None:
        """Forget the schedule; in a forked child its thread and lock stay with the parent."""
        self._scheduler: Any = None
        self._schedule: Schedule | None = None
        self._lock = FileLock(self.backup_dir / _SCHEDULE_LOCK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"BackupScheduler({str(self.db_path)!r}, {str(self.backup_dir)!r})"

    # The schedule -------------------------------------------------------------------------------------------------

    def start_daily_backups(
        self, hour: int = 2, minute: int = 0, *, timezone: str | tzinfo | None = None, compress: bool = False
    ) -> None:
        """Back up every day at this time, in a thread of this process, until `stop` or the end of the process.

        The thread asks every ten minutes, first at once, whether a backup is overdue: whether there is no verified one
        of this store since the time has last come. If so, it makes one, followed by `cleanup_old_backups`; one that
        fails is tried again ten minutes later, and `get_backup_info` tells why. Calling this again replaces the
        schedule; another scheduler of this process on the same folder is stopped, so that a notebook cell may be run
        twice. A schedule is a promise: it goes on though nobody holds this object or a store of the database any more.

        Parameters
        ----------
        hour, minute
            The time of day in `timezone`.
        timezone
            A name such as ``"Europe/Berlin"``, or a tzinfo; None for that of this machine.
        compress
            As in `backup_now`.

        Raises
        ------
        ValueError
            If an argument is out of range.
        StorageError
            If another process has a schedule on this folder, if this process has one for another database on it, or if
            the folder cannot be written.
        """
        at_hour, at_minute = arguments.whole("hour", hour, 0, 23), arguments.whole("minute", minute, 0, 59)
        zone = None if timezone is None else arguments.zone("timezone", timezone)
        schedule = Schedule(at_hour, at_minute, zone, arguments.flag("compress", compress))
        with _registry_lock:
            other = _running.get(self.backup_dir)
            if other is not None and other.db_path != self.db_path:
                raise StorageError(
                    f"{self.backup_dir} has the daily backups of {other.db_path} in this process already; stop() them "
                    f"or choose another folder for {self.db_path}"
                )
            if other is not None:
                other.stop()
            if not self._lock.acquire():
                raise StorageError(
                    f"{self._lock.holder()} runs daily backups into {self.backup_dir} already; stop it or choose "
                    "another folder"
                )
            _running[self.backup_dir] = self
            try:
                self._launch(schedule)
            except BaseException:
                self.stop()
                raise

    def _launch(self, schedule: Schedule) -> None:
        from apscheduler.schedulers.background import BackgroundScheduler

        with translated_os_errors(self.backup_dir), contextlib.suppress(StorageError), writing(self.backup_dir, 0):
            pass  # removes what killed backups left, unless a backup is in progress
        scheduler = BackgroundScheduler(timezone=UTC, daemon=True)
        # Every ten minutes, and so at the time of day. Asked again and again, because the clock by which a thread waits
        # stops while a computer sleeps. One at a time, and one for all that were missed, is how jobs run by default.
        often = {"minute": f"{schedule.minute % _MINUTES}/{_MINUTES}", "next_run_time": _now()}
        scheduler.add_job(self._back_up_if_overdue, "cron", args=(schedule,), misfire_grace_time=None, **often)
        self._scheduler, self._schedule = scheduler, schedule
        scheduler.start()

    def _back_up_if_overdue(self, schedule: Schedule) -> None:
        try:
            if schedule.overdue(self._own(), _now()):
                self.backup_now(schedule.compress)
                self.cleanup_old_backups()
        except Exception as error:  # noqa: BLE001 - told by get_backup_info, and tried again
            self._note(error)
            trace = None if isinstance(error, StorageError) else error
            _log.error("the backup of %s failed, and is tried again soon: %s", self.db_path, error, exc_info=trace)

    def _note(self, error: Exception | None) -> None:
        self._last_error = None if error is None else str(error) or repr(error)
        self._last_error_at = None if error is None else _now()

    def stop(self) -> None:
        """End the schedule; a backup in progress is finished first. Stopping twice is fine."""
        with _registry_lock:
            scheduler, self._scheduler = self._scheduler, None
            self._schedule = None
            if scheduler is not None:
                scheduler.shutdown(wait=True)
            self._lock.release()
            if _running.get(self.backup_dir) is self:
                del _running[self.backup_dir]

    # Backups ------------------------------------------------------------------------------------------------------

    def backup_now(self, compress: bool = False) -> Path:
        """Make a verified backup of this moment and return its file, ``backtest_backup_YYYYMMDD_HHMMSS.db`` (UTC).

        Parameters
        ----------
        compress
            Compress it with zstd, as ``.db.zst``, to about a third of the size.

        Returns
        -------
        Path
            The backup; its manifest, ``<backup>.json``, is beside it.

        Raises
        ------
        StorageError
            If there is no such database, the copy is not sound, the disk is full, or another backup takes two minutes.
        ValueError
            If an argument is wrong.
        """
        packed = arguments.flag("compress", compress)
        try:
            path = make_backup(self.db_path, self.backup_dir, compress=packed)
        except StorageError as error:
            self._note(error)
            raise
        self._note(None)
        return path

    def cleanup_old_backups(self, force: bool = False) -> int:
        """Remove the backups that no retention rule keeps, and the leftovers of killed ones; return how many backups.

        Backups of other stores, and those without a manifest, are left alone. Nothing is removed, with a warning, while
        a clock looks wrong (a backup is from the future, or was written more than a day before the time that it has) or
        the newest verified backup holds fewer than half the iterations of another.

        Parameters
        ----------
        force
            Remove them all the same. The newest backup is then right to hold so few iterations.

        Returns
        -------
        int
            How many backups were removed.

        Raises
        ------
        StorageError
            If the database cannot be read, so that its backups are not known, or a file cannot be removed.
        ValueError
            If an argument is wrong.
        """
        forced = arguments.flag("force", force)
        with translated_os_errors(self.backup_dir):
            if not self.backup_dir.exists():
                return 0
            with writing(self.backup_dir):
                pruned = self.retention.days is not None
                own = retention.own(self.db_path, files.backups_in(self.backup_dir)) if pruned else []
                reason = retention.reason_to_wait(own, _now())
                if reason is None or forced:
                    expired = self.retention.expired(own)
                    for backup in expired:
                        # The backup goes first: a manifest alone is a leftover, a backup alone would look unverified.
                        backup.path.unlink(missing_ok=True)
                        files.manifest_path(backup.path).unlink(missing_ok=True)
                    if reason is not None:
                        retention.accept(own)
                    return len(expired)
        warn(
            f"no old backup of {self.db_path} was removed, because {reason}. Look at them, and at the database, and "
            "remove what is wrong, or call cleanup_old_backups(force=True)",
            RetentionHeldWarning,
        )
        return 0

    # What is there ------------------------------------------------------------------------------------------------

    def list_backups(self) -> list[dict[str, Any]]:
        """Return the backups in the folder, newest first.

        Returns
        -------
        list of dict
            path (Path), created_at (datetime, UTC), size (bytes), compressed, verified (was verified when made, and
            has kept its size), and from the manifest, else None: database, iterations, schema_version, generation,
            store_id, schema_faults (texts: changes to the tables by another program that prevent a restore).
        """
        return [backup.as_dict() for backup in files.backups_in(self.backup_dir)]

    def verify_backup(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Check a backup from end to end and return what it holds.

        Parameters
        ----------
        path
            A backup, compressed or not. A live database is not one: reading it would bypass its locks.

        Returns
        -------
        dict
            An entry as in `list_backups`, and rows (by table). ``verified`` tells whether there was a manifest to
            compare with; without one, integrity and foreign keys are still checked.

        Raises
        ------
        StorageError
            If it is damaged, differs from its manifest, or is not a backup of finlab_nb.
        ValueError
            If the path is not one.
        """
        return files.verify_backup(path)

    def get_backup_info(self) -> dict[str, Any]:
        """Return the state of the schedule and of the backups.

        Returns
        -------
        dict
            running; schedule (hour, minute, timezone, compress) or None; next_backup (datetime) or None; last_backup
            (Path) and last_backup_at (datetime, UTC) of the newest verified backup of this database, or None;
            last_error (text) and last_error_at since the last success, or None; backups and verified_backups (of this
            database), total_size (bytes); retention_held, why `cleanup_old_backups` removes nothing, or None; db_path,
            backup_dir, retention_days.
        """
        own, schedule, now = self._own(), self._schedule, _now()
        verified = [backup for backup in own if backup.verified]
        newest = verified[0] if verified else None
        return {
            "running": self._scheduler is not None,
            "schedule": None
            if schedule is None
            else asdict(schedule) | {"timezone": str(schedule.timezone or "local")},
            "next_backup": None if schedule is None else schedule.times(now)[not schedule.overdue(own, now)],
            "last_backup": None if newest is None else newest.path,
            "last_backup_at": None if newest is None else newest.created_at,
            "last_error": self._last_error,
            "last_error_at": self._last_error_at,
            "backups": len(own),
            "verified_backups": len(verified),
            "total_size": sum(backup.size for backup in own),
            "retention_held": retention.reason_to_wait(own, now),
            "db_path": self.db_path,
            "backup_dir": self.backup_dir,
            "retention_days": self.retention.days,
        }

    def _own(self) -> list[Backup]:
        return retention.own(self.db_path, files.backups_in(self.backup_dir), sure=False)


def _now() -> datetime:
    return datetime.now(UTC)


def _stop_all() -> None:
    for scheduler in list(_running.values()):
        scheduler.stop()


def _after_fork_in_child() -> None:
    global _registry_lock  # another thread may have held it at the fork
    _registry_lock = threading.RLock()
    while _running:
        _running.popitem()[1].start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_stop_all)
