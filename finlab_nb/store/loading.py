"""Rows of the store as the dicts that `load_*` and the export give."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from finlab_nb.errors import BadDataWarning, IterationNotFoundError, StrategyNotFoundError
from finlab_nb.errors import warn as warn_caller
from finlab_nb.records import METRICS
from finlab_nb.records.provenance import PROVENANCE_FIELDS
from finlab_nb.records.tables import EQUITY_FIELDS, ITERATIONS, STRATEGIES, SUGGESTIONS, TRADE_FIELDS
from finlab_nb.records.values import shown
from finlab_nb.store.broken_text import Row, fetched

STRATEGY_FIELDS: Final = STRATEGIES.names
SUGGESTION_FIELDS: Final = SUGGESTIONS.names_without("iteration_id")
ITERATION_FIELDS: Final = ITERATIONS.names

_STRATEGY: Final = f"SELECT {', '.join(STRATEGY_FIELDS)} FROM strategies WHERE strategy_id = ?"
_STRATEGIES_BY_NAME: Final = (
    f"SELECT {', '.join(STRATEGY_FIELDS)} FROM strategies WHERE name = ? ORDER BY created_at, strategy_id"
)
_ITERATION: Final = f"SELECT {', '.join(ITERATION_FIELDS)} FROM iterations WHERE iteration_id = ?"
_HISTORY: Final = (
    f"SELECT {', '.join(ITERATION_FIELDS)} FROM iterations WHERE strategy_id = ? ORDER BY iteration_number"
)
_FIGURES: Final = {
    "metrics": f"SELECT {', '.join(METRICS)} FROM metrics WHERE iteration_id = ?",
    "extra_metrics": "SELECT name, value FROM extra_metrics WHERE iteration_id = ? ORDER BY rowid",
    "tags": "SELECT tag FROM tags WHERE iteration_id = ? ORDER BY rowid",
    "provenance": f"SELECT {', '.join(PROVENANCE_FIELDS)} FROM provenance WHERE iteration_id = ?",
}
_TRADES: Final = "SELECT {} FROM trades WHERE iteration_id = ? ORDER BY entry_date, trade_id"
# What every engine knows, and what most trades lack, so that it is not read for nothing.
_COMMON: Final = TRADE_FIELDS[: TRADE_FIELDS.index("trade_return")]
_FURTHER: Final = TRADE_FIELDS[len(_COMMON) :]
_UNKNOWN: Final = (None,) * len(_FURTHER)
_COMMON_OF_TRADES: Final = _TRADES.format(", ".join(_COMMON))
_KNOWS_MORE: Final = f"""
    SELECT EXISTS (SELECT 1 FROM trades WHERE iteration_id = ? AND coalesce({", ".join(_FURTHER)}) IS NOT NULL)"""
_LISTS: Final = {
    "trades": _TRADES.format(", ".join(TRADE_FIELDS)),
    "equity": f"""
        SELECT {", ".join(EQUITY_FIELDS)} FROM equity JOIN curves USING (curve_id) WHERE iteration_id = ?
        ORDER BY date, equity_id""",
    "suggestions": f"""
        SELECT {", ".join(SUGGESTION_FIELDS)} FROM suggestions WHERE iteration_id = ?
        ORDER BY CASE priority WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END, suggestion_id""",
    "applications": """
        SELECT a.suggestion_id, a.iteration_id FROM suggestions AS s JOIN applications AS a USING (suggestion_id)
        WHERE s.iteration_id = ? ORDER BY a.rowid""",
}
_LAST_BACKUP: Final = "SELECT last_backup, last_backup_at FROM store_state"


def strategy(connection: sqlite3.Connection, strategy_id: str) -> dict[str, Any]:
    """Return one strategy version."""
    return strategy_of(strategy_row(connection, strategy_id, warn=True))


def strategy_row(connection: sqlite3.Connection, strategy_id: str, *, warn: bool = False) -> Row:
    """Return the stored row of a strategy version, in the order of STRATEGY_FIELDS."""
    rows = fetched(connection, _STRATEGY, (strategy_id,), warn=warn)
    if not rows:
        raise StrategyNotFoundError(f"strategy_id is {strategy_id!r}; no strategy has this id")
    return rows[0]


def strategies_by_name(connection: sqlite3.Connection, name: str) -> list[dict[str, Any]]:
    """Return the strategy versions of this very name, the oldest first."""
    rows = fetched(connection, _STRATEGIES_BY_NAME, (name,), warn=True)
    return [strategy_of(row) for row in rows]


def iteration(connection: sqlite3.Connection, iteration_id: str) -> dict[str, Any]:
    """Return one iteration with everything that belongs to it."""
    return iteration_of(iteration_rows(connection, iteration_id, warn=True))


def iteration_rows(connection: sqlite3.Connection, iteration_id: str, *, warn: bool = False) -> dict[str, list[Row]]:
    """Return the stored rows of an iteration by table, in the order in which `load_iteration` gives them.

    They lack the owner and, apart from suggestions, the row number; these end with the iterations that applied them.
    """
    rows = fetched(connection, _ITERATION, (iteration_id,), warn=warn)
    if not rows:
        raise IterationNotFoundError(f"iteration_id is {iteration_id!r}; no iteration has this id")
    found = {"iterations": rows}
    (knows_more,) = connection.execute(_KNOWS_MORE, rows[0][:1]).fetchone()
    for table, query in (*_FIGURES.items(), *_LISTS.items()):
        if table == "trades" and not knows_more:
            common = fetched(connection, _COMMON_OF_TRADES, rows[0][:1], warn=warn)
            found[table] = [row + _UNKNOWN for row in common]
        else:
            found[table] = fetched(connection, query, rows[0][:1], warn=warn)
    applied: dict[int, list[str]] = {}
    for suggestion_id, applying in found.pop("applications"):
        applied.setdefault(suggestion_id, []).append(applying)
    found["suggestions"] = [(*row, applied.get(row[0], [])) for row in found["suggestions"]]
    return found


def history(connection: sqlite3.Connection, strategy_id: str) -> list[dict[str, Any]]:
    """Return the iterations of a strategy by number, without trades, equity and suggestions."""
    strategy(connection, strategy_id)
    return [
        iteration_of(
            {"iterations": [row]}
            | {table: fetched(connection, query, row[:1], warn=True) for table, query in _FIGURES.items()}
        )
        for row in fetched(connection, _HISTORY, (strategy_id,), warn=True)
    ]


def last_backup(connection: sqlite3.Connection) -> dict[str, Any] | None:
    """Return path and time of the newest backup, if there was one."""
    path, created_at = connection.execute(_LAST_BACKUP).fetchone()
    return None if path is None else {"path": path, "created_at": created_at}


def strategy_of(row: Row, *, warn: bool = True) -> dict[str, Any]:
    """Return a row of strategies as a dict, with its JSON read; `warn` of what is none, and left out."""
    found = dict(zip(STRATEGY_FIELDS, row, strict=True))
    found["parameters"] = _object("strategies", found["strategy_id"], found["parameters"], warn=warn)
    return found


def iteration_of(rows: Mapping[str, list[Row]], *, warn: bool = True) -> dict[str, Any]:
    """Return the rows of an iteration as a dict, with their JSON read; `warn` of what is none, and left out."""
    found = dict(zip(ITERATION_FIELDS, rows["iterations"][0], strict=True))
    found["parameters"] = _object("iterations", found["iteration_id"], found["parameters"], warn=warn)
    found["starred"], found["archived"] = bool(found["starred"]), bool(found["archived"])
    metrics = rows["metrics"][0] if rows["metrics"] else (None,) * len(METRICS)
    found["metrics"] = dict(zip(METRICS, metrics, strict=True))
    found["extra_metrics"] = dict(rows["extra_metrics"])
    found["tags"] = [tag for (tag,) in rows["tags"]]
    found["provenance"] = _provenance(found["iteration_id"], rows["provenance"], warn=warn)
    if "trades" in rows:
        found["trades"] = trades_of(found["iteration_id"], rows["trades"], warn=warn)
        found["equity"] = [dict(zip(EQUITY_FIELDS, point, strict=True)) for point in rows["equity"]]
        found["suggestions"] = [_suggestion(one, warn=warn) for one in rows["suggestions"]]
    return found


def trades_of(
    iteration_id: object, rows: list[Row], fields: Sequence[str] = TRADE_FIELDS, *, warn: bool = True
) -> list[dict[str, Any]]:
    """Return rows of trades as dicts, with `extra` read, if it is among the fields."""
    found = [dict(zip(fields, row, strict=True)) for row in rows]
    if "extra" in fields:
        for trade in found:
            if trade["extra"] is not None:
                trade["extra"] = _json("trades", iteration_id, "extra", trade["extra"], dict, warn=warn)
    return found


def _suggestion(row: Row, *, warn: bool) -> dict[str, Any]:
    *columns, applied = row
    found = dict(zip(SUGGESTION_FIELDS, columns, strict=True))
    found |= {"applied_iteration_id": applied[0] if applied else None, "applied_iteration_ids": applied}
    where = ("suggestions", found["suggestion_id"], "learning_references")
    found["learning_references"] = _json(*where, found["learning_references"], list, warn=warn)
    return found


def _provenance(iteration_id: object, rows: list[Row], *, warn: bool) -> dict[str, Any] | None:
    if not rows:
        return None
    found = dict(zip(PROVENANCE_FIELDS, rows[0], strict=True))
    found["packages"] = _json("provenance", iteration_id, "packages", found["packages"], dict, warn=warn)
    return found


def _object(table: str, row_id: object, stored: Any, *, warn: bool) -> Any:
    return _json(table, row_id, "parameters", stored or "{}", dict, warn=warn) or {}


def _json(table: str, row_id: object, column: str, stored: Any, kind: type, *, warn: bool) -> Any:
    """Return stored JSON, or nothing and a warning where it is none of the wanted kind."""
    if stored is None:
        return None
    try:
        value = json.loads(stored)
    except (ValueError, TypeError, RecursionError):
        value = None
    if isinstance(value, kind):
        return value
    if warn:
        warn_caller(
            f"{table}.{column} of {row_id!r} is {shown(stored)}, no JSON {kind.__name__}; it is left out, "
            "and store.check() lists all such values",
            BadDataWarning,
        )
    return None
