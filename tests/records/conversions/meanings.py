"""What a value is, apart from the type that holds it, and what must become of it in each kind of field.

The rules are written from the documented table of conversions, by hand, and use nothing of the package.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, TypeAlias

import pandas as pd

# What a value is ------------------------------------------------------------------------------------------------------

BY_MEANING: Final = object()


@dataclass(frozen=True)
class Meaning:
    """What a value is; `parameter` is what it becomes as a parameter, where that does not follow from the rest."""

    parameter: Any = BY_MEANING


@dataclass(frozen=True)
class Unknown(Meaning):
    """No value: None, NaN, NaT, NA, masked, null."""


@dataclass(frozen=True)
class Day(Meaning):
    """A day, as YYYY-MM-DD."""

    day: str = ""


@dataclass(frozen=True)
class Moment(Meaning):
    """A moment: in UTC as YYYY-MM-DDTHH:MM:SS.ffffff (None outside the years 1 to 9999), and in ISO 8601 as given."""

    utc: str | None = None
    iso: str = ""
    wall: str = ""  # with its offset, where `iso` is not known

    @property
    def local(self) -> str | None:
        """What a clock of its zone shows, to the microsecond; None if it has no zone."""
        found = re.fullmatch(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?([.]\d+)?(Z|[+-][\d:]+)", self.iso or self.wall)
        if found is None:
            return None
        day, minutes, seconds, fraction, _ = found.groups()
        return f"{day}T{minutes}{seconds or ':00'}.{(fraction or '.')[1:]:0<6.6}"


@dataclass(frozen=True)
class Text(Meaning):
    """A text, and the day or moment that it names, if it does."""

    text: str = ""
    date: Day | Moment | None = None


@dataclass(frozen=True)
class Whole(Meaning):
    """A number of a type that holds whole numbers only."""

    number: int = 0


@dataclass(frozen=True)
class Real(Meaning):
    """A binary float, by its shortest decimal digits."""

    digits: str = ""


@dataclass(frozen=True)
class Exact(Meaning):
    """A decimal number, by its digits."""

    digits: str = ""


@dataclass(frozen=True)
class Infinite(Meaning):
    """Infinity, with its sign."""

    sign: int = 1


@dataclass(frozen=True)
class Truth(Meaning):
    """True or False."""

    value: bool = True


@dataclass(frozen=True)
class Duration(Meaning):
    """A time span; its text is that of pd.Timedelta."""

    text: str = ""


@dataclass(frozen=True)
class Other(Meaning):
    """Anything that is none of these: containers, bytes, times of the day, objects."""


# What becomes of it ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stored:
    """The value stands in the file: exactly this one, or one that the matcher takes."""

    value: Any


@dataclass(frozen=True)
class Refused:
    """A ValueError that names field, row, value and what is allowed; `saying` is a part of the message."""

    saying: str = ""


@dataclass(frozen=True)
class NotFound:
    """A LookupError of the package: a right value that names nothing."""


@dataclass(frozen=True)
class Dropped:
    """Left out, named in one DroppedMetricsWarning."""


NULL: Final = Stored(None)
REFUSED: Final = Refused()
DROPPED: Final = Dropped()
Outcome: TypeAlias = Stored | Refused | NotFound | Dropped | tuple[Any, ...]  # a tuple: any of these
Rule: TypeAlias = Callable[[Meaning], Outcome]
JointRule: TypeAlias = Callable[[Sequence[Meaning]], tuple[Outcome, ...]]  # of a whole column


@dataclass(frozen=True)
class Iso:
    """An ISO 8601 text of this moment, in any spelling."""

    text: str

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str) or not re.fullmatch(r"-?\d{4}(-\d\d){0,2}([T ][\d:.]+)?(Z|[+-][\d:.]+)?", other):
            return False
        found, wanted = pd.Timestamp(other), pd.Timestamp(self.text)
        return found.utcoffset() == wanted.utcoffset() and found == wanted

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Like:
    """A text of this form."""

    pattern: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(self.pattern, other, re.DOTALL) is not None

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class AnyForm:
    """Any JSON without an address of memory in it."""

    def __eq__(self, other: object) -> bool:
        return re.search(r"\b0x[0-9a-f]{5,}", repr(other)) is None

    __hash__ = None  # type: ignore[assignment]


ANY: Final = AnyForm()
MATCHERS: Final = (Iso, Like, AnyForm)


def same(found: object, wanted: object) -> bool:
    """Tell whether two values are the same: of one type, floats to the last bit (SQLite keeps no sign of zero)."""
    if isinstance(wanted, MATCHERS):
        return wanted == found
    if type(found) is not type(wanted):
        return False
    if isinstance(wanted, float):
        return found == wanted and (wanted == 0 or found.hex() == wanted.hex())  # type: ignore[attr-defined]
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))  # type: ignore[arg-type]
    if isinstance(wanted, dict):
        return list(found) == list(wanted) and all(same(found[key], wanted[key]) for key in wanted)  # type: ignore
    return found == wanted


# The rules, one a kind of field ---------------------------------------------------------------------------------------


def text_rule(missing: Outcome = REFUSED, *, empty: bool = False, number: Outcome = REFUSED) -> Rule:
    """Text as it is; all else is refused. `number` says what becomes of whole numbers, as the message may differ."""

    def rule(meaning: Meaning) -> Outcome:
        if isinstance(meaning, Unknown):
            return missing
        if isinstance(meaning, Whole):
            return number
        if not isinstance(meaning, Text) or re.search("[\0\ud800-\udfff]", meaning.text):
            return REFUSED
        return Stored(meaning.text) if empty or meaning.text.strip() else REFUSED

    return rule


def word_rule(*words: str, missing: Outcome = REFUSED) -> Rule:
    """One of the words."""

    def rule(meaning: Meaning) -> Outcome:
        if isinstance(meaning, Text) and meaning.text in words:
            return Stored(meaning.text)
        return missing if isinstance(meaning, Unknown) else REFUSED

    return rule


def id_rule(known: str, missing: Outcome = REFUSED) -> Rule:
    """The one id that exists; other texts are not found."""
    plain = text_rule(missing)

    def rule(meaning: Meaning) -> Outcome:
        outcome = plain(meaning)
        unknown = isinstance(meaning, Text) and isinstance(outcome, Stored) and meaning.text != known
        return NotFound() if unknown else outcome

    return rule


def as_float(meaning: Meaning) -> float | None:
    """Return the 64-bit float for a number that one holds; None if none does, or if it is no finite number."""
    if isinstance(meaning, Real):
        return float(meaning.digits)
    if isinstance(meaning, (Whole, Exact)):
        exact = Decimal(meaning.number if isinstance(meaning, Whole) else meaning.digits)
        try:
            nearest = float(exact)
        except OverflowError:
            return None
        is_whole = exact == exact.to_integral_value()
        return None if math.isinf(nearest) or (is_whole and Decimal(nearest) != exact) else nearest
    return None


def number_rule(
    missing: Outcome = REFUSED, least: float = -math.inf, most: float = math.inf, above: float = -math.inf
) -> Rule:
    """A finite number in a range."""

    def rule(meaning: Meaning) -> Outcome:
        if isinstance(meaning, Unknown):
            return missing
        number = as_float(meaning)
        return REFUSED if number is None or not (least <= number <= most and number > above) else Stored(number)

    return rule


def whole_rule(least: int, missing: Outcome = REFUSED, known: int = 2**63 - 1) -> Rule:
    """A whole number of 64 bits; one beyond `known` names nothing."""

    def rule(meaning: Meaning) -> Outcome:
        if isinstance(meaning, Unknown):
            return missing
        if not isinstance(meaning, (Whole, Real, Exact)):
            return REFUSED
        exact = Decimal(meaning.number if isinstance(meaning, Whole) else meaning.digits)
        if exact != exact.to_integral_value() or not least <= exact < 2**63:
            return REFUSED
        return Stored(int(exact)) if exact <= known else NotFound()

    return rule


def flag_rule(missing: Outcome) -> Rule:
    """True or False."""

    def rule(meaning: Meaning) -> Outcome:
        if isinstance(meaning, Truth):
            return Stored(int(meaning.value))
        return missing if isinstance(meaning, Unknown) else REFUSED

    return rule


def extra_rule(meaning: Meaning) -> Outcome:
    """A number, also an infinite one; what is none is dropped."""
    if isinstance(meaning, Infinite):
        return Stored(meaning.sign * math.inf)
    number = as_float(meaning)
    return NULL if isinstance(meaning, Unknown) else DROPPED if number is None else Stored(number)


def dates_rule(missing: Outcome = REFUSED, *, one_a_day: bool = False) -> JointRule:
    """Days and moments of one column: a day is itself, a moment without a zone stays what it shows, midnight the day.

    Those with a zone are days if each is a local midnight (none here has a first moment at another time), or if
    `one_a_day` and no two fall on the same; else they are moments of UTC.
    """

    def rule(meanings: Sequence[Meaning]) -> tuple[Outcome, ...]:
        dates = [_date_of(meaning) for meaning in meanings]
        zoned = [one.local for one in dates if isinstance(one, Moment) and one.utc and one.local]
        days = [local[:10] for local in zoned]
        others = [
            one.day if isinstance(one, Day) else (one.utc or "")[:10] for one in dates if one and not _is_zoned(one)
        ]
        is_days = all(local[11:] == "00:00:00.000000" for local in zoned)
        if one_a_day:
            is_days = len({*days, *others}) == len(days) + len(others)
        return tuple(
            missing if isinstance(meaning, Unknown) else _stored_date(one, is_days=is_days)
            for meaning, one in zip(meanings, dates, strict=True)
        )

    return rule


def _date_of(meaning: Meaning) -> Day | Moment | None:
    if not isinstance(meaning, Text):
        return meaning if isinstance(meaning, (Day, Moment)) else None
    if isinstance(meaning.date, Moment) and not meaning.date.iso:
        return replace(meaning.date, iso=meaning.text)
    return meaning.date


def _own_day(date: Day | Moment) -> str:
    return date.day if isinstance(date, Day) else (date.utc or "")[:10]


def _is_zoned(date: Day | Moment) -> bool:
    return isinstance(date, Moment) and date.local is not None


def _stored_date(date: Day | Moment | None, *, is_days: bool) -> Outcome:
    if isinstance(date, Day):
        return Stored(date.day)
    if date is None or date.utc is None:
        return REFUSED
    utc = date.utc.removesuffix(".000000")
    if date.local is None:
        return Stored(utc.removesuffix("T00:00:00"))
    return Stored(date.local[:10] if is_days else utc)


def reason_rule(meaning: Meaning) -> Outcome:
    """Text as it is; of any other scalar the text, as parameters have it."""
    if isinstance(meaning, Unknown):
        return NULL
    if isinstance(meaning, Text):
        return text_rule(empty=True)(meaning)
    if (isinstance(meaning, Moment) and not meaning.iso) or (isinstance(meaning, Duration) and not meaning.text):
        return Stored(ANY)  # a column says no more than its UTC, or that it is a span
    value = as_parameter(meaning)
    if isinstance(value, (str, *MATCHERS)):
        return (Stored(value), REFUSED) if value is ANY or isinstance(meaning, Other) else Stored(value)
    return REFUSED if isinstance(value, (list, dict)) else Stored(str(value))


def object_rule(meaning: Meaning) -> Outcome:
    """The text of a JSON object, or a dict and the like."""
    if isinstance(meaning, Unknown):
        return NULL
    if isinstance(meaning, Text) and meaning.text.startswith('{"'):
        return Stored(meaning.text)
    return (REFUSED, Stored(ANY)) if isinstance(meaning, Other) else REFUSED


def each(rule: Rule) -> JointRule:
    """Return the rule of a column whose values do not depend on each other."""
    return lambda meanings: tuple(map(rule, meanings))


def timestamp_rule(missing: Outcome) -> Rule:
    """A moment of UTC, to the microsecond; only as a text is a day its midnight."""

    def rule(meaning: Meaning) -> Outcome:
        if isinstance(meaning, Unknown):
            return missing
        if isinstance(meaning, Text) and isinstance(meaning.date, Day):
            return Stored(f"{meaning.date.day}T00:00:00.000000Z")
        date = meaning.date if isinstance(meaning, Text) else meaning
        return Stored(f"{date.utc}Z") if isinstance(date, Moment) and date.utc is not None else REFUSED

    return rule


def as_parameter(meaning: Meaning) -> Any:
    """Return the JSON value that a parameter becomes, or a matcher."""
    if meaning.parameter is not BY_MEANING:
        return meaning.parameter
    match meaning:
        case Unknown():
            return None
        case Text(text=text):
            escaped = text.replace("\0", "\\x00")
            return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", escaped)
        case Whole(number=number):
            return number
        case Real(digits=digits):
            return float(digits)
        case Exact(digits=digits):
            exact = Decimal(digits)
            if math.isinf(float(exact)):
                return digits
            return int(exact) if exact.as_tuple().exponent >= 0 else float(exact)  # type: ignore[operator]
        case Infinite(sign=sign):
            return "Infinity" if sign > 0 else "-Infinity"
        case Truth(value=value):
            return value
        case Day(day=day):
            return Iso(day)
        case Moment(iso=iso):
            return Iso(iso)
        case Duration(text=text):
            return text
    return ANY


def parameter_rule(meaning: Meaning) -> Outcome:
    """Whatever it is, it is stored."""
    return Stored(as_parameter(meaning))


def key_rule(meaning: Meaning) -> Outcome:
    """Return what a key of parameters becomes: the text of the value."""
    value = as_parameter(meaning)
    if value is None or isinstance(value, bool):
        return Stored("null" if value is None else str(value).lower())
    if isinstance(value, float):
        return Stored(repr(value))
    if isinstance(value, int):
        return Stored(str(value))
    return Stored(value if isinstance(value, (str, *MATCHERS)) else ANY)


def metric_name_rule(meaning: Meaning) -> Outcome:
    """Text, whole numbers and enums of them are names; blank ones are dropped, others may be, or be written as keys."""
    if isinstance(meaning, Text) and not meaning.text.strip():
        return DROPPED
    if isinstance(meaning, Whole) or (isinstance(meaning, Text) and not re.search("[\0\ud800-\udfff]", meaning.text)):
        return key_rule(meaning)
    return (DROPPED, key_rule(meaning))
