"""Every column of trades and equity, every kind of table that holds it, and every kind of row."""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass, make_dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

import finlab_nb as fl
from conversions.meanings import (
    NULL,
    Day,
    JointRule,
    Meaning,
    Real,
    Refused,
    Rule,
    Text,
    dates_rule,
    each,
    number_rule,
    object_rule,
    reason_rule,
    text_rule,
)
from conversions.places import STRATEGY

Columns: TypeAlias = Mapping[str, Any]
Container: TypeAlias = Callable[[Columns], Any]


@dataclass(frozen=True)
class TableColumn:
    """A column of trades or equity.

    Attributes
    ----------
    table, name
        Where it is.
    rule
        What becomes of the meanings of a column.
    plain
        Three right values for it, with what they are: the odd value of a row stands between the first and the last.
    beside
        The other columns.
    """

    table: str
    name: str
    rule: JointRule
    plain: tuple[tuple[Any, Meaning], ...]
    beside: Columns

    def field(self, row: int) -> str:
        """Return what a refusal begins with."""
        return f"{self.table}[{row}].{self.name}"

    def columns(self, values: Any) -> dict[str, Any]:
        """Return the whole table, with the values in this column, by the names in their order."""
        return {
            name: values if name == self.name else self.beside[name]
            for name in _ORDER
            if name in {*self.beside, self.name}
        }

    def save(self, store: fl.StorageManager, table: Any) -> str:
        """Save an iteration with a table."""
        iteration: str = store.save_iteration(STRATEGY, **{self.table: table})
        return iteration

    def read(self, connection: sqlite3.Connection, iteration: str) -> list[Any]:
        """Return what the file holds in this column, in the order of the rows that were given."""
        source, order = {
            "trades": ("trades", "trade_id"),
            "equity": ("equity JOIN curves USING (curve_id)", "date" if self.name == "equity" else "equity"),
        }[self.table]
        query = f"SELECT {self.name} FROM {source} WHERE iteration_id = ? ORDER BY {order}"
        return [value for (value,) in connection.execute(query, (iteration,))]


_ORDER: Final = (
    *("stock_code", "entry_date", "exit_date", "entry_price", "exit_price", "position_size", "profit_loss"),
    *("trade_return", "fees", "mae", "mfe", "multiplier", "entry_reason", "exit_reason", "extra"),
    *("date", "equity"),
)
_DATES: Final = ["1990-05-07", "1990-05-08", "1990-05-09"]
_PLAIN_TEXTS: Final = tuple((text, Text(text=text)) for text in ("A", "B", "C"))
_PLAIN_NUMBERS: Final = tuple((number, Real(digits=str(number))) for number in (1.25, 2.25, 3.25))
_PLAIN_DATES: Final = tuple((text, Text(text=text, date=Day(day=text))) for text in _DATES)
_FIRST_DAY: Final = ["0001-01-01"] * 3

_TRADE: Final = {
    "stock_code": ["A", "B", "C"],
    "entry_date": _DATES,
    "entry_price": [1.5, 2.5, 3.5],
    "position_size": [10.0, 20.0, 30.0],
}
_CLOSED: Final = {**_TRADE, "entry_date": _FIRST_DAY}


def _trade_column(
    name: str, rule: Rule | JointRule, plain: tuple[tuple[Any, Meaning], ...], beside: Columns = _TRADE
) -> TableColumn:
    joint = rule if name in ("entry_date", "exit_date") else each(rule)
    return TableColumn("trades", name, joint, plain, {other: beside[other] for other in beside if other != name})


_LOSSES: Final = tuple((number, Real(digits=str(number))) for number in (-0.25, -0.5, -0.75))
_OBJECTS: Final = tuple((f'{{"a": {number}}}', Text(text=f'{{"a": {number}}}')) for number in (1, 2, 3))

