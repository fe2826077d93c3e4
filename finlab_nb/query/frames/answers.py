"""The forms of an answer to a researcher's own SQL: Arrow, batch by batch or whole, and DataFrames."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from finlab_nb.errors import QueryError, StorageError
from finlab_nb.query.frames.questions import to_frame
from finlab_nb.query.names import unique_names

if TYPE_CHECKING:
    import duckdb

    Result = duckdb.DuckDBPyRelation | duckdb.DuckDBPyConnection

_BATCH_ROWS: Final = 122_880  # a row group of DuckDB
_FLATTENED: Final = ("param", "metric")
# Arrow has no type for these; DuckDB would give bytes, or other values.
_NOT_IN_ARROW: Final = frozenset({"bignum", "bit", "time with time zone", "uhugeint", "union", "variant"})
_NESTED: Final = frozenset({"array", "list", "map", "struct"})
_INTERVAL: Final = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])
_DAY: Final = 86_400_000_000
_MOST_DAYS: Final = (2**63 - 1) // _DAY - 1
_INFINITY: Final = 2**63 - 1


def table(result: Result) -> pa.Table:
    """Return a whole answer."""
    _check_types(result)
    try:
        return _named(result.to_arrow_table())
    except pa.ArrowException as error:
        raise QueryError(f"Arrow cannot hold this answer: {error}") from error


def stream(result: Result) -> pa.RecordBatchReader:
    """Return an answer that is computed while it is read."""
    _check_types(result)
    reader: pa.RecordBatchReader = result.to_arrow_reader(_BATCH_ROWS)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield from _named(pa.Table.from_batches([batch])).to_batches()

    return pa.RecordBatchReader.from_batches(_named(reader.schema.empty_table()).schema, batches())


def _check_types(result: Result) -> None:
    for name, kind, *_ in result.description:
        for one in _types_in(kind):
            if one.id in _NOT_IN_ARROW:
                raise QueryError(f"the column {name!r} holds {one}, for which Arrow has no type; cast it to VARCHAR")


def _types_in(kind: Any) -> Iterator[Any]:
    """Yield a type of DuckDB and the types that its values are made of."""
    yield kind
    for _, inner in kind.children if kind.id in _NESTED else ():
        if not isinstance(inner, int):  # the length of an array
            yield from _types_in(inner)


def _named(answer: pa.Table) -> pa.Table:
    """Return an answer whose columns have different names, with a column for each field of ``param`` and ``metric``."""
    parts = [answer.select([place]) for place in range(answer.num_columns)]
    parts = [one.flatten() if one.column_names[0] in _FLATTENED else one for one in parts]
    names = unique_names(name for one in parts for name in one.column_names)
    return pa.Table.from_arrays([column for one in parts for column in one.columns], names=names)


def _pandas(answer: pa.Table) -> pd.DataFrame:
    columns = [_finite(name, column) for name, column in zip(answer.column_names, answer.columns, strict=True)]
    try:
        return to_frame(_with_durations(pa.Table.from_arrays(columns, names=answer.column_names)))
    except (pa.ArrowException, NotImplementedError, ValueError, OverflowError) as error:
        raise QueryError(f"pandas cannot hold this answer ({error}); ask for it with to='arrow'") from error


def _polars(answer: pa.Table) -> Any:
    polars = load_polars()
    try:
        return polars.from_arrow(_with_durations(answer))
    except (polars.exceptions.PolarsError, pa.ArrowException) as error:
        raise QueryError(f"polars cannot hold this answer ({error}); ask for it with to='arrow'") from error


FRAMES: Final[Mapping[str, Callable[[pa.Table], Any]]] = {"pandas": _pandas, "polars": _polars}


def load_polars() -> Any:
    """Return the module of polars.

    Raises
    ------
    StorageError
        If it is not installed.
    """
    try:
        return importlib.import_module("polars")
    except ImportError as error:
        raise StorageError('to="polars" needs polars: pip install polars') from error


def _finite(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as pandas takes it, unless it holds an infinite date, which pandas would show as a finite one."""
    if pa.types.is_timestamp(column.type):
        least, most = pc.min_max(column.cast(pa.int64())).as_py().values()
        if least is not None and (least == -_INFINITY or most == _INFINITY):
            raise QueryError(f"the column {name!r} holds an infinite date, which pandas has not; see isfinite()")
    if pa.types.is_dictionary(column.type):
        return column.cast(pa.dictionary(pa.int32(), column.type.value_type))  # old Arrow takes no unsigned places
    return column


def _with_durations(answer: pa.Table) -> pa.Table:
    """Return an answer whose intervals are durations where none of a column has months, which have no length."""
    columns = [_duration(one) if one.type == pa.month_day_nano_interval() else one for one in answer.columns]
    return pa.Table.from_arrays(columns, names=answer.column_names)


def _duration(column: pa.ChunkedArray) -> pa.ChunkedArray:
    durations = []
    for chunk in column.chunks:
        held = np.frombuffer(chunk.buffers()[1] or b"", _INTERVAL)[chunk.offset : chunk.offset + len(chunk)]
        unknown = chunk.is_null().to_numpy(zero_copy_only=False)
        days = held["days"].astype(np.int64)
        if (held["months"][~unknown] != 0).any() or (np.abs(days[~unknown]) > _MOST_DAYS).any():
            return column
        durations.append(pa.array((days * _DAY + held["nanoseconds"] // 1000).view("timedelta64[us]"), mask=unknown))
    return pa.chunked_array(durations, pa.duration("us"))
