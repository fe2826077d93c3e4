"""Rows of the store as the dicts that `load_*` and the export give."""

from __future__ import annotations

import json
import sqlite3
import warnings
from typing import Any, Final

from finlab_nb.errors import BadDataWarning, IterationNotFoundError, StrategyNotFoundError
from finlab_nb.records import METRICS
from finlab_nb.records.tables import EQUITY_FIELDS, ITERATIONS, STRATEGIES, SUGGESTIONS, TRADE_FIELDS
from finlab_nb.records.values import shown

STRATEGY_FIELDS: Final = STRATEGIES.names
SUGGESTION_FIELDS: Final = SUGGESTIONS.names_without("iteration_id")
_ITERATION_FIELDS: Final = ITERATIONS.names

_STRATEGY: Final = f"SELECT {', '.join(STRATEGY_FIELDS)} FROM strategies WHERE strategy_id = ?"
_STRATEGIES_BY_NAME: Final = (
    f"SELECT {', '.join(STRATEGY_FIELDS)} FROM strategies WHERE name = ? ORDER BY created_at, strategy_id"
)
_ITERATION: Final = f"SELECT {', '.join(_ITERATION_FIELDS)} FROM iterations WHERE iteration_id = ?"
_HISTORY: Final = (
    f"SELECT {', '.join(_ITERATION_FIELDS)} FROM iterations WHERE strategy_id = ? ORDER BY iteration_number"
)
_METRICS: Final = f"SELECT {', '.join(METRICS)} FROM metrics WHERE iteration_id = ?"
_EXTRA_METRICS: Final = "SELECT name, value FROM extra_metrics WHERE iteration_id = ? ORDER BY rowid"
_TRADES: Final = f"SELECT {', '.join(TRADE_FIELDS)} FROM trades WHERE iteration_id = ? ORDER BY entry_date, trade_id"
_EQUITY: Final = f"SELECT {', '.join(EQUITY_FIELDS)} FROM equity WHERE iteration_id = ? ORDER BY date, equity_id"
_SUGGESTIONS: Final = f"""
    SELECT {", ".join(SUGGESTION_FIELDS)} FROM suggestions WHERE iteration_id = ?
    ORDER BY CASE priority WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END, suggestion_id"""
_LAST_BACKUP: Final = "SELECT last_backup, last_backup_at FROM store_state"
_TAGS: Final = "SELECT tag FROM tags WHERE iteration_id = ? ORDER BY rowid"


def strategy(connection: sqlite3.Connection, strategy_id: str) -> dict[str, Any]:
    """Return one strategy version."""
    row = connection.execute(_STRATEGY, (strategy_id,)).fetchone()
    if row is None:
        raise StrategyNotFoundError(f"strategy_id is {strategy_id!r}; no strategy has this id")
    return _strategy(row)


def strategies_by_name(connection: sqlite3.Connection, name: str) -> list[dict[str, Any]]:
    """Return the strategy versions of this very name, the oldest first."""
    return [_strategy(row) for row in connection.execute(_STRATEGIES_BY_NAME, (name,)).fetchall()]


def iteration(connection: sqlite3.Connection, iteration_id: str) -> dict[str, Any]:
    """Return one iteration with everything that belongs to it."""
    row = connection.execute(_ITERATION, (iteration_id,)).fetchone()
    if row is None:
        raise IterationNotFoundError(f"iteration_id is {iteration_id!r}; no iteration has this id")
    key = (row[0],)
    trades = connection.execute(_TRADES, key).fetchall()
    equity = connection.execute(_EQUITY, key).fetchall()
    suggestions = connection.execute(_SUGGESTIONS, key).fetchall()
    return _iteration(connection, row) | {
        "trades": [dict(zip(TRADE_FIELDS, trade, strict=True)) for trade in trades],
        "equity": [dict(zip(EQUITY_FIELDS, point, strict=True)) for point in equity],
        "suggestions": [_suggestion(one) for one in suggestions],
    }


def history(connection: sqlite3.Connection, strategy_id: str) -> list[dict[str, Any]]:
    """Return the iterations of a strategy by number, without trades, equity and suggestions."""
    strategy(connection, strategy_id)
    return [_iteration(connection, row) for row in connection.execute(_HISTORY, (strategy_id,)).fetchall()]


def last_backup(connection: sqlite3.Connection) -> dict[str, Any] | None:
    """Return path and time of the newest backup, if there was one."""
    path, created_at = connection.execute(_LAST_BACKUP).fetchone()
    return None if path is None else {"path": path, "created_at": created_at}


def _strategy(row: tuple[Any, ...]) -> dict[str, Any]:
    found = dict(zip(STRATEGY_FIELDS, row, strict=True))
    found["parameters"] = _object("strategies", found["strategy_id"], found["parameters"])
    return found


def _iteration(connection: sqlite3.Connection, row: tuple[Any, ...]) -> dict[str, Any]:
    found = dict(zip(_ITERATION_FIELDS, row, strict=True))
    found["parameters"] = _object("iterations", found["iteration_id"], found["parameters"])
    found["starred"], found["archived"] = bool(found["starred"]), bool(found["archived"])
    key = (row[0],)
    metrics = connection.execute(_METRICS, key).fetchone() or (None,) * len(METRICS)
    found["metrics"] = dict(zip(METRICS, metrics, strict=True))
    found["extra_metrics"] = dict(connection.execute(_EXTRA_METRICS, key).fetchall())
    found["tags"] = [tag for (tag,) in connection.execute(_TAGS, key).fetchall()]
    return found


def _suggestion(row: tuple[Any, ...]) -> dict[str, Any]:
    found = dict(zip(SUGGESTION_FIELDS, row, strict=True))
    where = ("suggestions", found["suggestion_id"], "learning_references")
    found["learning_references"] = _json(*where, found["learning_references"], list)
    return found


def _object(table: str, row_id: object, stored: Any) -> Any:
    return _json(table, row_id, "parameters", stored or "{}", dict) or {}


def _json(table: str, row_id: object, column: str, stored: Any, kind: type) -> Any:
    """Return stored JSON, or nothing and a warning where it is none of the wanted kind."""
    if stored is None:
        return None
    try:
        value = json.loads(stored)
    except (ValueError, TypeError, RecursionError):
        value = None
    if isinstance(value, kind):
        return value
    warnings.warn(
        f"{table}.{column} of {row_id!r} is {shown(stored)}, no JSON {kind.__name__}; it is left out, "
        "and store.check() lists all such values",
        BadDataWarning,
        stacklevel=2,
    )
    return None
