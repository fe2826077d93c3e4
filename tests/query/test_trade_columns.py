"""Columns of trades as a caller asks for them: stored ones, days, and what is in `extra`; and sums by currency."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

import finlab_nb as fl
from books import TRADE, elsewhere
from finlab_nb.records.tables import TRADES

pytestmark = pytest.mark.sources("replica", "plain")

EXTRAS: list[Any] = [
    {"signal": 1, "score": 0.5, "is_late": True, "legs": [1, 2], "size": 2**63, "Signal": "upper", "note/x": "a"},
    {"signal": 2, "score": 3, "is_late": False, "legs": {"a": 1}, "size": 1},
    None,
]


@pytest.fixture
def book(lab: fl.Lab) -> tuple[fl.Lab, str, str]:
    """Return a lab with an iteration whose trades have an `extra`, and one whose trades have none."""
    strategy = lab.store.save_strategy_version("a", "x")
    rich, poor = (lab.store.save_iteration(strategy, trades=[TRADE] * 3) for _ in range(2))
    for number, extra in enumerate(EXTRAS, 1):
        if extra is not None:
            text = json.dumps(extra)
            elsewhere(lab.store.path, f"UPDATE trades SET extra = '{text}', fees = 1.5 WHERE trade_id = {number}")
    return lab, rich, poor


def test_by_default_the_stored_columns_come_in_their_order(book: tuple[fl.Lab, str, str]) -> None:
    lab, rich, poor = book
    for run in (rich, poor):
        found = lab.trades(run)
        assert list(found.columns) == list(TRADES.names)
        kinds = {"whole": "int64", "text": "str", "float": "float64", "date": "datetime64[us]", "object": "str"}
        expected = [kinds[column.rule.kind] for column in TRADES.columns]
        assert found.dtypes.astype(str).str.replace("string", "str").tolist() == expected
    assert [None if pd.isna(one) else json.loads(one) for one in lab.trades(rich)["extra"]] == EXTRAS
    assert lab.trades(rich)["fees"].fillna(-1).tolist() == [1.5, 1.5, -1]


def test_columns_come_in_the_order_asked_with_the_types_of_parameters(book: tuple[fl.Lab, str, str]) -> None:
    lab, rich, _ = book
    names = ["signal", "stock_code", "score", "is_late", "legs", "size", "Signal", "note/x", "exit_day"]
    found = lab.trades(rich, columns=names)
    assert list(found.columns) == names
    kinds = dict(zip(names, found.dtypes.astype(str), strict=True))
    assert kinds["signal"] == "Int64"
    assert kinds["size"] == "UInt64"
    assert (kinds["score"], kinds["is_late"], kinds["exit_day"]) == ("float64", "boolean", "datetime64[us]")
    assert found["signal"].tolist()[:2] == [1, 2]
    assert found["size"].tolist()[:2] == [2**63, 1]
    assert found["score"].tolist()[:2] == [0.5, 3.0]
    assert [json.loads(one) for one in found["legs"][:2]] == [[1, 2], {"a": 1}]
    assert found["Signal"].fillna("-").tolist() == ["upper", "-", "-"]
    assert found[["signal", "score", "is_late", "legs", "size"]].isna().iloc[2].all()
    lab.store.save_iteration(lab.store.save_strategy_version("b", "x"), parameters=EXTRAS[0])
    assert str(lab.iterations("b")["param.signal_2"].dtype) == kinds["signal"]


def test_all_columns_are_the_stored_ones_the_days_and_what_is_in_extra(book: tuple[fl.Lab, str, str]) -> None:
    lab, rich, poor = book
    stored = [name for name in TRADES.names if name != "extra"]
    assert list(lab.trades(poor, columns="all").columns) == [*stored, "entry_day", "exit_day"]
    keys = [{"signal": "signal_2"}.get(key, key) for key in sorted(EXTRAS[0])]  # the later of twins in all but case
    assert list(lab.trades(rich, columns="all").columns) == [*stored, "entry_day", "exit_day", *keys]
    assert lab.trades(poor, columns="signal")["signal"].isna().all()  # other trades have it


def test_an_unknown_column_is_named_beside_those_there_are(book: tuple[fl.Lab, str, str]) -> None:
    lab, rich, _ = book
    with pytest.raises(fl.QueryError, match=r"columns has 'singal'; no such column, there are trade_id, .*signal"):
        lab.trades(rich, columns=["signal", "singal"])
    with pytest.raises(ValueError, match="columns"):
        lab.trades(rich, columns=[1])  # type: ignore[list-item]


def test_trades_that_were_edited_stay_in_order_whatever_columns_are_asked(book: tuple[fl.Lab, str, str]) -> None:
    lab, rich, _ = book
    elsewhere(lab.store.path, "UPDATE trades SET profit_loss = 10 - trade_id WHERE trade_id <> 2")
    assert lab.trades(rich, columns=["profit_loss"])["profit_loss"].tolist() == [9.0, 0.5, 7.0]


def test_two_currencies_are_never_added(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    runs = [lab.store.save_iteration(strategy, trades=[TRADE] * (number + 1)) for number in range(3)]
    for run, currency in zip(runs, ("TWD", "USD"), strict=False):
        elsewhere(lab.store.path, f"UPDATE iterations SET currency = '{currency}' WHERE iteration_id = '{run}'")
    by_stock = lab.by_stock()
    assert list(by_stock.columns)[:3] == ["stock_code", "currency", "trades"]
    assert by_stock["currency"].fillna("-").tolist() == ["TWD", "USD", "-"]
    assert by_stock["profit_loss"].tolist() == [0.5, 1.0, 1.5]
    by_period = lab.by_period()
    assert list(by_period.columns)[:2] == ["period", "currency"]
    assert by_period["profit_loss"].tolist() == [0.5, 1.0, 1.5]
    assert lab.by_stock(runs[:1])["trades"].tolist() == [1]


def test_a_trade_counts_by_its_return_where_its_profit_is_unknown(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    lab.store.save_iteration(strategy, trades=[{**TRADE, "profit_loss": None}] * 3 + [TRADE])
    elsewhere(
        lab.store.path,
        "UPDATE trades SET trade_return = 0.1 WHERE trade_id = 1",
        "UPDATE trades SET trade_return = -0.1 WHERE trade_id = 2",
        "UPDATE trades SET trade_return = -0.3 WHERE trade_id = 4",  # but its P&L is a gain
    )
    (found,) = lab.by_stock().to_dict("records")
    assert (found["closed"], found["win_rate"], found["profit_loss"]) == (4, pytest.approx(2 / 3), 0.5)
    assert found["mean_trade_return"] == pytest.approx(-0.1)
    assert lab.by_period()["win_rate"].tolist() == [pytest.approx(2 / 3)]


def test_iterations_and_metrics_tell_what_is_known_of_the_market(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    known, unknown = (lab.store.save_iteration(strategy, metrics={"sharpe_ratio": 1.0}) for _ in range(2))
    elsewhere(
        lab.store.path,
        "UPDATE iterations SET initial_capital = 1e6, currency = 'TWD', timezone = 'Asia/Taipei', "
        f"periods_per_year = 252.0, changed_at = '2024-05-06T07:08:09.000000Z' WHERE iteration_id = '{known}'",
        f"INSERT INTO given_metrics VALUES ('{known}', 'win_rate', 0.5), ('{known}', 'sharpe_ratio', NULL)",
    )
    found = lab.iterations(order_by="initial_capital").set_index("iteration_id")
    row = found.loc[known]
    assert (row["initial_capital"], row["currency"], row["timezone"], row["periods_per_year"]) == (
        1e6,
        "TWD",
        "Asia/Taipei",
        252,
    )
    assert row["changed_at"] == pd.Timestamp("2024-05-06T07:08:09", tz="UTC")
    names = ["initial_capital", "currency", "timezone", "periods_per_year", "changed_at"]
    assert found.loc[unknown, names].isna().all()
    assert lab.metrics().set_index("iteration_id")["given"].fillna("-").to_dict() == {
        known: "sharpe_ratio, win_rate",
        unknown: "-",
    }
    assert np.isnan(lab.sql("SELECT computed FROM given_metrics WHERE name = 'sharpe_ratio'")["computed"].item())
