"""Doubts: none about honest results, one about each mistake; numbers and words are worked out by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import finlab_nb as fl
from finlab_nb.demo.prices import load_prices, wide_prices
from finlab_nb.records import TRADE_FIELDS
from finlab_nb.records.metrics import KNOWN_METRICS, METRICS
from finlab_nb.records.plausibility import _FRACTIONS, KINDS, Doubt, doubts

Trade = tuple[Any, ...]


def found(
    metrics: Mapping[str, float | None] | None = None,
    extra: Mapping[str, float | None] | None = None,
    trades: Sequence[Trade] = (),
    equity: Sequence[float] = (),
    **computed: float | None,
) -> list[Doubt]:
    """Return the doubts, with a day for each value of the curve; no warning of numpy may leave the function."""
    days = np.datetime64("2024-01-02") + np.arange(len(equity))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dates, values = list(map(str, days)), np.array(equity, dtype=float)
        return doubts(metrics or {}, extra or {}, by_column(trades), dates, values, computed)


def by_column(trades: Sequence[Trade]) -> dict[str, Sequence[Any]]:
    return dict(zip(TRADE_FIELDS, zip(*trades, strict=True), strict=True)) if trades else {}


def trade(
    entry: float = 100.0,
    leave: float | None = 110.0,
    size: float = 10.0,
    profit: float | None = 100.0,
    code: str = "2330",
    exit_date: str | None = "2024-01-03",
) -> Trade:
    row = {
        "stock_code": code,
        "entry_date": "2024-01-02",
        "exit_date": exit_date,
        "entry_price": entry,
        "exit_price": leave,
        "position_size": size,
        "profit_loss": profit,
    }
    return tuple(row.get(name) for name in TRADE_FIELDS)


def kinds(some: Sequence[Doubt]) -> list[str]:
    return [doubt.kind for doubt in some]


def test_a_doubt_reads_as_one_sentence() -> None:
    [doubt] = found({"max_drawdown": -33.08})
    assert doubt.message == (
        "metrics.max_drawdown is -33.08: as a fraction that is -3,308%; it looks like percent, divide by 100 "
        "(-33.08% is -0.3308)"
    )
    assert issubclass(fl.ImplausibleDataWarning, UserWarning)


def test_nothing_given_gives_no_doubt() -> None:
    assert found() == []


def test_each_kind_is_found_once_and_counted() -> None:
    some = found(
        {"max_drawdown": -12.5, "annualized_return": 15.3},
        trades=[trade(profit=-100.0, code="(10, 50)"), trade(profit=-100.0, code="(10, 50)")],
        equity=[0.01, -0.02, 0.005, 0.01, -0.001],
    )
    assert kinds(some) == list(KINDS[:4])
    assert [doubt.field for doubt in some] == [
        "metrics.max_drawdown",
        "equity[0].equity",
        "trades[0].position_size",
        "trades[0].stock_code",
    ]
    assert [doubt.reason.rsplit("(", 1)[1] for doubt in some] == ["and 1 more)", "and 4 more)", *["and 1 more)"] * 2]


# --- percent ---


def test_only_fractions_are_judged() -> None:
    assert set(_FRACTIONS) <= {name for name, metric in KNOWN_METRICS.items() if metric.unit.startswith("fraction")}


@pytest.mark.parametrize(
    "metrics",
    [
        {"max_drawdown": -1.2},
        {"max_drawdown": -100.0},
        {"max_drawdown": -33},
        {"annualized_return": 15.3},
        {"annualized_return": -8.2},
    ],
)
def test_percent_in_the_standard_set_is_doubted(metrics: dict[str, float]) -> None:
    assert kinds(found(metrics)) == ["percent"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("volatility", 18.5),
        ("cagr", 22.1),
        ("exposure", 51.6),
        ("total_return", -12.0),
        ("value_at_risk", -2.4),
        ("expected_shortfall", 3.1),
        ("average_drawdown", -4.2),
        ("alpha", 12.0),
    ],
)
def test_percent_in_extra_metrics_is_doubted(name: str, value: float) -> None:
    [doubt] = found(extra={name: value})
    assert (doubt.kind, doubt.field, doubt.value) == ("percent", f"extra_metrics.{name}", value)


@pytest.mark.parametrize(
    "metrics",
    [
        {"max_drawdown": -1.0, "annualized_return": -1.0},
        {"max_drawdown": 0.0, "annualized_return": 7.5},
        {"max_drawdown": None, "annualized_return": None},
        {"sharpe_ratio": 33.0, "total_trades": 5000, "win_rate": 1.0},
    ],
)
def test_what_a_fraction_can_be_is_not_doubted(metrics: dict[str, float | None]) -> None:
    assert found(metrics) == []


def test_large_honest_extra_metrics_are_not_doubted() -> None:
    honest = {
        "total_return": 250.0,  # decades
        "volatility": 2.4,  # crypto
        "turnover": 800.0,
        "exposure": 10.0,  # leverage
        "profit_factor": float("inf"),
        "volatility_target": 15.0,
        "Max. Drawdown [%]": -33.08,
        "engine.max_drawdown": -98.0,
        "max_drawdown": -98.0,  # an engine's own, beside the standard set
        "cagr": float("inf"),
        "value_at_risk": None,
    }
    assert found(extra=honest) == []


def test_a_hundred_times_what_the_equity_gives_is_percent() -> None:
    curve = [100.0, 101.0, 100.8, 104.0]
    [doubt] = found({"max_drawdown": -0.198}, equity=curve, max_drawdown=-0.00198)
    assert doubt.field == "metrics.max_drawdown"
    assert "-0.00198" in doubt.reason
    assert kinds(found(extra={"total_return": 4.0}, equity=curve)) == ["percent"]
    assert kinds(found(extra={"cagr": 8.2}, equity=curve, annualized_return=0.0815)) == ["percent"]


def test_what_the_equity_confirms_is_not_doubted() -> None:
    assert found({"annualized_return": 25.0}, equity=[100.0, 101.0], annualized_return=26.1) == []
    assert found({"max_drawdown": -1.5}, equity=[100.0, 101.0], max_drawdown=-1.5) == []
    # Definitions differ: by calendar days or by observations, with or without the last day.
    assert found({"annualized_return": 0.12}, equity=[100.0, 101.0], annualized_return=0.08) == []
    assert found({"annualized_return": 0.0}, equity=[100.0, 100.0], annualized_return=0.0) == []


def test_money_for_a_fraction_is_called_money() -> None:
    [doubt] = found({"max_drawdown": -2500.0})
    assert "money" in doubt.reason


# --- returns ---

WALK = np.random.default_rng(5).normal(0.0005, 0.01, 250)


@pytest.mark.parametrize(
    ("values", "remedy"),
    [
        ([0.01, -0.02, 0.005, 0.01, -0.001], "(1 + returns).cumprod() * initial_capital"),
        ([0.0, 0.0, 0.01, 0.0, 0.0, -0.02, 0.0, 0.0, 0.0], "(1 + returns).cumprod() * initial_capital"),
        ([0.01, -0.02], "(1 + returns).cumprod() * initial_capital"),
        ([0.01, 0.012, 0.011, -0.02], "(1 + returns).cumprod() * initial_capital"),
        (WALK.tolist(), "(1 + returns).cumprod() * initial_capital"),
        (np.abs(WALK).tolist(), "(1 + returns).cumprod() * initial_capital"),
        ((WALK * 100).tolist(), "(1 + returns / 100).cumprod() * initial_capital"),
        ((WALK * 1e5).tolist(), "initial_capital + profits.cumsum()"),
        ((np.abs(WALK) * 1e5).tolist(), "initial_capital + profits.cumsum()"),
        (np.cumsum(WALK).tolist(), "(1 + returns) * initial_capital"),
        ([0.0, *np.cumsum(WALK)], "(1 + returns) * initial_capital"),
        ([0.0, *np.cumsum(WALK * 1e5)], "initial_capital + profit;"),
        (np.linspace(0, 0.5, 50).tolist(), "(1 + returns) * initial_capital"),
    ],
)
def test_returns_and_profits_for_equity_are_doubted(values: list[float], remedy: str) -> None:
    [doubt] = found(equity=values)
    assert (doubt.kind, doubt.field, doubt.value) == ("returns", "equity[0].equity", values[0])
    assert remedy in doubt.reason


@pytest.mark.parametrize("values", [[0.0], [-5.0], [0.0, 100.0], [0.0, 0.0, 0.0, 1000.0, 1010.0, 1020.0]])
def test_a_curve_that_starts_at_nothing_is_doubted(values: list[float]) -> None:
    assert kinds(found(equity=values)) == ["returns"]


def test_a_lost_account_is_told_from_returns() -> None:
    [doubt] = found(equity=[1000.0, 1010.0, 990.0, 950.0, -120.0, -80.0, -90.0])
    assert (doubt.kind, doubt.field, doubt.value) == ("returns", "equity[4].equity", -120.0)
    assert "account is lost" in doubt.reason
    assert doubt.reason.endswith("(and 2 more)")
    [doubt] = found(equity=[1.0, 0.9, 0.7, 0.5, 0.2, 0.0])
    assert doubt.field == "equity[5].equity"


@pytest.mark.parametrize(
    "values",
    [
        [0.3, 0.31, 0.29, 0.3, 0.28, 0.31, 0.3, 0.32, 0.33],  # bitcoin
        [1.0, 1.01, 0.99, 1.02, 1.03, 1.01, 1.0, 1.04, 1.05],
        [100.0, 101.0],
        [0.02],
        [0.02, 0.01],
        [1e6] * 20,
        [100.0, 100.0, 5100.0, 5120.0, 5090.0, 5150.0, 5140.0, 5130.0, 5160.0],  # money paid in
        [1000.0, 600.0, 300.0, 100.0, 30.0, 10.0, 2.0, 0.5, 0.1, 0.02],  # nearly lost
        (1e3 * np.exp(np.cumsum(WALK * 8))).tolist(),
    ],
)
def test_accounts_are_not_doubted(values: list[float]) -> None:
    assert found(equity=values) == []


# --- sizes without a sign ---


def test_an_unsigned_short_is_doubted_by_its_costs() -> None:
    rows = [
        trade(16542.55, 16569.81, 0.572, -34.53, "BTC-USDT"),  # a short; as a long it would have cost 0.265% a side
        trade(16682.79, 16754.61, 0.561, 21.53, "BTC-USDT"),  # cost 0.1%
    ]
    [doubt] = found(trades=rows)
    assert doubt.message == (
        "trades[0].position_size is 0.572: the price rose from 16542.55 to 16569.81 and the trade lost 34.53, as the "
        "opposite position would; a short needs a negative size, here -0.572"
    )


@pytest.mark.parametrize(("leave", "profit"), [(110.0, -100.0), (90.0, 100.0), (110.0, -106.3), (90.0, 94.5)])
@pytest.mark.parametrize("others", [0, 1, 30])
def test_one_clear_contradiction_is_doubted(leave: float, profit: float, others: int) -> None:
    honest = [trade(100.0, 100.0 + step, 10.0, 10.0 * step - 2.0) for step in range(1, others + 1)]
    [doubt] = found(trades=[*honest, trade(100.0, leave, 10.0, profit)])
    assert (doubt.field, doubt.value) == (f"trades[{others}].position_size", 10.0)
    assert "a short needs a negative size" in doubt.reason


def test_a_long_with_a_negative_size_is_doubted() -> None:
    [doubt] = found(trades=[trade(100.0, 110.0, -10.0, 98.0)])
    assert "a long needs a positive size" in doubt.reason


@pytest.mark.parametrize(
    "rows",
    [
        [trade(100.0, 100.1, 10.0, -5.0)],  # a small gain, eaten by costs of 0.3% a side
        [trade(100.0, 100.0, 10.0, -5.0)],
        [trade(100.0, 110.0, 10.0, 0.0)],
        [trade(100.0, 110.0, 10.0, None)],
        [trade(100.0, 110.0, 10.0, -100.0, exit_date=None)],
        [trade(100.0, None, 10.0, -100.0, exit_date=None)],
        [trade(100.0, 110.0, 0.0, -100.0)],
        [trade(0.0, 0.0, 10.0, -100.0)],
        [trade(1e308, -1e308, 1e308, -1e308)],
        [trade(10.0, 10.5, 1.0, -1.5)],  # a commission of 1 on each side of one share
        [trade(4000.0, 4010.0, 1.0, 496.0, "ES")],
        [trade(100.0, 95.0, 10.0, 150.0)],  # dividends
    ],
    ids=lambda rows: str(rows[0][3:]),
)
def test_what_costs_and_income_explain_is_not_doubted(rows: list[Trade]) -> None:
    assert found(trades=rows) == []


def test_fixed_fees_on_small_lots_are_not_doubted() -> None:
    rows = [trade(50.0, 50.0 + step, size, size * step - 40.0) for step in (-2, 1, 3) for size in (1000.0, 200.0, 5.0)]
    assert any(row[4] > row[3] and row[6] < 0 for row in rows)
    assert found(trades=rows) == []


def test_dividends_in_many_trades_are_not_doubted() -> None:
    rng = np.random.default_rng(3)
    entry, change, dividend = rng.uniform(20, 80, 300), rng.normal(0, 0.02, 300), rng.uniform(0, 0.05, 300)
    rows = [
        trade(one, one * (1 + moved), 100.0, 100 * one * (moved + paid - 0.002))
        for one, moved, paid in zip(entry.tolist(), change.tolist(), dividend.tolist(), strict=True)
    ]
    assert found(trades=rows) == []


def real_book(size: Callable[[int], float], cost: Callable[[float, float, float], float]) -> list[Trade]:
    """Trade each share of the demo's prices in turn, a month at a time, long and short."""
    prices = wide_prices(load_prices(), "close").dropna().iloc[::21]
    rows = []
    for place, code in enumerate(prices.columns):
        closes = prices[code].tolist()
        for month, (entry, leave) in enumerate(pairwise(closes)):
            signed = size(month) * (1 if (month + place) % 3 else -1)
            rows.append(trade(entry, leave, signed, signed * (leave - entry) - cost(entry, leave, signed), code))
    return rows


