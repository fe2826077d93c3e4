"""Single values: each check returns the value in its stored form, or raises a ValueError that names the field.

The message is ``<field> is <value>; it must be <what is allowed>``; if the type is wrong, it follows the value.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from reprlib import Repr
from typing import Any, Final

import numpy as np
import pandas as pd

# What `load_iteration` adds to a row; accepted and ignored, so that a loaded iteration can be saved again.
KEYS_OF_ROWS: Final = frozenset(
    {"trade_id", "metric_id", "equity_id", "suggestion_id", "iteration_id", "applied_iteration_id"}
)

_LARGEST_WHOLE: Final = 2**63 - 1
_REPR = Repr()
_REPR.maxstring = _REPR.maxother = 80


def shown(value: object) -> str:
    """Return the value as an error message shows it: short enough to read."""
    return _REPR.repr(value)


def refusal(field: str, value: object, wanted: str, *taken: type) -> ValueError:
    """Return the error for a wrong value; it shows the type of the value unless that is one of those `taken`."""
    kind = "" if isinstance(value, taken) and not isinstance(value, bool) else f" ({type(value).__name__})"
    return ValueError(f"{field} is {shown(value)}{kind}; it must be {wanted}")


def text(field: str, value: object, *, empty: bool = True) -> str:
    """Return the value if it is text that every reader of the file can show."""
    wanted = "text" if empty else "text that is not empty"
    if not isinstance(value, str) or not (empty or value.strip()):
        raise refusal(field, value, wanted, str)
    if "\0" in value:
        at = value.index("\0")
        raise refusal(field, value, f"text without NUL characters, but has one at position {at}", str)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        at = error.start
        raise refusal(field, value, f"Unicode text, but has half a surrogate pair at position {at}", str) from error
    return str(value)


def texts(field: str, value: object) -> list[str]:
    """Return texts that are not empty, each once, in the order given; a single text is a list of one."""
    if isinstance(value, str):
        return [text(field, value, empty=False)]
    items = listed(field, value, "text, or a list of texts")
    return list(dict.fromkeys(text(f"{field}[{i}]", item, empty=False) for i, item in enumerate(items)))


def flag(field: str, value: object) -> bool:
    """Return a truth value: True or False, nothing that merely looks like one."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise refusal(field, value, "True or False")


def one_of(field: str, value: object, allowed: Sequence[str]) -> str:
    """Return the value if it is one of the allowed words."""
    if isinstance(value, str) and value in allowed:
        return str(value)
    *others, last = map(repr, allowed)
    raise refusal(field, value, f"{', '.join(others)} or {last}" if others else last, str)


def tags_record(field: str, value: object) -> tuple[str, ...]:
    """Check a collection of tags; each counts once, in the order given."""
    return tuple(texts(field, value))


def timestamp_text(field: str, value: object) -> str:
    """Return a moment as UTC text; without an offset it is taken as UTC."""
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"{field} is {shown(value)}; it must be a date and time in ISO 8601 ({error})") from error
    if is_missing(moment) or not isinstance(moment, datetime):
        raise refusal(field, value, "a datetime or ISO 8601 text")
    try:
        return utc_text(moment if moment.tzinfo is None else moment.astimezone(UTC))
    except OverflowError as error:
        raise ValueError(f"{field} is {shown(value)}; in UTC it falls out of the years 1 to 9999") from error


def now() -> str:
    """Return the current moment as it is stored: UTC, ISO 8601, microseconds."""
    return utc_text(datetime.now(UTC))


def parameters_text(field: str, value: object) -> str:
    """Return parameters as JSON text of an object."""
    return json_text(field, dict(mapping(field, value, "a dict of names and values")))


def utc_text(moment: datetime) -> str:
    """Return a moment of UTC as it is stored: ISO 8601 with microseconds and Z."""
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def whole(field: str, value: object, least: int, most: int = _LARGEST_WHOLE) -> int:
    """Return a whole number of at least `least` that fits 64 bits; 3.0 counts as 3, True is refused."""
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError, ValueError):  # infinity and NaN
            found = int(value)
            if found == value and least <= found <= most:
                return found
    wanted = f"of at least {least}" if most == _LARGEST_WHOLE else f"from {least} to {most}"
    raise refusal(field, value, f"a whole number {wanted}", int, float, np.integer, np.floating)


def is_missing(value: object) -> bool:
    """Tell whether a value is missing: None, NaN, NaT or NA."""
    if isinstance(value, (float, np.datetime64)):
        return bool(value != value)
    return value is None or value is pd.NA or value is pd.NaT


def number(field: str, value: object, *, infinite: bool = False) -> float:
    """Return a number as a float; text, truth values and NaN are refused."""
    wanted = "a number" if infinite else "a finite number"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating, Decimal)):
        raise refusal(field, value, wanted)
    try:
        number = float(value)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{field} is {shown(value)}; it must be {wanted} that fits a 64-bit float") from error
    if math.isnan(number) or (math.isinf(number) and not infinite):
        raise ValueError(f"{field} is {shown(value)}; it must be {wanted}")
    return number


def json_text(field: str, value: object) -> str:
    """Return a value as JSON text."""
    try:
        encoded = json.dumps(_plain(field, value), ensure_ascii=False, allow_nan=False)
    except RecursionError as error:
        raise ValueError(f"{field} is nested too deeply or holds itself") from error
    return text(field, encoded)


def _plain(field: str, value: object) -> object:
    """Return the value in JSON's own types: numpy scalars, dates and tuples become numbers, text and lists."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    if isinstance(value, str):
        return text(field, value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating, Decimal)):
        return number(field, value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"{field} has the key {shown(key)}; keys must be text")
        return {text(field, key): _plain(f"{field}.{key}", item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(f"{field}[{i}]", item) for i, item in enumerate(value)]
    raise ValueError(f"{field} is {shown(value)} ({type(value).__name__}); JSON holds text, numbers, lists and dicts")


def listed(field: str, value: object, wanted: str = "a list") -> Iterable[Any]:
    """Return a collection of items; text or a dict is refused."""
    if isinstance(value, (str, bytes, bytearray, Mapping)) or not isinstance(value, Iterable):
        raise refusal(field, value, wanted)
    return value


def mapping(field: str, value: object, wanted: str) -> Mapping[Any, Any]:
    """Return a dict, or anything else that maps keys to values."""
    if not isinstance(value, Mapping):
        raise refusal(field, value, wanted)
    return value


def known_keys(field: str, given: Iterable[object], allowed: Sequence[str], hint: str = "") -> None:
    """Refuse keys that are not among the allowed fields."""
    for key in given:
        if key not in allowed and key not in KEYS_OF_ROWS:
            raise ValueError(f"{field} has the unknown field {shown(key)}; allowed are {', '.join(allowed)}{hint}")
