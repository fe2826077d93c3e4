"""What the cells of a table mean: numbers, dates, sides and stock codes as platforms and brokers write them.

A cell is understood, empty, or refused by a ValueError that names table, row, column and value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pandas as pd

from finlab_nb.records.plain import is_missing
from finlab_nb.records.values import shown

_EMPTY: Final = frozenset({"", "-", "--", "---", "—", "n/a", "na", "nan", "nat", "none", "null", "<na>", "∅"})
_MINUS: Final = str.maketrans("−–", "--")
_CURRENCY: Final = re.compile(r"(?:US|NT|HK|AU?|CA?|S)?\$|[€£¥₹₩₿]|元")
# Groups of thousands, also those of India; what is grouped has three digits at its end.
_POINT: Final = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:([,' ])\d{2,3})*[,' ]\d{3})?(?:\.\d*)?(?:e[+-]?\d+)?")
_COMMA: Final = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:([.' ])\d{3})+)?(?:,\d*)?(?:e[+-]?\d+)?")
_ONLY_COMMA: Final = re.compile(r"[^.,]*\d,(?:\d{0,2}|\d{4,})\D*|.*\.\d{3},\d.*")
_ONLY_POINT: Final = re.compile(r"[^.,]*\d\.(?:\d{0,2}|\d{4,})\D*|.*,\d{3}\..*")
_UNIT: Final = re.compile(r"(.*\d)\s*([A-Za-z]{2,10})")

_YEARS: Final = (1900, 2200)
_ROC: Final = 1911  # the year before the first of the Republic of China
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE: Final = re.compile(
    r"(?:(?P<year>\d{4})[-/.年](?P<month>\d{1,2})[-/.月](?P<day>\d{1,2})日?"
    r"|(?:民國)?(?P<roc>1\d{2})[-/.年](?P<roc_month>\d{1,2})[-/.月](?P<roc_day>\d{1,2})日?"
    r"|(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})[-/.](?P<last>\d{4})"
    r"|(?P<name_day>\d{1,2})[- ](?P<name>[A-Za-z]{3,9})[-, ]+(?P<name_year>\d{4})"
    r"|(?P<us_name>[A-Za-z]{3,9})\.? (?P<us_day>\d{1,2}),? (?P<us_year>\d{4})"
    r"|(?P<whole>(?:19|20)\d{6})(?=\D|$))"
    r"(?P<rest>.*)"
)
_TIME: Final = re.compile(
    r"[T;,\s]*(?P<early>[AaPp]\.?[Mm]\.?|上午|下午)?\s*"
    r"(?:(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?|(?P<all>\d{6}))"
    r"\s*(?P<late>[AaPp]\.?[Mm]\.?|上午|下午)?\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2}(?::\d{2})?)?"
)
_EPOCHS: Final = {10: 1, 13: 10**3, 16: 10**6, 19: 10**9}  # by their digits: units in a second
_COMPACT: Final = {12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_DIGITS: Final = re.compile(r"(\d+)(?:\.0*)?")
_SUREST: Final = 12

# What was done tells more than which way a position points: a short is sold, and bought to be closed.
_BUYS: Final = re.compile(r"買|买|\b(?:buys?|bought|bot|b|cover)\b")
_SELLS: Final = re.compile(r"賣|卖|\b(?:sells?|sold|sld|s|sshort)\b")
_LONG: Final = re.compile(r"多|\b(?:long|l)\b")
_SHORT: Final = re.compile(r"空|\bshort\b")
_CLOSES: Final = re.compile(r"平|\b(?:close|exit)\b")
_LABELLED: Final = re.compile(  # a code with the name of the stock in Chinese before or behind it
    r"(?P<code>[0-9A-Z]{4,7})[\s_-]*[⺀-鿿].*|.*[⺀-鿿].*\((?P<last>[0-9A-Z]{4,7})\)"
)


@dataclass(frozen=True)
class Cells:
    """One column of a table, and what to call its cells in an error."""

    field: str
    name: str
    values: Sequence[Any]
    labels: Sequence[str]

    def refusal(self, row: int, why: str) -> ValueError:
        """Return the error that names table, row, column and value."""
        return ValueError(f"{self.field}{self.labels[row]}, column {self.name!r}: {shown(self.values[row])} {why}")

    def missing(self, row: int, wanted: str) -> ValueError:
        """Return the error for a cell that must not be empty."""
        return ValueError(f"{self.field}{self.labels[row]}, column {self.name!r} is empty; it must be {wanted}")


def is_empty(cell: Any) -> bool:
    """Tell whether a cell holds nothing, or a sign for it."""
    return cell.strip().casefold() in _EMPTY if isinstance(cell, str) else is_missing(cell)


# Numbers --------------------------------------------------------------------------------------------------------------


def has_decimal_comma(columns: Iterable[Cells], *, is_likely: bool = False) -> bool:
    """Tell whether the numbers of a table are written with a decimal comma: by those that can be nothing else.

    Parameters
    ----------
    is_likely
        Whether it is as likely as one between thousands: then a comma that may be either is an error.
    """
    commas = points = False
    doubtful: tuple[Cells, int] | None = None
    for cells in columns:
        for row, cell in enumerate(cells.values):
            if isinstance(cell, str):
                commas = commas or _ONLY_COMMA.fullmatch(cell) is not None
                points = points or _ONLY_POINT.fullmatch(cell) is not None
                doubtful = doubtful or ((cells, row) if "," in cell else None)
    if is_likely and doubtful is not None and not (commas or points):
        cells, row = doubtful
        raise cells.refusal(row, "may have thousands or decimals; give pd.read_csv(path, sep=';', decimal=',' or '.')")
    return commas and not points


def numbers(cells: Cells, *, comma: bool = False) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return float64, NaN where a cell is empty."""
    values, _ = numbers_with_units(cells, comma=comma, units=False)
    return values


