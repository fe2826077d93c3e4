"""Columns of three values, of every dtype of numpy, pandas, pyarrow and polars: name, maker and what each value is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from conversions.meanings import (
    Day,
    Duration,
    Exact,
    Meaning,
    Moment,
    Other,
    Real,
    Text,
    Truth,
    Unknown,
    Whole,
)

UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Column:
    """A column of three values."""

    name: str
    make: Callable[[], Any]
    meanings: tuple[Meaning, ...]


def whole(*numbers: int) -> tuple[Meaning, ...]:
    return tuple(Whole(number=number) for number in numbers)


def real(*digits: str) -> tuple[Meaning, ...]:
    return tuple(Real(digits=one) for one in digits)


def exact(*digits: str) -> tuple[Meaning, ...]:
    return tuple(Exact(digits=one) for one in digits)


def moments(*utc: str) -> tuple[Meaning, ...]:
    return tuple(Moment(utc=one) for one in utc)


def zoned(zone: str | None, utc: Sequence[Meaning]) -> tuple[Meaning, ...]:
    """Return moments of UTC with what a clock of the zone shows."""
    if zone is None:
        return tuple(utc)
    found = []
    for one in utc:
        moment = datetime.fromisoformat(one.utc).replace(tzinfo=UTC) if isinstance(one, Moment) and one.utc else None
        found.append(one if moment is None else replace(one, wall=moment.astimezone(ZoneInfo(zone)).isoformat()))
    return tuple(found)


def with_missing(meanings: Sequence[Meaning]) -> tuple[Meaning, ...]:
    return (meanings[0], UNKNOWN, meanings[2])


OTHER: Final = (Other(), Other(), Other())
MISSING: Final = (UNKNOWN, UNKNOWN, UNKNOWN)
TEXTS: Final = ["2330", "0050", "2317"]
TEXTS_ARE: Final = tuple(Text(text=text) for text in TEXTS)
DAYS: Final = ["2024-01-02", "2024-01-03", "2024-01-04"]
DAYS_ARE: Final = tuple(Day(day=day) for day in DAYS)
MIDNIGHTS: Final = [datetime.fromisoformat(day) for day in DAYS]
MIDNIGHTS_ARE: Final = moments(*(f"{day}T00:00:00.000000" for day in DAYS))
DATE_TEXTS_ARE: Final = tuple(Text(text=day, date=Day(day=day)) for day in DAYS)
DATES: Final = [date.fromisoformat(day) for day in DAYS]
TRUTHS_ARE: Final = (Truth(), Truth(value=False), Truth())
SPANS_ARE: Final = (Duration(), Duration(), Duration())
_SIGNED: Final = {8: (1, -3, 7), 16: (1, -3, 7), 32: (1, -3, 7), 64: (1, 2**60, -7)}
_UNSIGNED: Final = {8: (1, 200, 7), 16: (1, 3, 7), 32: (1, 2**32 - 1, 7), 64: (1, 2**63, 7)}
WIDTHS: Final = {
    **{f"int{bits}": numbers for bits, numbers in _SIGNED.items()},
    **{f"uint{bits}": numbers for bits, numbers in _UNSIGNED.items()},
}
FLOATS: Final = {"float32": ("0.1", "593.17", "-2.5"), "float64": ("0.1", "0.30000000000000004", "-2.5")}
HALVES: Final = ("0.1", "0.5", "-2.5")
UNITS: Final = ("s", "ms", "us", "ns")
# Moments as their wall time, then as UTC for the zones below.
NINE: Final = ["2024-01-02T09:30:00", "2024-01-03T09:30:15", "2024-01-04T00:00:00"]
NINE_ARE: Final = moments(*(f"{one}.000000" for one in NINE))
ODD_NS: Final = ["2024-01-02T09:30:15.123456789", "2024-01-03T00:00:00.000000001", "1969-12-31T23:59:59.999999999"]
ODD_NS_ARE: Final = moments("2024-01-02T09:30:15.123456", "2024-01-03T00:00:00.000000", "1969-12-31T23:59:59.999999")
