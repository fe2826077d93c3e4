"""The recorded results made anew: the engine itself, where it is installed, trades what was recorded at its prices."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd

from finlab_nb.demo.prices import load_prices
from recorded.cases import Case
from recorded.stand_ins import CASH, closes, labels_of

_FEE: Final = 0.001
_INTRADAY: Final = "backtesting/intraday_tz"  # whose bars were not recorded


def vectorbt(case: Case) -> Any:
    """Return a Portfolio of the recorded orders."""
    import vectorbt

    columns, accounts, labels = labels_of(case)
    stocks = [one[-1] if isinstance(one, tuple) else one for one in columns]
    codes = [code if code in ("AAPL", "GOOG", "IBM", "MSFT") else case.facts.get("ticker", "AAPL") for code in stocks]
    prices = closes().loc[case.equity.index[0] : case.equity.index[-1], codes].set_axis(columns, axis=1)
    size = pd.DataFrame(0.0, prices.index, columns)
    if case.has("raw_orders"):
        raw = case.raw("raw_orders")
        moves = zip(raw["Timestamp"], labels(raw), raw["Size"].where(raw["Side"] == "Buy", -raw["Size"]), strict=True)
    else:
        raw = case.raw("raw_trades")
        signed = raw["Size"].where(raw["Direction"] == "Long", -raw["Size"])
        closed = raw["Status"] == "Closed"
        moves = [
            *zip(raw["Entry Timestamp"], labels(raw), signed, strict=True),
            *zip(raw["Exit Timestamp"][closed], labels(raw[closed]), -signed[closed], strict=True),
        ]
    for day, label, amount in moves:
        size.iloc[size.index.get_loc(day), columns.get_loc(label)] += amount
    is_single = len(columns) == 1
    return vectorbt.Portfolio.from_orders(
        prices.iloc[:, 0] if is_single else prices,
        (size.iloc[:, 0] if is_single else size).replace(0.0, np.nan),
        fees=_fee_rate(case),
        init_cash=case.facts.get("init_cash", round(case.equity.iloc[0])),
        freq="1D",
        group_by=None if accounts is None else True if len(accounts) == 1 else list(accounts.names),
        cash_sharing=accounts is not None,
    )


def _fee_rate(case: Case) -> float:
    raw = case.raw("raw_trades")
    return float(round((raw["Entry Fees"] / raw["Size"] / raw["Avg Entry Price"]).iloc[0], 9)) if len(raw) else _FEE


def backtesting(case: Case) -> Any:
    """Return the stats of a strategy that trades the recorded bars."""
    from backtesting import Backtest, Strategy

    rows = case.raw("raw_trades")
    parts = rows.sort_values("ExitBar", kind="stable")

    class Cross(Strategy):  # type: ignore[misc]
        fast, slow = case.facts.get("parameters", {"fast": 20, "slow": 60}).values()

        def init(self) -> None:
            pass

        def next(self) -> None:
            bar = len(self.data)  # the next one
            for (entry, _), of_entry in rows.groupby(["EntryBar", "EntryPrice"]):
                if entry == bar:
                    self.buy(size=int(of_entry["Size"].sum()))
            for part in parts[parts["ExitBar"] == bar].itertuples():
                held = next(trade for trade in self.trades if trade.entry_bar == part.EntryBar)
                held.close(part.Size / held.size)

    prices = load_prices()
    code = case.facts.get("ticker", "AAPL")
    bars = prices[prices["stock_code"] == code].set_index("date").drop(columns="stock_code").rename(columns=str.title)
    fee = (1.0, _FEE) if "fixed_fee" in case.name else _FEE
    days = slice(case.equity.index[0], case.equity.index[-1])
    test = Backtest(bars.loc[days], Cross, cash=round(case.equity.iloc[0]), commission=fee)
    return test.run()


def backtrader(case: Case) -> Any:
    """Return what Cerebro gives for a strategy that places the recorded orders a bar before they were filled."""
    import backtrader as bt

    wanted: defaultdict[Any, list[tuple[str, float]]] = defaultdict(list)
    for one in case.raw("raw_transactions").itertuples() if case.has("raw_transactions") else ():
        wanted[one.dt].append((one.symbol, one.amount))
    days = closes().loc[case.equity.index[0] : case.equity.index[-1]].index
    after = dict(pairwise(days))

    class Cross(bt.Strategy):  # type: ignore[misc]
        params = case.facts.get("parameters", {})

        def prenext(self) -> None:
            self.next()

        def next(self) -> None:
            for code, amount in wanted[after.get(pd.Timestamp(self.datetime.datetime(0)))]:
                order = self.buy if amount > 0 else self.sell
                order(data=self.getdatabyname(code), size=abs(amount))

    cerebro = bt.Cerebro()
    prices = load_prices()
    for code in ("AAPL", "GOOG", "IBM", "MSFT") if "portfolio" in case.name else ("AAPL",):
        bars = prices[prices["stock_code"] == code].set_index("date").drop(columns="stock_code")
        bars = bars.loc[days[0] : days[-1]]
        cerebro.adddata(bt.feeds.PandasData(dataname=bars, name=code))
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(_FEE)
    cerebro.addstrategy(Cross)
    cerebro.addanalyzer(bt.analyzers.TradeAnalyzer, _name="ta")
    return cerebro.run()


def bt(case: Case) -> Any:
    """Return the Result of a strategy that transacts the recorded quantities."""
    import bt

    made = case.raw("raw_transactions") if case.has("raw_transactions") else pd.DataFrame({"Date": []})

    class Replay(bt.Algo):  # type: ignore[misc]
        def __call__(self, target: Any) -> bool:
            for one in made[made["Date"] == target.now].itertuples():
                target.transact(one.quantity, child=one.Security)
            return True

    prices = closes().loc[case.equity.index[1] : case.equity.index[-1]]  # the account begins the day before
    name = "trend" if len(made) else "never"
    strategy = bt.Strategy(name, [bt.algos.RunDaily(), Replay()])
    test = bt.Backtest(
        strategy, prices, initial_capital=CASH, commissions=_commission, integer_positions=False, progress_bar=False
    )
    return bt.run(test)


def _commission(quantity: float, price: float) -> float:
    return abs(quantity * price) * _FEE


ENGINES: Final[Mapping[str, Callable[[Case], Any]]] = {
    "vectorbt": vectorbt,
    "backtesting": backtesting,
    "backtrader": backtrader,
    "bt": bt,
}


def can_trade(case: Case) -> bool:
    """Tell whether a case can be traded anew."""
    return case.engine in ENGINES and case.name != _INTRADAY


def is_here(engine: str) -> bool:
    """Tell whether an engine is installed."""
    return find_spec(engine) is not None


def made_anew(case: Case) -> Any:
    """Return the engine's object."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the engines
        return ENGINES[case.engine](case)
