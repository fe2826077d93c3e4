"""A table of iterations that sorts, searches and pages in the kernel and sends one page to the browser.

The browser never holds more than the rows it shows, so that 100,000 iterations cost no more than 20.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import pandas as pd
import traitlets

from finlab_nb.records.metrics import Format
from finlab_nb.records.plain import is_missing
from finlab_nb.widgets import formatting

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table: its key in the frame, its heading and how its values read.

    `kind` is "text", "number" or "star"; the last is drawn as a switch.
    """

    key: str
    label: str
    show: Format
    kind: str = "text"


class IterationTable(anywidget.AnyWidget):
    """Rows to select, by mouse or keyboard, one or several.

    Attributes
    ----------
    selected
        Ids of the selected rows, in order of selection; may include rows that are filtered out.
    search
        Words that a row must all contain, ignoring case; empty shows every row.
    sort_by, descending
        Key of the sorted column, and direction. Missing values come last either way.
    page, page_size, page_count
        The page shown, from 0; rows per page; number of pages.
    editable
        Whether the stars can be clicked.
    """

    # As text: a path would be watched for changes, by what then holds every table for ever.
    _esm = (_HERE / "table.js").read_text(encoding="utf-8")
    _css = (_HERE / "widgets.css").read_text(encoding="utf-8")

    view: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)
    selected: traitlets.List[str] = traitlets.List(traitlets.Unicode()).tag(sync=True)
    sort_by = traitlets.Unicode("").tag(sync=True)
    descending = traitlets.Bool(True).tag(sync=True)
    page = traitlets.Int(0).tag(sync=True)
    page_size = traitlets.Int(15, min=1).tag(sync=True)
    editable = traitlets.Bool(False).tag(sync=True)
    search = traitlets.Unicode("")

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._frame = pd.DataFrame()
        self._columns: tuple[Column, ...] = ()
        self._empty = ""
        self._haystack: pd.Series[str] | None = None
        self._ordered: list[int] = []
        self._star: Callable[[str], None] | None = None
        self.observe(self._reorder, ["sort_by", "descending", "search"])
        self.observe(self._show_page, ["page", "page_size"])
        self.on_msg(self._receive)

    @property
    def page_count(self) -> int:
        """Number of pages, at least 1."""
        return max(1, -(-len(self._ordered) // self.page_size))

    @property
    def shown(self) -> list[str]:
        """Ids of the rows that match the search, on all pages, in the order shown."""
        return [str(iteration_id) for iteration_id in self._frame.index[self._ordered]]

    def update(self, frame: pd.DataFrame, columns: Sequence[Column], empty: str = "") -> None:
        """Show other rows; the search, order and selection stay.

        Parameters
        ----------
        frame
            One row for each iteration, indexed by its id, with a column for each key, and `name` for screen readers.
        columns
            The columns, left to right.
        empty
            What to say when there is no row.
        """
        self._frame = frame
        self._columns = tuple(columns)
        self._empty = empty
        self._haystack = None
        self._arrange()
        self._show_page()

    def show_row(self, iteration_id: str) -> None:
        """Turn to the page that holds this row, if any does."""
        shown = self.shown
        if iteration_id in shown:
            self.page = shown.index(iteration_id) // self.page_size

    def on_star(self, callback: Callable[[str], None]) -> None:
        """Call back with the id of a row whose star is clicked."""
        self._star = callback

    def _receive(self, _widget: object, content: Any, _buffers: object) -> None:
        if isinstance(content, dict) and content.get("event") == "star" and self._star and self.editable:
            iteration_id = str(content.get("id"))
            if iteration_id in self._frame.index:
                self._star(iteration_id)

    def _reorder(self, _change: object) -> None:
        self._arrange()
        self.page = 0
        self._show_page()

    def _arrange(self) -> None:
        places = pd.Series(range(len(self._frame)), index=self._frame.index)
        for word in self.search.casefold().split():
            places = places[self._searchable().loc[places.index].str.contains(word, regex=False)]
        if self.sort_by in self._frame.columns:
            values = _sortable(self._frame[self.sort_by].loc[places.index])
            order = values.sort_values(ascending=not self.descending, na_position="last", kind="stable").index
            places = places.loc[order]
        self._ordered = places.tolist()

    def _searchable(self) -> pd.Series[str]:
        if self._haystack is None:
            words = pd.Series(self._frame.index.astype(str), index=self._frame.index, dtype=object)
            for column in self._columns:
                if column.kind != "star":
                    words = words + "\n" + self._frame[column.key].astype(object).map(column.show)
            self._haystack = words.str.casefold()
        return self._haystack

    def _show_page(self, _change: object = None) -> None:
        last_page = self.page_count - 1
        if not 0 <= self.page <= last_page:
            self.page = min(max(self.page, 0), last_page)
            return  # the change of page sends
        first = self.page * self.page_size
        places = self._ordered[first : first + self.page_size]
        self.view = {
            "columns": [{"key": c.key, "label": c.label, "kind": c.kind} for c in self._columns],
            "rows": self._page_rows(places),
            "first": first,
            "row_count": len(self._ordered),
            "page_count": self.page_count,
            "empty": f"No iteration matches “{self.search}”." if self.search and len(self._frame) else self._empty,
        }

    def _page_rows(self, places: list[int]) -> list[dict[str, Any]]:
        page = self._frame.iloc[places]
        shown = [
            page[c.key].astype(bool).tolist() if c.kind == "star" else page[c.key].astype(object).map(c.show).tolist()
            for c in self._columns
        ]
        cells = zip(*shown, strict=True) if shown else [()] * len(page)
        return (
            [
                {"id": str(iteration_id), "name": name, "cells": list(row)}
                for iteration_id, name, row in zip(page.index, page["name"], cells, strict=True)
            ]
            if len(page)
            else []
        )


def _sortable(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return numbers for a column that holds only numbers, else case-folded text; missing values stay missing."""
    if values.dtype.kind in "biufM" or isinstance(values.dtype, pd.DatetimeTZDtype):
        return values
    objects = values.astype(object)
    present = ~objects.map(is_missing)
    if objects[present].map(lambda value: isinstance(value, (int, float))).all():
        return objects.where(present).astype(float)
    return objects.map(formatting.plain).str.casefold().where(present & (objects != ""))
