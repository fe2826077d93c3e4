"""The formats of exported files: how each selects a table, and how it writes the rows as they come."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from finlab_nb.query.exports.spreadsheets import GUARDED_STARTS, writing_xlsx
from finlab_nb.query.tables import Column, Day, Table, literal, quoted

Write: TypeAlias = Callable[[pa.RecordBatch], None]
Writing: TypeAlias = Callable[[Path, pa.Schema], contextlib.AbstractContextManager[Write]]

_DATE_TEXT: Final = """CASE WHEN date_trunc('day', {0}) = {0} THEN strftime({0}, '%Y-%m-%d')
    ELSE strftime({0}, '%Y-%m-%dT%H:%M:%S.%f') END"""
_MOMENT_TEXT: Final = "strftime(timezone('UTC', {0}), '%Y-%m-%dT%H:%M:%S.%fZ')"
_JSON_NUMBER: Final = """CASE WHEN {0} IS NULL THEN NULL WHEN isfinite({0}) THEN to_json({0})
    WHEN {0} > 0 THEN to_json('Infinity') ELSE to_json('-Infinity') END"""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"  # without it Excel takes UTF-8 for the system's old code page
_CSV: Final = pyarrow.csv.WriteOptions(include_header=True, batch_size=1024, delimiter=",", quoting_style="needed")


@dataclass(frozen=True, slots=True)
class Format:
    """One format: its file ending, the select list of a table in it, what writes the rows, and how many at a time."""

    ending: str
    select_list: Callable[[tuple[Column | Day, ...]], str]
    writing: Writing
    batch_rows: int = 122_880


def _typed(columns: tuple[Column | Day, ...]) -> str:
    return ", ".join(quoted(column.name) for column in columns)


def _with_dates_as_text(columns: tuple[Column | Day, ...]) -> str:
    texts = {"date": _DATE_TEXT, "moment": _MOMENT_TEXT}
    return ", ".join(
        f"{texts.get(column.kind, '{0}').format(quoted(column.name))} AS {quoted(column.name)}" for column in columns
    )


def _with_moments_in_utc(columns: tuple[Column | Day, ...]) -> str:
    return ", ".join(
        f"timezone('UTC', {quoted(column.name)}) AS {quoted(column.name)}"
        if column.kind == "moment"
        else quoted(column.name)
        for column in columns
    )


def _json_lines(columns: tuple[Column | Day, ...]) -> str:
    values = {
        "date": _DATE_TEXT,
        "moment": _MOMENT_TEXT,
        "float": _JSON_NUMBER,
        "object": "CAST({0} AS JSON)",
        "array": "CAST({0} AS JSON)",
    }
    pairs = (
        f"{literal(column.name)}, {values.get(column.kind, '{0}').format(quoted(column.name))}" for column in columns
    )
    return f"json_object({', '.join(pairs)})::VARCHAR AS line"


@contextlib.contextmanager
def _writing_parquet(path: Path, schema: pa.Schema) -> Iterator[Write]:
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        yield writer.write_batch


@contextlib.contextmanager
def _writing_feather(path: Path, schema: pa.Schema) -> Iterator[Write]:
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_file(stream, schema, options=options) as writer:
        yield writer.write_batch


@contextlib.contextmanager
def _writing_csv(path: Path, schema: pa.Schema) -> Iterator[Write]:
    with path.open("wb") as stream:
        stream.write(_BYTE_ORDER_MARK)
        with pyarrow.csv.CSVWriter(stream, schema, write_options=_CSV) as writer:
            yield lambda batch: writer.write_batch(_guarded(batch))


@contextlib.contextmanager
def _writing_json(path: Path, _: pa.Schema) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        separator = "[\n"

        def write(batch: pa.RecordBatch) -> None:
            nonlocal separator
            if batch.num_rows:
                stream.write(separator + ",\n".join(batch.column(0).to_pylist()))
                separator = ",\n"

        yield write
        stream.write("[]\n" if separator == "[\n" else "\n]\n")


def _guarded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Put an apostrophe before text that a spreadsheet would take for a formula."""
    pattern = f"^[{GUARDED_STARTS.replace('-', '')}-]"
    columns = []
    for column in batch.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            risky = pc.match_substring_regex(column, pattern)
            if pc.any(risky).as_py():
                column = pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


FORMATS: Final = {
    "parquet": Format(".parquet", _typed, _writing_parquet),
    "csv": Format(".csv", _with_dates_as_text, _writing_csv),
    "xlsx": Format(".xlsx", _with_moments_in_utc, writing_xlsx, batch_rows=2_048),
    "json": Format(".json", _json_lines, _writing_json),
    "feather": Format(".feather", _typed, _writing_feather),
}


def select(form: Format, table: Table, without: str | None = None) -> str:
    """Return the SELECT of a table for a format, up to its WHERE."""
    columns = tuple(column for column in table.shown if column.name != without)
    return f"SELECT {form.select_list(columns)} FROM {table.name}"
