"""What a value is: an enum is its value, a scalar of numpy or pyarrow the value it holds, a Series its items.

Every check and conversion of incoming data begins here, so that a value never counts as what it is merely equal to, or
a subclass of.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_MOST_REMEMBERED: Final = 1 << 16
_LONGEST_REMEMBERED: Final = 100_000  # of an index; what becomes of a date takes up to 100 bytes
_EXACT_BELOW: Final = 2.0**53
_COLUMNS: Final = (list, np.ndarray, pd.Series)
_HOLD_NOTHING: Final = frozenset(
    (
        *(str, int, float, bool, type(None), date, datetime, Decimal, dict, list, tuple),
        *(np.float64, np.int64, np.datetime64, np.timedelta64),
        *(pd.Timestamp, pd.Timedelta, type(pd.NaT), type(pd.NA)),
    )
)


def unwrapped(value: Any) -> Any:
    """Return the value that an enum, an array without dimensions or a scalar of pyarrow holds; any other as it is."""
    while type(value) not in _HOLD_NOTHING:
        held = value
        if isinstance(value, Enum):
            held = value.value
        elif isinstance(value, np.ndarray):
            held = None if value is np.ma.masked else value[()] if value.ndim == 0 else value
        elif hasattr(type(value), "as_py"):
            held = _of_arrow(value)
        if held is value:
            break
        value = held
    return value


def _of_arrow(scalar: Any) -> Any:
    try:
        value = scalar.as_py()
    except Exception:  # noqa: BLE001 - a moment that Python cannot hold; it is refused as it is
        return scalar
    # Python has no such floats: their digits would follow from the wider float.
    kind = {"halffloat": np.float16, "float": np.float32}.get(str(scalar.type))
    return value if kind is None or value is None else kind(value)


def is_missing(value: Any) -> bool:
    """Tell whether a value is unknown: None, NA, NaT, or NaN of any type."""
    value = unwrapped(value)
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, (float, np.floating, np.datetime64, np.timedelta64)):
        return bool(value != value)
    return value is None or value is pd.NA or value is pd.NaT


def pairs(value: Any) -> list[tuple[Any, Any]] | None:
    """Return names and values of a mapping, or of what names its values: a Series, a record; None for anything else."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, pd.Series):
        return list(zip(value.index.tolist(), values_of(value), strict=True))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value)]
    if isinstance(value, np.void) and value.dtype.names:
        return [(name, value[name]) for name in value.dtype.names]
    if isinstance(value, (Namespace, SimpleNamespace)):
        return list(vars(value).items())
    if isinstance(value, sqlite3.Row):
        return list(zip(value.keys(), value, strict=True))
    return None


def columns_of(table: Any) -> list[tuple[Any, Any]] | None:
    """Return names and columns of a table of pandas, polars, pyarrow or numpy, or of a dict of such columns, else None.

    Raises
    ------
    ValueError
        If the table holds what Arrow cannot.
    """
    if isinstance(table, pd.DataFrame):
        return list(table.items())
    if isinstance(table, np.ndarray) and table.dtype.names:
        return [(name, values_of(table[name])) for name in table.dtype.names]
    if isinstance(table, Mapping) and table and all(isinstance(one, _COLUMNS) for one in table.values()):
        return list(table.items())
    if hasattr(table, "__arrow_c_stream__") and not isinstance(table, pd.Series):
        import pyarrow as pa

        try:
            found = pa.table(table)
        except Exception as error:
            raise ValueError(f"pyarrow cannot read it ({error})") from error
        return list(zip(found.column_names, found.columns, strict=True))
    return None


def values_of(column: Any) -> list[Any]:
    """Return the values of a column (Series, Index, array, or pyarrow's), each as what it is; float32 by its digits."""
    if isinstance(column, list):
        return column
    if hasattr(column, "to_pylist"):
        return _values_of_arrow(column)
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        kinds = values_of(dtype.categories)
        codes = (column.cat if isinstance(column, pd.Series) else column).codes
        return [None if code < 0 else kinds[code] for code in codes.tolist()]
    if isinstance(dtype, pd.StringDtype):
        return list(column.to_numpy(dtype=object, na_value=None).tolist())
    if isinstance(dtype, pd.ArrowDtype):
        return _values_of_arrow(column.array.__arrow_array__())
    if isinstance(dtype, pd.Float32Dtype):
        column = column.to_numpy(dtype=np.float32, na_value=np.nan)
    elif isinstance(dtype, pd.SparseDtype):
        column = np.asarray(column, dtype=dtype.subtype)
    if column.dtype in (np.float16, np.float32) and column.ndim == 1:
        return list(_wider(np.asarray(column)).tolist())
    # What tolist would make other types of: whole numbers of moments, narrower floats, nested lists.
    as_scalars = column.dtype == np.longdouble or (isinstance(column, np.ndarray) and column.dtype.kind in "mM")
    return list(column) if as_scalars or column.ndim > 1 else list(column.tolist())


def _values_of_arrow(column: Any) -> list[Any]:
    if str(column.type) in ("halffloat", "float"):
        return list(_wider(column.to_numpy()).tolist())
    try:
        return list(column.to_pylist())
    except Exception:  # noqa: BLE001 - one of them is what Python cannot hold
        return list(map(unwrapped, column))


def by_digits(value: np.floating[Any]) -> float:
    """Return a float of less than 64 bits by the digits that it shows: 0.1, not 0.10000000149011612."""
    return float(_wider(np.atleast_1d(value))[0])


def _wider(floats: Any) -> Any:
    exact = floats.astype(np.float64)
    is_whole = (exact == np.floor(exact)) & (np.abs(exact) < _EXACT_BELOW)
    return exact if is_whole.all() else np.where(is_whole, exact, floats.astype(str).astype(np.float64))


def materialised(value: Any) -> Any:
    """Return the items of a generator as a list, anything else as it is: its errors are those of whoever wrote it."""
    return list(value) if hasattr(type(value), "__next__") and isinstance(value, Iterable) else value


class LastIndex:
    """What became of the index that was read last: the columns of a table share theirs, which so is read once."""

    def __init__(self) -> None:
        self._known: tuple[pd.Index[Any], object, object] | None = None

    def found(self, index: pd.Index[Any], key: object) -> object | None:
        """Return what became of an index under a key, if it was the last one."""
        known = self._known
        return known[2] if known is not None and known[0].is_(index) and known[1] is key else None

    def remember(self, index: pd.Index[Any], key: object, became: object) -> None:
        """Keep what became of an index, unless it is so long that reading it again costs less than its memory."""
        if len(index) <= _LONGEST_REMEMBERED:
            self._known = (index, key, became)


class Remembered(dict[Any, Any]):
    """Results by value, for values of one type only: 1 and True, or two moments of one clock time, are equal too."""

    def __init__(self, find: Callable[[Any], Any]) -> None:
        super().__init__({None: None})
        self._find = find

    def __missing__(self, value: Any) -> Any:
        found = self._find(value)
        if len(self) < _MOST_REMEMBERED:
            self[value] = found
        return found


def floats(column: Sequence[float | None]) -> NDArray[np.float64]:
    """Return checked numbers as an array, NaN where unknown; where nothing is known, numpy need not look at each."""
    known = column.count(None) < len(column)
    return np.array(column, dtype=np.float64) if known else np.full(len(column), np.nan)
