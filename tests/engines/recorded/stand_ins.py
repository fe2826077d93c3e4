"""What an engine handed back: an object with the attributes that were recorded of it, from the raw files only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pandas as pd

from finlab_nb.demo.prices import load_prices, wide_prices
from recorded.cases import Case

CASH: Final = 100_000.0  # with which most of the recorded strategies began
_FEE: Final = 0.001  # of each side, where the raw files do not say what was taken


def closes() -> pd.DataFrame:
    """Return the prices that all strategies were tried on, which the user has beside the results."""
    return wide_prices(load_prices(), "close")


def of_type(name: str, **attributes: Any) -> Any:
    """Return an object whose type has this full name."""
    module, _, short = name.rpartition(".")
    return type(short, (SimpleNamespace,), {"__module__": module})(**attributes)


def labels_of(case: Case) -> tuple[pd.Index, pd.Index | None, Callable[[pd.DataFrame], Sequence[Any]]]:
    """Return the labels of columns and of groups, and what reads them from the column ``Column`` of a table."""
    shape = case.folder.parent / "columns.json"
    if shape.exists():
        told = json.loads(shape.read_text("utf-8"))
        columns = pd.MultiIndex.from_tuples(map(tuple, told["columns"]), names=told["names"])
        accounts = None
        if "groups" in told:
            accounts = pd.MultiIndex.from_tuples(map(tuple, told["groups"]), names=told["group_names"])
        return columns, accounts, lambda table: [tuple(json.loads(one)) for one in table["Column"]]
    if "columns" in case.facts:
        return pd.Index(case.facts["columns"]), pd.Index(["group"]), lambda table: list(table["Column"])
    raw = case.raw("raw_trades")
    return pd.Index([raw["Column"].iloc[0] if len(raw) else 0]), None, lambda table: list(table["Column"])


def figures_of(case: Case) -> dict[str, Any]:
    """Return the engine's own figures; JSON has the numbers that are none as text."""
    return dict(_numbers(case.facts["engine_metrics"] or {}))