COSTS: dict[str, Callable[[float, float, float], float]] = {
    "none": lambda entry, leave, size: 0.0,
    "0.1% a side": lambda entry, leave, size: 0.001 * (entry + leave) * abs(size),
    "rebate": lambda entry, leave, size: -0.0001 * (entry + leave) * abs(size),
    "Taiwan": lambda entry, leave, size: (
        abs(size) * (0.001425 * (entry + leave) + 0.003 * (leave if size > 0 else entry))
    ),
    "at least 20": lambda entry, leave, size: max(0.001 * (entry + leave) * abs(size), 40.0),
    "by share": lambda entry, leave, size: 0.01 * abs(size),
}


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS.keys())
def test_real_prices_give_a_doubt_only_without_signs(cost: Callable[[float, float, float], float]) -> None:
    rows = real_book(lambda month: 1000.0 + 37 * month, cost)
    assert found(trades=rows) == []
    [doubt] = found(trades=[trade(row[3], row[4], abs(row[5]), row[6], row[0]) for row in rows])
    assert doubt.kind == "unsigned_size"
    shorts = sum(row[5] < 0 for row in rows)
    counted = 1 + int(doubt.reason.rsplit("(and ", 1)[1].split()[0])
    assert 0.75 * shorts <= counted <= shorts


