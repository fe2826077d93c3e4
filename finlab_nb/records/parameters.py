"""Parameters as JSON text: every value has a form there, so that no iteration is lost for the sake of one.

The forms are listed in README.md, under "What becomes of a value".
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence, Set, ValuesView
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from finlab_nb.records.plain import by_digits, is_missing, pairs, unwrapped, values_of
from finlab_nb.records.values import named, number, shown, text

Within: TypeAlias = tuple[int, ...]  # ids of the containers around a value, from the outermost

_DEEPEST: Final = 100
_LONGEST_ARRAY: Final = 10_000
_MOST_BITS: Final = 14_000  # Python reads and writes whole numbers of up to 4,300 digits
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


def parameters_text(field: str, value: object, *, exact: bool = False) -> str:
    """Return parameters as JSON text of an object.

    Parameters
    ----------
    field
        What to call them in an error.
    value
        A mapping, Series, dataclass, namedtuple or Namespace.
    exact
        Refuse what JSON cannot hold as it is, instead of giving it another form.
    """
    given = named(field, value, "a dict of names and values")
    return (
        json_text(field, dict(given), exact=True)
        if exact
        else json.dumps(_object(given, (id(value),)), ensure_ascii=False)
    )


def json_text(field: str, value: object, *, exact: bool = False) -> str:
    """Return a value as JSON text; see `parameters_text`."""
    if exact:
        try:
            _refuse_other_than_json(value)
        except ValueError as error:
            raise ValueError(f"{field}{error}") from error
    return json.dumps(value if exact else plain(value), ensure_ascii=False)


def key_text(key: object) -> str:
    """Return the key of a mapping as text: of anything else than text, its form in JSON."""
    form = plain(key)
    return form if isinstance(form, str) else json.dumps(form, ensure_ascii=False)


def plain(value: Any, within: Within = ()) -> Any:
    """Return the form of a value in JSON's own types."""
    value = unwrapped(value)
    if is_missing(value):
        return None
    if id(value) in within:
        return "<circular>"
    return _form(value, within)


def _refuse_other_than_json(value: Any) -> None:
    """Refuse what is not JSON's own; the message begins with the way to it, written only then: keys may be long."""
    if isinstance(value, str):
        text("", value)
    elif isinstance(value, float):
        number("", value)
    elif isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(key, str):
                text("", key)
            try:
                _refuse_other_than_json(item)
            except ValueError as error:
                raise ValueError(f".{key}{error}" if isinstance(value, dict) else f"[{key}]{error}") from error


# Forms ----------------------------------------------------------------------------------------------------------------


@functools.singledispatch
def _form(value: Any, within: Within) -> Any:
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}".removeprefix("builtins.")
    if hasattr(value, "__arrow_c_stream__"):
        return _fingerprint(value)
    if (record := pairs(value)) is not None:
        return _object(record, (*within, id(value)))
    if hasattr(value, "to_pylist"):
        return _list(values_of(value), (*within, id(value)))
    if hasattr(value, "__array__"):
        try:
            return _form(np.asarray(value), (*within, id(value)))
        except Exception:  # noqa: BLE001 - an array that is not in this memory, or that only claims to be one
            return _written(value)
    return _written(value)


@_form.register(bool)
def _(value: bool, _within: Within) -> bool:
    return value


@_form.register(np.bool_)
def _(value: np.bool_, _within: Within) -> bool:
    return bool(value)


@_form.register(int)
@_form.register(np.integer)
def _(value: int, _within: Within) -> int | str:
    whole = int(value)
    return whole if whole.bit_length() <= _MOST_BITS else hex(whole)


@_form.register(float)
@_form.register(np.floating)
def _(value: float, _within: Within) -> float | str:
    found = by_digits(value) if isinstance(value, (np.float16, np.float32)) else float(value)
    if math.isinf(found):
        return _infinity(found) if np.isinf(value) else str(value)
    return found


@_form.register
def _(value: Decimal, _within: Within) -> int | float | str:
    if value.is_infinite():
        return _infinity(float(value))
    if not math.isfinite(float(value)):
        return str(value)
    return int(value) if str(value.as_tuple().exponent).isdigit() else float(value)


