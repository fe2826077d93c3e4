"""Every field of a save that takes a single value: how it is saved, what the file then holds, and by which rule."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import finlab_nb as fl
from conversions.meanings import (
    NULL,
    REFUSED,
    Like,
    Meaning,
    Outcome,
    Rule,
    Stored,
    extra_rule,
    flag_rule,
    id_rule,
    key_rule,
    metric_name_rule,
    number_rule,
    parameter_rule,
    text_rule,
    timestamp_rule,
    whole_rule,
    word_rule,
)

STRATEGY: Final = "the strategy"  # its id, known beforehand
SUGGESTIONS: Final = 10  # how many stand in the file beforehand; their ids are 1 to 10
ABSENT: Final = object()  # what is read where there is no row

Save: TypeAlias = Callable[[fl.StorageManager, Any], Any]
Read: TypeAlias = Callable[[sqlite3.Connection, Any], Any]


@dataclass(frozen=True)
class Place:
    """A field that takes a single value.

    Attributes
    ----------
    name
        What it is called in reports.
    field
        What a refusal begins with.
    rule
        What becomes of each meaning.
    save
        Saves a value there, and returns the id of what was saved.
    read
        Returns what the file holds there, given that id.
    text
        The text that a holder of text must hold here, if not any.
    hashable
        Whether the value must be hashable.
    at_once
        Whether the next save changes what this one wrote.
    """

    name: str
    field: str
    rule: Rule
    save: Save
    read: Read
    text: str | None = None
    hashable: bool = False
    at_once: bool = False


def fill(path: Path) -> None:
    """Make a database with the strategy and the suggestions that the places refer to."""
    with fl.StorageManager(path) as store:
        store.save_strategy_version("before", "x")
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE strategies SET strategy_id = ?", (STRATEGY,))
        suggestions = [{"priority": "low", "description": "x"}] * SUGGESTIONS
        store.save_iteration(STRATEGY, code="its code", suggestions=suggestions)


def _column(table: str, name: str, key: str = "iteration_id", row: int = 0) -> Read:
    query = f"SELECT {name} FROM {table} WHERE {key} = ? ORDER BY rowid LIMIT 1 OFFSET {row}"

    def read(connection: sqlite3.Connection, found: Any) -> Any:
        value = connection.execute(query, (found,)).fetchone()
        return ABSENT if value is None else value[0]

    return read


def _json(read: Read, pick: Callable[[Any], Any]) -> Read:
    def whole(digits: str) -> int | str:  # more digits than Python reads are compared as text
        return int(digits) if len(digits) < 4000 else digits

    return lambda connection, found: pick(json.loads(read(connection, found), parse_int=whole))


def _iteration(**arguments: Callable[[Any], Any]) -> Save:
    """Return how an iteration is saved with arguments made from the value."""
    return lambda store, value: store.save_iteration(
        **{"strategy_id": STRATEGY, **{name: make(value) for name, make in arguments.items()}}
    )


def _annotated(**arguments: Callable[[Any], Any]) -> Save:
    def save(store: fl.StorageManager, value: Any) -> str:
        iteration: str = store.save_iteration(STRATEGY, note="before")
        store.annotate(iteration, **{name: make(value) for name, make in arguments.items()})
        return iteration

    return save


def _numbered(store: fl.StorageManager, value: Any) -> str:
    return store.save_iteration(store.save_strategy_version("numbered", "x"), value)


def _itself(value: Any) -> Any:
    return value


def _second_suggestion(field: str) -> Callable[[Any], Any]:
    plain = {"priority": "low", "description": "x"}
    return lambda value: [plain, {**plain, field: value}, plain]


def _suggestion(field: str, rule: Rule, text: str | None = None) -> Place:
    save, read = _iteration(suggestions=_second_suggestion(field)), _column("suggestions", field, row=1)
    return Place(f"suggestion's {field}", f"suggestions[1].{field}", rule, save, read, text)


def _metric(name: str, rule: Rule) -> Place:
    save = _iteration(metrics=lambda value: {name: value})
    return Place(f"metric {name}", f"metrics.{name}", rule, save, _column("metrics", name))


def _note_of_annotation(meaning: Meaning) -> Outcome:
    """Empty text removes a note; no value leaves it as it is."""
    outcome = text_rule(_default("before"), empty=True)(meaning)
    return NULL if outcome == Stored("") else outcome


def _default(value: Any) -> Outcome:
    """Where no value asks for a default, a missing value of a type other than None may do so too, or be refused."""
    return (Stored(value), REFUSED)


_OPTIONAL_TEXT: Final = text_rule(NULL, empty=True)

PLACES: Final = [
    # Strategies.
    Place(
        "strategy's name",
        "name",
        text_rule(),
        lambda store, value: store.save_strategy_version(value, "x"),
        _column("strategies", "name", "strategy_id"),
    ),
    Place(
        "strategy's code",
        "code",
        text_rule(empty=True),
        lambda store, value: store.save_strategy_version("a", value),
        _column("strategies", "code", "strategy_id"),
    ),
    Place(
        "strategy's parent",
        "parent_strategy_id",
        id_rule(STRATEGY, NULL),
        lambda store, value: store.save_strategy_version("a", "x", {}, value),
        _column("strategies", "parent_strategy_id", "strategy_id"),
        STRATEGY,
    ),
    Place(
        "strategy's parameter",
        "parameters",
        parameter_rule,
        lambda store, value: store.save_strategy_version("a", "x", {"odd": value}),
        _json(_column("strategies", "parameters", "strategy_id"), lambda found: found["odd"]),
    ),
    # Iterations.
    Place(
        "iteration's strategy",
        "strategy_id",
        id_rule(STRATEGY),
        _iteration(strategy_id=_itself),
        _column("iterations", "strategy_id"),
        STRATEGY,
    ),
    Place(
        "iteration's number",
        "iteration_number",
        whole_rule(1, _default(1)),
        _numbered,
        _column("iterations", "iteration_number"),
    ),
    Place(
        "iteration's code",
        "code",
        text_rule(_default("x"), empty=True),
        _iteration(code=_itself),
        _column("iterations", "code"),
    ),
    Place("iteration's note", "note", _OPTIONAL_TEXT, _iteration(note=_itself), _column("iterations", "note")),
    Place(
        "iteration's timestamp",
        "timestamp",
        timestamp_rule(_default(Like(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"))),
        _iteration(timestamp=_itself),
        _column("iterations", "timestamp"),
    ),
    Place(
        "iteration's tag",
        "tags[1]",
        text_rule(),
        _iteration(tags=lambda value: ["a", value]),
        _column("tags", "tag", row=1),
    ),
    Place(
        "iteration's parameter",
        "parameters",
        parameter_rule,
        _iteration(parameters=lambda value: {"odd": value}),
        _json(_column("iterations", "parameters"), lambda found: found["odd"]),
    ),
    Place(
        "nested parameter",
        "parameters",
        parameter_rule,
        _iteration(parameters=lambda value: {"a": [{"b": (1, value)}]}),
        _json(_column("iterations", "parameters"), lambda found: found["a"][0]["b"][1]),
    ),
    Place(
        "key of parameters",
        "parameters",
        key_rule,
        _iteration(parameters=lambda value: {value: 7, "last": 8}),
        _json(_column("iterations", "parameters"), lambda found: next(iter(found))),
        hashable=True,
    ),
    Place(
        "applied suggestion",
        "applies[1]",
        whole_rule(1, known=SUGGESTIONS),
        _iteration(applies=lambda value: [9, value]),
        _column("applications", "suggestion_id", "suggestion_id <> 9 AND iteration_id"),
        at_once=True,
    ),
    # Annotations.
    Place("annotated note", "note", _note_of_annotation, _annotated(note=_itself), _column("iterations", "note")),
    Place(
        "annotated star",
        "starred",
        flag_rule(_default(0)),
        _annotated(starred=_itself),
        _column("iterations", "starred"),
    ),
    Place(
        "annotated archive",
        "archived",
        flag_rule(_default(0)),
        _annotated(archived=_itself),
        _column("iterations", "archived"),
    ),
    Place(
        "added tag",
        "add_tags[1]",
        text_rule(),
        _annotated(add_tags=lambda value: ["a", value]),
        _column("tags", "tag", row=1),
    ),
    # Metrics.
    _metric("annualized_return", number_rule(NULL)),
    _metric("sharpe_ratio", number_rule(NULL)),
    _metric("max_drawdown", number_rule(NULL, most=0)),
    _metric("win_rate", number_rule(NULL, least=0, most=1)),
    _metric("total_trades", whole_rule(0, NULL)),
    Place(
        "extra metric",
        "extra_metrics",
        extra_rule,
        _iteration(extra_metrics=lambda value: {"odd": value}),
        _column("extra_metrics", "value"),
    ),
    Place(
        "extra metric in metrics",
        "metrics",
        extra_rule,
        _iteration(metrics=lambda value: {"sharpe_ratio": 1.0, "odd": value}),
        _column("extra_metrics", "value"),
    ),
    Place(
        "name of an extra metric",
        "extra_metrics",
        metric_name_rule,
        _iteration(extra_metrics=lambda value: {value: 1.5}),
        _column("extra_metrics", "name"),
        hashable=True,
    ),
    # Suggestions.
    _suggestion("priority", word_rule("high", "medium", "low"), "medium"),
    _suggestion("description", text_rule()),
    _suggestion("specific_changes", _OPTIONAL_TEXT),
    _suggestion("expected_impact", _OPTIONAL_TEXT),
    _suggestion("rationale", _OPTIONAL_TEXT),
    _suggestion("status", word_rule("open", "applied", "rejected", missing=_default("open")), "applied"),
    Place(
        "suggestion's reference",
        "suggestions",
        parameter_rule,
        _iteration(
            suggestions=lambda value: [{"priority": "low", "description": "x", "learning_references": ["a", value]}]
        ),
        _json(_column("suggestions", "learning_references"), lambda found: found[1]),
    ),
]
