"""BackupScheduler: verified copies of the database, every day or on demand, and how long they are kept.

The lock file ``.backup.lock`` in the folder belongs to the only scheduler on the machine that uses this folder.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from finlab_nb.errors import StorageError, StorePicklingError
from finlab_nb.records import arguments
from finlab_nb.store.backup import files
from finlab_nb.store.backup.files import Backup
from finlab_nb.store.backup.making import clean_up, make_backup, make_folder, writing
from finlab_nb.store.backup.retention import Retention
from finlab_nb.store.file_lock import FileLock
from finlab_nb.store.fsync import translated_os_errors

_SCHEDULE_LOCK: Final = ".backup.lock"
_DAILY: Final = "finlab_nb_daily_backup"
_WAKE: Final = "finlab_nb_wake"
_WAKE_MINUTES: Final = 10

_log = logging.getLogger(__name__)
_registry_lock = threading.RLock()
_running: dict[Path, BackupScheduler] = {}
_schedulers: weakref.WeakSet[BackupScheduler] = weakref.WeakSet()


class BackupScheduler:
    """Backs up one database into a folder, on demand and every day.

    Parameters
    ----------
    db_path
        The database; it must exist when it is backed up.
    backup_dir
        The folder of the backups, created as needed. It may hold those of several databases, which are kept apart.
    retention_days
        Backups younger than this stay; None keeps everything. The newest verified backup always stays.
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
        keep_hourly: int = 0,
        keep_daily: int = 0,
        keep_weekly: int = 0,
        keep_monthly: int = 0,
    ) -> None:
        self.db_path = arguments.path("db_path", db_path)
        self.backup_dir = arguments.path("backup_dir", backup_dir, "folder")
        self.retention = Retention(
            None if retention_days is None else arguments.quantity("retention_days", retention_days, "days"),
            arguments.whole("keep_hourly", keep_hourly, 0),
            arguments.whole("keep_daily", keep_daily, 0),
            arguments.whole("keep_weekly", keep_weekly, 0),
            arguments.whole("keep_monthly", keep_monthly, 0),
        )
        self._last_error: str | None = None
        self._last_error_at: datetime | None = None
        self._start_over()
        _schedulers.add(self)

    def __reduce__(self) -> NoReturn:
        raise StorePicklingError(
            "a BackupScheduler belongs to its process, as its schedule does, and cannot be pickled or copied; make one "
            f"where it is needed: BackupScheduler({str(self.db_path)!r}, {str(self.backup_dir)!r})"
        )

    def _start_over(self) -> None:
        self._scheduler: Any = None
        self._schedule: dict[str, Any] | None = None
        self._lock = FileLock(self.backup_dir / _SCHEDULE_LOCK)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"BackupScheduler({str(self.db_path)!r}, {str(self.backup_dir)!r})"

    # The schedule -------------------------------------------------------------------------------------------------

    def start_daily_backups(
        self, hour: int = 2, minute: int = 0, *, timezone: str | tzinfo = "UTC", compress: bool = False
    ) -> None:
        """Back up every day at this time, in a thread of this process, until `stop` or the end of the process.

        If a backup is overdue (there is none, or the time has passed since the newest), it is made at once, in that
        thread. Each backup is followed by `cleanup_old_backups`. Calling this again replaces the schedule; another
        scheduler of this process on the same folder is stopped, so that a notebook cell may be run twice.

        Parameters
        ----------
        hour, minute
            The time of day in `timezone`.
        timezone
            A name such as ``"Europe/Berlin"``, or a tzinfo.
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
        zone, packed = arguments.zone("timezone", timezone), arguments.flag("compress", compress)
        with _registry_lock:
            other = _running.get(self.backup_dir)
            if other is not None and other.db_path != self.db_path:
                raise StorageError(
                    f"{self.backup_dir} has the daily backups of {other.db_path} in this process already; stop() them "
                    f"or choose another folder for {self.db_path}"
                )
            if other is not None:
                other.stop()
            make_folder(self.backup_dir)
            if not self._lock.acquire():
                raise StorageError(
                    f"{self._lock.holder()} runs daily backups into {self.backup_dir} already; stop it or choose "
                    "another folder"
                )
            try:
                clean_up(self.backup_dir)
                self._launch(at_hour, at_minute, zone, packed)
            except BaseException:
                self._lock.release()
                raise
            _running[self.backup_dir] = self

    def _launch(self, hour: int, minute: int, zone: tzinfo, compress: bool) -> None:
        from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
        from apscheduler.schedulers.background import BackgroundScheduler
        from apscheduler.triggers.cron import CronTrigger

        scheduler = BackgroundScheduler(timezone=zone, daemon=True)
        scheduler.add_listener(self._note_event, EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        rules = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        trigger = CronTrigger(hour=hour, minute=minute, timezone=zone)
        first = {"next_run_time": _now()} if self._overdue(hour, minute, zone) else {}
        scheduler.add_job(self._run, trigger, args=(compress,), id=_DAILY, **rules, **first)
        # While a computer sleeps, the scheduler's waiting clock stops, so it looks at the time now and then.
        scheduler.add_job(_look_at_the_time, "interval", minutes=_WAKE_MINUTES, id=_WAKE, **rules)
        scheduler.start()
        self._scheduler = scheduler
        self._schedule = {"hour": hour, "minute": minute, "timezone": str(zone), "compress": compress}

    def _overdue(self, hour: int, minute: int, zone: tzinfo) -> bool:
        newest = self._newest()
        return newest is None or newest.created_at < _last_due(_now(), hour, minute, zone)

    def _run(self, compress: bool) -> None:
        self.backup_now(compress)
        self.cleanup_old_backups()

    def _note_event(self, event: Any) -> None:
        error = getattr(event, "exception", None)
        if error is not None:
            self._note_error(error)
        elif event.job_id == _DAILY:
            self._last_error, self._last_error_at = "a daily backup was left out: the one before it still ran", _now()
            _log.error("%s: %s", self.db_path, self._last_error)

    def _note_error(self, error: BaseException) -> None:
        self._last_error, self._last_error_at = str(error) or repr(error), _now()
        _log.error("the backup of %s failed: %s", self.db_path, self._last_error, exc_info=error)

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

    def after_fork_in_child(self) -> None:
        """Forget the schedule, whose thread and lock stay with the parent."""
        self._start_over()

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
            self._last_error, self._last_error_at = str(error), _now()
            raise
        self._last_error = self._last_error_at = None
        return path

    def cleanup_old_backups(self) -> int:
        """Remove the backups that no retention rule keeps, and the leftovers of killed ones; return how many backups.

        The newest verified backup stays, however old it is. Backups of other databases are left alone.

        Returns
        -------
        int
            How many backups were removed.

        Raises
        ------
        StorageError
            If a file cannot be removed.
        """
        with translated_os_errors(self.backup_dir):
            if not self.backup_dir.exists():
                return 0
            with writing(self.backup_dir):
                files.remove_leftovers(self.backup_dir)
                expired = self.retention.expired(self._own(), _now())
                for backup in expired:
                    # The backup goes first: a manifest alone is a leftover, a backup alone would look unverified.
                    backup.path.unlink(missing_ok=True)
                    files.manifest_path(backup.path).unlink(missing_ok=True)
        return len(expired)

    # What is there ------------------------------------------------------------------------------------------------

    def list_backups(self) -> list[dict[str, Any]]:
        """Return the backups in the folder, newest first.

        Returns
        -------
        list of dict
            path (Path), created_at (datetime, UTC), size (bytes), compressed, verified (was verified when made, and
            has kept its size), and from the manifest, else None: database, iterations, schema_version, generation,
            schema_faults (texts: changes to the tables by another program that prevent a restore).
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
            database), total_size (bytes); db_path, backup_dir, retention_days.
        """
        own, newest, scheduler = self._own(), self._newest(), self._scheduler
        job = scheduler.get_job(_DAILY) if scheduler is not None else None
        return {
            "running": scheduler is not None,
            "schedule": self._schedule,
            "next_backup": None if job is None else job.next_run_time,
            "last_backup": None if newest is None else newest.path,
            "last_backup_at": None if newest is None else newest.created_at,
            "last_error": self._last_error,
            "last_error_at": self._last_error_at,
            "backups": len(own),
            "verified_backups": sum(backup.verified for backup in own),
            "total_size": sum(backup.size for backup in own),
            "db_path": self.db_path,
            "backup_dir": self.backup_dir,
            "retention_days": self.retention.days,
        }

    def _own(self) -> list[Backup]:
        found = files.backups_in(self.backup_dir)
        return [backup for backup in found if backup.database in (None, str(self.db_path))]

    def _newest(self) -> Backup | None:
        return next((backup for backup in self._own() if backup.verified), None)


def _now() -> datetime:
    return datetime.now(UTC)


def _look_at_the_time() -> None:
    """Do nothing: it is enough that the scheduler wakes up."""


def _last_due(now: datetime, hour: int, minute: int, zone: tzinfo) -> datetime:
    """Return when the schedule was last due."""
    local = now.astimezone(zone)
    due = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return due if due <= local else due - timedelta(days=1)


def _stop_all() -> None:
    for scheduler in list(_running.values()):
        scheduler.stop()


def _after_fork_in_child() -> None:
    global _registry_lock  # another thread may have held it at the fork
    _registry_lock = threading.RLock()
    _running.clear()
    for scheduler in list(_schedulers):
        scheduler.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_stop_all)
