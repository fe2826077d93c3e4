"""How a question is asked and its answer becomes a DataFrame, the same for all subjects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from finlab_nb.errors import BadDataWarning, IterationNotFoundError, QueryError, StrategyNotFoundError, warn
from finlab_nb.query import delta
from finlab_nb.query.tables import TABLES, literal
from finlab_nb.records import arguments
from finlab_nb.records.metrics import STANDARD_SET

if TYPE_CHECKING:
    from finlab_nb.query.engine import Engine

Answer = TypeVar("Answer")

_UNKNOWN_IDS: Final = """
    SELECT id FROM (SELECT unnest($ids::VARCHAR[]) AS id) WHERE id NOT IN (
        SELECT iteration_id FROM iterations WHERE iteration_id IS NOT NULL)"""
_KNOWN_STRATEGY: Final = "SELECT 1 FROM strategies WHERE strategy_id = $strategy OR name = $strategy LIMIT 1"

_FEW_ITERATIONS: Final = 64

_NULLABLE: Final[dict[Any, Any]] = {
    pa.int64(): pd.Int64Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}
_STRINGS: Final[dict[Any, Any]] = (
    {}
    if pd.__version__ >= "3"
    else {pa.string(): pd.StringDtype("pyarrow"), pa.large_string(): pd.StringDtype("pyarrow")}
)
# These are Int64 whether or not a value is missing.
_WHOLE_METRICS: Final = {metric.name for metric in STANDARD_SET if metric.kind == "whole"}
_WHOLE_IF_TYPED: Final = ("param.", "extra.")
# These change the engine permanently or take memory addresses, though they look like SELECTs.
_REFUSED_FUNCTIONS: Final = re.compile(
    r"\b(enable_logging|disable_logging|truncate_duckdb_logs|enable_profiling|disable_profiling|checkpoint|"
    r'force_checkpoint|json_execute_serialized_sql|arrow_scan(?:_dumb)?|pandas_scan|python_map_function|seq_scan)"?\s*\('
    r'|\b(query(?:_table)?)"?\s*\(',
    re.IGNORECASE,
)


class Views:
    """The views at one moment, as a question sees them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.asked: list[str] = []
        self._shown: dict[str, list[delta.Shown]] = {}

    def execute(self, query: str, values: Any = None) -> duckdb.DuckDBPyConnection:
        """Ask one query."""
        self.asked.append(query)
        return self.connection.execute(query, values) if values else self.connection.execute(query)

    def rows(self, query: str, values: Any = None) -> list[Any]:
        """Return the rows of an answer."""
        return self.execute(query, values).fetchall()

    def frame(self, query: str, values: Any = None) -> pd.DataFrame:
        """Return an answer as a DataFrame."""
        return to_frame(self.execute(query, values).to_arrow_table())

    def held(self, name: str) -> set[str]:
        """Return the columns of a view in which any row may have a value."""
        return {column for place in self._places(name) for column in place.held}

    def rows_of(self, name: str, ids: Sequence[str]) -> str:
        """Return what to select the rows of these owners from; for a few, only the places that can hold them."""
        if not 0 < len(ids) <= _FEW_ITERATIONS:
            return name
        return f"({delta.rows_of(TABLES[name], self._places(name), ids)}) AS {name}"

    def _places(self, name: str) -> list[delta.Shown]:
        if name not in self._shown:
            self._shown[name] = delta.shown(self.connection, TABLES[name])
        return self._shown[name]

    def check_ids(self, ids: Sequence[str]) -> None:
        """Refuse ids that no iteration has."""
        if not ids:
            return
        if len(ids) <= _FEW_ITERATIONS:
            (known,) = self.connection.execute(f"SELECT count(*) FROM iterations WHERE {among(ids)}").fetchone() or (0,)
            if known == len(ids):
                return
        unknown = self.connection.execute(_UNKNOWN_IDS, {"ids": list(ids)}).fetchall()
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

    def check_select(self, query: str) -> None:
        """Refuse anything that is not one SELECT, or could change the engine."""
        statements = self.connection.extract_statements(query)
        if len(statements) != 1:
            hint = "; give PIVOT its values with IN (...)" if re.search(r"\bpivot\b", query, re.IGNORECASE) else ""
            raise QueryError(f"the query holds {len(statements)} statements; it must be one{hint}")
        kind = statements[0].type
        if kind not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
            raise QueryError(
                f"the query is a {kind.name} statement; only SELECT is allowed, the store does the writing"
            )
        if kind == duckdb.StatementType.EXPLAIN and not re.match(
            r"\s*explain\s+(analyze\s+)?(select|with|from|values|table|\()", query, re.IGNORECASE
        ):
            raise QueryError("the query explains something else than a SELECT; only SELECT is allowed")
        refused = _REFUSED_FUNCTIONS.search(query)
        if refused:
            name = refused[1] or refused[2]
            raise QueryError(f"the query calls {name}(); it could change more than its answer and is not allowed")


