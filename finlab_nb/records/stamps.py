"""Columns of dates: which are days, which are moments, and what is stored of either.

A value that is a day stays this day. A moment with a zone, its own or the one that is given for the iteration, is a
day if it is the first moment of its local day, as vendors stamp daily bars; that is decided for all moments of a
table together. Other moments are stored in UTC. What has no zone is stored as it is.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as field_of
from datetime import date, datetime, timezone, tzinfo
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finlab_nb.records.days import COARSE_UNITS, FIRST_DAY, LAST_DAY, date_text, found_date, with_utc
from finlab_nb.records.plain import Remembered, is_missing, values_of
from finlab_nb.records.zones import UTC_NAME, Days, Moments, is_region, local_times, name_of, resolved, utc_times

Texts: TypeAlias = list[Any]  # text, or None where a date is missing

_DAY_LENGTH: Final = len("2024-01-31")
_MIDNIGHT: Final = "T00:00:00"
_INSTANT: Final = np.timedelta64(1, "us")
_TIMESTAMPS: Final = {pd.Timestamp, type(pd.NaT)}
_CLOCKS: Final = (datetime, pd.Timestamp)
_NAT: Final = np.datetime64("NaT")


@dataclass(frozen=True, slots=True)
class Aware:
    """The moments of a column in one zone.

    Attributes
    ----------
    rows
        Where they stand.
    utc
        The moments, datetime64[us].
    zone
        The zone whose days count.
    days
        The local day of each, datetime64[D].
    origin
        The name of the zone that the values had themselves, or the zone as text if it has none.
    is_named
        Whether it has a name.
    """

    rows: NDArray[np.intp]
    utc: Moments
    zone: tzinfo
    days: Days
    origin: str
    is_named: bool

    @property
    def begin_days(self) -> bool:
        """Whether each is the first moment of its local day; that is not always at 0:00, nor is each 0:00 that."""
        first, rest = slice(1), slice(1, None)  # of moments within the day the first one tells
        return _begin_days(self.utc[first], self.days[first], self.zone) and _begin_days(
            self.utc[rest], self.days[rest], self.zone
        )


@dataclass(frozen=True, slots=True)
class Stamps:
    """A column of dates: `texts` where they are settled, `aware` where a decision is due."""

    texts: Texts
    aware: list[Aware] = field_of(default_factory=list)


@dataclass(frozen=True, slots=True)
class Clock:
    """What the dates of a table tell about their zone.

    Attributes
    ----------
    settled
        The columns as far as no zone tells about them: days, and moments without one.
    zones
        How many moments had a zone of this name.
    nameless
        Zones without a name that others had.
    has_moments
        Whether moments with a zone are stored as such.
    field, value
        The first moment that has one, and what is stored of it.
    """

    settled: tuple[Texts, ...] = ()
    zones: Counter[str] = field_of(default_factory=Counter)
    nameless: frozenset[str] = frozenset()
    has_moments: bool = False
    field: str = ""
    value: str = ""

    @property
    def has_naive(self) -> bool:
        """Whether there are times of day without a zone."""
        return any(max(map(len, filter(None, texts)), default=0) > _DAY_LENGTH for texts in self.settled)


# One column -----------------------------------------------------------------------------------------------------------


def stamps_of(path: str, column: Any, zone: ZoneInfo | None, *, required: bool, exact: bool = False) -> Stamps:
    """Read a column of dates.

    Parameters
    ----------
    path
        What to call a value in an error, with ``{}`` for its row.
    column
        A Series, a list or a column of pyarrow.
    zone
        The zone of moments that have none, and whose days count for all; None if nobody has given one.
    required
        Whether a missing date is an error.
    exact
        Take moments without a zone as what is stored: UTC.

    Raises
    ------
    ValueError
        If a value is no date; the message names it.
    """
    with contextlib.suppress(ValueError, LookupError, OverflowError):  # one is no date; its place is named below
        found = _by_column(column, zone)
        if found is not None and not (required and None in found.texts and _lacks_one(found)):
            return found
    return _by_value(path, values_of(column), zone, required=required, exact=exact)


def _by_column(column: Any, zone: ZoneInfo | None) -> Stamps | None:
    """Read a whole column at once; None if each value needs a look."""
    column = _of_arrow(column)
    if _is_datetime64(column):
        own = getattr(column.dtype, "tz", None)
        return _of_array(np.asarray(column if own is None else column.dt.tz_convert(None)), own, zone)
    values = values_of(column)
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {str}:
        has_moments = zone is not None and set(map(len, filter(None, values))) != {_DAY_LENGTH}
        return None if has_moments else Stamps(list(map(_SETTLED.__getitem__, values)))
    if kinds == {date}:
        return _of_array(np.array(values, dtype="datetime64[D]"), None, None)
    if any(type(one) in _CLOCKS and (one.tzinfo or (zone and one.fold)) for one in values):
        return None
    if kinds <= ({date, datetime} if zone is None else {datetime}):
        return _of_array(np.array(values, dtype="datetime64[us]"), None, zone)
    if kinds <= _TIMESTAMPS and len({one.unit for one in values if type(one) is pd.Timestamp}) == 1:
        return _of_array(np.array([_NAT if one is None else one.to_datetime64() for one in values]), None, zone)
    return None


def _of_arrow(column: Any) -> Any:
    """Return moments of pyarrow as a Series of pandas, any other column as it is."""
    held: Any = column
    if isinstance(column, pd.Series):
        if not isinstance(column.dtype, pd.ArrowDtype):
            return column
        held = column.array
        held = held.__arrow_array__()
    return held.to_pandas() if str(getattr(held, "type", "")).startswith("timestamp") else column


def _is_datetime64(column: Any) -> bool:
    if isinstance(column, np.ndarray):
        return column.dtype.kind == "M" and np.datetime_data(column.dtype)[0] not in COARSE_UNITS
    return (
        isinstance(column, pd.Series)
        and isinstance(column.dtype, (np.dtype, pd.DatetimeTZDtype))
        and (column.dtype.kind == "M")
    )


def _of_array(given: Any, own: tzinfo | None, zone: ZoneInfo | None) -> Stamps:
    """Read an array of datetime64, which is UTC if it has a zone of its own; out of Python's years is a ValueError."""
    days = given.astype("datetime64[D]")
    unknown = np.isnat(days)
    if not (unknown | ((days >= FIRST_DAY) & (days <= LAST_DAY))).all():
        raise ValueError("year is out of range")
    filled = own or zone
    if filled is None:
        return Stamps(_naive_texts(given, days, unknown))
    rows = np.flatnonzero(~unknown)
    moments = given[rows].astype("datetime64[us]")
    if own is None:
        moments = utc_times(moments, filled)
    return Stamps([None] * given.size, [_aware(rows, moments, filled, zone)] if rows.size else [])


