"""When each annotation of an iteration was changed last: in the store and in an export.

A change has a field and, for tags and suggestions, an item: which tag, or which suggestion. Suggestions have no id that
two stores share, so a file names them by their place in the order of `load_iteration`, and the store by their number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from finlab_nb.records import text
from finlab_nb.records.days import timestamp_text
from finlab_nb.records.rules import MOMENT, NAME
from finlab_nb.records.values import shown
from finlab_nb.store.broken_text import fetched
from finlab_nb.store.interchange.versions import Fields, Reading

Times: TypeAlias = dict[tuple[str, str], str]  # by field and item

ITEMISED: Final = ("tag", "suggestion")
FIELDS: Final = ("note", "starred", "archived", "iteration_number", *ITEMISED, "revived")
# A time in another form, which another program has written, could not be compared with the others.
_IN_FORM: Final = f"{MOMENT.condition.format('changed_at')} AND changed_at GLOB '*T??:??:??.??????Z'"
_CHANGES: Final = f"""
    SELECT field, item, changed_at FROM changes WHERE iteration_id = ? AND {_IN_FORM}
    AND CASE WHEN field IN {ITEMISED} THEN {NAME.condition.format("item")} ELSE field <> 'deleted' AND item = '' END"""
_DELETED: Final = f"""
    SELECT iteration_id, changed_at FROM changes WHERE field = 'deleted' AND {_IN_FORM}
    AND {NAME.condition.format("iteration_id")} AND iteration_id NOT IN (SELECT iteration_id FROM iterations)"""


def known(connection: sqlite3.Connection, iteration_id: str) -> Times:
    """Return what the store knows of an iteration."""
    rows = fetched(connection, _CHANGES, (iteration_id,))
    return {(field, item): at for field, item, at in rows if isinstance(item, str)}


def deleted(connection: sqlite3.Connection) -> dict[str, str]:
    """Return when iterations were deleted that are not in the store any more."""
    return {one: at for one, at in fetched(connection, _DELETED) if isinstance(one, str)}


def newest(times: Times) -> str:
    """Return when an iteration was last changed by a person: not by a merge that gave it another number."""
    return max((at for (field, _), at in times.items() if field != "iteration_number"), default="")


def with_suggestions(times: Times, names: Mapping[str, str]) -> Times:
    """Return the times with other names for the suggestions; of those without one nothing is told."""
    return {
        (field, names.get(item, "") if field == "suggestion" else item): at
        for (field, item), at in times.items()
        if field != "suggestion" or item in names
    }


def written(times: Times) -> dict[str, Any]:
    """Return times in JSON."""
    value: dict[str, Any] = {}
    for (field, item), at in times.items():
        if field not in ITEMISED:
            value[field] = at
        else:
            value.setdefault(field, {})[item] = at
    return value


def checked(path: str, value: object, reading: Reading, suggestions: int) -> Times:
    """Return the times that JSON tells, or raise a ValueError that begins with the JSON path."""
    found: Times = {}
    if value is not None:
        for field, told in reading.object(path, "iteration.changes", value, Fields((), FIELDS)).items():
            if field in ITEMISED:
                found |= {(field, item): at for item, at in moments(f"{path}.{field}", told).items()}
            else:
                found[field, ""] = _moment(f"{path}.{field}", told)
    places = {*map(str, range(suggestions))}
    for field, item in found:
        if field == "suggestion" and item not in places:
            raise ValueError(
                f"{path}.suggestion has {shown(item)}; the iteration has {suggestions} suggestions, from 0"
            )
    return found


def moments(path: str, value: object) -> dict[str, str]:
    """Return an object of times by name, or raise a ValueError that begins with the JSON path."""
    if not isinstance(value, dict):
        raise ValueError(f"{path} is {shown(value)}; it must be an object")
    return {text(path, name, empty=False): _moment(f"{path}.{shown(name)}", at) for name, at in value.items()}


def _moment(path: str, value: object) -> str:
    return timestamp_text(path, text(path, value))
