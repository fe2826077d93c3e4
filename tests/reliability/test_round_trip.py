"""Whatever is valid comes back as it was given: any text, any finite number, any date."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journaled import LONG

import finlab_nb as fl

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.filterwarnings("ignore::finlab_nb.ImplausibleDataWarning"),  # of arbitrary numbers
]
FIVE = ("annualized_return", "sharpe_ratio", "max_drawdown", "win_rate", "total_trades")

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
names = texts.filter(lambda one: bool(one.strip()))
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308, -0.0, 0.1, 2.0**53 + 2]
)
amounts = st.floats(1e-3, 1e15)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
zones = st.none() | st.just(UTC) | offsets
moments = st.datetimes(datetime.fromisoformat("0002-01-01"), datetime.fromisoformat("9998-12-31"), timezones=zones)
days = st.dates(date(2, 1, 1), date(9998, 12, 31)) | moments
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def as_stored(day: date) -> str:
    """Return the text that a date, or a date and time, comes back as."""
    if not isinstance(day, datetime):
        return day.isoformat()
    if day.tzinfo is not None:
        day = day.astimezone(UTC).replace(tzinfo=None)
    return day.isoformat() if day.time() != datetime.min.time() else day.date().isoformat()


def as_timestamp(moment: datetime) -> str:
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@st.composite
def trades(draw: st.DrawFn) -> dict[str, Any]:
    entry, leave = sorted([draw(days), draw(days)], key=as_stored)
    is_open = draw(st.booleans())
    return {
        "stock_code": draw(names),
        "entry_date": draw(st.sampled_from([entry, as_stored(entry)])),
        "exit_date": None if is_open else leave,
        "entry_price": draw(numbers),
        "exit_price": draw(st.none() | numbers) if is_open else draw(numbers),
        "position_size": draw(numbers | st.integers(-(2**53), 2**53)),
        "profit_loss": draw(st.none() | numbers),
    }


suggestions = st.fixed_dictionaries(
    {
        "priority": st.sampled_from(["high", "medium", "low"]),
        "description": names,
        "specific_changes": st.none() | texts,
        "expected_impact": st.none() | texts,
        "rationale": st.none() | texts,
        "learning_references": st.none() | st.lists(plain, max_size=3),
        "status": st.sampled_from(["open", "applied", "rejected"]),
    }
)
runs = st.fixed_dictionaries(
    {
        "code": texts,
        "metrics": st.fixed_dictionaries(
            {
                "annualized_return": st.none() | numbers,
                "sharpe_ratio": st.none() | numbers,
                "max_drawdown": st.none() | numbers.map(lambda one: -abs(one)),
                "win_rate": st.none() | st.floats(0, 1),
                "total_trades": st.none() | st.integers(0, 2**63 - 1),
            }
        ),
        "extra_metrics": st.dictionaries(names, st.none() | st.floats(), max_size=4),
        "trades": st.lists(trades(), max_size=4),
        "suggestions": st.lists(suggestions, max_size=3),
        "equity": st.dictionaries(days, numbers, max_size=4).filter(
            lambda points: len(set(map(as_stored, points))) == len(points)
        ),
        "parameters": st.dictionaries(texts, plain, max_size=3),
        "tags": st.lists(names, max_size=3),
        "note": st.none() | texts,
        "timestamp": moments,
    }
)


def expected(run: dict[str, Any]) -> dict[str, Any]:
    """Return what `load_iteration` must give for a saved run."""
    dated = [
        trade | {name: trade[name] and as_stored(trade[name]) for name in ("entry_date", "exit_date")}
        if not isinstance(trade["entry_date"], str)
        else trade | {"exit_date": trade["exit_date"] and as_stored(trade["exit_date"])}
        for trade in run["trades"]
    ]
    return run | {
        "extra_metrics": {"open_trades": float([trade["exit_date"] for trade in run["trades"]].count(None))}
        | {name: None if value is None or math.isnan(value) else value for name, value in run["extra_metrics"].items()},
        "trades": sorted(dated, key=lambda trade: trade["entry_date"]),
        "equity": sorted(
            ({"date": as_stored(day), "equity": value} for day, value in run["equity"].items()),
            key=lambda point: point["date"],
        ),
        "suggestions": sorted(run["suggestions"], key=lambda one: ("high", "medium", "low").index(one["priority"])),
        "tags": list(dict.fromkeys(run["tags"])),
        "timestamp": as_timestamp(run["timestamp"]),
    }


@pytest.mark.timeout(1800)
@settings(max_examples=5000 if LONG else 150)
@given(run=runs, name=names, parameters=st.dictionaries(texts, plain, max_size=3))
def test_an_arbitrary_run_comes_back_as_it_was_saved(
    store: fl.StorageManager, run: dict[str, Any], name: str, parameters: dict[str, Any]
) -> None:
    strategy = store.save_strategy_version(name, run["code"], parameters)
    saved = store.save_iteration(strategy, **run)
    loaded, wanted = store.load_iteration(saved), expected(run)
    identities = ("suggestion_id", "applied_iteration_id")
    loaded["suggestions"] = [
        {key: value for key, value in one.items() if key not in identities} for one in loaded["suggestions"]
    ]
    for key, value in wanted.items():
        assert loaded[key] == value, key
    (summary,) = store.load_strategy_history(strategy)
    assert summary == {key: value for key, value in loaded.items() if key in summary}
    assert summary["iteration_number"] == 1
    loaded_strategy = store.load_strategy(strategy)
    assert (loaded_strategy["name"], loaded_strategy["code"], loaded_strategy["parameters"]) == (
        name,
        run["code"],
        parameters,
    )


@settings(max_examples=2000 if LONG else 100)
@given(
    curve=st.dictionaries(st.dates(), st.just(0.0) | amounts | amounts.map(lambda one: -one), max_size=6),
    made=st.lists(trades(), max_size=4),
)
def test_metrics_computed_from_any_curve_and_trades_are_numbers_or_unknown(
    store: fl.StorageManager, curve: dict[date, float], made: list[dict[str, Any]]
) -> None:
    run = store.save_iteration(store.save_strategy_version("momentum", "signal = 1"), equity=curve, trades=made)
    metrics = store.load_iteration(run)["metrics"]
    assert tuple(metrics) == FIVE
    assert all(value is None or math.isfinite(value) for value in metrics.values())
