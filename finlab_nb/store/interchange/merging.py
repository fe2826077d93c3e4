"""How copies of an iteration that went apart become one again: of each annotation the newest change counts.

What was never changed is as it was saved, and has no time. Of two changes at the same time the one counts that says
more, whichever copy it comes from, so that copies become the same in whatever order they meet.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple
from typing import Any, Final, NamedTuple, TypeAlias

from finlab_nb.store.broken_text import BrokenText, fetched
from finlab_nb.store.interchange import changes
from finlab_nb.store.interchange.changes import ITEMISED, Times
from finlab_nb.store.interchange.codec import ImportedIteration
from finlab_nb.store.interchange.staging import IterationEntry

_Values: TypeAlias = dict[tuple[str, Any], Any]  # by field and item

_FIELDS: Final = ("note", "starred", "archived")
_ANNOTATIONS: Final = f"SELECT {', '.join(_FIELDS)} FROM iterations WHERE iteration_id = ?"
_TAGS: Final = "SELECT tag FROM tags WHERE iteration_id = ?"
_SUGGESTIONS: Final = """
    SELECT suggestion_id, status FROM suggestions WHERE iteration_id = ?
    ORDER BY CASE priority WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END, suggestion_id"""
_PLACES: Final = {"high": 1, "medium": 2}
_SET: Final = {
    **{name: f"UPDATE iterations SET {name} = {{value}} WHERE iteration_id = :iteration" for name in _FIELDS},
    "suggestion": "UPDATE suggestions SET status = {value} WHERE suggestion_id = :item",
    "tag": "INSERT INTO tags (iteration_id, tag) VALUES (:iteration, {item}) ON CONFLICT DO NOTHING",
}
_REMOVE_TAG: Final = "DELETE FROM tags WHERE iteration_id = :iteration AND tag = {item}"
_FORGET: Final = "DELETE FROM changes WHERE iteration_id = ? AND field = ? AND item = ?"
_NOTE: Final = "REPLACE INTO changes VALUES (?, ?, ?, ?)"
_NOTE_NOW: Final = "INSERT INTO changes_now VALUES (?, ?, '')"
_SET_CHANGED_AT: Final = """
    UPDATE iterations SET changed_at = coalesce(
        (SELECT max(changed_at) FROM changes WHERE iteration_id = ?1), changed_at) WHERE iteration_id = ?1"""
_NUMBERS: Final = """
    SELECT iteration_id, iteration_number, coalesce((
        SELECT changed_at FROM changes AS c WHERE c.iteration_id = i.iteration_id AND field = 'iteration_number'), '')
    FROM iterations AS i WHERE strategy_id = ?"""
_VACATE_NUMBER: Final = "UPDATE iterations SET iteration_number = -rowid WHERE iteration_id = ?"
_SET_NUMBER: Final = "UPDATE iterations SET iteration_number = ? WHERE iteration_id = ?"
_EXISTS: Final = "SELECT 1 FROM iterations WHERE iteration_id = ?"
_DELETE: Final = "DELETE FROM iterations WHERE iteration_id = ?"
_DELETED_AT: Final = "SELECT changed_at FROM changes WHERE iteration_id = ? AND field = 'deleted'"
_NOTE_DELETED: Final = """
    INSERT INTO changes VALUES (?, 'deleted', '', ?)
    ON CONFLICT DO UPDATE SET changed_at = max(changed_at, excluded.changed_at)"""
_DELETED: Final = ("deleted", "")
_REVIVED: Final = ("revived", "")


# Annotations --------------------------------------------------------------------------------------------------------


def suggestion_numbers(connection: sqlite3.Connection, iteration_id: str, iteration: ImportedIteration) -> list[int]:
    """Return the number in the store of each suggestion of the file."""
    rows = _suggestion_rows(iteration)
    places = sorted(range(len(rows)), key=lambda place: _PLACES.get(rows[place][0], 3))
    stored = fetched(connection, _SUGGESTIONS, (iteration_id,))
    return [number for _, (number, _) in sorted(zip(places, stored, strict=True))]


def times_in_store(iteration: ImportedIteration, numbers: Iterable[int]) -> Times:
    """Return when annotations were changed by the file, with the suggestions as the store knows them."""
    return changes.with_suggestions(iteration.changes, {str(i): str(number) for i, number in enumerate(numbers)})


def merge_annotations(
    connection: sqlite3.Connection, iteration: ImportedIteration, numbers: Iterable[int]
) -> dict[str, None]:
    """Take over what was changed later in the file than here, and return the fields that are other now."""
    key = iteration.record.iteration_id
    mine, mine_at = _stored(connection, key), changes.known(connection, key)
    given, given_at = _given(iteration, numbers), times_in_store(iteration, numbers)
    newer = {
        one: given_at.get(one, "")
        for one in dict.fromkeys((*given, *given_at, *mine))
        if one[0] != "iteration_number"
        and _rank(given_at.get(one), given.get(one)) > _rank(mine_at.get(one), mine.get(one))
    }
    other = [one for one in newer if given.get(one) != mine.get(one)]
    for field, item in other:
        value = given.get((field, item))
        statement = _REMOVE_TAG if field == "tag" and not value else _SET[field]
        cells = {"value": value, "item": item}
        places = {
            name: f"CAST(:{name} AS TEXT)" if isinstance(one, BrokenText) else f":{name}" for name, one in cells.items()
        }
        connection.execute(statement.format(**places), cells | {"iteration": key})
    set_times(connection, key, newer)
    return dict.fromkeys(f"{field}s" if field in ITEMISED else field for field, _ in other)


def set_times(connection: sqlite3.Connection, iteration_id: str, times: Times) -> None:
    """Store when annotations were changed, instead of the present time of a merge."""
    connection.executemany(_FORGET, ((iteration_id, *one) for one, at in times.items() if not at))
    connection.executemany(_NOTE, ((iteration_id, *one, at) for one, at in times.items() if at))
    if times:
        connection.execute(_SET_CHANGED_AT, (iteration_id,))


def _rank(at: str | None, value: Any) -> tuple[str, bool, str]:
    return at or "", value not in (None, 0, "open"), repr(value)


def _stored(connection: sqlite3.Connection, iteration_id: str) -> _Values:
    (row,) = fetched(connection, _ANNOTATIONS, (iteration_id,))
    values: _Values = {(name, ""): value for name, value in zip(_FIELDS, row, strict=True)}
    values |= {("tag", tag): 1 for (tag,) in fetched(connection, _TAGS, (iteration_id,))}
    return values | {
        ("suggestion", str(number)): status for number, status in fetched(connection, _SUGGESTIONS, (iteration_id,))
    }


def _given(iteration: ImportedIteration, numbers: Iterable[int]) -> _Values:
    record, marked = iteration.record, iteration.as_stored
    plain = {"note": record.note, "starred": int(record.starred), "archived": int(record.archived)}
    values: _Values = {(name, ""): marked.get(name, plain[name]) for name in _FIELDS}
    values |= {("tag", tag): 1 for (tag,) in marked.get("tags", zip(record.tags))}
    rows = _suggestion_rows(iteration)
    return values | {("suggestion", str(number)): row[-1] for number, row in zip(numbers, rows, strict=True)}


def _suggestion_rows(iteration: ImportedIteration) -> list[tuple[Any, ...]]:
    """Return rows of suggestions, from the priority to the status."""
    found: list[tuple[Any, ...]] = iteration.as_stored.get(
        "suggestions", [astuple(one) for one in iteration.record.suggestions]
    )
    return found


# Numbers ------------------------------------------------------------------------------------------------------------


class Number(NamedTuple):
    """The iteration_number that an iteration of a file gets."""

    number: Any
    at: str | None  # when it was changed to that; "" if never, None if just now
    is_other: bool  # than it had: here, or in the file if it is new here


def numbers_of(
    connection: sqlite3.Connection, strategy_id: str, entries: Mapping[str, IterationEntry]
) -> dict[str, Number]:
    """Return the numbers of those iterations of a strategy that are new here, or were renumbered later than here.

    All others keep theirs, and come before them where both want the same.
    """
    mine = {key: (number, at) for key, number, at in fetched(connection, _NUMBERS, (strategy_id,))}
    moving = {key: one for key, one in entries.items() if key not in mine or one.numbered_at > mine[key][1]}
    taken = {number for key, (number, _) in mine.items() if key not in moving}
    found: dict[str, Number] = {}
    late = []
    for key, one in moving.items():
        if one.number in taken:
            late.append(key)
        else:
            taken.add(one.number)
            is_other = key in mine and mine[key][0] != one.number
            found[key] = Number(one.number, one.numbered_at, is_other)
    free = max((one for one in taken if isinstance(one, int) and one < 2**63 - 1), default=0)
    return found | {key: Number(free + i, None, is_other=True) for i, key in enumerate(late, 1)}


def renumber(connection: sqlite3.Connection, numbers: Mapping[str, Number]) -> None:
    """Give iterations that are stored other numbers, which may be those of each other."""
    connection.executemany(_VACATE_NUMBER, ((key,) for key in numbers))
    for key, one in numbers.items():
        connection.execute(_SET_NUMBER, (one.number, key))
        if one.at is not None:
            set_times(connection, key, {("iteration_number", ""): one.at})


def note_arrival(
    connection: sqlite3.Connection, iteration_id: str, times: Times, number: Number, deleted_at: str | None
) -> None:
    """Note when annotations of an iteration that was just stored were changed, and that it is back if it was gone."""
    connection.executemany(_NOTE, ((iteration_id, *one, at) for one, at in times.items()))
    if number.at is None:
        connection.execute(_NOTE_NOW, (iteration_id, "iteration_number"))
    if deleted_at is not None:
        if times.get(_REVIVED, "") < deleted_at:
            connection.execute(_SET_CHANGED_AT, (iteration_id,))  # so that it comes back later than it went
            connection.execute(_NOTE_NOW, (iteration_id, "revived"))
        connection.execute(_FORGET, (iteration_id, *_DELETED))


# Deletions ----------------------------------------------------------------------------------------------------------


def deleted_at(connection: sqlite3.Connection, iteration_id: str) -> str | None:
    """Return when an iteration that is not stored was deleted, if it was."""
    found = connection.execute(_DELETED_AT, (iteration_id,)).fetchone()
    return None if found is None else found[0]


def confirm_deletion(connection: sqlite3.Connection, iteration_id: str, changed_at: str) -> None:
    """Note that an iteration stays deleted though it was changed elsewhere since then."""
    connection.execute(_NOTE_DELETED, (iteration_id, changed_at))
    connection.execute(_NOTE_NOW, (iteration_id, "deleted"))


def iterations_to_delete(
    connection: sqlite3.Connection, deleted: Mapping[str, str], how: str, tell: Callable[[str, str], None]
) -> dict[str, str]:
    """Return which iterations to delete, and when that was done elsewhere, and tell what becomes of each.

    They were not changed here since then; what was counts as brought back, in both copies. Their numbers are free.
    """
    gone: dict[str, str] = {}
    for key, at in deleted.items():
        if connection.execute(_EXISTS, (key,)).fetchone() is None:
            if how == "apply":
                connection.execute(_NOTE_DELETED, (key, at))
            continue
        times = changes.known(connection, key)
        newest = changes.newest(times)
        if newest < at and how == "apply":
            gone[key] = at
        elif times.get(_REVIVED, "") < at:
            tell(key, "kept")
            if newest >= at:
                set_times(connection, key, {_REVIVED: newest})
            elif how == "revive":
                note_arrival(connection, key, {_DELETED: at}, Number(None, "", is_other=False), at)
    for key in gone:
        tell(key, "deleted")
        connection.execute(_VACATE_NUMBER, (key,))
    return gone


def delete(connection: sqlite3.Connection, deleted: Mapping[str, str]) -> None:
    """Delete iterations that were deleted elsewhere at these times."""
    for key, at in deleted.items():
        connection.execute(_DELETE, (key,))
        set_times(connection, key, {_DELETED: at})
