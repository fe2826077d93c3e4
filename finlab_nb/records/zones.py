"""Time zones: their names, and what clocks show there."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finlab_nb.records.plain import Remembered, unwrapped
from finlab_nb.records.values import refusal

Moments: TypeAlias = NDArray[np.datetime64]  # datetime64[us], naive: UTC, or what a clock shows
Days: TypeAlias = NDArray[np.datetime64]  # datetime64[D]

UTC_NAME: Final = "UTC"
_FIXED: Final = "Etc/"  # what the names of fixed offsets begin with
_MOST_WEST, _MOST_EAST = -12, 14  # hours, for which there are such names
_ZONE_FOLDER: Final = "zoneinfo/"
_WANTED: Final = "the IANA name of a time zone, such as 'Asia/Taipei', or a tzinfo that has one"
# Near the ends of Python's years a local time may lie beyond them; the offset there is that of a day inside.
_FIRST, _LAST = np.datetime64("0001-01-03", "us"), np.datetime64("9999-12-29", "us")
_DAY_LENGTH: Final = len("2024-01-31")


def zone_name(field: str, value: object) -> str:
    """Return the IANA name of a time zone, given by it or as a tzinfo.

    Raises
    ------
    ValueError
        If there is no such zone, or if the tzinfo has no name.
    """
    held = unwrapped(value)
    if isinstance(held, tzinfo):
        name = name_of(held)
        if name is None:
            raise refusal(field, value, _WANTED)
        return name
    if not isinstance(held, str):
        raise refusal(field, value, _WANTED)
    zone = _zone(str.__str__(held))
    if zone is None:
        raise refusal(field, value, _WANTED, str)
    return zone.key


def name_of(zone: tzinfo) -> str | None:
    """Return the IANA name of a tzinfo of Python, pandas, pytz or dateutil; None if it has none.

    An offset of whole hours has one too: that of +08:00 is Etc/GMT-8, with the sign turned.
    """
    for attribute in ("key", "zone", "_filename"):  # of zoneinfo, pytz, dateutil
        name = getattr(zone, attribute, None)
        if isinstance(name, str) and (found := _zone(name.rpartition(_ZONE_FOLDER)[2])) is not None:
            return found.key
    try:
        offset = zone.utcoffset(None)
    except Exception:  # noqa: BLE001 - a class of the caller's that needs a moment
        return None
    if offset is None or offset % timedelta(hours=1):
        return None
    hours = offset // timedelta(hours=1)
    if hours == 0:
        return UTC_NAME
    return f"{_FIXED}GMT{-hours:+d}" if _MOST_WEST <= hours <= _MOST_EAST else None


def is_region(name: str) -> bool:
    """Tell whether a zone is that of a place, rather than UTC or another fixed offset."""
    return name != UTC_NAME and not name.startswith(_FIXED)


def resolved(zone: tzinfo) -> tzinfo:
    """Return the zone of the standard library that a tzinfo stands for, or else the tzinfo itself."""
    if isinstance(zone, (ZoneInfo, timezone)):
        return zone
    name = name_of(zone)
    return zone if name is None else ZoneInfo(name)


def local_times(utc: Moments, zone: tzinfo) -> Moments:
    """Return what a clock of the zone shows at moments of UTC; NaT stays NaT."""
    if zone is UTC:
        return utc
    inside = np.clip(utc, _FIRST, _LAST)
    if isinstance(zone, (ZoneInfo, timezone)):
        index = pd.DatetimeIndex(inside).tz_localize(UTC_NAME).tz_convert(zone).tz_localize(None)
        shown: Moments = index.to_numpy()
    else:  # a class that pandas does not know
        shown = np.array([_shown(one, zone) for one in inside.tolist()], dtype="datetime64[us]")
    return utc + (shown - inside)


def utc_times(wall: Moments, zone: tzinfo) -> Moments:
    """Return the moments of UTC at which a clock of the zone shows these times; NaT stays NaT.

    Of two such moments it is the first. A time that the clock skips is taken as Python does: as if it had not yet been
    put forward.

    Raises
    ------
    OverflowError
        If a moment falls out of the years 1 to 9999.
    """
    index = pd.DatetimeIndex(wall).tz_localize(zone, ambiguous=np.ones(wall.size, dtype=bool), nonexistent="NaT")
    utc: Moments = index.tz_convert(UTC_NAME).tz_localize(None).to_numpy().astype("datetime64[us]")
    skipped = np.isnat(utc) & ~np.isnat(wall)
    if skipped.any():
        utc = utc.copy()
        utc[skipped] = [_to_utc(one, zone) for one in wall[skipped].tolist()]
    return utc


def local_days(texts: Sequence[str], timezone: str | None) -> Days:
    """Return the local day of dates as they are stored.

    A day is itself; a moment counts by its zone, if that is known, else by the date that it is written with.

    Parameters
    ----------
    texts
        ISO 8601, as in the file: days, and moments in UTC or without a zone.
    timezone
        IANA name; None, or a name that this Python does not know, where the zone is unknown.

    Returns
    -------
    array
        datetime64[D], one for each text.

    Raises
    ------
    ValueError
        If a text is no date.
    """
    if set(map(len, texts)) <= {_DAY_LENGTH}:
        return np.fromiter(map(_DAY_NUMBERS.__getitem__, texts), np.int64, len(texts)).view("datetime64[D]")
    zone = None if timezone is None else _zone(timezone)
    if zone is None:
        return np.array([text[:_DAY_LENGTH] for text in texts], dtype="datetime64[D]")
    moments = np.array(texts, dtype="datetime64[us]")
    days = moments.astype("datetime64[D]")
    are_moments = np.fromiter((len(text) > _DAY_LENGTH for text in texts), bool, len(texts))
    days[are_moments] = local_times(moments[are_moments], zone).astype("datetime64[D]")
    return days


def _zone(name: str) -> ZoneInfo | None:
    with contextlib.suppress(ValueError, LookupError, OSError):
        return ZoneInfo(name) if name else None
    return None


def _shown(utc: Any, zone: tzinfo) -> Any:
    return None if utc is None else utc.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None)


def _to_utc(wall: datetime, zone: tzinfo) -> datetime:
    return wall.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None)


_DAY_NUMBERS: Final = Remembered(lambda text: int(np.datetime64(text, "D").astype(np.int64)))