@pytest.mark.slow
def test_the_demo_gives_no_doubt(demo_lab: fl.Lab) -> None:
    for iteration_id in demo_lab.iterations()["iteration_id"]:
        loaded = demo_lab.store.load_iteration(iteration_id)
        rows = [tuple(row[name] for name in TRADE_FIELDS) for row in loaded["trades"]]
        curve = demo_lab.equity([iteration_id]).iloc[:, 0].dropna()
        dates, metrics = curve.index.strftime("%Y-%m-%d").tolist(), loaded["metrics"]
        computed = {name: metrics[name] for name in METRICS}
        extra = loaded["extra_metrics"]
        assert doubts(metrics, extra, by_column(rows), dates, curve.to_numpy(), computed) == []


@st.composite
def books(draw: st.DrawFn) -> tuple[list[Trade], float]:
    """Return an honest book of one rate of costs and one multiplier, and its rate."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, rate = draw(st.integers(1, 60)), draw(st.floats(0, 0.005))
    point = draw(st.sampled_from([1.0, 1.0, 1.0, 50.0, 1 / 150]))
    move = draw(st.sampled_from([0.001, 0.01, 0.1]))
    entry = rng.uniform(5, 500, count)
    leave = entry * np.exp(rng.normal(0, move, count))
    size = rng.uniform(10, 1000, count) * rng.choice([-1, 1], count)
    profit = point * ((leave - entry) * size - rate * (entry + leave) * np.abs(size))
    codes = draw(st.sampled_from([("2330",), ("ES=F", "NQ=F", "CL=F")]))
    columns = (entry.tolist(), leave.tolist(), size.tolist(), profit.tolist())
    return [trade(*row, codes[at % len(codes)]) for at, row in enumerate(zip(*columns, strict=True))], rate


@given(books())
def test_honest_books_give_no_doubt(book: tuple[list[Trade], float]) -> None:
    assert found(trades=book[0]) == []


@pytest.mark.slow
@given(books())
def test_shorts_without_a_sign_are_found(book: tuple[list[Trade], float]) -> None:
    rows, rate = book
    is_clear = [abs(row[4] - row[3]) > (0.01 + 20 * rate) * (row[3] + row[4]) for row in rows]
    assume(len(rows) >= 12)
    assume(sum(is_clear) >= len(rows) / 2)
    assume(any(clear and row[5] < 0 for clear, row in zip(is_clear, rows, strict=True)))
    assert kinds(found(trades=[trade(row[3], row[4], abs(row[5]), row[6], row[0]) for row in rows])) == [
        "unsigned_size"
    ]


# --- labels and dates ---


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("(10, 50)", "parameters"),
        ("('10', '2330')", "parameters"),
        ("(np.int64(10), np.int64(50))", "parameters"),
        ("[10, 50]", "parameters"),
        ("10_50", "parameters"),
        ("0.5|20", "parameters"),
        ("0.05", "parameter"),
        ("-0.5", "parameter"),
        ("1e-05", "parameter"),
        ("0.30000000000000004", "parameter"),
        ("-5", "parameter"),
        ("2330.0", "dtype=str"),
        ("600519.0", "dtype=str"),
        ("0", "number of a column"),
        ("close", "price column"),
        ("Adj Close", "price column"),
    ],
)
def test_labels_for_stock_codes_are_doubted(code: str, remedy: str) -> None:
    [doubt] = found(trades=[trade(code=code)])
    assert (doubt.kind, doubt.field, doubt.value) == ("column_label", "trades[0].stock_code", code)
    assert remedy in doubt.reason


def test_a_label_among_codes_is_named_by_its_row() -> None:
    [doubt] = found(trades=[trade(code=code) for code in ("2330", "0050", "2317.0", "2317.0")])
    assert (doubt.field, doubt.value) == ("trades[2].stock_code", "2317.0")
    assert doubt.reason.endswith("(and 1 more)")


def test_numbers_of_columns_are_doubted() -> None:
    assert kinds(found(trades=[trade(code=str(column)) for column in range(12)])) == ["column_label"]
    assert kinds(found(trades=[trade(code=code) for code in ("10", "20", "50")])) == ["column_label"]


@pytest.mark.parametrize(
    "codes",
    [
        ["2330", "0050", "00878", "00679B", "2881A", "00631L"],
        ["AAPL", "BRK.B", "BF-B", "A", "OPEN", "LOW", "NaN"],
        ["0700.HK", "600519.SH", "000001.SZ", "7203.T", "2330.TW", "005930.KS"],
        ["BTC/USDT", "BTCUSDT", "BTC-USDT", "BTC/USDT:USDT", "1INCHUSDT", "1000PEPE/USDT"],
        ["ES=F", "EURUSD", "EURUSD=X", "^GSPC", "CL1!", "ESZ24", "TXF202401", "SPY   240119C00470000"],
        ["5", "1", "0005"],
        ["700", "5"],
        ["7203"],
        ["1.600519", "0.000001", "116.00700"],
        ["2330 台積電", "台積電", "AAPL (US)", "XAU/USD"],
    ],
)
def test_real_codes_are_not_doubted(codes: list[str]) -> None:
    assert found(trades=[trade(code=code) for code in codes]) == []


def test_milliseconds_read_as_nanoseconds_are_doubted() -> None:
    read = pd.to_datetime([1672580700000, 1672588860000]).astype("datetime64[us]").strftime("%Y-%m-%dT%H:%M:%S.%f")
    row = dict(zip(TRADE_FIELDS, trade(), strict=True)) | {"entry_date": read[0], "exit_date": read[1]}
    [doubt] = doubts({}, {}, by_column([tuple(row.values())]), [], np.array([]), {})
    assert (doubt.kind, doubt.field, doubt.value) == ("epoch", "trades[0].entry_date", read[0])
    assert "unit='ms'" in doubt.reason
    [doubt] = doubts({}, {}, {}, read.tolist(), np.array([100.0, 101.0]), {})
    assert (doubt.kind, doubt.field) == ("epoch", "equity[0].date")


def test_a_curve_from_1970_on_is_not_doubted() -> None:
    dates = ["1970-01-02", "1970-01-05", "1970-02-02"]
    assert doubts({}, {}, {}, dates, np.array([92.06, 93.0, 91.0]), {}) == []


def test_the_cost_of_looking_is_linear() -> None:
    class Row(tuple[Any, ...]):
        read = 0

        def __iter__(self) -> Any:
            Row.read += 1
            return super().__iter__()

    reads = []
    for count in (50, 500):
        Row.read = 0
        found(trades=[Row(trade(code=f"{code:04d}.TW")) for code in range(count)])
        reads.append(Row.read)
    assert reads[1] == 10 * reads[0] > 0


# --- excursions ---


@pytest.mark.parametrize(
    ("size", "name", "value", "is_doubted"),
    [
        (10.0, "mae", -2.44, True),  # 2.44 below an entry of 100, or 2.44%
        (10.0, "mae", -1.0, False),
        (10.0, "mae", None, False),
        (10.0, "mfe", 3.5, False),
        (-10.0, "mfe", 3.5, True),
        (-10.0, "mfe", 1.0, False),
        (-10.0, "mae", -3.5, False),
    ],
)
def test_an_excursion_beyond_the_whole_value_is_doubted(
    size: float, name: str, value: float | None, is_doubted: bool
) -> None:
    row = list(trade(size=size, profit=None))
    row[TRADE_FIELDS.index(name)] = value
    some = found(trades=[trade(size=size, profit=None), tuple(row)])
    assert [(doubt.kind, doubt.field) for doubt in some] == [("excursion", f"trades[1].{name}")] * is_doubted


def test_a_price_below_nothing_explains_an_excursion_beyond_the_whole_value() -> None:
    row = list(trade(entry=10.0, leave=-37.0, size=1.0, profit=-47.0))
    row[TRADE_FIELDS.index("mae")] = -5.0
    assert found(trades=[tuple(row)]) == []


def test_a_size_without_its_sign_is_told_by_the_return_where_the_profit_is_unknown(store: fl.StorageManager) -> None:
    short = {"stock_code": "2330", "entry_date": "2024-01-02", "exit_date": "2024-01-05", "entry_price": 100.0}
    short |= {"exit_price": 80.0, "position_size": 10.0, "trade_return": 0.2}
    with pytest.warns(fl.ImplausibleDataWarning, match=r"fell from 100 to 80 and the trade made 0\.2 of its value, as"):
        store.save_iteration(store.save_strategy_version("short", "x"), trades=[short])
