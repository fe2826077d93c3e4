"""What an adapter makes of an engine's result: one backtest in the terms of a save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the caller says beside the result.

    Attributes
    ----------
    ticker
        The code of the one stock that was traded, for engines that do not know it.
    initial_capital
        What the account began with, for engines that do not know it.
    prices
        Closing prices by date with a column a stock, or a Series for one stock; a text only tells which data it was.
    """

    ticker: str | None = None
    initial_capital: float | None = None
    prices: Any = None

    @property
    def closes(self) -> pd.DataFrame | None:
        """The closing prices by date, a column a stock: they value what is open, and make curves; None if not given."""
        if self.prices is None or isinstance(self.prices, str):
            return None
        if isinstance(self.prices, pd.Series):
            return self.prices.to_frame(self.prices.name if self.ticker is None else self.ticker)
        return pd.DataFrame(self.prices)

    @property
    def marks(self) -> dict[Any, float]:
        """The last known closing price of each stock."""
        return {} if self.closes is None else self.closes.ffill().iloc[-1].to_dict()

    def code(self, known: object, engine: str) -> str:
        """Return the one stock's code: the caller's, or what the engine knows.

        Raises
        ------
        ValueError
            If neither tells.
        """
        if self.ticker is not None:
            return self.ticker
        if isinstance(known, str) and known:
            return known
        raise ValueError(f"ticker is missing; {engine} does not tell which stock was traded, give ticker='2330'")


@dataclass(frozen=True, kw_only=True)
class Result:
    """One backtest as an engine gave it.

    Attributes
    ----------
    engine, version
        The engine's name, that of its adapter's module, and its version if it is known.
    name
        The strategy's name, if the engine knows it.
    code
        Its source, or the class or function that has it, if the engine knows it.
    tags
        What tells it from others that were handed back with it.
    trades
        As `StorageManager.save_iteration` takes them, with further columns under the engine's own names; None if the
        result tells nothing about them.
    equity, returns
        The curve, or the returns of each period.
    figures
        The engine's own figures by its own names, numbers or not; those that are numbers become ``engine.<name>``.
    extra_metrics
        Further figures of ours.
    is_estimated
        Whether profit and loss are estimates or unknown, so that no sum of them says anything.
    known_gap
        Why the sum of profit and loss differs from the change of the account by the nature of this result.
    remarks
        What the reader should know, each a sentence.
    """

    engine: str
    version: str | None = None
    name: str | None = None
    code: object = None
    parameters: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()
    trades: pd.DataFrame | Mapping[str, Any] | None = None
    equity: pd.Series[Any] | None = None
    returns: pd.Series[Any] | None = None
    initial_capital: float | None = None
    timezone: str | None = None
    currency: str | None = None
    periods_per_year: float | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    extra_metrics: Mapping[str, float] = field(default_factory=dict)
    is_estimated: bool = False
    known_gap: str | None = None
    seed: int | None = None
    duration: float | None = None
    remarks: tuple[str, ...] = ()