def numbers_with_units(
    cells: Cells, *, comma: bool = False, units: bool = True
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[str | None]]:
    """Return float64, and the unit that is written behind each number, such as BTC of "0.5BTC"."""
    found = np.full(len(cells.values), np.nan)
    names: list[str | None] = [None] * len(cells.values)
    for row, cell in enumerate(cells.values):
        if is_empty(cell):
            continue
        if units and isinstance(cell, str) and (match := _UNIT.fullmatch(cell.strip())):
            cell, names[row] = match.groups()
        value = _text_number(cell, comma=comma) if isinstance(cell, str) else _plain_number(cell)
        if value is None or not np.isfinite(value):
            raise cells.refusal(row, "is no number that can be told for sure")
        found[row] = value
    return found, names


def _plain_number(cell: Any) -> float | None:
    is_number = isinstance(cell, (int, float, np.integer, np.floating, Decimal)) and not isinstance(cell, bool)
    return float(cell) if is_number and not isinstance(cell, np.timedelta64) else None


@lru_cache(maxsize=1 << 14)
def _text_number(cell: str, *, comma: bool) -> float | None:
    held = _CURRENCY.sub("", unicodedata.normalize("NFKC", cell).translate(_MINUS)).strip().casefold()
    if held.startswith("(") and held.endswith(")"):
        held = f"-{held[1:-1].strip()}"
    if held.endswith("-"):
        held = f"-{held[:-1].strip()}"
    held = re.sub(r"^([+-])\s+", r"\1", held)
    if not any(map(str.isdigit, held)) or (comma and _ONLY_POINT.fullmatch(held)):
        return None
    match = (_COMMA if comma else _POINT).fullmatch(held)
    if match is None:
        return None
    mark = "." if comma else ","
    return float(re.sub(rf"[{re.escape(mark)}' ]", "", held).replace(",", "."))


# Dates ----------------------------------------------------------------------------------------------------------------


