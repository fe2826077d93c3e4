"""The laws of an honest backtest, and its figures by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finlab_nb.demo.backtest import TRADE_COLUMNS, backtest
from finlab_nb.demo.prices import load_prices, wide_prices
from finlab_nb.demo.strategies import STRATEGIES, Strategy

DAYS = pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"])


def one_share(opens: list[float], closes: list[float], name: str = "A") -> pd.DataFrame:
    days = DAYS[: len(opens)]
    return pd.DataFrame({"stock_code": name, "date": days, "open": opens, "close": closes})


def signals(*values: float, name: str = "A") -> pd.DataFrame:
    return pd.DataFrame({name: values}, index=DAYS[: len(values)])


@st.composite
def markets(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Prices of two shares, the second listed later, and signals."""
    days = draw(st.integers(2, 25))
    dates = pd.bdate_range("2024-01-01", periods=days)
    listed = draw(st.integers(0, days - 1))
    price = st.floats(1.0, 100.0)
    tables, columns = [], {}
    for name, first in (("A", 0), ("B", listed)):
        count = days - first
        opens = draw(st.lists(price, min_size=count, max_size=count))
        closes = draw(st.lists(price, min_size=count, max_size=count))
        tables.append(pd.DataFrame({"stock_code": name, "date": dates[first:], "open": opens, "close": closes}))
        columns[name] = draw(st.lists(st.sampled_from([-1.0, 0.0, 1.0, math.nan]), min_size=days, max_size=days))
    return pd.concat(tables, ignore_index=True), pd.DataFrame(columns, index=dates)


accounts = st.fixed_dictionaries(
    {
        "cost_bps": st.sampled_from([0.0, 10.0, 250.0]),
        "exposure": st.sampled_from([0.3, 1.0]),
        "whole_shares": st.booleans(),
    }
)


def test_a_signal_is_traded_at_the_open_of_the_next_day():
    result = backtest(one_share([9, 10, 12, 15], [9, 11, 14, 15]), signals(1, 1, 0, 0), capital=100, cost_bps=0)
    (trade,) = result.trades.to_dict("records")
    assert (trade["entry_date"], trade["exit_date"]) == (DAYS[1], DAYS[3])
    assert (trade["entry_price"], trade["exit_price"]) == (10.0, 15.0)
    assert (trade["position_size"], trade["profit_loss"]) == (10.0, 50.0)
    assert result.equity.tolist() == [100.0, 110.0, 140.0, 150.0]


def test_both_sides_of_a_trade_cost():
    result = backtest(one_share([10, 10, 20], [10, 10, 20]), signals(1, 0, 0), capital=101, cost_bps=100)
    (trade,) = result.trades.to_dict("records")
    assert trade["position_size"] == pytest.approx(10.0)  # 101 pays ten shares of 10 and the cost of 1
    assert trade["profit_loss"] == pytest.approx(100 - 1 - 2)
    assert result.equity.tolist() == pytest.approx([101.0, 100.0, 198.0])


def test_a_short_trade_earns_when_the_price_falls():
    result = backtest(one_share([10, 10, 8], [10, 9, 8]), signals(-1, 0, 0), capital=100, cost_bps=0)
    (trade,) = result.trades.to_dict("records")
    assert (trade["position_size"], trade["profit_loss"]) == (-10.0, 20.0)
    assert result.equity.tolist() == [100.0, 110.0, 120.0]


def test_turning_from_long_to_short_is_two_trades_at_one_open():
    result = backtest(one_share([10, 10, 12, 12], [10, 11, 12, 9]), signals(1, -1, -1, 0), capital=100, cost_bps=0)
    assert result.trades["position_size"].tolist() == [10.0, -10.0]
    assert result.trades["exit_date"].iloc[0] == result.trades["entry_date"].iloc[1] == DAYS[2]


def test_an_open_trade_is_marked_at_the_last_close():
    result = backtest(one_share([10, 10, 11], [10, 11, 13]), signals(1, 1, 1), capital=100, cost_bps=0)
    (trade,) = result.trades.to_dict("records")
    assert pd.isna(trade["exit_date"])
    assert (trade["exit_price"], trade["profit_loss"]) == (13.0, 30.0)


def test_the_signal_of_the_last_day_is_never_traded():
    result = backtest(one_share([10, 10], [10, 11]), signals(0, 1))
    assert len(result.trades) == 0
    assert result.trades.columns.tolist() == list(TRADE_COLUMNS)


def test_whole_shares_round_down_and_leave_the_rest_in_cash():
    prices = one_share([30, 30, 40], [30, 35, 40])
    whole = backtest(prices, signals(1, 0, 0), capital=100, cost_bps=0, whole_shares=True)
    assert whole.trades["position_size"].tolist() == [3.0]
    assert whole.equity.tolist() == [100.0, 115.0, 130.0]
    assert len(backtest(prices, signals(1, 0, 0), capital=20, whole_shares=True).trades) == 0


def test_exposure_invests_a_part():
    result = backtest(one_share([10, 10, 20], [10, 10, 20]), signals(1, 0, 0), capital=100, cost_bps=0, exposure=0.5)
    assert result.trades["profit_loss"].tolist() == [50.0]


def test_shares_divide_the_capital_equally():
    prices = pd.concat([one_share([10, 10, 20], [10, 10, 20]), one_share([5, 5, 5], [5, 5, 5], "B")])
    both = signals(1, 0, 0).assign(B=[1, 0, 0])
    result = backtest(prices, both, capital=100, cost_bps=0)
    assert result.trades["stock_code"].tolist() == ["A", "B"]
    assert result.trades["position_size"].tolist() == [5.0, 10.0]
    assert result.equity.iloc[-1] == 150.0


