"""Values that today's rules refuse, as an export carries them: just as they are stored.

An iteration or a strategy may have the object `as_stored`. What stands there is stored as it is, and the ordinary field
of the same name is null, so that no value is told twice:

- For a field that is a column (code, timestamp, ...) it holds the stored value.
- For a field that is a table (metrics, extra_metrics, trades, equity, suggestions, tags, provenance) it holds all rows
  of the iteration, as objects of columns and stored values, in the order in which `load_iteration` gives them. The row
  of a suggestion has the first iteration that applied it (applied_iteration_id), and all where there are more
  (applied_iteration_ids, a list).

A stored value is null, a whole number, another number (with a decimal point or an exponent) or text. What JSON cannot
hold is an object: ``{"type": "blob", "base64": ...}``, ``{"type": "text", "base64": ...}`` for text that is no UTF-8,
and ``{"type": "real", "value": "Infinity"}`` or ``"-Infinity"``.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from finlab_nb.records.tables import ITERATIONS, STRATEGIES, TABLES
from finlab_nb.records.values import listed, shown
from finlab_nb.store.broken_text import BrokenText, Row, decoded
from finlab_nb.store.interchange.versions import NEWEST, Reading, Version

# The fields that are columns. By its iteration_id an iteration is asked for, so it is one that the rules allow.
COLUMNS: Final = {"iteration": ITERATIONS.names_without("iteration_id"), "strategy": STRATEGIES.names}
IDS: Final = ("strategy_id", "parent_strategy_id")
# The columns of the fields that are tables, in the order in which they are stored.
ROW_COLUMNS: Final = {
    name: table.names_without(table.row_key, table.owner) for name, table in TABLES.items() if name in NEWEST.rows
}
# What rows of suggestions have behind their columns: the first iteration that applied it, and all where there are more.
LINKS: Final = ("applied_iteration_id", "applied_iteration_ids")
ROW_COLUMNS["suggestions"] += LINKS
INFINITIES: Final = {"Infinity": math.inf, "-Infinity": -math.inf}
_DECODED: Final[Mapping[str, Callable[[bytes], Any]]] = {"blob": bytes, "text": decoded}


def fields(kind: str, version: Version) -> tuple[str, ...]:
    """Return the fields of a strategy or an iteration that can be carried as they are stored."""
    return tuple(name for name in version.fields(kind).names if name in COLUMNS[kind] or name in ROW_COLUMNS)


# To JSON ------------------------------------------------------------------------------------------------------------


def written(field: str, stored: Any) -> Any:
    """Return the stored content of a field in JSON."""
    if field not in ROW_COLUMNS:
        return _written_value(stored)
    rows, names = told_columns(field, stored)
    return [{name: _written_value(value) for name, value in zip(names, row, strict=True)} for row in rows]


def told_columns(table: str, rows: list[Row]) -> tuple[list[Row], tuple[str, ...]]:
    """Return the rows of a table without the optional columns that none of them knows, and the names of the others."""
    optional = NEWEST.rows[table].optional
    columns = {
        name: column
        for name, column in zip(ROW_COLUMNS[table], zip(*rows, strict=True), strict=False)
        if name not in optional or column.count(None) < len(column)
    }
    if not columns:
        return [() for _ in rows], ()
    return list(zip(*columns.values(), strict=True)), tuple(columns)


def _written_value(value: Any) -> Any:
    if isinstance(value, tuple):  # of links
        return [_written_value(one) for one in value]
    if isinstance(value, bytes):
        kind = "text" if isinstance(value, BrokenText) else "blob"
        return {"type": kind, "base64": base64.b64encode(value).decode()}
    if isinstance(value, float) and math.isinf(value):
        return {"type": "real", "value": "Infinity" if value > 0 else "-Infinity"}
    return value


# From JSON ----------------------------------------------------------------------------------------------------------


def taken(path: str, kind: str, given: dict[str, Any], reading: Reading) -> dict[str, Any]:
    """Take `as_stored`, and the fields that it stands for, out of an iteration or a strategy; return what is stored.

    Raises
    ------
    ValueError
        If it is wrong; the message begins with the JSON path.
    """
    marked = given.pop("as_stored", None)
    if marked is None:
        return {}
    here = f"{path}.as_stored"
    if not isinstance(marked, dict):
        raise ValueError(f"{here} is {shown(marked)}; it must be an object")
    allowed = fields(kind, reading.version)
    found = {}
    for name, value in marked.items():
        if name not in allowed:
            reading.pass_over(here, f"{kind}.as_stored", name, allowed)
            continue
        if given.pop(name, None) is not None:
            raise ValueError(f"{path}.{name} has a value, and so has {here}.{name}; it must be null")
        if name in IDS and not isinstance(value, str):
            raise ValueError(f"{here}.{name} is {shown(value)}; it must be text")
        is_table = name in ROW_COLUMNS
        found[name] = _rows(f"{here}.{name}", name, value, reading) if is_table else _value(f"{here}.{name}", value)
    return found


def links(applied: Sequence[Any]) -> tuple[Any, tuple[Any, ...] | None]:
    """Return the iterations that applied a suggestion as its row ends with them."""
    return applied[0] if applied else None, tuple(applied) if len(applied) > 1 else None


def without_links(rows: list[Row]) -> tuple[list[Row], Sequence[Sequence[str]]]:
    """Take the ids of the iterations that applied them out of the rows of suggestions."""
    found = [[one for one in several or (first,) if isinstance(one, str)] for *_, first, several in rows]
    return [row[: -len(LINKS)] for row in rows], found


def _rows(path: str, table: str, value: object, reading: Reading) -> list[tuple[Any, ...]]:
    if not isinstance(value, list):
        raise ValueError(f"{path} is {shown(value)}; it must be a list")
    rows = []
    for i, item in enumerate(value):
        row = {
            name: (_several if name == LINKS[1] else _value)(f"{path}[{i}].{name}", cell)
            for name, cell in reading.object(f"{path}[{i}]", table, item).items()
        }
        rows.append(tuple(row.get(name) for name in ROW_COLUMNS[table]))
    return rows


def _several(path: str, value: object) -> tuple[Any, ...] | None:
    return None if value is None else tuple(_value(f"{path}[{i}]", one) for i, one in enumerate(listed(path, value)))


def _value(path: str, value: object) -> Any:
    """Return a stored value; what SQLite could not hold as it is given is refused."""
    if isinstance(value, dict):
        return _tagged(path, value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{path} holds half a surrogate pair at position {error.start}") from error
        return value
    if value is None or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    raise ValueError(
        f"{path} is {shown(value)}; a stored value is null, a 64-bit number, text, or an object that tells its type"
    )


def _tagged(path: str, value: dict[str, Any]) -> Any:
    kind = value.get("type")
    if value.keys() == {"type", "base64"} and kind in ("blob", "text") and isinstance(value["base64"], str):
        try:
            return _DECODED[kind](base64.b64decode(value["base64"], validate=True))
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"{path}.base64 is no base64 ({error})") from error
    if value.keys() == {"type", "value"} and kind == "real" and value["value"] in ("Infinity", "-Infinity"):
        return INFINITIES[value["value"]]
    raise ValueError(
        f'{path} is {shown(value)}; it must be {{"type": "blob" or "text", "base64": ...}} or '
        '{"type": "real", "value": "Infinity" or "-Infinity"}'
    )