def dates(cells: Cells, times: Cells | None = None) -> pd.Series[Any]:
    """Return datetime64, with a zone if the cells have one; NaT where a cell is empty.

    Understood are dates and moments of Python, numpy and pandas, ISO 8601, 2026.05.01, 20260501;101500, 115/10/01 and
    1151002 (years of the Republic of China), names of months, and seconds, milli-, micro- and nanoseconds since 1970.
    Whether a day or a month comes first is told by those that are beyond 12.

    Parameters
    ----------
    times
        The time of day, where it has a column of its own.
    """
    values = cells.values
    if isinstance(values, pd.Series) and values.dtype.kind == "M":
        return values.reset_index(drop=True)
    day_first: list[bool | None] = []
    found = [None if is_empty(cell) else _moment(cells, row, day_first) for row, cell in enumerate(values)]
    if times is not None:
        found = [one if one is None else _with_time(times, row, one) for row, one in enumerate(found)]
    first = next((row for row, one in enumerate(found) if one is not None), 0)
    for row, one in enumerate(found):
        if one is not None and (one.tzinfo is None) != (found[first].tzinfo is None):  # type: ignore[union-attr]
            raise cells.refusal(row, f"and {shown(values[first])} are not both with or without a zone")
    zones = {one.utcoffset() for one in found if one is not None}
    if len(zones) > 1:
        found = [None if one is None else one.astimezone(UTC) for one in found]
    zone = next((one.tzinfo for one in found if one is not None), None)
    naive = pd.Series([None if one is None else one.replace(tzinfo=None) for one in found], dtype="datetime64[us]")
    return naive if zone is None else naive.dt.tz_localize(zone)


def is_date(cell: Any) -> bool:
    """Tell whether a cell may be a date: it holds a digit, or is one."""
    return not is_empty(cell) and any(map(str.isdigit, str(cell)))


def _moment(cells: Cells, row: int, day_first: list[bool | None]) -> datetime:
    cell = cells.values[row]
    if isinstance(cell, np.datetime64):
        cell = pd.Timestamp(cell)
    if isinstance(cell, datetime):
        return cell.to_pydatetime(warn=False) if isinstance(cell, pd.Timestamp) else cell
    if isinstance(cell, date):
        return datetime.combine(cell, time())
    try:
        found = _of_digits(cell)
        if found is None and isinstance(cell, str):
            text = unicodedata.normalize("NFKC", cell).strip()
            match = _DATE.fullmatch(text)
            if match is not None and match["first"] and match["mark"] != ".":
                return _of_day_and_month(cells, row, match, day_first)
            found = None if match is None else _of_match(match, day_first=True)
    except (ValueError, OverflowError) as error:
        if str(error).startswith(cells.field):
            raise
        raise cells.refusal(row, f"is no date ({error})") from error
    if found is None:
        raise cells.refusal(row, "is no date that can be told for sure")
    return found


def _of_digits(cell: Any) -> datetime | None:
    """Return the moment of digits alone: a date that is written without marks, or the time since 1970."""
    if isinstance(cell, bool) or not isinstance(cell, (str, int, float, np.integer, np.floating, Decimal)):
        return None
    if isinstance(cell, (float, np.floating)) and cell != int(cell):
        unit = _EPOCHS.get(len(str(int(cell))))
        return None if unit is None else datetime.fromtimestamp(float(cell) / unit, UTC)
    match = _DIGITS.fullmatch(cell.strip() if isinstance(cell, str) else str(int(cell)))
    if match is None:
        return None
    digits = match[1]
    if len(digits) in _EPOCHS:
        since = int(digits) * 10**6 // _EPOCHS[len(digits)]
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=since)
    if len(digits) in _COMPACT:
        return datetime.strptime(digits, _COMPACT[len(digits)])  # noqa: DTZ007 - what has no zone stays without
    if len(digits) == 7 and digits[0] == "1":
        return datetime(int(digits[:3]) + _ROC, int(digits[3:5]), int(digits[5:]))  # noqa: DTZ001
    if len(digits) == 8:
        return _day(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    return None


def _of_day_and_month(cells: Cells, row: int, match: re.Match[str], day_first: list[bool | None]) -> datetime:
    if not day_first:
        day_first.append(_is_day_first(cells))
    if day_first[0] is None:
        raise cells.refusal(
            row, "may be day and month or month and day; read it by pd.to_datetime(..., dayfirst=True or False)"
        )
    found = _of_match(match, day_first=day_first[0])
    if found is None:
        raise cells.refusal(row, "is no date that can be told for sure")
    return found


def _is_day_first(cells: Cells) -> bool | None:
    """Tell what comes first by the numbers of the whole column that are no month; None if all may be both."""
    texts = (unicodedata.normalize("NFKC", cell).strip() for cell in cells.values if isinstance(cell, str))
    matches = (match for match in map(_DATE.fullmatch, texts) if match and match["mark"])
    pairs = [(int(match["first"]), int(match["second"])) for match in matches]
    if any(first > _SUREST for first, _ in pairs):
        return True
    if any(second > _SUREST for _, second in pairs):
        return False
    return None if any(first != second for first, second in pairs) else True


def _of_match(match: re.Match[str], *, day_first: bool) -> datetime | None:
    if match["year"]:
        day = _day(int(match["year"]), int(match["month"]), int(match["day"]))
    elif match["roc"]:
        day = _day(int(match["roc"]) + _ROC, int(match["roc_month"]), int(match["roc_day"]))
    elif match["whole"]:
        day = _day(int(match["whole"][:4]), int(match["whole"][4:6]), int(match["whole"][6:]))
    elif match["mark"]:
        one, other = int(match["first"]), int(match["second"])
        day = _day(int(match["last"]), *((other, one) if day_first else (one, other)))
    else:
        name = (match["name"] or match["us_name"])[:3].casefold()
        if name not in _MONTHS:
            return None
        year, number = match["name_year"] or match["us_year"], match["name_day"] or match["us_day"]
        day = _day(int(year), _MONTHS.index(name) + 1, int(number))
    return _at(day, match["rest"])


def _day(year: int, month: int, day: int) -> datetime:
    if not _YEARS[0] <= year <= _YEARS[1]:
        raise ValueError(f"year {year} is out of range")
    return datetime(year, month, day)  # noqa: DTZ001 - what has no zone stays without


def _at(day: datetime, rest: str) -> datetime | None:
    """Return the day with the time of day that a text tells, if it tells any; None if it is none."""
    if not rest.strip():
        return day
    match = _TIME.fullmatch(rest.rstrip())
    if match is None:
        return None
    if match["all"]:
        hour, minute, second = (int(match["all"][at : at + 2]) for at in (0, 2, 4))
    else:
        hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    half = (match["early"] or match["late"] or "").casefold()
    if half:
        hour = hour % 12 + (12 if half[0] in "p下" else 0)
    part = int((match["part"] or "0").ljust(9, "0")) // 1000
    return day.replace(hour=hour, minute=minute, second=second, microsecond=part, tzinfo=_zone(match["zone"]))


def _zone(text: str | None) -> timezone | None:
    if text is None:
        return None
    if text[0] not in "+-":
        return UTC
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]))
    return timezone(-offset if text[0] == "-" else offset)


