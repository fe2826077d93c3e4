"""Which backups are kept: the newest, those of the last days, and the newest of some hours, days, weeks and months."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from finlab_nb.errors import StorageError
from finlab_nb.store.backup.files import Backup, write_manifest
from finlab_nb.store.backup.making import store_id_of

_ACCEPTED: Final = "accepted"  # in the manifest of a backup that is right to hold fewer iterations than those before
_PERIODS: Final[Mapping[str, str]] = {
    "keep_hourly": "%Y-%m-%d %H",
    "keep_daily": "%Y-%m-%d",
    "keep_weekly": "%G-%V",
    "keep_monthly": "%Y-%m",
}
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long backups are kept; a backup stays as long as any rule keeps it.

    Ages count from the newest verified backup, and a pause between two backups counts as at most a `keep`-th of the
    days: neither a holiday nor a clock that jumps makes old what nothing has followed.

    Parameters
    ----------
    days
        Everything younger stays; None keeps everything forever, 0 leaves the decision to the counts.
    keep
        The newest verified backups that always stay, 1 or more.
    keep_hourly, keep_daily, keep_weekly, keep_monthly
        The newest verified backup of each of this many hours, days, weeks and months (UTC) that have one.
    """

    days: float | None = 30
    keep: int = 3
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0

    def expired(self, newest_first: Sequence[Backup]) -> list[Backup]:
        """Return the backups of a store that no rule keeps; none without a verified one to count from."""
        verified = [one for one in newest_first if one.verified]
        if self.days is None or not verified:
            return []
        kept = verified[: self.keep]
        for field, form in _PERIODS.items():
            newest: dict[str, Backup] = {}
            for one in verified:
                newest.setdefault(one.created_at.strftime(form), one)
            kept += list(newest.values())[: getattr(self, field)]
        ages = _ages(newest_first, verified[0].created_at, self.days / self.keep)
        return [one for one, age in zip(newest_first, ages, strict=True) if age >= self.days and one not in kept]


def _ages(newest_first: Sequence[Backup], later: datetime, longest_pause: float) -> Iterator[float]:
    age = 0.0
    for one in newest_first:
        age += min(max(0.0, (later - one.created_at) / _DAY), longest_pause)
        later = min(later, one.created_at)
        yield age


def reason_to_wait(newest_first: Sequence[Backup], now: datetime) -> str | None:
    """Return why no backup of a store should be removed before somebody has looked, or None."""
    reasons = [
        f"a clock is or was wrong: {one.path.name} is of {one.created_at:%Y-%m-%d %H:%M}, was written at "
        f"{one.written_at:%Y-%m-%d %H:%M}, and now it is {now:%Y-%m-%d %H:%M} (UTC)"
        for one in newest_first
        if one.created_at > now or one.created_at > one.written_at + _DAY
    ][:1]
    verified = [one for one in newest_first if one.verified]
    accepted = next((n for n, one in enumerate(verified) if _ACCEPTED in one.manifest), len(verified))
    counts = {one.iterations: one.path.name for one in verified[: accepted + 1]}
    if verified and 2 * verified[0].iterations < max(counts):
        newest, most = verified[0], max(counts)
        reasons.append(f"the newest, {newest.path.name}, holds {newest.iterations} iterations, {counts[most]} {most}")
    return ", and ".join(reasons) or None


def accept(newest_first: Sequence[Backup]) -> None:
    """Note that the newest verified backup holds what it should, so that those before it do not count any more."""
    newest = next((one for one in newest_first if one.verified), None)
    if newest is not None:
        write_manifest(newest.path, newest.manifest | {_ACCEPTED: True})


def own(database: Path, backups: Sequence[Backup], *, sure: bool = True) -> list[Backup]:
    """Return the backups of a store: those with its id, wherever it was when they were made.

    The other paths are those that it was moved from; a store of the same id that is still there is a copy, which has
    backups of its own. Manifests of earlier releases have no id, so the path counts. A backup without a manifest may be
    of any database.

    Raises
    ------
    StorageError
        If the database cannot be read, unless it is enough that the path is that of the database.
    """
    try:
        store_id = store_id_of(database)
    except StorageError:
        if sure:
            raise
        return [one for one in backups if one.manifest.get("database") == str(database)]
    of_store = [one for one in backups if one.manifest and one.manifest["store_id"] in (None, store_id)]
    homes = {one.manifest["database"] for one in of_store if one.manifest["store_id"]} - {str(database)}
    left = {home for home in homes if not _is_there(Path(home), store_id)}
    known = {None: {str(database)}, store_id: {str(database), *left}}
    return [one for one in of_store if one.manifest["database"] in known[one.manifest["store_id"]]]


def _is_there(database: Path, store_id: str | None) -> bool:
    with contextlib.suppress(StorageError):
        return store_id_of(database) == store_id
    return database.exists()
