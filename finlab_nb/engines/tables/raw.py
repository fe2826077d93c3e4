"""Tables as files and pandas give them: the header found among title lines and sections, the rows that belong to it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from finlab_nb.engines.tables.cells import Cells, is_date, is_empty
from finlab_nb.engines.tables.roles import is_date_name, known, letters
from finlab_nb.records.plain import columns_of, values_of
from finlab_nb.records.values import refusal, shown

_BOMS: Final = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_ENCODINGS: Final = ("utf-8", "cp950", "gb18030", "cp1252")  # tried in this order; the last can be any bytes
_SEPARATORS: Final = ",;\t|"
_OTHER_FILES: Final[Mapping[str, str]] = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods"), "pd.read_excel(path, header=None, dtype=str)"),
    **dict.fromkeys((".htm", ".html"), "pd.read_html(path)"),
    **dict.fromkeys((".parquet", ".pq"), "pd.read_parquet(path)"),
    ".feather": "pd.read_feather(path)",
    ".json": "pd.read_json(path)",
}
_SNIFFED: Final = 200_000  # letters of a file
_SEARCHED: Final = 5_000  # rows for a header
_FEWEST_NAMES: Final = 3
_WORDS_SHOWN: Final = 3
_TOTALS: Final = frozenset(("total", "subtotal", "grandtotal", "sum", "合計", "小計", "總計", "合计", "小计", "总计"))
_UNNAMED: Final = "unnamed"

Row = Sequence[Any]


@dataclass(frozen=True)
class Table:
    """A table with names.

    Attributes
    ----------
    field
        The argument that it was given as.
    names
        Those of its columns; the second of a name ends in ``.1``, as pandas has it.
    rows
        Its cells.
    labels
        What to call each row in an error, behind `field`.
    left_out
        The rows that belong to no trade, in words.
    """

    field: str
    names: list[str]
    rows: list[Row]
    labels: list[str]
    left_out: tuple[str, ...] = ()
    separator: str | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def cells(self, name: str) -> Cells:
        """Return a column."""
        place = self.names.index(name)
        return Cells(self.field, name, [row[place] for row in self.rows], self.labels)

    def kept(self, keep: Sequence[bool], why: str) -> Table:
        """Return the rows that are kept, and say why the others are not."""
        if all(keep):
            return self
        words = f"{_rows(keep.count(False))} left out ({why})"
        rows = [row for row, is_kept in zip(self.rows, keep, strict=True) if is_kept]
        labels = [label for label, is_kept in zip(self.labels, keep, strict=True) if is_kept]
        return replace(self, rows=rows, labels=labels, left_out=(*self.left_out, words))

    def turned(self) -> Table:
        """Return the rows from the last to the first."""
        return replace(self, rows=self.rows[::-1], labels=self.labels[::-1])


@dataclass(frozen=True)
class _Lines:
    """Rows before anyone knows which of them is the header."""

    rows: list[Row]
    labels: list[str]
    header: int | None
    separator: str | None = None


def table_of(
    field: str, given: Any, said: Sequence[str] = (), *, fewest: int = _FEWEST_NAMES, headless: Sequence[str] = ()
) -> Table:
    """Return the table of a path, a DataFrame of pandas or polars, a table of pyarrow, or a list of dicts.

    Parameters
    ----------
    field
        What to call it in an error.
    said
        Names that the caller calls those of columns.
    fewest
        So many known names, a date among them, make a row the header.
    headless
        The names of a file that has values alone, a date first.

    Raises
    ------
    ValueError
        If it is no table, or no row of it can be its header.
    """
    further = frozenset(map(letters, said))
    if isinstance(given, (str, os.PathLike)):
        lines = _of_file(field, Path(given).expanduser(), further, fewest)
    else:
        lines = _of_frame(field, given, further, fewest)
    if lines.header is None and headless and lines.rows and _is_headless(lines.rows[0], headless):
        lines = replace(lines, rows=[headless, *lines.rows], labels=["", *lines.labels], header=0)
    if lines.header is None:
        first = ", ".join(str(cell) for cell in next(iter(lines.rows), []) if not is_empty(cell)) or "nothing"
        raise ValueError(
            f"{field} has no row of names that are known; it begins with {first[:200]}: say what its columns are by "
            "columns={'their name': 'entry_date'}"
        )
    return _under_header(field, lines, further, fewest)


def _is_headless(first: Row, names: Sequence[str]) -> bool:
    return len(first) == len(names) and is_date(first[0])


def _texts_of(data: bytes) -> Iterator[str]:
    """Yield what bytes may be as text, the likeliest first."""
    for mark, encoding in _BOMS.items():
        if data.startswith(mark):
            yield data.decode(encoding, errors="strict")
            return
    if b"\0" in data[:200]:
        yield data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be")
        return
    for encoding in _ENCODINGS:
        try:
            yield data.decode(encoding)
        except UnicodeDecodeError:
            continue


def _of_file(field: str, path: Path, further: frozenset[str], fewest: int) -> _Lines:
    if path.suffix.casefold() in _OTHER_FILES:
        raise ValueError(
            f"{field} is {shown(str(path))}, which is no text file; give {_OTHER_FILES[path.suffix.casefold()]}"
        )
    if not path.is_file():
        raise ValueError(f"{field} is {shown(str(path))}; there is no such file")
    best: tuple[int, str, str, int] | None = None
    for text in _texts_of(path.read_bytes()):
        for separator in _SEPARATORS:
            rows, _ = _split(text[:_SNIFFED], separator)
            header = _header(rows, further, fewest)
            names = 0 if header is None else len(_known(rows[header], further))
            if best is None or (names, len(rows[0]) if rows else 0) > (best[0], best[3]):
                best = names, text, separator, len(rows[0]) if rows else 0
        if best is not None and best[0]:
            break
    if best is None:
        raise ValueError(f"{field} is {shown(str(path))}, which is no text file")
    rows, labels = _split(best[1], best[2])
    return _Lines(rows, labels, _header(rows, further, fewest), best[2])


def _split(text: str, separator: str) -> tuple[list[Row], list[str]]:
    """Return the rows of a text, and what to call each in an error."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    rows: list[Row] = []
    labels: list[str] = []
    for row in reader:
        rows.append(row)
        labels.append(f" line {reader.line_num}")
    return rows, labels


