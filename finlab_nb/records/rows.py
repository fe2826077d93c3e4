"""Trades and equity: checked by column, because there are tens of thousands of them."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd

from finlab_nb.records.tables import EQUITY, EQUITY_FIELDS, TRADE_COLUMNS, TRADE_FIELDS, Column
from finlab_nb.records.values import is_missing, known_keys, listed, number, shown, text

TradeRow: TypeAlias = tuple[Any, ...]  # in the order of TRADE_FIELDS
EquityRow: TypeAlias = tuple[str, float]
_Columns: TypeAlias = Mapping[str, list[Any]]

_MOST_KNOWN: Final = 1 << 16


def trades_record(trades: Any) -> list[TradeRow]:
    """Check trades given as a DataFrame or a list of dicts and return them as rows in the order of TRADE_FIELDS."""
    columns, count = _columns("trades", trades, TRADE_FIELDS)
    if not count:
        return []
    checked = {column.name: _CHECKS[column.rule.kind](columns, "trades", column, count) for column in TRADE_COLUMNS}
    entries, exits, exit_prices = checked["entry_date"], checked["exit_date"], checked["exit_price"]
    if None in exits or None in exit_prices or any(map(operator.lt, exits, entries)):
        _check_exits(entries, exits, exit_prices)
    return list(zip(*checked.values(), strict=True))


def _check_exits(entries: list[str], exits: list[str | None], prices: list[float | None]) -> None:
    for i, (entry, leave, price) in enumerate(zip(entries, exits, prices, strict=True)):
        if leave is None:
            continue
        if price is None:
            raise ValueError(f"trades[{i}].exit_price is missing; a trade with an exit_date needs a finite number")
        if leave < entry and (leave[:10] < entry[:10] or len(leave) > len("2024-01-02")):
            raise ValueError(f"trades[{i}].exit_date is {leave!r}, before its entry_date {entry!r}; it must not be")


def equity_record(equity: Any) -> list[EquityRow]:
    """Check an equity curve and return its points in order of time.

    Accepted are a Series indexed by date, a dict of dates and values, a DataFrame with the columns date and equity (or
    equity alone, indexed by date), and a list of dicts with these keys.
    """
    if equity is None:
        return []
    if isinstance(equity, pd.DataFrame) and "date" not in equity and "equity" in equity:
        equity = equity["equity"]
    if isinstance(equity, pd.Series):
        equity = pd.DataFrame({"date": equity.index, "equity": equity.to_numpy()})
    elif isinstance(equity, Mapping):
        equity = [{"date": day, "equity": value} for day, value in equity.items()]
    columns, count = _columns("equity", equity, EQUITY_FIELDS)
    if not count:
        return []
    dates = _dates(columns, "equity", EQUITY.column("date"), count)
    points = dict(zip(dates, _numbers(columns, "equity", EQUITY.column("equity"), count), strict=True))
    if len(points) < count:
        twice = next(day for i, day in enumerate(dates) if day in dates[:i])
        raise ValueError(f"equity has the date {twice!r} twice; each point needs a date of its own")
    return sorted(points.items())


class _Checked(dict[Any, Any]):
    """Values in their stored form, each checked once: the same codes and dates occur tens of thousands of times."""

    def __init__(self, check: Callable[[str, Any], Any]) -> None:
        super().__init__()
        self._check = check

    def __missing__(self, value: Any) -> Any:
        checked = self._check("", value)
        if len(self) >= _MOST_KNOWN:
            self.clear()
        self[value] = checked
        return checked


def _columns(field: str, rows: Any, allowed: Sequence[str]) -> tuple[dict[str, list[Any]], int]:
    """Split a table into columns; a column that no row has is absent."""
    if isinstance(rows, pd.DataFrame):
        if not rows.columns.is_unique:
            raise ValueError(f"{field} has a column twice: {', '.join(map(str, rows.columns))}")
        known_keys(field, rows.columns, allowed)
        return {name: _values(rows[name]) for name in allowed if name in rows}, len(rows)
    rows = list(listed(field, rows))
    if set(map(type, rows)) == {dict} and set().union(*rows) == set(allowed):
        with contextlib.suppress(KeyError):  # a row that lacks one of the keys
            columns = zip(*map(operator.itemgetter(*allowed), rows), strict=True)
            return dict(zip(allowed, map(list, columns), strict=True)), len(rows)
    keys: set[object] = set()
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise ValueError(f"{field}[{i}] is {shown(row)}; it must be a dict with {', '.join(allowed)}")
        if not keys.issuperset(row):
            known_keys(f"{field}[{i}]", row, allowed)
            keys.update(row)
    return {name: [row.get(name) for row in rows] for name in allowed if name in keys}, len(rows)


def _values(column: pd.Series[Any]) -> list[Any]:
    """Return the values of a DataFrame's column, dates already as the text that is stored."""
    if not pd.api.types.is_datetime64_any_dtype(column.dtype):
        return list(column.tolist())
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    moments = column.to_numpy().astype("datetime64[us]")
    days = moments.astype("datetime64[D]")
    if bool(((moments == days) | np.isnat(moments)).all()):
        return list(map(_DAY_NUMBERS.__getitem__, days.view(np.int64).tolist()))
    texts: list[Any] = np.datetime_as_string(moments).tolist()
    return [None if one == "NaT" else _DAYS[one] for one in texts]


