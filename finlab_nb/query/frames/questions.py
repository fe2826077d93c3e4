"""How a question is asked and its answer becomes a DataFrame, the same for all subjects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from finlab_nb.errors import BadDataWarning, IterationNotFoundError, StrategyNotFoundError, warn
from finlab_nb.query.frames.parsing import Parsed, parsed
from finlab_nb.query.source import translated_errors
from finlab_nb.query.tables import TABLES, literal
from finlab_nb.records import arguments
from finlab_nb.records.metrics import STANDARD_SET

if TYPE_CHECKING:
    from finlab_nb.query.source import Moment, Question, Source

Answer = TypeVar("Answer")

_MOST_PARSED: Final = 256  # queries

_UNKNOWN_IDS: Final = """
    SELECT id FROM (SELECT unnest($ids::VARCHAR[]) AS id) WHERE id NOT IN (
        SELECT iteration_id FROM {iterations} WHERE iteration_id IS NOT NULL)"""
_KNOWN_STRATEGY: Final = "SELECT 1 FROM strategies WHERE strategy_id = $strategy OR name = $strategy LIMIT 1"

_WHOLE: Final = (
    *(pa.int64(), pa.int32(), pa.int16(), pa.int8()),
    *(pa.uint64(), pa.uint32(), pa.uint16(), pa.uint8()),
)
_NULLABLE: Final[dict[Any, tuple[Any, Any]]] = {
    **dict.fromkeys(_WHOLE, (pd.arrays.IntegerArray, 0)),
    pa.bool_(): (pd.arrays.BooleanArray, False),
}
_TEXT: Final[Any] = pd.StringDtype("pyarrow", na_value=np.nan) if pd.__version__ >= "3" else pd.StringDtype("pyarrow")
# These are Int64 whether or not a value is missing.
_WHOLE_METRICS: Final = {metric.name for metric in STANDARD_SET if metric.kind == "whole"}
_WHOLE_IF_TYPED: Final = ("param.", "extra.")


class Views:
    """The views at one moment, as a question sees them."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self.connection = moment.connection

    def execute(self, query: str, values: Any = None) -> duckdb.DuckDBPyConnection:
        """Ask one query."""
        return self.connection.execute(query, values) if values else self.connection.execute(query)

    def result(self, query: str, values: Any = None) -> duckdb.DuckDBPyRelation | duckdb.DuckDBPyConnection:
        """Ask one query whose answer becomes Arrow, batch by batch."""
        # Since DuckDB 2 only a relation gives its rows without a copy; before, one with values held them all first.
        if duckdb.__version__ >= "2":
            return self.connection.sql(query, params=values or None)
        return self.execute(query, values)

    def rows(self, query: str, values: Any = None) -> list[Any]:
        """Return the rows of an answer."""
        return self.execute(query, values).fetchall()

    def table(self, query: str, values: Any = None) -> pa.Table:
        """Return an answer as an Arrow table."""
        return self.result(query, values).to_arrow_table()

    def frame(self, query: str, values: Any = None) -> pd.DataFrame:
        """Return an answer as a DataFrame."""
        return to_frame(self.table(query, values))

    def check_ids(self, ids: Sequence[str]) -> None:
        """Refuse ids that no iteration has."""
        if not ids:
            return
        iterations = self.moment.rows_of("iterations", ids)
        if self.rows(f"SELECT count(*) FROM {iterations} WHERE {among(ids)}") == [(len(ids),)]:
            return
        unknown = self.rows(_UNKNOWN_IDS.format(iterations=iterations), {"ids": list(ids)})
        if unknown:
            more = f" (nor {len(unknown) - 1} others)" if len(unknown) > 1 else ""
            raise IterationNotFoundError(f"iterations holds {unknown[0][0]!r}; no iteration has this id{more}")

    def condition(self, ids: Sequence[str] | None) -> str:
        """Return the condition that a row belongs to one of these iterations, all of which must exist, or to any."""
        if ids is None:
            return "true"
        self.check_ids(ids)
        return among(ids)

    def check_strategy(self, strategy: str) -> None:
        """Refuse text that is neither the id nor the name of a strategy."""
        if not self.connection.execute(_KNOWN_STRATEGY, {"strategy": strategy}).fetchall():
            raise StrategyNotFoundError(f"strategy is {strategy!r}; no strategy has this id or name")


