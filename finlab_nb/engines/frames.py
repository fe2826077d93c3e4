"""Tables of trades, fills or orders with a curve, of any platform or none: what no adapter knows, as a `Result`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from finlab_nb.engines.fills import account, paired
from finlab_nb.engines.preview import Preview
from finlab_nb.engines.recording import Wishes, preview_result, record_result
from finlab_nb.engines.result import Options, Result
from finlab_nb.engines.tables.cells import Cells, dates, has_decimal_comma, is_date, is_empty, numbers
from finlab_nb.engines.tables.columns import CURVE_DATES, CURVES
from finlab_nb.engines.tables.raw import Table, table_of
from finlab_nb.engines.tables.reading import Reading
from finlab_nb.engines.tables.roles import Found, layout_of, letters, said_by
from finlab_nb.engines.tables.trades import entries_and_exits_of, extras_of, fills_of, points, trades_of
from finlab_nb.records.plain import columns_of
from finlab_nb.records.results import optional
from finlab_nb.records.values import filled_text, flag, named, positive, refusal
from finlab_nb.store import StorageManager

_TABLES: Final = ("trades", "fills", "orders")
_TEXT_FILES: Final = (".csv", ".tsv", ".txt", ".tab", ".xlsx", ".xls", ".htm", ".html")
_MOST_NAMED: Final = 8
_FEWEST_ROLES: Final = 2
_PAIRED: Final = "fills were paired first in, first out"
_CHECKS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    **dict.fromkeys(("columns", "metrics", "extra_metrics"), lambda field, value: named(field, value, "a dict")),
    "engine": filled_text,
    "currency": filled_text,
    "periods_per_year": positive,
}
_NOTHING: Final = (
    "nothing is given to record; give trades=, fills= or orders=, each a table or the path of a CSV file, or equity="
)


def record_frames(store: StorageManager, *, again: bool, **given: Any) -> str:
    """Store what tables tell, and print what their columns were taken for; see `Lab.record_frames`."""
    again = flag("again", again)
    result, wishes, line = read_frames(**given)
    if line is not None:
        print(line)  # noqa: T201 - the answer to whoever records by hand
    return record_result(store, result, wishes, again=again)


def preview_frames(**given: Any) -> Preview:
    """Return what `record_frames` would store."""
    result, wishes, _ = read_frames(**given)
    return preview_result(result, wishes)


def read_frames(
    strategy: Any = None,
    trades: Any = None,
    *,
    fills: Any = None,
    orders: Any = None,
    equity: Any = None,
    returns: Any = None,
    columns: Mapping[Any, Any] | None = None,
    currency: str | None = None,
    periods_per_year: float | None = None,
    engine: str | None = None,
    metrics: Mapping[str, Any] | None = None,
    extra_metrics: Mapping[str, float] | None = None,
    **wanted: Any,
) -> tuple[Result, Wishes, str | None]:
    """Return the result that tables tell, what the caller wishes, and the line that tells of the columns."""
    own = {"columns": columns, "engine": engine, "metrics": metrics, "extra_metrics": extra_metrics}
    for name, value in {**own, "currency": currency, "periods_per_year": periods_per_year}.items():
        optional(_CHECKS[name], name, value)
    strategy, trades = _strategy_and_table(strategy, trades, is_alone=fills is None and orders is None)
    wishes = Wishes(strategy=strategy, **wanted)
    given = {name: one for name, one in zip(_TABLES, (trades, fills, orders), strict=True) if one is not None}
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} are both given; trades follow from either, give one of them")
    if not given and equity is None and returns is None:
        raise ValueError(_NOTHING)
    curves = {"equity": curve_of("equity", equity), "returns": curve_of("returns", returns)}
    further: dict[str, Any] = {"engine": engine or "table"}
    line = None
    for field, table in given.items():
        of_trades, line = _of_table(field, table, columns, wishes, has_curve=equity is not None or returns is not None)
        further = of_trades | ({} if engine is None else {"engine": engine})
    if currency is not None:
        further["currency"] = currency
    result = Result(
        **{name: curve for name, curve in curves.items() if curve is not None} | further,
        periods_per_year=periods_per_year,
        figures=dict(metrics or {}),
        extra_metrics=dict(extra_metrics or {}),
    )
    return result, wishes, line


def _strategy_and_table(strategy: Any, trades: Any, *, is_alone: bool) -> tuple[str | None, Any]:
    """Tell the strategy's name from a table that is given first."""
    if strategy is None or (isinstance(strategy, str) and not _is_path(strategy)):
        return strategy, trades
    if not isinstance(strategy, (str, os.PathLike, Sequence, Mapping)) and columns_of(strategy) is None:
        raise refusal("strategy", strategy, "text, a table, or the path of a CSV file")
    if trades is None and (is_alone or not isinstance(strategy, str)):
        return None, strategy
    if isinstance(trades, str) and not _is_path(trades):
        return trades, strategy
    if isinstance(strategy, str):
        return strategy, trades
    raise refusal("strategy", strategy, "text")


