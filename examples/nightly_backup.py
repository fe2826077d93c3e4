"""Back a book up, check the backup from end to end, and remove old ones. Others may work on the book meanwhile.

    python nightly_backup.py research.db backups

Every night at 2:15, as a line of `crontab -e`. Cron mails what is printed; an error ends with another status than 0:

    15 2 * * *  cd /path/to/research && .venv/bin/python nightly_backup.py research.db backups

A kernel that runs all day needs no cron: `fl.BackupScheduler(...).start_daily_backups(hour=2, minute=15)`.
To restore: `fl.restore_backup("backups/backtest_backup_20240131_021500.db", "research.db")`.
"""

import sys

import finlab_nb as fl

DATABASE = sys.argv[1] if len(sys.argv) > 1 else "research.db"
FOLDER = sys.argv[2] if len(sys.argv) > 2 else "backups"

# All of the last 14 days, then one a week for 8 weeks and one a month for a year; the newest 3 in any case.
backups = fl.BackupScheduler(DATABASE, FOLDER, retention_days=14, keep=3, keep_weekly=8, keep_monthly=12)
path = backups.backup_now()
found = backups.verify_backup(path)
removed = backups.cleanup_old_backups()

print(
    f"{path} {found['size']:,} bytes, {found['iterations']:,} iterations, {found['rows']['trades']:,} trades: verified"
)
print(f"{removed} old backups removed, {len(backups.list_backups())} kept")