def _by_value(path: str, values: list[Any], zone: ZoneInfo | None, *, required: bool, exact: bool) -> Stamps:
    """Read a column value by value."""
    texts: Texts = [None] * len(values)
    found: dict[object, tuple[tzinfo, list[int], list[datetime]]] = {}
    filled = None if exact else zone
    for row, value in enumerate(values):
        if not required and is_missing(value):
            continue
        read = None
        with contextlib.suppress(ValueError, OverflowError):
            read = with_utc(value, filled)
        moment, utc = read or found_date(path.format(row), value, zone=filled)
        own = moment.tzinfo if isinstance(moment, datetime) else None
        if not isinstance(moment, datetime) or not isinstance(utc, datetime):
            texts[row] = date.isoformat(moment)
        elif own is None or moment.utcoffset() is None:
            texts[row] = date_text(utc) if zone is None else datetime.isoformat(utc)
        else:
            own = zone or own
            key = own if type(own) in (ZoneInfo, timezone) else id(own)  # those of other libraries have no hash
            _, rows, moments = found.setdefault(key, (own, [], []))
            rows.append(row)
            moments.append(utc)
    return Stamps(
        texts,
        [
            _aware(np.array(rows, dtype=np.intp), np.array(moments, dtype="datetime64[us]"), own, zone)
            for own, rows, moments in found.values()
        ],
    )


def _aware(rows: NDArray[np.intp], utc: Moments, own: tzinfo, zone: ZoneInfo | None) -> Aware:
    name = name_of(own)
    counting = resolved(own) if zone is None else zone
    days = local_times(utc, counting).astype("datetime64[D]")
    return Aware(rows, utc, counting, days, str(own) if name is None else name, name is not None)


def begins_day(utc: datetime, zone: tzinfo) -> bool:
    """Tell whether a moment, a naive datetime of UTC, is the first one of its local day."""
    moment, counting = np.array([utc], dtype="datetime64[us]"), resolved(zone)
    return _begin_days(moment, local_times(moment, counting).astype("datetime64[D]"), counting)


def _begin_days(utc: Moments, days: Days, zone: tzinfo) -> bool:
    return bool((local_times(utc - _INSTANT, zone).astype("datetime64[D]") != days).all())


def _lacks_one(stamps: Stamps) -> bool:
    return stamps.texts.count(None) > sum(one.rows.size for one in stamps.aware)


# A table of columns ---------------------------------------------------------------------------------------------------


