"""Iterations under the right version of their strategy, each result once."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import replace
from typing import Any, Final, NamedTuple

from finlab_nb.errors import StrategyNotFoundError
from finlab_nb.records import Recording, strategy_record
from finlab_nb.records.provenance import Provenance, code_hash, result_hash
from finlab_nb.records.values import shown
from finlab_nb.store.broken_text import fetched
from finlab_nb.store.saving import insert_iteration, insert_strategy

_BY_ID: Final = "SELECT strategy_id, code, parameters FROM strategies WHERE strategy_id = ?"
_OF_NAME: Final = """
    SELECT strategy_id, code, parameters FROM strategies WHERE name = ?1 AND (?2 IS NULL OR code = ?2)
    ORDER BY created_at DESC, strategy_id DESC LIMIT 1"""
# CROSS: by the hash, and not by all iterations of the version.
_SAME_RESULT: Final = """
    SELECT iteration_id FROM provenance CROSS JOIN iterations USING (iteration_id)
    WHERE result_hash = ? AND strategy_id = ? AND code_hash = ?
    ORDER BY iteration_number LIMIT 1"""
_AN_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Version(NamedTuple):
    """A version of a strategy; what another program has stored of it may be of other types."""

    strategy_id: str
    code: Any
    parameters: Any


class Versions:
    """The versions that iterations of one transaction belong to, each looked up or made once.

    A version is the one of the id that is given; else, of the name, the newest one with the same code, or a new one
    whose parent is the newest. Where the code is unknown it is the newest of the name.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._found: dict[tuple[str, str | None], Version] = {}

    def of(self, strategy: str, code: str | None) -> Version:
        """Return the version, with the code that was run.

        Raises
        ------
        StrategyNotFoundError
            If it is an id, and no strategy has it.
        """
        if (strategy, code) not in self._found:
            self._found[strategy, code] = self._version(strategy, code)
        return self._found[strategy, code]

    def _version(self, strategy: str, code: str | None) -> Version:
        by_id = self._first(_BY_ID, strategy)
        if by_id is not None:
            return by_id if code is None else by_id._replace(code=code)
        same = self._first(_OF_NAME, strategy, code)
        if same is not None:
            return same
        if _AN_ID.fullmatch(strategy):
            raise StrategyNotFoundError(f"strategy is {shown(strategy)}; no strategy has this id")
        newest = self._first(_OF_NAME, strategy, None)
        made = strategy_record(strategy, code or "", None, None if newest is None else newest.strategy_id)
        insert_strategy(self._connection, made)
        return Version(made.strategy_id, made.code, made.parameters)

    def _first(self, query: str, *values: str | None) -> Version | None:
        rows = fetched(self._connection, query, values)
        return Version(*rows[0]) if rows else None


def record(
    connection: sqlite3.Connection, versions: Versions, recording: Recording, outcome: str, *, again: bool
) -> tuple[str, bool]:
    """Store an iteration, whose outcome is given as its hash, and return its id and True.

    If its version has the same result already, and it is not wanted again, return the id of that one and False.
    """
    iteration = recording.iteration
    version = versions.of(recording.strategy, recording.code)
    parameters = version.parameters if iteration.parameters is None else iteration.parameters
    origin = replace(
        iteration.provenance or Provenance(),
        code_hash=code_hash(version.code),
        result_hash=result_hash(outcome, parameters),
    )
    if not again:
        same = connection.execute(_SAME_RESULT, (origin.result_hash, version.strategy_id, origin.code_hash)).fetchone()
        if same is not None:
            return same[0], False
    stored = replace(iteration, strategy_id=version.strategy_id, code=version.code, provenance=origin)
    insert_iteration(connection, stored)
    return iteration.iteration_id, True
