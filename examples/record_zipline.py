"""Record a run of zipline-reloaded, on a bundle of the packaged prices that is made in a temporary folder.

How to run it:

    pip install zipline-reloaded
    python record_zipline.py research.db
"""

import os
import sys
import tempfile

import pandas as pd
from zipline import api, run_algorithm
from zipline.data import bundles

import finlab_nb as fl
from finlab_nb.demo.prices import load_prices

DATABASE = sys.argv[1] if len(sys.argv) > 1 else "research.db"
START, END = pd.Timestamp("2005-01-03"), pd.Timestamp("2008-12-31")


def ingest(environ, assets, minutes, daily, adjustments, calendar, *_):
    sessions = calendar.sessions_in_range(START, END)
    bars = {
        code: table.set_index("date").reindex(sessions).ffill() for code, table in load_prices().groupby("stock_code")
    }
    about = {"start_date": START, "end_date": END, "auto_close_date": END + pd.Timedelta(days=1), "exchange": "NYSE"}
    assets.write(
        equities=pd.DataFrame([{"symbol": code, "asset_name": code} | about for code in bars]),
        exchanges=pd.DataFrame([{"exchange": "NYSE", "canonical_name": "NYSE", "country_code": "US"}]),
    )
    daily.write(
        ((sid, table.drop(columns="stock_code")) for sid, table in enumerate(bars.values())), show_progress=False
    )
    adjustments.write()


def initialize(context):
    """Hold the half of the stocks that rose most in 120 sessions, anew each month."""
    context.stocks = [api.symbol(code) for code in ("AAPL", "GOOG", "IBM", "MSFT")]
    api.schedule_function(rebalance, api.date_rules.month_start())


def rebalance(context, data):
    close = data.history(context.stocks, "close", 120, "1d")
    best = (close.iloc[-1] / close.iloc[0]).nlargest(2).index
    for stock in context.stocks:
        api.order_target_percent(stock, 0.45 if stock in best else 0)


with tempfile.TemporaryDirectory() as folder, fl.Lab(DATABASE) as lab:
    os.environ["ZIPLINE_ROOT"] = folder
    bundles.register("packaged", ingest, calendar_name="NYSE", start_session=START, end_session=END)
    bundles.ingest("packaged", show_progress=False)
    begin = pd.Timestamp("2005-09-01")
    quiet = pd.Series(0.0, pd.date_range(START, END, tz="UTC"))  # a benchmark, which zipline asks for
    perf = run_algorithm(begin, END, initialize, 100_000, bundle="packaged", benchmark_returns=quiet)

    lab.record(perf, "momentum", code=rebalance, parameters={"sessions": 120, "stocks": 2})
    print(
        lab.iterations()[["strategy", "annualized_return", "sharpe_ratio", "max_drawdown", "total_trades"]].to_string(
            index=False
        )
    )
