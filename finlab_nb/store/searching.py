"""Finding strategies: by words in name and code, and by descent."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from finlab_nb.errors import StrategyNotFoundError

_LEAST_INDEXED: Final = 3  # a trigram
_CONTEXT: Final = 60
_FIELDS: Final = ("strategy_id", "name", "created_at", "parent_strategy_id")
_COLUMNS: Final = ", ".join(f"s.{name}" for name in _FIELDS)
_MATCHING: Final = f"""
    SELECT {_COLUMNS}, s.code FROM strategies_search AS found JOIN strategies AS s ON s.rowid = found.rowid
    WHERE strategies_search MATCH ?{{short}}
    ORDER BY bm25(strategies_search, 10.0, 1.0), s.created_at DESC, s.strategy_id LIMIT ?"""
_CONTAINING: Final = f"""
    SELECT {_COLUMNS}, s.code FROM strategies AS s WHERE true{{short}}
    ORDER BY s.created_at DESC, s.strategy_id LIMIT ?"""
_SHORT: Final = " AND (s.name LIKE ? ESCAPE '\\' OR s.code LIKE ? ESCAPE '\\')"
_FAMILY: Final = f"""
    WITH RECURSIVE
        ancestors (id) AS (
            SELECT ?1 UNION SELECT parent_strategy_id FROM strategies JOIN ancestors ON strategy_id = id
            WHERE parent_strategy_id IS NOT NULL),
        descendants (id) AS (
            SELECT ?1 UNION SELECT strategy_id FROM strategies JOIN descendants ON parent_strategy_id = id)
    SELECT {_COLUMNS}, (SELECT count(*) FROM iterations AS i WHERE i.strategy_id = s.strategy_id)
    FROM strategies AS s WHERE strategy_id IN (SELECT id FROM ancestors UNION SELECT id FROM descendants)
    ORDER BY s.created_at, s.strategy_id"""


def strategies(connection: sqlite3.Connection, words: Sequence[str], limit: int) -> list[dict[str, Any]]:
    """Return the strategies that have all the words in name or code, best match first, with a snippet.

    The full-text index finds words of three letters or more; shorter ones, such as most Chinese words, are then looked
    for in what it found.
    """
    indexed = [word for word in words if len(word) >= _LEAST_INDEXED]
    looked_for = [_like(word) for word in words if len(word) < _LEAST_INDEXED]
    values: list[Any] = [pattern for pattern in looked_for for _ in range(2)]
    query = _CONTAINING
    if indexed:
        query = _MATCHING
        values.insert(0, " AND ".join(f'"{word.replace(chr(34), chr(34) * 2)}"' for word in indexed))
    rows = connection.execute(query.format(short=_SHORT * len(looked_for)), (*values, limit)).fetchall()
    return [dict(zip(_FIELDS, row, strict=False)) | _snippet(row[-1], row[1], words) for row in rows]


def lineage(connection: sqlite3.Connection, strategy_id: str) -> list[dict[str, Any]]:
    """Return a strategy with its ancestors, oldest first, and its descendants, each after its parent."""
    rows = [
        dict(zip((*_FIELDS, "iterations"), row, strict=True)) for row in connection.execute(_FAMILY, (strategy_id,))
    ]
    family = {row["strategy_id"]: row for row in rows}
    if strategy_id not in family:
        raise StrategyNotFoundError(f"strategy_id is {strategy_id!r}; no strategy has this id")
    line = [family[strategy_id]]
    while (parent := family.get(line[-1]["parent_strategy_id"])) is not None and parent not in line:
        line.append(parent)
    ordered = [row | {"depth": -place} for place, row in enumerate(line)][::-1]
    children: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        children.setdefault(row["parent_strategy_id"], []).append(row)
    known = {row["strategy_id"] for row in line}  # an adopted file may hold a cycle of parents
    waiting = [(row, 1) for row in reversed(children.get(strategy_id, []))]
    while waiting:
        row, depth = waiting.pop()
        if row["strategy_id"] not in known:
            known.add(row["strategy_id"])
            ordered.append(row | {"depth": depth})
            waiting += [(child, depth + 1) for child in reversed(children.get(row["strategy_id"], []))]
    return ordered


def _like(word: str) -> str:
    return "%" + re.sub(r"([\\%_])", r"\\\1", word) + "%"


def _snippet(code: str, name: str, words: Sequence[str]) -> dict[str, Any]:
    """Return the line of the code, or else the name, that has a word, with the words marked by «»."""
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)), re.IGNORECASE)
    match = pattern.search(code)
    if match is None:
        return {"line": None, "snippet": pattern.sub(r"«\g<0>»", name)}
    first, last = code.rfind("\n", 0, match.start()) + 1, code.find("\n", match.end())
    text = code[max(first, match.start() - _CONTEXT) : min(len(code) if last < 0 else last, match.end() + _CONTEXT)]
    return {"line": code.count("\n", 0, match.start()) + 1, "snippet": pattern.sub(r"«\g<0>»", text.strip())}
