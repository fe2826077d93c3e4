"""Single values of numpy, pandas and pyarrow: each with its name, a maker and what it is."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import numpy as np
import pandas as pd

from conversions.arrow_scalars import ARROW
from conversions.meanings import (
    ANY,
    Day,
    Duration,
    Exact,
    Infinite,
    Iso,
    Like,
    Moment,
    Other,
    Real,
    Truth,
    Unknown,
    Whole,
)
from conversions.scalars import BINARY, HALF_HOUR, JANUARY_2, PYTHON, TENTH, THREE, WIDTHS, Given, constant
from conversions.texts import enum_of

# Numpy ----------------------------------------------------------------------------------------------------------------

_NUMPY_NUMBERS: Final = [
    *(constant(f"np.{width}", np.dtype(width).type(3), THREE) for width in WIDTHS),
    *(constant(f"np.{width} negative", np.dtype(width).type(-3), Whole(number=-3)) for width in WIDTHS[:4]),
    constant("np.int8 least", np.int8(-128), Whole(number=-128)),
    constant("np.int64 2**53 + 1", np.int64(2**53 + 1), Whole(number=2**53 + 1)),
    constant("np.int64 2**60", np.int64(2**60), Whole(number=2**60)),
    constant("np.int64 most", np.int64(2**63 - 1), Whole(number=2**63 - 1)),
    constant("np.int64 least", np.int64(-(2**63)), Whole(number=-(2**63))),
    constant("np.uint64 2**63", np.uint64(2**63), Whole(number=2**63)),
    constant("np.uint64 most", np.uint64(2**64 - 1), Whole(number=2**64 - 1)),
    constant("np.longlong", np.longlong(3), THREE),
    constant("np.float16", np.float16(0.1), TENTH),
    constant("np.float16 of a whole", np.float16(3), Real(digits="3.0")),
    constant("np.float16 least", np.float16(6e-8), Real(digits="6e-08")),
    constant("np.float32", np.float32(0.1), TENTH),
    constant("np.float32 price", np.float32(593.17), Real(digits="593.17")),
    constant("np.float32 of a whole", np.float32(-3), Real(digits="-3.0")),
    constant("np.float32 least", np.float32(1e-45), Real(digits="1e-45")),
    constant("np.float32 most", np.finfo(np.float32).max, Real(digits="3.4028235e+38")),
    constant("np.float64", np.float64(0.1), TENTH),
    constant("np.float64 of a whole", np.float64(3), Real(digits="3.0")),
    constant("np.float64 third", np.float64(1) / 3, Real(digits="0.3333333333333333")),
    constant("np.float64 -0.0", np.float64(-0.0), Real(digits="-0.0")),
    constant("np.longdouble", np.longdouble("0.1"), TENTH),
    constant("np.longdouble of a whole", np.longdouble(3), Real(digits="3.0")),
    constant("np.bool_ True", np.True_, Truth()),
    constant("np.bool_ False", np.False_, Truth(value=False)),
    constant("np.complex64", np.complex64(1 + 2j), Other("(1+2j)")),
    constant("np.complex128 of a real", np.complex128(3), Other("(3+0j)")),
    *(
        constant(f"np.{t.__name__} nan", t("nan"), Unknown())
        for t in (np.float16, np.float32, np.float64, np.longdouble)
    ),
    *(
        constant(f"np.{t.__name__} inf", t("inf"), Infinite())
        for t in (np.float16, np.float32, np.float64, np.longdouble)
    ),
    *(constant(f"np.{t.__name__} -inf", t("-inf"), Infinite(sign=-1)) for t in (np.float32, np.longdouble)),
    constant("Enum of np.float32", enum_of(np.float32(0.1)), TENTH),
    constant("Enum of np.int64", enum_of(np.int64(3)), THREE),
    constant("Enum of np.float32 nan", enum_of(np.float32("nan")), Unknown()),
    constant("0-d array of int", np.array(3), THREE),
    constant("0-d array of uint64 most", np.array(2**64 - 1, dtype=np.uint64), Whole(number=2**64 - 1)),
    constant("0-d array of float", np.array(0.1), TENTH),
    constant("0-d array of float32", np.array(0.1, dtype=np.float32), TENTH),
    constant("0-d array of nan", np.array(np.nan), Unknown()),
    constant("0-d array of bool", np.array(True), Truth()),
    constant("0-d array of Decimal", np.array(Decimal("0.1"), dtype=object), Exact(digits="0.1")),
    constant("0-d array of None", np.array(None, dtype=object), Unknown()),
    constant("0-d masked array", np.ma.array(0.1), TENTH),
    constant("0-d masked array, masked", np.ma.array(0.1, mask=True), Unknown()),
    constant("np.ma.masked", np.ma.masked, Unknown()),
]

_M8: Final = np.datetime64
_NUMPY_TIMES: Final = [
    constant("np.datetime64 Y", _M8("2024", "Y"), Other(Iso("2024-01-01"))),
    constant("np.datetime64 M", _M8("2024-05", "M"), Other(Iso("2024-05-01"))),
    constant("np.datetime64 W", _M8("2024-01-04", "W"), Other(Iso("2024-01-04"))),
    constant("np.datetime64 D", _M8("2024-01-02"), JANUARY_2),
    constant("np.datetime64 D 1969", _M8("1969-12-31"), Day(day="1969-12-31")),
    *(
        constant(
            f"np.datetime64 {unit}",
            _M8("2024-01-02T09:00", unit),
            Moment(utc="2024-01-02T09:00:00.000000", iso="2024-01-02T09:00"),
        )
        for unit in ("h", "m", "s", "ms", "us", "ns")
    ),
    *(
        constant(
            f"np.datetime64 {unit} midnight",
            _M8("2024-01-02", unit),
            Moment(utc="2024-01-02T00:00:00.000000", iso="2024-01-02T00:00"),
        )
        for unit in ("h", "s", "us", "ns")
    ),
    constant(
        "np.datetime64 us odd",
        _M8("2024-01-02T09:30:15.000001"),
        Moment(utc="2024-01-02T09:30:15.000001", iso="2024-01-02T09:30:15.000001"),
    ),
    constant(
        "np.datetime64 ns odd",
        _M8("2024-01-02T09:30:15.123456789"),
        Moment(utc="2024-01-02T09:30:15.123456", iso="2024-01-02T09:30:15.123456789"),
    ),
    constant(
        "np.datetime64 ns 1969",
        _M8("1969-12-31T23:59:59.999999999"),
        Moment(utc="1969-12-31T23:59:59.999999", iso="1969-12-31T23:59:59.999999999"),
    ),
    constant(
        "np.datetime64 ns after midnight",
        _M8("2024-01-02T00:00:00.000000001"),
        Moment(utc="2024-01-02T00:00:00.000000", iso="2024-01-02T00:00:00.000000001"),
    ),
    constant(
        "np.datetime64 ps",
        _M8("1970-01-02T09:30:15.123456789012"),
        Moment(Like(r"1970-01-02T09:30:15\.123456\d*"), utc="1970-01-02T09:30:15.123456"),
    ),
    constant(
        "np.datetime64 fs",
        _M8(1_000_000_000_000_001, "fs"),
        Moment(Like(r"1970-01-01T00:00:01.*"), utc="1970-01-01T00:00:01.000000"),
    ),
    constant(
        "np.datetime64 s year 1",
        _M8("0001-01-01T00:00:00", "s"),
        Moment(utc="0001-01-01T00:00:00.000000", iso="0001-01-01"),
    ),
    constant("np.datetime64 D year 10000", _M8("10000-01-01"), Other(ANY)),
    constant("np.datetime64 s year 10000", _M8("10000-01-01T00:00:00"), Moment(ANY)),
    constant("np.datetime64 D year 0", _M8("0000-12-31"), Other(ANY)),
    constant("np.datetime64 s far away", _M8(2**62, "s"), Moment(ANY)),
    constant("np.datetime64 D far away", _M8(2**62, "D"), Other(ANY)),
    *(constant(f"np.datetime64 {unit} NaT", _M8("NaT", unit), Unknown()) for unit in ("Y", "D", "s", "us", "ns")),
    constant("np.datetime64 NaT of no unit", _M8("NaT"), Unknown()),
    *(constant(f"np.timedelta64 {unit}", np.timedelta64(3, unit), Duration(Like(".+"))) for unit in ("Y", "M")),
    constant("np.timedelta64 W", np.timedelta64(1, "W"), Duration(text="7 days 00:00:00")),
    constant("np.timedelta64 D", np.timedelta64(3, "D"), Duration(text="3 days 00:00:00")),
    constant("np.timedelta64 h", np.timedelta64(3, "h"), Duration(text="0 days 03:00:00")),
    constant("np.timedelta64 m", np.timedelta64(30, "m"), HALF_HOUR),
    constant("np.timedelta64 s", np.timedelta64(1800, "s"), HALF_HOUR),
    constant("np.timedelta64 ms", np.timedelta64(1_800_000, "ms"), HALF_HOUR),
    constant("np.timedelta64 us", np.timedelta64(1_800_000_000, "us"), HALF_HOUR),
    constant("np.timedelta64 ns", np.timedelta64(1_800_000_000_000, "ns"), HALF_HOUR),
    constant("np.timedelta64 one ns", np.timedelta64(1, "ns"), Duration(text="0 days 00:00:00.000000001")),
    constant("np.timedelta64 a day in ns", np.timedelta64(86_400_000_000_000, "ns"), Duration(text="1 days 00:00:00")),
    constant("np.timedelta64 of no unit", np.timedelta64(3), Duration(Like(".+"))),
    constant("np.timedelta64 D far away", np.timedelta64(2**62, "D"), Duration(Like(".+"))),
    *(constant(f"np.timedelta64 {unit} NaT", np.timedelta64("NaT", unit), Unknown()) for unit in ("Y", "D", "ns")),
    constant("np.timedelta64 NaT of no unit", np.timedelta64("NaT"), Unknown()),
    constant("0-d array of datetime64", np.array("2024-01-02", dtype="M8[D]"), JANUARY_2),
    constant(
        "0-d array of datetime64 ns",
        np.array("2024-01-02T09:30", dtype="M8[ns]"),
        Moment(utc="2024-01-02T09:30:00.000000", iso="2024-01-02T09:30"),
    ),
    constant("0-d array of NaT", np.array("NaT", dtype="M8[ns]"), Unknown()),
    constant("0-d array of timedelta64", np.array(30, dtype="m8[m]"), HALF_HOUR),
    constant("Enum of np.datetime64", enum_of(_M8("2024-01-02")), JANUARY_2),
    constant("Enum of np.timedelta64", enum_of(np.timedelta64(30, "m")), HALF_HOUR),
]

_RECORDS: Final = np.array([(1, 2.5)], dtype=[("a", "i8"), ("b", "f8")])
_NUMPY_OBJECTS: Final = [
    constant("np.bytes_", np.bytes_(b"2330"), BINARY),
    constant("np.void", np.void(b"2330"), Other(ANY)),
    constant("np.void record", _RECORDS[0], Other(ANY)),
    constant("0-d array of records", _RECORDS.reshape(())[()], Other(ANY)),
    constant("array of one int", np.array([3]), Other([3])),
    constant("array of one float", np.array([0.1]), Other([0.1])),
    constant("array of one nan", np.array([np.nan]), Other([None])),
    constant("array of one bool", np.array([True]), Other([True])),
    constant("array of one text", np.array(["2330"]), Other(["2330"])),
    constant("array of one date", np.array(["2024-01-02"], dtype="M8[D]"), Other([Iso("2024-01-02")])),
    constant("array of one moment", np.array(["2024-01-02T09:30"], dtype="M8[ns]"), Other([Iso("2024-01-02T09:30")])),
    constant("empty array", np.array([]), Other([])),
    constant("array of two", np.array([1, 2]), Other([1, 2])),
    constant("array of float32", np.array([0.1, 0.2], dtype=np.float32), Other([0.1, 0.2])),
    constant("array of two dimensions", np.array([[1, 2], [3, 4]]), Other([[1, 2], [3, 4]])),
    constant("array of objects", np.array([None, "a"], dtype=object), Other([None, "a"])),
    constant("masked array", np.ma.array([1, 2], mask=[False, True]), Other([1, None])),
    constant("array of 10,000", np.arange(10_000), Other(list(range(10_000)))),
    constant("array of 10,001", np.arange(10_001), Other(Like(r"ndarray 10001 sha256:[0-9a-f]{16}"))),
    constant("dtype", np.dtype("float32"), Other("float32")),
    constant("np.float32 itself", np.float32, Other("numpy.float32")),
    constant("np.random.Generator", np.random.default_rng(1), Other(ANY)),
]

# Pandas ---------------------------------------------------------------------------------------------------------------


def _stamp(name: str, text: str, utc: str | None, **options: Any) -> Given:
    unit = options.pop("unit", None)
    stamp = pd.Timestamp(text, **options)
    stamp = stamp if unit is None else stamp.as_unit(unit)
    return constant(f"pd.Timestamp {name}", stamp, Moment(utc=utc, iso=stamp.isoformat()))


_AUTUMN: Final = pd.Timestamp(2024, 11, 3, 5, 30, tz="UTC").tz_convert("America/New_York")
_PANDAS: Final = [
    constant("pd.NA", pd.NA, Unknown()),
    constant("pd.NaT", pd.NaT, Unknown()),
    constant("Enum of pd.NA", enum_of(pd.NA), Unknown()),
    constant("Enum of pd.NaT", enum_of(pd.NaT), Unknown()),
    *(_stamp(unit, "2024-01-02 09:30", "2024-01-02T09:30:00.000000", unit=unit) for unit in ("s", "ms", "us", "ns")),
    *(_stamp(f"{unit} midnight", "2024-01-02", "2024-01-02T00:00:00.000000", unit=unit) for unit in ("s", "ns")),
    _stamp("odd", "2024-01-02 09:30:15.000001", "2024-01-02T09:30:15.000001"),
    _stamp("nanoseconds", "2024-01-02 09:30:15.123456789", "2024-01-02T09:30:15.123456"),
    _stamp("one ns after midnight", "2024-01-02 00:00:00.000000001", "2024-01-02T00:00:00.000000"),
    _stamp("nanoseconds 1969", "1969-12-31 23:59:59.999999999", "1969-12-31T23:59:59.999999"),
    _stamp("year 1", "0001-01-01", "0001-01-01T00:00:00.000000", unit="s"),
    _stamp("year 9999", "9999-12-31 23:59:59", "9999-12-31T23:59:59.000000", unit="s"),
    _stamp("UTC", "2024-01-02 09:30", "2024-01-02T09:30:00.000000", tz="UTC"),
    _stamp("UTC midnight", "2024-01-02", "2024-01-02T00:00:00.000000", tz="UTC"),
    _stamp("Taipei", "2024-01-02 09:30", "2024-01-02T01:30:00.000000", tz="Asia/Taipei"),
    _stamp("Taipei midnight", "2024-01-02", "2024-01-01T16:00:00.000000", tz="Asia/Taipei"),
    _stamp("Taipei 8:00", "2024-01-02 08:00", "2024-01-02T00:00:00.000000", tz="Asia/Taipei"),
    _stamp("Taipei ns", "2024-01-02 09:30:15.123456789", "2024-01-02T01:30:15.123456", tz="Asia/Taipei"),
    _stamp("offset", "2024-01-02 09:30-05:00", "2024-01-02T14:30:00.000000"),
    _stamp("year 1 east of UTC", "0001-01-01 00:00:00+08:00", None, unit="s"),
    constant(
        "pd.Timestamp New York fold 0", _AUTUMN, Moment(utc="2024-11-03T05:30:00.000000", iso="2024-11-03T01:30-04:00")
    ),
    constant(
        "pd.Timestamp New York fold 1",
        _AUTUMN + pd.Timedelta(hours=1),
        Moment(utc="2024-11-03T06:30:00.000000", iso="2024-11-03T01:30-05:00"),
    ),
    constant(
        "Enum of pd.Timestamp",
        enum_of(pd.Timestamp("2024-01-02 09:30")),
        Moment(utc="2024-01-02T09:30:00.000000", iso="2024-01-02T09:30"),
    ),
    constant("pd.Timedelta", pd.Timedelta(minutes=30), HALF_HOUR),
    constant("pd.Timedelta ns", pd.Timedelta(1, "ns"), Duration(text="0 days 00:00:00.000000001")),
    constant("pd.Timedelta s", pd.Timedelta(minutes=30).as_unit("s"), HALF_HOUR),
    constant("pd.Period D", pd.Period("2024-01-02", "D"), Day("2024-01-02", day="2024-01-02")),
    constant("pd.Period D 1969", pd.Period("1969-12-31", "D"), Day("1969-12-31", day="1969-12-31")),
    constant("pd.Period M", pd.Period("2024-05", "M"), Other("2024-05")),
    constant("pd.Period Q", pd.Period("2024Q2", "Q"), Other("2024Q2")),
    constant("pd.Period W", pd.Period("2024-01-02", "W"), Other("2024-01-01/2024-01-07")),
    constant("pd.Period B", pd.Period("2024-01", "Y"), Other("2024")),
    constant("pd.Period h", pd.Period("2024-01-02 09:00", "h"), Other("2024-01-02 09:00")),
    constant("pd.Period s", pd.Period("2024-01-02 09:30:15", "s"), Other("2024-01-02 09:30:15")),
    constant("pd.Interval", pd.Interval(0, 1), Other("(0, 1]")),
    constant("pd.Interval of dates", pd.Interval(pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-03")), Other(ANY)),
    constant("pd.offsets.Day", pd.offsets.Day(2), Other("<2 * Days>")),
    constant("pd.offsets.BusinessDay", pd.offsets.BusinessDay(), Other("<BusinessDay>")),
    constant("one of a Categorical of int", pd.Categorical([3])[0], THREE),
    constant("pd.Categorical", pd.Categorical(["a", "b"]), Other(["a", "b"])),
    constant("pd.Index", pd.Index([1, 2]), Other([1, 2])),
    constant("pd.DatetimeIndex", pd.DatetimeIndex(["2024-01-02"]), Other([Iso("2024-01-02")])),
    constant("pd.array", pd.array([1, None], dtype="Int64"), Other([1, None])),
    constant("pd.array of text", pd.array(["a", None], dtype="string"), Other(["a", None])),
    constant("pd.Series", pd.Series([1, 2]), Other(Like(r"Series 2 sha256:[0-9a-f]{16}"))),
    constant("pd.Series of one", pd.Series([0.1]), Other(Like(r"Series 1 sha256:[0-9a-f]{16}"))),
    constant("pd.DataFrame", pd.DataFrame({"a": [1, 2]}), Other(Like(r"DataFrame 2x1 sha256:[0-9a-f]{16}"))),
    constant("empty pd.DataFrame", pd.DataFrame(), Other(Like(r"DataFrame 0x0 sha256:[0-9a-f]{16}"))),
    constant("pandas dtype", pd.Int64Dtype(), Other("Int64")),
]

GIVEN: Final = [*PYTHON, *_NUMPY_NUMBERS, *_NUMPY_TIMES, *_NUMPY_OBJECTS, *_PANDAS, *ARROW]
