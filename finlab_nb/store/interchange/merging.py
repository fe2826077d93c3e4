"""How copies of an iteration that went apart become one again: of each annotation the newest change counts.

What was never changed is as it was saved, and has no time. Of two changes at the same time the one counts that says
more, whichever copy it comes from, so that copies become the same in whatever order they meet.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple
from typing import Any, Final, TypeAlias

from finlab_nb.records.tables import PROVENANCE
from finlab_nb.store import deleting, saving
from finlab_nb.store.broken_text import BrokenText, Row, fetched, insert
from finlab_nb.store.interchange import changes
from finlab_nb.store.interchange.changes import ITEMISED, Times
from finlab_nb.store.interchange.codec import ImportedIteration
from finlab_nb.store.interchange.staging import IterationEntry

_Values: TypeAlias = dict[tuple[str, Any], Any]  # by field and item

_FIELDS: Final = ("note", "starred", "archived")
_ANNOTATIONS: Final = f"""
    {" ".join(f"SELECT '{name}', '', {name} FROM iterations WHERE iteration_id = ?1 UNION ALL" for name in _FIELDS)}
    SELECT 'tag', tag, 1 FROM tags WHERE iteration_id = ?1
    UNION ALL SELECT 'suggestion', CAST(suggestion_id AS TEXT), status FROM suggestions WHERE iteration_id = ?1"""
_SUGGESTIONS: Final = """
    SELECT suggestion_id FROM suggestions WHERE iteration_id = ?
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
_NOTE_NOW: Final = "INSERT INTO changes_now VALUES (?, ?, ?)"
_SET_CHANGED_AT: Final = """
    UPDATE iterations SET changed_at = coalesce(
        (SELECT max(changed_at) FROM changes WHERE iteration_id = ?1), changed_at) WHERE iteration_id = ?1"""
_NUMBER: Final = """
    SELECT iteration_number, coalesce((
        SELECT changed_at FROM changes AS c WHERE c.iteration_id = i.iteration_id AND field = 'iteration_number'), '')
    FROM iterations AS i WHERE iteration_id = ?"""
_VACATE_NUMBER: Final = "UPDATE iterations SET iteration_number = -rowid WHERE iteration_id = ?"
_SET_NUMBER: Final = "UPDATE iterations SET iteration_number = ? WHERE iteration_id = ?"
_ORIGIN_IS_KNOWN: Final = "SELECT 1 FROM provenance WHERE iteration_id = ?"
ITERATION_EXISTS: Final = "SELECT 1 FROM iterations WHERE iteration_id = ?"
_DELETED_AT: Final = "SELECT changed_at FROM changes WHERE iteration_id = ? AND field = 'deleted'"
_NOTE_DELETED: Final = """
    INSERT INTO changes VALUES (?, 'deleted', '', ?)
    ON CONFLICT DO UPDATE SET changed_at = max(changed_at, excluded.changed_at)"""
_DELETED: Final = ("deleted", "")
_REVIVED: Final = ("revived", "")
_NUMBERED: Final = ("iteration_number", "")


# Annotations --------------------------------------------------------------------------------------------------------


def suggestion_numbers(connection: sqlite3.Connection, iteration_id: str, iteration: ImportedIteration) -> list[int]:
    """Return the number in the store of each suggestion of the file."""
    rows = _suggestion_rows(iteration)
    places = sorted(range(len(rows)), key=lambda place: _PLACES.get(rows[place][0], 3))
    stored = fetched(connection, _SUGGESTIONS, (iteration_id,))
    return [number for _, (number,) in sorted(zip(places, stored, strict=True))]


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
        if one != _NUMBERED and _rank(given_at.get(one), given.get(one)) > _rank(mine_at.get(one), mine.get(one))
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
    return {(field, item): value for field, item, value in fetched(connection, _ANNOTATIONS, (iteration_id,))}


def _given(iteration: ImportedIteration, numbers: Iterable[int]) -> _Values:
    record, marked = iteration.record, iteration.as_stored
    plain = {"note": record.note, "starred": int(record.starred), "archived": int(record.archived)}
    values: _Values = {(name, ""): marked.get(name, plain[name]) for name in _FIELDS}
    values |= {("tag", tag): 1 for (tag,) in marked.get("tags", zip(record.tags))}
    rows = _suggestion_rows(iteration)
    return values | {("suggestion", str(number)): row[-1] for number, row in zip(numbers, rows, strict=True)}


def _suggestion_rows(iteration: ImportedIteration) -> list[Row]:
    """Return rows of suggestions, from the priority to the status."""
    found: list[Row] = iteration.as_stored.get("suggestions", [astuple(one) for one in iteration.record.suggestions])
    return found


