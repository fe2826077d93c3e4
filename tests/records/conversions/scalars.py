"""Single values of Python: each with its name, a maker and what it is."""

# ruff: noqa: DTZ001, DTZ901 - naive moments are among what is given

from __future__ import annotations

import fractions
import math
import pathlib
import uuid
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final
from zoneinfo import ZoneInfo

from conversions.meanings import (
    ANY,
    Day,
    Duration,
    Exact,
    Infinite,
    Like,
    Meaning,
    Moment,
    Other,
    Real,
    Text,
    Truth,
    Unknown,
    Whole,
)
from conversions.texts import TEXT_TYPES, TEXTS, enum_of

TAIPEI: Final = ZoneInfo("Asia/Taipei")
NEW_YORK: Final = ZoneInfo("America/New_York")

# What values of several libraries are.
WIDTHS: Final = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
HALF_HOUR: Final = Duration(text="0 days 00:30:00")
THREE: Final = Whole(number=3)
TENTH: Final = Real(digits="0.1")
JANUARY_2: Final = Day(day="2024-01-02")
BINARY: Final = Other("b'2330'")


@dataclass(frozen=True)
class Given:
    """One value: what it is called in reports, how it is made, what it is, and for texts, the type that holds it."""

    name: str
    make: Callable[[], Any]
    meaning: Meaning
    holder: Callable[[str], Any] | None = None


def constant(name: str, value: Any, meaning: Meaning) -> Given:
    """Return a value that need not be made anew."""
    return Given(name, lambda: value, meaning)


def _text(name: str, holder: Callable[[str], Any], meaning: Text) -> Given:
    return Given(f"{name} {meaning.text[:30]!r}", lambda: holder(meaning.text), meaning, holder)


_WORDS: Final = [Text(text="2330"), Text(text="medium"), Text(text="applied")]
_TEXTS: Final = [
    *(_text("str", str, meaning) for meaning in TEXTS),
    *(_text(name, holder, meaning) for name, holder in TEXT_TYPES.items() for meaning in _WORDS),
    *(_text(name, holder, TEXTS[i]) for name, holder in TEXT_TYPES.items() if name != "str" for i in (0, 9, 15)),
]


class Price(float):
    """A float of a type of its own that prints otherwise."""

    def __repr__(self) -> str:
        return "a price"

    __str__ = __repr__


class Count(int):
    """A whole number of a type of its own that prints otherwise."""

    def __repr__(self) -> str:
        return "a count"

    __str__ = __repr__


class TradingDay(date):
    """A day of a type of its own that prints otherwise."""

    def __str__(self) -> str:
        return "a trading day"


class Bar(datetime):
    """A moment of a type of its own that prints otherwise."""

    def __str__(self) -> str:
        return "a bar"


class Side(IntEnum):
    """Words for whole numbers."""

    LONG = 1
    SHORT = -1


class Option(IntFlag):
    """Flags that are whole numbers."""

    A = 1
    B = 2


class Switch(Flag):
    """Flags that are no whole numbers themselves, but have one as value."""

    A = 1
    B = 2


class Level(float, Enum):
    """Words for floats."""

    LOW = 0.1


@dataclass
class Costs:
    """A dataclass."""

    fee: float
    side: Enum


Point = namedtuple("Point", "x y")


class Addressed:
    """An object that prints its address, as most do."""


class Broken:
    """An object that cannot be printed."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Unequal:
    """An object whose comparison fails."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no ==")

    __hash__ = None  # type: ignore[assignment]


_INTS: Final = (
    *(0, 1, 3, -1, 50, 2330, 20240102, 1612051200000, 2**53, 2**53 + 1, -(2**53) - 1, 2**60),
    *(2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 2**1023, 2**1024, 10**400),
)
_FLOATS: Final = (
    *("0.0", "-0.0", "0.1", "-0.25", "1.0", "3.0", "-3.0", "1.5", "9007199254740992.0", "9.2e+18", "1e+19"),
    *("1e+308", "1.7976931348623157e+308", "5e-324", "0.30000000000000004"),
)
_DECIMALS: Final = (
    *("0.1", "0.10", "3", "-3", "3.00", "-0.25", "1E+3", "9007199254740992", "9007199254740993", "9223372036854775808"),
    *("1E+400", "-1E+400", "1E-400", "0.1234567890123456789012345678901234567890"),
)