def _with_time(times: Cells, row: int, day: datetime) -> datetime:
    cell = times.values[row]
    if is_empty(cell) or day.time() != time():
        return day
    if isinstance(cell, time):
        return datetime.combine(day.date(), cell)
    try:
        text = unicodedata.normalize("NFKC", cell).strip() if isinstance(cell, str) else f"{int(cell):06d}"
        found = _at(day, text)
    except (TypeError, ValueError, OverflowError):
        found = None
    if found is None:
        raise times.refusal(row, "is no time of day")
    return found


# Sides and codes ------------------------------------------------------------------------------------------------------


def side_of(cell: Any) -> int | None:
    """Return 1 for what buys or is long, -1 for what sells or is short; None if it cannot be told."""
    if isinstance(cell, (bool, np.bool_)) or not isinstance(cell, str):
        return None
    return _side(cell)


@lru_cache(maxsize=1 << 12)
def _side(cell: str) -> int | None:
    text = re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", cell).casefold())
    for one, other, turned in ((_BUYS, _SELLS, 1), (_LONG, _SHORT, -1 if _CLOSES.search(text) else 1)):
        is_one, is_other = one.search(text) is not None, other.search(text) is not None
        if is_one or is_other:
            return None if is_one == is_other else turned if is_one else -turned
    return None


def codes(cells: Cells, *, digits: int = 0) -> tuple[list[str], bool]:
    """Return stock codes as text, and whether they had been read as numbers.

    Parameters
    ----------
    digits
        What numbers are filled up to with zeros, where no code has fewer digits.
    """
    found, were_numbers = [], False
    for row, cell in enumerate(cells.values):
        if is_empty(cell):
            raise cells.missing(row, "a stock code")
        if isinstance(cell, str):
            text = unicodedata.normalize("NFKC", cell).strip().strip("'=\"")
            match = _LABELLED.fullmatch(text)
            found.append(text if match is None else match["code"] or match["last"])
        elif _plain_number(cell) is not None and cell == int(cell):
            were_numbers = True
            found.append(str(int(cell)).zfill(digits))
        else:
            raise cells.refusal(row, "is no stock code")
    return found, were_numbers
