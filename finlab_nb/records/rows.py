"""Trades and equity: checked by column, because there are tens of thousands of them."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as field_of
from typing import Any, Final, TypeAlias, cast
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from finlab_nb.analysis.periods import before_first, periods_per_year
from finlab_nb.records.column_rows import ColumnRows
from finlab_nb.records.days import FIRST_DAY
from finlab_nb.records.extra import extra_column
from finlab_nb.records.names import columns_by_name
from finlab_nb.records.parameters import plain
from finlab_nb.records.plain import LastIndex, Remembered, columns_of, is_missing, pairs, unwrapped, values_of
from finlab_nb.records.stamps import Clock, Stamps, moment_texts, stamps_of, written
from finlab_nb.records.tables import EQUITY, TRADE_COLUMNS, Column
from finlab_nb.records.values import (
    held_number,
    known_keys,
    listed,
    number,
    refusal,
    shown,
    text,
)
from finlab_nb.records.zones import Days, local_days

_Given: TypeAlias = Mapping[Any, Any]  # lists, Series and arrays of pyarrow, by column
_Names: TypeAlias = Callable[[str, Iterable[Any]], tuple[dict[str, Any], list[Any]]]  # as `columns_by_name`
_Check: TypeAlias = Callable[[str, Any], Any]

_DATE: Final = EQUITY.column("date")
_REQUIRED: Final = {column.name for column in (*TRADE_COLUMNS, *EQUITY.columns) if column.required}
_EXTRA: Final = "extra"
_INDEX: Final = ("Index", "index")  # the field of a record that holds the index of the DataFrame it comes from
_DAY_LENGTH: Final = len("2024-01-31")
_LAST_INDEX: Final = LastIndex()


@dataclass(frozen=True, slots=True)
class Trades:
    """Checked trades: their columns in the order of TRADE_FIELDS, and what their dates tell about the zone."""

    columns: dict[str, list[Any]]
    clock: Clock


@dataclass(frozen=True, slots=True)
class Curve:
    """A checked curve: dates as they are stored, ascending, their values, and what the dates tell about the zone."""

    dates: list[str]
    values: list[float]
    clock: Clock
    # By zone; curves of one index share them.
    _days: dict[str | None, Days] = field_of(default_factory=dict)
    _per_year: dict[str | None, float] = field_of(default_factory=dict)

    @property
    def points(self) -> ColumnRows:
        """The rows that are stored."""
        return ColumnRows((self.dates, self.values))

    def days(self, timezone: str | None) -> Days:
        """Return the local day of each point, as `local_days` does."""
        if timezone not in self._days:
            self._days[timezone] = local_days(self.dates, timezone)
        return self._days[timezone]

    def periods_per_year(self, timezone: str | None) -> float:
        """Return how many periods a year has, by the local days of the points; NaN where they follow no period."""
        if timezone not in self._per_year:
            self._per_year[timezone] = periods_per_year(np.unique(self.days(timezone)))
        return self._per_year[timezone]


def trades_record(trades: Any, zone: ZoneInfo | None = None, *, exact: bool = False) -> Trades:
    """Check trades; see `StorageManager.save_iteration`.

    Parameters
    ----------
    zone
        The zone that is given for the iteration.
    exact
        Take names and values as an export file has them, or refuse them.
    """
    given, others, count = _columns("trades", trades, _known(TRADE_COLUMNS) if exact else columns_by_name)
    columns, clock = _checked("trades", given, count, TRADE_COLUMNS, zone, others=others, exact=exact)
    if count and (others or _EXTRA in given):
        columns[_EXTRA] = extra_column("trades[{}].extra", given.get(_EXTRA), others, count, exact=exact)
    entries, exits, exit_prices = columns["entry_date"], columns["exit_date"], columns["exit_price"]
    if None in exits or None in exit_prices or any(map(operator.lt, exits, entries)):
        _check_exits(entries, exits, exit_prices)
    return Trades(columns, clock)


def _check_exits(entries: list[str], exits: list[str | None], prices: list[float | None]) -> None:
    for i, (entry, leave, price) in enumerate(zip(entries, exits, prices, strict=True)):
        if leave is None:
            continue
        if price is None:
            raise ValueError(f"trades[{i}].exit_price is missing; a trade with an exit_date needs a finite number")
        if leave < entry and (leave[:10] < entry[:10] or len(leave) > len("2024-01-02")):
            raise ValueError(f"trades[{i}].exit_date is {leave!r}, before its entry_date {entry!r}; it must not be")


def curve_record(field: str, curve: Any, value: str, zone: ZoneInfo | None = None, *, exact: bool = False) -> Curve:
    """Check values by date: an equity curve, returns, or a series.

    Parameters
    ----------
    field
        What to call them in an error.
    curve
        As `equity` of `StorageManager.save_iteration`.
    value
        The name of the column of values.
    zone, exact
        As in `trades_record`.
    """
    columns = (_DATE, Column(value, EQUITY.column("equity").rule))
    index = curve.index if isinstance(curve, pd.Series) and isinstance(curve.index, pd.DatetimeIndex) else None
    if index is not None and (known := _LAST_INDEX.found(index, zone)) is not None:
        return replace(cast(Curve, known), values=_numbers(field, columns[1], curve))
    given, count = _points(field, curve, columns)
    checked, clock = _checked(field, given, count, columns, zone, is_curve=True, exact=exact)
    dates, values = checked.values()
    if all(map(operator.lt, dates, dates[1:])):
        read = Curve(dates, values, clock)
        if index is not None:
            _LAST_INDEX.remember(index, zone, replace(read, values=[]))
        return read
    first: dict[str, int] = {}
    for i, day in enumerate(dates):
        if first.setdefault(day, i) < i:
            raise ValueError(
                f"{field} has the date {day!r} twice, at [{first[day]}] and [{i}]; each point needs its own"
            )
    order = sorted(range(count), key=dates.__getitem__)
    return Curve([dates[i] for i in order], [values[i] for i in order], clock)


def curve_of_returns(returns: Curve, initial_capital: float, timezone: str | None) -> Curve:
    """Return the account that begins with this capital one period before the first return.

    Raises
    ------
    ValueError
        If that lies before the year 1, or if the account outgrows a float.
    """
    if not returns.dates:
        return returns
    with np.errstate(over="ignore"):
        values = initial_capital * np.cumprod(1 + np.array(returns.values))
    beyond = np.flatnonzero(~np.isfinite(values))
    if beyond.size:
        raise ValueError(f"returns[{beyond[0]}].return is {returns.values[beyond[0]]}; the account outgrows a float")
    dates = [_date_before(returns.dates, timezone), *returns.dates]
    return Curve(dates, [initial_capital, *values.tolist()], returns.clock)


def _date_before(dates: list[str], timezone: str | None) -> str:
    """Return the date one period before the first one."""
    if all(len(date) == _DAY_LENGTH for date in dates):
        day = before_first(local_days(dates, timezone))
        found = str(day)
    else:
        moments = np.array(dates, dtype="datetime64[us]")
        period = np.median(np.diff(moments)) if len(dates) > 1 else np.timedelta64(1, "D")
        day = moments[0] - period
        found = moment_texts(np.array([day]))[0]
        if timezone is None:
            found = found.removesuffix("T00:00:00")
    if day < FIRST_DAY:
        raise ValueError(f"returns[0].date is {dates[0]!r}; it must leave room for the initial capital before it")
    return found


# Tables to columns ----------------------------------------------------------------------------------------------------


def _points(field: str, curve: Any, columns: Sequence[Column]) -> tuple[_Given, int]:
    """Split a curve into dates and values."""
    names = [column.name for column in columns]
    _, value = names
    if isinstance(curve, pd.Series):
        return {"date": _dates_of(curve.index), value: curve}, len(curve)
    found, count = _table(field, curve)
    if found is None and isinstance(curve, Mapping):
        return {"date": list(curve), value: list(curve.values())}, len(curve)
    if found is None:
        return _columns(field, curve, _known(columns))[::2]
    if "date" not in found and isinstance(curve, pd.DataFrame) and (value in found or len(found) == 1):
        found = {"date": _dates_of(curve.index), value: found.get(value, next(iter(found.values())))}
    elif "date" in found and value not in found and len(found) == 2:
        found = {"date": found.pop("date"), value: next(iter(found.values()))}
    known_keys(field, found, names)
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
    if len({len(column) for _, column in table}) > 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in table)
        raise ValueError(f"{field} has columns of different lengths: {lengths}")
    if not isinstance(given, pd.DataFrame):
        found = {name: column for name, column in found.items() if name not in _INDEX}
    return found, len(table[0][1]) if table else len(given)


def _columns(field: str, rows: Any, names: _Names) -> tuple[_Given, _Given, int]:
    """Split a table, or records, into columns: ours by our names, and others; a column that no row has is absent."""
    rows = unwrapped(rows)
    table, count = _table(field, rows)
    if table is None:
        rows = list(listed(field, rows, "a table, or a list of records"))
        table, count = _of_equal_dicts(rows), len(rows)
        if table is None:
            return *_of_records(field, rows, names), count
    return *_by_name(table, *names(field, table)), count


def _of_equal_dicts(rows: list[Any]) -> dict[Any, Any] | None:
    """Return the columns of dicts with the same keys, in half the time that others take."""
    if set(map(type, rows)) != {dict} or set(map(len, rows)) != {len(rows[0])} or len(rows[0]) < 2:
        return None
    with contextlib.suppress(KeyError):
        values = zip(*map(operator.itemgetter(*rows[0]), rows), strict=True)
        return dict(zip(rows[0], map(list, values), strict=True))
    return None


def _of_records(field: str, rows: list[Any], names: _Names) -> tuple[_Given, _Given]:
    records = []
    keys: dict[Any, None] = {}
    for i, row in enumerate(rows):
        given = row if isinstance(row, Mapping) else pairs(row)
        if given is None:
            raise ValueError(f"{field}[{i}] is {shown(row)}; it must be a dict or a record of names and values")
        record = dict(given)
        if not isinstance(row, Mapping):
            for name in _INDEX:
                record.pop(name, None)
        if not keys.keys() >= record.keys():
            names(f"{field}[{i}]", [*keys, *record])
            keys |= dict.fromkeys(record)
        records.append(record)
    found, others = names(field, keys)
    for name in _REQUIRED.intersection(found):
        for i, record in enumerate(records):
            if found[name] not in record:
                raise ValueError(f"{field}[{i}] has no {name!r}; its fields are {', '.join(map(str, record))}")
    return _by_name({key: [record.get(key) for record in records] for key in keys}, found, others)


def _by_name(given: _Given, found: Mapping[str, Any], others: list[Any]) -> tuple[_Given, _Given]:
    return {name: given[theirs] for name, theirs in found.items()}, {name: given[name] for name in others}


def _known(columns: Sequence[Column]) -> _Names:
    """Return the names of columns where others are refused."""
    allowed = [column.name for column in columns]

    def names(field: str, given: Iterable[Any]) -> tuple[dict[str, Any], list[Any]]:
        keys = list(given)
        known_keys(field, keys, allowed)
        return {name: name for name in keys if name in allowed}, []

    return names


# Columns to stored values ---------------------------------------------------------------------------------------------


def _checked(
    field: str,
    given: _Given,
    count: int,
    columns: Sequence[Column],
    zone: ZoneInfo | None,
    *,
    others: Iterable[Any] = (),
    is_curve: bool = False,
    exact: bool = False,
) -> tuple[dict[str, list[Any]], Clock]:
    """Return the stored form of each column, and what the dates tell about the zone."""
    missing = [column.name for column in columns if column.required and column.name not in given]
    if count and missing:
        names = ", ".join(map(str, (*given, *others))) or "none"
        raise ValueError(f"{field} has no column {missing[0]!r}; its columns are {names}")
    found: dict[str, list[Any]] = {}
    stamps: dict[str, Stamps] = {}
    for column in columns:
        name, column_given = column.name, given.get(column.name)
        found[name] = [None] * count
        if not count or column_given is None:
            continue
        if column.rule.kind == "date":
            path = f"{field}[{{}}].{name}"
            stamps[name] = stamps_of(path, column_given, zone, required=column.required, exact=exact)
        elif column.rule.kind == "float":
            found[name] = _numbers(field, column, column_given)
        elif column.rule.kind == "text":
            found[name] = _texts(field, column, column_given, exact=exact)
    texts, clock = written(field, stamps, is_curve=is_curve)
    return found | texts, clock


def _texts(field: str, column: Column, given: Any, *, exact: bool) -> list[Any]:
    values = values_of(given)
    is_code = not column.rule.blank
    kinds = set(map(type, values))
    if kinds == {str} or (not column.required and kinds == {str, type(None)}):
        with contextlib.suppress(ValueError):  # one of them; its place is named below
            return list(map((_CODES if is_code else _REASONS).__getitem__, values))
    return _each(field, column, values, _stock_code if is_code else text if exact else _reason)


def _each(field: str, column: Column, values: list[Any], check: _Check) -> list[Any]:
    return [
        None if not column.required and is_missing(value) else check(f"{field}[{i}].{column.name}", value)
        for i, value in enumerate(values)
    ]


def _numbers(field: str, column: Column, given: Any) -> list[Any]:
    numbers = _any_numbers(field, column, given)
    rule = column.rule
    if rule.bounds:
        for i, value in enumerate(numbers):
            if value is not None and not (rule.least <= value <= rule.most and value > rule.above):
                raise ValueError(
                    f"{field}[{i}].{column.name} is {shown(values_of(given)[i])}; it must be {rule.allowed}"
                )
    return numbers


def _any_numbers(field: str, column: Column, given: Any) -> list[Any]:
    if isinstance(given, (pd.Series, np.ndarray)) and given.dtype == np.float64 and given.ndim == 1:
        array = np.asarray(given)
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


def _reason(field: str, value: object) -> str:
    """Return why a trade was entered or left: any scalar as text."""
    held = unwrapped(value)
    form = text(field, held) if isinstance(held, str) else plain(held)
    if isinstance(form, (dict, list)):
        raise refusal(field, value, "text, or a value that has a text")
    return form if isinstance(form, str) else str(form)


_CODES: Final = Remembered(lambda code: _stock_code("", code))
_REASONS: Final = Remembered(lambda reason: _reason("", reason))