def _is_path(text: str) -> bool:
    return Path(text).suffix.casefold() in _TEXT_FILES


# Trades ---------------------------------------------------------------------------------------------------------------


def _of_table(
    field: str, given: Any, columns: Mapping[Any, Any] | None, wishes: Wishes, *, has_curve: bool
) -> tuple[dict[str, Any], str]:
    """Return the fields of a result that a table of trades or fills tells, and the line about its columns."""
    said_names = [str(one) for pair in (columns or {}).items() for one in pair if one is not None]
    table = table_of(field, given, said_names)
    said = said_by(columns, table.names)
    found = layout_of([name for name in table.names if name], said)
    if found.lacking:
        raise ValueError(_lacking(field, table, found))
    reading = Reading(table, found, wishes.ticker)
    fields: dict[str, Any] = {}
    if found.layout.kind == "fills":
        made = fills_of(reading)
        trades = _paired(reading, made, wishes.options)
        if not has_curve and len(made):
            fields = _computed_curve(reading, made, wishes)
        unused = _unused(reading, said)
    else:
        unused = _unused(reading, said)
        if found.layout.kind == "trades":
            trades = trades_of(reading)
            trades["extra"] = pd.Series(extras_of(reading, unused), trades.index, dtype=object)
        else:
            trades = entries_and_exits_of(reading, extras_of(reading, unused))
        trades = _valued(trades, wishes.options.marks)
    fields |= {
        "engine": found.layout.platform,
        "name": _one_of(reading, "strategy"),
        "currency": found.currency or _one_of(reading, "currency"),
        "trades": trades,
    }
    line = _line(reading, unused)
    named = () if fields["name"] is None else (f"the strategy's name is that of column {found.roles['strategy']!r}",)
    return fields | {"remarks": (line, *named)}, line


def _lacking(field: str, table: Table, found: Found) -> str:
    wanted, *more = found.lacking
    names = ", ".join(repr(name) for name in table.names if name)
    if len(found.roles) < _FEWEST_ROLES:
        return (
            f"{field} is no table of trades, fills or orders: of its columns {names} none are known as date, price "
            "and size; say what they are by columns={'their name': 'date'}, or give a curve by equity=, figures by "
            "metrics="
        )
    also = f" (and for {', '.join(more)})" if more else ""
    return (
        f"{field} has no column for {wanted}{also}; its columns are {names}: say which is by "
        f"columns={{'their name': {wanted!r}}}"
    )


def _paired(reading: Reading, fills: pd.DataFrame, options: Options) -> pd.DataFrame:
    """Return the trades of fills, and say what they rest on."""
    if reading.has("gross") and "multiplier" not in fills and len(fills):
        _add_points(reading, fills)
    trades = paired(fills, options.marks)
    reading.notes.insert(0, _PAIRED)
    shorts = sorted(set(trades.loc[trades["position_size"] < 0, "stock_code"]))
    if shorts:
        names = ", ".join(shorts[:_MOST_NAMED]) + (" …" if len(shorts) > _MOST_NAMED else "")
        reading.notes.append(f"sold without having been bought before, so taken as short: {names}")
    return trades


def _add_points(reading: Reading, fills: pd.DataFrame) -> None:
    """Add the multipliers that follow from the gross profits that fills tell of what they close."""
    trades = paired(fills)
    closed = trades[trades["exit_date"].notna()]
    moved = (closed["exit_price"] - closed["entry_price"]) * closed["position_size"]
    codes = pd.Series(reading.codes())
    gross = pd.Series(reading.numbers("gross")).fillna(0.0).groupby(codes).sum()
    moves = moved.groupby(closed["stock_code"]).sum()
    both = gross.index.intersection(moves.index)
    found = points(pd.Series(both, index=both), moves[both], gross[both])
    strange = [str(code) for code in both if code not in found]
    if strange:
        raise ValueError(
            f"{reading.table.field} tells profits of {strange[0]} that its prices and sizes do not explain; add a "
            "column 'multiplier' with what one point is worth, or give the table of positions"
        )
    fills["multiplier"] = fills["stock_code"].map(found).fillna(1.0)
    if found:
        told = ", ".join(f"{code} = {value:,g}" for code, value in found.items())
        reading.notes.append(f"multiplier of {told} by the profits")