# Origin -------------------------------------------------------------------------------------------------------------


def complete_origin(connection: sqlite3.Connection, iteration: ImportedIteration) -> dict[str, None]:
    """Store where an iteration comes from if only the file knows, and return the fields that are other now."""
    key = iteration.record.iteration_id
    if not iteration.origin or connection.execute(_ORIGIN_IS_KNOWN, (key,)).fetchone():
        return {}
    insert(connection, PROVENANCE, ((key, *row) for row in iteration.origin))
    return {PROVENANCE.name: None}


# Numbers ------------------------------------------------------------------------------------------------------------


def renumber(connection: sqlite3.Connection, entries: Mapping[str, IterationEntry]) -> list[str]:
    """Give iterations that are stored the numbers that they got elsewhere, later than those here; return which."""
    moving = {}
    for key, one in entries.items():
        number, at = fetched(connection, _NUMBER, (key,))[0]
        if one.numbered_at > at:
            moving[key] = number
    vacate_numbers(connection, moving)
    for key in moving:
        one = entries[key]
        number = saving.free_number(connection, one.strategy_id, one.number)
        connection.execute(_SET_NUMBER, (number, key))
        if number == one.number:
            set_times(connection, key, {_NUMBERED: one.numbered_at})
    return [key for key, number in moving.items() if number != entries[key].number]


def vacate_numbers(connection: sqlite3.Connection, iteration_ids: Iterable[str]) -> None:
    """Free the numbers of iterations that get others, or are deleted, before these are given away."""
    connection.executemany(_VACATE_NUMBER, ((key,) for key in iteration_ids))


def note_arrival(
    connection: sqlite3.Connection, iteration_id: str, times: Times, *, renumbered: bool = False
) -> dict[str, None]:
    """Note when annotations of an iteration that was just stored were changed; return what is other now."""
    connection.executemany(_NOTE, ((iteration_id, *one, at) for one, at in times.items()))
    deleted = connection.execute(_DELETED_AT, (iteration_id,)).fetchone()
    if deleted is not None and times.get(_REVIVED, "") < deleted[0]:
        connection.execute(_SET_CHANGED_AT, (iteration_id,))  # so that it comes back later than it went
        connection.execute(_NOTE_NOW, (iteration_id, *_REVIVED))
    connection.execute(_FORGET, (iteration_id, *_DELETED))
    if renumbered:
        connection.execute(_NOTE_NOW, (iteration_id, *_NUMBERED))
    found = {"revived": deleted is not None, "iteration_number": renumbered}
    return dict.fromkeys(name for name, is_other in found.items() if is_other)


# Deletions ----------------------------------------------------------------------------------------------------------


def stays_deleted(connection: sqlite3.Connection, iteration_id: str, entry: IterationEntry, how: str) -> bool:
    """Tell whether an iteration of a file is left out, because it was deleted here and did not come back elsewhere.

    If it was changed elsewhere since then, the deletion counts as done now, so that the other copy follows.
    """
    deleted = connection.execute(_DELETED_AT, (iteration_id,)).fetchone()
    if how == "revive" or deleted is None or entry.revived_at >= deleted[0]:
        return False
    if how == "apply" and entry.changed_at > deleted[0]:
        connection.execute(_NOTE, (iteration_id, *_DELETED, entry.changed_at))
        connection.execute(_NOTE_NOW, (iteration_id, *_DELETED))
    return True


def deletions(connection: sqlite3.Connection, deleted: Mapping[str, str], how: str) -> Iterator[tuple[str, str, str]]:
    """Yield the stored ones of iterations that were deleted elsewhere, when they were, and whether that is done here.

    It is if they were not changed here since then. What was counts as brought back, in both copies.
    """
    for key, at in deleted.items():
        if connection.execute(ITERATION_EXISTS, (key,)).fetchone() is None:
            if how == "apply":
                connection.execute(_NOTE_DELETED, (key, at))
            continue
        times = changes.known(connection, key)
        newest = changes.newest(times)
        if newest < at and how == "apply":
            yield key, at, "deleted"
        elif times.get(_REVIVED, "") < at:
            yield key, at, "kept"
            if newest >= at:
                set_times(connection, key, {_REVIVED: newest})
            elif how == "revive":
                note_arrival(connection, key, {_DELETED: at})


def delete(connection: sqlite3.Connection, deleted: Mapping[str, str]) -> None:
    """Delete iterations that were deleted elsewhere at these times."""
    for key, at in deleted.items():
        deleting.delete_iteration(connection, key)
        set_times(connection, key, {_DELETED: at})
