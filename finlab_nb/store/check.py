"""Which stored values break today's rules: written by another program, or adopted with an older file.

The rules are those of the schema's CHECKs, told so that each finding names table, row and column. SQLite enforces a
CHECK when a row is written; this finds what came in past it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

# Only with a shift does date() compute, and 2024-02-30 becomes another day; without one it is handed back as it is.
_DAY: Final = (
    "typeof({0}) = 'text' AND date(substr({0}, 1, 10), '+0 days') IS substr({0}, 1, 10) AND julianday({0}) IS NOT NULL"
)
_NUMBER: Final = "typeof({0}) = 'real' AND abs({0}) < 9e999"
_TEXT: Final = "typeof({0}) = 'text' AND {0} <> ''"
_WHOLE: Final = "typeof({0}) = 'integer' AND {0} >= "
_OBJECT: Final = "CASE WHEN json_valid({0}) THEN json_type({0}) = 'object' END"
_ARRAY: Final = "CASE WHEN json_valid({0}) THEN json_type({0}) = 'array' END"

_IS_NUMBER: Final = "a finite number"
_IS_TEXT: Final = "text that is not empty"
_IS_MOMENT: Final = "a date and time in ISO 8601"
_IS_DAY: Final = "a date that exists, as YYYY-MM-DD, or date and time in ISO 8601"


class _Rule(NamedTuple):
    column: str
    condition: str  # of {0}, the column
    allowed: str
    nullable: bool = False

    @property
    def broken(self) -> str:
        met = f"ifnull({self.condition.format(self.column)}, 0)"
        return f"({self.column} IS NOT NULL AND NOT {met})" if self.nullable else f"(NOT {met})"


_RULES: Final = {
    "strategies": (
        _Rule("strategy_id", _TEXT, _IS_TEXT),
        _Rule("name", _TEXT, _IS_TEXT),
        _Rule("code", "typeof({0}) = 'text'", "text"),
        _Rule("parameters", _OBJECT, "a JSON object", nullable=True),
        _Rule("created_at", _DAY, _IS_MOMENT),
    ),
    "iterations": (
        _Rule("iteration_id", _TEXT, _IS_TEXT),
        _Rule("iteration_number", _WHOLE + "1", "a whole number of at least 1"),
        _Rule("code", "typeof({0}) = 'text'", "text"),
        _Rule("timestamp", _DAY, _IS_MOMENT),
        _Rule("parameters", _OBJECT, "a JSON object", nullable=True),
        _Rule("note", "typeof({0}) = 'text'", "text", nullable=True),
        _Rule("starred", "{0} IN (0, 1)", "0 or 1"),
        _Rule("archived", "{0} IN (0, 1)", "0 or 1"),
    ),
    "metrics": (
        _Rule("annualized_return", _NUMBER, _IS_NUMBER, nullable=True),
        _Rule("sharpe_ratio", _NUMBER, _IS_NUMBER, nullable=True),
        _Rule("max_drawdown", _NUMBER + " AND {0} <= 0", "a fraction of at most 0", nullable=True),
        _Rule("win_rate", _NUMBER + " AND {0} BETWEEN 0 AND 1", "a fraction from 0 to 1", nullable=True),
        _Rule("total_trades", _WHOLE + "0", "a whole number of at least 0", nullable=True),
    ),
    "extra_metrics": (
        _Rule("name", _TEXT, _IS_TEXT),
        _Rule("value", "typeof({0}) = 'real'", "a number", nullable=True),
    ),
    "suggestions": (
        _Rule("priority", "{0} IN ('high', 'medium', 'low')", "high, medium or low"),
        _Rule("description", _TEXT, _IS_TEXT),
        *(
            _Rule(name, "typeof({0}) = 'text'", "text", nullable=True)
            for name in ("specific_changes", "expected_impact", "rationale")
        ),
        _Rule("learning_references", _ARRAY, "a JSON array", nullable=True),
        _Rule("status", "{0} IN ('open', 'applied', 'rejected')", "open, applied or rejected"),
    ),
    "trades": (
        _Rule("stock_code", _TEXT, _IS_TEXT),
        _Rule("entry_date", _DAY, _IS_DAY, nullable=True),
        _Rule("exit_date", _DAY, _IS_DAY, nullable=True),
        _Rule(
            "exit_date",
            "entry_date IS NULL OR substr({0}, 1, 10) >= substr(entry_date, 1, 10)",
            "not before the entry_date",
            nullable=True,
        ),
        *(
            _Rule(name, _NUMBER, _IS_NUMBER, nullable=True)
            for name in ("entry_price", "exit_price", "position_size", "profit_loss")
        ),
    ),
    "equity": (_Rule("date", _DAY, _IS_DAY), _Rule("equity", _NUMBER, _IS_NUMBER)),
    "tags": (_Rule("tag", _TEXT, _IS_TEXT),),
}
_NOTES: Final = "SELECT table_name, row_id, column_name, original, problem FROM adoption_notes ORDER BY note_id LIMIT ?"
_ORPHANS: Final = 'SELECT "table", "rowid", parent, fkid FROM pragma_foreign_key_check LIMIT ?'
_FOREIGN_KEYS: Final = 'SELECT "from" FROM pragma_foreign_key_list(?) WHERE id = ?'


def findings(connection: sqlite3.Connection, limit: int) -> list[dict[str, Any]]:
    """Return what breaks the rules, at most `limit` findings of each kind and table."""
    return [
        dict(zip(("table", "row", "column", "value", "problem"), finding, strict=True))
        for search in (_broken_rules, _missing_owners, _adopted)
        for finding in search(connection, limit)
    ]


def _broken_rules(connection: sqlite3.Connection, limit: int) -> Iterator[tuple[Any, ...]]:
    for table, rules in _RULES.items():
        broken = [rule.broken for rule in rules]
        columns = ", ".join((*(rule.column for rule in rules), *broken))
        query = f"SELECT rowid, {columns} FROM {table} WHERE {' OR '.join(broken)} LIMIT ?"
        for row_id, *cells in connection.execute(query, (limit,)):
            values, flags = cells[: len(rules)], cells[len(rules) :]
            for rule, value, is_broken in zip(rules, values, flags, strict=True):
                if is_broken:
                    yield table, row_id, rule.column, value, f"it must be {rule.allowed}"


def _missing_owners(connection: sqlite3.Connection, limit: int) -> Iterator[tuple[Any, ...]]:
    for table, row_id, parent, key in connection.execute(_ORPHANS, (limit,)).fetchall():
        (column,) = connection.execute(_FOREIGN_KEYS, (table, key)).fetchone()
        (value,) = connection.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (row_id,)).fetchone()
        yield table, row_id, column, value, f"no row of {parent} has this id"


def _adopted(connection: sqlite3.Connection, limit: int) -> Iterator[tuple[Any, ...]]:
    for table, row_id, column, original, problem in connection.execute(_NOTES, (limit,)):
        yield table, row_id, column, None if original is None else json.loads(original), problem
