"""Record a run of nautilus_trader.

How to run it:

    pip install nautilus_trader
    python record_nautilus.py research.db
"""

import sys
from decimal import Decimal

from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.indicators import SimpleMovingAverage
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Symbol, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy

import finlab_nb as fl
from finlab_nb.demo.prices import load_prices

DATABASE = sys.argv[1] if len(sys.argv) > 1 else "research.db"
BARS = BarType.from_str("IBM.SIM-1-DAY-LAST-EXTERNAL")


class CrossConfig(StrategyConfig, frozen=True):
    fast: int = 20
    slow: int = 100
    shares: int = 100


class Cross(Strategy):
    """Long while the fast moving average is above the slow one, else short."""

    def on_start(self):
        self.fast, self.slow = SimpleMovingAverage(self.config.fast), SimpleMovingAverage(self.config.slow)
        for indicator in (self.fast, self.slow):
            self.register_indicator_for_bars(BARS, indicator)
        self.subscribe_bars(BARS)

    def on_bar(self, bar):
        wanted = self.config.shares if self.fast.value > self.slow.value else -self.config.shares
        change = wanted - int(self.portfolio.net_position(BARS.instrument_id))
        if self.slow.initialized and change:
            side = OrderSide.BUY if change > 0 else OrderSide.SELL
            order = self.order_factory.market(BARS.instrument_id, side, Quantity.from_int(abs(change)))
            self.submit_order(order)


fee = Decimal("0.001")
stock = Equity(
    instrument_id=BARS.instrument_id,
    raw_symbol=Symbol("IBM"),
    currency=USD,
    price_precision=2,
    ts_event=0,
    ts_init=0,
    price_increment=Price.from_str("0.01"),
    lot_size=Quantity.from_int(1),
    maker_fee=fee,
    taker_fee=fee,
)
prices = load_prices()
bars = prices[prices["stock_code"] == "IBM"].set_index("date").loc["2005":"2008"].tz_localize("UTC")

engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
engine.add_venue(Venue("SIM"), OmsType.NETTING, AccountType.MARGIN, [Money(100_000, USD)], base_currency=USD)
engine.add_instrument(stock)
engine.add_data(BarDataWrangler(BARS, stock).process(bars[["open", "high", "low", "close", "volume"]]))
engine.add_strategy(Cross(CrossConfig()))
engine.run()

lab = fl.Lab(DATABASE)
lab.record(engine, timezone="America/New_York")  # name, code and parameters are those of the strategy

print(
    lab.iterations()[
        ["strategy", "param.fast", "param.slow", "annualized_return", "sharpe_ratio", "total_trades"]
    ].to_string(index=False)
)
lab.close()
