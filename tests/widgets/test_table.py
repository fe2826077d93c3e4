"""The table of iterations: order, search and pages are made in the kernel."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd
import pytest

from finlab_nb.records.metrics import Format, ratio
from finlab_nb.widgets import formatting
from finlab_nb.widgets.table import Column, IterationTable

COLUMNS = (
    Column("starred", "Starred", formatting.text, "star"),
    Column("name", "Name", formatting.text),
    Column("sharpe_ratio", "Sharpe ratio", ratio, "number"),
    Column("choice", "choice", formatting.plain),
)


@pytest.fixture
def table() -> Iterator[IterationTable]:
    widget = IterationTable(page_size=2)
    widget.update(
        pd.DataFrame(
            {
                "name": ["beta", "Alpha", "gamma", "delta"],
                "sharpe_ratio": [0.5, math.nan, 2.0, 1.0],
                "starred": [False, True, False, False],
                "choice": [10, "rank", None, 9],
            },
            index=["b", "a", "g", "d"],
        ),
        COLUMNS,
        empty="nothing here",
    )
    yield widget
    widget.close()


def test_missing_values_come_last_in_both_directions(table: IterationTable) -> None:
    table.sort_by, table.descending = "sharpe_ratio", True
    assert table.shown == ["g", "d", "b", "a"]
    table.descending = False
    assert table.shown == ["b", "d", "g", "a"]


def test_text_is_sorted_without_case(table: IterationTable) -> None:
    table.descending = False
    table.sort_by = "name"
    assert table.shown == ["a", "b", "d", "g"]


def test_numbers_and_text_in_one_column_can_be_sorted(table: IterationTable) -> None:
    table.descending = False
    table.sort_by = "choice"
    assert table.shown[-1] == "g"


def test_stars_sort_first(table: IterationTable) -> None:
    table.sort_by = "starred"
    assert table.shown[0] == "a"


def test_only_one_page_is_sent_to_the_browser(table: IterationTable) -> None:
    assert [row["id"] for row in table.view["rows"]] == ["b", "a"]
    table.page = 1
    assert [row["id"] for row in table.view["rows"]] == ["g", "d"]
    assert (table.view["first"], table.view["row_count"], table.view["page_count"]) == (2, 4, 2)
    assert table.view["rows"][0]["cells"] == [False, "gamma", "2.00", "–"]


def test_a_page_that_does_not_exist_becomes_the_last(table: IterationTable) -> None:
    table.page = 7
    assert table.page == 1
    table.page_size = 50
    assert table.page == 0
    assert len(table.view["rows"]) == 4


def test_search_finds_rows_that_have_all_words(table: IterationTable) -> None:
    table.search = "ALPH rank"
    assert table.shown == ["a"]
    table.search = "alpha 9"
    assert table.shown == []
    assert table.view["empty"] == "No iteration matches “alpha 9”."
    table.search = ".*"
    assert table.shown == []
    table.search = ""
    assert len(table.shown) == 4


def test_a_row_can_be_brought_into_view(table: IterationTable) -> None:
    table.show_row("d")
    assert table.page == 1
    table.show_row("unknown")
    assert table.page == 1


def test_no_rows_give_the_message(table: IterationTable) -> None:
    table.update(pd.DataFrame(columns=["name", "sharpe_ratio", "starred", "choice"]), COLUMNS, empty="nothing here")
    assert table.view["rows"] == []
    assert table.view["empty"] == "nothing here"


@pytest.mark.parametrize(
    ("show", "value", "shown"),
    [
        (formatting.moment, pd.Timestamp("2024-05-01 14:03:59", tz="UTC"), "2024-05-01 14:03"),
        (formatting.moment, pd.NaT, "–"),
        (formatting.plain, 20.0, "20"),
        (formatting.plain, True, "true"),
        (formatting.plain, [1, "台"], '[1, "台"]'),
        (formatting.plain, -math.inf, "-∞"),
        (formatting.text, math.nan, ""),
    ],
)
def test_values_read_as_expected(show: Format, value: object, shown: str) -> None:
    assert show(value) == shown