def test_a_part_that_lost_everything_trades_no_more():
    result = backtest(one_share([10, 10, 40, 10], [10, 10, 40, 10]), signals(-1, 0, 1, 1), capital=100, cost_bps=0)
    assert result.trades["profit_loss"].tolist() == [-300.0]
    assert result.equity.tolist() == [100.0, 100.0, -200.0, -200.0]


def test_a_missing_signal_is_no_position():
    prices = one_share([10, 10, 11], [10, 11, 12])
    assert len(backtest(prices, signals(math.nan, math.nan, math.nan)).trades) == 0
    assert len(backtest(prices, pd.DataFrame({"Z": [1, 1, 1]}, index=DAYS[:3])).trades) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"capital": 0}, "capital must be more than 0, not 0"),
        ({"capital": math.nan}, "capital must be more than 0, not nan"),
        ({"cost_bps": -1}, "cost_bps must be at least 0 and less than 10,000, not -1"),
        ({"exposure": 1.5}, r"exposure must be in \(0, 1\], not 1.5"),
    ],
    ids=["capital", "unknown capital", "costs", "exposure"],
)
def test_wrong_arguments_are_refused(wrong: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        backtest(one_share([10], [10]), signals(1), **wrong)


def test_a_strange_signal_is_refused():
    with pytest.raises(ValueError, match=r"signals must be -1, 0, 1 or NaN, not 0\.5"):
        backtest(one_share([10], [10]), signals(0.5))


@pytest.mark.slow
@given(markets(), accounts)
def test_the_account_reconciles_with_the_trades(market, account):
    prices, wanted = market
    result = backtest(prices, wanted, capital=1000.0, **account)
    assert result.equity.iloc[0] == 1000.0
    assert result.equity.iloc[-1] == pytest.approx(1000.0 + result.trades["profit_loss"].sum())
    assert len(result.equity) == prices["date"].nunique()


@pytest.mark.slow
@given(markets(), accounts)
def test_the_profit_of_a_trade_follows_from_its_row(market, account):
    prices, wanted = market
    trades = backtest(prices, wanted, capital=1000.0, **account).trades
    size, cost = trades["position_size"], account["cost_bps"] * 1e-4
    exit_cost = (cost * size.abs() * trades["exit_price"]).where(trades["exit_date"].notna(), 0.0)
    expected = size * (trades["exit_price"] - trades["entry_price"]) - exit_cost
    expected -= cost * size.abs() * trades["entry_price"]
    assert trades["profit_loss"].tolist() == pytest.approx(expected.tolist(), abs=1e-9)
    assert (trades["exit_date"].isna() | (trades["exit_date"] > trades["entry_date"])).all()
    if account["whole_shares"]:
        assert (size % 1 == 0).all()


@pytest.mark.slow
@given(markets(), accounts, st.integers(0, 24), st.floats(0.2, 5.0))
def test_later_prices_change_nothing_earlier(market, account, day, factor):
    prices, wanted = market
    today = wanted.index[min(day, len(wanted) - 1)]
    changed = prices.copy()
    later = changed["date"] > today
    changed.loc[later, ["open", "close"]] *= factor
    was, now = backtest(prices, wanted, **account), backtest(changed, wanted, **account)
    pd.testing.assert_series_equal(was.equity[:today], now.equity[:today])
    pd.testing.assert_frame_equal(closed_by(was.trades, today), closed_by(now.trades, today))
    pd.testing.assert_frame_equal(entered_by(was.trades, today), entered_by(now.trades, today))


def closed_by(trades: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    return trades[trades["exit_date"] <= day].reset_index(drop=True)


def entered_by(trades: pd.DataFrame, day: pd.Timestamp) -> pd.DataFrame:
    columns = ["stock_code", "entry_date", "entry_price", "position_size"]
    return trades.loc[trades["entry_date"] <= day, columns].reset_index(drop=True)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_no_strategy_of_the_demo_looks_ahead(strategy: Strategy):
    prices = load_prices()
    today = pd.Timestamp("2008-09-15")
    changed = prices.copy()
    later = changed["date"] > today
    random = np.random.default_rng(5).uniform(0.5, 2.0, later.sum())
    changed.loc[later, "open"] *= random
    changed.loc[later, "close"] *= random[::-1]
    was, now = strategy.run(prices, strategy.parameters), strategy.run(changed, strategy.parameters)
    assert len(closed_by(was.trades, today)) > 10
    pd.testing.assert_frame_equal(closed_by(was.trades, today), closed_by(now.trades, today))
    pd.testing.assert_frame_equal(entered_by(was.trades, today), entered_by(now.trades, today))
    pd.testing.assert_series_equal(was.equity[:today], now.equity[:today])


def test_google_is_not_traded_before_it_was_listed():
    prices = load_prices()
    always = wide_prices(prices, "close").notna().astype(int).clip(lower=1)
    trades = backtest(prices, always).trades.set_index("stock_code")
    assert trades.loc["GOOG", "entry_date"] == pd.Timestamp("2004-08-20")
    assert trades.loc["AAPL", "entry_date"] == pd.Timestamp("2000-03-02")


def test_buy_and_hold_earns_what_the_prices_did():
    prices = load_prices()
    close, opens = wide_prices(prices, "close"), wide_prices(prices, "open")
    result = backtest(prices, close.notna().astype(int), cost_bps=0)
    expected = sum(
        250_000 * close[code].iloc[-1] / opens[code].dropna().iloc[1] for code in ("AAPL", "GOOG", "IBM", "MSFT")
    )
    assert result.equity.iloc[-1] == pytest.approx(expected)
