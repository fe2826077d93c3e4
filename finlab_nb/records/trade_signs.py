"""Trades whose profit is that of the opposite position: what is found where the sizes of shorts lack their sign.

The sign alone does not tell, because costs turn small gains into losses. So the cost that a contradicting trade must
have paid, as given and with the sign of its size turned, is compared with what the other trades paid. Costs are
fractions of turnover: what was bought plus what was sold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from finlab_nb.analysis.performance import Floats
from finlab_nb.records.plain import floats

_NUMBERS: Final = ("entry_price", "exit_price", "position_size", "profit_loss", "trade_return", "multiplier")
# What trades pay a side where no other trade tells: from a rebate to an expensive broker.
_LEAST_COST: Final = -0.001
_MOST_COST: Final = 0.01
# A cost beyond these bounds counts only if the cost with the sign turned is that much smaller.
_CLEARLY_LESS: Final = 8
# Usual costs are those of nine trades in ten, and a quarter more: taxes and fees differ with the side and the price.
_TAIL: Final = 0.05
_MARGIN: Final = 0.25
# Costs of 0 are known to 0.001% of turnover: engines compute in 32 bits, or round prices.
_NO_COST: Final = 1e-5
# A cost is strange if it is three times as far from the middle of the usual costs as these reach: dividends, funding
# and fees that vary give outliers, but near ones.
_FAR: Final = 3
# Of the strange costs that lie with turned sizes, nearly all become usual; of others some do, by chance.
_MOST_OF_THEM: Final = 0.75
# A winner earns no more than its move, a loser loses no less. Where winners earn a quarter more, or losers lose a fifth
# less, the currency of one point is not 1; it is known if four trades or more agree about it.
_SAME_POINT: Final = (0.8, 1.25)
_POINT_SPREAD: Final = 0.25
_POINT_TRADES: Final = 4
# Where all results together are neither half nor twice all moves, it is 1, and nothing else need be asked.
_ONE_POINT: Final = (0.5, 2)


def turned_sizes(columns: Mapping[str, Sequence[Any]]) -> list[int]:
    """Return the rows of closed trades whose size seems to have the wrong sign.

    Parameters
    ----------
    columns
        Checked trades by column; unknown numbers are None.
    """
    entry, leave, size, profit, returned, multiplier = (floats(columns[name]) for name in _NUMBERS)
    if not np.isnan(multiplier).all():
        profit = np.where(np.isnan(multiplier), profit, profit / multiplier)
    if np.isnan(profit).any():
        profit = np.where(np.isnan(profit), returned * np.abs(entry * size), profit)
    gross = (leave - entry) * size
    agreement = gross * profit
    if not (agreement < 0).any():
        return []
    turnover = (np.abs(entry) + np.abs(leave)) * np.abs(size)
    usable = np.isfinite(agreement / turnover) & (agreement != 0)
    if None in columns["exit_date"]:
        usable &= np.array([day is not None for day in columns["exit_date"]])
    rows = np.flatnonzero(usable)
    if not rows.size:
        return []
    turnover = turnover[rows]
    move, outcome = gross[rows] / turnover, profit[rows] / turnover
    outcome = outcome / _points(columns["stock_code"], rows, move, outcome)
    turned: list[int] = rows[_turned(move, outcome, turnover)].tolist()
    return turned


def _turned(move: Floats, outcome: Floats, turnover: Floats) -> NDArray[np.bool_]:
    """Find the contradicting trades whose costs are usual only with the sign turned."""
    given, opposite = move - outcome, -move - outcome
    agree = move * outcome > 0
    least, most, fee = _usual(given[agree], turnover[agree])
    middle, reach = (least + most) / 2, (most - least) / 2
    # A fee that is the same for all sizes is a high cost of a small trade.
    high = np.maximum(middle + _FAR * reach, (1 + _FAR * _MARGIN) * fee / turnover)
    strange = (move * outcome < 0) & ((given > high) | (given < min(middle - _FAR * reach, 0)))
    if not strange.any():
        return strange
    usual = (opposite >= least) & (opposite <= np.maximum(most, (1 + _MARGIN) * fee / turnover))
    absurd = (given < _LEAST_COST) | (given > _MOST_COST)
    bearable = (opposite >= _LEAST_COST) & (opposite <= _MOST_COST) & (_CLEARLY_LESS * abs(opposite) <= abs(given))
    turned: NDArray[np.bool_] = strange & (usual | (absurd & bearable))
    return turned if turned.sum() >= _MOST_OF_THEM * strange.sum() else np.zeros_like(turned)


def _usual(costs: Floats, turnover: Floats) -> tuple[float, float, float]:
    """Return the least and the highest usual cost, and the usual fee as an amount."""
    if not costs.size:
        return _LEAST_COST, _MOST_COST, 0.0
    ordered = np.sort(costs[turnover >= _middle(turnover)])  # least fees make the costs of small trades high
    tail = int(_TAIL * (ordered.size - 1))
    least, most = float(ordered[tail]), float(ordered[-1 - tail])
    margin = _MARGIN * max(abs(least), abs(most)) + _NO_COST
    return least - margin, most + margin, _middle(costs * turnover)


def _middle(values: Floats) -> float:
    """Return the lower median, in a tenth of the time that numpy takes for the median of few values."""
    middle = (values.size - 1) // 2
    return float(np.partition(values, middle)[middle])


def _points(codes: Sequence[Any], rows: NDArray[np.intp], move: Floats, outcome: Floats) -> Floats | float:
    """Return the currency of one point for each trade: one for all, or by stock code; NaN where it is unknown."""
    if _ONE_POINT[0] <= np.abs(outcome).sum() / np.abs(move).sum() <= _ONE_POINT[1]:
        return 1.0
    point = _point(move, outcome)
    if not math.isnan(point):
        return point
    places: dict[object, list[int]] = {}
    for place, row in enumerate(rows.tolist()):
        places.setdefault(codes[row], []).append(place)
    points = np.full(move.size, np.nan)
    for of_code in places.values():
        if len(of_code) >= _POINT_TRADES:
            points[of_code] = _point(move[of_code], outcome[of_code])
    return points


def _point(move: Floats, outcome: Floats) -> float:
    """Return the currency of one point: the multiplier of a contract, or the rate of another currency."""
    moved = np.abs(move)
    large = moved >= _middle(moved)  # costs matter least there
    ratio, won = np.abs(outcome[large]) / moved[large], outcome[large] > 0
    least, most = _SAME_POINT
    too_much = won.any() and _middle(ratio[won]) > most
    too_little = not won.all() and _middle(ratio[~won]) < least
    if not too_much and not too_little:
        return 1.0
    point = _middle(ratio)
    is_known = ratio.size >= _POINT_TRADES and _middle(np.abs(ratio / point - 1)) <= _POINT_SPREAD
    return point if is_known else math.nan
