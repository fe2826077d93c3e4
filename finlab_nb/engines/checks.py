"""Whether the trades of a result explain its curve, and what the reader should know if they do not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from finlab_nb.engines.result import Result
from finlab_nb.records import TRADE_FIELDS, Doubt, Iteration
from finlab_nb.records.plain import floats
from finlab_nb.records.trade_signs import turned_sizes

GAP: Final = "check.pnl_gap"  # the extra metric, in currency
_WORTH_A_WARNING: Final = 1e-4  # of the initial capital
_FEW_WRONG: Final = 0.1  # of the trades: where more have not the sign of their move, sizes or profits are wrong
_SIGNS: Final = ("entry_price", "exit_price", "position_size", "profit_loss", "fees")
_DAILY: Final = 200  # periods a year, of a market that is open on four days of a week
_FEWEST_DAYS: Final = 3  # with points, of which a gap is usual
_DAY: Final = len("2024-01-31")

Columns: TypeAlias = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Balance:
    """How the profit and loss of all trades compares with the change of the account.

    Attributes
    ----------
    trades, still_open
        How many there are; None where nothing is known about them.
    profit, fees
        Sums of profit and loss, of open trades too, and of fees, in currency; None where one is unknown.
    change
        The last point of the curve less the initial capital, in currency; None without a curve.
    capital
        What the account began with; None where it is unknown.
    is_estimated
        Whether profits are estimates, of which no gap is computed.
    known_gap
        Why the two differ by the nature of the result.
    """

    trades: int | None
    still_open: int
    profit: float | None
    fees: float | None
    change: float | None
    capital: float | None
    is_estimated: bool = False
    known_gap: str | None = None

    @property
    def gap(self) -> float | None:
        """Profit less change, in currency; None where either is unknown or an estimate."""
        if self.profit is None or self.change is None or self.is_estimated:
            return None
        return self.profit - self.change

    @property
    def is_even(self) -> bool:
        """Whether both are the same up to rounding."""
        return self.gap is not None and self.capital is not None and abs(self.gap) <= _WORTH_A_WARNING * self.capital

    @property
    def line(self) -> str:
        """The balance in one line."""
        if self.trades is None:
            words = "trades unknown"
        else:
            still_open = f" ({self.still_open} open)" if self.still_open else ""
            words = f"{self.trades:,} trade{'' if self.trades == 1 else 's'}{still_open}"
        if self.trades:
            words += ", P&L unknown" if self.profit is None else f", P&L {self.profit:,.2f}"
            words += " (estimated)" if self.is_estimated and self.profit is not None else ""
        if self.change is None:
            return f"{words}, no equity curve"
        if self.is_even and self.trades:
            return f"{words} = change of equity"
        words += f", change of equity {self.change:,.2f}"
        if self.gap is not None and not self.is_even:
            words += f", gap {self.gap:,.2f}"
        return f"{words} ({self.known_gap})" if self.known_gap else words


def columns_of(iteration: Iteration) -> Columns:
    """Return the trades by column."""
    columns = iteration.trades.columns or [()] * len(TRADE_FIELDS)
    return dict(zip(TRADE_FIELDS, columns, strict=True))


def balance(result: Result, iteration: Iteration, columns: Columns) -> Balance:
    """Compare the trades of a result with its curve, as they are stored."""
    profits, fees = columns["profit_loss"], columns["fees"]
    first, last = (iteration.equity[0][1], iteration.equity[-1][1]) if iteration.equity else (None, None)
    capital = iteration.initial_capital if iteration.initial_capital is not None else first
    return Balance(
        trades=None if result.trades is None else len(profits),
        still_open=columns["exit_date"].count(None),
        profit=None if None in profits or result.trades is None else math.fsum(profits),
        fees=None if None in fees or not fees else math.fsum(fees),
        change=None if last is None or capital is None else last - capital,
        capital=capital,
        is_estimated=result.is_estimated,
        known_gap=result.known_gap,
    )


def doubts(found: Balance, iteration: Iteration, columns: Columns) -> Iterator[Doubt]:
    """Yield what looks wrong about trades and curve together."""
    if found.gap is not None and not found.is_even and found.known_gap is None:
        of_capital = f" ({abs(found.gap) / found.capital:.2%} of the capital)" if found.capital else ""
        yield Doubt(
            "pnl_gap",
            GAP,
            found.gap,
            f"the trades' P&L is {found.profit:,.2f} and the change of equity {found.change:,.2f}{of_capital}, so "
            "trades or fees are missing, or profits are gross",
        )
    yield from _sparse(iteration)
    outside = _outside(iteration, columns)
    if outside:
        first, last = iteration.equity[0][0], iteration.equity[-1][0]
        row, day = outside[0]
        which = "this trade lies" if len(outside) == 1 else f"this trade and {len(outside) - 1} more lie"
        yield Doubt(
            "outside_curve",
            f"trades[{row}].entry_date",
            day,
            f"{which} outside of the curve from {first[:_DAY]} to {last[:_DAY]}: "
            "they are of another run, or of another zone",
        )


def _sparse(iteration: Iteration) -> Iterator[Doubt]:
    """Yield that a curve has fewer points than one a day, unless its record says so by itself."""
    per_year = iteration.periods_per_year
    if (per_year or 0) >= _DAILY or "irregular" in {doubt.kind for doubt in iteration.doubts}:
        return
    days = np.unique(np.array([date[:_DAY] for date in iteration.equity.columns[0]], dtype="datetime64[D]"))
    apart = float(np.median(np.diff(days).astype(np.int64))) if days.size >= _FEWEST_DAYS else 0.0
    if apart > 1:
        ratio = "is unknown" if per_year is None else f"is of {per_year:g} periods a year"
        yield Doubt(
            "sparse_curve",
            "equity[0].date",
            iteration.equity[0][0],
            f"from there to {iteration.equity[-1][0]} the points are {apart:g} days apart (median), so that drawdowns "
            f"between them are not seen, and the Sharpe ratio {ratio}; give a value for each day",
        )


def error_of_signs(columns: Columns) -> str | None:
    """Say which trade is the first that earns when its price moves against it, if they are more than a tenth.

    Where the fees are known, profit and fees together have the sign of (exit - entry) x size; where they are not, they
    may turn a small gain into a loss, and only what fees cannot explain counts.
    """
    entry, leave, size, profit, fees = (floats(columns[name]) for name in _SIGNS)
    closed = np.array([day is not None for day in columns["exit_date"]], dtype=bool)
    gross = profit + fees
    move = (leave - entry) * size
    known = closed & np.isfinite(gross * move) & (gross * move != 0)
    wrong = np.flatnonzero(known & (gross * move < 0)).tolist() if known.any() else turned_sizes(columns)
    count = int(known.sum() if known.any() else closed.sum())
    if not wrong or len(wrong) <= _FEW_WRONG * count:
        return None
    row = wrong[0]
    return (
        f"trades[{row}] goes from {entry[row]} to {leave[row]} with a size of {size[row]} and a profit_loss of "
        f"{profit[row]}, and {len(wrong)} of {count} trades earn like this against their move: sizes of shorts lack "
        "their sign, or profit_loss is of something else. check=False stores it as it is"
    )


def _outside(iteration: Iteration, columns: Columns) -> list[tuple[int, str]]:
    """Return row and entry of the trades that are not within the days of the curve."""
    if not iteration.equity:
        return []
    first, last = iteration.equity[0][0][:_DAY], iteration.equity[-1][0][:_DAY]
    entries, exits = columns["entry_date"], columns["exit_date"]
    return [
        (row, entry)
        for row, (entry, leave) in enumerate(zip(entries, exits, strict=True))
        if entry[:_DAY] < first or (leave or entry)[:_DAY] > last
    ]
