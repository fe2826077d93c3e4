"""One iteration and one strategy of an export file, checked: JSON to records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any, Final, NamedTuple, TypeVar

from finlab_nb.records import Iteration, Strategy, iteration_record, strategy_record, text
from finlab_nb.records.days import timestamp_text
from finlab_nb.records.values import listed, shown, whole
from finlab_nb.store.broken_text import Row
from finlab_nb.store.interchange import as_stored, changes
from finlab_nb.store.interchange.versions import OLDEST, Reading, Version

_KINDS: Final[Mapping[str, type]] = {
    "metrics": dict,
    "extra_metrics": dict,
    "parameters": dict,
    "trades": list,
    "equity": list,
    "suggestions": list,
    "tags": list,
    "provenance": dict,
}
_Record = TypeVar("_Record", Strategy, Iteration)

# What a record has where the stored value is carried as it is.
NEUTRAL_STRATEGY: Final[Mapping[str, Any]] = {
    "strategy_id": "none",
    "name": "none",
    "code": "",
    "parameters": {},
    "created_at": "2000-01-01",
    "parent_strategy_id": None,
}
NEUTRAL_ITERATION: Final[Mapping[str, Any]] = {
    "iteration_id": "none",
    "strategy_id": "none",
    "iteration_number": 1,
    "code": "",
    "timestamp": "2000-01-01",
    "note": None,
    "starred": False,
    "archived": False,
    **{name: kind() for name, kind in _KINDS.items()},
    "metrics": dict.fromkeys(OLDEST.rows["metrics"].required),
    "provenance": None,
}


class ImportedStrategy(NamedTuple):
    """A strategy of an export file, checked."""

    record: Strategy
    as_stored: dict[str, Any]  # by field; instead of what the record has


class ImportedIteration(NamedTuple):
    """An iteration of an export file, checked."""

    record: Iteration
    strategy: ImportedStrategy | None
    applied_iteration_ids: Sequence[Sequence[str]]  # by suggestion
    as_stored: dict[str, Any]  # by field; instead of what the record has
    changes: changes.Times

    @property
    def origin(self) -> list[Row]:
        """The row that tells where the iteration comes from; none where that is unknown."""
        told = self.record.provenance
        found: list[Row] = self.as_stored.get("provenance", [] if told is None else [astuple(told)])
        return found


def checked_strategy(path: str, value: object, reading: Reading) -> ImportedStrategy:
    """Return the strategy that JSON describes, or raise a ValueError that begins with the JSON path."""
    given = reading.object(path, "strategy", value)
    marked = as_stored.taken(path, "strategy", given, reading)
    given.update({name: NEUTRAL_STRATEGY[name] for name in marked})
    try:
        record = strategy_of_fields(given)
    except ValueError as error:
        raise ValueError(f"{path}.{error}") from error
    return ImportedStrategy(_with_id_as_stored(record, marked), marked)


def strategy_of_fields(given: Mapping[str, Any]) -> Strategy:
    """Return the record of a strategy's fields, or raise a ValueError that begins with the field."""
    if not isinstance(given["parameters"], dict):  # None would stand for the default
        raise ValueError(f"parameters is {shown(given['parameters'])}; it must be an object")
    return replace(
        strategy_record(given["name"], given["code"], given["parameters"], given["parent_strategy_id"], exact=True),
        strategy_id=text("strategy_id", given["strategy_id"], empty=False),
        created_at=timestamp_text("created_at", given["created_at"]),
    )


