"""Columns made of JSON objects: one for each key, with a type that holds all its values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from finlab_nb.query.frames.questions import Views
from finlab_nb.query.tables import literal

# Whole numbers of 19 digits and more may not fit 64 bits; for those JSON_STRUCTURE says nothing or DOUBLE.
_STRUCTURES: Final = """
    SELECT json_structure({objects}), bool_or(regexp_matches({objects}, '[0-9]{{19}}')) FROM {rows} GROUP BY 1"""
_SIZES: Final = "SELECT {sizes} FROM (SELECT {values} AS p FROM {rows})"
_SIZE: Final = r"""
    max(CASE WHEN p[{place}] IS NULL THEN NULL WHEN NOT regexp_full_match(p[{place}], '-?\d+') THEN 3
        WHEN TRY_CAST(p[{place}] AS BIGINT) IS NOT NULL THEN 0 WHEN TRY_CAST(p[{place}] AS UBIGINT) IS NOT NULL THEN 1
        ELSE 2 END),
    coalesce(bool_or(p[{place}] LIKE '-%'), false)"""


def values_of(objects: str, names: Iterable[str]) -> str:
    """Return the SQL for the list of the values of some keys, as text, of the objects in a column."""
    pointers = [literal("/" + name.replace("~", "~0").replace("/", "~1")) for name in names]
    return f"json_extract_string({objects}, [{', '.join(pointers)}])" if pointers else "NULL"


def types_of(views: Views, objects: str, rows: str, values: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the type of each key, by name, of the objects in a column of some rows.

    Whole numbers are BIGINT (UBIGINT if need be), other numbers DOUBLE. Lists, objects, whole numbers beyond 64 bits
    and mixtures are VARCHAR: JSON text.
    """
    structures = views.rows(_STRUCTURES.format(objects=objects, rows=rows), values)
    kinds: dict[str, set[str]] = {}
    for structure, _ in structures:
        parsed = json.loads(structure) if structure else None
        if isinstance(parsed, dict):
            for name, kind in parsed.items():
                kinds.setdefault(name, set()).add(kind if isinstance(kind, str) else "JSON")
    types = {name: _type(kinds[name] - {"NULL"}) for name in sorted(kinds)}
    numbers = [name for name, kind in types.items() if kind in ("BIGINT", "DOUBLE")]
    if numbers and any(large for _, large in structures):
        sizes = ", ".join(_SIZE.format(place=place) for place in range(1, len(numbers) + 1))
        query = _SIZES.format(sizes=sizes, values=values_of(objects, numbers), rows=rows)
        (found,) = views.rows(query, values)
        for name, size, negative in zip(numbers, found[::2], found[1::2], strict=True):
            types[name] = _large_type(types[name], size, negative)
    return types


def _type(kinds: set[str]) -> str:
    if kinds and kinds <= {"UBIGINT", "BIGINT"}:
        return "BIGINT"
    if kinds and kinds <= {"UBIGINT", "BIGINT", "DOUBLE", "HUGEINT"}:
        return "DOUBLE"
    return "BOOLEAN" if kinds == {"BOOLEAN"} else "VARCHAR"


def _large_type(kind: str, size: int | None, negative: bool) -> str:
    """Return the type that holds whole numbers exactly: 64 bits, the same without a sign, or text."""
    if size is None or size in (0, 3):
        return kind
    return "UBIGINT" if size == 1 and not negative else "VARCHAR"
