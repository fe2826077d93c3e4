"""Tables of trades, fills and orders as platforms and brokers write them: what is stored, told and refused.

The files are in the layouts and encodings of their platforms; the numbers in them are invented, and what is expected of
them was computed by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, TypeAlias

import pandas as pd
import polars as pl
import pytest

import finlab_nb as fl

FILES: Final = Path(__file__).parents[1] / "data" / "platforms"
NAMES: Final = (
    *("stock_code", "entry_date", "exit_date", "entry_price", "exit_price", "position_size", "profit_loss", "fees"),
)
# code, entry, exit, entry price, exit price, size, profit, fees; None is unknown
Row: TypeAlias = tuple[str, str, str | None, float, float | None, float, float | None, float | None]
_SPY: Final = "SPY   260619C00600000"
EXPECTED: Final[dict[str, list[Row]]] = {
    "tradingview_new.csv": [
        ("BTC", "2024-03-01 09:30", "2024-03-01 15:00", 100, 99, 5, -5.4, None),
        ("BTC", "2024-03-02 09:30", "2024-03-03 16:00", 100, 95, -4, 19.2, None),
        ("BTC", "2024-03-04 10:00", None, 120, 130, 2, 19.5, None),
    ],
    "tradingview_old.csv": [
        ("BTC", "2023-05-01", "2023-05-09", 10.5, 11.5, 100, 98, None),
        ("BTC", "2023-05-10", "2023-05-12", 12, 12.5, -50, -26, None),
    ],
    "metatrader5.csv": [  # profit - commission - swap
        ("XAUUSD", "2025-02-03 08:00", "2025-02-03 09:00", 2800, 2812.5, 0.1, 124.3, 0.7),
        ("XAUUSD", "2025-02-03 10:00", "2025-02-04 09:00", 2815, 2820, -0.2, -102, 2.0),
        ("EURUSD", "2025-02-04 10:00", "2025-02-05 10:00", 1.035, 1.037, 1, 190, 10.0),
    ],
    "metatrader5_deals.csv": [  # 0.70 of 0.20 lots, 0.25 of 0.05, 1.30 of 0.25; a point is worth 100
        ("XAUUSD", "2025-02-03 08:00", "2025-02-03 09:00", 2800, 2810, 0.05, 50 - 0.175 - 0.25, 0.425),
        ("XAUUSD", "2025-02-03 08:00", "2025-02-04 09:00", 2800, 2790, 0.15, -150 - 0.525 - 0.78, 1.305),
        ("XAUUSD", "2025-02-04 09:00", None, 2790, None, -0.1, None, 0.52),
    ],
    "metatrader4.csv": [
        ("usdjpy", "2024-01-02 10:00", "2024-01-03 10:00", 141.2, 142.2, 0.5, 349.37, 2.25),
        ("usdjpy", "2024-01-04 10:00", "2024-01-04 12:00", 144, 144.5, -0.5, -176.51, 3.5),
    ],
    "ib_flex.csv": [  # 2 x 1.10 x 100 - 1.30 - 2/3 of 2.00
        (_SPY, "2026-05-01 10:15", "2026-05-04 09:30:01", 3.1, 4.2, 2, 220 - 1.3 - 4 / 3, 1.3 + 4 / 3),
        (_SPY, "2026-05-04 09:30:01", None, 4.2, None, -1, None, 2 / 3),
    ],
    "ib_activity.csv": [
        ("AAPL", "2026-05-01 10:15", "2026-05-02 11:15", 150.25, 160.5, 5, 49.7, 1.55),
        ("AAPL", "2026-05-01 10:15", None, 150.25, None, 5, None, 0.5),
        ("1,5 ETF", "2026-05-03 09:30", None, 2.5, None, -1000, None, 5),
    ],
    "jesse.csv": [
        ("ETH-USDT", "2024-01-01", "2024-01-01 01:00", 2000, 1900, -0.5, 48.05, 1.95),
        ("ETH-USDT", "2024-01-02", "2024-01-02 01:00", 1900, 1880, 0.5, -11.89, 1.89),
    ],
    "taiwan_big5.csv": [  # 1425 of the purchase, 1496 and 3150 of the sale
        ("2330", "2026-10-01", "2026-10-05", 1000, 1050, 1000, 50_000 - 6071, 6071),
        ("2330", "2026-10-01", None, 1000, None, 1000, None, 1425),
        ("0056", "2026-10-06", None, 38.5, None, 3000, None, 164),
    ],
    "taiwan_shares.csv": [  # that its numbers are thousands is told by what was paid
        ("00632R", "2026-10-01 09:01:02", "2026-10-02 13:29:59", 20, 21, 2000, 1758, 242),
    ],
    "china_gbk.csv": [("000001", "2026-01-05", "2026-01-07", 11.5, 12, 200, 100 - 11.2, 11.2)],
    "binance.csv": [  # the fee of the purchase is in BTC, at 60,000
        ("BTCUSDT", "2024-05-02 12:00", "2024-05-03 12:00", 60_000, 62_000, 0.1, 200 - 6 - 6.2, 12.2),
        ("BTCUSDT", "2024-05-02 12:00", None, 60_000, None, 0.1, None, 6),
    ],
    "alpaca.csv": [
        ("SPY", "2024-05-01 13:30:00.123456", "2024-05-02 13:30:05", 500.5, 505.25, 4, 19, 0),
        ("SPY", "2024-05-01 13:30:00.123456", None, 500.5, None, 6, None, 0),
    ],
}
_ANY: Final = {"header": None, "dtype": str}
READ: Final[dict[str, list[dict[str, Any]]]] = {  # what people give to pd.read_csv
    "tradingview_new.csv": [{}, {"index_col": 0}, {"dtype": str}, {"parse_dates": ["Date/Time"]}, {"header": None}],
    "tradingview_old.csv": [{}, {"index_col": "Trade #"}, {"parse_dates": ["Date/Time"]}, _ANY],
    "metatrader5.csv": [
        {"encoding": "utf-16"} | more
        for more in (
            *({}, {"skiprows": 4}, {"skiprows": 3}, {"header": 4}, {"header": None}, {"skiprows": 4, "dtype": str}),
            *(_ANY, {"header": None, "names": list("abcdefghijklmn")}, {"skiprows": 4, "nrows": 3}, {"index_col": 0}),
        )
    ],
    "metatrader5_deals.csv": [
        {"encoding": "utf-16-le", "sep": ";"} | more
        for more in ({}, {"decimal": ","}, {"dtype": str}, {"index_col": 0})
    ],
    "metatrader4.csv": [{"skiprows": 2}, {"header": 2}, {"header": None, "names": range(14)}],
    "ib_flex.csv": [
        *({"skiprows": 2}, {"skiprows": 2, "dtype": str}, {"header": None, "names": range(14)}),
        *({"skiprows": 2, "nrows": 5}, {"skiprows": 2, "index_col": "Symbol"}),
    ],
    "ib_activity.csv": [{"header": None, "names": range(17)}, {"names": list("abcdefghijklmnopq"), "dtype": str}],
    "jesse.csv": [{}, {"index_col": 0}, {"dtype": str}, _ANY],
    "taiwan_big5.csv": [
        {"encoding": "cp950"} | more
        for more in (
            *({"skiprows": 2}, {"skiprows": 2, "thousands": ","}, {"header": 2}, {"skiprows": 1}),
            *({"skiprows": 2, "dtype": str}, {"header": None, "names": range(9)}, {"skiprows": 2, "skipfooter": 1}),
        )
    ],
    "taiwan_shares.csv": [{"sep": "\t"}, {"sep": "\t", "dtype": str}],
    "china_gbk.csv": [{"encoding": "gbk"}, {"encoding": "gb18030", "dtype": str}],
    "binance.csv": [{}, {"thousands": ","}, {"index_col": 0}, {"parse_dates": [0]}],
    "alpaca.csv": [{}, {"parse_dates": ["filled_at"]}, {"index_col": "filled_at"}, {"dtype": str}],
}


def _options(name: str) -> dict[str, Any]:
    return {"ticker": "BTC"} if name.startswith("tradingview") else {}


def _assert_trades(found: pd.DataFrame, expected: list[Row]) -> None:
    assert len(found) == len(expected)
    for row, (code, entry, leave, *numbers) in zip(found[[*NAMES]].itertuples(index=False), expected, strict=True):
        assert (row[0], row[1]) == (code, pd.Timestamp(entry))
        assert pd.isna(row[2]) if leave is None else row[2] == pd.Timestamp(leave)
        for value, wanted in zip(row[3:], numbers, strict=True):
            assert pd.isna(value) if wanted is None else value == pytest.approx(wanted)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_of_a_platform_is_read_by_its_path(lab: fl.Lab, name: str) -> None:
    _assert_trades(lab.preview_frames("s", FILES / name, **_options(name)).trades, EXPECTED[name])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [pytest.param(name, one, id=f"{name}-{number}") for name, all_ in READ.items() for number, one in enumerate(all_)],
)
def test_a_file_is_understood_however_pandas_read_it(lab: fl.Lab, name: str, arguments: dict[str, Any]) -> None:
    if "skipfooter" in arguments:
        arguments = arguments | {"engine": "python"}
    table = pd.read_csv(FILES / name, **arguments)
    _assert_trades(lab.preview_frames("s", table, **_options(name)).trades, EXPECTED[name])


def test_what_is_stored_is_what_was_previewed_and_counts_once(lab: fl.Lab, capsys: pytest.CaptureFixture[str]) -> None:
    path = FILES / "metatrader5.csv"
    stored = lab.record_frames("gold", path)
    line, summary = capsys.readouterr().out.splitlines()
    assert line.startswith(
        "columns: stock_code = Symbol, size = Volume signed by Type, profit_loss = Profit less fees, "
    )
    assert "fee = -(Commission + Swap)" in line
    assert "10 rows left out" in line
    assert "multiplier of EURUSD = 100,000, XAUUSD = 100" in line
    assert summary == "3 trades, P&L 212.30, no equity curve"
    _assert_trades(lab.trades([stored]), EXPECTED["metatrader5.csv"])
    assert lab.preview_frames("gold", path).remarks[0] == line
    assert lab.record_frames("gold", pd.read_csv(path, encoding="utf-16", skiprows=4)) == stored
    assert capsys.readouterr().out.endswith("recorded before\n")
    assert lab.record_frames("gold", path, again=True) != stored
    loaded = lab.store.load_iteration(stored)
    assert loaded["metrics"]["total_trades"] == 3
    assert loaded["trades"][1]["extra"] == {"Position": 12, "S / L": 2830.0}
    assert lab.preview_frames("gold", path).engine == "metatrader5"


@pytest.mark.parametrize(
    ("name", "currency"),
    [("tradingview_new.csv", "USDT"), ("tradingview_old.csv", "USD"), ("ib_flex.csv", "USD"), ("alpaca.csv", None)],
)
def test_the_currency_is_that_of_headings_or_of_a_column(lab: fl.Lab, name: str, currency: str | None) -> None:
    stored = lab.record_frames("s", FILES / name, **_options(name))
    assert lab.store.load_iteration(stored)["currency"] == currency
    other = lab.record_frames("s", FILES / name, currency="TWD", **_options(name))
    assert lab.store.load_iteration(other)["currency"] == "TWD"


def test_binance_and_jesse_tell_moments_of_utc(lab: fl.Lab) -> None:
    for name in ("binance.csv", "jesse.csv"):
        assert lab.store.load_iteration(lab.record_frames("s", FILES / name))["timezone"] == "UTC"


# Arguments ------------------------------------------------------------------------------------------------------------

FILLS: Final = pd.DataFrame(
    {
        "date": ["2024-01-02", "2024-01-03", "2024-01-05"],
        "symbol": ["2330", "2330", "2330"],
        "side": ["buy", "sell", "sell"],
        "qty": [3, 1, 1],
        "price": [100.0, 110.0, 90.0],
        "fee": [3.0, 1.0, 1.0],
    }
)
_PAIRED: Final[list[Row]] = [
    ("2330", "2024-01-02", "2024-01-03", 100, 110, 1, 8, 2),
    ("2330", "2024-01-02", "2024-01-05", 100, 90, 1, -12, 2),
    ("2330", "2024-01-02", None, 100, None, 1, None, 1),
]


@pytest.mark.parametrize("argument", ["trades", "fills", "orders"])
def test_a_table_of_fills_is_paired_whatever_it_is_called(lab: fl.Lab, argument: str) -> None:
    found = lab.preview_frames("s", **{argument: FILLS})
    _assert_trades(found.trades, _PAIRED)
    assert "fills were paired first in, first out" in found.remarks[0]


@pytest.mark.parametrize(
    "table", [FILLS.to_dict("records"), FILLS.to_dict("list"), pl.from_pandas(FILLS), FILLS.iloc[::-1], FILLS[1:].index]
)
def test_a_table_may_be_records_or_of_another_library_or_newest_first(lab: fl.Lab, table: Any) -> None:
    if isinstance(table, pd.Index):
        with pytest.raises(ValueError, match="a table, or the path of a CSV file"):
            lab.preview_frames("s", table)
    else:
        _assert_trades(lab.preview_frames("s", table).trades, _PAIRED)


def test_the_table_may_come_first_and_tell_the_name(lab: fl.Lab) -> None:
    assert lab.preview_frames(FILLS).strategy == "table"
    assert any("no name of the strategy" in remark for remark in lab.preview_frames(FILLS).remarks)
    assert lab.preview_frames(FILLS, "swing").strategy == "swing"
    assert lab.preview_frames("swing", FILLS).strategy == "swing"
    assert lab.preview_frames(trades=FILLS).strategy == "table"
    assert lab.preview_frames(str(FILES / "jesse.csv")).strategy == "Swing"
    assert any("that of column 'strategy_name'" in one for one in lab.preview_frames(FILES / "jesse.csv").remarks)
    assert lab.preview_frames(FILES / "jesse.csv", "mine").strategy == "mine"
    assert lab.preview_frames(FILES / "alpaca.csv").strategy == "alpaca"


def test_closing_prices_value_what_is_open_and_make_the_curve(lab: fl.Lab) -> None:
    prices = pd.DataFrame({"2330": [100.0, 108.0, 95.0, 92.0]}, index=pd.bdate_range("2024-01-02", periods=4))
    fills = FILLS.assign(date=["2024-01-02 09:30", "2024-01-03 13:00", "2024-01-05 10:00"])
    stored = lab.record_frames("s", fills=fills, prices=prices, initial_capital=1000)
    # 1000 - 300 - 3 + 300; + 110 - 1 + 2 x 108 - 300; + 2 x (95 - 108); + 90 - 1 + 92 - 190
    assert lab.equity([stored])[stored].tolist() == pytest.approx([997, 1022, 996, 987])
    loaded = lab.store.load_iteration(stored)
    assert loaded["trades"][2]["profit_loss"] == pytest.approx(-9)
    assert loaded["extra_metrics"]["check.pnl_gap"] == pytest.approx(0, abs=1e-9)
    assert "equity computed from fills" in lab.preview_frames(fills, prices=prices, initial_capital=1000).remarks[0]
    assert lab.preview_frames(fills, prices=prices).equity.empty
    with pytest.raises(ValueError, match="prices has no column '2330'"):
        lab.preview_frames(fills, prices=prices.rename(columns={"2330": "2317"}), initial_capital=1000)


def test_moments_of_a_zone_count_on_their_local_day(lab: fl.Lab) -> None:
    prices = pd.Series([100.0, 108.0], index=pd.DatetimeIndex(["2024-01-02", "2024-01-03"]))
    fills = pd.DataFrame({"date": ["2024-01-03T02:00:00Z"], "side": "buy", "qty": 1, "price": 90.0})
    options = {"ticker": "SPY", "prices": prices, "initial_capital": 1000, "timezone": "America/New_York"}
    assert lab.preview_frames(fills, **options).equity.tolist() == [1010, 1018]  # 21:00 of the second


@pytest.mark.parametrize(
    "curve",
    [
        pd.Series([1000.0, 990.0, 1010.0], pd.bdate_range("2024-01-02", periods=3)),
        pd.DataFrame({"day": ["2024-01-02", "2024-01-03", "2024-01-04"], "my account": [1000, 990, 1010]}),
        pd.DataFrame({"Equity": [1000, 990, 1010], "DD": [0, 0.01, 0]}, pd.bdate_range("2024-01-02", periods=3)),
        pd.DataFrame({"x": [1000, 990, 1010]}, pd.bdate_range("2024-01-02", periods=3)),
        'date,equity\n2024-01-02,1000\n2024-01-03,990\n2024-01-04,"1,010.0"\n',
        "2024-01-02;1000\n2024-01-03;990\n2024-01-04;1010\n",
        "日期\t權益\n113/01/02\t1000\n113/01/03\t990\n113/01/04\t1010\n",
    ],
)
def test_a_curve_is_a_series_a_table_or_a_file(lab: fl.Lab, tmp_path: Path, curve: Any) -> None:
    if isinstance(curve, str):
        path = tmp_path / "curve.csv"
        path.write_bytes(curve.encode("cp950"))
        curve = path
    found = lab.preview_frames("s", FILLS, equity=curve, check=False)
    assert found.equity.tolist() == [1000, 990, 1010]
    assert found.equity.index.tolist() == pd.bdate_range("2024-01-02", periods=3).tolist()


def test_returns_alone_are_enough(lab: fl.Lab) -> None:
    returns = pd.DataFrame({"date": pd.bdate_range("2024-01-02", periods=2), "return": [0.1, -0.5]})
    found = lab.preview_frames(
        "s", returns=returns, initial_capital=100, metrics={"sharpe": 2.5}, extra_metrics={"k": 1}
    )
    assert found.equity.tolist() == pytest.approx([100, 110, 55])
    assert found.metrics["engine.sharpe"] == 2.5
    assert found.metrics["k"] == 1
    assert found.trades.empty
    assert found.summary.startswith("trades unknown")


@pytest.mark.parametrize(
    "columns",
    [
        {"when": "date", "n": "size", "paid for one": "price"},
        {"date": "when", "size": "n", "price": "paid for one"},
        {"when": "date", "n": "quantity", "paid for one": "price", "junk": None},
    ],
)
def test_the_caller_says_what_columns_are_either_way_round(
    lab: fl.Lab, columns: dict[str, Any], tmp_path: Path
) -> None:
    table = pd.DataFrame({"when": ["2024-01-02", "2024-01-03"], "n": [2, -2], "paid for one": [10, 11], "junk": "x"})
    table.to_csv(tmp_path / "mine.csv", index=False)
    for given in (table, tmp_path / "mine.csv"):
        found = lab.preview_frames("s", given, columns=columns, ticker="A")
        _assert_trades(found.trades, [("A", "2024-01-02", "2024-01-03", 10, 11, 2, 2, 0)])
        assert ("junk" in found.remarks[0]) is ("junk" not in columns)


# Profit, fees, sides --------------------------------------------------------------------------------------------------

TRADES: Final = pd.DataFrame(
    {
        "Symbol": ["A", "B"],
        "Entry Time": ["2024-01-02 09:30", "2024-01-03 09:30"],
        "Exit Time": ["2024-01-02 16:00", "2024-01-04 16:00"],
        "Entry Price": [10.0, 20.0],
        "Exit Price": [11.0, 19.0],
        "Qty": [100, 50],
        "Direction": ["Long", "Short"],
        "Commission": [2.0, 1.0],
        "PnL": [98.0, 49.0],
        "Setup": ["gap", "fade"],
    }
)
_NET: Final[list[Row]] = [
    ("A", "2024-01-02 09:30", "2024-01-02 16:00", 10, 11, 100, 98, 2),
    ("B", "2024-01-03 09:30", "2024-01-04 16:00", 20, 19, -50, 49, 1),
]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"PnL": [100.0, 50.0]},  # gross
        {"PnL": None},
        {"Commission": [-2.0, -1.0]},
        {"Direction": ["做多", "做空"]},
        {"Direction": ["BUY", "SELL"], "Qty": [100, -50]},
        {"PnL": ["$98.00", "(49) "], "Direction": "long", "Exit Price": ["11", "19.04"], "Commission": [2, 1]},
    ],
)
def test_profits_are_net_and_sizes_signed(lab: fl.Lab, change: dict[str, Any]) -> None:
    table = TRADES.assign(**change)
    if change.get("PnL", 0) is None:
        table = table.drop(columns="PnL")
    expected = [*_NET]
    if "Exit Price" in change:
        expected[1] = (*_NET[1][:4], 19.04, 50, -49, 1)
    found = lab.preview_frames("s", table)
    _assert_trades(found.trades, expected)
    assert found.trades["extra"].tolist() == ['{"Setup": "gap"}', '{"Setup": "fade"}']


def test_the_names_that_the_caller_gave_stand_for_those_of_the_file(lab: fl.Lab) -> None:
    names = ["date", "code", "name", "side", "n", "price", "fee", "tax", "net"]
    table = pd.read_csv(FILES / "taiwan_big5.csv", encoding="cp950", skiprows=2, names=names, dtype=str)
    found = lab.preview_frames("s", table, columns={"n": "lots"})
    _assert_trades(found.trades, EXPECTED["taiwan_big5.csv"])


@pytest.mark.parametrize("rename", [str.lower, str.upper, lambda name: name.replace(" ", "_")])
def test_headings_of_currencies_are_known_in_every_case(lab: fl.Lab, rename: Any) -> None:
    table = pd.read_csv(FILES / "tradingview_new.csv").rename(columns=rename)
    _assert_trades(lab.preview_frames("s", table, ticker="BTC").trades, EXPECTED["tradingview_new.csv"])


@pytest.mark.parametrize(
    "names",
    [
        {"Time.1": "Close Time", "Price.1": "Close Price"},
        {"Time": "Entry Time", "Time.1": "Exit Time", "Price": "Entry Price", "Price.1": "Exit Price"},
        {"Time": "entry_date", "Time.1": "exit_date", "Volume": "size"},
    ],
)
def test_positions_of_metatrader_may_be_renamed(lab: fl.Lab, names: dict[str, str]) -> None:
    table = pd.read_csv(FILES / "metatrader5.csv", encoding="utf-16", skiprows=4, nrows=3).rename(columns=names)
    _assert_trades(lab.preview_frames("s", table).trades, EXPECTED["metatrader5.csv"])


def test_a_table_with_exits_is_never_read_as_one_of_fills(lab: fl.Lab) -> None:
    table = TRADES.rename(columns={"Entry Time": "Date", "Entry Price": "Price"})
    _assert_trades(lab.preview_frames("s", table).trades, _NET)
    with pytest.raises(ValueError, match="no column for exit_date"):
        lab.preview_frames("s", table.drop(columns="Exit Time"))


def test_the_line_tells_whatever_was_done_to_profits(lab: fl.Lab) -> None:
    assert "PnL less fees (it is gross)" in lab.preview_frames("s", TRADES.assign(PnL=[100.0, 50.0])).remarks[0]
    assert "fee = -(Commission)" in lab.preview_frames("s", TRADES.assign(Commission=[-2.0, -1.0])).remarks[0]
    without = lab.preview_frames("s", TRADES.drop(columns=["PnL", "Commission"]))
    assert "profit_loss = (exit_price - entry_price) x size" in without.remarks[0]
    assert without.trades["profit_loss"].tolist() == [100, 50]


def test_amounts_that_are_empty_are_told(lab: fl.Lab) -> None:
    table = TRADES.assign(PnL=[98.0, None], Commission=[None, 1.0])
    found = lab.preview_frames("s", table)
    assert found.trades["fees"].tolist() == [0, 1]
    assert found.trades["profit_loss"].isna().tolist() == [False, True]
    assert "fee is empty in 1 of 2 rows: taken as 0" in found.remarks[0]
    assert "profit_loss is empty in 1 of 2 rows: unknown" in found.remarks[0]


def test_ccxt_tells_fees_by_dicts(lab: fl.Lab, tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "timestamp": [1704067200000, 1704153600000],
            "datetime": ["2024-01-01T00:00:00.000Z", "2024-01-02T00:00:00.000Z"],
            "symbol": "ETH/USDT",
            "side": ["buy", "sell"],
            "takerOrMaker": "taker",
            "price": [2000.0, 2100.0],
            "amount": [0.5, 0.5],
            "fee": [{"cost": 0.001, "currency": "ETH"}, {"cost": -0.1, "currency": "USDT"}],  # a rebate
        }
    )
    expected = ("ETH/USDT", "2024-01-01", "2024-01-02", 2000.0, 2100.0, 0.5, 50 - 2 + 0.1, 1.9)
    _assert_trades(lab.preview_frames("s", table).trades, [expected])
    table.to_csv(tmp_path / "ccxt.csv", index=False)
    _assert_trades(lab.preview_frames("s", tmp_path / "ccxt.csv").trades, [expected])
    table["fee"] = [{"cost": 0.001, "currency": "BNB"}, None]
    with pytest.raises(ValueError, match=re.escape("trades[0], column 'fee': 0.001 is a fee in BNB")):
        lab.preview_frames("s", table)
    without = lab.preview_frames("s", table, columns={"fee": None})
    assert without.trades["fees"].tolist() == [0]


def test_codes_that_were_read_as_numbers_are_told(lab: fl.Lab) -> None:
    table = pd.read_csv(FILES / "china_gbk.csv", encoding="gbk")
    found = lab.preview_frames("s", table)
    assert found.trades["stock_code"].tolist() == ["000001"]
    assert "read them with dtype=str" in found.remarks[0]
    plain = lab.preview_frames("s", FILLS.assign(symbol=56))
    assert "may lack leading zeros (56)" in plain.remarks[0]


def test_what_is_sold_without_having_been_bought_is_told(lab: fl.Lab) -> None:
    remark = lab.preview_frames("s", FILLS[1:]).remarks[0]
    assert "sold without having been bought before, so taken as short: 2330" in remark


def test_a_table_without_rows_is_a_backtest_without_trades(lab: fl.Lab) -> None:
    for table in (FILLS[:0], TRADES[:0]):
        found = lab.preview_frames("s", table)
        assert found.metrics["total_trades"] == 0
        assert found.summary.startswith("0 trades")


# What is refused, each in one sentence --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "nothing is given to record"),
        ({"trades": FILLS, "fills": FILLS}, "trades and fills are both given"),
        ({"trades": FILLS.drop(columns="symbol")}, "trades has no column for the stock code; give ticker='2330'"),
        ({"fills": FILLS.drop(columns="side")}, "fills tells no buys from sells"),
        ({"fills": FILLS.drop(columns="price")}, "fills has no column for price; its columns are 'date', 'symbol'"),
        ({"fills": FILLS.drop(columns="date")}, "fills has no column for date"),
        ({"trades": TRADES.drop(columns="Exit Time")}, "trades has no column for exit_date"),
        ({"trades": TRADES.drop(columns="Qty")}, "trades has no column for size"),
        ({"trades": TRADES, "ticker": "A"}, "ticker is 'A', but the column 'Symbol' of trades has 2 stock codes"),
        ({"trades": FILLS["price"]}, "trades is a Series"),
        ({"trades": 5}, "trades is 5 (int); it must be a table, or the path of a CSV file"),
        ({"trades": pd.DataFrame([[1, 2], [3, 4]])}, "trades has no row of names that are known"),
        ({"trades": pd.DataFrame({"fast": [1], "slow": [2], "sharpe": [3]})}, "trades is no table of trades"),
        ({"trades": "missing.csv"}, "trades is 'missing.csv'; there is no such file"),
        ({"trades": "report.xlsx"}, "pd.read_excel(path, header=None, dtype=str)"),
        ({"trades": FILLS, "columns": {"sid": "side"}}, "columns has 'sid', which the table has not"),
        ({"trades": FILLS, "columns": {"side": "direction"}}, "columns has 'direction' for 'side'; it must be one of"),
        ({"trades": FILLS.assign(side="hold")}, "trades[0], column 'side': 'hold' tells neither buy nor sell"),
        ({"trades": FILLS.assign(price="1.2.3")}, "trades[0], column 'price': '1.2.3' is no number"),
        ({"trades": FILLS.assign(price=["1", None, "2"])}, "trades[1], column 'price' is empty"),
        ({"trades": FILLS.assign(qty=["3", "1K", "1"])}, "trades[1], column 'qty': '1K' is no number"),
        ({"trades": FILLS.assign(date=["2024-01-02", "soon", "2024-01-05"])}, "trades[1], column 'date': 'soon' is no"),
        ({"trades": FILLS.assign(date=["2024-01-02", None, "2024-01-05"])}, "trades[1], column 'date' is empty"),
        ({"trades": FILLS.assign(date=["2024-13-02", "2024-01-03", "2024-01-05"])}, "'2024-13-02' is no date (month"),
        ({"trades": FILLS.assign(date="01/02/2024")}, "'01/02/2024' may be day and month or month and day"),
        ({"trades": FILLS.assign(date=["2024-01-02", "2024-01-03T00:00Z", "2024-01-05"])}, "with or without a zone"),
        ({"trades": FILLS.assign(qty=[3, -1, 1])}, "trades[2], column 'qty': 1 contradicts its side by column 'side'"),
        ({"trades": FILLS.assign(qty=[-3, 1, 1])}, "trades[0], column 'qty': -3 contradicts its side"),
        ({"trades": FILLS.assign(fee="0.1%")}, "trades[0], column 'fee': '0.1%' is no number"),
        ({"trades": FILLS.assign(assetclass="OPT")}, "'OPT' is a contract, and no column is the multiplier"),
        ({"trades": TRADES.assign(PnL=["98", "much"])}, "trades[1], column 'PnL': 'much' is no number"),
        ({"equity": pd.DataFrame({"date": ["2024-01-02"], "a": [1], "b": [2]})}, "equity has no column for the equity"),
        ({"equity": pd.DataFrame({"date": ["2024-01-02"], "a": ["x"]})}, "equity[0], column 'a': 'x' is no number"),
        ({"equity": pd.DataFrame({"date": ["2024-01-02"], "a": [None]})}, "equity has no column for the equity"),
    ],
)
def test_what_cannot_be_understood_is_refused_in_a_sentence(lab: fl.Lab, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        lab.preview_frames("s", **given)
    assert refused.type is ValueError
    with pytest.raises(ValueError, match=re.escape(message)):
        lab.record_frames("s", **given)
    assert lab.iterations().empty


def test_an_error_in_a_file_names_its_line(lab: fl.Lab, tmp_path: Path) -> None:
    text = (FILES / "taiwan_big5.csv").read_text("cp950").replace("38.5", "38.5元?")
    (tmp_path / "broker.csv").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=re.escape("trades line 6, column '成交價': '38.5元?' is no number")):
        lab.preview_frames("s", tmp_path / "broker.csv")


def test_commas_that_may_be_either_are_refused_where_commas_separate_decimals(lab: fl.Lab, tmp_path: Path) -> None:
    path = tmp_path / "fills.csv"
    path.write_text("date;symbol;qty;price\n2024-01-02;A;1;1,250\n2024-01-03;A;-1;1,260\n")
    with pytest.raises(ValueError, match=re.escape("trades line 2, column 'price': '1,250' may have thousands")):
        lab.preview_frames("s", path)
    path.write_text("date;symbol;qty;price\n2024-01-02;A;1;1,25\n2024-01-03;A;-1;1,260\n")
    assert lab.preview_frames("s", path).trades["exit_price"].tolist() == [1.26]


def test_trades_of_unsigned_shorts_are_refused_as_by_record(lab: fl.Lab) -> None:
    with pytest.raises(ValueError, match="lack their sign"):
        lab.preview_frames("s", TRADES.drop(columns="Direction"))
    assert len(lab.preview_frames("s", TRADES.drop(columns="Direction"), check=False).trades) == 2
