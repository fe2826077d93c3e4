"""Single values of pyarrow: each with its name, a maker and what it is."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa

from conversions.meanings import (
    ANY,
    Day,
    Duration,
    Exact,
    Infinite,
    Like,
    Moment,
    Other,
    Real,
    Text,
    Truth,
    Unknown,
    Whole,
)
from conversions.scalars import BINARY, HALF_HOUR, JANUARY_2, TENTH, THREE, WIDTHS, Given, constant
from conversions.texts import enum_of

# Pyarrow --------------------------------------------------------------------------------------------------------------

_ARROW_NULLS: Final = {
    "null": pa.null(),
    "string": pa.string(),
    "bool": pa.bool_(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "decimal128": pa.decimal128(9, 2),
    "date32": pa.date32(),
    "timestamp": pa.timestamp("ns"),
    "timestamp UTC": pa.timestamp("us", "UTC"),
    "time64": pa.time64("us"),
    "duration": pa.duration("ns"),
    "binary": pa.binary(),
    "list": pa.list_(pa.int64()),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
}


def _arrow(name: str, value: Any, kind: pa.DataType, meaning: Any) -> Given:
    return constant(f"pa.{name}", pa.scalar(value, kind), meaning)


_NINE: Final = datetime(2024, 1, 2, 9, 30)  # noqa: DTZ001 - naive
_NINE_IS: Final = Moment(utc="2024-01-02T09:30:00.000000", iso="2024-01-02T09:30")
_NINE_IN_TAIPEI: Final = Moment(utc="2024-01-02T09:30:00.000000", iso="2024-01-02T17:30+08:00")
_NS: Final = 1_704_187_815_123_456_789  # 2024-01-02T09:30:15.123456789
ARROW: Final = [
    *(_arrow(f"null {name}", None, kind, Unknown()) for name, kind in _ARROW_NULLS.items()),
    _arrow("string of a date", "2024-01-02", pa.string(), Text(text="2024-01-02", date=JANUARY_2)),
    _arrow("bool", True, pa.bool_(), Truth()),
    _arrow("bool False", False, pa.bool_(), Truth(value=False)),
    *(_arrow(width, 3, pa.type_for_alias(width), THREE) for width in WIDTHS),
    _arrow("int64 2**53 + 1", 2**53 + 1, pa.int64(), Whole(number=2**53 + 1)),
    _arrow("uint64 most", 2**64 - 1, pa.uint64(), Whole(number=2**64 - 1)),
    _arrow("float16", np.float16(0.1), pa.float16(), TENTH),
    _arrow("float16 nan", np.float16("nan"), pa.float16(), Unknown()),
    _arrow("float32", 0.1, pa.float32(), TENTH),
    _arrow("float32 inf", float("inf"), pa.float32(), Infinite()),
    _arrow("float32 nan", float("nan"), pa.float32(), Unknown()),
    _arrow("float64", 0.1, pa.float64(), TENTH),
    _arrow("float64 of a whole", 3.0, pa.float64(), Real(digits="3.0")),
    _arrow("float64 nan", float("nan"), pa.float64(), Unknown()),
    _arrow("float64 -inf", float("-inf"), pa.float64(), Infinite(sign=-1)),
    _arrow("decimal128", Decimal("0.10"), pa.decimal128(9, 2), Exact(digits="0.10")),
    _arrow("decimal128 of a whole", Decimal(3), pa.decimal128(9, 0), Exact(digits="3")),
    _arrow("decimal128 2**53 + 1", Decimal(2**53 + 1), pa.decimal128(20, 0), Exact(digits=str(2**53 + 1))),
    _arrow("decimal256", Decimal("0.25"), pa.decimal256(40, 2), Exact(digits="0.25")),
    _arrow("date32", date(2024, 1, 2), pa.date32(), JANUARY_2),
    _arrow("date64", date(2024, 1, 2), pa.date64(), JANUARY_2),
    _arrow("date32 1969", date(1969, 12, 31), pa.date32(), Day(day="1969-12-31")),
    _arrow("date32 far away", 2**30, pa.date32(), Other(ANY)),
    *(_arrow(f"timestamp {unit}", _NINE, pa.timestamp(unit), _NINE_IS) for unit in ("s", "ms", "us", "ns")),
    *(
        _arrow(
            f"timestamp {unit} UTC",
            _NINE,
            pa.timestamp(unit, "UTC"),
            Moment(utc=_NINE_IS.utc, iso="2024-01-02T09:30+00:00"),
        )
        for unit in ("s", "ms", "us", "ns")
    ),
    *(
        _arrow(f"timestamp {unit} Taipei", _NINE, pa.timestamp(unit, "Asia/Taipei"), _NINE_IN_TAIPEI)
        for unit in ("s", "ns")
    ),
    _arrow("timestamp offset", _NINE, pa.timestamp("us", "+08:00"), _NINE_IN_TAIPEI),
    _arrow(
        "timestamp midnight",
        datetime(2024, 1, 2),  # noqa: DTZ001 - naive
        pa.timestamp("us"),
        Moment(utc="2024-01-02T00:00:00.000000", iso="2024-01-02T00:00"),
    ),
    _arrow(
        "timestamp ns odd",
        _NS,
        pa.timestamp("ns"),
        Moment(utc="2024-01-02T09:30:15.123456", iso="2024-01-02T09:30:15.123456789"),
    ),
    _arrow(
        "timestamp ns odd UTC",
        _NS,
        pa.timestamp("ns", "UTC"),
        Moment(utc="2024-01-02T09:30:15.123456", iso="2024-01-02T09:30:15.123456789Z"),
    ),
    _arrow(
        "timestamp ns 1969",
        -1,
        pa.timestamp("ns"),
        Moment(utc="1969-12-31T23:59:59.999999", iso="1969-12-31T23:59:59.999999999"),
    ),
    _arrow("timestamp s far away", 2**55, pa.timestamp("s"), Moment(ANY)),
    _arrow("timestamp s far away UTC", 2**55, pa.timestamp("s", "UTC"), Moment(ANY)),
    _arrow("time32", time(9, 30), pa.time32("s"), Other("09:30:00")),
    _arrow("time64", time(9, 30), pa.time64("us"), Other("09:30:00")),
    _arrow("time64 ns odd", 34_200_123_456_789, pa.time64("ns"), Other(Like(r"09:30:00\.123456(789)?"))),
    *(
        _arrow(f"duration {unit}", timedelta(minutes=30), pa.duration(unit), HALF_HOUR)
        for unit in ("s", "ms", "us", "ns")
    ),
    _arrow("duration ns odd", 1, pa.duration("ns"), Duration(text="0 days 00:00:00.000000001")),
    _arrow("duration s far away", 2**60, pa.duration("s"), Duration(Like(".+"))),
    _arrow("binary", b"2330", pa.binary(), BINARY),
    _arrow("large_binary", b"2330", pa.large_binary(), BINARY),
    _arrow("list", [1, 2], pa.list_(pa.int64()), Other([1, 2])),
    _arrow("struct", {"a": 1}, pa.struct([("a", pa.int64())]), Other({"a": 1})),
    constant("pa.dictionary of int", pa.array([3]).dictionary_encode()[0], THREE),
    constant("Enum of pa.string", enum_of(pa.scalar("2330")), Text(text="2330")),
    constant("Enum of pa.float32", enum_of(pa.scalar(0.1, pa.float32())), TENTH),
    constant("pa.array", pa.array([1, 2]), Other(ANY)),
    constant("pa.Table", pa.table({"a": [1, 2]}), Other(Like(r"Table 2x1 sha256:[0-9a-f]{16}"))),
    constant("pa.DataType", pa.int64(), Other("int64")),
]
