"""What callers may ask for: each check returns the argument in one form, or raises an error that names it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from numbers import Integral
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd

from finlab_nb.errors import QueryError

Texts: TypeAlias = str | Iterable[str]
Ids: TypeAlias = Texts | None
Day: TypeAlias = str | date | np.datetime64 | None

_SHOWN_NAMES: Final = 40


def texts(field: str, value: object) -> list[str]:
    """Return one text or several as a list, each once."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, (bytes, dict)) or not isinstance(value, Iterable):
        raise ValueError(f"{field} is {value!r} ({type(value).__name__}); it must be text, or a list of texts")
    items = list(value)
    for item in items:
        if not isinstance(item, str):
            raise ValueError(f"{field} holds {item!r}; it must be text")
    return list(dict.fromkeys(items))


def one_text(field: str, value: object) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{field} is {value!r}; it must be text that is not empty")
    return value


def truth(field: str, value: object) -> bool:
    """Return a truth value: True or False, nothing that merely looks like one."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{field} is {value!r}; it must be True or False")
    return bool(value)


def whole(field: str, value: object, least: int) -> int:
    """Return a whole number of at least `least`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral) or int(value) < least:
        raise ValueError(f"{field} is {value!r}; it must be a whole number, {least} or more")
    return int(value)


def one_of(field: str, value: object, allowed: Sequence[str]) -> str:
    """Return the value if it is one of some words."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{field} is {value!r}; allowed are {', '.join(map(repr, allowed))}")
    return value


def start(field: str, value: object) -> datetime:
    """Return the first moment that a lower bound allows."""
    return _moment(field, value)[0]


def end(field: str, value: object) -> datetime:
    """Return the first moment that an upper bound forbids: the day after a date, the next microsecond of a moment."""
    moment, is_day = _moment(field, value)
    try:
        return moment + (timedelta(days=1) if is_day else timedelta(microseconds=1))
    except OverflowError:
        return datetime.max  # noqa: DTZ901 - dates of trades are naive


def _moment(field: str, value: object) -> tuple[datetime, bool]:
    """Return a date or a moment as naive UTC, and whether it was a date."""
    found = value
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value) if len(value) > len("2024-01-02") else date.fromisoformat(value)
        elif isinstance(value, np.datetime64):
            days = np.datetime_data(value)[0] in ("D", "M", "Y", "W")
            found = value.astype("datetime64[D]" if days else "datetime64[us]").item()
        elif isinstance(value, pd.Timestamp):
            found = value.to_pydatetime(warn=False)
        if found is pd.NaT:
            found = None
        if isinstance(found, datetime):
            naive = found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)
            return naive, not isinstance(value, str) and naive == datetime.combine(naive, datetime.min.time())
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{field} is {value!r}; it must be a date, such as '2024-01-31', or a moment ({error})"
        ) from error
    if isinstance(found, date):
        return datetime(found.year, found.month, found.day), True  # noqa: DTZ001 - dates of trades are naive
    raise ValueError(f"{field} is {value!r} ({type(value).__name__}); it must be a date, such as '2024-01-31'")


def column(field: str, value: object, names: Sequence[str]) -> int:
    """Return the place of a column, counted from 1, for a name that may differ in case."""
    if not isinstance(value, str):
        raise ValueError(f"{field} is {value!r} ({type(value).__name__}); it must be the name of a column")
    if value in names:
        return names.index(value) + 1
    same = [place for place, name in enumerate(names, 1) if name.lower() == value.lower()]
    if len(same) != 1:
        raise QueryError(f"{field} is {value!r}; no such column, there are {listed_names(names)}")
    return same[0]


def listed_names(names: Sequence[str]) -> str:
    """Return names for an error message, not all of them where they are many."""
    shown = ", ".join(names[:_SHOWN_NAMES])
    return shown if len(names) <= _SHOWN_NAMES else f"{shown} and {len(names) - _SHOWN_NAMES} more"


def ordering(value: str | Sequence[str] | None, names: Sequence[str]) -> list[str]:
    """Return the terms of an ORDER BY over columns by place."""
    terms = []
    for given in [] if value is None else texts("order_by", value):
        name, _, direction = given.strip().rpartition(" ")
        if not name or direction.lower() not in ("asc", "desc"):
            name, direction = given.strip(), "asc"
        terms.append(f"{column('order_by', name.strip(), names)} {direction} NULLS LAST")
    return terms


def bound_values(params: Any) -> Any:
    """Return parameters of a query as DuckDB takes them."""
    if params is None or isinstance(params, dict):
        return params
    if isinstance(params, (str, bytes)) or not isinstance(params, Iterable):
        raise ValueError(f"params is {params!r}; it must be a list for ?, or a dict for $name")
    return dict(params.items()) if hasattr(params, "items") else list(params)
