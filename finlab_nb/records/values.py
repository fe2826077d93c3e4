"""Single values: each check returns the value in its stored form, or raises a ValueError that names the field.

The message is ``<field> is <value>; it must be <what is allowed>``; if the type is wrong, it follows the value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from reprlib import Repr
from typing import Any, Final

import numpy as np

from finlab_nb.records.plain import by_digits, is_missing, pairs, unwrapped

# What `load_iteration` adds to a row; accepted and ignored, so that a loaded iteration can be saved again.
KEYS_OF_ROWS: Final = frozenset(
    {
        "trade_id",
        "metric_id",
        "equity_id",
        "suggestion_id",
        "iteration_id",
        "applied_iteration_id",
        "applied_iteration_ids",
    }
)

_LARGEST_WHOLE: Final = 2**63 - 1
_NUMBERS: Final = (int, float, np.integer, np.floating, Decimal)
_NO_NUMBERS: Final = (bool, np.timedelta64)  # which are subclasses of integers
_REPR = Repr()
_REPR.maxstring = _REPR.maxother = 80


def shown(value: object) -> str:
    """Return the value as an error message shows it: short enough to read."""
    try:
        return _REPR.repr(value)
    except Exception:  # noqa: BLE001 - a whole number of too many digits, or a class that only looks like a builtin
        return f"<{type(value).__name__}>"


def refusal(field: str, value: object, wanted: str, *taken: type) -> ValueError:
    """Return the error for a wrong value; it shows the type of the value unless that is one of those `taken`."""
    kind = "" if isinstance(value, taken) and not isinstance(value, _NO_NUMBERS) else f" ({type(value).__name__})"
    return ValueError(f"{field} is {shown(value)}{kind}; it must be {wanted}")


def text(field: str, value: object, *, empty: bool = True) -> str:
    """Return the value if it is text that every reader of the file can show."""
    wanted = "text" if empty else "text that is not empty"
    held = unwrapped(value)
    if not isinstance(held, str):
        raise refusal(field, value, wanted, str)
    held = str.__str__(held)  # of a subclass, the text itself
    if not (empty or held.strip()):
        raise refusal(field, value, wanted, str)
    if "\0" in held:
        at = held.index("\0")
        raise refusal(field, value, f"text without NUL characters, but has one at position {at}", str)
    try:
        held.encode()
    except UnicodeEncodeError as error:
        at = error.start
        raise refusal(field, value, f"Unicode text, but has half a surrogate pair at position {at}", str) from error
    return held


def filled_text(field: str, value: object) -> str:
    """Return text that is not empty: an id, a name, a condition."""
    return text(field, value, empty=False)


def texts(field: str, value: object) -> list[str]:
    """Return texts that are not empty, each once, in the order given; a single text is a list of one."""
    if isinstance(unwrapped(value), str):
        return [text(field, value, empty=False)]
    items = listed(field, value, "text, or a list of texts")
    return list(dict.fromkeys(text(f"{field}[{i}]", item, empty=False) for i, item in enumerate(items)))


def flag(field: str, value: object) -> bool:
    """Return a truth value: True or False, nothing that merely looks like one."""
    held = unwrapped(value)
    if isinstance(held, (bool, np.bool_)):
        return bool(held)
    raise refusal(field, value, "True or False")


def one_of(field: str, value: object, allowed: Sequence[str]) -> str:
    """Return the value if it is one of the allowed words."""
    held = unwrapped(value)
    if isinstance(held, str) and held in allowed:
        return str.__str__(held)
    *others, last = map(repr, allowed)
    raise refusal(field, value, f"{', '.join(others)} or {last}" if others else last, str)


def tags_record(field: str, value: object) -> tuple[str, ...]:
    """Check a collection of tags; each counts once, in the order given; None is none."""
    return () if value is None else tuple(texts(field, value))


def whole(field: str, value: object, least: int, most: int = _LARGEST_WHOLE) -> int:
    """Return a whole number of at least `least` that fits 64 bits; 3.0 counts as 3, True is refused."""
    held = held_number(value)
    # The bounds come first: the digits of Decimal("1E+1000000") would take long.
    if held is not None and not is_missing(held) and least <= held <= most and held == int(held):
        return int(held)
    wanted = f"of at least {least}" if most == _LARGEST_WHOLE else f"from {least} to {most}"
    raise refusal(field, value, f"a whole number {wanted}", *_NUMBERS)


def number(field: str, value: object, *, infinite: bool = False) -> float:
    """Return a number as a float; text, truth values, durations and NaN are refused.

    A whole number is refused if a float cannot hold it exactly. Floats of less than 64 bits count by the digits that
    they show: float32(0.1) is 0.1.
    """
    wanted = "a number" if infinite else "a finite number"
    held = held_number(value)
    if held is None:
        raise refusal(field, value, wanted)
    if is_missing(held) or (not infinite and _is_infinite(held)):
        raise ValueError(f"{field} is {shown(value)}; it must be {wanted}")
    try:
        found = float(held)
    except OverflowError:
        found = math.inf
    if math.isinf(found) and not _is_infinite(held):
        raise ValueError(f"{field} is {shown(value)}; it must be {wanted} that fits a 64-bit float")
    if found != held and _is_whole(held):
        raise ValueError(f"{field} is {shown(value)}; it must be {wanted} that a 64-bit float holds exactly")
    return found


def positive(field: str, value: object) -> float:
    """Return a finite number above 0."""
    found = number(field, value)
    if not found > 0:
        raise refusal(field, value, "a finite number above 0", *_NUMBERS)
    return found


def held_number(value: object) -> int | float | Decimal | np.longdouble | None:
    """Return the number that a value is, by the digits that it shows; None if it is none."""
    held = unwrapped(value)
    if not isinstance(held, _NUMBERS) or isinstance(held, _NO_NUMBERS):
        return None
    if isinstance(held, np.integer):
        return int(held)
    if isinstance(held, (np.float16, np.float32)):
        return by_digits(held)
    return float(held) if isinstance(held, float) else held  # float64 compares as numpy does: 2**63 == 2**63 - 1


def _is_infinite(held: int | float | Decimal | np.longdouble) -> bool:
    if isinstance(held, Decimal):
        return held.is_infinite()
    return not isinstance(held, int) and bool(np.isinf(held))


def _is_whole(held: int | float | Decimal | np.longdouble) -> bool:
    return isinstance(held, int) or (isinstance(held, Decimal) and held == held.to_integral_value())


def listed(field: str, value: object, wanted: str = "a list") -> Iterable[Any]:
    """Return a collection of items; text or a dict is refused."""
    held = unwrapped(value)
    if isinstance(held, (str, bytes, bytearray, Mapping)) or not isinstance(held, Iterable):
        raise refusal(field, value, wanted)
    return held


def mapping(field: str, value: object, wanted: str) -> Mapping[Any, Any]:
    """Return a dict, or anything else that maps keys to values."""
    if not isinstance(value, Mapping):
        raise refusal(field, value, wanted)
    return value


def named(field: str, value: object, wanted: str) -> list[tuple[Any, Any]]:
    """Return names and values of a dict, a Series or a record."""
    found = pairs(value)
    if found is None:
        raise refusal(field, value, wanted)
    return found


def known_keys(field: str, given: Iterable[object], allowed: Sequence[str]) -> None:
    """Refuse keys that are not among the allowed fields."""
    for key in given:
        if key not in allowed and key not in KEYS_OF_ROWS:
            raise ValueError(f"{field} has the unknown field {shown(key)}; allowed are {', '.join(allowed)}")