def _texts(columns: _Columns, field: str, column: Column, count: int) -> list[Any]:
    return _each_once(columns, field, column, count, _CODES)


def _dates(columns: _Columns, field: str, column: Column, count: int) -> list[Any]:
    return _each_once(columns, field, column, count, _DAYS)


def _each_once(columns: _Columns, field: str, column: Column, count: int, known: _Checked) -> list[Any]:
    """Convert a column of text or dates to its stored form."""
    values = columns.get(column.name) or [None] * count
    with contextlib.suppress(ValueError, TypeError):  # the loop below names the place
        return list(map(known.__getitem__, values))
    checked: list[Any] = []
    for i, value in enumerate(values):
        try:
            checked.append(known[value])
        except (ValueError, TypeError) as error:
            if not column.required and is_missing(value):
                checked.append(None)
                continue
            if isinstance(error, TypeError):
                raise ValueError(f"{field}[{i}].{column.name} is {shown(value)}; it must be a single value") from error
            raise ValueError(f"{field}[{i}].{column.name}{error}") from error
    return checked


def _numbers(columns: _Columns, field: str, column: Column, count: int) -> list[Any]:
    values = columns.get(column.name)
    if values is None:
        values = [None] * count
    if set(map(type, values)) <= {float, int}:
        try:
            numbers = list(map(float, values))
        except OverflowError:
            numbers = [math.nan]
        if math.isfinite(sum(numbers)):
            return numbers
    return [
        None if not column.required and is_missing(value) else number(f"{field}[{i}].{column.name}", value)
        for i, value in enumerate(values)
    ]


def _stock_code(field: str, value: object) -> str:
    if isinstance(value, (int, np.integer)):
        raise ValueError(
            f"{field} is the number {shown(value)}; it must be text, such as '0050': numbers lose leading zeros"
        )
    return text(field, value, empty=False)


def day_or_moment(field: str, value: object) -> str:
    """Return a date as YYYY-MM-DD, or a date and time within the day as YYYY-MM-DDTHH:MM:SS[.ffffff] in UTC."""
    moment: object = value
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value) if len(value) != len("2024-01-02") else date.fromisoformat(value)
        elif isinstance(value, np.datetime64):
            moment = value.astype("datetime64[us]").item()
        if isinstance(moment, datetime) and not is_missing(moment):
            if moment.tzinfo is not None:
                moment = moment.astimezone(UTC).replace(tzinfo=None)
            elapsed = moment.hour or moment.minute or moment.second or moment.microsecond
            return moment.isoformat() if elapsed else moment.date().isoformat()
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{field} is {shown(value)}; it must be a date that exists, as YYYY-MM-DD or ISO 8601 ({error})"
        ) from error
    if isinstance(moment, date) and not is_missing(moment):
        return moment.isoformat()
    raise ValueError(f"{field} is {shown(value)}; it must be a date, a datetime or ISO 8601 text")


def _numbered_day(_field: str, number: int) -> Any:
    """Return the day this many days after 1970-01-01; None for the number that stands for NaT."""
    day = np.datetime64(number, "D")
    return None if np.isnat(day) else str(day)


_DAY_NUMBERS: Final = _Checked(_numbered_day)
_CODES: Final = _Checked(_stock_code)
_DAYS: Final = _Checked(day_or_moment)
_CHECKS: Final = {"text": _texts, "date": _dates, "float": _numbers}