def _of_frame(field: str, given: Any, further: frozenset[str], fewest: int) -> _Lines:
    if isinstance(given, pd.Series):
        raise ValueError(f"{field} is a Series; it must be a table, a curve is given by equity= or returns=")
    if isinstance(given, Mapping) or (isinstance(given, (list, tuple)) and all(isinstance(x, Mapping) for x in given)):
        given = pd.DataFrame(given)
    if isinstance(given, pd.DataFrame) and not isinstance(given.index, pd.RangeIndex):
        levels = ["" if name is None else name for name in given.index.names]
        given = given.reset_index(names=levels, allow_duplicates=True)
    columns = columns_of(given)
    if columns is None:
        raise refusal(field, given, "a table, or the path of a CSV file")
    names = ["" if is_empty(name) or letters(name).startswith(_UNNAMED) else str(name) for name, _ in columns]
    rows = [names, *zip(*(values_of(column) for _, column in columns), strict=True)]
    header = _header(rows, further, fewest)
    labels = ["", *(f"[{row}]" for row in range(len(rows) - 1))]
    return _Lines(rows, labels, 0 if header is None and any(map(str.isalpha, "".join(names))) else header)


def _known(row: Row, further: frozenset[str]) -> set[str]:
    """Return the known names in a row, if it can be a header: a number is no name."""
    found: set[str] = set()
    for cell in row:
        if isinstance(cell, str) and not is_empty(cell):
            if not any(map(str.isalpha, cell)) and letters(cell) not in further and any(map(str.isdigit, cell)):
                return set()
            if (form := known(cell, further)) is not None:
                found.add(form)
    return found


def _is_header(row: Row, further: frozenset[str], fewest: int) -> bool:
    found = _known(row, further)
    is_said = not further.isdisjoint(found) and len(found) > 1
    return is_said or (len(found) >= fewest and any(map(is_date_name, found)))


def _header(rows: Sequence[Row], further: frozenset[str], fewest: int) -> int | None:
    return next((at for at, row in enumerate(rows[:_SEARCHED]) if _is_header(row, further, fewest)), None)


def _unique(row: Row) -> list[str]:
    """Return names as pandas has them: the second of a name ends in ``.1``; an empty one stays empty."""
    names: list[str] = []
    for cell in row:
        name = "" if is_empty(cell) else str(cell).strip()
        count = sum(one == name or one.startswith(f"{name}.") for one in names)
        names.append(f"{name}.{count}" if name and name in names else name)
    return names


def _under_header(field: str, lines: _Lines, further: frozenset[str], fewest: int) -> Table:
    """Return the rows under the header, without those of other sections, totals and closing marks."""
    assert lines.header is not None  # noqa: S101 - the caller has looked
    header = lines.rows[lines.header]
    names = _unique(header)
    forms = {letters(cell) for cell in header if not is_empty(cell)}
    dated = [
        place
        for place, name in enumerate(names)
        if (form := known(name, further)) is not None and (is_date_name(form) or form in further)
    ]
    rows: list[Row] = []
    labels: list[str] = []
    left_out: list[Row] = []
    is_ours = True
    for row, label in zip(lines.rows[lines.header + 1 :], lines.labels[lines.header + 1 :], strict=True):
        filled = [cell for cell in row if not is_empty(cell)]
        if not filled:
            continue
        if _is_header(row, further, fewest):
            # Right under the names that the caller gave to pandas it is what these stand for.
            is_own = lines.header == 0 and not (lines.labels[0] or rows or left_out)
            is_ours = is_own or {letters(cell) for cell in filled} == forms
            left_out += [] if is_ours else [row]
        elif not is_ours or _is_no_row(row, filled, dated, len(forms)):
            left_out.append(row)
        else:
            rows.append([*row, *[None] * (len(names) - len(row))])
            labels.append(label)
    return Table(field, names, rows, labels, _told(left_out), lines.separator)


def _is_no_row(row: Row, filled: Row, dated: Sequence[int], width: int) -> bool:
    """Tell whether a row has no date and is a total, a title or a closing mark besides."""
    if any(place < len(row) and is_date(row[place]) for place in dated):
        return False
    is_total = any(isinstance(cell, str) and letters(cell) in _TOTALS for cell in filled)
    return bool(dated) and (is_total or 2 * len(filled) < width)


def _told(rows: Sequence[Row]) -> tuple[str, ...]:
    if not rows:
        return ()
    words = dict.fromkeys(str(next(cell for cell in row if not is_empty(cell))) for row in rows)
    shown_words = ", ".join([*words][:_WORDS_SHOWN]) + (" …" if len(words) > _WORDS_SHOWN else "")
    return (f"{_rows(len(rows))} left out (no part of the table: {shown_words})",)


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
