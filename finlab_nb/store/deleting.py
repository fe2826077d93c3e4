"""Removing iterations and strategies without holding the write lock for long.

Row by row, the triggers of `edited_rows` take more time than the deletion itself. So the buckets of all trades of an
iteration, and of its curve, get their stamps at once, and `store_state.deleting` keeps the triggers of deletion from
doing it again while these go. Foreign keys remove all else with the iteration.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from finlab_nb.errors import IterationNotFoundError, StorageError, StrategyNotFoundError
from finlab_nb.records.tables import EQUITY, TRADES

SLICE_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 0.02  # in which other processes, which look for the write lock every few milliseconds, find it

_SET_DELETING: Final = "UPDATE store_state SET deleting = ?"
_ROWID: Final = "SELECT rowid FROM iterations WHERE iteration_id = ?"
_ID: Final = "(SELECT iteration_id FROM iterations WHERE rowid = ?)"  # another program's may be no text
_STAMP: Final = """
    INSERT OR REPLACE INTO edited_rows SELECT '{table}', bucket, random()
    FROM (SELECT DISTINCT rowid >> {bits} AS bucket FROM {table} WHERE {rows})"""
_DELETE_ROWS: Final = tuple(
    statement.format(table=table.name, bits=table.bucket_bits, rows=table.rows_of(_ID))
    for table in (TRADES, EQUITY)
    for statement in (_STAMP, "DELETE FROM {table} WHERE {rows}")
)
_DELETE_ITERATION: Final = "DELETE FROM iterations WHERE rowid = ?"
_DEPENDENTS: Final = """
    SELECT (SELECT count(*) FROM iterations WHERE strategy_id = :strategy),
           (SELECT count(*) FROM strategies WHERE parent_strategy_id = :strategy)
    FROM strategies WHERE strategy_id = :strategy"""
_FAMILY: Final = """
    WITH RECURSIVE family (id) AS (
        SELECT :strategy UNION SELECT strategy_id FROM strategies JOIN family ON parent_strategy_id = id)"""
_ITERATIONS_OF_FAMILY: Final = f"{_FAMILY} SELECT rowid FROM iterations WHERE strategy_id IN (SELECT id FROM family)"
_DELETE_FAMILY: Final = f"{_FAMILY} DELETE FROM strategies WHERE strategy_id IN (SELECT id FROM family)"


def delete_iteration(connection: sqlite3.Connection, iteration_id: str) -> None:
    """Remove an iteration with all that belongs to it."""
    found = connection.execute(_ROWID, (iteration_id,)).fetchone()
    if found is None:
        raise IterationNotFoundError(f"iteration_id is {iteration_id!r}; no iteration has this id")
    _delete(connection, found)


def _delete(connection: sqlite3.Connection, rowid: tuple[int]) -> None:
    connection.execute(_SET_DELETING, (1,))
    for statement in _DELETE_ROWS:
        connection.execute(statement, rowid)
    connection.execute(_SET_DELETING, (0,))
    connection.execute(_DELETE_ITERATION, rowid)


def delete_strategy(connection: sqlite3.Connection, strategy_id: str, *, cascade: bool, seconds: float) -> bool:
    """Remove a strategy version; with its descendants and all their iterations if that is wanted.

    Returns
    -------
    bool
        False if some are left after these seconds: commit, and go on in another transaction.
    """
    deadline, family = time.monotonic() + seconds, {"strategy": strategy_id}
    dependents = connection.execute(_DEPENDENTS, family).fetchone()
    if dependents is None:
        raise StrategyNotFoundError(f"strategy_id is {strategy_id!r}; no strategy has this id")
    if any(dependents) and not cascade:
        raise StorageError(
            f"the strategy {strategy_id!r} has {dependents[0]} iterations and {dependents[1]} child strategies; delete "
            "them first, or use cascade=True to delete them with it"
        )
    for rowid in connection.execute(_ITERATIONS_OF_FAMILY, family).fetchall():
        _delete(connection, rowid)
        if time.monotonic() >= deadline:
            return False
    connection.execute(_DELETE_FAMILY, family)
    return True
