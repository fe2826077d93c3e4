"""What the adapters make of engines that are installed: the same few orders, and what is special about each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pandas as pd
import pytest

import finlab_nb as fl
from engine_runs import (
    CASH,
    FEE,
    MOVES,
    RUNS,
    bars,
    closes,
    nautilus,
    needs,
    pybroker,
    vectorbt,
    zipline_bundle,
    zipline_run,
)
from finlab_nb.engines.adapters import backtrader as adapter_of_backtrader
from finlab_nb.engines.fills import paired

# Of the engines and of the packages they use.
pytestmark = pytest.mark.filterwarnings("ignore")

SLOW: Final = {"vectorbt": [pytest.mark.slow]}  # it compiles first
WITHOUT_SHORTS: Final = {"qlib"}
ONE_STOCK: Final = {"backtesting"}
ROUNDED: Final = {"nautilus": 0.005, "pybroker": 0.02}  # to cents, each fill


@pytest.mark.parametrize(
    "engine", [pytest.param(engine, marks=[needs(engine), *SLOW.get(engine, ())]) for engine in RUNS]
)
def test_the_same_orders_are_the_same_trades_in_every_engine(lab: fl.Lab, tmp_path: Path, engine: str) -> None:
    ticker, prices = ("AAPL" if engine in ONE_STOCK else None), (closes() if engine == "pybroker" else None)
    shown = lab.preview(RUNS[engine](tmp_path), "moves", ticker=ticker, prices=prices)
    assert isinstance(shown, fl.engines.Preview)
    trades = shown.trades.assign(stock_code=shown.trades["stock_code"].str.removesuffix(".SIM"))  # nautilus's venue
    sizes = {"AAPL": [-30, 20, 30, 70], "IBM": [-40]}
    if engine in WITHOUT_SHORTS:  # of the sale of 100 it carries out the 70 that are there
        sizes = {"AAPL": [30, 50, 70]}
    if engine in ONE_STOCK:
        del sizes["IBM"]
    assert {code: sorted(of_code["position_size"]) for code, of_code in trades.groupby("stock_code")} == sizes
    assert trades["exit_date"].isna().sum() == len(sizes)
    # An order of a session is carried out at its close, or in the next one.
    days = closes().index
    for code, moves in MOVES.items():
        first = trades.loc[trades["stock_code"] == code, "entry_date"].min()
        assert code not in sizes or first.normalize() in days[[min(moves), min(moves) + 1]]
    change = shown.equity.iloc[-1] - CASH
    assert trades["profit_loss"].sum() == pytest.approx(change, abs=8 * ROUNDED.get(engine, 1e-4))
    moved = (trades["exit_price"] - trades["entry_price"]) * trades["position_size"]
    assert (moved - trades["fees"]).tolist() == pytest.approx(trades["profit_loss"].tolist(), abs=0.02)
    paid = trades["entry_price"] + trades["exit_price"].where(trades["exit_date"].notna(), 0.0)
    assert trades["fees"].sum() == pytest.approx(FEE * (paid * trades["position_size"].abs()).sum(), rel=0.02)
    assert str(shown.equity.index[-1].date()) in ("2006-12-28", "2006-12-29")
    assert not [remark for remark in shown.remarks if "check.pnl_gap" in remark]


def test_trades_that_are_all_open_keep_the_zone_of_their_dates() -> None:
    fills = pd.DataFrame({"stock_code": "AAPL", "date": [pd.Timestamp("2024-01-02", tz="UTC")]})
    trades = paired(fills.assign(size=1.0, price=100.0, fee=0.1))
    assert trades["exit_date"].dtype == trades["entry_date"].dtype == fills["date"].dtype


# --- vectorbt ---


@needs("vectorbt")
@pytest.mark.slow
def test_columns_of_vectorbt_are_several_results_and_a_group_is_one(lab: fl.Lab) -> None:
    shown = lab.preview(vectorbt(), "moves")
    assert isinstance(shown, list)
    assert [set(one.trades["stock_code"]) for one in shown] == [{"AAPL"}, {"IBM"}]
    group = lab.preview(vectorbt(group_by=True, cash_sharing=True), "moves")
    assert group.trades["profit_loss"].sum() == pytest.approx(sum(one.equity.iloc[-1] - CASH for one in shown))
    parts = lab.preview(vectorbt(group_by=True, cash_sharing=True, trades_type="positions"), "moves")
    pd.testing.assert_frame_equal(parts.trades, group.trades)


@needs("vectorbt")
@pytest.mark.slow
def test_a_grid_of_parameters_and_stocks_is_stored_by_column_in_one_transaction(lab: fl.Lab) -> None:
    import vectorbt as vbt

    prices = closes("AAPL", "IBM")
    fast, slow = vbt.MA.run_combs(prices, window=[5, 10, 20, 40], r=2, short_names=["fast", "slow"])
    entries, exits = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
    grid = vbt.Portfolio.from_signals(prices, entries, exits, fees=FEE, init_cash=CASH, freq="1D")
    before = _transactions(lab)
    ids = lab.record(grid, "cross", tags="grid")
    assert _transactions(lab) == before + 1
    columns = grid.wrapper.columns
    assert len(ids) == len(columns) == 12
    values, readable = grid.value(), grid.exit_trades.records_readable
    for iteration, (quick, calm, code) in zip(ids, columns, strict=True):
        stored = lab.store.load_iteration(iteration)
        assert stored["parameters"] == {"fast_window": quick, "slow_window": calm}
        assert stored["tags"] == ["grid", code]
        assert {trade["stock_code"] for trade in stored["trades"]} == {code}
        assert [point["equity"] for point in stored["equity"]] == values[quick, calm, code].tolist()
        own = readable[readable["Column"] == (quick, calm, code)]
        assert [trade["profit_loss"] for trade in stored["trades"]] == own["PnL"].tolist()
    assert lab.record(grid, "cross", tags="grid") == ids


def _transactions(lab: fl.Lab) -> int:
    with lab.store.pool.read() as connection:
        return int(connection.execute("SELECT change_counter FROM store_state").fetchone()[0])


# --- backtesting.py ---


def _stats(moves: dict[int, float], **options: Any) -> Any:
    from backtesting import Backtest, Strategy

    class Moves(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            pass

        def next(self) -> None:
            move = moves.get(len(self.data), 0)
            if move:
                (self.buy if move > 0 else self.sell)(size=abs(move))

    return Backtest(bars("AAPL").rename(columns=str.title), Moves, cash=CASH, **options).run()


@needs("backtesting")
def test_a_part_that_is_still_open_explains_the_fixed_fee_that_backtesting_books_twice(lab: fl.Lab) -> None:
    shown = lab.preview(_stats({20: 100, 40: -30}, commission=(20.0, FEE)), ticker="AAPL")
    assert "gap -20.00" in shown.summary
    assert "backtesting.py books a fixed fee once more" in shown.summary
    assert not [remark for remark in shown.remarks if "check.pnl_gap" in remark]


@needs("backtesting")
@pytest.mark.parametrize(
    "options",
    [
        {"hedging": True},
        {"exclusive_orders": True},
        {"trade_on_close": True},
        {"margin": 0.1},
        {"spread": 0.01},
        {"finalize_trades": True},
        {"commission": lambda size, price: abs(size) * 0.05},
    ],
    ids=lambda options: next(iter(options)),
)
def test_every_way_of_backtesting_explains_its_account(lab: fl.Lab, options: dict[str, Any]) -> None:
    shown = lab.preview(_stats({20: 100, 60: -50, 100: -200, 150: 120}, **options), ticker="AAPL")
    assert "= change of equity" in shown.summary
    assert shown.trades["exit_date"].isna().any() == ("finalize_trades" not in options)


@needs("backtesting")
def test_figures_of_several_stocks_are_refused_with_what_to_give_instead(lab: fl.Lab) -> None:
    figures = _stats({}).filter(regex="^[^_]")
    with pytest.raises(ValueError, match=r"MultiBacktest keeps figures.*Backtest\(data, strategy\)\.run\(\)"):
        lab.preview(pd.DataFrame([figures, figures]).transpose())  # as MultiBacktest makes it of each run


# --- bt ---


@needs("bt")
def test_fees_of_nested_strategies_of_bt_are_those_of_all(lab: fl.Lab) -> None:
    import bt

    def monthly(name: str, children: list[Any]) -> Any:
        algos = [bt.algos.RunMonthly(), bt.algos.SelectAll(), bt.algos.WeighEqually(), bt.algos.Rebalance()]
        return bt.Strategy(name, algos, children)

    parent = monthly("parent", [monthly("one", ["AAPL"]), monthly("other", ["IBM"])])
    fee = lambda quantity, price: abs(quantity * price) * FEE  # noqa: E731 - as bt's own examples give it
    shown = lab.preview(bt.run(bt.Backtest(parent, closes(), commissions=fee, progress_bar=False)))
    assert shown.strategy == "parent"
    assert shown.metrics["fees"] > 100
    assert "= change of equity" in shown.summary


@needs("bt")
def test_money_that_is_paid_into_bt_is_no_gain(lab: fl.Lab) -> None:
    import bt

    algos = [bt.algos.RunMonthly(), bt.algos.CapitalFlow(50_000), lambda _: True]
    shown = lab.preview(bt.run(bt.Backtest(bt.Strategy("saver", algos), closes(), progress_bar=False)))
    assert shown.metrics["total_return"] == 0
    assert shown.summary.startswith("0 trades, change of equity 0.00 (money was paid in or out")


# --- backtrader ---


def _cerebro(*codes: str, **feed: Any) -> Any:
    import backtrader

    cerebro = backtrader.Cerebro()
    for code in codes:
        table = bars(code)
        zone = feed.get("zone")
        table = table if zone is None else table.tz_localize(zone)
        cerebro.adddata(backtrader.feeds.PandasData(dataname=table), name=code)
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(FEE)
    return cerebro


def _mover() -> type[Any]:
    import backtrader

    class Moves(backtrader.Strategy):  # type: ignore[misc]
        params = {"scale": 1}  # noqa: RUF012 - as backtrader has it

        def next(self) -> None:
            for data in self.datas:
                move = MOVES.get(data._name, MOVES["AAPL"]).get(len(self) - 1, 0) * self.p.scale
                if move and data is not getattr(self, "weekly", None):
                    (self.buy if move > 0 else self.sell)(data, size=abs(move))

    return Moves


@needs("backtrader")
def test_runs_of_an_optimisation_that_share_a_broker_are_refused_without_the_recorder(lab: fl.Lab) -> None:
    def runs(*analyzers: Any) -> Any:
        cerebro = _cerebro("AAPL")
        for analyzer in analyzers:
            cerebro.addanalyzer(analyzer)
        cerebro.optstrategy(_mover(), scale=[1, 2])
        return cerebro.run(maxcpus=1, optreturn=False)

    with pytest.raises(ValueError, match=r"cerebro\.addanalyzer\(Recorder\)"):
        lab.preview(runs())
    shown = lab.preview(runs(adapter_of_backtrader.Recorder))
    assert [one.parameters for one in shown] == [{"scale": 1}, {"scale": 2}]
    assert [one.trades["position_size"].max() for one in shown] == [70, 140]
    assert all("= change of equity" in one.summary for one in shown)


@needs("backtrader")
def test_strategies_that_share_an_account_have_the_trades_of_each(lab: fl.Lab) -> None:
    cerebro = _cerebro("AAPL")
    for scale in (1, 2):
        cerebro.addstrategy(_mover(), scale=scale)
    one, other = lab.preview(cerebro.run())
    assert other.trades["profit_loss"].sum() == pytest.approx(2 * one.trades["profit_loss"].sum())
    assert "shared by several strategies" in one.summary
    both = pd.concat([one.trades, other.trades])["profit_loss"].sum()
    assert both == pytest.approx(one.equity.iloc[-1] - CASH)


@needs("backtrader")
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Taipei"])
@pytest.mark.parametrize("is_noted", [True, False])
def test_days_of_a_feed_with_a_zone_are_the_days_without_one(lab: fl.Lab, zone: str, is_noted: bool) -> None:
    shown = []
    for given in (None, zone):
        cerebro = _cerebro("AAPL", zone=given)
        cerebro.addstrategy(_mover())
        if is_noted:
            cerebro.addanalyzer(adapter_of_backtrader.Recorder)
        shown.append(lab.preview(cerebro.run()))
    naive, aware = (one[0] if isinstance(one, list) else one for one in shown)
    pd.testing.assert_frame_equal(aware.trades, naive.trades)
    pd.testing.assert_series_equal(aware.equity, naive.equity)


@needs("backtrader")
def test_a_feed_of_a_file_has_its_name_and_its_days(lab: fl.Lab, tmp_path: Path) -> None:
    import backtrader

    file = tmp_path / "AAPL.csv"
    bars("AAPL").to_csv(file, date_format="%Y-%m-%d")
    cerebro = _cerebro()
    cerebro.adddata(backtrader.feeds.GenericCSVData(dataname=str(file), dtformat="%Y-%m-%d", openinterest=-1))
    cerebro.addstrategy(_mover())
    results = cerebro.run()
    shown = lab.preview(results[0])
    assert set(shown.trades["stock_code"]) == {"AAPL"}
    assert set(lab.preview(results[0], ticker="2330").trades["stock_code"]) == {"2330"}
    days = bars("AAPL").index
    assert shown.trades["entry_date"].isin(days).all()
    assert shown.equity.index.isin(days).all()


@needs("backtrader")
def test_the_account_of_a_fund_is_in_currency(lab: fl.Lab) -> None:
    cerebro = _cerebro("AAPL")
    cerebro.broker.set_fundmode(True)
    cerebro.addstrategy(_mover())
    assert "= change of equity" in lab.preview(cerebro.run()[0]).summary


@needs("backtrader")
def test_feeds_of_two_time_frames_have_one_point_a_day(lab: fl.Lab) -> None:
    import backtrader

    cerebro = _cerebro("AAPL")
    cerebro.resampledata(cerebro.datas[0], name="weekly", timeframe=backtrader.TimeFrame.Weeks)
    kind = _mover()
    kind.weekly = property(lambda self: self.datas[1])
    cerebro.addstrategy(kind)
    shown = lab.preview(cerebro.run()[0])
    assert shown.equity.index.is_unique
    assert "= change of equity" in shown.summary


@needs("backtrader")
@pytest.mark.parametrize("options", [{"stdstats": False}, {"exactbars": 1}])
def test_an_account_that_nobody_observed_is_told_and_made_of_prices(lab: fl.Lab, options: dict[str, Any]) -> None:
    cerebro = _cerebro("AAPL")
    cerebro.addstrategy(_mover())
    strategy = cerebro.run(**options)[0]
    assert any("the account was not observed" in remark for remark in lab.preview(strategy).remarks)
    assert "= change of equity" in lab.preview(strategy, prices=closes("AAPL")).summary


# --- zipline ---


@needs("zipline")
def test_splits_and_dividends_of_zipline_are_understood(lab: fl.Lab, tmp_path: Path) -> None:
    days = {
        "declared_date": "2006-01-10",
        "ex_date": "2006-02-10",
        "record_date": "2006-02-14",
        "pay_date": "2006-02-21",
    }
    dividend = pd.DataFrame([{"sid": 0, "amount": 0.5} | {name: pd.Timestamp(day) for name, day in days.items()}])
    split = pd.DataFrame([{"sid": 0, "ratio": 0.5, "effective_date": pd.Timestamp("2006-03-01")}])
    with zipline_bundle(tmp_path, splits=split, dividends=dividend) as bundle:
        shown = lab.preview(zipline_run(bundle), "moves")
    assert sorted(shown.trades.loc[shown.trades["stock_code"] == "AAPL", "position_size"]) == [30, 50, 70, 100]
    assert shown.metrics["check.pnl_gap"] == pytest.approx(-50.0)  # of the hundred shares that were held
    assert "such as dividends" in shown.summary


# --- nautilus_trader ---


@needs("nautilus")
def test_strategies_of_nautilus_have_the_trades_and_the_parameters_of_each(lab: fl.Lab) -> None:
    one, other = lab.preview(nautilus(count=2))
    assert [shown.parameters for shown in (one, other)] == [{"scale": 1}, {"scale": 2}]
    assert sorted(other.trades["position_size"]) == [2 * size for size in sorted(one.trades["position_size"])]
    both = pd.concat([one.trades, other.trades])["profit_loss"].sum()
    assert both == pytest.approx(one.equity.iloc[-1] - CASH, abs=0.1)
    assert "class Moves(Strategy)" in one.code


@needs("nautilus")
def test_profits_in_another_currency_than_the_accounts_are_unknown(lab: fl.Lab) -> None:
    shown = lab.preview(nautilus(currency="EUR"))
    assert shown.trades["profit_loss"].isna().all()
    assert shown.equity.empty
    assert any("settles in another currency" in remark for remark in shown.remarks)


@needs("nautilus")
def test_figures_of_nautilus_are_refused_with_what_to_give_instead(lab: fl.Lab) -> None:
    with pytest.raises(ValueError, match="give the BacktestEngine"):
        lab.preview(nautilus().get_result())


# --- pybroker ---


@needs("pybroker")
def test_what_pybroker_closes_on_the_last_bar_is_told(lab: fl.Lab) -> None:
    shown = lab.preview(pybroker(exit_on_last_bar=True), "moves")
    assert not shown.trades["exit_date"].isna().any()
    assert "exit_on_last_bar" in shown.summary
    assert not [remark for remark in shown.remarks if "check.pnl_gap" in remark]
