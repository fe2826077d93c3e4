"""vectorbt 1: a Portfolio of one column, of a grid, or of groups that share their cash.

Records are read once for all columns and split by them: asking for one column at a time takes a hundred times as long.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finlab_nb.engines.provenance import version_of
from finlab_nb.engines.recognise import has_all, type_names
from finlab_nb.engines.result import Options, Result

_TYPE: Final = "vectorbt.portfolio.base.Portfolio"
_COLUMNS: Final[Mapping[str, str]] = {
    "Entry Timestamp": "entry_date",
    "Exit Timestamp": "exit_date",
    "Avg Entry Price": "entry_price",
    "Avg Exit Price": "exit_price",
    "PnL": "profit_loss",
    "Return": "trade_return",
}
# Columns of a table of prices, which say nothing about the stock.
_PRICES: Final = frozenset({"open", "high", "low", "close", "adj close", "adj_close", "price", "vwap"})
# Levels of columns that hold stocks, whatever these are called.
_STOCKS: Final = frozenset({"symbol", "symbols", "ticker", "tickers", "stock_code", "stock_id", "asset", "code"})
_NO_FIGURES: Final = "vectorbt's own figures are kept of single portfolios only: it takes 50 ms a column for them"


def recognises(given: object) -> bool:
    """Tell whether this is a Portfolio."""
    return _TYPE in type_names(given) or has_all(given, "wrapper", "orders", "init_cash")


def results(given: Any, options: Options) -> Result | Iterator[Result]:
    """Read a Portfolio: one result, or one for each column or group."""
    labels, grouper = given.wrapper.columns, getattr(given.wrapper, "grouper", None)
    groups = None
    if grouper is not None and grouper.is_grouped():
        groups = _Groups(grouper.get_columns(), np.asarray(grouper.get_groups()))
    found = _each(given, _Levels(labels, groups, options))
    return next(found) if len(labels if groups is None else groups.labels) == 1 else found


@dataclass(frozen=True)
class _Groups:
    """The labels of groups, and the group of each column."""

    labels: pd.Index[Any]
    of_column: NDArray[np.intp]


class _Levels:
    """What the labels of the columns tell: which of their levels are parameters, and which one is the stock.

    The levels by which accounts are grouped are parameters. Of the others the stock is the one that is called so, else
    one of texts without a name, else, where it is the only level, one of texts.
    """

    def __init__(self, labels: pd.Index[Any], groups: _Groups | None, options: Options) -> None:
        self.labels = labels
        self.accounts = labels if groups is None else groups.labels
        self.of_column = np.arange(len(labels)) if groups is None else groups.of_column
        self._options, self._is_grouped = options, groups is not None
        grouped = () if groups is None else set(groups.labels.names)
        self._stock = self._level_of_stock([name for name in labels.names if name is None or name not in grouped])
        if groups is None:
            self._parameters = [level for level in range(labels.nlevels) if level != self._stock]
            self._is_named = labels.nlevels > 1 or labels.name is not None
        else:
            self._parameters = list(range(self.accounts.nlevels))
            self._is_named = self.accounts.tolist() != ["group"]

    def _level_of_stock(self, free: Sequence[Any]) -> int | None:
        names = self.labels.names
        levels = [level for level, name in enumerate(names) if name in free]
        for level in levels:
            if str(names[level]).lower() in _STOCKS:
                return level
        if self._options.ticker is not None:
            return None
        only = len(names) == 1
        return next((one for one in levels if (names[one] is None or only) and self._is_text(one)), None)

    def _is_text(self, level: int) -> bool:
        values = self.labels.get_level_values(level).unique()
        return all(isinstance(one, str) and one.strip() and one.strip().lower() not in _PRICES for one in values)

    def tickers(self) -> list[str]:
        """Return the stock of each column."""
        if self._stock is None:
            return [self._options.code(None, "vectorbt")] * len(self.labels)
        return [str(one) for one in self.labels.get_level_values(self._stock)]

    def tags(self) -> list[tuple[str, ...]]:
        """Return a tag for each account: the stock of a column beside others, which may have the same parameters."""
        stocks = [] if self._is_grouped or self._stock is None else self.tickers()
        return [(one,) for one in stocks] if len(set(stocks)) > 1 else [()] * len(self.accounts)

    def parameters(self, account: int) -> dict[str, Any]:
        """Return the parameters of an account by name; numbers are Python's."""
        if not self._is_named:
            return {}
        names = [name if name is not None else f"level_{level}" for level, name in enumerate(self.accounts.names)]
        label = self.accounts[account]
        values = label if isinstance(label, tuple) else (label,)
        return {str(names[level]): values[level] for level in self._parameters}


def _each(given: Any, levels: _Levels) -> Iterator[Result]:
    trades, bounds = _trades(given, levels)
    values = given.value()
    values = values.to_frame() if isinstance(values, pd.Series) else values
    count = len(levels.accounts)
    cash = np.broadcast_to(np.asarray(given.init_cash, dtype=float), count)
    figures, remarks = (_figures(given), ()) if count == 1 else ({}, (_NO_FIGURES,))
    version, tags = version_of("vectorbt"), levels.tags()
    for place, (_, curve) in enumerate(values.items()):
        yield Result(
            engine="vectorbt",
            version=version,
            parameters=levels.parameters(place),
            tags=tags[place],
            trades={name: column[bounds[place] : bounds[place + 1]] for name, column in trades.items()},
            equity=curve,
            initial_capital=float(cash[place]),
            figures=figures,
            remarks=remarks,
        )


def _trades(given: Any, levels: _Levels) -> tuple[dict[str, Any], NDArray[np.intp]]:
    """Return the trades of all accounts by column, one account after the other, and where each begins."""
    records = given.exit_trades if has_all(given, "exit_trades") else given.trades
    readable = records.records_readable
    column = levels.labels.get_indexer(pd.Index(readable["Column"])) if len(readable) else np.array([], dtype=np.intp)
    trades = readable.rename(columns=_COLUMNS)[list(_COLUMNS.values())]
    codes = np.array(levels.tickers() if len(readable) else [], dtype=object)
    trades = trades.assign(
        stock_code=codes[column],
        position_size=readable["Size"].where(readable["Direction"] == "Long", -readable["Size"]),
        fees=readable["Entry Fees"] + readable["Exit Fees"],
        exit_date=trades["exit_date"].where(readable["Status"] == "Closed"),
    )
    account = levels.of_column[column]
    order = np.argsort(account, kind="stable")
    columns = {
        name: one if isinstance(one.dtype, pd.DatetimeTZDtype) else one.to_numpy()
        for name, one in trades.iloc[order].reset_index(drop=True).items()
    }
    return columns, np.searchsorted(account[order], np.arange(len(levels.accounts) + 1))


def _figures(given: Any) -> dict[str, Any]:
    """Return the figures of stats(), which fails where the index has no frequency."""
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(given.stats())
    return {}
