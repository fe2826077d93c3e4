"""Tables of trades that are given as the engine names them: what is understood, and what is doubted."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import finlab_nb as fl
from recorded.cases import FOLDER, Case
from recorded.conversions import converted
from recorded.expected import assert_same_trades


def _stored(store: fl.StorageManager, trades: Any) -> pd.DataFrame:
    strategy = store.save_strategy_version("As it is", "# see the engine")
    return pd.DataFrame(store.load_iteration(store.save_iteration(strategy, trades=trades))["trades"])


@pytest.mark.parametrize("name", ["backtesting/single_long", "freqtrade/spot_portfolio", "vectorbt/portfolio_grouped"])
def test_the_names_of_engines_need_no_renaming(store: fl.StorageManager, name: str) -> None:
    case = Case(FOLDER / name)
    trades = case.raw_trades()
    if case.engine == "freqtrade":
        trades["fees"] = converted(case)["trades"]["fees"]  # the engine has its rate
    elif case.engine == "backtesting":
        trades["ticker"] = "AAPL"
    else:
        trades = trades.rename(columns={"Column": "Ticker"}).assign(fees=trades["Entry Fees"] + trades["Exit Fees"])
    stored = _stored(store, trades)
    assert_same_trades(stored.assign(**{day: pd.to_datetime(stored[day]) for day in ("entry_date", "exit_date")}), case)


def test_the_result_after_commission_counts_before_that_of_prices_alone(store: fl.StorageManager) -> None:
    raw = Case(FOLDER / "backtrader/portfolio_open").raw("raw_trade_rows")
    prices = {"entry_price": raw["price"], "exit_price": raw["price"]}
    trades = raw.rename(columns={"data": "symbol"}).assign(entry_date=raw["open"], exit_date=raw["close"], **prices)
    stored = _stored(store, trades)
    assert sorted(stored["profit_loss"]) == sorted(raw["pnlcomm"])
    assert sorted(stored["fees"]) == sorted(raw["commission"])


@pytest.mark.parametrize("names", [["stock_id", "symbol"], ["symbol", "stock_id"]])
def test_an_id_counts_before_a_label(store: fl.StorageManager, names: list[str]) -> None:
    raw = Case(FOLDER / "finlab/monthly_long").raw_trades()
    ours = {f"trade_price@{side}_date": f"{side}_price" for side in ("entry", "exit")} | {"position": "position_size"}
    given = raw.rename(columns=ours)[[*ours.values(), "entry_date", "exit_date", "return", *names]]
    stored = _stored(store, given[[*names, *given.columns.drop(names)]])
    assert set(stored["stock_code"]) == {"AAPL", "GOOG", "IBM", "MSFT"}


def test_excursions_that_are_differences_of_prices_are_doubted(store: fl.StorageManager) -> None:
    raw = Case(FOLDER / "pybroker/portfolio").raw_trades()
    short = raw["type"] == "short"
    trades = raw.assign(shares=raw["shares"].astype(float).where(~short, -raw["shares"].astype(float)))
    trades = trades.rename(columns={"entry": "entry_price", "exit": "exit_price"}).drop(columns="type")
    with pytest.warns(fl.ImplausibleDataWarning, match="difference of prices"):
        _stored(store, trades)
