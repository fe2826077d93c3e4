"""One iteration and one strategy in the form of the export, in both directions: rows to JSON, JSON to records."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from finlab_nb.records import METRICS, TRADE_FIELDS, Iteration, Strategy, iteration_record, strategy_record, text
from finlab_nb.records.values import shown, timestamp_text, whole
from finlab_nb.store import loading
from finlab_nb.store.loading import STRATEGY_FIELDS, SUGGESTION_FIELDS

_ORIGINAL_FIELDS: Final = (
    "iteration_id",
    "strategy_id",
    "iteration_number",
    "code",
    "timestamp",
    "metrics",
    "trades",
    "suggestions",
)
_ADDED_FIELDS: Final = ("parameters", "extra_metrics", "equity", "tags", "note", "starred", "archived", "strategy")
_SUGGESTION_FIELDS: Final = SUGGESTION_FIELDS[1:]  # an id is given anew
_ROW_FIELDS: Final = {"trades": TRADE_FIELDS, "equity": ("date", "equity"), "suggestions": _SUGGESTION_FIELDS}
_ORIGINAL_ROW_FIELDS: Final = {"trades": TRADE_FIELDS, "suggestions": ("priority", "description")}
_KINDS: Final[Mapping[str, type]] = {
    "metrics": dict,
    "extra_metrics": dict,
    "parameters": dict,
    "trades": list,
    "equity": list,
    "suggestions": list,
    "tags": list,
}
_INFINITIES: Final = {"Infinity": math.inf, "-Infinity": -math.inf}


class ImportedIteration(NamedTuple):
    """An iteration of an export file, checked."""

    record: Iteration
    strategy: Strategy | None
    applied_iteration_ids: tuple[str | None, ...]  # by suggestion


def exported_iteration(connection: sqlite3.Connection, iteration_id: str) -> dict[str, Any]:
    """Return a stored iteration as the export holds it: as `load_iteration` does, in JSON, with its strategy."""
    iteration = loading.iteration(connection, iteration_id)
    for name, value in iteration["extra_metrics"].items():
        if value is not None and math.isinf(value):
            iteration["extra_metrics"][name] = "Infinity" if value > 0 else "-Infinity"
    iteration["strategy"] = loading.strategy(connection, iteration["strategy_id"])
    return iteration


def checked_strategy(path: str, value: object) -> Strategy:
    """Return the strategy that JSON describes, or raise a ValueError that begins with the JSON path."""
    given = _fields(path, value, STRATEGY_FIELDS, STRATEGY_FIELDS)
    if not isinstance(given["parameters"], dict):  # None would stand for the default
        raise ValueError(f"{path}.parameters is {shown(given['parameters'])}; it must be an object")
    try:
        return replace(
            strategy_record(given["name"], given["code"], given["parameters"], given["parent_strategy_id"]),
            strategy_id=text("strategy_id", given["strategy_id"], empty=False),
            created_at=timestamp_text("created_at", given["created_at"]),
        )
    except ValueError as error:
        raise ValueError(f"{path}.{error}") from error


def checked_iteration(path: str, value: object) -> ImportedIteration:
    """Return the iteration that JSON describes, or raise a ValueError that begins with the JSON path.

    With its `strategy` it must have all fields; without, it comes from the original layer, which had fewer.
    """
    original = isinstance(value, dict) and "strategy" not in value
    allowed = (*_ORIGINAL_FIELDS, *_ADDED_FIELDS)
    given = _fields(path, value, _ORIGINAL_FIELDS if original else allowed, allowed)
    optional = {"metrics", *_ADDED_FIELDS} if original else {"note"}
    for name, item in list(given.items()):
        if item is None and name != "note":
            if name not in optional:
                raise ValueError(f"{path}.{name} is null; it must have a value")
            del given[name]
        elif name in _KINDS and not isinstance(item, _KINDS[name]):
            wanted = "an object" if _KINDS[name] is dict else "a list"
            raise ValueError(f"{path}.{name} is {shown(item)}; it must be {wanted}")
    _require_row_fields(path, given, original=original)
    strategy = None if original else checked_strategy(f"{path}.strategy", given.pop("strategy"))
    given["extra_metrics"] = _numbers_of(path, given.get("extra_metrics", {}))
    try:
        record = iteration_record(**given)
        whole("iteration_number", record.iteration_number, 1)
        applied = tuple(_applied(i, one) for i, one in enumerate(given["suggestions"]))
    except ValueError as error:
        raise ValueError(f"{path}.{error}") from error
    if strategy is not None and strategy.strategy_id != record.strategy_id:
        raise ValueError(
            f"{path}.strategy.strategy_id is {shown(strategy.strategy_id)}; "
            f"it must be the strategy_id of the iteration, {shown(record.strategy_id)}"
        )
    return ImportedIteration(record, strategy, applied)


def _fields(path: str, value: object, required: Collection[str], allowed: Collection[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{path} is {shown(value)}; it must be an object")
    missing = [name for name in required if name not in value]
    if missing:
        raise ValueError(f"{path}.{missing[0]} is missing")
    unknown = [name for name in value if name not in allowed]
    if unknown:
        raise ValueError(f"{path} has the unknown field {shown(unknown[0])}; allowed are {', '.join(allowed)}")
    return dict(value)


def _require_row_fields(path: str, given: Mapping[str, Any], *, original: bool) -> None:
    if not original and not given["metrics"].keys() >= set(METRICS):
        missing = next(name for name in METRICS if name not in given["metrics"])
        raise ValueError(f"{path}.metrics.{missing} is missing; an unknown figure is null")
    for name, fields in (_ORIGINAL_ROW_FIELDS if original else _ROW_FIELDS).items():
        wanted = frozenset(fields)
        for i, row in enumerate(given[name]):
            if isinstance(row, dict) and not row.keys() >= wanted:
                missing = next(field for field in fields if field not in row)
                raise ValueError(f"{path}.{name}[{i}].{missing} is missing; an unknown value is null")


def _numbers_of(path: str, metrics: Mapping[str, object]) -> dict[str, object]:
    """Return extra metrics with infinity as a number; written as a number of many digits it is a mistake."""
    for name, value in metrics.items():
        if isinstance(value, float) and math.isinf(value):
            raise ValueError(
                f"{path}.extra_metrics.{shown(name)} does not fit a 64-bit float; "
                'infinity is the text "Infinity" or "-Infinity"'
            )
    return {name: _INFINITIES.get(value, value) if isinstance(value, str) else value for name, value in metrics.items()}


def _applied(position: int, suggestion: Mapping[str, Any]) -> str | None:
    given = suggestion.get("applied_iteration_id")
    if given is None:
        return None
    field = f"suggestions[{position}].applied_iteration_id"
    if suggestion.get("status") != "applied":
        raise ValueError(f"{field} is {shown(given)}; it goes with the status 'applied' only")
    return text(field, given, empty=False)
