"""Curves of iterations, and series by name: methods of `Lab`, which delegate."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from finlab_nb.lab.base import Base


class CurveAnswers(Base):
    """Curves of iterations, and series by name."""

    def equity(self, iterations: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Return equity curves side by side.

        Parameters
        ----------
        iterations
            Ids of iterations; by default all that have a curve.

        Returns
        -------
        DataFrame
            Indexed by date (datetime64[us], without a zone; a moment is in UTC if its zone is known); one float64
            column for each iteration, named by its id, in the order requested: account value in currency, NaN where the
            iteration has no point.

        Raises
        ------
        IterationNotFoundError
            If there is no iteration with one of the ids.
        ValueError
            If an id is not text.
        """
        return self.frames.equity(iterations)

    def returns(self, iterations: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Return the daily returns of equity curves side by side, as they enter the Sharpe ratio.

        Parameters
        ----------
        iterations
            Ids of iterations; by default all that have a curve.

        Returns
        -------
        DataFrame
            Indexed by date (datetime64[us]), the day in the zone of the market; one float64 column for each iteration,
            named by its id, in the order requested: the fraction that `analysis.daily_returns` gives, from the initial
            capital where the curve begins with another value, NaN where the iteration has none.

        Raises
        ------
        IterationNotFoundError
            If there is no iteration with one of the ids.
        ValueError
            If an id is not text.
        """
        return self.frames.returns(iterations)

    # Series by name -----------------------------------------------------------------------------------------------

    def series(self, name: str) -> pd.Series:
        """Return a series by name, such as a benchmark or prices.

        Parameters
        ----------
        name
            The name under which it was saved.

        Returns
        -------
        Series
            float64, indexed by date (datetime64[us], without a zone; a moment is in UTC if the zone of the series is
            known) in time order, and named by its name.

        Raises
        ------
        SeriesNotFoundError
            If there is no such series.
        ValueError
            If the name is not text.
        """
        return self.frames.series(name)

    def series_names(self) -> pd.DataFrame:
        """Return which series there are, by name.

        Returns
        -------
        DataFrame
            One row for each series:

            - name: str
            - points: int64, their number
            - first, last: datetime64[us], its first and last date, NaT without a point
            - timezone: str, the IANA name of its zone, missing if unknown
            - source: str, where it is from, missing if unknown
            - changed_at: datetime64[us, UTC], when it was last saved
        """
        return self.frames.series_names()
