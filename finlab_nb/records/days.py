"""A day or a moment: from what Python, numpy, pandas and pyarrow have for them, and from ISO 8601 text.

`records.stamps` does the same for whole columns, and decides which moments are days.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, tzinfo
from typing import Any, Final

import numpy as np
import pandas as pd

from finlab_nb.records.plain import Remembered, is_missing, unwrapped
from finlab_nb.records.values import refusal, shown

# Python's own parser takes more, such as the first digits of "1612051200000" for the year 1612.
_ISO: Final = re.compile(
    r"\d{8}|\d{4}-\d\d-\d\d([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d([.]\d{1,9})?)?(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)?)?",
    re.ASCII,
)
_NOT_ISO: Final = "it is not written like 2024-01-31 or 2024-01-31T09:30:00+08:00"
COARSE_UNITS: Final = ("Y", "M", "W", "generic")
_FINEST_UNITS: Final = ("ps", "fs", "as")
FIRST_DAY, LAST_DAY = (np.datetime64(day, "D") for day in (date.min, date.max))
_DAY_TEXTS: Final = (len("20240131"), len("2024-01-31"))
WANTED: Final = "a date, a datetime or ISO 8601 text"


def day_or_moment(field: str, value: object) -> str:
    """Return a date as YYYY-MM-DD, or a date and time within the day as YYYY-MM-DDTHH:MM:SS[.ffffff] in UTC.

    What is finer than a microsecond is cut off.
    """
    return date_text(found_date(field, value)[1])


def timestamp_text(field: str, value: object) -> str:
    """Return a moment as UTC text; without an offset it is taken as UTC."""
    wanted = "a datetime or ISO 8601 text"
    _, found = found_date(field, value, wanted)
    if not isinstance(found, datetime):
        if not isinstance(unwrapped(value), str):
            raise refusal(field, value, wanted)
        found = datetime(found.year, found.month, found.day, tzinfo=UTC)
    return utc_text(found)


def now() -> str:
    """Return the current moment as it is stored: UTC, ISO 8601, microseconds."""
    return utc_text(datetime.now(UTC))


def utc_text(moment: datetime) -> str:
    """Return a moment of UTC as it is stored: ISO 8601 with microseconds and Z."""
    return f"{datetime.isoformat(moment.replace(tzinfo=None), timespec='microseconds')}Z"


def day_or_datetime(value: Any) -> date | datetime | None:
    """Return a day as a date, a moment as a datetime with the zone that it has, None for anything else.

    Raises
    ------
    ValueError, OverflowError
        If a text is no date in ISO 8601, or a moment falls out of the years 1 to 9999.
    """
    if is_missing(value):
        return None
    if isinstance(value, np.datetime64):
        return _of_numpy(value)
    if isinstance(value, pd.Period) and value.freqstr == "D":
        return date(value.year, value.month, value.day)
    if isinstance(value, str):
        value = _READ[str.__str__(value)]
    elif isinstance(value, pd.Timestamp):
        value = value.to_pydatetime(warn=False)
    return value if isinstance(value, date) else None


def naive(found: date | datetime) -> date | datetime:
    """Return a day as it is, and a moment without its zone: in UTC if it had one.

    Raises
    ------
    OverflowError
        If that falls out of the years 1 to 9999.
    """
    if isinstance(found, datetime):
        return (found if found.utcoffset() is None else found.astimezone(UTC)).replace(tzinfo=None)
    return found


def with_utc(value: object, zone: tzinfo | None = None) -> tuple[date | datetime, date | datetime] | None:
    """Return what `day_or_datetime` finds, with this zone if it has none, and the same as `naive` gives it."""
    found = day_or_datetime(unwrapped(value))
    if found is None:
        return None
    if zone is not None and isinstance(found, datetime) and found.utcoffset() is None:
        found = found.replace(tzinfo=zone)
    return found, naive(found)


def found_date(
    field: str, value: object, wanted: str = WANTED, zone: tzinfo | None = None
) -> tuple[date | datetime, date | datetime]:
    """Return what `with_utc` does, or raise a ValueError that names the field."""
    try:
        found = with_utc(value, zone)
    except (ValueError, OverflowError) as error:
        allowed = "a date that exists, as YYYY-MM-DD or ISO 8601" if isinstance(unwrapped(value), str) else wanted
        raise ValueError(f"{field} is {shown(value)}; it must be {allowed} ({error})") from error
    if found is None:
        raise refusal(field, value, wanted)
    return found


def date_text(found: date | datetime) -> str:
    """Return a day, or a naive moment, as it is stored where the zone is unknown: midnight is the day."""
    if isinstance(found, datetime):
        return datetime.isoformat(found).removesuffix("T00:00:00")
    return date.isoformat(found)


def _read(text: str) -> date | datetime:
    found = (date if len(text) in _DAY_TEXTS else datetime).fromisoformat(text)
    if found.isoformat() != text and not _ISO.fullmatch(text):
        raise ValueError(_NOT_ISO)
    return found


def _of_numpy(moment: np.datetime64) -> date | datetime | None:
    unit = np.datetime_data(moment.dtype)[0]
    if unit in COARSE_UNITS:
        return None
    if unit in _FINEST_UNITS:  # from which numpy knows no way to days
        moment = moment.astype("datetime64[ns]")
    if not FIRST_DAY <= moment.astype("datetime64[D]") <= LAST_DAY:  # the cast below would wrap around
        raise ValueError("year is out of range")
    found: date | datetime = moment.astype("datetime64[D]" if unit == "D" else "datetime64[us]").item()
    return found


_READ: Final = Remembered(_read)
