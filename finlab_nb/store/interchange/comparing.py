"""Whether an iteration or a strategy of an export file is the one that is stored under its id.

Compared is what an iteration was and what it gave, as far as the version of the file has fields for it. Not compared is
what changes afterwards: its number, note, stars, archive, tags, and what became of the suggestions. Where it comes from
is compared if both know it: an older release does not pass it on.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict
from typing import Any, Final

from finlab_nb.records import METRICS, PRIORITIES, Iteration, Provenance, Strategy
from finlab_nb.records.tables import ITERATIONS
from finlab_nb.records.values import shown
from finlab_nb.store.broken_text import Row
from finlab_nb.store.interchange.as_stored import ROW_COLUMNS
from finlab_nb.store.interchange.codec import ImportedIteration, ImportedStrategy
from finlab_nb.store.interchange.rendering import Exported
from finlab_nb.store.interchange.versions import V1_2, VERSIONS, Version

_STRATEGY_FIELDS: Final = ("name", "code", "created_at")
_SUGGESTION_FIELDS: Final = ("priority", "description", "specific_changes", "expected_impact", "rationale")
_WRITTEN_AFTERWARDS: Final = ROW_COLUMNS["suggestions"].index("status")  # and all behind it
_NOT_COMPARED: Final = {
    *("iteration_number", "note", "starred", "archived", "tags", "changed_at"),
    "parent_strategy_id",
}
_ITERATION_FIELDS: Final = ITERATIONS.names_without("iteration_id", "parameters", *_NOT_COMPARED)
_SAME: Final = 1e-9  # relative
_ABSENT: Final = object()


def refuse_if_iteration_differs(path: str, given: ImportedIteration, stored: Exported, version: Version) -> None:
    """Raise a ValueError that names the first field in which the iterations differ, of those that the version has."""
    unknown: set[str] = set() if given.origin and stored.stored["provenance"] else {"provenance"}
    seen = unknown | _refuse_difference_as_stored(path, given.as_stored, stored, _NOT_COMPARED | unknown)
    if given.record.parameters is None:  # the default of the strategy, whatever it is
        seen.add("parameters")
    one, other = (_without(seen, _iteration(record, version)) for record in (given.record, stored.record))
    if VERSIONS.index(version) < VERSIONS.index(V1_2):
        _follow_the_upgrade(one, other, given.record)
    _refuse_difference(path, one, other)


def refuse_if_strategy_differs(
    path: str, given: ImportedStrategy, stored: Exported, parents: tuple[str | None, str | None]
) -> None:
    """Raise a ValueError that names the first field in which the strategies differ.

    Parameters
    ----------
    path
        The JSON path of the given one.
    given, stored
        The strategies.
    parents
        Their parents, as far as these are to be found.
    """
    seen = _refuse_difference_as_stored(path, given.as_stored, stored, _NOT_COMPARED)
    _refuse_difference(path, _without(seen, _strategy(given.record)), _without(seen, _strategy(stored.record)))
    _refuse_difference(f"{path}.parent_strategy_id", *parents)


def _refuse_difference_as_stored(
    path: str, given: Mapping[str, Any], stored: Exported, not_compared: Set[str]
) -> set[str]:
    """Compare what the file carries as it is stored with what is stored, and return which fields that are."""
    for name in given.keys() - not_compared:
        one, other = given[name], stored.stored[name]
        if not isinstance(other, list):
            if repr(one) != repr(other):
                raise ValueError(f"{path}.{name} is {shown(one)}, but {shown(other)} is stored; nothing was imported")
        elif _rows(name, one) != _rows(name, other):
            raise ValueError(f"{path}.{name} has other rows than are stored; nothing was imported")
    for name in stored.refused - given.keys() - not_compared:
        raise ValueError(f"{path}.{name} differs from what is stored, which breaks a rule; nothing was imported")
    return set(given)


def _rows(table: str, rows: Iterable[Row]) -> Counter[str]:
    """Return rows as they are compared: in any order, but exactly."""
    length = _WRITTEN_AFTERWARDS if table == "suggestions" else None
    return Counter(repr(row[:length]) for row in rows)


def _without(names: set[str], fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def _strategy(record: Strategy) -> dict[str, Any]:
    plain = {name: getattr(record, name) for name in _STRATEGY_FIELDS}
    return plain | {"parameters": json.loads(record.parameters)}


def _iteration(record: Iteration, version: Version) -> dict[str, Any]:
    """Return what is compared of an iteration, in the order in which `load_iteration` gives it."""
    trades = sorted(record.trades, key=lambda row: row[1])
    suggestions = sorted(record.suggestions, key=lambda one: PRIORITIES.index(one.priority))
    return {name: getattr(record, name) for name in _ITERATION_FIELDS if name in version.iteration.names} | {
        "parameters": json.loads(record.parameters or "{}"),
        "metrics": dict(zip(METRICS, record.metrics, strict=True)),
        "extra_metrics": dict(record.extra_metrics),
        "trades": _trades(trades, version.rows["trades"].names),
        "equity": [{"date": date, "equity": value} for date, value in record.equity],
        "suggestions": [
            {name: getattr(one, name) for name in _SUGGESTION_FIELDS}
            | {"learning_references": json.loads(one.learning_references or "null")}
            for one in suggestions
        ],
        "provenance": _provenance(record.provenance),
    }


def _provenance(record: Provenance | None) -> dict[str, Any] | None:
    return None if record is None else asdict(record) | {"packages": json.loads(record.packages or "null")}


def _follow_the_upgrade(given: dict[str, Any], stored: dict[str, Any], record: Iteration) -> None:
    """Take figures from the store that its upgrade made of the same curve: a file before 1.2 may have former ones."""
    if "metrics" in given:
        now = stored["metrics"]
        given["metrics"] |= {name: now[name] for name, computed in record.given if _agree(computed, now[name])}
    if "total_return" in stored.get("extra_metrics", ()):
        given["extra_metrics"].setdefault("total_return", stored["extra_metrics"]["total_return"])


def _agree(one: float | None, other: float | None) -> bool:
    return one is other if one is None or other is None else math.isclose(one, other, rel_tol=_SAME)


def _trades(rows: Iterable[Row], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return those fields of trades that a version has, which come first in the rows."""
    trades = [dict(zip(names, row, strict=False)) for row in rows]
    if "extra" in names:
        for trade in trades:
            trade["extra"] = json.loads(trade["extra"] or "null")
    return trades


def _refuse_difference(path: str, given: Any, stored: Any) -> None:
    difference = _difference(given, stored)
    if difference is not None:
        raise ValueError(f"{path}{difference}; nothing was imported")


def _difference(given: Any, stored: Any) -> str | None:
    """Return place and kind of the first difference, if any; keys may be long, so that no path is made before."""
    if isinstance(given, dict) and isinstance(stored, dict):
        for name in dict.fromkeys((*given, *stored)):
            if found := _difference(given.get(name, _ABSENT), stored.get(name, _ABSENT)):
                return f".{name}{found}"
    elif isinstance(given, list) and isinstance(stored, list):
        if len(given) != len(stored):
            return f" has {len(given)} items, but {len(stored)} are stored"
        for i, (one, other) in enumerate(zip(given, stored, strict=True)):
            if found := _difference(one, other):
                return f"[{i}]{found}"
    elif given != stored or type(given) is not type(stored):
        return f" is {_shown(given)}, but {_shown(stored)} is stored"
    return None


def _shown(value: object) -> str:
    return "absent" if value is _ABSENT else shown(value)
