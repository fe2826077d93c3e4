"""Adopt a file of the original storage layer: its five tables become ours without losing a row.

Values that today's rules would not accept stay as they are; `check` reports them. The original layer had no foreign
keys and no unique iteration numbers, so a few rows would violate today's keys and are changed:

- If a row names an iteration or a strategy that is missing, one is made with that id.
- If two iterations of a strategy have the same number, one of them gets the next free number.
- If an iteration has several rows of metrics, the newest one stays and the others are kept as JSON.

Each change is noted in `adoption_notes` with the original value, and reported too. Values that are times are converted
to today's form.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from finlab_nb.records import new_id
from finlab_nb.records.days import day_or_moment, timestamp_text
from finlab_nb.records.tables import TABLES
from finlab_nb.store.broken_text import fetched
from finlab_nb.store.schema import ORIGINAL_TABLES

_OWN_INDEXES: Final = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
_NOTE: Final = """
    INSERT INTO adoption_notes (table_name, row_id, column_name, original, problem) VALUES (?, ?, ?, ?, ?)"""

_WITHOUT_ID: Final = "SELECT rowid FROM original_{table} WHERE {column} IS NULL"
_GIVE_ID: Final = "UPDATE original_{table} SET {column} = ? WHERE rowid = ?"
_MISSING_ITERATIONS: Final = """
    SELECT '{table}', {key}, iteration_id FROM original_{table}
    WHERE iteration_id NOT IN (SELECT iteration_id FROM original_iterations) GROUP BY iteration_id"""
_MAKE_ITERATION: Final = """
    INSERT INTO original_iterations (iteration_id, strategy_id, iteration_number, code, timestamp)
    VALUES (?, ?, ?, '', NULL)"""
_MISSING_STRATEGIES: Final = """
    SELECT 'iterations', rowid, 'strategy_id', strategy_id, code FROM original_iterations
    WHERE strategy_id NOT IN (SELECT strategy_id FROM original_strategies) GROUP BY strategy_id
    UNION ALL SELECT 'strategies', rowid, 'parent_strategy_id', parent_strategy_id, '' FROM original_strategies
    WHERE parent_strategy_id NOT IN (SELECT strategy_id FROM original_strategies) GROUP BY parent_strategy_id"""
_MAKE_STRATEGY: Final = """
    INSERT OR IGNORE INTO original_strategies (strategy_id, name, code, created_at)
    VALUES (?, ?, CAST(? AS TEXT), NULL)"""
_REPEATED_NUMBERS: Final = """
    SELECT row_id, iteration_number, largest + row_number() OVER (PARTITION BY strategy_id ORDER BY row_id) FROM (
        SELECT rowid AS row_id, strategy_id, iteration_number,
               row_number() OVER (PARTITION BY strategy_id, iteration_number ORDER BY rowid) AS place,
               max(iif(typeof(iteration_number) = 'integer', iteration_number, 0))
                   OVER (PARTITION BY strategy_id) AS largest
        FROM original_iterations)
    WHERE place > 1 ORDER BY row_id"""
_RENUMBER: Final = "UPDATE original_iterations SET iteration_number = ? WHERE rowid = ?"
_OLDER_METRICS: Final = """
    SELECT * FROM original_metrics AS m
    WHERE EXISTS (SELECT 1 FROM original_metrics AS newer
                  WHERE newer.iteration_id = m.iteration_id AND newer.metric_id > m.metric_id)"""

# The original layer had parameters only for strategies; by default an iteration has those of its strategy.
_PARAMETERS_OF_ITERATIONS: Final = """
    UPDATE iterations SET parameters = (
        SELECT CASE WHEN json_type(CASE WHEN json_valid(parameters) THEN parameters END) = 'object' THEN parameters END
        FROM strategies WHERE strategies.strategy_id = iterations.strategy_id)"""
_LOST: Final = "(iterations of which only parts were left)"

# How values of a kind are converted to today's form; one that cannot be converted stays as it is. Nor does Python see
# text that is no UTF-8, which it could not read.
_FORMS: Final[dict[str, Callable[[str, Any], str]]] = {"moment": timestamp_text, "date": day_or_moment}
_FORMED: Final = "CASE WHEN date({0}) IS {0} OR {0} GLOB '*[^ -~]*' THEN {0} ELSE adopted_{1}({0}) END"


def adopt(connection: sqlite3.Connection, migrate: Callable[[sqlite3.Connection], None]) -> None:
    """Put the rows of the original tables into the schema that `migrate` creates, within the caller's transaction.

    The triggers that record edits are created later: they would take the kept ids for edits, and no copy of these rows
    exists yet.
    """
    for (index,) in connection.execute(_OWN_INDEXES).fetchall():
        connection.execute(f'DROP INDEX "{index.replace(chr(34), chr(34) * 2)}"')
    for table in ORIGINAL_TABLES:
        connection.execute(f"ALTER TABLE {table} RENAME TO original_{table}")
    connection.execute("CREATE INDEX original_numbers ON original_iterations (strategy_id, iteration_number)")
    connection.execute("CREATE INDEX original_owners ON original_metrics (iteration_id)")
    migrate(connection)
    connection.execute("PRAGMA defer_foreign_keys = ON")
    _complete_keys(connection)
    _copy_rows(connection)
    for table in ORIGINAL_TABLES:
        connection.execute(f"DROP TABLE original_{table}")


def _complete_keys(connection: sqlite3.Connection) -> None:
    """Make every row satisfy the primary, foreign and unique keys, and note what was changed."""

    def note(table: str, row_id: int, column: str, original: object, problem: str) -> None:
        text = json.dumps(original, ensure_ascii=False, default=str)
        connection.execute(_NOTE, (table, row_id, column, text, problem))

    for table, column in (("strategies", "strategy_id"), ("iterations", "iteration_id")):
        for (row_id,) in connection.execute(_WITHOUT_ID.format(table=table, column=column)).fetchall():
            connection.execute(_GIVE_ID.format(table=table, column=column), (new_id(), row_id))
            note(table, row_id, column, None, "it had no id and was given one")
    lost, made = new_id(), 0
    for table, key in (("metrics", "metric_id"), ("suggestions", "suggestion_id"), ("trades", "trade_id")):
        for where, row_id, missing in connection.execute(_MISSING_ITERATIONS.format(table=table, key=key)).fetchall():
            made += 1
            connection.execute(_MAKE_ITERATION, (missing, lost, made))
            note(where, row_id, "iteration_id", missing, "no iteration has this id; an empty one was made")
    if made:
        connection.execute(_MAKE_STRATEGY, (lost, _LOST, ""))
    for table, row_id, column, missing, code in fetched(connection, _MISSING_STRATEGIES):
        connection.execute(_MAKE_STRATEGY, (missing, missing, code))
        note(table, row_id, column, missing, "no strategy has this id; one was made")
    for row_id, number, free in fetched(connection, _REPEATED_NUMBERS):
        connection.execute(_RENUMBER, (free, row_id))
        note("iterations", row_id, "iteration_number", number, "another iteration of the strategy has this number")
    for row in fetched(connection, _OLDER_METRICS):
        values = dict(zip(ORIGINAL_TABLES["metrics"], row, strict=True))
        note("metrics", row[0], "iteration_id", values, "a newer row has the metrics of this iteration")
        connection.execute("DELETE FROM original_metrics WHERE metric_id = ?", row[:1])


def _copy_rows(connection: sqlite3.Connection) -> None:
    for kind, form in _FORMS.items():
        connection.create_function(f"adopted_{kind}", 1, _kept_if_wrong(form), deterministic=True)
    for table, columns in ORIGINAL_TABLES.items():
        kinds = {column: TABLES[table].column(column).rule.kind for column in columns}
        forms = ", ".join(_FORMED.format(one, kind) if kind in _FORMS else one for one, kind in kinds.items())
        connection.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {forms} FROM original_{table} ORDER BY rowid"
        )
    connection.execute(_PARAMETERS_OF_ITERATIONS)


def _kept_if_wrong(form: Callable[[str, Any], str]) -> Callable[[Any], Any]:
    def formed(value: Any) -> Any:
        try:
            return form("", value)
        except (ValueError, TypeError):
            return value

    return formed