_NUMBERS: Final = [
    *(constant(f"int {n if abs(n) < 2**64 else f'of {n.bit_length()} bits'}", n, Whole(number=n)) for n in _INTS),
    *(constant(f"float {digits}", float(digits), Real(digits=digits)) for digits in _FLOATS),
    *(constant(f"Decimal {digits}", Decimal(digits), Exact(digits=digits)) for digits in _DECIMALS),
    constant("int of 5,001 digits", 10**5000, Whole(Like(f"10{{5000}}|{10**5000:#x}"), number=10**5000)),
    constant("subclass of int", Count(3), Whole(number=3)),
    constant("subclass of float", Price(0.1), Real(digits="0.1")),
    constant("IntEnum", Side.LONG, Whole(number=1)),
    constant("IntEnum negative", Side.SHORT, Whole(number=-1)),
    constant("IntFlag", Option.A | Option.B, Whole(number=3)),
    constant("Flag", Switch.A | Switch.B, Whole(number=3)),
    constant("(float, Enum)", Level.LOW, Real(digits="0.1")),
    constant("(Decimal, Enum)", enum_of("0.1", type=Decimal), Exact(digits="0.1")),
    constant("Enum of int", enum_of(3), Whole(number=3)),
    constant("Enum of 2**53 + 1", enum_of(2**53 + 1), Whole(number=2**53 + 1)),
    constant("Enum of float", enum_of(0.1), Real(digits="0.1")),
    constant("Enum of Decimal", enum_of(Decimal("0.1")), Exact(digits="0.1")),
    constant("Enum of an IntEnum", enum_of(Side.LONG), Whole(number=1)),
    constant("inf", math.inf, Infinite()),
    constant("-inf", -math.inf, Infinite(sign=-1)),
    constant("Decimal Infinity", Decimal("Infinity"), Infinite()),
    constant("Decimal -Infinity", Decimal("-Infinity"), Infinite(sign=-1)),
    constant("Enum of inf", enum_of(math.inf), Infinite()),
    constant("True", True, Truth()),
    constant("False", False, Truth(value=False)),
    constant("Enum of True", enum_of(True), Truth()),
    constant("complex", 1 + 2j, Other("(1+2j)")),
    constant("complex of a real", 3 + 0j, Other("(3+0j)")),
    constant("complex NaN", complex(math.nan, 0), Other("(nan+0j)")),
    constant("Fraction", fractions.Fraction(1, 3), Other("1/3")),
    constant("Fraction of a whole", fractions.Fraction(3), Other("3")),
]

_UNKNOWN: Final = [
    constant("None", None, Unknown()),
    constant("nan", math.nan, Unknown()),
    constant("subclass of float, nan", Price("nan"), Unknown()),
    constant("Decimal NaN", Decimal("NaN"), Unknown()),
    constant("Decimal -NaN", Decimal("-NaN"), Unknown()),
    constant("Decimal sNaN", Decimal("sNaN"), Unknown()),
    constant("Enum of None", enum_of(None), Unknown()),
    constant("Enum of nan", enum_of(math.nan), Unknown()),
    constant("Enum of an Enum of None", enum_of(enum_of(None)), Unknown()),
    constant("(float, Enum) of nan", enum_of(math.nan, type=float), Unknown()),
]


def _moment(name: str, moment: datetime, utc: str | None, iso: str = "") -> Given:
    """Return a moment with its UTC, written down by hand."""
    return constant(name, moment, Moment(utc=utc, iso=iso or moment.isoformat()))


