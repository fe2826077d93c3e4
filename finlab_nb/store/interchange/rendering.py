"""One stored iteration and one stored strategy as an export holds them, by the import's own rules.

The record that an import would build of what is written is built here, and compared with what is stored. Where it
cannot be built, or differs in any value, the fields concerned are carried as they are stored.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

from finlab_nb.errors import StorageError
from finlab_nb.records.tables import ITERATIONS, STRATEGIES, TRADE_FIELDS, Table
from finlab_nb.records.values import shown
from finlab_nb.store import loading, saving
from finlab_nb.store.interchange import as_stored, changes
from finlab_nb.store.interchange.codec import (
    NEUTRAL_ITERATION,
    NEUTRAL_STRATEGY,
    iteration_of_fields,
    strategy_of_fields,
)
from finlab_nb.store.interchange.versions import NEWEST

_ROW: Final = "SELECT rowid FROM {} WHERE {} = ?"
FROM_CURVE: Final = "periods_per_year"  # which follows from the curve unless it is told
_EXTRA: Final = TRADE_FIELDS.index("extra")
_LEVELS_AT_MOST: Final = 200  # how many more Python would take depends on its version and on who calls
_STRINGS_AND_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[{\]}]', re.DOTALL)

_Fields: TypeAlias = dict[str, Any]
_Made: TypeAlias = tuple[Any, _Fields]
_Build: TypeAlias = Callable[[_Fields], _Made]


class Exported(NamedTuple):
    """A stored strategy, or a stored iteration without its strategy."""

    value: dict[str, Any]  # JSON
    record: Any  # the Strategy or Iteration that the rules make of it
    stored: dict[str, Any]  # by field
    refused: frozenset[str]  # the fields that the rules refuse, where the record has something neutral


def exported_strategy(connection: sqlite3.Connection, strategy_id: str, *, leads_back: bool = False) -> Exported:
    """Return a stored strategy in the form of the export; `leads_back` if its parents lead back to it."""
    row = loading.strategy_row(connection, strategy_id)
    value = loading.strategy_of(row, warn=False)
    for name in as_stored.IDS:
        _refuse_if_no_id(connection, STRATEGIES, strategy_id, name, value[name])
    stored = dict(zip(loading.STRATEGY_FIELDS, row, strict=True))
    return _exported(
        "strategy", value, stored, _strategy, NEUTRAL_STRATEGY, {"parent_strategy_id"} if leads_back else ()
    )


def exported_iteration(connection: sqlite3.Connection, iteration_id: str) -> Exported:
    """Return a stored iteration in the form of the export."""
    rows = loading.iteration_rows(connection, iteration_id)
    trades = rows["trades"]
    value = loading.iteration_of(rows | {"trades": []}, warn=False)
    value["trades"] = loading.trades_of(iteration_id, *as_stored.told_columns("trades", trades), warn=False)
    if value["provenance"] is not None:
        value["provenance"] = {name: item for name, item in value["provenance"].items() if item is not None}
    _refuse_if_no_id(connection, ITERATIONS, iteration_id, "strategy_id", value["strategy_id"])
    for name, number in value["extra_metrics"].items():
        if isinstance(number, float) and math.isinf(number):
            value["extra_metrics"][name] = "Infinity" if number > 0 else "-Infinity"
    stored = dict(zip(loading.ITERATION_FIELDS, rows.pop("iterations")[0], strict=True)) | rows
    stored["suggestions"] = [(*row, *as_stored.links(applied)) for _, *row, applied in rows["suggestions"]]
    _tell_links(value["suggestions"])
    exported = _exported("iteration", value, stored, _iteration, NEUTRAL_ITERATION, ())
    places = {str(row[0]): str(place) for place, row in enumerate(rows["suggestions"])}
    times = changes.with_suggestions(changes.known(connection, iteration_id), places)
    if times:
        exported.value["changes"] = changes.written(times)
    return exported


def _tell_links(suggestions: list[_Fields]) -> None:
    """Name the iterations that applied each suggestion in one field where that does, else in two."""
    for one in suggestions:
        if one["status"] != "applied":
            one["applied_iteration_id"] = None
    if all(len(one["applied_iteration_ids"]) == (one["applied_iteration_id"] is not None) for one in suggestions):
        for one in suggestions:
            del one["applied_iteration_ids"]


def _refuse_if_no_id(connection: sqlite3.Connection, table: Table, key: str, name: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        (row,) = connection.execute(_ROW.format(table.name, table.names[0]), (key,)).fetchone()
        raise StorageError(
            f"row {row} of {table.name} cannot be exported: its {name} is {shown(value)}, "
            "and an id must be text in UTF-8"
        )


def _exported(
    kind: str, value: _Fields, stored: _Fields, build: _Build, neutral: Mapping[str, Any], also: Collection[str]
) -> Exported:
    """Return what is told of something stored: no optional field that is unknown or follows from others.

    `also` are carried as they are stored, whatever they are.
    """
    optional = NEWEST.fields(kind).optional
    known = {name: item for name, item in value.items() if item is not None or name not in optional}
    told = {name: item for name, item in known.items() if name != FROM_CURVE}
    made = _made(build, told)
    if made is not None and FROM_CURVE in known and made[1][FROM_CURVE] != stored[FROM_CURVE]:
        told, made = known, _made(build, known)
    # Equal numbers are of one type too: a column for fractions holds no whole numbers, nor the other way round.
    if made is not None and made[1] == stored and not also:
        return Exported(told, made[0], stored, frozenset())
    names = [name for name in value if name != "iteration_id"]
    refused: frozenset[str] = frozenset()
    if made is None:
        alone = {name: _made(build, {**neutral, name: told[name]}) for name in names if name in told}
        refused = frozenset(name for name, one in alone.items() if one is None)
        made = _made(build, told | {name: neutral.get(name) for name in refused})
    if made is None:  # what is refused only together
        refused = frozenset(names)
        made = build(told | {name: neutral.get(name) for name in names})
    record = replace(made[0], strategy_id=stored["strategy_id"])  # it has its place in the record, even if refused
    marked = [name for name in names if name in also or name in refused or made[1][name] != stored[name]]
    rest = build(told | {name: neutral.get(name) for name in marked})[1]  # in which nothing follows from these
    marked += [name for name in names if name not in marked and rest[name] != stored[name]]
    told |= dict.fromkeys(marked) | {"as_stored": {name: as_stored.written(name, stored[name]) for name in marked}}
    return Exported(told, record, stored, refused - {"strategy_id"})


def _made(build: _Build, told: _Fields) -> _Made | None:
    """Return the record that an import would make of the fields, and of the record what is stored, if it takes them."""
    try:
        return build(told)
    except ValueError:
        return None


def _strategy(told: _Fields) -> _Made:
    record = strategy_of_fields(told)
    _refuse_if_nested_too_deeply(record.parameters)
    return record, {name: getattr(record, name) for name in loading.STRATEGY_FIELDS}


def _iteration(told: _Fields) -> _Made:
    record, applied = iteration_of_fields("", told, NEWEST)
    references, extras = [one.learning_references for one in record.suggestions], [one[_EXTRA] for one in record.trades]
    packages = None if record.provenance is None else record.provenance.packages
    for text in (record.parameters, packages, *references, *extras):
        _refuse_if_nested_too_deeply(text)
    made = {name: getattr(record, name) for name in loading.ITERATION_FIELDS}
    made |= {table: list(rows) for table, rows in saving.rows_of(record) if table in NEWEST.rows}
    made |= {"starred": int(record.starred), "archived": int(record.archived)}
    made["suggestions"] = [(*row, *as_stored.links(ids)) for row, ids in zip(made["suggestions"], applied, strict=True)]
    return record, made


def _refuse_if_nested_too_deeply(text: str | None) -> None:
    """Refuse JSON that an import might not take; most has too few brackets to be looked at."""
    if text is None or text.count("[") + text.count("{") <= _LEVELS_AT_MOST:
        return
    depth = 0
    for mark in _STRINGS_AND_BRACKETS.findall(text):
        depth += (mark in "[{") - (mark in "]}")
        if depth > _LEVELS_AT_MOST:
            raise ValueError(f"JSON is nested more than {_LEVELS_AT_MOST} levels deep")
