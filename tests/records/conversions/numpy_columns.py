"""Columns of every dtype of numpy, and of pandas over numpy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pandas as pd

from conversions.columns import (
    DATE_TEXTS_ARE,
    DATES,
    DAYS,
    DAYS_ARE,
    FLOATS,
    HALVES,
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
    moments,
    real,
    whole,
    with_missing,
    zoned,
)
from conversions.meanings import Exact, Infinite, Meaning, Moment, Real, Truth, Whole

# Numpy ----------------------------------------------------------------------------------------------------------------


def _array(name: str, values: Any, dtype: str, meanings: Sequence[Meaning]) -> Column:
    return Column(name, lambda: np.array(values, dtype=dtype), tuple(meanings))


NUMPY: Final = [
    *(_array(width, numbers, width, whole(*numbers)) for width, numbers in WIDTHS.items()),
    _array("int64 2**53 + 1", [1, 2**53 + 1, 7], "int64", whole(1, 2**53 + 1, 7)),
    _array("uint64 most", [1, 2**64 - 1, 7], "uint64", whole(1, 2**64 - 1, 7)),
    _array("float16", [0.1, 0.5, -2.5], "float16", real(*HALVES)),
    *(_array(width, list(map(float, digits)), width, real(*digits)) for width, digits in FLOATS.items()),
    _array("longdouble", [0.5, 3, -2.5], "longdouble", real("0.5", "3.0", "-2.5")),
    _array("float64 of wholes", [1, 2, 3], "float64", real("1.0", "2.0", "3.0")),
    *(
        _array(f"{width} with nan", [0.5, np.nan, -2.5], width, with_missing(real("0.5", "", "-2.5")))
        for width in ("float16", "float32", "float64", "longdouble")
    ),
    *(
        _array(f"{width} with inf", [0.5, np.inf, -2.5], width, (Real(digits="0.5"), Infinite(), Real(digits="-2.5")))
        for width in ("float16", "float32", "float64", "longdouble")
    ),
    _array("float64 of nan", [np.nan] * 3, "float64", MISSING),
    _array("bool", [True, False, True], "bool", TRUTHS_ARE),
    _array("complex128", [1, 2, 3j], "complex128", OTHER),
    _array("text", TEXTS, "U", TEXTS_ARE),
    _array("text of dates", DAYS, "U", DATE_TEXTS_ARE),
    _array("bytes", TEXTS, "S", OTHER),
    _array("datetime64[Y]", ["2021", "2022", "2023"], "M8[Y]", OTHER),
    _array("datetime64[M]", ["2024-01", "2024-02", "2024-03"], "M8[M]", OTHER),
    _array("datetime64[W]", ["2024-01-04", "2024-01-11", "2024-01-18"], "M8[W]", OTHER),
    _array("datetime64[D]", DAYS, "M8[D]", DAYS_ARE),
    _array("datetime64[D] with NaT", [DAYS[0], "NaT", DAYS[2]], "M8[D]", with_missing(DAYS_ARE)),
    _array(
        "datetime64[D] of year 10000",
        [DAYS[0], "10000-01-01", DAYS[2]],
        "M8[D]",
        (DAYS_ARE[0], Moment(), DAYS_ARE[2]),
    ),
    *(_array(f"datetime64[{unit}]", NINE, f"M8[{unit}]", NINE_ARE) for unit in UNITS),
    *(_array(f"datetime64[{unit}] midnights", DAYS, f"M8[{unit}]", MIDNIGHTS_ARE) for unit in UNITS),
    *(
        _array(f"datetime64[{unit}] with NaT", [NINE[0], "NaT", NINE[2]], f"M8[{unit}]", with_missing(NINE_ARE))
        for unit in UNITS
    ),
    _array(
        "datetime64[us] odd",
        ["2024-01-02T09:30:15.000001", *NINE[1:]],
        "M8[us]",
        moments("2024-01-02T09:30:15.000001", "2024-01-03T09:30:15.000000", "2024-01-04T00:00:00.000000"),
    ),
    _array("datetime64[ns] odd", ODD_NS, "M8[ns]", ODD_NS_ARE),
    *(_array(f"timedelta64[{unit}]", [1, 2, 3], f"m8[{unit}]", SPANS_ARE) for unit in ("D", *UNITS)),
    _array("timedelta64[ns] with NaT", [1, "NaT", 3], "m8[ns]", with_missing(SPANS_ARE)),
]

# Pandas ---------------------------------------------------------------------------------------------------------------


def _series(name: str, values: Any, dtype: Any, meanings: Sequence[Meaning]) -> Column:
    return Column(name, lambda: pd.Series(values, dtype=dtype), tuple(meanings))


def _of_array(column: Column) -> Column:
    return Column(f"numpy {column.name}", lambda: pd.Series(column.make()), column.meanings)


def _categories(column: Column, missing: bool = False) -> Column:
    def make() -> Any:
        values = pd.Series(column.make()).astype("category")
        if missing:
            values.iloc[1] = None
        return values

    meanings = with_missing(column.meanings) if missing else column.meanings
    return Column(f"categorical of {column.name}{' with a missing one' if missing else ''}", make, meanings)


def _zoned(zone: str, unit: str, meanings: Sequence[Meaning]) -> Column:
    return Column(
        f"datetime64[{unit}, {zone}]",
        lambda: pd.Series(NINE, dtype=f"M8[{unit}]").dt.tz_localize(zone),
        tuple(meanings),
    )


def _localized(name: str, values: list[str], zone: str, meanings: Sequence[Meaning]) -> Column:
    def make() -> Any:
        return pd.Series(values, dtype="M8[ns]").dt.tz_localize("UTC").dt.tz_convert(zone)

    return Column(name, make, zoned(zone, meanings))


# Units that pandas brings to its own, and a dtype that it does not have.
_NO_SERIES: Final = ("datetime64[Y]", "datetime64[M]", "datetime64[W]", "datetime64[D]", "timedelta64[D]", "bytes")
_ZONES: Final = {
    "UTC": NINE_ARE,
    "Asia/Taipei": moments("2024-01-02T01:30:00.000000", "2024-01-03T01:30:15.000000", "2024-01-03T16:00:00.000000"),
    "America/New_York": moments(
        "2024-01-02T14:30:00.000000", "2024-01-03T14:30:15.000000", "2024-01-04T05:00:00.000000"
    ),
}
_AUTUMN: Final = ["2024-11-03T05:30:00", "2024-11-03T06:30:00", "2024-11-03T07:30:00"]  # 1:30 twice, in New York
_NULLABLE: Final = {f"{name[0].upper()}{name[1:]}".replace("Uint", "UInt"): numbers for name, numbers in WIDTHS.items()}
_TEXT_DTYPES: Final = ("object", "str", "string[python]", "string[pyarrow]")
_PERIODS: Final = {"M": ["2024-01", "2024-02", "2024-03"], "W": DAYS, "h": DAYS}

_PLAIN: Final = [
    *(_of_array(column) for column in NUMPY if not column.name.startswith(_NO_SERIES)),
    *(_series(dtype, numbers, dtype, whole(*numbers)) for dtype, numbers in _NULLABLE.items()),
    *(
        _series(f"{dtype} with NA", [numbers[0], None, numbers[2]], dtype, with_missing(whole(*numbers)))
        for dtype, numbers in _NULLABLE.items()
    ),
    _series("Int64 2**53 + 1", [1, 2**53 + 1, 7], "Int64", whole(1, 2**53 + 1, 7)),
    _series(
        "Int64 2**53 + 1 with NA", [2**53 + 1, None, 7], "Int64", (Whole(number=2**53 + 1), UNKNOWN, Whole(number=7))
    ),
    _series("Float32", [0.1, 593.17, -2.5], "Float32", real(*FLOATS["float32"])),
    _series("Float64", [0.1, 0.2, -2.5], "Float64", real("0.1", "0.2", "-2.5")),
    *(
        _series(f"{dtype} with NA", [0.1, None, -2.5], dtype, with_missing(real("0.1", "", "-2.5")))
        for dtype in ("Float32", "Float64")
    ),
    _series("boolean", [True, False, True], "boolean", TRUTHS_ARE),
    _series("boolean with NA", [True, None, True], "boolean", with_missing(TRUTHS_ARE)),
    *(_series(f"{dtype} of codes", TEXTS, dtype, TEXTS_ARE) for dtype in _TEXT_DTYPES),
    *(_series(f"{dtype} of dates", DAYS, dtype, DATE_TEXTS_ARE) for dtype in _TEXT_DTYPES),
    *(
        _series(f"{dtype} of codes with NA", [TEXTS[0], None, TEXTS[2]], dtype, with_missing(TEXTS_ARE))
        for dtype in _TEXT_DTYPES
    ),
    *(
        _series(f"{dtype} of dates with NA", [DAYS[0], None, DAYS[2]], dtype, with_missing(DATE_TEXTS_ARE))
        for dtype in _TEXT_DTYPES
    ),
    _series("objects that are dates", DATES, object, DAYS_ARE),
    _series(
        "objects of three kinds",
        ["2024-01-02", date(2024, 1, 3), pd.Timestamp("2024-01-04")],
        object,
        (*DAYS_ARE[:2], MIDNIGHTS_ARE[2]),
    ),
    _series(
        "objects of three numbers",
        [1, 0.5, Decimal("0.1")],
        object,
        (Whole(number=1), Real(digits="0.5"), Exact(digits="0.1")),
    ),
    _series(
        "objects that are Decimals",
        [Decimal("0.1"), Decimal("NaN"), Decimal(3)],
        object,
        (Exact(digits="0.1"), UNKNOWN, Exact(digits="3")),
    ),
    _series("objects that are None", [None] * 3, object, MISSING),
    _series("objects 1, True, 1.0", [1, True, 1.0], object, (Whole(number=1), Truth(), Real(digits="1.0"))),
    *(_zoned(zone, unit, zoned(zone, meanings)) for zone, meanings in _ZONES.items() for unit in UNITS),
    _localized("New York in autumn", _AUTUMN, "America/New_York", moments(*(f"{one}.000000" for one in _AUTUMN))),
    _localized("Taipei, odd ns", ODD_NS, "Asia/Taipei", ODD_NS_ARE),
    _localized("Taipei with NaT", [NINE[0], "NaT", NINE[2]], "Asia/Taipei", with_missing(NINE_ARE)),
    _localized("UTC midnights", DAYS, "UTC", MIDNIGHTS_ARE),
    _series("period[D]", DAYS, "period[D]", DAYS_ARE),
    _series("period[D] with NaT", [DAYS[0], None, DAYS[2]], "period[D]", with_missing(DAYS_ARE)),
    *(_series(f"period[{unit}]", periods, f"period[{unit}]", OTHER) for unit, periods in _PERIODS.items()),
    Column("interval", lambda: pd.Series(pd.interval_range(0, 3)), OTHER),
    _series(
        "Sparse[float]", [0.5, np.nan, -2.5], pd.SparseDtype("float64", np.nan), with_missing(real("0.5", "", "-2.5"))
    ),
    _series("Sparse[int]", [1, 0, 3], "Sparse[int]", whole(1, 0, 3)),
    _series("Sparse[bool]", [True, False, True], pd.SparseDtype(bool, False), TRUTHS_ARE),
    _series("Sparse[float32]", [0.1, 0.0, -2.5], pd.SparseDtype("float32", 0.0), real("0.1", "0.0", "-2.5")),
]

_CATEGORIES: Final = [
    *(_series("codes", TEXTS, object, TEXTS_ARE), _series("dates as text", DAYS, object, DATE_TEXTS_ARE)),
    *(
        _series("wholes", [1, 3, 7], "int64", whole(1, 3, 7)),
        _series("floats", [0.1, 0.5, 3], "float64", real("0.1", "0.5", "3.0")),
    ),
    *(_series("moments", NINE, "M8[ns]", NINE_ARE), _series("dates", DATES, object, DAYS_ARE)),
    *(_series("periods", DAYS, "period[D]", DAYS_ARE), _series("truths", [True, False, True], "bool", TRUTHS_ARE)),
    _series("spans", [1, 2, 3], "m8[ns]", SPANS_ARE),
]
PANDAS: Final = [*_PLAIN, *(_categories(column, missing) for column in _CATEGORIES for missing in (False, True))]
