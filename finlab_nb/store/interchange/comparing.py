"""Whether an iteration or a strategy of an export file is the one that is stored under its id.

Compared is what an iteration was and what it gave. Not compared is what a researcher writes on it afterwards: note,
stars, archive, tags, and what became of the suggestions.
"""

from __future__ import annotations

import json
from typing import Any, Final

from finlab_nb.records import METRICS, PRIORITIES, TRADE_FIELDS, Iteration, Strategy
from finlab_nb.records.values import shown

_ITERATION_FIELDS: Final = ("strategy_id", "iteration_number", "code", "timestamp")
_STRATEGY_FIELDS: Final = ("name", "code", "created_at", "parent_strategy_id")
_SUGGESTION_FIELDS: Final = ("priority", "description", "specific_changes", "expected_impact", "rationale")
_ABSENT: Final = object()


def refuse_if_iteration_differs(path: str, given: Iteration, stored: Iteration) -> None:
    """Raise a ValueError that names the first field in which the iterations differ."""
    wanted, found = _compared(given), _compared(stored)
    if given.parameters is None:  # the default of the strategy, whatever it is
        del wanted["parameters"], found["parameters"]
    _refuse_difference(path, wanted, found)


def refuse_if_strategy_differs(path: str, given: Strategy, stored: Strategy) -> None:
    """Raise a ValueError that names the first field in which the strategies differ."""
    _refuse_difference(path, _strategy(given), _strategy(stored))


def _strategy(record: Strategy) -> dict[str, Any]:
    plain = {name: getattr(record, name) for name in _STRATEGY_FIELDS}
    return plain | {"parameters": json.loads(record.parameters)}


def _compared(record: Iteration) -> dict[str, Any]:
    """Return what is compared of an iteration, in the order in which `load_iteration` gives it."""
    trades = sorted(record.trades, key=lambda row: row[1])
    suggestions = sorted(record.suggestions, key=lambda one: PRIORITIES.index(one.priority))
    return {name: getattr(record, name) for name in _ITERATION_FIELDS} | {
        "parameters": json.loads(record.parameters or "{}"),
        "metrics": dict(zip(METRICS, record.metrics, strict=True)),
        "extra_metrics": dict(record.extra_metrics),
        "trades": [dict(zip(TRADE_FIELDS, row, strict=True)) for row in trades],
        "equity": [{"date": date, "equity": value} for date, value in record.equity],
        "suggestions": [
            {name: getattr(one, name) for name in _SUGGESTION_FIELDS}
            | {"learning_references": json.loads(one.learning_references or "null")}
            for one in suggestions
        ],
    }


def _refuse_difference(path: str, given: Any, stored: Any) -> None:
    if given == stored and type(given) is type(stored) and not isinstance(given, (dict, list)):
        return
    if isinstance(given, dict) and isinstance(stored, dict):
        for name in dict.fromkeys((*given, *stored)):
            _refuse_difference(f"{path}.{name}", given.get(name, _ABSENT), stored.get(name, _ABSENT))
    elif isinstance(given, list) and isinstance(stored, list):
        if len(given) != len(stored):
            raise ValueError(f"{path} has {len(given)} items, but {len(stored)} are stored; nothing was imported")
        for i, (one, other) in enumerate(zip(given, stored, strict=True)):
            _refuse_difference(f"{path}[{i}]", one, other)
    else:
        raise ValueError(f"{path} is {_shown(given)}, but {_shown(stored)} is stored; nothing was imported")


def _shown(value: object) -> str:
    return "absent" if value is _ABSENT else shown(value)