@_form.register(str)
def _(value: str, _within: Within) -> str:
    """Return the text; what cannot be stored is written as an escape."""
    return str.__str__(value).replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


@_form.register(date)
@_form.register(time)
def _(value: date | time, _within: Within) -> str:
    return value.isoformat()


@_form.register(timedelta)
@_form.register(np.timedelta64)
def _(value: timedelta | np.timedelta64, _within: Within) -> str:
    try:
        return str(pd.Timedelta(value))
    except (ValueError, OverflowError):  # months, or more than 292 years
        return str(value)


@_form.register(bytes)
@_form.register(bytearray)
@_form.register(memoryview)
@_form.register(range)
@_form.register(PurePath)
def _(value: Any, _within: Within) -> str:
    return _written(bytes(value) if isinstance(value, memoryview) else value)


@_form.register(Mapping)
def _(value: Mapping[Any, Any], within: Within) -> Any:
    return _object(value.items(), (*within, id(value)))


@_form.register(Sequence)
@_form.register(ValuesView)
def _(value: Iterable[Any], within: Within) -> Any:
    record = pairs(value)  # of a namedtuple
    return _list(value, (*within, id(value))) if record is None else _object(record, (*within, id(value)))


@_form.register(Set)
def _(value: Set[Any], within: Within) -> Any:
    items = _list(value, (*within, id(value)))
    try:
        return sorted(items)
    except TypeError:  # of unlike types
        return sorted(items, key=json.dumps)


@_form.register(np.ndarray)
def _(value: np.ndarray[Any, Any], within: Within) -> Any:
    if value.size > _LONGEST_ARRAY or value.dtype.names:
        return _fingerprint(value)
    return _list(values_of(value) if value.ndim == 1 else value, (*within, id(value)))


@_form.register(pd.Index)
@_form.register(ExtensionArray)
def _(value: Any, within: Within) -> Any:
    return _fingerprint(value) if len(value) > _LONGEST_ARRAY else _list(values_of(value), (*within, id(value)))


@_form.register(pd.Series)
@_form.register(pd.DataFrame)
def _fingerprint(value: Any, _within: Within = ()) -> str:
    """Return type, shape and hash of a table: equal tables have equal ones."""
    try:
        digest = _hash(value)
    except Exception:  # noqa: BLE001 - cells that cannot be hashed
        digest = hashlib.sha256(str(value).encode("utf-8", "backslashreplace"))
    shape = value.shape if hasattr(value, "shape") else (len(value),)
    return f"{type(value).__name__} {'x'.join(map(str, shape))} sha256:{digest.hexdigest()[:16]}"


def _hash(value: Any) -> Any:
    if isinstance(value, np.ndarray) and not value.dtype.names:
        value = pd.Series(value.ravel())
    elif not isinstance(value, (pd.Series, pd.DataFrame, pd.Index)):
        value = value.to_pandas() if hasattr(value, "to_pandas") else pd.DataFrame(value)
    digest = hashlib.sha256(str(list(getattr(value, "columns", ()))).encode("utf-8", "backslashreplace"))
    try:
        digest.update(pd.util.hash_pandas_object(value).to_numpy().tobytes())
    except TypeError:
        digest.update(pd.util.hash_pandas_object(value.astype(str)).to_numpy().tobytes())
    return digest


def _object(given: Iterable[tuple[Any, Any]], within: Within) -> Any:
    if len(within) > _DEEPEST:
        return _written(dict(given))
    found: dict[str, Any] = {}
    for key, item in given:
        name = key_text(key)
        while name in found:
            name = f"{name} ({type(key).__name__})"
        found[name] = plain(item, within)
    return found


def _list(given: Iterable[Any], within: Within) -> Any:
    return _written(given) if len(within) > _DEEPEST else [plain(item, within) for item in given]


def _infinity(value: float) -> str:
    return "Infinity" if value > 0 else "-Infinity"


def _written(value: Any) -> str:
    """Return str(value) without addresses, which would make the same value look different each time."""
    try:
        written = str(value)
    except Exception:  # noqa: BLE001 - a class of the caller's
        written = shown(value)
    return str(plain(_ADDRESS.sub("", written)))
