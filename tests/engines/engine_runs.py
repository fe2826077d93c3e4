"""The same few orders, carried out by each engine on the packaged prices."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest

from finlab_nb.demo.prices import load_prices, wide_prices

CASH: Final = 100_000.0
FEE: Final = 0.001
# By session, from 0: bought, sold in part, reversed, closed and bought again, open at the end; and a short, open, too.
MOVES: Final[Mapping[str, Mapping[int, int]]] = {"AAPL": {20: 100, 40: -30, 60: -100, 100: 50}, "IBM": {30: -40}}
DAYS: Final = slice("2006-01-03", "2006-12-29")
MODULES: Final[Mapping[str, str]] = {"nautilus": "nautilus_trader"}


def needs(engine: str) -> pytest.MarkDecorator:
    """Return the mark that skips a test where an engine is not installed."""
    is_here = find_spec(MODULES.get(engine, engine)) is not None
    return pytest.mark.skipif(not is_here, reason=f"{engine} is not installed")


def closes(*codes: str) -> pd.DataFrame:
    """Return closing prices by date."""
    return wide_prices(load_prices(), "close").loc[DAYS, list(codes or MOVES)]


def bars(code: str) -> pd.DataFrame:
    """Return open, high, low, close and volume by date."""
    prices = load_prices()
    table: pd.DataFrame = prices[prices["stock_code"] == code].set_index("date").drop(columns="stock_code")
    return table.loc[DAYS]


def vectorbt(**options: Any) -> Any:
    import vectorbt

    prices = closes()
    size = pd.DataFrame(np.nan, prices.index, prices.columns)
    for code, moves in MOVES.items():
        size.iloc[list(moves), size.columns.get_loc(code)] = list(moves.values())
    return vectorbt.Portfolio.from_orders(prices, size, fees=FEE, init_cash=CASH, freq="1D", **options)


def backtesting() -> Any:
    from backtesting import Backtest, Strategy

    class Moves(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            pass

        def next(self) -> None:
            move = MOVES["AAPL"].get(len(self.data) - 1, 0)
            if move:
                (self.buy if move > 0 else self.sell)(size=abs(move))

    return Backtest(bars("AAPL").rename(columns=str.title), Moves, cash=CASH, commission=FEE).run()


def backtrader() -> Any:
    import backtrader

    class Moves(backtrader.Strategy):  # type: ignore[misc]
        def next(self) -> None:
            for data in self.datas:
                move = MOVES[data._name].get(len(self) - 1, 0)
                if move:
                    (self.buy if move > 0 else self.sell)(data, size=abs(move))

    cerebro = backtrader.Cerebro()
    for code in MOVES:
        cerebro.adddata(backtrader.feeds.PandasData(dataname=bars(code)), name=code)
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(FEE)
    cerebro.addstrategy(Moves)
    return cerebro.run()[0]


def bt() -> Any:
    import bt

    prices = closes()

    class Moves(bt.Algo):  # type: ignore[misc]
        def __call__(self, target: Any) -> bool:
            session = prices.index.searchsorted(target.now)
            for code, moves in MOVES.items():
                if session in moves and target.now in prices.index:
                    target.transact(moves[session], child=code)
            return True

    strategy = bt.Strategy("moves", [bt.algos.RunDaily(), Moves()])
    fee = lambda quantity, price: abs(quantity * price) * FEE  # noqa: E731 - as bt's own examples give it
    return bt.run(bt.Backtest(strategy, prices, initial_capital=CASH, commissions=fee, progress_bar=False))


@contextlib.contextmanager
def zipline_bundle(folder: Path, **adjustments: pd.DataFrame) -> Iterator[str]:
    """Yield the name of a bundle of the packaged prices, kept in a folder."""
    before = os.environ.get("ZIPLINE_ROOT")
    os.environ["ZIPLINE_ROOT"] = str(folder)
    from zipline.data import bundles

    name = f"packaged_{len(bundles.bundles)}"

    def ingest(
        environ,
        assets,
        minutes,
        daily,
        adjusted,
        calendar,
        start,
        end,
        cache,
        progress,
        output,  # type: ignore[no-untyped-def]
    ) -> None:
        sessions = calendar.sessions_in_range(DAYS.start, DAYS.stop)
        about = {
            "start_date": sessions[0],
            "end_date": sessions[-1],
            "auto_close_date": sessions[-1] + pd.Timedelta(days=1),
            "exchange": "NYSE",
        }
        rows = [{"symbol": code, "asset_name": code} | about for code in MOVES]
        venue = {"exchange": "NYSE", "canonical_name": "NYSE", "country_code": "US"}
        assets.write(equities=pd.DataFrame(rows), exchanges=pd.DataFrame([venue]))
        daily.write(
            ((sid, bars(code).reindex(sessions).ffill()) for sid, code in enumerate(MOVES)), show_progress=False
        )
        adjusted.write(**adjustments)

    start, end = pd.Timestamp(DAYS.start), pd.Timestamp(DAYS.stop)
    bundles.register(name, ingest, calendar_name="NYSE", start_session=start, end_session=end)
    bundles.ingest(name, show_progress=False)
    yield name
    os.environ.pop("ZIPLINE_ROOT")
    os.environ.update({} if before is None else {"ZIPLINE_ROOT": before})


def zipline_run(bundle: str) -> Any:
    """Return what zipline makes of the orders with a bundle."""
    from zipline import api, run_algorithm
    from zipline.finance import commission, slippage

    def initialize(context: Any) -> None:
        context.session = -1
        api.set_commission(commission.PerDollar(FEE))
        api.set_slippage(slippage.NoSlippage())

    def handle_data(context: Any, _: Any) -> None:
        context.session += 1
        for code, moves in MOVES.items():
            if context.session in moves:
                api.order(api.symbol(code), moves[context.session])

    return run_algorithm(
        start=pd.Timestamp(DAYS.start),
        end=pd.Timestamp(DAYS.stop),
        initialize=initialize,
        handle_data=handle_data,
        capital_base=CASH,
        bundle=bundle,
        benchmark_returns=pd.Series(0.0, pd.date_range("2005-12-01", "2007-01-31", tz="UTC")),
    )


def nautilus(count: int = 1, currency: str = "USD") -> Any:
    """Return an engine with some strategies that each place the orders, in an account of a currency."""
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig, StrategyConfig
    from nautilus_trader.model.currencies import Currency
    from nautilus_trader.model.data import BarType
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
    from nautilus_trader.model.instruments import Equity
    from nautilus_trader.model.objects import Money, Price, Quantity
    from nautilus_trader.persistence.wranglers import BarDataWrangler
    from nautilus_trader.trading.strategy import Strategy

    class Config(StrategyConfig, frozen=True):  # type: ignore[misc, call-arg]
        scale: int = 1

    class Moves(Strategy):  # type: ignore[misc]
        def on_start(self) -> None:
            self.sessions = dict.fromkeys(MOVES, -1)
            for code in MOVES:
                self.subscribe_bars(BarType.from_str(f"{code}.SIM-1-DAY-LAST-EXTERNAL"))

        def on_bar(self, bar: Any) -> None:
            instrument = self.cache.instrument(bar.bar_type.instrument_id)
            code = str(instrument.id.symbol)
            self.sessions[code] += 1
            move = MOVES[code].get(self.sessions[code], 0) * self.config.scale
            if move:
                side = OrderSide.BUY if move > 0 else OrderSide.SELL
                quantity = instrument.make_qty(abs(move))
                self.submit_order(self.order_factory.market(instrument.id, side, quantity))

    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    venue, money = Venue("SIM"), Money(CASH, Currency.from_str(currency))
    engine.add_venue(venue, OmsType.NETTING, AccountType.MARGIN, [money], base_currency=money.currency)
    for code in MOVES:
        equity = Equity(
            instrument_id=InstrumentId(Symbol(code), venue),
            raw_symbol=Symbol(code),
            currency=Currency.from_str("USD"),
            price_precision=4,
            price_increment=Price.from_str("0.0001"),
            lot_size=Quantity.from_int(1),
            maker_fee=Decimal(str(FEE)),
            taker_fee=Decimal(str(FEE)),
            ts_event=0,
            ts_init=0,
        )
        engine.add_instrument(equity)
        bar_type = BarType.from_str(f"{code}.SIM-1-DAY-LAST-EXTERNAL")
        engine.add_data(BarDataWrangler(bar_type, equity).process(bars(code).tz_localize("UTC")))
    for place in range(count):
        engine.add_strategy(Moves(Config(scale=place + 1, order_id_tag=f"{place:03}")))
    engine.run()
    return engine


def pybroker(**config: Any) -> Any:
    import pybroker

    pybroker.disable_logging()
    pybroker.disable_progress_bar()

    def execute(context: Any) -> None:
        move = MOVES[context.symbol].get(context.bars - 1, 0)
        if move > 0:
            context.buy_shares = move
        elif move < 0:
            context.sell_shares = -move

    table = load_prices().rename(columns={"stock_code": "symbol"})
    fees = {"fee_mode": pybroker.FeeMode.ORDER_PERCENT, "fee_amount": FEE * 100}
    settings = pybroker.StrategyConfig(initial_cash=CASH, **fees, **config)
    strategy = pybroker.Strategy(table, DAYS.start, DAYS.stop, settings)
    strategy.add_execution(execute, list(MOVES))
    return strategy.backtest()


def qlib_data(folder: Path) -> None:
    """Write the packaged prices in the form that qlib reads, and begin with it."""
    import qlib

    prices = closes()
    days = [f"{day:%Y-%m-%d}" for day in prices.index]
    for kind in ("calendars", "instruments"):
        (folder / kind).mkdir(parents=True)
    (folder / "calendars/day.txt").write_text("\n".join(days))
    (folder / "instruments/all.txt").write_text("\n".join(f"{code}\t{days[0]}\t{days[-1]}" for code in prices))
    for code, close in prices.items():
        fields = {
            "close": close,
            "change": close.pct_change().fillna(0),
            "factor": close * 0 + 1,
            "volume": close * 0 + 1e9,
        }
        (folder / "features" / code.lower()).mkdir(parents=True)
        for field, values in fields.items():
            np.hstack([[0], values]).astype("<f").tofile(folder / "features" / code.lower() / f"{field}.day.bin")
    qlib.init(provider_uri=str(folder), region="us", kernels=1)


def qlib(folder: Path) -> Any:
    """Return what qlib makes of the orders; it takes no short positions, so that sales are of what is held."""
    qlib_data(folder)
    from qlib.backtest import backtest
    from qlib.backtest.decision import Order, TradeDecisionWO
    from qlib.strategy.base import BaseStrategy

    class Moves(BaseStrategy):  # type: ignore[misc]
        def generate_trade_decision(self, execute_result: Any = None) -> Any:
            step = self.trade_calendar.get_trade_step()
            moves = {code: of_code[step] for code, of_code in MOVES.items() if step in of_code}
            between = self.trade_calendar.get_step_time(step)
            return TradeDecisionWO(
                [Order(code, abs(move), int(move > 0), *between) for code, move in moves.items()], self
            )

    daily = {"time_per_step": "day", "generate_portfolio_metrics": True}
    executor = {"class": "SimulatorExecutor", "module_path": "qlib.backtest.executor", "kwargs": daily}
    exchange = {"freq": "day", "codes": list(MOVES), "deal_price": "close", "open_cost": FEE, "close_cost": FEE}
    exchange |= {"min_cost": 0, "limit_threshold": None}
    return backtest(
        DAYS.start, "2006-12-28", Moves(), executor, benchmark="AAPL", account=CASH, exchange_kwargs=exchange
    )


RUNS: Final[Mapping[str, Callable[[Path], Any]]] = {
    "vectorbt": lambda _: vectorbt(group_by=True, cash_sharing=True),
    "backtesting": lambda _: backtesting(),
    "backtrader": lambda _: backtrader(),
    "bt": lambda _: bt(),
    "zipline": lambda folder: _zipline(folder),
    "nautilus": lambda _: nautilus(),
    "pybroker": lambda _: pybroker(),
    "qlib": qlib,
}


def _zipline(folder: Path) -> Any:
    with zipline_bundle(folder) as bundle:
        return zipline_run(bundle)