_AUTUMN: Final = datetime(2024, 11, 3, 1, 30, tzinfo=NEW_YORK)  # the hour that comes twice
_TIMES: Final = [
    constant("date", date(2024, 1, 2), Day(day="2024-01-02")),
    constant("date.min", date.min, Day(day="0001-01-01")),
    constant("date.max", date.max, Day(day="9999-12-31")),
    constant("subclass of date", TradingDay(2024, 1, 2), Day(day="2024-01-02")),
    constant("Enum of date", enum_of(date(2024, 1, 2)), Day(day="2024-01-02")),
    constant("(date, Enum)", enum_of((2024, 1, 2), type=date), Day(day="2024-01-02")),
    _moment("datetime", datetime(2024, 1, 2, 9, 30), "2024-01-02T09:30:00.000000"),
    _moment("datetime midnight", datetime(2024, 1, 2), "2024-01-02T00:00:00.000000"),
    _moment("datetime microseconds", datetime(2024, 1, 2, 9, 30, 0, 1), "2024-01-02T09:30:00.000001"),
    _moment("datetime tenths", datetime(2024, 1, 2, 9, 30, 0, 500_000), "2024-01-02T09:30:00.500000"),
    _moment("datetime.min", datetime.min, "0001-01-01T00:00:00.000000"),
    _moment("datetime.max", datetime.max, "9999-12-31T23:59:59.999999"),
    _moment("datetime fold", datetime(2024, 11, 3, 1, 30, fold=1), "2024-11-03T01:30:00.000000"),
    _moment("subclass of datetime", Bar(2024, 1, 2, 9, 30), "2024-01-02T09:30:00.000000"),
    _moment("datetime UTC", datetime(2024, 1, 2, 9, 30, tzinfo=UTC), "2024-01-02T09:30:00.000000"),
    _moment("datetime UTC midnight", datetime(2024, 1, 2, tzinfo=UTC), "2024-01-02T00:00:00.000000"),
    _moment("datetime Taipei", datetime(2024, 1, 2, 9, 30, 0, 7, TAIPEI), "2024-01-02T01:30:00.000007"),
    _moment("datetime Taipei midnight", datetime(2024, 1, 2, tzinfo=TAIPEI), "2024-01-01T16:00:00.000000"),
    _moment("datetime Taipei 8:00", datetime(2024, 1, 2, 8, tzinfo=TAIPEI), "2024-01-02T00:00:00.000000"),
    _moment("datetime New York summer", datetime(2024, 7, 1, 9, 30, tzinfo=NEW_YORK), "2024-07-01T13:30:00.000000"),
    _moment("datetime New York fold 0", _AUTUMN, "2024-11-03T05:30:00.000000"),
    _moment("datetime New York fold 1", _AUTUMN.replace(fold=1), "2024-11-03T06:30:00.000000"),
    _moment(
        "datetime offset",
        datetime(2024, 1, 2, 9, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        "2024-01-02T03:45:00.000000",
    ),
    _moment("datetime.min Taipei", datetime.min.replace(tzinfo=timezone(timedelta(hours=8))), None),
    _moment("datetime.max New York", datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))), None),
    constant(
        "Enum of datetime",
        enum_of(datetime(2024, 1, 2, 9, 30)),
        Moment(utc="2024-01-02T09:30:00.000000", iso="2024-01-02T09:30:00"),
    ),
    constant("time", time(9, 30), Other("09:30:00")),
    constant("time of a zone", time(9, 30, 15, tzinfo=UTC), Other("09:30:15+00:00")),
    constant("Enum of time", enum_of(time(9, 30)), Other("09:30:00")),
    constant("timedelta", timedelta(minutes=30), Duration(text="0 days 00:30:00")),
    constant("timedelta of days", timedelta(days=3), Duration(text="3 days 00:00:00")),
    constant("timedelta negative", timedelta(minutes=-30), Duration(text="-1 days +23:30:00")),
    constant("timedelta zero", timedelta(), Duration(text="0 days 00:00:00")),
    constant("timedelta.max", timedelta.max, Duration(Like(r"999999999 days 23:59:59\.999999|999999999 days, 2.*"))),
    constant("Enum of timedelta", enum_of(timedelta(minutes=30)), Duration(text="0 days 00:30:00")),
    constant("ZoneInfo", TAIPEI, Other("Asia/Taipei")),
]