def written(table: str, columns: Mapping[str, Stamps], *, is_curve: bool) -> tuple[dict[str, Texts], Clock]:
    """Decide whether the moments of a table are days, and return its columns as they are stored.

    Parameters
    ----------
    table
        What to call the table in a doubt.
    columns
        Its columns of dates.
    is_curve
        Whether one point a local day is a day too, at whatever time it was taken.
    """
    aware = [one for stamps in columns.values() for one in stamps.aware]
    are_days = bool(aware) and (_is_daily(columns) if is_curve else all(one.begin_days for one in aware))
    settled = tuple(stamps.texts for stamps in columns.values())
    texts = {name: _filled(stamps, are_days=are_days) for name, stamps in columns.items()}
    if not aware:
        return texts, Clock(settled)
    zones: Counter[str] = Counter()
    for one in aware:
        zones[one.origin] += one.rows.size if one.is_named else 0
    name, first = next((name, stamps.aware[0].rows[0]) for name, stamps in columns.items() if stamps.aware)
    return texts, Clock(
        settled,
        +zones,
        frozenset(one.origin for one in aware if not one.is_named),
        not are_days,
        f"{table}[{first}].{name}",
        texts[name][first],
    )


def _is_daily(columns: Mapping[str, Stamps]) -> bool:
    days = np.concatenate([one.days for stamps in columns.values() for one in stamps.aware])
    settled = [text for stamps in columns.values() for text in stamps.texts if text is not None]
    if settled:
        days = np.concatenate([days, np.array([text[:_DAY_LENGTH] for text in settled], dtype="datetime64[D]")])
    ordered = np.sort(days)
    return bool((ordered[1:] > ordered[:-1]).all() and ordered[0] >= FIRST_DAY and ordered[-1] <= LAST_DAY)


def _filled(stamps: Stamps, *, are_days: bool) -> Texts:
    texts = stamps.texts
    for one in stamps.aware:
        found = day_texts(one.days) if are_days else moment_texts(one.utc)
        if one.rows.size == len(texts):
            return found
        texts = list(texts)
        for row, text in zip(one.rows.tolist(), found, strict=True):
            texts[row] = text
    return texts


def common_zone(curve: Clock, trades: Clock) -> str | None:
    """Return the zone of an iteration by what its dates tell; None if it is unknown.

    Where zones differ, UTC and other fixed offsets give way to a place, and what are days to what are moments.
    """
    clocks = sorted((curve, trades), key=lambda clock: not clock.has_moments)
    if not any(clock.zones or clock.nameless for clock in clocks) or any(clock.has_naive for clock in clocks):
        return None
    names = [name for name in map(_zone_of, clocks) if name is not None]
    return next((name for fits in (is_region, UTC_NAME.__ne__, bool) for name in names if fits(name)), None)


def _zone_of(clock: Clock) -> str | None:
    regions = [name for name in clock.zones if is_region(name)]
    if regions:
        return max(regions, key=clock.zones.__getitem__)
    offsets = [name for name in clock.zones if name != UTC_NAME]
    if clock.nameless or len(offsets) > 1:
        return None
    return offsets[0] if offsets else UTC_NAME if clock.zones else None


def lacks_zone(curve: Clock, trades: Clock) -> Clock | None:
    """Return the table whose moments have several offsets, or have none beside others, so that no day is certain."""
    clocks = [clock for clock in (curve, trades) if clock.has_moments]
    if not clocks or common_zone(curve, trades) is not None:
        return None
    zones = {name for clock in (curve, trades) for name in (*clock.zones, *clock.nameless)}
    has_naive = curve.has_naive or trades.has_naive
    return clocks[0] if len(zones) > 1 or (has_naive and UTC_NAME not in zones) else None


# Texts ----------------------------------------------------------------------------------------------------------------


def day_texts(days: Days) -> Texts:
    """Return days as they are stored; None for NaT."""
    return list(map(_DAYS.__getitem__, days.view(np.int64).tolist()))


def moment_texts(moments: Moments) -> Texts:
    """Return moments as they are stored: to the second, or to the microsecond where there are such; None for NaT."""
    is_whole = (moments == moments.astype("datetime64[s]")) | np.isnat(moments)
    found = np.datetime_as_string(moments, unit="s" if is_whole.all() else "us").tolist()
    return [None if one == "NaT" else one.removesuffix(".000000") for one in found]


def _naive_texts(given: Any, days: Days, unknown: NDArray[np.bool_]) -> Texts:
    """Return moments without a zone as they are stored: midnight is the day."""
    moments = given.astype("datetime64[us]")
    if ((moments == days) | unknown).all():
        return day_texts(days)
    return [None if one is None else one.removesuffix(_MIDNIGHT) for one in moment_texts(moments)]


def _numbered_day(number: int) -> str | None:
    """Return the day this many days after 1970-01-01; None for the number that stands for NaT."""
    day = np.datetime64(number, "D")
    return None if np.isnat(day) else str(day)


def _settled(text: str) -> str:
    """Return a day, or a moment without a zone, as it is stored where none is given."""
    found, utc = found_date("", text)
    if isinstance(found, datetime) and found.utcoffset() is not None:
        raise ValueError("it has a zone")
    return date_text(utc)


_DAYS: Final = Remembered(_numbered_day)
_SETTLED: Final = Remembered(_settled)
