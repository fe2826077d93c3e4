"""Older results of LEAN: capital letters, orders instead of trades, a curve of x and y."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import finlab_nb as fl


def _order(symbol: str, quantity: float, price: float, day: int, status: int = 3, **more: Any) -> dict[str, Any]:
    filled = {"LastFillTime": f"2021-03-{day:02}T15:31:00Z"} if status == 3 else {}
    return {"Symbol": {"Value": symbol}, "Quantity": quantity, "Price": price, "Status": status} | filled | more


def _result(*orders: dict[str, Any], fees: str = "$3.00") -> dict[str, Any]:
    points = [{"x": pd.Timestamp(2021, 3, day, 5).timestamp(), "y": 100_000.0 + day} for day in range(1, 13)]
    return {
        "Orders": {str(number): order for number, order in enumerate(orders, 1)},
        "Statistics": {"Total Fees": fees, "Sharpe Ratio": "2.034"},
        "Charts": {"Strategy Equity": {"Series": {"Equity": {"Values": points}}}},
    }


def test_one_order_is_an_open_trade_with_all_fees(lab: fl.Lab) -> None:
    with pytest.warns(fl.ImplausibleDataWarning, match="outside"):
        stored = lab.record(_result(_order("SPY", 2.0, 390.5, 25), fees="$0.65"))
    trade = lab.trades([stored]).iloc[0]
    assert (trade["stock_code"], trade["position_size"], trade["entry_price"]) == ("SPY", 2.0, 390.5)
    assert trade["fees"] == pytest.approx(0.65)
    assert pd.isna(trade["exit_date"])
    assert pd.isna(trade["profit_loss"])
    assert lab.equity([stored]).iloc[0].item() == 100_001.0


def test_orders_are_paired_and_share_the_fees_by_turnover(lab: fl.Lab) -> None:
    given = _result(
        _order("SPY", 10.0, 100.0, 2),
        _order("SPY", -10.0, 110.0, 4),
        _order("IWM", 5.0, 200.0, 3, status=5),  # canceled
    )
    trades = lab.preview(given).trades
    assert trades["stock_code"].tolist() == ["SPY"]
    assert trades["fees"].sum() == pytest.approx(3.0)
    assert trades["profit_loss"].tolist() == pytest.approx([97.0])
    assert trades["multiplier"].isna().all()


def test_an_option_is_a_hundred_units_and_a_filled_order_may_have_its_own_time_only(lab: fl.Lab) -> None:
    code = "SPY   210319C00390000"
    given = _result(
        _order(code, 1.0, 5.0, 2, LastFillTime=None, Time="2021-03-02T15:31:00.5Z"), _order(code, -1.0, 7.0, 4)
    )
    trades = lab.preview(given).trades
    assert trades["multiplier"].tolist() == [100.0]
    assert trades["profit_loss"].tolist() == pytest.approx([197.0])
    assert trades["entry_date"].tolist() == [pd.Timestamp("2021-03-02 15:31:00.5")]


def test_a_file_of_it_is_the_dict_of_it(lab: fl.Lab, tmp_path: Path) -> None:
    given = _result(_order("SPY", 10.0, 100.0, 2), _order("SPY", -10.0, 110.0, 4))
    path = tmp_path / "result.json"
    path.write_text(json.dumps(given))
    assert repr(lab.preview(path)) == repr(lab.preview(given))