def checked_iteration(path: str, value: object, reading: Reading) -> ImportedIteration:
    """Return the iteration that JSON describes, or raise a ValueError that begins with the JSON path.

    With its `strategy` it must have all fields; without, it comes from the original layer, which had fewer.
    """
    is_original = isinstance(value, dict) and "strategy" not in value
    version = reading.original if is_original else reading.version
    given = reading.object(path, "iteration", value, version.iteration)
    marked = as_stored.taken(path, "iteration", given, reading)
    given.update({name: NEUTRAL_ITERATION[name] for name in marked if name in NEUTRAL_ITERATION})
    told = given.pop("changes", None)
    strategy = None
    if not is_original:
        if given["strategy"] is None:
            raise ValueError(f"{path}.strategy is null; it must have a value")
        strategy = checked_strategy(f"{path}.strategy", given.pop("strategy"), reading)
    for name in ("metrics", "provenance"):
        if isinstance(given.get(name), dict):
            given[name] = reading.object(f"{path}.{name}", name, given[name], version.rows[name])
    for name in ("trades", "equity", "suggestions"):
        if isinstance(given.get(name), list):
            given[name] = reading.rows(f"{path}.{name}", name, given[name], version.rows[name])
    record, links = iteration_of_fields(path, given, version)
    record = _with_id_as_stored(record, marked)
    if "suggestions" in marked:
        marked["suggestions"], links = as_stored.without_links(marked["suggestions"])
    if strategy is not None and strategy.record.strategy_id != record.strategy_id:
        raise ValueError(
            f"{path}.strategy.strategy_id is {shown(strategy.record.strategy_id)}; "
            f"it must be the strategy_id of the iteration, {shown(record.strategy_id)}"
        )
    times = changes.checked(f"{path}.changes", told, reading, len(links))
    return ImportedIteration(record, strategy, links, marked, times)


def iteration_of_fields(
    path: str, fields: Mapping[str, Any], version: Version
) -> tuple[Iteration, Sequence[Sequence[str]]]:
    """Return the record of an iteration's fields, which are known ones, and which iterations applied its suggestions.

    Raises
    ------
    ValueError
        If anything is wrong; the message begins with the JSON path.
    """
    given = _without_nulls(path, fields, version)
    given["extra_metrics"] = _numbers_of(path, given.get("extra_metrics", {}))
    changed_at = given.pop("changed_at", None)
    try:
        record = iteration_record(**given, exact=True)
        if changed_at is not None:
            record = replace(record, changed_at=timestamp_text("changed_at", changed_at))
        whole("iteration_number", record.iteration_number, 1)
        return record, [_applied(f"suggestions[{i}].", one) for i, one in enumerate(given["suggestions"])]
    except ValueError as error:
        raise ValueError(f"{path}.{error}") from error


def _with_id_as_stored(record: _Record, marked: dict[str, Any]) -> _Record:
    """Give a record the strategy_id that is carried as it is stored: the id tells what belongs together."""
    if "strategy_id" not in marked:
        return record
    return replace(record, strategy_id=marked.pop("strategy_id"))


def _without_nulls(path: str, given: Mapping[str, Any], version: Version) -> dict[str, Any]:
    """Leave out what is null and may be, which has its default then; refuse what is no object or list and must be."""
    found = {}
    for name, item in given.items():
        if item is None:
            if name in version.iteration.required and name not in version.iteration.nullable:
                raise ValueError(f"{path}.{name} is null; it must have a value")
        elif name in _KINDS and not isinstance(item, _KINDS[name]):
            wanted = "an object" if _KINDS[name] is dict else "a list"
            raise ValueError(f"{path}.{name} is {shown(item)}; it must be {wanted}")
        else:
            found[name] = item
    return found


def _numbers_of(path: str, metrics: Mapping[str, object]) -> dict[str, object]:
    """Return extra metrics with infinity as a number; written as a number of many digits it is a mistake."""
    for name, value in metrics.items():
        if isinstance(value, float) and math.isinf(value):
            raise ValueError(
                f"{path}.extra_metrics.{shown(name)} does not fit a 64-bit float; "
                'infinity is the text "Infinity" or "-Infinity"'
            )
    given = as_stored.INFINITIES
    return {name: given.get(value, value) if isinstance(value, str) else value for name, value in metrics.items()}


def _applied(path: str, suggestion: Mapping[str, Any]) -> Sequence[str]:
    """Return all iterations that applied a suggestion, as one or both of its fields name them."""
    field, first, several = f"{path}applied_iteration_id", *map(suggestion.get, as_stored.LINKS)
    if first is not None and suggestion.get("status") != "applied":
        raise ValueError(f"{field} is {shown(first)}; it goes with the status 'applied' only")
    given = {} if first is None else {field: first}
    given |= {f"{field}s[{i}]": one for i, one in enumerate(listed(f"{field}s", [] if several is None else several))}
    return tuple(dict.fromkeys(text(where, one, empty=False) for where, one in given.items()))