class Questions:
    """What all subjects share: one source, and a way to ask it.

    Parameters
    ----------
    source
        What is behind the views ``strategies, iterations, metrics, extra_metrics, given_metrics, suggestions,
        applications, trades, equity, tags, provenance, series, results``.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._parsed: dict[tuple[str, frozenset[str]], Parsed] = {}

    @property
    def source(self) -> Source:
        """What answers."""
        return self._source

    def ask(
        self,
        question: Callable[[Views], Answer],
        tables: Collection[str],
        owners: Sequence[str] | None = None,
        *,
        checked: Collection[str] = (),
    ) -> Answer:
        """Answer a question about the newest moment, and warn if values of its tables broke the rules.

        See `Source.answer` for what it must tell of itself; `checked` are further tables of which it only reads ids.
        """
        lost: dict[str, Mapping[str, int]] = {}
        with translated_errors():
            answer = self._source.answer(_counting(question, tables, lost), {*tables, *checked}, owners)
        if lost:
            _warn(lost)
        return answer

    def stream(
        self, question: Callable[[Views], pa.RecordBatchReader], tables: Collection[str]
    ) -> pa.RecordBatchReader:
        """Answer a question as `ask` does, in pieces."""
        lost: dict[str, Mapping[str, int]] = {}
        with translated_errors():
            answer = self._source.stream(_counting(question, tables, lost), tables)
        if lost:
            _warn(lost)
        return answer

    def where(self, value: str | None) -> tuple[str | None, frozenset[str]]:
        """Return a caller's condition as the text after WHERE, and the names of the views that it reads."""
        if value is None:
            return None, frozenset()
        text = arguments.filled_text("where", value)
        # What can be read without parentheses cannot close those that it gets.
        read = self.parsed(f"SELECT {text}\n").read
        return f"({text}\n)", read & TABLES.keys()  # the line break ends a comment in it

    def parsed(self, text: str, frames: Collection[str] = ()) -> Parsed:
        """Return what a query does; see `parsing.parsed`. It is worked out once, as notebooks ask the same again."""
        key = text, frozenset(frames)
        found = self._parsed.get(key)
        if found is None:
            found = self.ask(lambda views: parsed(views.connection, text, frames), ())
            if len(self._parsed) >= _MOST_PARSED:
                self._parsed.clear()
            self._parsed[key] = found
        return found

    def of_iterations(
        self,
        query: str,
        tables: Collection[str],
        iterations: str | Iterable[str] | None,
        conditions: Sequence[str] = (),
        values: Mapping[str, Any] | None = None,
        *,
        alone: bool = True,
    ) -> pd.DataFrame:
        """Answer a query of some {tables} by name, with a {condition} for all or some iterations.

        If these are not alone, it also reads rows of others, and tables by their views.
        """
        ids = None if iterations is None else arguments.texts("iterations", iterations)
        owners = ids if alone else None
        bound = dict(values or {})

        def question(views: Views) -> pd.DataFrame:
            rows = {table: views.moment.rows_of(table, owners or []) for table in tables}
            condition = " AND ".join([*conditions, views.condition(ids)])
            return views.frame(query.format(condition=condition, **rows), bound)

        return self.ask(question, tables, owners, checked=("iterations",))


def among(ids: Sequence[str]) -> str:
    """Return the condition that a row belongs to one of these iterations."""
    return f"iteration_id IN ({', '.join(map(literal, ids)) or 'NULL'})"


def _counting(
    question: Callable[[Views], Answer], tables: Collection[str], lost: dict[str, Mapping[str, int]]
) -> Question[Answer]:
    """Return a question that also counts the values of its tables that broke the rules."""

    def asked(moment: Moment) -> Answer:
        lost.update(moment.bad_values(tables))
        return question(Views(moment))

    return asked


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table as a DataFrame of the documented dtypes."""
    names = table.column_names
    # Made by hand, because pandas takes three times as long to make some columns of its own accord and replace others.
    columns = dict(enumerate(_array(name, _plain(one)) for name, one in zip(names, table.columns, strict=True)))
    frame = pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows), copy=False)
    frame.columns = pd.Index(names)
    return frame


def _array(name: str, column: pa.ChunkedArray) -> Any:
    """Return the values of a column as pandas takes them without a second look, in memory that may be written to."""
    kind, missing = column.type, column.null_count
    if kind in _NULLABLE and (missing or name in _WHOLE_METRICS or name.startswith(_WHOLE_IF_TYPED)):
        array, nothing = _NULLABLE[kind]
        values = column.fill_null(nothing) if missing else column
        return array(_owned(values), _owned(column.is_null()), copy=False)
    if pa.types.is_string(kind):
        return _TEXT.__from_arrow__(column)
    if pa.types.is_timestamp(kind):
        moments = pd.DatetimeIndex(_owned(column))
        return moments if kind.tz is None else moments.tz_localize("UTC")
    return _owned(column) if pa.types.is_floating(kind) or kind in _NULLABLE else column.to_pandas()


def _owned(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """Return numbers or moments; those of one piece are Arrow's own until they are copied."""
    values: np.ndarray[Any, Any] = column.to_numpy()
    return values if values.flags.writeable else values.copy()


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Convert a column that would become Python objects in pandas to numbers or dates."""
    kind = column.type
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("us"))
    if pa.types.is_decimal(kind):  # sums of whole numbers, and literals such as 1.5
        if kind.scale == 0:
            try:
                return column.cast(pa.int64())
            except pa.ArrowInvalid:
                pass
        return column.cast(pa.string()).cast(pa.float64())  # the nearest float, which a direct cast often misses
    return column


def _warn(lost: Mapping[str, Mapping[str, int]]) -> None:
    total = sum(sum(columns.values()) for columns in lost.values())
    parts = [
        f"{table} ({', '.join(f'{column} {count}' for column, count in columns.items())})"
        for table, columns in lost.items()
    ]
    counted = "1 value that another program wrote breaks the rules and is missing"
    if total != 1:
        counted = f"{total} values that another program wrote break the rules and are missing"
    message = f"{counted}: {'; '.join(parts)}; lab.store.check() names the rows and the rules"
    warn(message, BadDataWarning)
