"""Columns of every dtype of pyarrow, of pandas over pyarrow, and of polars."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from conversions.columns import (
    DATE_TEXTS_ARE,
    DATES,
    DAYS,
    DAYS_ARE,
    FLOATS,
    HALVES,
    MIDNIGHTS,
    MIDNIGHTS_ARE,
    MISSING,
    NINE,
    NINE_ARE,
    ODD_NS,
    ODD_NS_ARE,
    OTHER,
    SPANS_ARE,
    TEXTS,
    TEXTS_ARE,
    TRUTHS_ARE,
    UNITS,
    UNKNOWN,
    WIDTHS,
    Column,
    exact,
    real,
    whole,
    with_missing,
    zoned,
)
from conversions.meanings import Day, Infinite, Meaning, Moment, Other, Real, Whole

# Pyarrow --------------------------------------------------------------------------------------------------------------


def _arrow(name: str, values: Any, kind: pa.DataType, meanings: Sequence[Meaning]) -> Column:
    return Column(name, lambda: pa.array(values, kind), tuple(meanings))


def _also_with_null(name: str, values: Sequence[Any], kind: pa.DataType, meanings: Sequence[Meaning]) -> list[Column]:
    return [
        _arrow(name, list(values), kind, meanings),
        _arrow(f"{name} with null", [values[0], None, values[2]], kind, with_missing(meanings)),
    ]


_STAMPS: Final = [datetime.fromisoformat(one) for one in NINE]
_STAMPS_UTC: Final = [stamp.replace(tzinfo=UTC) for stamp in _STAMPS]
ARROW: Final = [
    _arrow("null", [None] * 3, pa.null(), MISSING),
    *_also_with_null("string", TEXTS, pa.string(), TEXTS_ARE),
    *_also_with_null("string of dates", DAYS, pa.string(), DATE_TEXTS_ARE),
    *_also_with_null("large_string", TEXTS, pa.large_string(), TEXTS_ARE),
    *_also_with_null("bool", [True, False, True], pa.bool_(), TRUTHS_ARE),
    *(
        one
        for width, numbers in WIDTHS.items()
        for one in _also_with_null(width, numbers, pa.type_for_alias(width), whole(*numbers))
    ),
    _arrow("int64 2**53 + 1", [1, 2**53 + 1, None], pa.int64(), (Whole(number=1), Whole(number=2**53 + 1), UNKNOWN)),
    _arrow("uint64 most", [1, 2**64 - 1, 7], pa.uint64(), whole(1, 2**64 - 1, 7)),
    *_also_with_null("float16", list(np.array([0.1, 0.5, -2.5], dtype=np.float16)), pa.float16(), real(*HALVES)),
    *(
        one
        for width, digits in FLOATS.items()
        for one in _also_with_null(width, list(map(float, digits)), pa.type_for_alias(width), real(*digits))
    ),
    _arrow("float32 with nan", [0.5, float("nan"), 1.5], pa.float32(), with_missing(real("0.5", "", "1.5"))),
    _arrow("float64 with nan", [0.5, float("nan"), 1.5], pa.float64(), with_missing(real("0.5", "", "1.5"))),
    _arrow(
        "float64 with inf", [0.5, float("inf"), 1.5], pa.float64(), (Real(digits="0.5"), Infinite(), Real(digits="1.5"))
    ),
    *_also_with_null(
        "decimal128",
        list(map(Decimal, ("0.10", "3.00", "-2.50"))),
        pa.decimal128(9, 2),
        exact("0.10", "3.00", "-2.50"),
    ),
    *_also_with_null("decimal256", list(map(Decimal, ("1", "3", "-2"))), pa.decimal256(40, 0), exact("1", "3", "-2")),
    _arrow(
        "decimal128 2**53 + 1",
        [Decimal(1), Decimal(2**53 + 1), Decimal(3)],
        pa.decimal128(20, 0),
        exact("1", str(2**53 + 1), "3"),
    ),
    *_also_with_null("date32", DATES, pa.date32(), DAYS_ARE),
    *_also_with_null("date64", DATES, pa.date64(), DAYS_ARE),
    _arrow("date32 far away", [1, 2**30, 3], pa.date32(), (Day(day="1970-01-02"), Other(), Day(day="1970-01-04"))),
    *(one for unit in UNITS for one in _also_with_null(f"timestamp[{unit}]", _STAMPS, pa.timestamp(unit), NINE_ARE)),
    *(
        one
        for unit in UNITS
        for one in _also_with_null(
            f"timestamp[{unit}, UTC]", _STAMPS_UTC, pa.timestamp(unit, "UTC"), zoned("UTC", NINE_ARE)
        )
    ),
    *(
        one
        for unit in ("s", "ns")
        for one in _also_with_null(
            f"timestamp[{unit}, Taipei]", _STAMPS_UTC, pa.timestamp(unit, "Asia/Taipei"), zoned("Asia/Taipei", NINE_ARE)
        )
    ),
    _arrow("timestamp[us, +08:00]", _STAMPS_UTC, pa.timestamp("us", "+08:00"), zoned("Asia/Taipei", NINE_ARE)),
    _arrow("timestamp[us] midnights", MIDNIGHTS, pa.timestamp("us"), MIDNIGHTS_ARE),
    _arrow(
        "timestamp[ns] odd",
        [np.datetime64(one).view(np.int64).item() for one in ODD_NS],
        pa.timestamp("ns"),
        ODD_NS_ARE,
    ),
    _arrow(
        "timestamp[ns, UTC] odd",
        [np.datetime64(one).view(np.int64).item() for one in ODD_NS],
        pa.timestamp("ns", "UTC"),
        zoned("UTC", ODD_NS_ARE),
    ),
    _arrow(
        "timestamp[s] far away",
        [0, 2**55, 1],
        pa.timestamp("s"),
        (Moment(utc="1970-01-01T00:00:00.000000"), Moment(), Moment(utc="1970-01-01T00:00:01.000000")),
    ),
    *_also_with_null("time32", [time(9, 30)] * 3, pa.time32("s"), OTHER),
    *_also_with_null("time64", [time(9, 30)] * 3, pa.time64("us"), OTHER),
    _arrow("time64[ns] odd", [34_200_123_456_789] * 3, pa.time64("ns"), OTHER),
    *(
        one
        for unit in UNITS
        for one in _also_with_null(f"duration[{unit}]", [timedelta(seconds=30)] * 3, pa.duration(unit), SPANS_ARE)
    ),
    *_also_with_null("binary", [b"2330", b"0050", b"2317"], pa.binary(), OTHER),
    *_also_with_null("list", [[1], [2], [3]], pa.list_(pa.int64()), OTHER),
    *_also_with_null("struct", [{"a": 1}] * 3, pa.struct([("a", pa.int64())]), OTHER),
    *_also_with_null("dictionary of string", TEXTS, pa.dictionary(pa.int32(), pa.string()), TEXTS_ARE),
    Column(
        "dictionary of int",
        lambda: pa.array([1, 3, None]).dictionary_encode(),
        (Whole(number=1), Whole(number=3), UNKNOWN),
    ),
    Column("dictionary of date32", lambda: pa.array(DATES, pa.date32()).dictionary_encode(), DAYS_ARE),
]


def _backed(column: Column) -> Column:
    """Return the pandas column over an Arrow array."""
    return Column(
        f"ArrowDtype {column.name}", lambda: pd.Series(pd.arrays.ArrowExtensionArray(column.make())), column.meanings
    )


BACKED: Final = [_backed(column) for column in ARROW]

# Polars ---------------------------------------------------------------------------------------------------------------


def _polars(name: str, values: Sequence[Any], dtype: Any, meanings: Sequence[Meaning]) -> list[Column]:
    return [
        Column(name, lambda: pl.Series(list(values), dtype=dtype), tuple(meanings)),
        Column(
            f"{name} with null", lambda: pl.Series([values[0], None, values[2]], dtype=dtype), with_missing(meanings)
        ),
    ]


_POLARS_WIDTHS: Final = {
    name: getattr(pl, f"U{name[1:].title()}" if name[0] == "u" else name.title()) for name in WIDTHS
}
POLARS: Final = [
    *_polars("String", TEXTS, pl.String, TEXTS_ARE),
    *_polars("String of dates", DAYS, pl.String, DATE_TEXTS_ARE),
    *_polars("Categorical", TEXTS, pl.Categorical, TEXTS_ARE),
    *_polars("Enum", TEXTS, pl.Enum(TEXTS), TEXTS_ARE),
    *_polars("Boolean", [True, False, True], pl.Boolean, TRUTHS_ARE),
    *(
        one
        for name, dtype in _POLARS_WIDTHS.items()
        for one in _polars(name, WIDTHS[name], dtype, whole(*WIDTHS[name]))
    ),
    *_polars("Int64 2**53 + 1", [2**53 + 1, 2, 3], pl.Int64, whole(2**53 + 1, 2, 3)),
    *_polars("Float32", [0.1, 593.17, -2.5], pl.Float32, real(*FLOATS["float32"])),
    *_polars("Float64", [0.1, 0.2, -2.5], pl.Float64, real("0.1", "0.2", "-2.5")),
    *_polars("Float64 with nan", [0.1, float("nan"), -2.5], pl.Float64, with_missing(real("0.1", "", "-2.5"))),
    *_polars(
        "Decimal", list(map(Decimal, ("0.10", "3.00", "-2.50"))), pl.Decimal(9, 2), exact("0.10", "3.00", "-2.50")
    ),
    *_polars("Date", DATES, pl.Date, DAYS_ARE),
    *(one for unit in ("ms", "us", "ns") for one in _polars(f"Datetime {unit}", _STAMPS, pl.Datetime(unit), NINE_ARE)),
    *(
        one
        for unit in ("ms", "us", "ns")
        for one in _polars(f"Datetime {unit} UTC", _STAMPS_UTC, pl.Datetime(unit, "UTC"), zoned("UTC", NINE_ARE))
    ),
    *_polars("Datetime Taipei", _STAMPS_UTC, pl.Datetime("us", "Asia/Taipei"), zoned("Asia/Taipei", NINE_ARE)),
    *_polars("Datetime midnights", MIDNIGHTS, pl.Datetime("us"), MIDNIGHTS_ARE),
    Column("Datetime ns odd", lambda: pl.Series(np.array(ODD_NS, dtype="M8[ns]")), ODD_NS_ARE),
    *_polars("Duration", [timedelta(seconds=30)] * 3, pl.Duration("us"), SPANS_ARE),
    *_polars("Time", [time(9, 30)] * 3, pl.Time, OTHER),
    *_polars("Binary", [b"1", b"2", b"3"], pl.Binary, OTHER),
    *_polars("List", [[1], [2], [3]], pl.List(pl.Int64), OTHER),
    *_polars("Struct", [{"a": 1}] * 3, pl.Struct({"a": pl.Int64}), OTHER),
    Column("Null", lambda: pl.Series([None] * 3, dtype=pl.Null), MISSING),
]
