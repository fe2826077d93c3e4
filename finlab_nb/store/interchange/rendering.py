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
from finlab_nb.records import Iteration, Strategy
from finlab_nb.records.values import shown
from finlab_nb.store import loading, saving
from finlab_nb.store.interchange import as_stored
from finlab_nb.store.interchange.codec import (
    NEUTRAL_ITERATION,
    NEUTRAL_STRATEGY,
    iteration_of_fields,
    strategy_of_fields,
)
from finlab_nb.store.interchange.versions import NEWEST, OLDEST, Reading, Version

_ROW: Final = "SELECT rowid FROM {table} WHERE {key} = ?"
_LEVELS_AT_MOST: Final = 200  # how many more Python would take depends on its version and on who calls
_STRINGS_AND_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[{\]}]', re.DOTALL)

_Fields: TypeAlias = dict[str, Any]
_Made: TypeAlias = tuple[Any, _Fields]
_Build: TypeAlias = Callable[[_Fields, Version], _Made]


class Exported(NamedTuple):
    """A stored strategy, or a stored iteration without its strategy."""

    value: dict[str, Any]  # JSON
    version: Version  # the oldest one that has room for it
    record: Any  # the Strategy or Iteration that the rules make of it
    stored: dict[str, Any]  # by field
    refused: frozenset[str]  # the fields that the rules refuse, where the record has something neutral


def exported_strategy(connection: sqlite3.Connection, strategy_id: str, *, leads_back: bool = False) -> Exported:
    """Return a stored strategy in the form of the export; `leads_back` if its parents lead back to it."""
    row = loading.strategy_row(connection, strategy_id)
    value = loading.strategy_of(row, warn=False)
    for name in ("strategy_id", "parent_strategy_id"):
        _refuse_if_no_id(connection, "strategies", "strategy_id", strategy_id, name, value[name])
    stored = dict(zip(loading.STRATEGY_FIELDS, row, strict=True))
    return _exported(
        "strategy", value, stored, _strategy, NEUTRAL_STRATEGY, {"parent_strategy_id"} if leads_back else ()
    )


def exported_iteration(connection: sqlite3.Connection, iteration_id: str) -> Exported:
    """Return a stored iteration in the form of the export."""
    rows = loading.iteration_rows(connection, iteration_id)
    value = loading.iteration_of(rows, warn=False)
    _refuse_if_no_id(connection, "iterations", "iteration_id", iteration_id, "strategy_id", value["strategy_id"])
    for name, number in value["extra_metrics"].items():
        if isinstance(number, float) and math.isinf(number):
            value["extra_metrics"][name] = "Infinity" if number > 0 else "-Infinity"
    stored = dict(zip(loading.ITERATION_FIELDS, rows.pop("iterations")[0], strict=True)) | rows
    stored["suggestions"] = [row[1:] for row in rows["suggestions"]]  # without the row number
    return _exported("iteration", value, stored, _iteration, NEUTRAL_ITERATION, ())


def _refuse_if_no_id(
    connection: sqlite3.Connection, table: str, key: str, row_id: str, name: str, value: object
) -> None:
    if value is not None and not isinstance(value, str):
        (row,) = connection.execute(_ROW.format(table=table, key=key), (row_id,)).fetchone()
        raise StorageError(
            f"row {row} of {table} cannot be exported: its {name} is {shown(value)}, and an id must be text in UTF-8"
        )


def _exported(
    kind: str, value: _Fields, stored: _Fields, build: _Build, neutral: Mapping[str, Any], also: Collection[str]
) -> Exported:
    """Return what is told of something stored, by the oldest version that has room for it; `also` are marked anyway."""
    oldest, told = (_told(kind, value, version) for version in (OLDEST, NEWEST))
    if not also:
        # Equal numbers are of one type too: a column for fractions holds no whole numbers, nor the other way round.
        for version, fields in ((OLDEST, oldest), (NEWEST, told)):
            made = None if version is NEWEST and told == oldest else _made(build, fields, version)
            if made is not None and made[1] == stored:
                return Exported(fields, version, made[0], stored, frozenset())
    names = [name for name in told if name != "iteration_id"]
    alone = {name: _made(build, {**neutral, name: told[name]}, NEWEST) for name in names}
    refused = frozenset(name for name, made in alone.items() if made is None)
    marked = [name for name, made in alone.items() if name in also or made is None or made[1][name] != stored[name]]
    made = _made(build, told | {name: neutral.get(name) for name in refused}, NEWEST)
    if made is None:  # what is refused only together
        marked, refused = names, frozenset(names)
        made = build(told | {name: neutral.get(name) for name in names}, NEWEST)
    record = replace(made[0], strategy_id=stored["strategy_id"])  # it has its place in the record, even if refused
    told |= dict.fromkeys(marked) | {"as_stored": {name: as_stored.written(name, stored[name]) for name in marked}}
    return Exported(told, NEWEST, record, stored, refused - {"strategy_id"})


def _told(kind: str, value: _Fields, version: Version) -> _Fields:
    """Return those fields that a version has room for."""
    known = {name: item for name, item in value.items() if name in version.fields(kind).names}
    for table, fields in version.rows.items():
        rows = known.get(table)
        if rows and isinstance(rows, list) and isinstance(rows[0], dict):
            allowed = {*fields.names, *fields.passed_over}
            if not rows[0].keys() <= allowed:
                known[table] = [{name: cell for name, cell in row.items() if name in allowed} for row in rows]
    return known


def _made(build: _Build, told: _Fields, version: Version) -> _Made | None:
    """Return the record that an import would make of the fields, and of the record what is stored, if it takes them."""
    try:
        return build(told, version)
    except ValueError:
        return None


def _strategy(told: _Fields, _version: Version) -> tuple[Strategy, _Fields]:
    record = strategy_of_fields(told)
    _refuse_if_nested_too_deeply(record.parameters)
    return record, {name: getattr(record, name) for name in loading.STRATEGY_FIELDS}


def _iteration(told: _Fields, version: Version) -> tuple[Iteration, _Fields]:
    record, links = iteration_of_fields("", told, version, Reading(version))
    for text in (record.parameters, *(one.learning_references for one in record.suggestions)):
        _refuse_if_nested_too_deeply(text)
    made = {name: getattr(record, name) for name in loading.ITERATION_FIELDS}
    made |= {table: list(rows) for table, rows in saving.rows_of(record)}
    made |= {"starred": int(record.starred), "archived": int(record.archived)}
    made["suggestions"] = [(*row[:-1], link) for row, link in zip(made["suggestions"], links, strict=True)]
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