def _holds_itself() -> list[Any]:
    items: list[Any] = [1]
    items.append(items)
    return items


def _nested(depth: int) -> list[Any]:
    items: list[Any] = []
    for _ in range(depth):
        items = [items]
    return items


def _square(number: int) -> int:
    return number * number


_IDENTITY: Final = uuid.UUID("12345678-1234-5678-1234-567812345678")
_OBJECTS: Final = [
    constant("bytes", b"2330", Other("b'2330'")),
    constant("bytearray", bytearray(b"2330"), Other(ANY)),
    constant("memoryview", memoryview(b"2330"), Other(ANY)),
    constant("Enum of bytes", enum_of(b"2330"), Other("b'2330'")),
    constant("UUID", _IDENTITY, Other("12345678-1234-5678-1234-567812345678")),
    constant("Path", pathlib.PurePosixPath("data/prices.csv"), Other("data/prices.csv")),
    constant("list", [1, "a", None], Other([1, "a", None])),
    constant("empty list", [], Other([])),
    constant("list of one text", ["2330"], Other(["2330"])),
    constant("tuple", (1, 2.5), Other([1, 2.5])),
    constant("Enum of a tuple", enum_of((1, 2)), Other([1, 2])),
    constant("Enum of a list", enum_of([1, 2]), Other([1, 2])),
    constant("deque", deque([1, 2]), Other([1, 2])),
    constant("dict", {"a": 1, 2: [0.5]}, Other({"a": 1, "2": [0.5]})),
    constant("empty dict", {}, Other({})),
    constant("OrderedDict", OrderedDict(b=1, a=2), Other({"b": 1, "a": 2})),
    constant("mapping proxy", MappingProxyType({"a": 1}), Other({"a": 1})),
    constant("set", {3, 1, 2}, Other([1, 2, 3])),
    constant("set of unlike things", {3, "a", None}, Other(ANY)),
    constant("frozenset", frozenset({"b", "a"}), Other(["a", "b"])),
    constant("keys of a dict", {"b": 1, "a": 2}.keys(), Other(["a", "b"])),
    constant("range", range(3), Other("range(0, 3)")),
    constant("slice", slice(1, 2), Other("slice(1, 2, None)")),
    constant("namedtuple", Point(1, 2), Other({"x": 1, "y": 2})),
    constant("dataclass", Costs(0.5, Side.LONG), Other({"fee": 0.5, "side": 1})),
    constant("SimpleNamespace", SimpleNamespace(a=1), Other({"a": 1})),
    constant("function", _square, Other("conversions.scalars._square")),
    constant("builtin", math.sqrt, Other("math.sqrt")),
    constant("lambda", lambda: 1, Other("conversions.scalars.<lambda>")),
    constant("method", [].append, Other(ANY)),
    constant("class", Addressed, Other("conversions.scalars.Addressed")),
    constant("Enum class", Side, Other("conversions.scalars.Side")),
    constant("module", math, Other(ANY)),
    constant("object", object(), Other(ANY)),
    constant("object of a class", Addressed(), Other(ANY)),
    constant("object without ==", Unequal(), Other(ANY)),
    constant("object that cannot be printed", Broken(), Other(ANY)),
    constant("ellipsis", ..., Other(ANY)),
    constant("exception", ValueError("no"), Other(ANY)),
    Given("generator", lambda: (i for i in range(3)), Other(ANY)),
    Given("a list that holds itself", _holds_itself, Other([1, "<circular>"])),
    Given("lists in lists, 50 levels", lambda: _nested(50), Other(_nested(50))),
    Given("lists in lists, 100,000 levels", lambda: _nested(100_000), Other(ANY)),
]

PYTHON: Final = [*_TEXTS, *_UNKNOWN, *_NUMBERS, *_TIMES, *_OBJECTS]
