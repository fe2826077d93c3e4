"""What is known of an iteration's origin is checked, and the same result has the same hash, whoever made it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finlab_nb.analysis import curve_metrics, trade_metrics
from finlab_nb.records import Iteration, iteration_record, provenance, provenance_record
from finlab_nb.records.provenance import code_hash, outcome_hash, result_hash
from finlab_nb.records.zones import local_days

TRADES = pd.DataFrame(
    {
        "stock_code": ["2330", "0050"],
        "entry_date": pd.to_datetime(["2024-01-02", "2024-01-03"]),
        "exit_date": pd.to_datetime(["2024-02-01", None]),
        "entry_price": [100, 50],
        "exit_price": [110.0, None],
        "position_size": [10, -5],
        "profit_loss": [99.0, None],
        "fees": [1.0, 0.0],
        "exit_reason": ['stop, "loss"', None],
        "score": [1, 2],
        "rank": [0.5, float("nan")],
    }
)
CURVE = pd.Series(1000.0 + np.arange(60) ** 1.5, pd.date_range("2024-01-01", periods=60, freq="D"))
GIVEN: dict[str, Any] = {
    "trades": TRADES,
    "equity": CURVE,
    "parameters": {"fast": 10, "slow": 50.0, "nested": {"b": [1, 2], "a": None}},
    "initial_capital": 1000,
    "timezone": "Asia/Taipei",
    "currency": "TWD",
    "extra_metrics": {"engine.alpha": 0.1, "engine.trades": 2, "engine.edge": float("inf")},
}


def hashed(**changes: Any) -> str:
    made = iteration_record("a strategy", **GIVEN | changes)
    return result_hash(outcome_hash(made), made.parameters)


def trades(**columns: Any) -> dict[str, Any]:
    return {"trades": TRADES.assign(**columns)}


def changed(row: int, name: str, value: Any) -> dict[str, Any]:
    table = TRADES.astype({name: object})
    table.loc[row, name] = value
    return {"trades": table}


SAME: dict[str, dict[str, Any]] = {
    "columns in another order": {"trades": TRADES[TRADES.columns[::-1]]},
    "another index": {"trades": TRADES.set_axis([5, 3])},
    "dicts": {"trades": TRADES.astype(object).where(TRADES.notna(), None).to_dict("records")},
    "whole numbers as floats": trades(entry_price=[100.0, 50.0], position_size=[10.0, -5.0], score=[1.0, 2.0]),
    "another unit of dates": trades(entry_date=TRADES["entry_date"].astype("datetime64[ms]")),
    "dates as text": trades(entry_date=["2024-01-02", "2024-01-03"]),
    "another missing value": trades(profit_loss=pd.array([99.0, pd.NA], "Float64")),
    "a negative zero": trades(fees=[1.0, -0.0]),
    "texts of another type": trades(stock_code=TRADES["stock_code"].astype("category")),
    "an empty column": trades(mae=[None, None], label=[None, None]),
    "a curve of another type": {"equity": dict(zip(CURVE.index.strftime("%Y-%m-%d"), CURVE, strict=True))},
    "a curve in another order": {"equity": CURVE[::-1]},
    "parameters in another order": {
        "parameters": {"nested": {"a": None, "b": [1.0, 2]}, "slow": 50, "fast": np.int64(10)}
    },
    "figures in another order": {"extra_metrics": dict(reversed(GIVEN["extra_metrics"].items()))},
    "figures of another type": {"extra_metrics": GIVEN["extra_metrics"] | {"engine.trades": np.float64(2)}},
    "metrics that follow": {"metrics": {"total_trades": 1}},
    "the capital as a float": {"initial_capital": 1000.0},
    "what checks found": {"extra_metrics": GIVEN["extra_metrics"] | {"check.pnl_gap": 3.0}},
    "notes and tags": {"note": "n", "tags": ["t"], "suggestions": [{"priority": "low", "description": "d"}]},
    "number, time and code": {"iteration_number": 7, "timestamp": "2024-01-02", "code": "x"},
    "the origin": {"provenance": {"host": "h", "duration": 5.0, "seed": 1, "packages": {"numpy": "2"}}},
}
OTHER: dict[str, dict[str, Any]] = {
    "one trade less": {"trades": TRADES[:1]},
    "no trades": {"trades": TRADES[:0]},
    "another stock": changed(0, "stock_code", "2331"),
    "another day": changed(0, "entry_date", "2023-12-29"),
    "another price": changed(0, "entry_price", 100.00000000000001),
    "another size": changed(1, "position_size", -5.5),
    "another reason": changed(0, "exit_reason", "stop"),
    "a reason more": changed(1, "exit_reason", ""),
    "another further column": changed(0, "score", 3),
    "a further column of another name": {"trades": TRADES.rename(columns={"score": "points"})},
    "a column more": trades(mae=[-0.1, None]),
    "the same numbers in another column": {"trades": TRADES.rename(columns={"fees": "mfe"})},
    "a trade that is closed": {"trades": TRADES.fillna({"exit_date": pd.Timestamp("2024-02-02"), "exit_price": 50.0})},
    "another value": {"equity": CURVE.replace(CURVE.iloc[-1], CURVE.iloc[-1] + 1e-9)},
    "another date": {"equity": CURVE.set_axis([*CURVE.index[:-1], pd.Timestamp("2024-06-01")])},
    "no curve": {"equity": None},
    "another parameter": {"parameters": GIVEN["parameters"] | {"fast": 11}},
    "a parameter of another name": {"parameters": {**GIVEN["parameters"], "fast ": 10}},
    "a number as text": {"parameters": GIVEN["parameters"] | {"fast": "10"}},
    "a truth value": {"parameters": GIVEN["parameters"] | {"fast": True}},
    "a list in another order": {"parameters": GIVEN["parameters"] | {"nested": {"b": [2, 1], "a": None}}},
    "another large number": {"parameters": GIVEN["parameters"] | {"fast": 2**60 + 1}},
    "another capital": {"initial_capital": 999},
    "another zone": {"timezone": "Asia/Tokyo"},
    "another currency": {"currency": "USD"},
    "other periods": {"periods_per_year": 252},
    "another figure": {"extra_metrics": GIVEN["extra_metrics"] | {"engine.alpha": 0.2}},
    "a figure of another name": {"extra_metrics": GIVEN["extra_metrics"] | {"engine.beta": 0.2}},
    "a metric that the curve does not confirm": {"metrics": {"sharpe_ratio": 1.0}},
}


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME)
def test_the_same_result_in_another_form_has_the_same_hash(changes: dict[str, Any]) -> None:
    assert hashed(**changes) == hashed()


def test_another_result_has_another_hash() -> None:
    found = {name: hashed(**changes) for name, changes in OTHER.items()}
    assert len({hashed(), *found.values()}) == 1 + len(OTHER)


def test_a_large_whole_number_counts_to_its_last_digit() -> None:
    assert hashed(parameters={"seed": 2**60}) != hashed(parameters={"seed": 2**60 + 1})
    assert hashed(parameters={"seed": 2**60}) == hashed(parameters={"seed": float(2**60)})
    assert hashed(parameters={"seed": 10**5000}) == hashed(parameters={"seed": 10**5000})


@pytest.mark.parametrize("name", ["metrics", "extra_metrics"])
def test_figures_count_where_they_do_not_follow(name: str) -> None:
    bare: dict[str, Any] = {"trades": None, "equity": None, "extra_metrics": None}
    known = {"metrics": "sharpe_ratio", "extra_metrics": "total_return"}[name]
    assert len({hashed(**bare | {name: {known: value}}) for value in (None, 0.5, 0.6)}) == 3


def test_last_digits_of_what_follows_do_not_count() -> None:
    """Means and powers differ in them from one computer to the next, and definitions from one release to the next."""
    made = iteration_record("a strategy", **GIVEN)
    noisy = replace(
        made,
        metrics=tuple(None if value is None else value + 1e-12 for value in made.metrics),
        extra_metrics=tuple(
            (name, 0.123 if name in ("total_return", "open_trades") else value) for name, value in made.extra_metrics
        ),
    )
    assert noisy.metrics != made.metrics
    assert outcome_hash(noisy) == outcome_hash(made)


def test_what_follows_is_what_the_definitions_give() -> None:
    days = local_days(CURVE.index.strftime("%Y-%m-%d").tolist(), None)
    of_curve = curve_metrics(days, CURVE.to_numpy(), initial_capital=None, periods_per_year=None)
    assert of_curve.keys() - {"periods_per_year"} == provenance._OF_CURVE
    of_trades = trade_metrics(np.array([1.0]), np.array([0.1]))
    assert of_trades.keys() | {"open_trades"} == provenance._OF_TRADES


# The hash that every release, Python, pandas and computer must find: stores remember it.
KNOWN = "9700a129124b5ebec24be8182630256b700c35374ea3ebd64996700f44e47100"
SCRIPT = """
import sys; sys.path.insert(0, sys.argv[1])
import test_provenance; print(test_provenance.hashed())
"""


def test_the_hash_is_the_one_that_stores_remember() -> None:
    assert hashed() == KNOWN


def test_another_process_finds_the_same_hash() -> None:
    command = [sys.executable, "-X", "utf8=0", "-c", SCRIPT, __file__.rpartition("/")[0]]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"} | _path())
    assert found.stdout.strip() == KNOWN


def _path() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(filter(None, sys.path))}


def test_parameters_of_another_program_have_a_hash_too() -> None:
    odd = ["{", "[1", b"\xff", "[" * 100_000, 5, None, "{}"]
    found = [result_hash("a0", one) for one in odd]  # type: ignore[arg-type]
    assert len(set(found)) == len(odd) - 1  # nothing is no parameters


def test_code_has_the_hash_that_other_tools_find() -> None:
    wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert code_hash("abc") == code_hash(b"abc") == wanted


# What is known of an origin ---------------------------------------------------------------------------------------


def test_an_origin_is_stored_as_it_is_given() -> None:
    given = {
        "engine": "vectorbt",
        "packages": {"numpy": "2.3", "套件": None},
        "seed": np.int64(-3),
        "duration": 2,
        "host": None,
        "data_fingerprint": "",
    }
    found = provenance_record(given)
    assert (found.engine, found.packages, found.seed, found.host) == (
        "vectorbt",
        '{"numpy": "2.3", "套件": null}',
        -3,
        None,
    )
    assert (found.duration, type(found.duration), found.data_fingerprint) == (2.0, float, "")
    assert iteration_record("a strategy").provenance is None
    assert iteration_record("a strategy", provenance=pd.Series(given)).provenance == found


WRONG: list[tuple[Any, str]] = [
    (5, "provenance is 5 (int); it must be a dict"),
    ({"gpu": "H200"}, "provenance has the unknown field 'gpu'; allowed are engine, engine_version, code_hash"),
    ({"engine": " "}, "provenance.engine is ' '; it must be text that is not empty"),
    ({"host": 5}, "provenance.host is 5 (int); it must be text that is not empty"),
    ({"data_fingerprint": 5}, "provenance.data_fingerprint is 5 (int); it must be text"),
    ({"packages": ["numpy"]}, "provenance.packages is ['numpy'] (list); it must be a dict of names and values"),
    ({"seed": 0.5}, "provenance.seed is 0.5; it must be a whole number of at least -9223372036854775808"),
    ({"seed": 2**63}, "provenance.seed is 9223372036854775808; it must be a whole number"),
    ({"seed": True}, "provenance.seed is True (bool); it must be a whole number"),
    ({"duration": -1}, "provenance.duration is -1; it must be a number of seconds, 0 or more"),
    ({"duration": float("inf")}, "provenance.duration is inf; it must be a finite number"),
]


@pytest.mark.parametrize(("given", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_origin_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared below
        iteration_record("a strategy", provenance=given)
    assert str(raised.value).startswith(message)


def test_the_hash_asks_each_point_of_the_curve_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cost is counted: nothing is written out point by point, as text of numbers would be."""
    made: Iteration = iteration_record("a strategy", equity=pd.Series(1.0, pd.date_range("2000-01-01", periods=5000)))
    texts: list[str] = []
    canonical = provenance._canonical
    monkeypatch.setattr(provenance, "_canonical", lambda text: texts.append(text) or canonical(text))
    outcome_hash(made)
    assert sum(map(len, texts)) < 500
