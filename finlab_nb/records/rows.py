"""Trades and equity: checked by column, because there are tens of thousands of them."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd

from finlab_nb.records.days import day_or_moment, days_of_column
from finlab_nb.records.plain import Remembered, columns_of, is_missing, pairs, unwrapped, values_of
from finlab_nb.records.tables import EQUITY, EQUITY_FIELDS, TRADE_COLUMNS, Column
from finlab_nb.records.values import held_number, known_keys, listed, number, shown, text

TradeRow: TypeAlias = tuple[Any, ...]  # in the order of TRADE_FIELDS
EquityRow: TypeAlias = tuple[str, float]
_Given: TypeAlias = Mapping[Any, Any]  # lists, Series and arrays of pyarrow, by column
_Check: TypeAlias = Callable[[str, Any], Any]

_EQUITY_COLUMNS: Final = tuple(EQUITY.column(name) for name in EQUITY_FIELDS)
_INDEX: Final = ("Index", "index")  # the field of a record that holds the index of the DataFrame it comes from


def trades_columns(trades: Any) -> dict[str, list[Any]]:
    """Check trades and return their columns, in the order of TRADE_FIELDS; see `StorageManager.save_iteration`."""
    given, count = _columns("trades", trades, TRADE_COLUMNS)
    checked = _checked("trades", given, count, TRADE_COLUMNS)
    entries, exits, exit_prices = checked["entry_date"], checked["exit_date"], checked["exit_price"]
    if None in exits or None in exit_prices or any(map(operator.lt, exits, entries)):
        _check_exits(entries, exits, exit_prices)
    return checked


def _check_exits(entries: list[str], exits: list[str | None], prices: list[float | None]) -> None:
    for i, (entry, leave, price) in enumerate(zip(entries, exits, prices, strict=True)):
        if leave is None:
            continue
        if price is None:
            raise ValueError(f"trades[{i}].exit_price is missing; a trade with an exit_date needs a finite number")
        if leave < entry and (leave[:10] < entry[:10] or len(leave) > len("2024-01-02")):
            raise ValueError(f"trades[{i}].exit_date is {leave!r}, before its entry_date {entry!r}; it must not be")


def equity_record(equity: Any) -> list[EquityRow]:
    """Check an equity curve and return its points in order of time; see `StorageManager.save_iteration`."""
    given, count = _points("equity", equity)
    dates, values = _checked("equity", given, count, _EQUITY_COLUMNS).values()
    points = dict(zip(dates, values, strict=True))
    if len(points) < count:
        first: dict[str, int] = {}
        for i, day in enumerate(dates):
            if first.setdefault(day, i) < i:
                raise ValueError(
                    f"equity has the date {day!r} twice, at [{first[day]}] and [{i}]; each point needs its own"
                )
    return sorted(points.items())


# Tables to columns ----------------------------------------------------------------------------------------------------


def _points(field: str, equity: Any) -> tuple[_Given, int]:
    """Split an equity curve into dates and values."""
    if isinstance(equity, pd.Series):
        return {"date": _dates_of(equity.index), "equity": equity}, len(equity)
    if isinstance(equity, Mapping):
        return {"date": list(equity), "equity": list(equity.values())}, len(equity)
    found, count = _table(field, equity)
    if found is None:
        return _columns(field, equity, _EQUITY_COLUMNS)
    if "date" not in found and isinstance(equity, pd.DataFrame) and ("equity" in found or len(found) == 1):
        found = {"date": _dates_of(equity.index), "equity": found.get("equity", next(iter(found.values())))}
    elif "date" in found and "equity" not in found and len(found) == 2:
        found = {"date": found.pop("date"), "equity": next(iter(found.values()))}
    known_keys(field, found, EQUITY_FIELDS)
    return found, count


def _dates_of(index: pd.Index[Any]) -> Any:
    return pd.Series(index) if isinstance(index, pd.DatetimeIndex) else values_of(index)


def _table(field: str, given: Any) -> tuple[dict[Any, Any] | None, int]:
    """Return the columns of a table by name, and how many rows it has; None if it is no table."""
    try:
        table = columns_of(given)
    except ValueError as error:
        raise ValueError(f"{field} is a {type(given).__name__} whose columns cannot be read: {error}") from error
    if table is None:
        return None, 0
    found = dict(table)
    if len(found) < len(table):
        raise ValueError(f"{field} has a column twice: {', '.join(str(name) for name, _ in table)}")
    if not isinstance(given, pd.DataFrame):
        found = {name: column for name, column in found.items() if name not in _INDEX}
    return found, len(table[0][1]) if table else len(given)


def _columns(field: str, rows: Any, columns: Sequence[Column]) -> tuple[_Given, int]:
    """Split a table, or records, into columns; a column that no row has is absent."""
    rows = unwrapped(rows)
    allowed = [column.name for column in columns]
    found, count = _table(field, rows)
    if found is not None:
        known_keys(field, found, allowed)
        return found, count
    rows = list(listed(field, rows, "a table, or a list of records"))
    if set(map(type, rows)) == {dict} and set().union(*rows) == set(allowed):
        with contextlib.suppress(KeyError):  # a row that lacks one of the keys
            values = zip(*map(operator.itemgetter(*allowed), rows), strict=True)
            return dict(zip(allowed, map(list, values), strict=True)), len(rows)
    return _columns_of_records(field, rows, columns), len(rows)


def _columns_of_records(field: str, rows: list[Any], columns: Sequence[Column]) -> _Given:
    allowed = [column.name for column in columns]
    keys: set[object] = set()
    records = []
    for i, row in enumerate(rows):
        given = row if isinstance(row, Mapping) else pairs(row)
        if given is None:
            raise ValueError(f"{field}[{i}] is {shown(row)}; it must be a dict or a record with {', '.join(allowed)}")
        record = dict(given)
        if not isinstance(row, Mapping):
            for name in _INDEX:
                record.pop(name, None)
        if not keys.issuperset(record):
            known_keys(f"{field}[{i}]", record, allowed)
            keys.update(record)
        records.append(record)
    for column in columns:
        if column.required and column.name in keys:
            for i, record in enumerate(records):
                if column.name not in record:
                    raise ValueError(
                        f"{field}[{i}] has no {column.name!r}; its fields are {', '.join(map(str, record))}"
                    )
    return {name: [record.get(name) for record in records] for name in allowed if name in keys}


# Columns to stored values ---------------------------------------------------------------------------------------------


def _checked(field: str, given: _Given, count: int, columns: Sequence[Column]) -> dict[str, list[Any]]:
    """Return the stored form of each column."""
    missing = [column.name for column in columns if column.required and column.name not in given]
    if count and missing:
        names = ", ".join(map(str, given)) or "none"
        raise ValueError(f"{field} has no column {missing[0]!r}; its columns are {names}")
    return {
        column.name: _CHECKS[column.rule.kind](field, column, given[column.name])
        if count and column.name in given
        else [None] * count
        for column in columns
    }


def _texts(field: str, column: Column, given: Any) -> list[Any]:
    values = values_of(given)
    if set(map(type, values)) == {str}:
        with contextlib.suppress(ValueError):  # one of them; its place is named below
            return list(map(_CODES.__getitem__, values))
    return _each(field, column, values, _stock_code)


def _dates(field: str, column: Column, given: Any) -> list[Any]:
    days = days_of_column(given)
    if days is not None and not (column.required and None in days):
        return days
    return _each(field, column, values_of(given), day_or_moment)


def _each(field: str, column: Column, values: list[Any], check: _Check) -> list[Any]:
    return [
        None if not column.required and is_missing(value) else check(f"{field}[{i}].{column.name}", value)
        for i, value in enumerate(values)
    ]


def _numbers(field: str, column: Column, given: Any) -> list[Any]:
    if isinstance(given, pd.Series) and given.dtype == np.float64:
        array = given.to_numpy()
        if np.isfinite(array).all():
            return list(array.tolist())
        if not column.required and not np.isinf(array).any():
            return [None if value != value else value for value in array.tolist()]
    values = values_of(given)
    if set(map(type, values)) <= {float, int}:
        with contextlib.suppress(OverflowError):
            numbers = list(map(float, values))
            if math.isfinite(sum(numbers)) and numbers == values:
                return numbers
    return [
        None if not column.required and is_missing(value) else number(f"{field}[{i}].{column.name}", value)
        for i, value in enumerate(values)
    ]


def _stock_code(field: str, value: object) -> str:
    if held_number(value) is not None and not is_missing(value):
        raise ValueError(
            f"{field} is the number {shown(value)}; it must be text, such as '0050': numbers lose leading zeros, so "
            "read the codes with dtype=str (pandas.read_csv(..., dtype={'stock_code': str}))"
        )
    return text(field, value, empty=False)


_CODES: Final = Remembered(lambda code: _stock_code("", code))
_CHECKS: Final = {"text": _texts, "date": _dates, "float": _numbers}
