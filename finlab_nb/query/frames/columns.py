"""The columns of an answer by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from finlab_nb.errors import QueryError
from finlab_nb.records import arguments

_SHOWN_NAMES: Final = 40


def column(field: str, value: object, names: Sequence[str], what: str = "column") -> int:
    """Return the place, counted from 1, of the column with this name, which may be given in another case."""
    name = arguments.filled_text(field, value)
    places = {one.lower(): place for place, one in enumerate(names, 1)}
    if name.lower() not in places:
        raise QueryError(f"{field} is {name!r}; no such {what}, there are {listed_names(names)}")
    return places[name.lower()]


def listed_names(names: Sequence[str]) -> str:
    """Return names for an error message, only the first ones if there are many."""
    shown = ", ".join(names[:_SHOWN_NAMES])
    return shown if len(names) <= _SHOWN_NAMES else f"{shown} and {len(names) - _SHOWN_NAMES} more"


def ordering(field: str, terms: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the terms of an ORDER BY, with columns named by their places."""
    ordered = []
    for given in terms:
        name, _, direction = given.strip().rpartition(" ")
        if not name or direction.lower() not in ("asc", "desc"):
            name, direction = given.strip(), "asc"
        ordered.append(f"{column(field, name.strip(), names)} {direction} NULLS LAST")
    return ordered
