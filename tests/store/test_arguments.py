"""A wrong argument names the field, the value and what is allowed, and stores nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

import finlab_nb as fl

TRADE = {
    "stock_code": "2330",
    "entry_date": "2024-01-02",
    "exit_date": "2024-01-09",
    "entry_price": 593.0,
    "exit_price": 601.5,
    "position_size": 1000,
    "profit_loss": 8500.0,
}


def _trade(**changes: Any) -> dict[str, Any]:
    return {"trades": [TRADE, {**TRADE, **changes}]}


WRONG: list[tuple[dict[str, Any], str]] = [
    (_trade(entry_price=float("nan")), r"trades\[1\]\.entry_price is nan; it must be a finite number"),
    (_trade(entry_price=float("inf")), r"trades\[1\]\.entry_price is inf; it must be a finite number"),
    (_trade(entry_price="593"), r"trades\[1\]\.entry_price is '593' \(str\); it must be a finite number"),
    (_trade(entry_price=True), r"trades\[1\]\.entry_price is True \(bool\)"),
    (_trade(entry_price=None), r"trades\[1\]\.entry_price is None"),
    (_trade(exit_price=None), r"trades\[1\]\.exit_price is missing; a trade with an exit_date needs"),
    (_trade(position_size="many"), r"trades\[1\]\.position_size is 'many'"),
    (_trade(exit_date="2023-12-29"), r"trades\[1\]\.exit_date is '2023-12-29', before its entry_date '2024-01-02'"),
    (_trade(entry_date="2024-02-30"), r"trades\[1\]\.entry_date is '2024-02-30'; it must be a date that exists"),
    (_trade(entry_date=20240102), r"trades\[1\]\.entry_date is 20240102 \(int\); it must be a date"),
    (_trade(entry_date=None), r"trades\[1\]\.entry_date is None"),
    (_trade(entry_date=[1]), r"trades\[1\]\.entry_date is \[1\] \(list\); it must be a date"),
    (_trade(stock_code=50), r"trades\[1\]\.stock_code is the number 50; .*leading zeros"),
    (_trade(stock_code=""), r"trades\[1\]\.stock_code is ''; it must be text that is not empty"),
    (_trade(stock_code="a\0b"), r"trades\[1\]\.stock_code is 'a\\x00b'; it must be text without NUL .* position 1"),
    (_trade(stock_code="\ud800"), r"trades\[1\]\.stock_code is .*; it must be Unicode text, .* half a surrogate"),
    (_trade(exit_reasn=1), r"trades.* has the unknown field 'exit_reasn'; did you mean 'exit_reason'\?"),
    (_trade(mae=0.1), r"trades\[1\]\.mae is 0\.1; it must be a finite number of at most 0"),
    (_trade(extra="[1]"), r"trades\[1\]\.extra is '\[1\]'"),
    ({"trades": "many"}, r"trades is 'many' \(str\); it must be a table"),
    ({"trades": [1]}, r"trades\[0\] is 1; it must be a dict"),
    ({"trades": pd.DataFrame({"price": [1.0]})}, r"trades has no column 'stock_code'; its columns are price"),
    (
        {"trades": pd.DataFrame([TRADE]).drop(columns="stock_code")},
        r"trades has no column 'stock_code'; its columns are entry_date",
    ),
    (
        {"trades": [TRADE, {key: value for key, value in TRADE.items() if key != "entry_price"}]},
        r"trades\[1\] has no 'entry_price'; its fields are stock_code",
    ),
    ({"trades": pd.DataFrame([TRADE]).assign(stock_code=50)}, r"the number 50; .* read the codes with dtype=str"),
    ({"trades": pd.DataFrame([TRADE]).assign(stock_code=50.0)}, r"the number 50\.0; .* dtype=str"),
    ({"metrics": {"win_rate": 55.0}}, r"metrics\.win_rate is 55\.0; .*from 0 to 1; if it is percent, divide by 100"),
    ({"metrics": {"win_rate": 1.4}}, r"metrics\.win_rate is 1\.4; it must be a fraction from 0 to 1"),
    ({"metrics": {"max_drawdown": 0.2}}, r"metrics\.max_drawdown is 0\.2; it must be a fraction of at most 0"),
    ({"metrics": {"total_trades": 1.5}}, r"metrics\.total_trades is 1\.5; it must be a whole number"),
    ({"metrics": {"sharpe_ratio": "1.2"}}, r"metrics\.sharpe_ratio is '1\.2' \(str\)"),
    ({"metrics": {"sharpe_ratio": float("inf")}}, r"metrics\.sharpe_ratio is inf"),
    (
        {"suggestions": [{"priority": "urgent", "description": "x"}]},
        r"suggestions\[0\]\.priority is 'urgent'; it must be 'high', 'medium' or 'low'",
    ),
    ({"suggestions": [{"priority": "high"}]}, r"suggestions\[0\]\.description is None"),
    ({"suggestions": ["x"]}, r"suggestions\[0\] is 'x' \(str\); it must be a dict"),
    ({"equity": {"2024-01-02": float("nan")}}, r"equity\[0\]\.equity is nan"),
    (
        {"equity": [{"date": "2024-01-02", "equity": 1}, {"date": "2024-01-02", "equity": 2}]},
        r"equity has the date '2024-01-02' twice",
    ),
    ({"equity": pd.Series([1.0])}, r"equity\[0\]\.date is 0 \(int\); it must be a date"),
    ({"parameters": [1]}, r"parameters is \[1\] \(list\); it must be a dict"),
    ({"tags": {"momentum": 1}}, r"tags is .* \(dict\); it must be text, or a list of texts"),
    ({"tags": [""]}, r"tags\[0\] is ''; it must be text that is not empty"),
    ({"note": 5}, r"note is 5 \(int\); it must be text"),
    ({"code": b"x"}, r"code is b'x' \(bytes\); it must be text"),
    ({"timestamp": "2024-13-01"}, r"timestamp is '2024-13-01'; it must be a date that exists"),
    ({"timestamp": 5}, r"timestamp is 5 \(int\); it must be a datetime"),
    ({"iteration_number": 0}, r"iteration_number is 0; it must be a whole number of at least 1"),
    ({"iteration_number": True}, r"iteration_number is True"),
    ({"iteration_number": "1"}, r"iteration_number is '1'"),
    ({"iteration_number": 10**400}, r"iteration_number is 1000"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_argument_is_named_and_stores_nothing(
    store: fl.StorageManager, arguments: dict[str, Any], message: str
) -> None:
    strategy = store.save_strategy_version("a", "x")
    with pytest.raises(ValueError, match=message):
        store.save_iteration(strategy, **arguments)
    assert store.load_strategy_history(strategy) == []
    with store.pool.read() as connection:
        assert connection.execute("SELECT count(*) FROM trades").fetchone() == (0,)


def test_an_unknown_strategy_is_named(store: fl.StorageManager) -> None:
    with pytest.raises(fl.StrategyNotFoundError, match="strategy_id is 'nope'; no strategy has this id"):
        store.save_iteration("nope")
    with pytest.raises(LookupError, match="parent_strategy_id is 'nope'"):
        store.save_strategy_version("a", "x", parent_strategy_id="nope")
    with pytest.raises(fl.StrategyNotFoundError):
        store.load_strategy_history("nope")
    with pytest.raises(ValueError, match="strategy_id is 5"):
        store.save_iteration(5)  # type: ignore[arg-type]


def test_a_strategy_needs_a_name_and_code(store: fl.StorageManager) -> None:
    with pytest.raises(ValueError, match="name is '  '; it must be text that is not empty"):
        store.save_strategy_version("  ", "x")
    with pytest.raises(ValueError, match="code is None"):
        store.save_strategy_version("a", None)  # type: ignore[arg-type]


def test_numpy_values_are_taken_as_the_numbers_they_are(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("a", "x", {"window": np.int64(5), "ratio": np.float64(0.5), "on": np.True_})
    assert store.load_strategy(strategy)["parameters"] == {"window": 5, "ratio": 0.5, "on": True}
    trade = {**TRADE, "entry_price": np.float64(1.5), "position_size": np.int32(-3), "profit_loss": np.nan}
    run = store.save_iteration(strategy, np.int64(4), trades=[trade])  # type: ignore[arg-type]
    loaded = store.load_iteration(run)
    assert loaded["trades"][0]["position_size"] == -3.0
    assert loaded["trades"][0]["profit_loss"] is None
    assert loaded["iteration_number"] == 4


def test_ids_of_numpy_are_the_ids_they_are(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("a", "x")
    first = store.save_iteration(strategy, suggestions=[{"priority": "high", "description": "x"}])
    suggestion = np.int64(store.load_iteration(first)["suggestions"][0]["suggestion_id"])
    store.set_suggestion_status(suggestion, "rejected")  # type: ignore[arg-type]
    assert store.load_iteration(np.str_(first))["suggestions"][0]["status"] == "rejected"
    second = store.save_iteration(strategy, applies=pd.Series([suggestion]))
    applied = store.load_iteration(first)["suggestions"][0]
    assert (applied["status"], applied["applied_iteration_id"]) == ("applied", second)
    with pytest.raises(ValueError, match=r"iteration_id is \['.*'\] \(list\); it must be text"):
        store.load_iteration([first])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error", [KeyError("mine"), ValueError("mine"), TypeError("mine"), sqlite3.OperationalError("mine")]
)
def test_an_error_of_the_callers_own_code_comes_as_it_is(store: fl.StorageManager, error: Exception) -> None:
    strategy = store.save_strategy_version("a", "x")

    def broken(*first: Any) -> Iterator[Any]:
        yield from first
        raise error

    calls: list[Callable[[], object]] = [
        lambda: store.save_iteration(strategy, trades=broken(TRADE)),
        lambda: store.save_iterations(broken({"strategy_id": strategy})),
        lambda: store.save_iterations([{"strategy_id": strategy, "trades": broken(TRADE)}]),
    ]
    for call in calls:
        with pytest.raises(type(error)) as raised:
            call()
        assert raised.value is error
    with pytest.raises(type(error)) as raised, store.transaction(), store.transaction():
        store.save_iteration(strategy)
        raise error
    assert raised.value is error
    assert store.load_strategy_history(strategy) == []


@pytest.mark.parametrize("name", ["iteration_id", "starred", "trade", 5])
def test_save_iterations_takes_the_arguments_of_one_save_only(store: fl.StorageManager, name: Any) -> None:
    strategy = store.save_strategy_version("a", "x")
    with pytest.raises(ValueError, match=rf"iterations\[0\] has the unknown field {name!r}; allowed are strategy_id, "):
        store.save_iterations([{"strategy_id": strategy, name: True}])
    with pytest.raises(ValueError, match=r"iterations\[0\] has no strategy_id"):
        store.save_iterations([{}])
