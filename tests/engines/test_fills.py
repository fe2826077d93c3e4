"""Pairing of fills and the account that they make, against a simulator that moves one unit after another."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from typing import Any, Final, NamedTuple

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finlab_nb.engines.fills import account, paired

CODES: Final = ("AAPL", "MSFT", "TXF")
MULTIPLIERS: Final = {"AAPL": 1.0, "MSFT": 1.0, "TXF": 200.0}
DAYS: Final = pd.bdate_range("2024-01-02", periods=12)
CAPITAL: Final = 1_000_000.0


class Fill(NamedTuple):
    code: str
    day: int
    units: int
    price: float
    fee: float


class Unit(NamedTuple):
    """One unit of a fill, bought or sold."""

    fill: int
    sign: int


_FILL: Final = st.builds(
    Fill,
    code=st.sampled_from(CODES),
    day=st.integers(0, len(DAYS) - 1),
    units=st.integers(-6, 6),
    price=st.integers(1, 400).map(lambda ticks: ticks / 4),
    fee=st.integers(-4, 40).map(lambda cents: cents / 8),
)
_FILLS: Final = st.lists(_FILL, max_size=30).map(lambda fills: sorted(fills, key=lambda fill: fill.day))
_STEPS: Final = st.sampled_from([1.0, 0.1, 1000.0])


def _table(fills: list[Fill], step: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "stock_code": pd.Series([fill.code for fill in fills], dtype=object),
            "date": pd.Series([DAYS[fill.day] for fill in fills], dtype="datetime64[ns]"),
            "size": pd.Series([fill.units * step for fill in fills], dtype=float),
            "price": pd.Series([fill.price for fill in fills], dtype=float),
            "fee": pd.Series([fill.fee for fill in fills], dtype=float),
            "multiplier": pd.Series([MULTIPLIERS[fill.code] for fill in fills], dtype=float),
        }
    )


def _matched(fills: list[Fill]) -> tuple[dict[tuple[int, int], int], dict[int, int]]:
    """Return how many units went from one fill into another, and how many of which are left; signed as bought."""
    held: defaultdict[str, deque[Unit]] = defaultdict(deque)
    closed: defaultdict[tuple[int, int], int] = defaultdict(int)
    for number, fill in enumerate(fills):
        sign = 1 if fill.units > 0 else -1
        for _ in range(abs(fill.units)):
            waiting = held[fill.code]
            if waiting and waiting[0].sign == -sign:
                unit = waiting.popleft()
                closed[unit.fill, number] += unit.sign
            else:
                waiting.append(Unit(number, sign))
    left: defaultdict[int, int] = defaultdict(int)
    for units in held.values():
        for unit in units:
            left[unit.fill] += unit.sign
    return closed, left


def _cash(fills: list[Fill], step: float) -> float:
    """Return what the account has in cash after all fills."""
    paid = (fill.units * step * fill.price * MULTIPLIERS[fill.code] + fill.fee for fill in fills if fill.units)
    return CAPITAL - math.fsum(paid)


@given(_FILLS, _STEPS)
def test_each_trade_is_what_moved_from_one_fill_into_another(fills: list[Fill], step: float) -> None:
    marks = {"AAPL": 30.0, "MSFT": 55.5, "TXF": 12.25}
    expected = []
    closed, left = _matched(fills)
    for (entry, leave), units in closed.items():
        bought, sold = fills[entry], fills[leave]
        fees = abs(units) * (bought.fee / abs(bought.units) + sold.fee / abs(sold.units))
        moved = (sold.price - bought.price) * units * step * MULTIPLIERS[bought.code]
        expected.append((bought.code, DAYS[bought.day], DAYS[sold.day], units * step, fees, moved - fees))
    for entry, units in left.items():
        bought = fills[entry]
        fees = abs(units) * bought.fee / abs(bought.units)
        moved = (marks[bought.code] - bought.price) * units * step * MULTIPLIERS[bought.code]
        expected.append((bought.code, DAYS[bought.day], pd.NaT, units * step, fees, moved - fees))
    names = ["stock_code", "entry_date", "exit_date", "position_size", "fees", "profit_loss"]
    found = list(paired(_table(fills, step), marks)[names].itertuples(index=False, name=None))
    assert sorted(map(_comparable, found)) == sorted(map(_comparable, expected))


def _comparable(trade: tuple[Any, ...]) -> tuple[Any, ...]:
    code, entry, leave, *numbers = trade
    return code, str(entry), str(leave), *(round(number, 5) + 0.0 for number in numbers)


@given(_FILLS, _STEPS)
def test_trades_explain_the_account_and_its_fees(fills: list[Fill], step: float) -> None:
    marks = {"AAPL": 30.0, "MSFT": 55.5, "TXF": 12.25}
    trades = paired(_table(fills, step), marks)
    still_open = trades[trades["exit_date"].isna()]
    held: defaultdict[str, float] = defaultdict(float)
    for fill in fills:
        held[fill.code] += fill.units * step
    worth = math.fsum(held[code] * marks[code] * MULTIPLIERS[code] for code in held)
    profit = math.fsum(trades["profit_loss"])
    assert profit == pytest.approx(_cash(fills, step) + worth - CAPITAL, abs=1e-6 * step)
    assert math.fsum(trades["fees"]) == pytest.approx(math.fsum(fill.fee for fill in fills if fill.units), abs=1e-9)
    for code in CODES:
        assert still_open.loc[still_open["stock_code"] == code, "position_size"].sum() == pytest.approx(
            held[code], abs=1e-9 * step
        )


@given(_FILLS, _STEPS)
def test_a_stock_is_never_open_both_ways_and_no_trade_ends_before_it_begins(fills: list[Fill], step: float) -> None:
    trades = paired(_table(fills, step))
    still_open = trades[trades["exit_date"].isna()]
    assert (trades["position_size"] != 0).all()
    assert ((still_open["position_size"] > 0).groupby(still_open["stock_code"]).nunique() == 1).all()
    closed = trades[trades["exit_date"].notna()]
    assert (closed["exit_date"] >= closed["entry_date"]).all()
    assert still_open["profit_loss"].isna().all()


@given(_FILLS, _STEPS)
def test_the_account_is_that_of_a_book_kept_day_by_day(fills: list[Fill], step: float) -> None:
    closes = pd.DataFrame({code: 20.0 + place * 7 for place, code in enumerate(CODES)}, index=DAYS)
    closes = closes.add(pd.Series(range(len(DAYS)), DAYS) / 4, axis=0)
    closes.iloc[3] = math.nan  # a day without prices has those before
    cash, held, book = CAPITAL, defaultdict(float), []
    for day, date in enumerate(DAYS):
        for fill in fills:
            if fill.day == day and fill.units:
                cash -= fill.units * step * fill.price * MULTIPLIERS[fill.code] + fill.fee
                held[fill.code] += fill.units * step
        last = closes.loc[:date].dropna().iloc[-1]
        book.append(cash + math.fsum(held[code] * last[code] * MULTIPLIERS[code] for code in held))
    found = account(_table(fills, step), closes, CAPITAL)
    assert found.index.equals(DAYS)
    assert found.tolist() == pytest.approx(book, abs=1e-6 * step)


def test_a_reversal_closes_one_trade_and_opens_the_other_with_fees_by_quantity() -> None:
    fills = pd.DataFrame(
        {
            "stock_code": "AAPL",
            "date": DAYS[:3],
            "size": [10.0, -25.0, 15.0],
            "price": [100.0, 110.0, 104.0],
            "fee": [1.0, 2.5, 3.0],
        }
    )
    trades = paired(fills)
    assert trades["position_size"].tolist() == [10.0, -15.0]
    assert trades["fees"].tolist() == pytest.approx([2.0, 4.5])
    assert trades["profit_loss"].tolist() == pytest.approx([98.0, 85.5])


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Taipei"])
def test_fills_that_close_nothing_keep_the_zone_of_their_dates(zone: str | None) -> None:
    dates = DAYS[:2].tz_localize(zone)
    fills = pd.DataFrame({"stock_code": "AAPL", "date": dates, "size": 1.0, "price": 10.0, "fee": 0.0})
    trades = paired(fills)
    assert trades["entry_date"].tolist() == list(dates)
    assert trades["exit_date"].isna().all()
    assert trades["exit_date"].dtype == dates.dtype
