"""What recording says about trades and curve together."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import finlab_nb as fl
from finlab_nb.engines.checks import Balance
from finlab_nb.engines.recording import Wishes, record_result, summary
from finlab_nb.engines.result import Result

DAYS = pd.bdate_range("2024-01-01", periods=40)


def _trade(**changes: Any) -> dict[str, Any]:
    return {
        "stock_code": "2330",
        "entry_date": DAYS[1],
        "exit_date": DAYS[5],
        "entry_price": 100.0,
        "exit_price": 110.0,
        "position_size": 10.0,
        "profit_loss": 99.0,
        "fees": 1.0,
        **changes,
    }


def _curve(last: float, days: pd.DatetimeIndex = DAYS) -> pd.Series:
    return pd.Series([10_000.0 + (last - 10_000.0) * place / (len(days) - 1) for place in range(len(days))], days)


def _result(*trades: dict[str, Any], **changes: Any) -> Result:
    given = {"trades": pd.DataFrame(list(trades)), "equity": _curve(10_099.0), "initial_capital": 10_000.0}
    return Result(engine="bt", **given | changes)


def _recorded(store: fl.StorageManager, result: Result, *, again: bool = False, **wishes: Any) -> dict[str, Any]:
    wanted = Wishes(**{"strategy": "Checked", "code": "pass", **wishes})
    return store.load_iteration(record_result(store, result, wanted, again=again))


def test_trades_that_explain_the_curve_are_told_in_one_line(
    store: fl.StorageManager, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = _recorded(store, _result(_trade()))
    assert capsys.readouterr().out == "1 trade, P&L 99.00 = change of equity\n"
    assert stored["extra_metrics"]["check.pnl_gap"] == pytest.approx(0.0, abs=1e-9)
    assert stored["extra_metrics"]["fees"] == 1.0


def test_open_trades_count_with_what_they_are_worth(
    store: fl.StorageManager, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = _recorded(store, _result(_trade(), _trade(exit_date=None), equity=_curve(10_198.0)))
    assert capsys.readouterr().out == "2 trades (1 open), P&L 198.00 = change of equity\n"
    assert stored["extra_metrics"]["open_trades"] == 1


def test_a_gap_above_a_ten_thousandth_of_the_capital_is_a_warning(
    store: fl.StorageManager, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.warns(fl.ImplausibleDataWarning, match=r"check\.pnl_gap is 2\..*99\.00.*97\.00.*0\.02% of the capital"):
        stored = _recorded(store, _result(_trade(), equity=_curve(10_097.0)))
    assert stored["extra_metrics"]["check.pnl_gap"] == pytest.approx(2.0)
    assert "gap 2.00" in capsys.readouterr().out
    _recorded(store, _result(_trade(), equity=_curve(10_098.5)))  # half of a ten thousandth


def test_a_gap_that_an_engine_is_known_for_is_a_remark(
    store: fl.StorageManager, capsys: pytest.CaptureFixture[str]
) -> None:
    result = _result(_trade(), equity=_curve(10_090.0), known_gap="a fixed fee is booked twice")
    assert _recorded(store, result)["extra_metrics"]["check.pnl_gap"] == pytest.approx(9.0)
    assert "gap 9.00 (a fixed fee is booked twice)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trades": pd.DataFrame([_trade(profit_loss=None, trade_return=0.1)])}, "P&L unknown"),
        ({"is_estimated": True}, "P&L 99.00 (estimated)"),
        ({"equity": None}, "no equity curve"),
        ({"trades": None}, "trades unknown"),
    ],
)
def test_no_gap_is_computed_where_one_side_is_unknown_or_an_estimate(
    store: fl.StorageManager, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], words: str
) -> None:
    stored = _recorded(store, _result(_trade(), **{"equity": _curve(10_500.0), **changes}))
    assert "check.pnl_gap" not in stored["extra_metrics"]
    assert words in capsys.readouterr().out


def test_the_change_of_equity_counts_from_the_initial_capital(store: fl.StorageManager) -> None:
    curve = _curve(10_099.0)
    curve.iloc[0] = 9_999.0  # after the fee of a trade on the first bar
    stored = _recorded(store, _result(_trade(entry_date=DAYS[0]), equity=curve))
    assert stored["extra_metrics"]["check.pnl_gap"] == pytest.approx(0.0, abs=1e-9)


def test_sizes_of_shorts_without_a_sign_are_an_error_that_names_the_first(store: fl.StorageManager) -> None:
    short = _trade(exit_price=90.0, position_size=10.0)
    with pytest.raises(ValueError, match=r"trades\[1\] goes from 100\.0 to 90\.0 .* size of 10\.0.* 3 of 5 trades"):
        _recorded(store, _result(_trade(), short, short, short, _trade(), equity=_curve(10_495.0)))
    assert not store.find_strategies("Checked")


def test_one_wrong_sign_in_ten_is_a_warning_and_fees_turn_no_sign(store: fl.StorageManager) -> None:
    losing = _trade(exit_price=100.05, profit_loss=-0.5)  # a move of 0.5 and a fee of 1
    odd = _trade(exit_price=90.0, profit_loss=99.0)
    trades = [_trade()] * 7 + [losing] * 2 + [odd]
    with pytest.warns(fl.ImplausibleDataWarning, match=r"trades\[9\]\.position_size"):
        _recorded(store, _result(*trades, equity=_curve(10_000.0 + 8 * 99.0 - 1.0)))


def test_trades_outside_of_the_curve_are_a_warning(store: fl.StorageManager) -> None:
    late = _trade(entry_date="2025-01-02", exit_date="2025-01-03")
    with pytest.warns(fl.ImplausibleDataWarning, match=r"trades\[1\]\.entry_date.*2024-01-01 to 2024-02-23"):
        _recorded(store, _result(_trade(), late, equity=_curve(10_198.0)))


def test_a_curve_without_a_regular_period_is_a_warning_and_has_no_sharpe_ratio(store: fl.StorageManager) -> None:
    days = DAYS[[0, 1, 5, 6, 20, 22, 39]]
    with pytest.warns(fl.ImplausibleDataWarning, match=r"points are 4 days apart .* Sharpe ratio is unknown"):
        stored = _recorded(store, _result(_trade(), equity=_curve(10_099.0, days)))
    assert stored["metrics"]["sharpe_ratio"] is None
    with pytest.warns(fl.ImplausibleDataWarning, match="follow no regular period") as caught:
        _recorded(
            store,
            _result(
                _trade(),
                equity=_curve(10_099.0, pd.DatetimeIndex([DAYS[0] + pd.Timedelta(days=n * n) for n in range(30)])),
            ),
        )
    assert len(caught) == 1


def test_a_weekly_curve_is_a_warning_that_tells_what_its_sharpe_ratio_is_of(store: fl.StorageManager) -> None:
    weeks = pd.date_range("2024-01-01", periods=40, freq="7D")
    with pytest.warns(fl.ImplausibleDataWarning, match="7 days apart .* of 52 periods a year"):
        stored = _recorded(store, _result(_trade(), equity=_curve(10_099.0, weeks)))
    assert stored["periods_per_year"] == 52


def test_without_the_check_a_result_is_stored_as_it_is(store: fl.StorageManager) -> None:
    short = _trade(exit_price=90.0, position_size=10.0)
    with pytest.warns(fl.ImplausibleDataWarning, match="position_size"):  # the save itself doubts it
        stored = _recorded(store, _result(short, short, short, equity=_curve(12_000.0)), check=False)
    assert "check.pnl_gap" not in stored["extra_metrics"]
    assert len(stored["trades"]) == 3


def test_several_results_are_told_in_one_line() -> None:
    even = Balance(trades=1_000, still_open=2, profit=5.0, fees=1.0, change=5.0, capital=1e4)
    odd = Balance(trades=200, still_open=0, profit=5.0, fees=1.0, change=50.0, capital=1e4)
    assert summary([even, even]) == "2 iterations: 2,000 trades (4 open), P&L = change of equity in all"
    assert summary([even, odd], 1) == (
        "2 iterations: 1,200 trades (2 open), P&L = change of equity in 1, 1 recorded before"
    )
