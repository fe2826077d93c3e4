"""Real daily prices of four shares, adjusted for splits and dividends (source: PROVENANCE.md)."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Final

import pandas as pd

TICKERS: Final = ("AAPL", "GOOG", "IBM", "MSFT")
_FILE: Final = "real_ohlc.parquet"
_PRICE_COLUMNS: Final = ["open", "high", "low", "close"]


def load_prices() -> pd.DataFrame:
    """Return the daily prices of AAPL, GOOG, IBM and MSFT, from 2000-03-01 to 2013-03-01.

    Four shares that survived and did well are no evidence of any skill: whatever a strategy earns on them, they
    were chosen after the fact.

    Returns
    -------
    DataFrame
        One row per share and day, sorted by both: ``stock_code`` (text), ``date`` (datetime64, naive), ``open,
        high, low, close`` (US dollars, float64) and ``volume`` (shares, float64). Prices are multiplied and
        volumes divided by ``adj_close / close``, so that price changes are total returns. GOOG begins on
        2004-08-19, the day it was listed.
    """
    with as_file(files("finlab_nb.demo") / _FILE) as path:
        raw = pd.read_parquet(path)
    adjustment = raw["adj_close"] / raw["close"]
    prices = pd.DataFrame({"stock_code": raw["ticker"].astype(str), "date": pd.to_datetime(raw["date"])})
    prices[_PRICE_COLUMNS] = raw[_PRICE_COLUMNS].mul(adjustment, axis=0)
    prices["volume"] = raw["volume"] / adjustment
    return prices.sort_values(["stock_code", "date"], ignore_index=True)


def wide_prices(prices: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return one column of tidy prices as a table of dates by shares; NaN where a share has no price."""
    table = prices.pivot(index="date", columns="stock_code", values=column)
    return table.sort_index()
