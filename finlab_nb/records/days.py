"""Days and moments: from what Python, numpy, pandas and pyarrow have for them, and from ISO 8601 text."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, date, datetime
from typing import Any, Final

import numpy as np
import pandas as pd

from finlab_nb.records.plain import Remembered, is_missing, unwrapped, values_of
from finlab_nb.records.values import refusal, shown

# Python's own parser takes more, such as the first digits of "1612051200000" for the year 1612.
_ISO: Final = re.compile(
    r"\d{8}|\d{4}-\d\d-\d\d([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d([.]\d{1,9})?)?(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)?)?",
    re.ASCII,
)
_NOT_ISO: Final = "it is not written like 2024-01-31 or 2024-01-31T09:30:00+08:00"
_COARSE_UNITS: Final = ("Y", "M", "W", "generic")
_TIMESTAMPS: Final = {pd.Timestamp, type(pd.NaT)}
_NAT: Final = np.datetime64("NaT")
_FINEST_UNITS: Final = ("ps", "fs", "as")
_FIRST_DAY, _LAST_DAY = (np.datetime64(day, "D") for day in (date.min, date.max))


def day_or_moment(field: str, value: object) -> str:
    """Return a date as YYYY-MM-DD, or a date and time within the day as YYYY-MM-DDTHH:MM:SS[.ffffff] in UTC.

    What is finer than a microsecond is cut off.
    """
    return _written(_found(field, value, "a date, a datetime or ISO 8601 text"))


def timestamp_text(field: str, value: object) -> str:
    """Return a moment as UTC text; without an offset it is taken as UTC."""
    wanted = "a datetime or ISO 8601 text"
    found = _found(field, value, wanted)
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


def days_of_column(column: Any) -> list[Any] | None:
    """Return a Series or a list as `day_or_moment` stores each value, None where one is missing.

    Whatever needs a look at each value gives None, and so does a column with a value that is refused.
    """
    if _is_datetime64(column):
        return _days_of_array(_in_utc(column).to_numpy())
    values = values_of(column)
    kinds = set(map(type, values)) - {type(None)}
    with contextlib.suppress(ValueError, OverflowError):  # one is no date
        if kinds == {str}:
            return list(map(_TEXTS.__getitem__, values))
        if kinds <= {date, datetime} and not any(type(one) is datetime and one.tzinfo for one in values):
            return _days_of_array(np.array(values, dtype="datetime64[us]"))
        if kinds <= _TIMESTAMPS and len({one.unit for one in values if type(one) is pd.Timestamp}) == 1:
            return _days_of_array(np.array([_NAT if one is None else one.to_datetime64() for one in values]))
    return None


def _is_datetime64(column: Any) -> bool:
    return (
        isinstance(column, pd.Series)
        and isinstance(column.dtype, (np.dtype, pd.DatetimeTZDtype))
        and (column.dtype.kind == "M")
    )


def _in_utc(column: pd.Series[Any]) -> pd.Series[Any]:
    return column.dt.tz_convert("UTC").dt.tz_localize(None) if isinstance(column.dtype, pd.DatetimeTZDtype) else column


def _days_of_array(given: Any) -> list[Any] | None:
    days = given.astype("datetime64[D]")
    unknown = np.isnat(days)
    if not (unknown | ((days >= _FIRST_DAY) & (days <= _LAST_DAY))).all():
        return None
    moments = given.astype("datetime64[us]")
    if ((moments == days) | unknown).all():
        return list(map(_DAYS.__getitem__, days.view(np.int64).tolist()))
    to_the_second = ((moments == moments.astype("datetime64[s]")) | unknown).all()
    written = np.datetime_as_string(moments, unit="s" if to_the_second else "us").tolist()
    return [None if one == "NaT" else one.removesuffix(".000000").removesuffix("T00:00:00") for one in written]


def _numbered_day(number: int) -> str | None:
    """Return the day this many days after 1970-01-01; None for the number that stands for NaT."""
    day = np.datetime64(number, "D")
    return None if np.isnat(day) else str(day)


def naive_moment(value: Any) -> date | datetime | None:
    """Return a day as a date, a moment as a naive datetime (UTC if it had an offset), None for anything else.

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
        value = _read(value)
    elif isinstance(value, pd.Timestamp):
        value = value.to_pydatetime(warn=False)
    if isinstance(value, datetime):
        return (value if value.utcoffset() is None else value.astimezone(UTC)).replace(tzinfo=None)
    return value if isinstance(value, date) else None


def _found(field: str, value: object, wanted: str) -> date | datetime:
    held = unwrapped(value)
    try:
        found = naive_moment(held)
    except (ValueError, OverflowError) as error:
        allowed = "a date that exists, as YYYY-MM-DD or ISO 8601" if isinstance(held, str) else wanted
        raise ValueError(f"{field} is {shown(value)}; it must be {allowed} ({error})") from error
    if found is None:
        raise refusal(field, value, wanted)
    return found


def _written(found: date | datetime) -> str:
    if isinstance(found, datetime):
        return datetime.isoformat(found).removesuffix("T00:00:00")
    return date.isoformat(found)


def _read(text: str) -> date | datetime:
    found = (date if len(text) == len("2024-01-31") else datetime).fromisoformat(text)
    if found.isoformat() != text and not _ISO.fullmatch(text):
        raise ValueError(_NOT_ISO)
    return found


def _of_numpy(moment: np.datetime64) -> date | datetime | None:
    unit = np.datetime_data(moment.dtype)[0]
    if unit in _COARSE_UNITS:
        return None
    if unit in _FINEST_UNITS:  # from which numpy knows no way to days
        moment = moment.astype("datetime64[ns]")
    if not _FIRST_DAY <= moment.astype("datetime64[D]") <= _LAST_DAY:  # the cast below would wrap around
        raise ValueError("year is out of range")
    found: date | datetime = moment.astype("datetime64[D]" if unit == "D" else "datetime64[us]").item()
    return found


_DAYS: Final = Remembered(_numbered_day)
_TEXTS: Final = Remembered(lambda text: day_or_moment("", text))
