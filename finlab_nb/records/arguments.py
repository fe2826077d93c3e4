"""What callers may ask for: the checks of the arguments of every public call.

Each check returns the argument in one form, or raises a ValueError that names the argument, its value and what is
allowed, worded as in `records.values`. Texts, flags, words and whole numbers are checked like stored values; the checks
of what only calls take are here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import date, datetime, time, tzinfo
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from finlab_nb.records.days import with_utc
from finlab_nb.records.plain import by_digits, unwrapped, values_of
from finlab_nb.records.stamps import begins_day
from finlab_nb.records.values import (
    filled_text,
    flag,
    listed,
    mapping,
    number,
    one_of,
    refusal,
    shown,
    text,
    texts,
    whole,
)

_MOST_BITS: Final = 128
_LONG_UNITS: Final = ("W", "M", "Y")  # of which the first day counts

__all__ = [
    "bound",
    "bound_values",
    "filled_text",
    "flag",
    "listed",
    "mapping",
    "one_of",
    "path",
    "quantity",
    "text",
    "texts",
    "whole",
    "zone",
]


def quantity(field: str, value: object, unit: str, *, infinite: bool = False) -> float:
    """Return a number of days or seconds, 0 or more."""
    wanted = f"a number of {unit}, 0 or more"
    try:
        found = number(field, value, infinite=infinite)
    except ValueError as error:
        raise refusal(field, value, wanted, int, float) from error
    if found < 0:
        raise refusal(field, value, wanted, int, float)
    return found


def path(field: str, value: object, what: str = "file") -> Path:
    """Return the absolute path of a file or folder, with ~ expanded."""
    wanted = f"the path of a {what}"
    given = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(given, str) or not given or "\0" in given:
        raise refusal(field, value, wanted, str, os.PathLike)
    try:
        return Path(given).expanduser().resolve()
    except RuntimeError as error:  # no such user, or a cycle of links
        raise refusal(field, value, f"{wanted} ({error})", str, os.PathLike) from error


def zone(field: str, value: object) -> tzinfo:
    """Return a time zone, given as a tzinfo or by its IANA name."""
    if isinstance(value, tzinfo):
        return value
    wanted = "a name such as 'UTC' or 'Europe/Berlin', or a tzinfo"
    if not isinstance(value, str):
        raise refusal(field, value, wanted)
    try:
        return ZoneInfo(value)
    except (ValueError, LookupError, OSError) as error:
        raise refusal(field, value, wanted, str) from error


def bound(field: str, value: object) -> date | datetime:
    """Return the bound of a period: a date if it is a day, else a naive datetime, in UTC if it had a zone.

    A moment with a zone is a day if it is the first moment of its local day, one without if it is midnight, unless text
    gives its clock time.
    """
    wanted = "a date, such as '2024-01-31', or a moment"
    held = unwrapped(value)
    try:
        if isinstance(held, np.datetime64) and np.datetime_data(held.dtype)[0] in _LONG_UNITS:
            held = held.astype("datetime64[D]")
        found = with_utc(held)
    except (ValueError, OverflowError) as error:
        raise refusal(field, value, f"{wanted} ({error})", str, date, np.datetime64) from error
    if found is None:
        raise refusal(field, value, wanted)
    moment, utc = found
    if not isinstance(moment, datetime) or not isinstance(utc, datetime):
        return moment
    if moment.tzinfo is not None and moment.utcoffset() is not None:
        return moment.date() if begins_day(utc, moment.tzinfo) else utc
    is_day = moment.time() == time() and not isinstance(held, str)
    return moment.date() if is_day else utc


def bound_values(field: str, value: object) -> Any:
    """Return the values of a query's placeholders: a list for ``?``, a dict for ``$name``."""
    if value is None:
        return None
    if isinstance(value, (str, bytes, bytearray)) or not isinstance(value, Iterable):
        raise refusal(field, value, "a list for ?, or a dict for $name")
    if hasattr(value, "items"):
        return {name: _bound(f"{field}[{shown(name)}]", one) for name, one in value.items()}
    return [_bound(f"{field}[{i}]", one) for i, one in enumerate(value)]


def _bound(field: str, value: object) -> Any:
    """Return a value in the form that DuckDB takes: a scalar as what it holds, and all that has items as a list."""
    held = unwrapped(value)
    if isinstance(held, np.datetime64):
        is_finer = isinstance(held.item(), int)  # than what Python holds; DuckDB would take the number
        return held.astype("datetime64[us]") if is_finer else held
    if isinstance(held, np.floating) and not isinstance(held, np.float64):
        return by_digits(held)
    if isinstance(held, np.generic):
        return held.item()
    if isinstance(held, dict):
        return {name: _bound(f"{field}[{shown(name)}]", one) for name, one in held.items()}
    if hasattr(held, "dtype") or hasattr(held, "to_pylist"):
        held = values_of(held)
    if isinstance(held, (list, tuple, set, frozenset, range)):
        return [_bound(f"{field}[{i}]", one) for i, one in enumerate(held)]
    if isinstance(held, str) and "\0" not in held:
        return text(field, value)
    if isinstance(held, int) and held.bit_length() > _MOST_BITS:
        raise refusal(field, value, f"a whole number of at most {_MOST_BITS} bits", int)
    return held