def _computed_curve(reading: Reading, fills: pd.DataFrame, wishes: Wishes) -> dict[str, Any]:
    """Return the curve of fills at closing prices, if there are such prices and a capital."""
    closes = wishes.options.closes
    if closes is None or wishes.initial_capital is None:
        return {}
    unknown = sorted(set(fills["stock_code"]) - set(closes.columns))
    if unknown:
        raise ValueError(f"prices has no column {unknown[0]!r}, a stock that was traded; give its closing prices too")
    days = pd.DatetimeIndex(closes.index)
    if (days == days.normalize()).all():  # each price is that of the end of its day
        when = fills["date"].dt.tz_convert(wishes.timezone) if fills["date"].dt.tz is not None else fills["date"]
        fills = fills.assign(date=when.dt.tz_localize(None).dt.normalize())
        days = days.tz_localize(None)
    reading.notes.append("equity computed from fills, prices and initial_capital")
    return {"equity": account(fills, closes.set_axis(days).sort_index(), wishes.initial_capital)}


def _valued(trades: pd.DataFrame, marks: Mapping[Any, float]) -> pd.DataFrame:
    """Value what is open, and has no price of its own, at the last known price."""
    if not marks or not len(trades):
        return trades
    lacking = trades["exit_date"].isna() & trades["exit_price"].isna() & trades["stock_code"].isin(list(marks))
    price = trades["exit_price"].where(~lacking, trades["stock_code"].map(marks))
    moved = (price - trades["entry_price"]) * trades["position_size"] * trades.get("multiplier", 1.0)
    profit = trades["profit_loss"].where(~lacking | trades["profit_loss"].notna(), moved - trades.get("fees", 0.0))
    return trades.assign(exit_price=price, profit_loss=profit)


def _unused(reading: Reading, said: Mapping[str, str | None]) -> list[str]:
    """Return the names of columns that stand for nothing and hold something."""
    taken = {*reading.found.roles.values(), *said}
    rest = (name for name in dict.fromkeys(reading.table.names) if name and name not in taken)
    return [name for name in rest if not all(map(is_empty, reading.table.cells(name).values))]


def _line(reading: Reading, unused: Sequence[str]) -> str:
    """Tell what each column was taken for, what was left out, and what was not used."""
    parts = [f"columns: {', '.join(reading.words.values())}", *reading.table.left_out, *reading.notes]
    if unused:
        names = ", ".join(unused[:_MOST_NAMED])
        names += f" and {len(unused) - _MOST_NAMED} more" if len(unused) > _MOST_NAMED else ""
        parts.append(f"{'not used' if reading.found.layout.kind == 'fills' else 'kept as extra'}: {names}")
    return "; ".join(parts)


def _one_of(reading: Reading, role: str) -> str | None:
    """Return the text that a column has in all rows; several names of a strategy are joined."""
    if not reading.has(role):
        return None
    texts = dict.fromkeys(str(cell).strip() for cell in reading.cells(role).values if not is_empty(cell))
    if role == "currency" and len(texts) > 1:
        reading.notes.append(f"amounts in {', '.join(texts)} are summed as they are")
        return None
    return " + ".join(texts) or None


# Curves ---------------------------------------------------------------------------------------------------------------


def curve_of(field: str, given: Any) -> Any:
    """Return a curve as a Series by date, from a path or a table; what a save takes by itself stays as it is."""
    if given is None or isinstance(given, (pd.Series, Mapping)):
        return given
    is_file = isinstance(given, (str, os.PathLike))
    if isinstance(given, pd.DataFrame) and len(given.columns) == 1 and isinstance(given.index, pd.DatetimeIndex):
        return given.iloc[:, 0]
    if not is_file and not isinstance(given, pd.DataFrame):
        return given
    table = table_of(field, given, fewest=2, headless=("date", field))
    date, value = _date_and_value(field, table)
    cells = table.cells(value)
    values = numbers(cells, comma=has_decimal_comma([cells]))
    for row in [row for row, one in enumerate(values) if one != one][:1]:
        raise cells.missing(row, "a number")
    index = dates(table.cells(date))
    for row in [row for row, one in enumerate(index) if one is pd.NaT][:1]:
        raise table.cells(date).missing(row, "a date")
    return pd.Series(values, pd.DatetimeIndex(index), name=field)


def _date_and_value(field: str, table: Table) -> tuple[str, str]:
    forms = {letters(name): name for name in reversed(table.names)}
    date = next((forms[letters(one)] for one in CURVE_DATES if letters(one) in forms), None)
    if date is None:
        date = next((name for name in table.names if _are_dates(table.cells(name))), None)
    rest = [name for name in table.names if name != date and not all(map(is_empty, table.cells(name).values))]
    value = next((forms[letters(one)] for one in CURVES[field] if letters(one) in forms), None)
    if value is None and len(rest) == 1:
        value = rest[0]
    if date is None or value is None:
        names = ", ".join(repr(name) for name in table.names)
        wanted = "date" if date is None else field
        raise ValueError(f"{field} has no column for the {wanted}; its columns are {names}: give date and {field} only")
    return date, value


def _are_dates(cells: Cells) -> bool:
    try:
        return bool(cells.values) and all(map(is_date, cells.values)) and bool(dates(cells).notna().all())
    except ValueError:
        return False
