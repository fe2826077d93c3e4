"""How records become rows."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple
from functools import cache
from typing import Any, Final

from finlab_nb.errors import IterationNotFoundError, StrategyNotFoundError, SuggestionNotFoundError
from finlab_nb.records import Iteration, Strategy
from finlab_nb.records.column_rows import ColumnRows
from finlab_nb.records.tables import ITERATIONS, STRATEGIES, TABLES, TRADE_FIELDS, TRADES
from finlab_nb.store.broken_text import fetched, insert
from finlab_nb.store.pool import ConnectionPool

_COUNT_CHANGE: Final = "UPDATE store_state SET change_counter = change_counter + 1"


@cache
def _insert(table: str, rows: int = 1, left_out: tuple[str, ...] = ()) -> str:
    """Return the INSERT for some rows of one owner, whose id comes first and is bound once."""
    described = TABLES[table]
    names = [name for name in described.stored_names if name not in (described.row_key, *left_out)]
    places = itertools.count(2)
    values = (f"(?1, {', '.join(f'?{next(places)}' for _ in names[1:])})" for _ in range(rows))
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES {', '.join(values)}"


_STRATEGY_DEFAULTS: Final = "SELECT code, parameters FROM strategies WHERE strategy_id = ?"
# Below the largest whole number, which leaves no room for a next one, and all text, which SQLite sorts above numbers.
_NEXT_NUMBER: Final = f"""
    SELECT coalesce(max(iteration_number), 0) + 1 FROM iterations
    WHERE strategy_id = ? AND iteration_number < {2**63 - 1}"""
_NUMBER_TAKEN: Final = "SELECT 1 FROM iterations WHERE strategy_id = ? AND iteration_number = ?"
_INSERT_TAG: Final = f"{_insert('tags')} ON CONFLICT DO NOTHING"
_DELETE_TAG: Final = "DELETE FROM tags WHERE iteration_id = ? AND tag = ?"
_ITERATION_EXISTS: Final = "SELECT 1 FROM iterations WHERE iteration_id = ?"
_SET_FIELD: Final = {
    field: f"UPDATE iterations SET {field} = ? WHERE iteration_id = ?" for field in ("note", "starred", "archived")
}
_TAG_ADDED: Final = "INSERT INTO changes_now VALUES (?, 'tag', ?)"  # of all other changes the triggers know
_SET_STATUS: Final = "UPDATE suggestions SET status = ? WHERE suggestion_id = ?"
# Asked before, because an INSERT that does nothing counts as an edit.
LINK_SUGGESTION: Final = """
    INSERT INTO applications SELECT ?1, ?2
    WHERE NOT EXISTS (SELECT 1 FROM applications WHERE suggestion_id = ?1 AND iteration_id = ?2)"""


@contextlib.contextmanager
def writing(pool: ConnectionPool, *, appends: bool = False) -> Iterator[sqlite3.Connection]:
    """Lend a connection inside a write transaction that counts as a change of the store; see `ConnectionPool.write`."""
    with pool.write(appends=appends) as connection:
        connection.execute(_COUNT_CHANGE)
        yield connection


def _strategy_defaults(connection: sqlite3.Connection, field: str, strategy_id: str) -> tuple[str, str | None]:
    found = fetched(connection, _STRATEGY_DEFAULTS, (strategy_id,))
    if not found:
        raise StrategyNotFoundError(f"{field} is {strategy_id!r}; no strategy has this id")
    code, parameters = found[0]
    return code, parameters


def _check_iteration(connection: sqlite3.Connection, field: str, iteration_id: str) -> None:
    if connection.execute(_ITERATION_EXISTS, (iteration_id,)).fetchone() is None:
        raise IterationNotFoundError(f"{field} is {iteration_id!r}; no iteration has this id")


def insert_strategy(
    connection: sqlite3.Connection, strategy: Strategy, as_stored: Mapping[str, Any] | None = None
) -> None:
    """Store a strategy version; values by column in `as_stored` go in as they are, instead of the record's."""
    if strategy.parent_strategy_id is not None:
        _strategy_defaults(connection, "parent_strategy_id", strategy.parent_strategy_id)
    insert(connection, STRATEGIES, [tuple({**asdict(strategy), **(as_stored or {})}.values())])


def insert_iteration(
    connection: sqlite3.Connection, iteration: Iteration, as_stored: Mapping[str, Any] | None = None
) -> None:
    """Store an iteration with everything that belongs to it; the number, code and parameters it lacks are filled in.

    Values by column and rows by table in `as_stored` go in as they are, instead of the record's.
    """
    code, parameters = _strategy_defaults(connection, "strategy_id", iteration.strategy_id)
    as_stored = as_stored or {}
    wanted = as_stored.get("iteration_number", iteration.iteration_number)
    number = free_number(connection, iteration.strategy_id, wanted)
    if wanted not in (None, number):
        raise ValueError(f"iteration_number is {wanted}; the strategy has it already, {number} is free")
    defaults = {"iteration_number": number, "code": code, "parameters": parameters}
    columns = {name: getattr(iteration, name) for name in ITERATIONS.names}
    columns |= {name: value for name, value in defaults.items() if columns[name] is None}
    insert(connection, ITERATIONS, [tuple(as_stored.get(name, value) for name, value in columns.items())])
    key = iteration.iteration_id
    for table, rows in rows_of(iteration):
        rows = as_stored.get(table, rows)
        owner = _owner_in_rows(connection, table, key) if rows else key
        if table in as_stored:
            insert(connection, TABLES[table], ((owner, *row) for row in rows))
        else:
            insert_rows(connection, table, owner, rows)
    for i, suggestion_id in enumerate(iteration.applies):
        set_suggestion_status(connection, f"applies[{i}]", suggestion_id, "applied", key)


