"""Returns, capital, periods and currency of an iteration, and the metrics that they give."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from finlab_nb.analysis import curve_metrics
from finlab_nb.records import Iteration, iteration_record
from finlab_nb.records.metrics import METRICS

DAYS = pd.bdate_range("2024-01-02", periods=60)
RETURNS = pd.Series(np.random.default_rng(5).normal(0.001, 0.01, 60), index=DAYS)


def saved(**arguments: Any) -> Iteration:
    return iteration_record("a strategy", **arguments)


def metrics(iteration: Iteration) -> dict[str, float | None]:
    return dict(zip(METRICS, iteration.metrics, strict=True))


def doubted(**arguments: Any) -> list[tuple[str, str]]:
    return [(doubt.kind, doubt.field) for doubt in saved(**arguments).doubts]


# --- Returns ---


@pytest.mark.parametrize(
    "given",
    [
        RETURNS,
        RETURNS.to_dict(),
        RETURNS.to_frame("strategy"),
        pd.DataFrame({"date": DAYS, "return": RETURNS.to_numpy()}),
        pd.DataFrame({"date": DAYS, "ret": RETURNS.to_numpy()}),
        pl.DataFrame({"date": DAYS.to_numpy(), "return": RETURNS.to_numpy()}),
        [{"date": day, "return": value} for day, value in RETURNS.items()],
        RETURNS.iloc[::-1],
    ],
    ids=["Series", "dict", "frame", "table", "other name", "polars", "records", "reversed"],
)
def test_returns_make_an_account_that_begins_one_period_earlier(given: Any) -> None:
    found = saved(returns=given, initial_capital=1e6)
    assert [day for day, _ in found.equity] == ["2024-01-01", *DAYS.strftime("%Y-%m-%d")]
    assert [value for _, value in found.equity] == pytest.approx([1e6, *(1e6 * (1 + RETURNS).cumprod())])
    assert metrics(found)["sharpe_ratio"] == pytest.approx(RETURNS.mean() / RETURNS.std() * np.sqrt(252))
    assert dict(found.extra_metrics)["total_return"] == pytest.approx((1 + RETURNS).prod() - 1)
    assert (found.initial_capital, found.periods_per_year, found.doubts) == (1e6, 252, ())


def test_without_a_capital_the_account_begins_with_one() -> None:
    found = saved(returns={"2024-01-31": 0.5, "2024-02-29": -0.5})
    assert found.equity == [("2023-12-31", 1.0), ("2024-01-31", 1.5), ("2024-02-29", 0.75)]
    assert found.initial_capital is None
    assert metrics(found)["max_drawdown"] == -0.5


def test_returns_within_a_day_begin_one_gap_earlier() -> None:
    hours = pd.date_range("2024-01-02 01:00", periods=3, freq="h")
    assert [day for day, _ in saved(returns=pd.Series(0.1, index=hours)).equity][:2] == [
        "2024-01-02", "2024-01-02T01:00:00",
    ]  # fmt: skip
    zoned = pd.Series(0.1, index=hours.tz_localize("UTC"))
    assert saved(returns=zoned).equity[0][0] == "2024-01-02T00:00:00"


def test_equity_and_returns_are_not_given_both() -> None:
    with pytest.raises(ValueError, match="equity and returns are both given"):
        saved(equity={"2024-01-02": 1.0}, returns={"2024-01-02": 0.1})


@pytest.mark.parametrize("wrong", [float("nan"), None, float("inf"), "0.1", True])
def test_a_return_is_a_finite_number(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"^returns\[1\]\.return is .*; it must be a finite number"):
        saved(returns={"2024-01-02": 0.1, "2024-01-03": wrong})


def test_an_account_of_returns_may_fall_into_debt_but_not_out_of_what_a_float_holds() -> None:
    assert saved(returns={"2024-01-02": -1.5}).equity[-1] == ("2024-01-02", -0.5)
    with pytest.raises(ValueError, match=r"^returns\[1\]\.return is 1e\+300; the account outgrows a float"):
        saved(returns={"2024-01-02": 1e300, "2024-01-03": 1e300})
    with pytest.raises(ValueError, match=r"^returns\[0\]\.date is '0001-01-01'; it must leave room"):
        saved(returns={"0001-01-01": 0.1})


def test_returns_in_percent_or_account_values_for_returns_are_doubted() -> None:
    assert doubted(returns=RETURNS * 100)[0] == ("percent", f"returns[{RETURNS.abs().argmax()}].return")
    assert doubted(returns=(1 + RETURNS).cumprod() * 1000)[0][0] == "percent"
    [doubt] = saved(returns=(1 + RETURNS.head(30)).cumprod() * 1000).doubts
    assert "give them as equity=" in doubt.message
    assert not doubted(returns=RETURNS * 10)  # ten times as volatile: 160% a year
    assert not doubted(returns={"2022-12-31": 1.4, "2023-12-31": -0.6, "2024-12-31": 0.9})


def test_returns_of_trades_in_percent_are_doubted() -> None:
    rows = [
        {"stock_code": "2330", "entry_date": "2024-01-02", "exit_date": "2024-01-03", "entry_price": 100.0,
         "exit_price": 100.0 + move, "position_size": size, "trade_return": sign * move - 0.1}
        for move, size, sign in ((5.0, 1.0, 1), (-3.0, 1.0, 1), (-4.0, -2.0, -1))
    ]  # fmt: skip
    assert doubted(trades=rows) == [("percent", "trades[0].trade_return")]
    assert not doubted(trades=[row | {"trade_return": row["trade_return"] / 100} for row in rows])
    assert not doubted(trades=[*rows[:1], *(row | {"trade_return": row["trade_return"] / 100} for row in rows)])


# --- Capital, periods, currency ---


def test_the_initial_capital_counts_as_a_point_one_period_earlier() -> None:
    found = saved(equity={"2024-01-02": 80.0, "2024-01-03": 90.0}, initial_capital=100)
    assert metrics(found)["max_drawdown"] == pytest.approx(-0.2)
    assert dict(found.extra_metrics)["total_return"] == pytest.approx(-0.1)
    assert found.equity == [("2024-01-02", 80.0), ("2024-01-03", 90.0)]


def test_periods_that_are_given_count_and_those_that_follow_are_kept() -> None:
    account = (1 + RETURNS).cumprod()
    followed, given = saved(equity=account), saved(equity=account, periods_per_year=260.5)
    assert (followed.periods_per_year, given.periods_per_year) == (252, 260.5)
    ratio = np.sqrt(260.5 / 252)
    assert metrics(given)["sharpe_ratio"] == pytest.approx(ratio * (metrics(followed)["sharpe_ratio"] or 0))
    assert saved(periods_per_year=12).periods_per_year == 12
    assert saved(equity={"2024-01-02": 1.0}).periods_per_year is None


@pytest.mark.parametrize("name", ["initial_capital", "periods_per_year"])
@pytest.mark.parametrize("wrong", [0, -1.0, "100", float("inf"), True])
def test_capital_and_periods_are_numbers_above_0(name: str, wrong: object) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is .*; it must be a finite number"):
        saved(**{name: wrong})


def test_currency_is_any_text_but_blank() -> None:
    assert saved(currency="TWD").currency == "TWD"
    assert saved(currency=None).currency is None
    with pytest.raises(ValueError, match=r"^currency is ' '; it must be text that is not empty"):
        saved(currency=" ")


def test_an_import_has_its_own_moment_of_change() -> None:
    assert saved(changed_at=datetime(2024, 1, 2), exact=True).changed_at == "2024-01-02T00:00:00.000000Z"  # noqa: DTZ001


# --- Metrics that were given ---


def test_metrics_that_the_definitions_do_not_confirm_are_marked_with_what_these_give() -> None:
    account = (1 + RETURNS).cumprod()
    days = DAYS.to_numpy().astype("M8[D]")
    figures = curve_metrics(days, account.to_numpy())
    same = {name: figures[name] for name in METRICS[:3]}
    assert saved(equity=account, metrics=same).given == ()
    assert saved(equity=account, metrics=same | {"sharpe_ratio": None}).given == ()
    assert saved(metrics={"sharpe_ratio": 1.0, "total_trades": 3}).given == ()
    wrong = saved(equity=account, trades=[], metrics=same | {"sharpe_ratio": 0.5, "total_trades": 3})
    assert wrong.given == (("sharpe_ratio", pytest.approx(figures["sharpe_ratio"])), ("total_trades", 0.0))
    assert metrics(wrong)["sharpe_ratio"] == 0.5
    short = saved(equity=account.head(5), metrics={"sharpe_ratio": 1.5})
    assert short.given == (("sharpe_ratio", None),)
    assert (
        saved(equity=account, metrics=dict(short.given) | same | {"sharpe_ratio": 0.5}, exact=True).given[0][0]
        == "sharpe_ratio"
    )


def test_growth_is_an_extra_metric_of_its_own_unless_it_is_given_or_imported() -> None:
    curve = {"2024-01-02": 100.0, "2024-01-03": 110.0}
    assert dict(saved(equity=curve).extra_metrics) == {"total_return": pytest.approx(0.1)}
    assert dict(saved(equity=curve, extra_metrics={"total_return": 0.2}).extra_metrics) == {"total_return": 0.2}
    assert saved(equity=curve, exact=True).extra_metrics == ()
    assert saved(equity={"2024-01-02": 100.0}).extra_metrics == ()


# --- Curves without a regular period ---


def test_a_curve_without_a_regular_period_is_doubted_if_a_sharpe_ratio_is_missed() -> None:
    days = pd.to_datetime("2020-01-06") + pd.to_timedelta(np.cumsum(np.tile([1, 3, 9, 20], 10)), "D")
    curve = pd.Series(100.0 + np.arange(40) % 5, index=days)
    [doubt] = saved(equity=curve).doubts
    assert (doubt.kind, doubt.field, doubt.value) == ("irregular", "equity[0].date", "2020-01-07")
    assert "1 to 20 days apart" in doubt.message
    assert metrics(saved(equity=curve))["sharpe_ratio"] is None
    assert not doubted(equity=curve, periods_per_year=40)
    assert not doubted(equity=curve, metrics={"sharpe_ratio": 1.0})
    assert not doubted(equity=curve.head(20))
    with pytest.raises(ValueError, match="no regular period"):
        saved(equity=curve, strict=True)
