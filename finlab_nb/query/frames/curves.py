"""Questions about equity curves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finlab_nb.analysis import daily_returns
from finlab_nb.query.frames.questions import Questions, Views
from finlab_nb.records import arguments

_IDS: Final = "SELECT DISTINCT iteration_id FROM equity WHERE iteration_id IS NOT NULL ORDER BY 1"
_POINTS: Final = """
    SELECT place, {date} AS date, equity FROM {equity} JOIN (
        SELECT unnest($ids::VARCHAR[]) AS iteration_id, generate_subscripts($ids::VARCHAR[], 1) - 1 AS place
    ) USING (iteration_id)
    WHERE {condition} AND date IS NOT NULL AND equity IS NOT NULL ORDER BY place, equity.date, equity_id"""
_CAPITALS: Final = """
    SELECT iteration_id, initial_capital FROM {iterations} WHERE {condition} AND initial_capital IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class _Points:
    """The known points of some curves, ordered by curve and time; a curve is named by its place among the ids."""

    ids: list[str]
    places: NDArray[np.int64]
    dates: NDArray[np.datetime64]
    values: NDArray[np.float64]
    capitals: Mapping[str, float] = field(default_factory=dict)

    def returns(self) -> Iterator[pd.Series[float]]:
        """Yield the daily returns of each curve, whose dates must be days."""
        bounds = np.searchsorted(self.places, np.arange(len(self.ids) + 1))
        for one, (first, last) in zip(self.ids, pairwise(bounds), strict=True):
            days = pd.DatetimeIndex(self.dates[first:last])
            yield daily_returns(pd.Series(self.values[first:last], index=days), self.capitals.get(one))

    def wide(self) -> pd.DataFrame:
        """Return the points side by side; if a curve has several on one date, the last one stored counts."""
        rows, dates = pd.factorize(self.dates, sort=True)
        table = np.full((len(dates), len(self.ids)), np.nan)
        table[rows, self.places] = self.values
        index = pd.DatetimeIndex(np.asarray(dates, dtype="datetime64[us]"), name="date")
        return pd.DataFrame(table, index=index, columns=pd.Index(self.ids, dtype=object, name="iteration_id"))


class CurveFrames(Questions):
    """Equity curves and their daily returns, side by side."""

    def equity(self, iterations: str | Iterable[str] | None = None) -> pd.DataFrame:
        """See `Lab.equity`."""
        return self._points(iterations).wide()

    def returns(self, iterations: str | Iterable[str] | None = None) -> pd.DataFrame:
        """See `Lab.returns`."""
        points = self._points(iterations, by_day=True)
        returns = list(points.returns())
        empty: list[Any] = [np.empty(0)]
        return _Points(
            points.ids,
            np.repeat(np.arange(len(returns)), [len(one) for one in returns]),
            np.concatenate([np.empty(0, dtype="datetime64[us]"), *(one.index.to_numpy() for one in returns)]),
            np.concatenate(empty + [one.to_numpy() for one in returns]),
        ).wide()

    def _points(self, iterations: str | Iterable[str] | None, *, by_day: bool = False) -> _Points:
        wanted = None if iterations is None else arguments.texts("iterations", iterations)

        def question(views: Views) -> _Points:
            condition = views.condition(wanted)
            ids = [one for (one,) in views.rows(_IDS)] if wanted is None else wanted
            date = "day::TIMESTAMP" if by_day else "date"
            query = _POINTS.format(date=date, equity=views.moment.rows_of("equity", ids), condition=condition)
            answer = views.execute(query, {"ids": ids}).fetchnumpy()
            places, dates, values = (np.ma.getdata(answer[name]) for name in ("place", "date", "equity"))
            return _Points(ids, places, dates, values, _capitals(views, ids, condition) if by_day else {})

        if by_day:
            return self.ask(question, {"equity", "iterations"}, wanted)
        return self.ask(question, {"equity"}, wanted, checked=("iterations",))


def _capitals(views: Views, ids: list[str], condition: str) -> dict[str, float]:
    query = _CAPITALS.format(iterations=views.moment.rows_of("iterations", ids), condition=condition)
    return dict(views.rows(query))
