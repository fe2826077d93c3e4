"""Values that the rules allow but that look like a mistake: percent for fractions, returns for equity, and the like.

A doubt names the place and the value, and says what is likely wrong and what to write instead. Whoever saves decides
whether it is a warning or an error. Honest results of any engine must pass without one, so each threshold lies far
outside of what a backtest gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from finlab_nb.analysis.performance import FEWEST_DAYS, FEWEST_RETURNS, Floats
from finlab_nb.records.metrics import METRICS
from finlab_nb.records.rows import Curve
from finlab_nb.records.stamps import Clock
from finlab_nb.records.stock_labels import label_reasons
from finlab_nb.records.trade_signs import turned_sizes
from finlab_nb.records.values import shown
from finlab_nb.records.zones import Days

KINDS: Final = ("percent", "returns", "unsigned_size", "column_label", "epoch", "irregular", "zone", "excursion")

_Columns: TypeAlias = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Doubt:
    """One kind of likely mistake: the first place where it is found.

    Attributes
    ----------
    kind
        One of `KINDS`.
    field
        The place, such as ``trades[3].position_size``.
    value
        What stands there.
    reason
        Why it looks wrong, the likely mistake and its remedy.
    """

    kind: str
    field: str
    value: object
    reason: str

    @property
    def message(self) -> str:
        """The doubt as one sentence."""
        return f"{self.field} is {shown(self.value)}: {self.reason}"


def doubts(
    metrics: Mapping[str, float | None],
    extra_metrics: Mapping[str, float | None],
    trades: Mapping[str, Sequence[Any]],
    dates: Sequence[str],
    values: Floats,
    computed: Mapping[str, float | None],
    *,
    returns: Curve | None = None,
    days: Days | None = None,
    per_year: float | None = None,
) -> list[Doubt]:
    """Return what looks like a mistake in one iteration, at most one doubt of each kind.

    Parameters
    ----------
    metrics, extra_metrics
        As the caller gave them: fractions.
    trades
        Checked trades by column; none if they are empty.
    dates, values
        Checked points of the equity in order of time.
    computed
        What the definitions give for the same equity and trades; any metric may be absent.
    returns
        The returns that the equity follows from, if they were given.
    days
        The local day of each point, datetime64[D]; None asks for no doubt about them.
    per_year
        The periods of the curve a year, given or found; None where there are none.
    """
    codes = trades.get("stock_code", ())
    with np.errstate(all="ignore"):
        of_returns = None if returns is None else _wrong_returns(returns, per_year)
        found = [
            (_percent(metrics, extra_metrics, values, computed) if metrics or extra_metrics else None)
            or of_returns
            or (_percent_of_trades(trades) if codes else None),
            _returns(values) if values.size and of_returns is None else None,
            _unsigned_size(trades) if codes else None,
            _excursion(trades) if codes else None,
            _column_label(codes) if codes else None,
            _epoch(trades.get("entry_date", ()), dates),
            _irregular(dates, days)
            if days is not None and per_year is None and "sharpe_ratio" not in metrics
            else None,
        ]
    return [doubt for doubt in found if doubt is not None]


def _more(places: int) -> str:
    """Say how many places there are beside the first."""
    return f" (and {places - 1} more)" if places > 1 else ""


# --- percent for fractions ---

# What a fraction can be where no equity tells. Growth of 1,000% a year, a volatility of 500% and a leverage of 20 are
# beyond what an account lives through, but usual numbers of percent. Bounds that are infinite are reached honestly: a
# total return over decades. Turnover is in none: some strategies turn over their capital every hour.
_ROUNDING: Final = 1e-9
_FRACTIONS: Final[Mapping[str, tuple[float, float]]] = {
    "max_drawdown": (-1 - _ROUNDING, math.inf),
    "annualized_return": (-1 - _ROUNDING, 10),
    "total_return": (-1 - _ROUNDING, math.inf),
    "cagr": (-1 - _ROUNDING, 10),
    "alpha": (-10, 10),
    "volatility": (-5, 5),
    "downside_deviation": (-5, 5),
    "tracking_error": (-5, 5),
    "average_drawdown": (-1 - _ROUNDING, 1 + _ROUNDING),
    "exposure": (-20, 20),
    "value_at_risk": (-1 - _ROUNDING, 1 + _ROUNDING),
    "expected_shortfall": (-1 - _ROUNDING, 1 + _ROUNDING),
}
# Definitions differ between engines by a few percent, not by a quarter.
_SAME: Final = (0.8, 1.25)
# A hundredth of a percent: below it, what is computed is too near to nothing for a ratio.
_LEAST_COMPARED: Final = 0.01


def _percent(
    metrics: Mapping[str, float | None],
    extra_metrics: Mapping[str, float | None],
    equity: Floats,
    computed: Mapping[str, float | None],
) -> Doubt | None:
    """Find fractions that were given in percent."""
    known = dict(computed)
    if equity.size and equity[0] > 0:
        known |= {"total_return": equity[-1] / equity[0] - 1, "cagr": computed.get("annualized_return")}
    # What the standard set calls so is only there a fraction; an extra metric of that name is the engine's own.
    extra = {name: value for name, value in extra_metrics.items() if name not in METRICS}
    odd = [
        (f"{field}.{name}", value, reason)
        for field, given in (("metrics", metrics), ("extra_metrics", extra))
        for name, value in given.items()
        if name in _FRACTIONS and value is not None and math.isfinite(value)
        if (reason := _percent_reason(name, value, known.get(name)))
    ]
    return Doubt("percent", odd[0][0], odd[0][1], odd[0][2] + _more(len(odd))) if odd else None


def _percent_reason(name: str, value: float, known: float | None) -> str:
    """Say why a value is percent rather than a fraction, or nothing."""
    least, most = _FRACTIONS[name]
    if known and math.isfinite(known):
        ratio = value / known
        if _SAME[0] <= ratio <= _SAME[1]:
            return ""
        if _SAME[0] <= ratio / 100 <= _SAME[1] and abs(value) >= _LEAST_COMPARED:
            return f"the equity gives {known:.4g}, a hundredth of it; it looks like percent, divide by 100"
    if least <= value <= most:
        return ""
    if value < -_LARGEST_PERCENT:
        return "it looks like money: divide by what the account was worth"
    return f"as a fraction that is {value:,.0%}; it looks like percent, divide by 100 ({value:g}% is {value / 100:g})"


# A return is a hundred times the move of its trade, give or take costs, for more than half of the trades.
_HUNDREDFOLD: Final = (80, 125)


def _percent_of_trades(columns: _Columns) -> Doubt | None:
    """Find returns of trades that were given in percent."""
    numbers = [columns[name] for name in ("entry_price", "exit_price", "position_size", "trade_return")]
    if numbers[-1].count(None) == len(numbers[-1]):
        return None
    entry, leave, size, returned = np.array(numbers, dtype=np.float64)
    ratio = returned / ((leave / entry - 1) * np.sign(size))
    odd = (ratio >= _HUNDREDFOLD[0]) & (ratio <= _HUNDREDFOLD[1])
    rows = np.flatnonzero(odd)
    if 2 * rows.size <= np.isfinite(ratio).sum():
        return None
    value = float(returned[rows[0]])
    reason = f"the price moved by {(leave / entry - 1)[rows[0]]:.2%}; it looks like percent, divide by 100"
    return Doubt("percent", f"trades[{rows[0]}].trade_return", value, reason + _more(rows.size))


def _excursion(columns: _Columns) -> Doubt | None:
    """Find excursions that were given in percent or as differences of prices: a price falls by no more than all."""
    bounded = (("mae", 1, "a long position loses"), ("mfe", -1, "a short position gains"))
    for name, side, what in bounded:
        if columns[name].count(None) == len(columns[name]):
            continue
        numbers = [columns[column] for column in ("entry_price", "exit_price", "position_size", name)]
        entry, leave, size, excursion = np.array(numbers, dtype=np.float64)
        prices_are_positive = (entry > 0) & ~(leave <= 0)
        rows = np.flatnonzero(prices_are_positive & (side * size > 0) & (side * excursion < -1 - _ROUNDING))
        if rows.size:
            reason = (
                f"{what} no more than all its value; it looks like percent, or like a difference of prices: "
                "give fractions of the entry price"
            )
            value = float(excursion[rows[0]])
            return Doubt("excursion", f"trades[{rows[0]}].{name}", value, reason + _more(rows.size))
    return None


# An account of returns a year of this volatility is beyond what any lives through, as above.
_MOST_VOLATILE: Final = 5.0


def _wrong_returns(returns: Curve, per_year: float | None) -> Doubt | None:
    """Find returns that are percent, or that are account values."""
    values = np.array(returns.values)
    if values.size < _ACCOUNT_POINTS:
        return None
    deviation = float(values.std(ddof=1)) * math.sqrt(per_year or 1)
    if deviation <= _MOST_VOLATILE and (values < -1).sum() <= 1 and np.abs(values).mean() <= _LARGEST_RETURN:
        return None
    largest = int(np.abs(values).argmax())
    if values.min() > 0 and not _is_noise(values, np.diff(values)):
        reason = "returns are fractions of the account; these look like account values, give them as equity="
    else:
        reason = f"as a fraction that is {values[largest]:,.0%}; it looks like percent, divide by 100"
    return Doubt("percent", f"returns[{largest}].return", float(values[largest]), reason + _more(values.size))


# --- returns, profit and the like for account values ---

# Values that differ from each other by more than half of their own size are no account, unless there are few of them.
_MOST_RESTLESS: Final = 0.5
_FEW_POINTS: Final = 8
# Before an account is lost, its points differ by less than a third of its value; returns differ by their own size.
# Three returns may be alike by chance: what then looks like noise is an account only if it is too large for returns.
_ACCOUNT_STEP: Final = 1 / 3
_ACCOUNT_POINTS: Final = 3
# Returns a period are below 1, in percent below 100; a return since the start is below 10, whatever is larger is money.
_LARGEST_RETURN: Final = 1.0
_LARGEST_PERCENT: Final = 100.0
_LARGEST_GROWTH: Final = 10.0

_ACCOUNT_NEEDED: Final = "equity is what the account is worth"


def _returns(equity: Floats) -> Doubt | None:
    """Find curves that are no account values, and accounts that lost everything."""
    steps, sizes = np.diff(equity), np.abs(equity)
    if equity.min() > 0:
        is_calm = np.abs(steps).mean() <= _MOST_RESTLESS * sizes.mean() if equity.size >= _FEW_POINTS else True
        if is_calm or not _is_noise(equity, steps):
            return None
        return _returns_doubt(equity, _periodic(sizes.max()))
    largest, is_noise = float(sizes.max()), _is_noise(equity, steps)
    empty = equity <= 0
    before = equity[: int(empty.argmax())]
    is_account = before.size >= _ACCOUNT_POINTS and np.abs(np.diff(before)).mean() <= _ACCOUNT_STEP * before.mean()
    if is_account and (largest >= _LARGEST_PERCENT or not is_noise):
        place, reason = f"equity[{before.size}].equity", "the account is lost there; check its sizes and leverage"
        return Doubt("returns", place, float(equity[before.size]), reason + _more(int(empty.sum())))
    return _returns_doubt(equity, _periodic(largest) if is_noise else _cumulated(largest))


def _returns_doubt(equity: Floats, reason: str) -> Doubt:
    return Doubt("returns", "equity[0].equity", float(equity[0]), f"{_ACCOUNT_NEEDED}; {reason}{_more(equity.size)}")


def _is_noise(values: Floats, steps: Floats) -> bool:
    """Tell whether values forget the ones before (von Neumann 1941): the ratio is 2 for noise, near 0 for a walk."""
    return bool(np.square(steps).sum() > np.square(values - values.mean()).sum())


def _periodic(largest: float) -> str:
    if largest < _LARGEST_RETURN:
        return "these look like returns of each period: give (1 + returns).cumprod() * initial_capital"
    if largest < _LARGEST_PERCENT:
        return (
            "these look like returns in percent: give (1 + returns / 100).cumprod() * initial_capital; "
            "or, if they are profits of each period, initial_capital + profits.cumsum()"
        )
    return "these look like profits of each period: give initial_capital + profits.cumsum()"


def _cumulated(largest: float) -> str:
    if largest < _LARGEST_GROWTH:
        return "these look like the return since the start: give (1 + returns) * initial_capital"
    return (
        "these look like the profit since the start: give initial_capital + profit; "
        "or leave out the points before the account had money"
    )


# --- sizes without a sign ---


def _unsigned_size(columns: _Columns) -> Doubt | None:
    """Find closed trades whose profit is that of the opposite position."""
    rows = turned_sizes(columns)
    if not rows:
        return None
    row = rows[0]
    size = columns["position_size"][row]
    return Doubt(
        "unsigned_size", f"trades[{row}].position_size", size, _size_reason(columns, row, size) + _more(len(rows))
    )


def _size_reason(columns: _Columns, row: int, size: float) -> str:
    entry, leave, profit, gain = (
        columns[name][row] for name in ("entry_price", "exit_price", "profit_loss", "trade_return")
    )
    moved, made = "rose" if leave > entry else "fell", "made" if (gain if profit is None else profit) > 0 else "lost"
    amount = f"{abs(gain):.10g} of its value" if profit is None else f"{abs(profit):.10g}"
    mistake = "a short needs a negative size" if size > 0 else "a long needs a positive size"
    return (
        f"the price {moved} from {entry:.10g} to {leave:.10g} and the trade {made} {amount}, "
        f"as the opposite position would; {mistake}, here {-size:.10g}"
    )


# --- labels for stock codes ---


def _column_label(codes: Sequence[str]) -> Doubt | None:
    """Find stock codes that are labels of columns."""
    reasons = label_reasons(codes)
    if not reasons:
        return None
    rows = [row for row, code in enumerate(codes) if code in reasons]
    first = codes[rows[0]]
    return Doubt("column_label", f"trades[{rows[0]}].stock_code", first, reasons[first] + _more(len(rows)))


# --- dates at the beginning of Unix time ---

# A moment of today in seconds, milliseconds or microseconds, read as nanoseconds, falls into this month.
_FIRST_MONTH: Final = "1970-01-"
_EPOCH: Final = (
    "all dates are in January 1970; they look like seconds or milliseconds that were read as nanoseconds: "
    "give pd.to_datetime(numbers, unit='ms'), or unit='s'"
)


def _epoch(entries: Sequence[str], dates: Sequence[str]) -> Doubt | None:
    """Find numbers of seconds and the like that were read as dates in a unit that is too small."""
    if entries and all(day.startswith(_FIRST_MONTH) for day in entries):
        return Doubt("epoch", "trades[0].entry_date", entries[0], _EPOCH + _more(len(entries)))
    if dates and dates[0].startswith(_FIRST_MONTH) and dates[-1].startswith(_FIRST_MONTH):
        return Doubt("epoch", "equity[0].date", dates[0], _EPOCH + _more(len(dates)))
    return None


# --- curves without a regular period, moments without a zone ---

_MOST_ZONES: Final = 3


def _irregular(dates: Sequence[str], days: Days) -> Doubt | None:
    """Find a curve that is long enough for a Sharpe ratio, but whose points follow no period."""
    if len(dates) <= FEWEST_RETURNS or np.unique(days).size <= FEWEST_RETURNS:
        return None
    if int((days[-1] - days[0]).astype(np.int64)) < FEWEST_DAYS:
        return None
    gaps = np.diff(np.unique(days)).astype(np.int64)
    reason = (
        f"from there to {dates[-1]} the points follow no regular period ({gaps.min()} to {gaps.max()} days apart), "
        "so the Sharpe ratio is unknown; give a value for each day, or periods_per_year="
    )
    return Doubt("irregular", "equity[0].date", dates[0], reason)


def zone_doubt(clock: Clock | None) -> list[Doubt]:
    """Return the doubt about moments of several offsets, of which no zone is known."""
    if clock is None:
        return []
    found = ", ".join(sorted({*clock.zones, *clock.nameless})[:_MOST_ZONES])
    reason = (
        f"moments with a zone ({found}) stand beside others, so that no zone tells which day they fall on; "
        "give timezone='America/New_York' or the like"
    )
    return [Doubt("zone", clock.field, clock.value, reason)]
