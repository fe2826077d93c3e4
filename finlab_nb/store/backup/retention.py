"""Which backups are kept: those of the last days, and the newest of some hours, days, weeks and months."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, TypeVar

_PERIODS: Final[Mapping[str, str]] = {
    "keep_hourly": "%Y-%m-%d %H",
    "keep_daily": "%Y-%m-%d",
    "keep_weekly": "%G-%V",
    "keep_monthly": "%Y-%m",
}


class Dated(Protocol):
    """What the rules need to know about a backup."""

    @property
    def created_at(self) -> datetime: ...  # noqa: D102
    @property
    def verified(self) -> bool: ...  # noqa: D102


Kept = TypeVar("Kept", bound=Dated)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long backups are kept; a backup stays as long as any rule keeps it.

    Parameters
    ----------
    days
        Everything younger stays; None keeps everything forever, 0 leaves the decision to the counts.
    keep_hourly, keep_daily, keep_weekly, keep_monthly
        The newest verified backup of each of this many hours, days, weeks and months (UTC) that have one.
    """

    days: float | None = 30
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0

    def expired(self, backups: Iterable[Kept], now: datetime) -> list[Kept]:
        """Return the backups that no rule keeps, never the newest verified one (or the newest, if none is verified)."""
        newest_first = sorted(backups, key=lambda one: one.created_at, reverse=True)
        if self.days is None or not newest_first:
            return []
        verified = [one for one in newest_first if one.verified]
        kept = [(verified or newest_first)[0]]
        kept += [one for one in newest_first if _age(one, now) < self.days]
        for field, form in _PERIODS.items():
            kept += _newest_of_each(verified, form)[: getattr(self, field)]
        return [one for one in newest_first if not any(one is keep for keep in kept)]


def _age(backup: Dated, now: datetime) -> float:
    return (now - backup.created_at) / timedelta(days=1)


def _newest_of_each(newest_first: list[Kept], form: str) -> list[Kept]:
    periods: dict[str, Any] = {}
    for one in newest_first:
        periods.setdefault(one.created_at.strftime(form), one)
    return list(periods.values())
