"""The metrics of a file of schema 2, brought to today's definitions.

Schema 2 took 252 returns for a year whatever their spacing, and annualised a gain of two days. It did not tell which
metrics were given and which were computed, but what it computed can be computed again: a stored metric that is just
that becomes today's figure, if the curve is stored. Any other was given by the caller. It stays, and is marked in
`given_metrics` with what the definitions make of the curve.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from finlab_nb.analysis import curve_metrics
from finlab_nb.analysis.performance import Floats
from finlab_nb.records.zones import Days, local_days
from finlab_nb.store.progress import ProgressBar

_SAME: Final = 1e-9
_OF_CURVE: Final = ("annualized_return", "sharpe_ratio", "max_drawdown")

_CURVES: Final = "SELECT curve_id, iteration_id FROM curves ORDER BY curve_id"
_POINTS: Final = "SELECT date, equity FROM equity WHERE curve_id = ? ORDER BY date, equity_id"
_METRICS: Final = f"SELECT {', '.join(_OF_CURVE)} FROM metrics WHERE iteration_id = ?"
_SET_METRIC: Final = {name: f"UPDATE metrics SET {name} = ? WHERE iteration_id = ?" for name in _OF_CURVE}
_MARK_GIVEN: Final = "INSERT INTO given_metrics (iteration_id, name, computed) VALUES (?, ?, ?)"
_SET_PERIODS: Final = "UPDATE iterations SET periods_per_year = ? WHERE iteration_id = ?"
_ADD_TOTAL_RETURN: Final = """
    INSERT INTO extra_metrics (iteration_id, name, value) VALUES (?, 'total_return', ?) ON CONFLICT DO NOTHING"""


class Recomputed(NamedTuple):
    """How many metrics of how many iterations have another value now, and how many stayed because they were given."""

    metrics: int
    iterations: int
    given: int


def recompute(connection: sqlite3.Connection) -> Recomputed:
    """Bring all metrics that follow from stored curves to today's definitions, within the caller's transaction."""
    curves = connection.execute(_CURVES).fetchall()
    found = []
    with ProgressBar("upgrade", len(curves), "curve", shown=True) as bar:
        for curve_id, iteration_id in curves:
            found.append(_recompute(connection, curve_id, iteration_id))
            bar.update()
    metrics, given = (sum(counts) for counts in zip(*found, (0, 0), strict=True))
    return Recomputed(metrics, sum(changed > 0 for changed, _ in found), given)


def _recompute(connection: sqlite3.Connection, curve_id: int, iteration_id: str) -> tuple[int, int]:
    """Do so for one iteration; return how many metrics have another value now, and how many were given."""
    curve = _read(connection.execute(_POINTS, (curve_id,)).fetchall())
    stored = connection.execute(_METRICS, (iteration_id,)).fetchone()
    if curve is None or stored is None:
        return 0, 0
    today = _known(curve_metrics(*curve))
    before = today | _of_schema_2(*curve)
    connection.execute(_SET_PERIODS, (today["periods_per_year"], iteration_id))
    if today["total_return"] is not None:
        connection.execute(_ADD_TOTAL_RETURN, (iteration_id, today["total_return"]))
    changed = given = 0
    for name, value in zip(_OF_CURVE, stored, strict=True):
        if _same(value, today[name]):
            continue
        if _same(value, before[name]):
            connection.execute(_SET_METRIC[name], (today[name], iteration_id))
            changed += 1
        elif value is not None:
            connection.execute(_MARK_GIVEN, (iteration_id, name, today[name]))
            given += 1
    return changed, given


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None or not isinstance(one, float):
        return one is other
    return math.isclose(one, other, rel_tol=_SAME, abs_tol=_SAME * _SAME)


def _read(points: list[tuple[str, float]]) -> tuple[Days, Floats] | None:
    """Return a curve, or None if another program has put something else into it."""
    try:
        return local_days([date for date, _ in points], None), np.array([value for _, value in points], np.float64)
    except (ValueError, TypeError):
        return None


def _known(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


# The definitions of schema 2 that are others today --------------------------------------------------------------------


def _of_schema_2(days: Days, values: Floats) -> dict[str, float | None]:
    with np.errstate(all="ignore"):
        return _known(
            {"annualized_return": _annualized_return(days, values), "sharpe_ratio": _sharpe_ratio(days, values)}
        )


def _annualized_return(days: Days, values: Floats) -> float:
    span = int((days[-1] - days[0]).astype(np.int64))
    if span == 0 or values[0] <= 0 or values[-1] < 0:
        return math.nan
    return float((values[-1] / values[0]) ** (365.25 / span) - 1)


def _sharpe_ratio(days: Days, values: Floats) -> float:
    ends = values[np.append(days[1:] != days[:-1], True)]
    returns = np.diff(ends) / ends[:-1]
    if returns.size < 2 or (ends[:-1] <= 0).any():
        return math.nan
    mean, deviation = returns.mean(), returns.std(ddof=1)
    return float(mean / deviation * math.sqrt(252)) if deviation > 1e-12 * (1 + abs(mean)) else math.nan