def _numbers(figures: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield name, dict(_numbers(value))
        else:
            yield name, float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def vectorbt(case: Case) -> Any:
    columns, accounts, labels = labels_of(case)
    trades, equity = case.raw("raw_trades"), case.raw("raw_equity")
    trades["Column"] = pd.Index(labels(trades), tupleize_cols=False)
    shown = columns if accounts is None else accounts
    of_column = None
    if accounts is not None:
        of_column = [0 if len(accounts) == 1 else accounts.get_loc(one[:-1]) for one in columns]
    equity = equity.set_axis(shown, axis=1)
    return of_type(
        "vectorbt.portfolio.base.Portfolio",
        wrapper=SimpleNamespace(
            columns=columns,
            grouper=SimpleNamespace(
                is_grouped=lambda: accounts is not None,
                get_columns=lambda: accounts,
                get_groups=lambda: np.array(of_column),
            ),
        ),
        orders=None,
        trades=SimpleNamespace(records_readable=trades),
        value=lambda: equity if equity.shape[1] > 1 else equity.iloc[:, 0],
        init_cash=case.facts.get("init_cash", float(equity.iloc[0, 0])),
        stats=lambda: figures_of(case),
    )


def backtesting(case: Case) -> Any:
    strategy = of_type("__main__.Cross", trades=(), _params=case.facts.get("parameters", {}))
    stats = {
        **(figures_of(case)),
        "_strategy": strategy,
        "_equity_curve": case.raw("raw_equity_curve"),
        "_trades": case.raw("raw_trades"),
    }
    return pd.Series(stats, dtype=object)


def backtrader(case: Case) -> Any:
    names: list[str] = []
    orders: list[Any] = []
    curve = case.raw("raw_timereturn").set_index("dt")["return"].add(1).cumprod() * CASH
    if case.has("raw_value"):
        curve = case.raw("raw_value").set_index("index")["value"]
        for one in case.raw("raw_transactions").itertuples():
            fill = SimpleNamespace(dt=_number(one.dt), size=one.amount, price=one.price, comm=_FEE * abs(one.value))
            orders.append(SimpleNamespace(data=SimpleNamespace(_name=one.symbol), executed=fill))
            names.append(one.symbol)
    values = SimpleNamespace(array=[*curve, *[float("nan")] * len(curve)])  # twice as long as the data
    analyzers = figures_of(case)
    return [
        type(
            "Cross",
            (_Strategy,),
            {"__module__": "__main__", "__len__": lambda self: len(curve)},
        )(
            analyzers=_Analyzers(analyzers),
            broker=SimpleNamespace(orders=orders, startingcash=CASH),
            datas=[_Data(name, case.facts.get("last_close", {}).get(name, 0.0)) for name in dict.fromkeys(names)],
            data0=SimpleNamespace(),
            observers=SimpleNamespace(broker=SimpleNamespace(lines=SimpleNamespace(value=values))),
            lines=SimpleNamespace(datetime=SimpleNamespace(array=[_number(day) for day in curve.index])),
            params=SimpleNamespace(_getkwargs=lambda: case.facts.get("parameters", {})),
        )
    ]


class _Strategy(SimpleNamespace):
    __module__, __qualname__ = "backtrader.strategy", "Strategy"


class _Data(SimpleNamespace):
    def __init__(self, name: str, close: float) -> None:
        super().__init__(_name=name, close=[close])

    def __len__(self) -> int:
        return 1


class _Analyzers(list[Any]):
    def __init__(self, found: Mapping[str, Any]) -> None:
        super().__init__(SimpleNamespace(get_analysis=lambda one=one: one) for one in found.values())
        self.getnames = lambda: list(found)


def _number(moment: datetime) -> float:
    """Return a moment as backtrader counts it."""
    return pd.Timestamp(moment).toordinal() + (moment - pd.Timestamp(moment).normalize()) / pd.Timedelta(days=1)


def zipline(case: Case) -> Any:
    table = case.raw("raw_perf").assign(transactions=None, orders=None, positions=None)
    for name in ("transactions", "orders", "positions"):
        rows = case.raw(f"raw_{name}") if case.has(f"raw_{name}") else pd.DataFrame(columns=["day"])
        by_day: dict[Any, list[dict[str, Any]]] = {}
        for one in rows.to_dict("records"):
            one["sid"] = of_type("zipline.assets.Equity", symbol=one.pop("symbol"))
            by_day.setdefault(one.pop("day"), []).append(one)
        table[name] = pd.Series([by_day.get(day, []) for day in table.index], table.index, dtype=object)
    return table


def freqtrade(case: Case) -> Any:
    return case.folder / "backtest-result.zip"


def lean(case: Case) -> Any:
    return case.folder / "result.json"


def nautilus(case: Case) -> Any:
    fills = case.raw("raw_fills") if case.has("raw_fills") else pd.DataFrame()
    return of_type(
        "nautilus_trader.backtest.engine.BacktestEngine",
        trader=SimpleNamespace(
            generate_fills_report=lambda: fills,
            generate_account_report=lambda venue: case.raw("raw_account"),
        ),
        cache=SimpleNamespace(),
        portfolio=None,
        kernel=None,
        get_result=lambda: SimpleNamespace(stats_pnls={}, stats_returns=figures_of(case)),
    )


def finlab(case: Case) -> Any:
    return of_type(
        "finlab.core.report.Report",
        creturn=case.raw("raw_creturn")["creturn"],
        position=None,
        get_trades=lambda: case.raw("raw_trades"),
        get_stats=lambda: figures_of(case)["stats"],
        get_metrics=lambda: figures_of(case)["metrics"],
        fee_ratio=0.001425,
        stop_loss=None,
        take_profit=float("inf"),
    )


def bt(case: Case) -> Any:
    class Result(dict[str, Any]):
        __module__, __qualname__ = "bt.backtest", "Result"

    names = case.folder.parent / "monthly_equal_weight"
    name = "trend" if case.has("raw_values") else "never"
    prices = case.raw("raw_prices")[name]
    values = case.raw("raw_values")["value"] if case.has("raw_values") else prices * (CASH / 100)
    fees = pd.Series(0.0, values.index)
    result = Result()
    result.stats = {name: figures_of(case)}
    result.get_transactions = _no_transactions
    if names == case.folder:
        made = case.raw("raw_transactions").set_index(["Date", "Security"])[["price", "quantity"]]
        fees = (_FEE * (made["price"] * made["quantity"]).abs()).groupby(level="Date").sum()
        result.get_transactions = lambda _: made
    strategy = SimpleNamespace(values=values, fees=fees)
    result.backtests = {name: SimpleNamespace(strategy=strategy, initial_capital=CASH)}
    return result


def _no_transactions(_: str) -> pd.DataFrame:
    raise IndexError("there are none")


def pybroker(case: Case) -> Any:
    metrics = figures_of(case)
    return of_type(
        "pybroker.strategy.TestResult",
        trades=case.raw("raw_trades"),
        orders=case.raw("raw_orders"),
        portfolio=case.raw("raw_portfolio"),
        positions=pd.DataFrame(),
        metrics_df=pd.DataFrame({"name": list(metrics), "value": list(metrics.values())}),
    )


def qlib(case: Case) -> Any:
    report, fills = case.raw("raw_report").set_index("datetime"), case.raw("raw_fills")
    held: dict[str, float] = {}
    positions: dict[Any, Any] = {}
    prices = closes()
    for day in report.index:
        today = fills[fills["date"] == day].set_index("code")
        for code, amount in today["amount"].items():
            held[code] = held.get(code, 0.0) + amount
        held = {code: amount for code, amount in held.items() if amount}
        stocks = {
            code: {"amount": amount, "price": today["price"].get(code, prices[code].get(day))}
            for code, amount in held.items()
        }
        cash = {"cash": report["cash"][day], "now_account_value": report["account"][day]}
        positions[day] = SimpleNamespace(position=stocks | cash)
    orders = {
        day: SimpleNamespace(
            data={
                name: of_day.set_index("code")[column]
                for name, column in (("deal_amount", "amount"), ("trade_price", "price"), ("trade_cost", "fee"))
            }
        )
        for day, of_day in fills.groupby("date")
    }
    return {"1day": (report, positions)}, {"1day": (pd.DataFrame(), SimpleNamespace(order_indicator_his=orders))}


STAND_INS: Final[Mapping[str, Callable[[Case], Any]]] = {
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


def options(case: Case) -> dict[str, Any]:
    """Return what a user says beside the result."""
    if case.engine in ("vectorbt", "backtesting"):
        return {"ticker": case.facts.get("ticker", "AAPL")} if _has_one_stock(case) else {}
    if case.engine == "nautilus":
        return {"prices": closes().loc["2004-09":"2008"].round(5).add_suffix("/USD.SIM")}
    if case.engine == "finlab":
        return {"initial_capital": case.facts["capital"]}
    return {}


def _has_one_stock(case: Case) -> bool:
    return case.trades["stock_code"].nunique() <= 1
