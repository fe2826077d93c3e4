"""When a daily backup is due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from finlab_nb.store.backup.files import Backup


@dataclass(frozen=True, slots=True)
class Schedule:
    """A time of day, in a zone or, without one, in that of this machine."""

    hour: int
    minute: int
    timezone: tzinfo | None
    compress: bool

    def times(self, now: datetime) -> tuple[datetime, datetime]:
        """Return when it was last due and when it is due next."""
        zone = self.timezone
        today = now.astimezone(zone)
        today = today.replace(hour=self.hour, minute=self.minute, second=0, microsecond=0, fold=0, tzinfo=zone)
        # Without a zone these are clock times of this machine, to which `astimezone` gives the offset of their day.
        near = [(today + timedelta(days=days)).astimezone(zone) for days in (-1, 0, 1)]
        return max(one for one in near if one <= now), min(one for one in near if one > now)

    def overdue(self, backups: Sequence[Backup], now: datetime) -> bool:
        """Tell whether there is no verified backup since it was last due; one from the future is none."""
        since, _ = self.times(now)
        return not any(one.verified and since <= one.created_at <= now for one in backups)
