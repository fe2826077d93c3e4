"""One function an engine: from what it gives to the arguments of ``save_iteration``, written as a user would.

Columns that need no other name stay where they are: what finlab_nb has no column for goes to ``extra``. A column whose
number is not taken as it is (a size without its sign, a fee of one side, a percentage) stays there too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from finlab_nb.demo.prices import load_prices, wide_prices
from recorded.cases import Case
from recorded.fills import curve, paired

_CASH: Final = 100_000.0  # with which most of the recorded strategies began
_FEE: Final = 0.001  # of each side, where the engine does not say what it took
_NEW_YORK: Final = "America/New_York"


def _closes() -> pd.DataFrame:
    """Return the prices that all strategies were tried on, which the user has beside the results."""
    return wide_prices(load_prices(), "close")


def vectorbt(case: Case) -> dict[str, Any]:
    trades, equity, parameters = case.raw_trades(), case.raw("raw_equity"), case.facts.get("parameters", {})
    code: Any = case.facts.get("ticker", "AAPL")
    if "parameters" in case.facts:  # one column of a grid, or one group: its label begins with the parameters
        chosen = list(parameters.values())
        labels = trades["Column"].map(json.loads)
        mine = labels.map(lambda label: label[: len(chosen)] == chosen)
        trades, labels, equity = trades[mine], labels[mine], equity[[json.dumps(chosen)]]
        code = code if "ticker" in case.facts else labels.str[-1]
    elif trades["Column"].dtype != np.int64:  # a number is what a Series without a name has
        code = trades["Column"]
    unsigned = trades["Size"].where(trades["Direction"] == "Long", -trades["Size"])
    trades = trades.rename(
        columns={
            "Entry Timestamp": "entry_date",
            "Exit Timestamp": "exit_date",
            "Avg Entry Price": "entry_price",
            "Avg Exit Price": "exit_price",
            "PnL": "profit_loss",
            "Return": "trade_return",
        }
    ).assign(stock_code=code, position_size=unsigned, fees=trades["Entry Fees"] + trades["Exit Fees"])
    trades["exit_date"] = trades["exit_date"].where(trades["Status"] == "Closed")
    cash = case.facts.get("init_cash", equity.iloc[0, 0])  # the first point has paid the fee of its day
    return {"trades": trades, "equity": equity.iloc[:, 0], "initial_capital": cash, "parameters": parameters}


def backtesting(case: Case) -> dict[str, Any]:
    trades, equity = case.raw_trades(), case.raw("raw_equity_curve")["Equity"]
    trades = trades.rename(
        columns={
            "EntryTime": "entry_date",
            "ExitTime": "exit_date",
            "EntryPrice": "entry_price",
            "ExitPrice": "exit_price",
            "Size": "position_size",
            "PnL": "profit_loss",
            "ReturnPct": "trade_return",
            "Commission": "fees",
            "Tag": "entry_reason",
        }
    ).assign(stock_code=case.facts.get("ticker", "AAPL"))
    return {
        "trades": trades,
        "equity": equity,
        "initial_capital": equity.iloc[0],
        "parameters": case.facts.get("parameters"),
    }


def backtrader(case: Case) -> dict[str, Any]:
    if not case.has("raw_value"):  # analyzers alone: the returns of each day, and no transaction
        returns = case.raw("raw_timereturn").set_index("dt")["return"]
        return {"trades": [], "returns": returns, "initial_capital": _CASH}
    return {
        "trades": paired(backtrader_fills(case), case.facts.get("last_close", {})),
        "equity": case.raw("raw_value").set_index("index")["value"],
        "initial_capital": _CASH,
    }


def backtrader_fills(case: Case) -> pd.DataFrame:
    fills = case.raw("raw_transactions").rename(columns={"symbol": "stock_code", "dt": "date", "amount": "size"})
    return fills.assign(fee=_FEE * fills["value"].abs())


def zipline(case: Case) -> dict[str, Any]:
    performance = case.raw("raw_perf")
    return {
        "trades": paired(zipline_fills(case), {}) if case.has("raw_transactions") else [],
        "equity": performance["portfolio_value"],
        "initial_capital": _CASH,
        "timezone": _NEW_YORK,
        "currency": "USD",
    }


def zipline_fills(case: Case) -> pd.DataFrame:
    paid = case.raw("raw_orders").groupby("id")["commission"].max().rename("fee")  # a transaction has none
    fills = case.raw("raw_transactions").join(paid, on="order_id")
    return fills.rename(columns={"symbol": "stock_code", "dt": "date", "amount": "size"})


def freqtrade(case: Case) -> dict[str, Any]:
    name, result = case.facts["strategy"], case.result()
    trades = case.raw_trades().rename(
        columns={
            "pair": "stock_code",
            "open_date": "entry_date",
            "close_date": "exit_date",
            "open_rate": "entry_price",
            "close_rate": "exit_price",
            "profit_abs": "profit_loss",
            "profit_ratio": "trade_return",
            "enter_tag": "entry_reason",
        }
    )
    entry, leave, amount = trades["entry_price"], trades["exit_price"], trades["amount"]
    trades = trades.assign(
        position_size=amount.where(~trades["is_short"], -amount),
        fees=amount * (entry * trades["fee_open"] + leave * trades["fee_close"]),
        mae=(trades["min_rate"] / entry - 1).clip(upper=0),
        mfe=(trades["max_rate"] / entry - 1).clip(lower=0),
    )
    wallet = case.archived_table(f"{name}_wallet.feather")
    equity = (wallet["rate"] * wallet["balance"]).groupby(wallet["date"]).sum()
    equity.iloc[-1] = result["final_balance"]  # the wallet ends before what is open is closed by force
    return {
        "trades": trades,
        "equity": equity,
        "initial_capital": result["starting_balance"],
        "timezone": "UTC",
        "periods_per_year": 365,
        "currency": result["stake_currency"],
        "parameters": {setting: result[setting] for setting in ("stoploss", "minimal_roi", "timeframe")},
        "code": case.archived(f"_{name}.py").decode(),
    }


def lean(case: Case) -> dict[str, Any]:
    result = case.result()
    trades = case.raw_trades().rename(
        columns={
            "entryTime": "entry_date",
            "exitTime": "exit_date",
            "entryPrice": "entry_price",
            "exitPrice": "exit_price",
            "totalFees": "fees",
        }
    )
    trades = trades.assign(
        stock_code=[symbol["value"] for symbol in trades.pop("symbol")],
        position_size=trades["quantity"].where(trades["direction"] == 0, -trades["quantity"]),
        profit_loss=trades["profitLoss"] - trades["fees"],  # LEAN's own is gross
    )
    points = np.array(result["charts"]["Strategy Equity"]["series"]["Equity"]["values"])
    equity = pd.Series(points[:, -1], index=pd.to_datetime(points[:, 0].astype(np.int64), unit="s", utc=True))
    return {
        "trades": trades,
        "equity": equity,
        "initial_capital": _CASH,
        "timezone": _NEW_YORK,
        "currency": result["algorithmConfiguration"]["accountCurrency"],
        "parameters": result["algorithmConfiguration"]["parameters"],
    }


def nautilus(case: Case) -> dict[str, Any]:
    closes = _closes().loc["2004-09":"2008"].round(5).add_suffix("/USD.SIM")
    cash = 10_000.0 if "partial" in case.name else _CASH
    given = {"initial_capital": cash, "currency": "USD"}
    if not case.has("raw_fills"):
        return given | {"trades": [], "equity": pd.Series(cash, index=closes.index)}
    fills = nautilus_fills(case)
    # The account report has what was realised, at each event: the curve is made of fills and closes.
    return given | {"trades": paired(fills, closes.iloc[-1]), "equity": curve(fills, closes, cash)}


def nautilus_fills(case: Case) -> pd.DataFrame:
    raw = case.raw("raw_fills")  # numbers are text, the time of a daily bar is midnight of UTC
    return pd.DataFrame(
        {
            "stock_code": raw["instrument_id"],
            "date": raw["ts_event"].dt.tz_localize(None),
            "size": raw["last_qty"].astype(float) * raw["order_side"].map({"BUY": 1.0, "SELL": -1.0}),
            "price": raw["last_px"].astype(float),
            "fee": raw["commission"].str.removesuffix(" USD").astype(float),
        }
    )


def finlab(case: Case) -> dict[str, Any]:
    trades, creturn, capital = case.raw_trades(), case.raw("raw_creturn")["creturn"], case.facts["capital"]
    trades = trades[trades["entry_date"].notna()].rename(  # what has no entry yet is no trade
        columns={
            "stock_id": "stock_code",
            "trade_price@entry_date": "entry_price",
            "trade_price@exit_date": "exit_price",
            "return": "trade_return",
            "gmfe": "mfe",
        }
    )
    # Weights, so that sizes and profits are estimates: what the account was worth when the trade began.
    value = capital * creturn.reindex(trades["entry_date"]).to_numpy() * trades["position"]
    trades = trades.assign(
        position_size=value / trades["entry_price"], profit_loss=value.abs() * trades["trade_return"]
    )
    return {"trades": trades, "equity": capital * creturn, "initial_capital": capital}


def bt(case: Case) -> dict[str, Any]:
    if not case.has("raw_values"):  # prices of a strategy that never traded begin at 100
        return {"trades": [], "equity": case.raw("raw_prices")["never"] * (_CASH / 100), "initial_capital": _CASH}
    return {
        "trades": paired(bt_fills(case), {}),
        "equity": case.raw("raw_values")["value"],
        "initial_capital": _CASH,
    }


def bt_fills(case: Case) -> pd.DataFrame:
    fills = case.raw("raw_transactions").rename(columns={"Security": "stock_code", "Date": "date", "quantity": "size"})
    return fills.assign(fee=_FEE * (fills["size"] * fills["price"]).abs())


def pybroker(case: Case) -> dict[str, Any]:
    raw = case.raw_trades()
    paid = case.raw("raw_orders").groupby(["symbol", "date"])["fees"].sum()  # a trade has prices, an order has fees
    fees = sum(raw.join(paid, on=["symbol", day])["fees"] for day in ("entry_date", "exit_date"))
    size = raw["shares"] * raw["type"].map({"long": 1.0, "short": -1.0})
    trades = raw.rename(
        columns={
            "symbol": "stock_code",
            "entry": "entry_price",
            "exit": "exit_price",
            "stop": "exit_reason",
            "pnl": "gross_pnl",  # rounded to cents, as the excursions are, which are differences of prices
            "mae": "mae_price",
            "mfe": "mfe_price",
        }
    ).assign(
        position_size=size,
        fees=fees,
        profit_loss=(raw["exit"] - raw["entry"]) * size - fees,
        mae=raw["mae"].clip(upper=0) / raw["entry"],
        mfe=raw["mfe"].clip(lower=0) / raw["entry"],
    )
    return {"trades": trades, "equity": case.raw("raw_portfolio")["market_value"], "initial_capital": _CASH}


def qlib(case: Case) -> dict[str, Any]:
    report = case.raw("raw_report").set_index("datetime")
    marks = _closes().loc[report.index[-1]]
    return {"trades": paired(qlib_fills(case), marks), "equity": report["account"], "initial_capital": _CASH}


def qlib_fills(case: Case) -> pd.DataFrame:
    return case.raw("raw_fills").rename(columns={"code": "stock_code", "amount": "size"})


CONVERSIONS: Final[Mapping[str, Callable[[Case], dict[str, Any]]]] = {
    "vectorbt": vectorbt,
    "backtesting": backtesting,
    "backtrader": backtrader,
    "zipline": zipline,
    "freqtrade": freqtrade,
    "lean": lean,
    "nautilus": nautilus,
    "finlab": finlab,
    "bt": bt,
    "pybroker": pybroker,
    "qlib": qlib,
}
FILLS: Final[Mapping[str, Callable[[Case], pd.DataFrame]]] = {
    "backtrader": backtrader_fills,
    "zipline": zipline_fills,
    "nautilus": nautilus_fills,
    "bt": bt_fills,
    "qlib": qlib_fills,
}


def converted(case: Case) -> dict[str, Any]:
    """Return the arguments of ``save_iteration`` for a recorded result."""
    return CONVERSIONS[case.engine](case)


def engine_metrics(case: Case) -> dict[str, float]:
    """Return the engine's own figures, those that are numbers, as extra metrics named ``engine.<its name>``."""
    own = case.facts["engine_metrics"] or {}
    numbers = {name: value for name, value in own.items() if isinstance(value, int | float)}
    odd = {name: float(value) for name, value in own.items() if value in ("NaN", "Infinity", "-Infinity")}
    return {f"engine.{name}": value for name, value in (numbers | odd).items()}
