"""Excel workbooks: one sheet per file, written row by row."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from finlab_nb.errors import StorageError

if TYPE_CHECKING:
    from types import ModuleType

MOST_ROWS: Final = 1_048_576  # in a sheet, including the header
MOST_COLUMNS: Final = 16_384
GUARDED_STARTS: Final = "=+-@\t\r"  # a spreadsheet takes text that starts with these for a formula

# Text stays text, whatever it looks like; `_write_cell` writes what no cell can hold.
_OPTIONS: Final = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
    "nan_inf_to_errors": False,
    "remove_timezone": False,
    "use_zip64": True,
}
_MOST_CHARACTERS: Final = 32_767  # in a cell, in UTF-16
_FIRST_DATE: Final = datetime(1900, 3, 1)  # noqa: DTZ001 - Excel knows no zones, and has one day too many before this
_EXACT_WHOLE: Final = 2**53


def load_xlsxwriter() -> ModuleType:
    """Return the library that writes Excel files.

    Raises
    ------
    StorageError
        If it is not installed.
    """
    try:
        return import_module("xlsxwriter")
    except ImportError as error:
        raise StorageError(
            "format 'xlsx' needs XlsxWriter, which is not installed; run: pip install \"finlab-nb[excel]\""
        ) from error


@contextlib.contextmanager
def writing_xlsx(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Write a workbook with memory that does not grow with its rows."""
    workbook = load_xlsxwriter().Workbook(str(path), _OPTIONS)
    try:
        sheet = workbook.add_worksheet()
        sheet.freeze_panes(1, 0)
        header = workbook.add_format({"bold": True})
        for place, name in enumerate(schema.names):
            sheet.write_string(0, place, name, header)
        day = workbook.add_format({"num_format": "yyyy-mm-dd"})
        moment = workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        number = 0

        def write(batch: pa.RecordBatch) -> None:
            nonlocal number
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                number += 1
                for place, value in enumerate(row):
                    _write_cell(sheet, number, place, value, (day, moment), schema.names[place])

        yield write
    except BaseException:
        with contextlib.suppress(Exception):  # this only tidies up: the file is no longer wanted
            workbook.close()
        raise
    workbook.close()


def _write_cell(sheet: Any, row: int, place: int, value: Any, formats: tuple[Any, Any], name: str) -> None:
    if value is None:
        return
    if isinstance(value, str):
        if len(value) * 2 > _MOST_CHARACTERS and len(value.encode("utf-16-le")) // 2 > _MOST_CHARACTERS:
            raise ValueError(
                f"{name} has {len(value):,} characters in row {row}; a cell of Excel holds {_MOST_CHARACTERS:,}: "
                "export to 'parquet', or without this table"
            )
        sheet.write_string(row, place, f"'{value}" if value[:1] in GUARDED_STARTS and value else value)
    elif isinstance(value, bool):
        sheet.write_boolean(row, place, value)
    elif isinstance(value, date):
        is_day = not isinstance(value, datetime) or value.time() == time()
        value = datetime.combine(value, time()) if is_day else value
        if value < _FIRST_DATE:
            sheet.write_string(row, place, value.date().isoformat() if is_day else value.isoformat())
        else:
            sheet.write_datetime(row, place, value, formats[0] if is_day else formats[1])
    elif not math.isfinite(value) or (isinstance(value, int) and abs(value) > _EXACT_WHOLE):
        sheet.write_string(row, place, str(value))
    else:
        sheet.write_number(row, place, value)
