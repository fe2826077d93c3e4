"""Saving pairs of a value and a place, and telling which did not become what they should."""

from __future__ import annotations

import contextlib
import math
import re
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import finlab_nb as fl
from conversions.meanings import (
    Dropped,
    Exact,
    Meaning,
    NotFound,
    Outcome,
    Real,
    Refused,
    Stored,
    Text,
    Truth,
    Whole,
    same,
)
from conversions.places import ABSENT, Read, Save

MOST_SHOWN: Final = 40


@dataclass(frozen=True)
class Pair:
    """One value, or one column of values, and one place.

    Attributes
    ----------
    name
        What it is called in reports.
    make
        Makes the value, or the values of the column.
    build
        Puts it into what is saved: itself, or a table with the column.
    meanings
        What each value is.
    outcomes
        What must become of each.
    save, read
        As of a place; `read` returns as many values as there are outcomes.
    fields
        What a refusal of each begins with.
    """

    name: str
    make: Callable[[], Any]
    build: Callable[[Any], Any]
    meanings: tuple[Meaning, ...]
    outcomes: tuple[Outcome, ...]
    save: Save
    read: Read
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Saved:
    """What a save did: the id it returned, or the error it raised, and its warnings."""

    found: Any
    error: BaseException | None
    warned: list[warnings.WarningMessage]


def faults(store: fl.StorageManager, pairs: Iterable[Pair], *, at_once: bool = False) -> list[str]:
    """Save all pairs, in one transaction unless `at_once`, and return what is wrong, a line for each."""
    with contextlib.closing(sqlite3.connect(store.path)) as connection:
        if at_once:
            return [line for pair in pairs for line in _judged(connection, pair, _saved(store, pair))]
        with store.transaction():
            saved = [(pair, _saved(store, pair)) for pair in pairs]
        return [line for pair, one in saved for line in _judged(connection, pair, one)]


def report(lines: list[str], count: int) -> str:
    """Return the message of a failed test."""
    more = [f"... and {len(lines) - MOST_SHOWN} more"] if len(lines) > MOST_SHOWN else []
    return "\n".join([f"{len(lines)} of {count} pairs are wrong:", *lines[:MOST_SHOWN], *more])


def _saved(store: fl.StorageManager, pair: Pair) -> Saved:
    given = pair.build(pair.make())
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            return Saved(pair.save(store, given), None, warned)
        except Exception as error:
            return Saved(None, error, warned)


def _judged(connection: sqlite3.Connection, pair: Pair, saved: Saved) -> Iterator[str]:
    """Yield what is wrong with one pair, in at most one line."""
    problems = [f"warns {one.category.__name__}: {one.message}" for one in saved.warned if not _is_ours(one.category)]
    if saved.error is not None:
        problems += _judged_error(pair, saved.error)
    else:
        problems += _judged_values(pair, pair.read(connection, saved.found), saved.warned)
    if problems:
        yield f"{pair.fields[len(pair.fields) // 2]} <- {pair.name}: {'; '.join(problems)}"[:400]


def _is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "finlab_nb"


def _choices(outcome: Outcome) -> tuple[Any, ...]:
    return outcome if isinstance(outcome, tuple) else (outcome,)


def _judged_error(pair: Pair, error: BaseException) -> Iterator[str]:
    found = f"{type(error).__name__}: {str(error)[:160]!r}"
    choices = [(i, choice) for i, outcome in enumerate(pair.outcomes) for choice in _choices(outcome)]
    refused = [(i, choice) for i, choice in choices if isinstance(choice, Refused)]
    if _is_ours(type(error)) and isinstance(error, LookupError):
        if not any(isinstance(choice, NotFound) for _, choice in choices):
            yield f"not found, as {found}"
    elif not (type(error) is ValueError or (_is_ours(type(error)) and isinstance(error, ValueError))):
        yield f"raised raw {found}"
    elif not refused:
        yield f"refused, as {found}, instead of {pair.outcomes}"
    else:
        wrong = [list(_wrong_words(str(error), pair, i, choice)) for i, choice in refused]
        if all(wrong):
            yield f"refused in the wrong words ({min(wrong, key=len)[0]}), as {found}"


def _wrong_words(message: str, pair: Pair, row: int, refused: Refused) -> Iterator[str]:
    field = pair.fields[row]
    found = re.match(rf"{re.escape(field)}\S* is (.+?)[;,] (.*)", message, re.DOTALL)
    if found is None:
        yield f"it must begin with {field!r} and the value"
        return
    if "it must" not in found[2] or refused.saying not in found[2]:
        yield f"it must say what is allowed {refused.saying}"
    if not _shows(message, pair.meanings[row]) and _beginning(pair, row) not in message:
        yield "it must show the value"


def _shows(message: str, meaning: Meaning) -> bool:
    """Tell whether a message shows the value, in whatever form."""
    match meaning:
        case Text(text=text):
            return repr(text)[1:9].rstrip("'") in message
        case Truth(value=value):
            return str(value) in message
        case Whole(number=number) if abs(number) < 2**64:
            return str(number) in message
        case Real(digits=digits) | Exact(digits=digits):
            found = map(float, re.findall(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", message))
            return any(math.isclose(one, float(digits), rel_tol=0.01) for one in found)
    return True


def _beginning(pair: Pair, row: int) -> str:
    """Return how a value prints, as far as any message shows it."""
    value = pair.make()
    return repr(value if len(pair.fields) == 1 else value[row])[:9]


def _judged_values(pair: Pair, found: list[Any], warned: list[warnings.WarningMessage]) -> Iterator[str]:
    if len(found) != len(pair.outcomes):
        yield f"{len(found)} values stand in the file instead of {len(pair.outcomes)}"
        return
    for value, outcome in zip(found, pair.outcomes, strict=True):
        if not any(_is_as(value, choice) for choice in _choices(outcome)):
            shown = "nothing" if value is ABSENT else f"{value!r:.80}"
            yield f"{shown} stands in the file instead of {outcome!r:.160}"
    dropped = [one for one in warned if one.category.__name__ == "DroppedMetricsWarning"]
    if len(dropped) != sum(value is ABSENT for value in found):
        yield f"{len(dropped)} DroppedMetricsWarning"


def _is_as(value: Any, outcome: Any) -> bool:
    if isinstance(outcome, Dropped):
        return value is ABSENT
    return isinstance(outcome, Stored) and value is not ABSENT and same(value, outcome.value)
