"""Numbers, dates, sides and codes in cells: understood, or refused."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finlab_nb.engines.tables.cells import Cells, codes, dates, has_decimal_comma, numbers, numbers_with_units, side_of


def _cells(*values: Any) -> Cells:
    return Cells("trades", "x", values, [f"[{row}]" for row in range(len(values))])


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        *(
            ("4 182.78", 4182.78),
            ("- 0.08", -0.08),
            ("1,000", 1000),
            ("-1,001,425", -1_001_425),
            ("(1,234.50)", -1234.5),
        ),
        *(
            ("１，０００", 1000),
            ("−5", -5),
            ("5-", -5),
            ("+5", 5),
            (" 3.36", 3.36),
            ("$1,000.50", 1000.5),
            ("NT$38.5", 38.5),
        ),
        *(("1,00,000.25", 100_000.25), ("1'000.5", 1000.5), ("1e-05", 1e-5), (".5", 0.5), ("5.", 5), ("1 234", 1234)),
        *((Decimal("0.1"), 0.1), (np.float32(0.5), 0.5), (np.int8(-3), -3), (7, 7), ("12元", 12)),
    ],
)
def test_a_number_is_understood(cell: Any, expected: float) -> None:
    assert numbers(_cells(cell)).tolist() == [expected]


@pytest.mark.parametrize("cell", ["", " ", "-", "--", "n/a", "NaN", None, float("nan"), pd.NA, pd.NaT, "—", "None"])
def test_an_empty_cell_is_no_number(cell: Any) -> None:
    assert np.isnan(numbers(_cells(cell))).all()


@pytest.mark.parametrize(
    "cell",
    [
        *(
            "1.2.3",
            "12,34",
            "1,23,4",
            "1 23",
            "5%",
            "1K",
            "abc",
            "1-2",
            "--5",
            "1,000,00",
            "$",
            "1.000,5",
            "0x10",
            "1/2",
        ),
        *(True, np.True_, float("inf"), "inf", pd.Timedelta("1D"), [1], "1e999", "1_000"),
    ],
)
def test_what_may_be_another_number_is_refused(cell: Any) -> None:
    with pytest.raises(ValueError, match=r"^trades\[1\], column 'x': .* is no number that can be told for sure$"):
        numbers(_cells(1, cell))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1.234,5", "2,25"], [1234.5, 2.25]),
        (["0,5", "1.000", "1 000,0"], [0.5, 1000, 1000]),
        (["1,000", "12.5"], [1000, 12.5]),
        (["1,000", "2,000"], [1000, 2000]),
    ],
)
def test_a_decimal_comma_is_told_by_the_whole_table(texts: list[str], expected: list[float]) -> None:
    cells = _cells(*texts)
    assert numbers(cells, comma=has_decimal_comma([cells])).tolist() == expected


@given(st.decimals(-(10**9), 10**9, places=4, allow_nan=False))
def test_a_number_is_the_same_in_every_style(value: Decimal) -> None:
    english, plain = f"{value:,}", f"{value}"
    german = english.translate(str.maketrans(",.", ".,"))
    for style in (plain, english, english.replace(",", " "), english.replace(",", "\xa0"), f"${english}"):
        assert numbers(_cells(style)).tolist() == [float(value)]
    assert numbers(_cells(german), comma=True).tolist() == [float(value)]
    if value < 0:
        assert numbers(_cells(f"({english[1:]})", f"- {english[1:]}")).tolist() == [float(value)] * 2


def test_a_unit_behind_a_number_is_told_apart() -> None:
    values, units = numbers_with_units(_cells("0.5BTC", "1,000 USDT", 3))
    assert values.tolist() == [0.5, 1000, 3]
    assert units == ["BTC", "USDT", None]


_DAY: Final = "2026-05-01"
_MORNING: Final = "2026-05-01 10:15"
_UTC: Final = "2026-05-01 10:15Z"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        *(("20260501;101500", _MORNING), ("20260501, 101500", _MORNING), ("2026-05-01, 10:15:00", _MORNING)),
        *(("2026.05.01 10:15", _MORNING), ("2026/5/1 10:15:00.000", _MORNING), ("20260501101500", _MORNING)),
        *(("115/05/01 10:15", _MORNING), ("2026/05/01 上午 10:15:00", _MORNING), ("2026年5月1日 10:15", _MORNING)),
        *(("May 1, 2026 10:15 AM", _MORNING), ("1 May 2026 10:15", _MORNING), ("01-May-2026 10:15:00", _MORNING)),
        *(("20260501", _DAY), (20260501, _DAY), (1150501, _DAY)),
        *(
            ("1150501", _DAY),
            ("民國115年05月01日", _DAY),
            ("01.05.2026", _DAY),
        ),
        *((date(2026, 5, 1), _DAY), (np.datetime64("2026-05-01T10:15"), _MORNING)),
        *(
            (pd.Timestamp(_MORNING), _MORNING),
            (20260501.0, _DAY),
            ("13/05/2026", "2026-05-13"),
        ),
        *(("05/13/2026 1:02 PM", "2026-05-13 13:02"), ("05/13/2026 12:02 AM", "2026-05-13 00:02")),
        *(("2026-05-01T10:15:00Z", _UTC), (1777630500000, _UTC)),
        *((1777630500, _UTC), ("1777630500000.0", _UTC)),
        *(
            (1777630500000000000, _UTC),
            (1777630500.5, "2026-05-01 10:15:00.5Z"),
        ),
        ("2026-05-01 18:15:00+08:00", "2026-05-01 18:15+08:00"),
    ],
)
def test_a_date_is_understood(cell: Any, expected: str) -> None:
    assert dates(_cells(cell)).tolist() == [pd.Timestamp(expected)]


@pytest.mark.parametrize(
    "cell",
    [
        *("2026-13-01", "2026-02-30", "20261301", "116", "10:15", "soon", "1/2", "26/05/01", "5/1/26", 45293.5, 46143),
        *(
            "2026-05-01 25:00",
            "2026-05-01 10:15 EST",
            "2026-05-01 noon",
            "1151301",
            True,
            1.5,
            "1899-12-31",
            "99999999",
        ),
    ],
)
def test_what_may_be_another_date_is_refused(cell: Any) -> None:
    with pytest.raises(ValueError, match=r"^trades\[1\], column 'x': .* is no date"):
        dates(_cells("2026-05-01", cell))


_FROM, _TO = datetime.fromisoformat("1990-01-01"), datetime.fromisoformat("2100-01-01")


@given(st.datetimes(_FROM, _TO).map(lambda one: one.replace(microsecond=0)))
def test_a_moment_is_the_same_in_every_style(moment: datetime) -> None:
    styles = [
        f"{moment:{style}}" for style in ("%Y-%m-%d %H:%M:%S", "%Y%m%d;%H%M%S", "%Y/%m/%d, %H:%M:%S", "%Y%m%d%H%M%S")
    ]
    styles += [f"{moment:%Y.%m.%d %I:%M:%S %p}", f"{moment:%d.%m.%Y %H:%M:%S}", f"{moment:%b %d, %Y %H:%M:%S}"]
    if moment.year - 1911 >= 100:
        styles.append(f"{moment.year - 1911}/{moment:%m/%d %H:%M:%S}")
    assert dates(_cells(*styles)).tolist() == [pd.Timestamp(moment)] * len(styles)


def test_day_and_month_are_told_by_the_whole_column() -> None:
    assert dates(_cells("01/02/2024", "13/02/2024")).dt.month.tolist() == [2, 2]
    assert dates(_cells("01/02/2024", "02/13/2024")).dt.month.tolist() == [1, 2]
    assert dates(_cells("02/02/2024", "03/03/2024")).dt.month.tolist() == [2, 3]
    with pytest.raises(ValueError, match="may be day and month"):
        dates(_cells("01/02/2024", "03/02/2024"))
    with pytest.raises(ValueError, match=r"\[1\].*is no date"):
        dates(_cells("13/02/2024", "02/13/2024"))


def test_a_time_of_its_own_joins_its_day() -> None:
    found = dates(_cells("2024-01-02", 20240103, "113/01/04"), _cells("09:01:02", 90102, "1:02:03 PM"))
    assert found.astype(str).tolist() == ["2024-01-02 09:01:02", "2024-01-03 09:01:02", "2024-01-04 13:02:03"]


@pytest.mark.parametrize("cell", ["noon", "25:00", 250000, pd.Timestamp("2024-01-01"), [1], float("inf")])
def test_what_is_no_time_of_day_is_refused(cell: Any) -> None:
    with pytest.raises(ValueError, match=r"^trades\[0\], column 'x': .* is no time of day$"):
        dates(_cells("2024-01-02"), _cells(cell))


def test_moments_of_several_offsets_are_moments_of_utc() -> None:
    found = dates(_cells("2024-03-09 10:00:00-05:00", None, "2024-03-11 10:00:00-04:00"))
    assert found.dropna().dt.hour.tolist() == [15, 14]
    assert found.isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("words", "side"),
    [
        ("buy Buy BUY B bot Bought buy_to_cover cover 現股買進 融資買進 融券買進 證券買入 买入 普通買", 1),
        ("long Long 做多 多 平空 close-short", 1),
        ("sell Sell S sld Sold sell_short sell_to_close 現股賣出 融券賣出 证券卖出 賣", -1),
        ("short Short 做空 空單 平多 close-long", -1),
        ("hold 融券 buy/sell none 1 -1 balance 買賣 longshort", None),
    ],
)
def test_a_side_is_what_was_done_else_which_way_a_position_points(words: str, side: int | None) -> None:
    assert {word: side_of(word) for word in words.split()} == dict.fromkeys(words.split(), side)


@pytest.mark.parametrize("cell", [1, -1, True, None, 1.0])
def test_a_number_is_no_side(cell: Any) -> None:
    assert side_of(cell) is None


def test_codes_are_text_without_the_names_of_stocks() -> None:
    given = ["2330 台積電", "0056元大高股息", "台積電(2330)", "00632R", '="0050"', "BRK.B", "2330.TW", "AAPL US"]
    expected = ["2330", "0056", "2330", "00632R", "0050", "BRK.B", "2330.TW", "AAPL US"]
    assert codes(_cells(*given)) == (expected, False)
    assert codes(_cells(56, 2330.0), digits=4) == (["0056", "2330"], True)
    for wrong in (1.5, True, [1]):
        with pytest.raises(ValueError, match=r"^trades\[0\], column 'x'"):
            codes(_cells(wrong))
