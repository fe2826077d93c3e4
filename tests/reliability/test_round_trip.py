"""Whatever is valid comes back as it was given: any text, any finite number, any date."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
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


def stored_dates(values: list[date], zone: ZoneInfo | None, *, is_curve: bool) -> list[str]:
    """Return the texts that the dates of a table come back as: plainly, one by one, by local days."""
    aware = {
        i: one if one.tzinfo else one.replace(tzinfo=zone)
        for i, one in enumerate(values)
        if isinstance(one, datetime) and (one.tzinfo or zone)
    }
    local = {i: one.astimezone(zone or one.tzinfo) for i, one in aware.items()}
    days = [
        local[i].date() if i in local else one.date() if isinstance(one, datetime) else one
        for i, one in enumerate(values)
    ]
    are_days = len(set(days)) == len(days) if is_curve else all(map(begins_day, local.values()))

    def text(i: int, one: date) -> str:
        if i in local:
            return days[i].isoformat() if are_days else local[i].astimezone(UTC).replace(tzinfo=None).isoformat()
        return one.isoformat().removesuffix("T00:00:00")

    return [text(i, one) for i, one in enumerate(values)]


def begins_day(moment: datetime) -> bool:
    before = (moment.astimezone(UTC) - timedelta(microseconds=1)).astimezone(moment.tzinfo)
    return before.date() != moment.date()


def as_timestamp(moment: datetime) -> str:
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@st.composite
def trades(draw: st.DrawFn, zone: ZoneInfo | None, dates: st.SearchStrategy[date]) -> list[dict[str, Any]]:
    """Return trades whose dates are texts or objects, each with its dates as they come back under `_dates`."""
    ends = draw(st.lists(st.tuples(dates, dates, st.booleans()), max_size=4))
    told = [day for entry, leave, is_open in ends for day in ((entry,) if is_open else (entry, leave))]
    texts_of = dict(zip(map(repr, told), stored_dates(told, zone, is_curve=False), strict=True))
    return [draw(trade(entry, None if is_open else leave, texts_of)) for entry, leave, is_open in ends]


@st.composite
def trade(draw: st.DrawFn, entry: date, leave: date | None, texts_of: dict[str, str]) -> dict[str, Any]:
    if leave is not None and texts_of[repr(leave)] < texts_of[repr(entry)]:
        entry, leave = leave, entry
    given = {
        "stock_code": draw(names),
        "entry_date": draw(st.sampled_from([entry, entry.isoformat()])),
        "exit_date": leave,
        "entry_price": draw(numbers),
        "exit_price": draw(st.none() | numbers) if leave is None else draw(numbers),
        "position_size": draw(numbers | st.integers(-(2**53), 2**53)),
        "profit_loss": draw(st.none() | numbers),
        "trade_return": draw(st.none() | numbers),
        "fees": draw(st.none() | numbers),
        "mae": draw(st.none() | numbers.map(lambda one: -abs(one))),
        "mfe": draw(st.none() | numbers.map(abs)),
        "multiplier": draw(st.none() | amounts),
        "entry_reason": draw(st.none() | texts),
        "exit_reason": draw(st.none() | texts),
        "extra": draw(st.none() | st.dictionaries(texts, plain, min_size=1, max_size=3)),
    }
    return given | {"_dates": (texts_of[repr(entry)], None if leave is None else texts_of[repr(leave)])}


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
origins = st.fixed_dictionaries(
    {
        **dict.fromkeys(("engine", "engine_version", "code_hash", "host", "result_hash"), st.none() | names),
        "packages": st.none() | st.dictionaries(texts, texts, max_size=3),
        "data_fingerprint": st.none() | texts,
        "seed": st.none() | st.integers(-(2**63), 2**63 - 1),
        "duration": st.none() | st.floats(0, 1e300),
    }
)


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    zone = draw(st.none() | st.sampled_from(["Asia/Taipei", "America/New_York", "America/Sao_Paulo", "Etc/GMT+5"]))
    known = None if zone is None else ZoneInfo(zone)
    bars = draw(offsets)  # a vendor's stamps: midnight where the market is
    dates = draw(st.sampled_from([days, days, moments.map(lambda one: datetime.combine(one, time(), known or bars))]))
    curve = draw(st.dictionaries(dates, numbers, max_size=4))
    assume(len({*stored_dates(list(curve), known, is_curve=True)}) == len(curve))
    return draw(st.fixed_dictionaries(plain_fields)) | {
        "trades": draw(trades(known, dates)),
        "equity": curve,
        "timezone": zone,
    }


plain_fields: dict[str, st.SearchStrategy[Any]] = {
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
    "suggestions": st.lists(suggestions, max_size=3),
    "parameters": st.dictionaries(texts, plain, max_size=3),
    "tags": st.lists(names, max_size=3),
    "provenance": st.none() | origins,
    "note": st.none() | texts,
    "timestamp": moments,
    "initial_capital": st.none() | amounts,
    "currency": st.none() | names,
}


def expected(run: dict[str, Any]) -> dict[str, Any]:
    """Return what `load_iteration` must give for a saved run."""
    dated = [
        {name: value for name, value in trade.items() if name != "_dates"}
        | dict(zip(("entry_date", "exit_date"), trade["_dates"], strict=True))
        for trade in run["trades"]
    ]
    zone = None if run["timezone"] is None else ZoneInfo(run["timezone"])
    points = zip(stored_dates(list(run["equity"]), zone, is_curve=True), run["equity"].values(), strict=True)
    return run | {
        "extra_metrics": {"open_trades": float([trade["exit_date"] for trade in run["trades"]].count(None))}
        | {name: None if value is None or math.isnan(value) else value for name, value in run["extra_metrics"].items()},
        "trades": sorted(dated, key=lambda trade: trade["entry_date"]),
        "equity": [{"date": day, "equity": value} for day, value in sorted(points)],
        "suggestions": sorted(run["suggestions"], key=lambda one: ("high", "medium", "low").index(one["priority"])),
        "tags": list(dict.fromkeys(run["tags"])),
        "timestamp": as_timestamp(run["timestamp"]),
        "changed_at": None,
    }


@pytest.mark.timeout(1800)
@settings(max_examples=5000 if LONG else 150)
@given(run=runs(), name=names, parameters=st.dictionaries(texts, plain, max_size=3))
def test_an_arbitrary_run_comes_back_as_it_was_saved(
    store: fl.StorageManager, run: dict[str, Any], name: str, parameters: dict[str, Any]
) -> None:
    strategy = store.save_strategy_version(name, run["code"], parameters)
    given = [{name: value for name, value in trade.items() if name != "_dates"} for trade in run["trades"]]
    saved = store.save_iteration(strategy, **run | {"trades": given})
    loaded, wanted = store.load_iteration(saved), expected(run)
    if "total_return" not in wanted["extra_metrics"]:  # which a curve gives
        loaded["extra_metrics"].pop("total_return", None)
    if wanted["timezone"] is None:  # then it may be the data's own
        loaded["timezone"] = None
    identities = ("suggestion_id", "applied_iteration_id", "applied_iteration_ids")
    loaded["suggestions"] = [
        {key: value for key, value in one.items() if key not in identities} for one in loaded["suggestions"]
    ]
    for key, value in wanted.items():
        assert loaded[key] == value, key
    (summary,) = store.load_strategy_history(strategy)
    assert summary == {key: value for key, value in store.load_iteration(saved).items() if key in summary}
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
    made=trades(None, days),
)
def test_metrics_computed_from_any_curve_and_trades_are_numbers_or_unknown(
    store: fl.StorageManager, curve: dict[date, float], made: list[dict[str, Any]]
) -> None:
    given = [{name: value for name, value in trade.items() if name != "_dates"} for trade in made]
    run = store.save_iteration(store.save_strategy_version("momentum", "signal = 1"), equity=curve, trades=given)
    metrics = store.load_iteration(run)["metrics"]
    assert tuple(metrics) == FIVE
    assert all(value is None or math.isfinite(value) for value in metrics.values())
