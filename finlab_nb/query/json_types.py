"""Typed columns of JSON objects: the kinds of their values, and the types that hold them.

The kind of a value is its type as DuckDB tells it: UBIGINT is a whole number that is not negative, BIGINT a negative
one. Four kinds more tell which numbers need care: whole ones beyond 2^53 do not fit a DOUBLE (LARGE, and -LARGE if
negative), those from 2^63 up to 2^64 fit no BIGINT (UNSIGNED), and others fit nothing but text (HUGE).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Final

Kinds = Mapping[str, str]

_EXACT: Final = 2**53
_SIZED: Final = f"""CASE
    WHEN pair[1] NOT IN ('UBIGINT', 'BIGINT', 'DOUBLE') OR NOT regexp_full_match(pair[2], '-?[0-9]+') THEN pair[1]
    WHEN TRY_CAST(pair[2] AS BIGINT) BETWEEN -{_EXACT} AND {_EXACT} THEN pair[1]
    WHEN TRY_CAST(pair[2] AS BIGINT) IS NOT NULL THEN CASE WHEN pair[2][1] = '-' THEN '-LARGE' ELSE 'LARGE' END
    WHEN TRY_CAST(pair[2] AS UBIGINT) IS NOT NULL THEN 'UNSIGNED' ELSE 'HUGE' END"""
# Only a whole number of 16 digits or more can be beyond 2^53: no object without one is looked at number by number.
_KINDS: Final = f"""CASE
    WHEN regexp_matches({{objects}}, '(^|[^.0-9]){"[0-9]" * 16}') THEN list_transform(
        list_zip(json_type({{objects}}, '$.*'), json_extract_string({{objects}}, '$.*')), lambda pair: {_SIZED})
    ELSE json_type({{objects}}, '$.*') END"""
_STRUCTURE: Final = f"array_to_string({_KINDS}, ' ') || to_json(json_keys({{objects}}))::VARCHAR"
_VALUES: Final = "json_extract_string({objects}, '$.*')"

_WHOLE: Final = frozenset({"UBIGINT", "BIGINT", "LARGE", "-LARGE", "UNSIGNED", "HUGE"})
_NEGATIVE: Final = frozenset({"BIGINT", "-LARGE"})
_INEXACT: Final = _WHOLE - {"UBIGINT", "BIGINT"}


def structure(objects: str) -> str:
    """Return the SQL for the structure of the objects in a column: the kinds of the values, then the keys."""
    return _STRUCTURE.format(objects=objects)


def values(objects: str) -> str:
    """Return the SQL for the list of the values of an object, as text, in the order of its structure."""
    return _VALUES.format(objects=objects)


def pointer(key: str) -> str:
    """Return the JSON pointer to a key of an object."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def keys_of(structure: str) -> list[str]:
    """Return the keys of an object with this structure, in the order of its values."""
    keys: list[str] = json.loads(structure[structure.index("[") :])
    return keys


def kinds_of(structure: str) -> dict[str, str]:
    """Return the kind of each key's value, by name, of an object with this structure."""
    return dict(zip(keys_of(structure), structure[: structure.index("[")].split(), strict=True))


def joined(objects: Iterable[Kinds]) -> dict[str, frozenset[str]]:
    """Return all kinds of each key's values in some objects, by name; a value that is null is of no kind."""
    found: dict[str, set[str]] = {}
    for one in objects:
        for name, kind in one.items():
            found.setdefault(name, set()).add(kind)
    return {name: frozenset(kinds - {"NULL"}) for name, kinds in found.items()}


def type_of(kinds: Collection[str]) -> str:
    """Return the type of a column that holds values of these kinds.

    Whole numbers are BIGINT (UBIGINT if need be), other numbers DOUBLE. Lists, objects, whole numbers beyond 64 bits
    and mixtures are VARCHAR: JSON text.
    """
    if not kinds:
        return "VARCHAR"
    if _WHOLE.issuperset(kinds):
        if "HUGE" in kinds or ("UNSIGNED" in kinds and not _NEGATIVE.isdisjoint(kinds)):
            return "VARCHAR"
        return "UBIGINT" if "UNSIGNED" in kinds else "BIGINT"
    if _WHOLE.issuperset(set(kinds) - {"DOUBLE"}):
        return "DOUBLE"
    return "BOOLEAN" if set(kinds) == {"BOOLEAN"} else "VARCHAR"


def exact_type_of(kinds: Collection[str]) -> str:
    """Return the type of a column that also keeps the values of any of these kinds alone as they were."""
    kind = type_of(kinds)
    return "VARCHAR" if kind == "DOUBLE" and not _INEXACT.isdisjoint(kinds) else kind