class Questions:
    """What all subjects share: one engine, and a way to ask it.

    Parameters
    ----------
    engine
        What is behind the views ``strategies, iterations, metrics, extra_metrics, given_metrics, suggestions,
        applications, trades, equity, tags, series``.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def engine(self) -> Engine:
        """The engine that answers."""
        return self._engine

    def ask(self, question: Callable[[Views], Answer]) -> Answer:
        """Answer a question about the newest moment, and warn if values of its tables broke the rules."""
        lost: dict[str, dict[str, int]] = {}

        def asked(connection: duckdb.DuckDBPyConnection) -> Answer:
            views = Views(connection)
            answer = question(views)
            if self._engine.has_bad_values:
                words = set(re.findall(r"\w+", " ".join(views.asked).lower()))
                lost.update(self._engine.bad_values(connection, words & TABLES.keys()))
            return answer

        answer = self._engine.answer(asked)
        if lost:
            _warn(lost)
        return answer

    def warn_of_lost_values(self, tables: Sequence[str]) -> None:
        """Warn if values of some tables broke the rules."""
        lost = self._engine.answer(lambda connection: self._engine.bad_values(connection, tables))
        if lost:
            _warn(lost)

    def of_iterations(
        self,
        query: str,
        iterations: str | Iterable[str] | None,
        conditions: Sequence[str] = (),
        values: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Answer a query with a {condition} for all or some iterations."""
        ids = None if iterations is None else arguments.texts("iterations", iterations)
        bound = dict(values or {})

        def question(views: Views) -> pd.DataFrame:
            condition = " AND ".join([*conditions, views.condition(ids)])
            return views.frame(query.format(condition=condition), bound)

        return self.ask(question)


def among(ids: Sequence[str]) -> str:
    """Return the condition that a row belongs to one of these iterations."""
    return f"iteration_id IN ({', '.join(map(literal, ids)) or 'NULL'})"


def where_text(value: str | None) -> str:
    """Return a caller's condition as the text after WHERE."""
    # The line break ends a comment in it.
    return "true" if value is None else f"({arguments.filled_text('where', value)}\n)"


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table as a DataFrame of the documented dtypes."""
    names = table.column_names
    columns = [_plain(column) for column in table.columns]
    places = list(map(str, range(len(columns))))
    table = pa.Table.from_arrays(columns, names=places)
    frame: pd.DataFrame = table.to_pandas(types_mapper=_STRINGS.get)
    for place, name, column in zip(places, names, columns, strict=True):
        kind = column.type
        if kind in _NULLABLE and (column.null_count or name in _WHOLE_METRICS or name.startswith(_WHOLE_IF_TYPED)):
            frame[place] = column.to_pandas(types_mapper=_NULLABLE.get)
        elif pa.types.is_timestamp(kind) and kind.tz:
            frame[place] = frame[place].dt.tz_convert("UTC")
    frame.columns = pd.Index(names)
    return frame


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
        return pc.cast(column, pa.float64(), safe=False)
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
