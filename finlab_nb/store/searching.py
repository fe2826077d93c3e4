"""Finding strategies: by words in name and code, and by descent."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from finlab_nb.errors import StrategyNotFoundError
from finlab_nb.store.broken_text import fetched

_TRIGRAM: Final = 3
# Bounds for what the index is asked for and the snippet marks: both look for each word or trigram by itself.
_MOST_TRIGRAMS: Final = 64
_MOST_MARKED: Final = 32
_LONGEST_MARKED: Final = 200
_MOST_SOUGHT_SINGLY: Final = 64
_CONTEXT: Final = 60
_FIELDS: Final = ("strategy_id", "name", "created_at", "parent_strategy_id")
_COLUMNS: Final = ", ".join(f"s.{name}" for name in _FIELDS)
_TEXTS: Final = "CAST(s.name AS BLOB), CAST(s.code AS BLOB)"  # Python refuses text that is no UTF-8
_CANDIDATES: Final = "rowid IN (SELECT rowid FROM strategies_search WHERE strategies_search MATCH ?)"
_FOUND: Final = f"""
    SELECT {_COLUMNS}, s.code FROM strategies AS s WHERE {{candidates}} AND has_words({_TEXTS})
    ORDER BY words_in_name(CAST(s.name AS BLOB)) DESC, s.created_at DESC, s.strategy_id LIMIT ?"""
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

    A match is the better the more of the words stand in the name. The index knows trigrams and gives candidates;
    whether these have the words is asked of their text.
    """
    wanted = list(dict.fromkeys(words))
    connection.create_function("has_words", 2, _has_words(wanted))
    marked = [word.casefold() for word in wanted[:_MOST_MARKED]]
    connection.create_function("words_in_name", 1, lambda name: sum(word in _text(name).casefold() for word in marked))
    trigrams = dict.fromkeys(
        word[at : at + _TRIGRAM] for word in wanted for at in range(min(len(word), _LONGEST_MARKED) - _TRIGRAM + 1)
    )
    asked = " AND ".join(f'"{one.replace(chr(34), chr(34) * 2)}"' for one in list(trigrams)[:_MOST_TRIGRAMS])
    query = _FOUND.format(candidates=_CANDIDATES if asked else "true")
    rows = fetched(connection, query, (*((asked,) if asked else ()), limit), warn=True)
    pattern = _any_of([word[:_LONGEST_MARKED] for word in wanted[:_MOST_MARKED]])
    return [dict(zip(_FIELDS, row, strict=False)) | _snippet(_text(row[-1]), _text(row[1]), pattern) for row in rows]


def lineage(connection: sqlite3.Connection, strategy_id: str) -> list[dict[str, Any]]:
    """Return a strategy with its ancestors, oldest first, and its descendants, each after its parent."""
    rows = [
        dict(zip((*_FIELDS, "iterations"), row, strict=True))
        for row in fetched(connection, _FAMILY, (strategy_id,), warn=True)
    ]
    family = {row["strategy_id"]: row for row in rows}
    if strategy_id not in family:
        raise StrategyNotFoundError(f"strategy_id is {strategy_id!r}; no strategy has this id")
    # An adopted file may hold a cycle of parents.
    line, ancestor = {strategy_id: 0}, strategy_id
    while (ancestor := family[ancestor]["parent_strategy_id"]) in family and ancestor not in line:
        line[ancestor] = -len(line)
    depths = dict(reversed(line.items()))
    children: defaultdict[str, list[str]] = defaultdict(list)
    for row in reversed(rows):
        children[row["parent_strategy_id"]].append(row["strategy_id"])
    waiting = [(child, 1) for child in children[strategy_id]]
    while waiting:
        one, depth = waiting.pop()
        if one not in depths:
            depths[one] = depth
            waiting += [(child, depth + 1) for child in children[one]]
    return [family[one] | {"depth": depth} for one, depth in depths.items()]


def _has_words(words: Iterable[str]) -> Callable[[bytes, bytes], bool]:
    """Return what tells whether a strategy has all the words in name or code, ignoring case."""
    by_length: dict[int, set[str]] = {}
    for word in map(str.casefold, words):
        by_length.setdefault(len(word), set()).add(word)

    def has_words(name: bytes, code: bytes) -> bool:
        text = f"{_text(name)}\0{_text(code)}".casefold()
        return all(_has_all(text, length, group) for length, group in by_length.items())

    return has_words


def _has_all(text: str, length: int, words: set[str]) -> bool:
    """Tell whether text has all words of a length; many are sought at once, in one pass through the text."""
    if len(words) <= _MOST_SOUGHT_SINGLY:
        return all(word in text for word in words)
    return not words.difference(text[at : at + length] for at in range(len(text)))


def _text(stored: str | bytes) -> str:
    return stored if isinstance(stored, str) else stored.decode(errors="replace")


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)), re.IGNORECASE)


def _snippet(code: str, name: str, pattern: re.Pattern[str]) -> dict[str, Any]:
    """Return the line of the code, or else the name, that has a word, with the words marked by «»."""
    match = pattern.search(code)
    if match is None:
        return {"line": None, "snippet": pattern.sub(r"«\g<0>»", name)}
    first, last = code.rfind("\n", 0, match.start()) + 1, code.find("\n", match.end())
    text = code[max(first, match.start() - _CONTEXT) : min(len(code) if last < 0 else last, match.end() + _CONTEXT)]
    return {"line": code.count("\n", 0, match.start()) + 1, "snippet": pattern.sub(r"«\g<0>»", text.strip())}
