"""Columns of trades that the table has no place for: kept by their names, as one JSON object for each trade."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from finlab_nb.records.parameters import key_text, parameters_text, plain
from finlab_nb.records.plain import is_missing, unwrapped, values_of
from finlab_nb.records.values import named, refusal, shown

_WANTED: Final = "a dict, or the text of a JSON object"
_PLAIN_NUMBERS: Final = {bool, int, float, type(None)}
_LARGE: Final = 1e300  # beyond are whole numbers of many digits, and infinity
_JSON: Final = json.JSONEncoder(ensure_ascii=False).encode


def extra_column(
    path: str, given: Any, others: Mapping[Any, Any], count: int, *, exact: bool = False
) -> list[str | None]:
    """Return what is stored as `extra`: of each row the object it has already, with its cells of other columns.

    Parameters
    ----------
    path
        What to call an object in an error, with ``{}`` for its row.
    given
        The column `extra`; None if there is none.
    others
        Further columns by name: cells take the forms of parameters, a missing one is left out.
    count
        How many rows there are.
    exact
        Take objects as an export file has them, also empty ones; refuse anything else.

    Returns
    -------
    list
        Texts of JSON objects; None for a row without any.
    """
    if exact:
        return [
            None if is_missing(value) else parameters_text(path.format(row), value, exact=True)
            for row, value in enumerate(values_of(given))
        ]
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    if given is not None:
        rows = [
            {} if is_missing(value) else _object(path.format(row), value) for row, value in enumerate(values_of(given))
        ]
    for name, column in _named(others).items():
        for row, cell in zip(rows, _cells(column), strict=True):
            if cell is not None:
                row[name] = cell
    return [_JSON(row) if row else None for row in rows]


def _named(columns: Mapping[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, column in columns.items():
        name = key_text(key)
        while name in found:
            name = f"{name} ({type(key).__name__})"
        found[name] = column
    return found


def _cells(column: Any) -> Sequence[Any]:
    values = values_of(column)
    is_json = set(map(type, values)) <= _PLAIN_NUMBERS and all(one is None or -_LARGE < one < _LARGE for one in values)
    return values if is_json else list(map(plain, values))


def _object(path: str, value: Any) -> dict[str, Any]:
    held = unwrapped(value)
    if isinstance(held, str):
        try:
            found = json.loads(held, parse_constant=_refuse_constant)
        except ValueError as error:
            raise ValueError(f"{path} is {shown(value)}; it must be {_WANTED} ({error})") from error
        if not isinstance(found, dict):
            raise refusal(path, value, _WANTED, str)
    else:
        found = dict(named(path, held, _WANTED))
    form: dict[str, Any] = plain(found)
    return form


def _refuse_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")
