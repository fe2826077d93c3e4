"""Verified backups of the database, how long they are kept, and how one is restored."""

from finlab_nb.store.backup.files import verify_backup
from finlab_nb.store.backup.restore import restore_backup
from finlab_nb.store.backup.scheduler import BackupScheduler

__all__ = ["BackupScheduler", "restore_backup", "verify_backup"]
