"""How often a curve has a point: its periods a year, and the day one period before it begins."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Days: TypeAlias = NDArray[np.datetime64]

_REGULAR: Final = 0.8  # at least this share of the days of a daily curve, or of the gaps of another one, must fit
_TRADED: Final = 0.5  # a weekday on which there is trading is there at least this often
_DAY: Final = np.timedelta64(1, "D")
_SATURDAY, _SUNDAY = 5, 6
_MONDAY: Final = 4  # 1970-01-05, in days since 1970-01-01


class _Period(NamedTuple):
    """A period by its gaps in days (the shortest and the longest, of the median and of most of them) and its length."""

    per_year: int
    median: tuple[int, int] = (1, 1)
    gaps: tuple[int, int] = (1, 1)
    days: int = 0
    months: int = 0


_LONGER_THAN_A_DAY: Final = (
    _Period(52, (6, 8), (6, 8), days=7),
    _Period(12, (29, 32), (26, 35), months=1),
    _Period(4, (88, 93), (84, 97), months=3),
    _Period(1, (360, 370), (355, 375), months=12),
)


def periods_per_year(days: Days) -> float:
    """Return how many periods a year has, by the days on which a curve has a point.

    ========= ========================== ============================================================ ======
    period    median gap in days         and                                                          a year
    ========= ========================== ============================================================ ======
    day       1                          80 % of the days of a week of seven days are there              365
    day       1                          80 % of the days of a week of five days are there               252
    week      6 to 8                     80 % of the gaps are of 6 to 8 days                              52
    month     29 to 32                   80 % of the gaps are of 26 to 35 days                            12
    quarter   88 to 93                   80 % of the gaps are of 84 to 97 days                             4
    year      360 to 370                 80 % of the gaps are of 355 to 375 days                           1
    ========= ========================== ============================================================ ======

    The week has seven days if at least half of the Saturdays and half of the Sundays from the first day to the last
    are there, unless two other weekdays are missing more often than not. Else it has the five weekdays that occur most
    often, whichever they are, so that make-up Saturdays and Sunday evenings change nothing.

    Parameters
    ----------
    days
        Local days with a point, datetime64[D], ascending and each only once.

    Returns
    -------
    float
        NaN where there is no regular period: other gaps, such as every 50 days or the days of closed trades, and fewer
        than two days.

    Examples
    --------
    >>> weekdays = np.arange("2024-01-01", "2024-12-31", dtype="datetime64[D]")
    >>> weekdays = weekdays[np.is_busday(weekdays)]
    >>> periods_per_year(weekdays), periods_per_year(weekdays[::5]), periods_per_year(weekdays[::36])
    (252.0, 52.0, nan)
    """
    period = _period(days.astype("datetime64[D]", copy=False))
    return np.nan if period is None else float(period.per_year)


def before_first(days: Days) -> np.datetime64:
    """Return the day one period before the first one, which is the day of an initial capital.

    It is a day, a week, or one, three or twelve calendar months earlier, the last day of a month if the first day is
    one; without a regular period it is earlier by the median gap, and by one day if there is a single point.

    Parameters
    ----------
    days
        As in `periods_per_year`, at least one.

    Examples
    --------
    >>> str(before_first(np.array(["2024-02-29", "2024-03-31", "2024-04-30"], dtype="datetime64[D]")))
    '2024-01-31'
    """
    days = days.astype("datetime64[D]", copy=False)
    first: np.datetime64 = days[0]
    period = _period(days)
    if period is None:
        gap = _median(_gaps(days)) if days.size > 1 else 1.0
        return first - max(round(gap), 1) * _DAY
    return _months_earlier(first, period.months) if period.months else first - period.days * _DAY


def _period(days: Days) -> _Period | None:
    if days.size < 2:
        return None
    gaps = _gaps(days)
    median = _median(gaps)
    if median == 1:
        return _daily(days.astype(np.int64) - _MONDAY)
    for period in _LONGER_THAN_A_DAY:
        if period.median[0] <= median <= period.median[1]:
            shortest, longest = period.gaps
            fitting = (gaps >= shortest) & (gaps <= longest)
            return period if fitting.mean() >= _REGULAR else None
    return None


def _daily(numbers: NDArray[np.int64]) -> _Period | None:
    """Tell a week of seven days from one of five; `numbers` count the days since a Monday."""
    first, last = int(numbers[0]), int(numbers[-1])
    weekdays = np.arange(7)
    there = np.bincount(numbers % 7, minlength=7)
    possible = (last - weekdays) // 7 - (first - 1 - weekdays) // 7
    missing = there < np.maximum(_TRADED * possible, 1)
    if not missing[_SATURDAY] and not missing[_SUNDAY] and (missing & (possible > 0)).sum() < 2:
        per_year, week = 365, weekdays
    else:
        per_year, week = 252, np.argsort(there)[-5:]
    is_regular = there[week].sum() >= _REGULAR * possible[week].sum()
    return _Period(per_year, days=1) if is_regular else None


def _gaps(days: Days) -> NDArray[np.int64]:
    gaps: NDArray[np.int64] = np.diff(days).astype(np.int64)
    return gaps


def _median(gaps: NDArray[np.int64]) -> float:
    """Return the median; sorting is twenty times as fast as the selection that numpy's does, where most are equal."""
    ordered, half = np.sort(gaps), gaps.size // 2
    return float(ordered[half]) if gaps.size % 2 else float(ordered[half - 1] + ordered[half]) / 2


def _months_earlier(day: np.datetime64, months: int) -> np.datetime64:
    month = day.astype("datetime64[M]")
    earlier = month - months
    last = _last_of(earlier)
    if day == _last_of(month):
        return last
    return min(earlier.astype("datetime64[D]") + (day - month.astype("datetime64[D]")), last)


def _last_of(month: np.datetime64) -> np.datetime64:
    last: np.datetime64 = (month + 1).astype("datetime64[D]") - _DAY
    return last