COLUMNS: Final = [
    _trade_column("stock_code", text_rule(number=Refused("dtype=str")), _PLAIN_TEXTS),
    _trade_column("entry_date", dates_rule(), _PLAIN_DATES),
    _trade_column("exit_date", dates_rule(NULL), _PLAIN_DATES, {**_CLOSED, "exit_price": [1.0, 2.0, 3.0]}),
    _trade_column("entry_price", number_rule(), _PLAIN_NUMBERS),
    _trade_column("exit_price", number_rule(NULL), _PLAIN_NUMBERS),
    _trade_column("position_size", number_rule(), _PLAIN_NUMBERS),
    _trade_column("profit_loss", number_rule(NULL), _PLAIN_NUMBERS),
    _trade_column("trade_return", number_rule(NULL), _PLAIN_NUMBERS),
    _trade_column("fees", number_rule(NULL), _PLAIN_NUMBERS),
    _trade_column("mae", number_rule(NULL, most=0), _LOSSES),
    _trade_column("mfe", number_rule(NULL, least=0), _PLAIN_NUMBERS),
    _trade_column("multiplier", number_rule(NULL, above=0), _PLAIN_NUMBERS),
    _trade_column("entry_reason", reason_rule, _PLAIN_TEXTS),
    _trade_column("exit_reason", reason_rule, _PLAIN_TEXTS),
    _trade_column("extra", object_rule, _OBJECTS),
    TableColumn("equity", "date", dates_rule(one_a_day=True), _PLAIN_DATES, {"equity": [101.0, 102.0, 103.0]}),
    TableColumn("equity", "equity", each(number_rule()), _PLAIN_NUMBERS, {"date": _DATES}),
]


# Rows -----------------------------------------------------------------------------------------------------------------


def dicts(columns: Columns) -> Any:
    """Return a list of dicts."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def namedtuples(columns: Columns) -> Any:
    """Return a list of namedtuples with the field that DataFrame.itertuples adds."""
    kind = namedtuple("Row", ["Index", *columns])
    return [kind(i, *row) for i, row in enumerate(zip(*columns.values(), strict=True))]


def dataclasses(columns: Columns) -> Any:
    """Return a generator of instances of a dataclass."""
    kind = make_dataclass("Row", columns)
    return (kind(*row) for row in zip(*columns.values(), strict=True))


def objects(values: Any) -> Any:
    """Return an array of objects, each as it was given."""
    column = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        column[i] = value
    return column


def series_rows(columns: Columns) -> Any:
    """Return a list of Series, as DataFrame.iterrows gives them."""
    names = list(columns)
    return [pd.Series(objects(row), index=names, dtype=object) for row in zip(*columns.values(), strict=True)]


def object_frame(columns: Columns) -> Any:
    """Return a DataFrame with columns of objects."""
    return pd.DataFrame({name: pd.Series(objects(values), dtype=object) for name, values in columns.items()})


def object_records(columns: Columns) -> Any:
    """Return a structured array with fields of objects, and the field that DataFrame.to_records adds."""
    records = np.empty(3, dtype=[("index", int), *((name, object) for name in columns)])
    records["index"] = range(3)
    for name, values in columns.items():
        records[name] = objects(values)
    return records


def void_rows(columns: Columns) -> Any:
    """Return a list of the records of such an array."""
    return list(object_records(columns))


ROWS: Final[list[Container]] = [dicts, object_frame, namedtuples, dataclasses, series_rows, object_records, void_rows]

# Tables of typed columns ----------------------------------------------------------------------------------------------


def frame(columns: Columns) -> Any:
    """Return a DataFrame."""
    return pd.DataFrame({name: pd.Series(values).reset_index(drop=True) for name, values in columns.items()})


def arrow_table(columns: Columns) -> Any:
    """Return a pyarrow Table."""
    return pa.table(
        {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    )


def arrow_batch(columns: Columns) -> Any:
    """Return a pyarrow RecordBatch."""
    return arrow_table(columns).to_batches()[0]


def polars_frame(columns: Columns) -> Any:
    """Return a polars DataFrame."""
    return pl.DataFrame(dict(columns))


def arrays(columns: Columns) -> Any:
    """Return a dict of arrays and lists."""
    return dict(columns)


def typed_records(columns: Columns) -> Any:
    """Return a recarray with the index of DataFrame.to_records."""
    arrays = {"index": np.arange(3), **{name: np.asarray(values) for name, values in columns.items()}}
    records = np.empty(3, dtype=[(name, array.dtype) for name, array in arrays.items()])
    for name, array in arrays.items():
        records[name] = array
    return records.view(np.recarray)


# Equity curves --------------------------------------------------------------------------------------------------------


def curve(columns: Columns) -> Any:
    """Return a Series indexed by date."""
    return pd.Series(columns["equity"]).set_axis(pd.Index(columns["date"]))


def curve_of_objects(columns: Columns) -> Any:
    """Return a Series of objects, indexed by objects."""
    index = pd.Index(objects(columns["date"]), dtype=object)
    return pd.Series(objects(columns["equity"]), index=index, dtype=object)


def points(columns: Columns) -> Any:
    """Return a dict of dates and values."""
    return dict(zip(columns["date"], columns["equity"], strict=True))


def frame_of_one_column(columns: Columns) -> Any:
    """Return a DataFrame indexed by date, with one column of another name."""
    return curve(columns).to_frame("Portfolio Value [$]")
