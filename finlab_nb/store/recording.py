"""Iterations under the right version of their strategy, each result once."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Final

from finlab_nb.records import Recording, strategy_record
from finlab_nb.records.provenance import Provenance, code_hash, result_hash
from finlab_nb.store.saving import insert_iteration, insert_strategy

_BY_ID: Final = "SELECT code FROM strategies WHERE strategy_id = ?"
_NEWEST: Final = (
    "SELECT strategy_id, code FROM strategies WHERE name = ? ORDER BY created_at DESC, strategy_id DESC LIMIT 1"
)
_SAME_CODE: Final = """
    SELECT strategy_id FROM strategies WHERE name = ? AND code = ? ORDER BY created_at DESC, strategy_id DESC LIMIT 1"""
_SAME_RESULT: Final = """
    SELECT iteration_id FROM provenance JOIN iterations USING (iteration_id)
    WHERE result_hash = ? AND strategy_id = ? AND code_hash = ?
    ORDER BY iteration_number LIMIT 1"""


class Versions:
    """The versions that iterations of one transaction belong to, each looked up or made once.

    A version is the one of the id that is given; else, of the name, the newest one with the same code, or a new one
    whose parent is the newest. Where the code is unknown it is the newest of the name.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._found: dict[tuple[str, str | None], tuple[str, str]] = {}

    def of(self, strategy: str, code: str | None) -> tuple[str, str]:
        """Return the id of the version, and the code that was run."""
        if (strategy, code) not in self._found:
            self._found[strategy, code] = self._version(strategy, code)
        return self._found[strategy, code]

    def _version(self, strategy: str, code: str | None) -> tuple[str, str]:
        by_id = self._connection.execute(_BY_ID, (strategy,)).fetchone()
        if by_id is not None:
            return strategy, by_id[0] if code is None else code
        newest = self._connection.execute(_NEWEST, (strategy,)).fetchone()
        if code is None and newest is not None:
            return newest[0], newest[1]
        code = code or ""
        same = self._connection.execute(_SAME_CODE, (strategy, code)).fetchone()
        if same is not None:
            return same[0], code
        made = strategy_record(strategy, code, None, None if newest is None else newest[0])
        insert_strategy(self._connection, made)
        return made.strategy_id, code


def record(
    connection: sqlite3.Connection, versions: Versions, recording: Recording, *, again: bool
) -> tuple[str, bool]:
    """Store an iteration and return its id and True.

    If its version has the same result already, and it is not wanted again, return the id of that one and False.
    """
    strategy_id, code = versions.of(recording.strategy, recording.code)
    origin = replace(
        recording.iteration.provenance or Provenance(),
        code_hash=code_hash(code),
        result_hash=result_hash(recording.iteration),
    )
    if not again:
        same = connection.execute(_SAME_RESULT, (origin.result_hash, strategy_id, origin.code_hash)).fetchone()
        if same is not None:
            return same[0], False
    insert_iteration(connection, replace(recording.iteration, strategy_id=strategy_id, provenance=origin))
    return recording.iteration.iteration_id, True
