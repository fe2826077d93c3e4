"""The real prices of the demo, adjusted."""

import pandas as pd
import pytest

from finlab_nb.demo.prices import TICKERS, load_prices, wide_prices


@pytest.fixture(scope="module")
def prices() -> pd.DataFrame:
    return load_prices()


def test_prices_are_tidy_sorted_and_whole(prices: pd.DataFrame):
    assert list(prices.columns) == ["stock_code", "date", "open", "high", "low", "close", "volume"]
    assert tuple(prices["stock_code"].unique()) == TICKERS
    assert len(prices) == 11_958
    assert not prices.isna().any(axis=None)
    assert prices.equals(prices.sort_values(["stock_code", "date"], ignore_index=True))
    assert not prices.duplicated(["stock_code", "date"]).any()


def test_google_begins_when_it_was_listed(prices: pd.DataFrame):
    first = prices.groupby("stock_code")["date"].min()
    assert first["GOOG"] == pd.Timestamp("2004-08-19")
    assert first["IBM"] == pd.Timestamp("2000-03-01")


def test_splits_and_dividends_are_adjusted_away(prices: pd.DataFrame):
    close = wide_prices(prices, "close")["AAPL"]
    change = close.pct_change()
    split = pd.Timestamp("2005-02-28")  # two for one: the raw price halved
    assert abs(change[split]) < 0.05
    assert change.min() == pytest.approx(-0.519, abs=0.001)  # a profit warning, and real
    assert change.idxmin() == pd.Timestamp("2000-09-29")


def test_every_price_lies_between_low_and_high(prices: pd.DataFrame):
    inside = prices[["open", "close"]].ge(prices["low"] * 0.999, axis=0)
    assert inside.all(axis=None)


def test_wide_prices_are_dates_by_shares(prices: pd.DataFrame):
    table = wide_prices(prices, "open")
    assert tuple(table.columns) == TICKERS
    assert table.index.is_monotonic_increasing
    assert table["GOOG"].isna().sum() == 1122