def free_number(connection: sqlite3.Connection, strategy_id: str, wanted: Any = None) -> Any:
    """Return the wanted iteration_number if no iteration of the strategy has it, else the next one."""
    if wanted is None or connection.execute(_NUMBER_TAKEN, (strategy_id, wanted)).fetchone():
        (wanted,) = connection.execute(_NEXT_NUMBER, (strategy_id,)).fetchone()
    return wanted


def _owner_in_rows(connection: sqlite3.Connection, table: str, owner: str) -> str | int:
    """Return what the rows of a new owner hold for it: its id, or the number that stands for it, made here."""
    described = TABLES[table]
    if described.owner_key is None:
        return owner
    make = f"INSERT INTO {described.owner_key.table} ({described.owner}) VALUES (?)"
    key = connection.execute(make, (owner,)).lastrowid
    assert key is not None  # noqa: S101 - a row was inserted
    return key


def insert_rows(connection: sqlite3.Connection, table: str, owner: str | int, rows: ColumnRows) -> None:
    """Insert rows without their number and owner, which is given as the rows hold it."""
    columns, left_out = _without_empty_columns(table, rows)
    start = 0
    for count in _statement_sizes(len(rows)):
        values: list[Any] = [owner] * (1 + count * len(columns))
        for place, column in enumerate(columns, 1):
            values[place :: len(columns)] = column[start : start + count]
        connection.execute(_insert(table, count, left_out), values)
        start += count


def _statement_sizes(rows: int) -> list[int]:
    """Return how many rows each statement inserts: one for many rows takes a third of the time of one for each.

    There are few sizes, so that a connection keeps all of them prepared.
    """
    hundreds, rest = divmod(rows, 100)
    tens, ones = divmod(rest, 10)
    return [100] * hundreds + [10] * tens + [ones] * (ones > 0)


def _without_empty_columns(table: str, rows: ColumnRows) -> tuple[Sequence[Sequence[Any]], tuple[str, ...]]:
    """Leave out the columns of trades that hold nothing: binding NULL takes as long as binding a value."""
    if table != TRADES.name or not rows:
        return rows.columns, ()
    columns = dict(zip(TRADE_FIELDS, rows.columns, strict=True))
    empty = tuple(name for name, column in columns.items() if column.count(None) == len(rows))
    return [column for name, column in columns.items() if name not in empty], empty


def rows_of(iteration: Iteration) -> Iterator[tuple[str, ColumnRows]]:
    """Yield what belongs to an iteration as rows, without the owner they begin with, by table."""
    yield "metrics", ColumnRows.of([iteration.metrics])
    yield "extra_metrics", ColumnRows.of(iteration.extra_metrics)
    yield "given_metrics", ColumnRows.of(iteration.given)
    yield "suggestions", ColumnRows.of(map(astuple, iteration.suggestions))
    yield "trades", iteration.trades
    yield "equity", iteration.equity
    yield "tags", ColumnRows([iteration.tags])
    yield "provenance", ColumnRows.of([] if iteration.provenance is None else [astuple(iteration.provenance)])


def annotate(
    connection: sqlite3.Connection,
    iteration_id: str,
    changes: Mapping[str, object],
    added: Iterable[str],
    removed: Iterable[str],
) -> None:
    """Change fields of an iteration (note, starred, archived) and its tags."""
    _check_iteration(connection, "iteration_id", iteration_id)
    for field, value in changes.items():
        connection.execute(_SET_FIELD[field], (value, iteration_id))
    connection.executemany(_DELETE_TAG, ((iteration_id, tag) for tag in removed))
    for tag in added:
        if connection.execute(_INSERT_TAG, (iteration_id, tag)).rowcount:
            connection.execute(_TAG_ADDED, (iteration_id, tag))


def set_suggestion_status(
    connection: sqlite3.Connection, field: str, suggestion_id: int, status: str, applied_iteration_id: str | None
) -> None:
    """Record what became of a suggestion, which a field names, and who applied it; what is known of that stays."""
    if applied_iteration_id is not None:
        _check_iteration(connection, "applied_iteration_id", applied_iteration_id)
    if connection.execute(_SET_STATUS, (status, suggestion_id)).rowcount == 0:
        raise SuggestionNotFoundError(f"{field} is {suggestion_id!r}; no suggestion has this id")
    if applied_iteration_id is not None:
        connection.execute(LINK_SUGGESTION, (suggestion_id, applied_iteration_id))
