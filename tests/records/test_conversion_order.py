"""What a value becomes does not depend on what was saved before: equal things of unlike types are not confused."""

# ruff: noqa: DTZ001 - naive moments are among what is given

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from itertools import count, permutations
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import finlab_nb as fl
from conversions import pairs, tables
from conversions.columns import Column
from conversions.judging import Pair, faults, report
from conversions.meanings import Day, Duration, Exact, Iso, Moment, Other, Real, Text, Truth, Unknown, Whole
from conversions.places import PLACES, fill
from conversions.scalars import NEW_YORK, TAIPEI, Bar, Given, Price, constant
from conversions.tables import COLUMNS
from conversions.texts import TEXT_TYPES, enum_of

_TRADES: Final = [column for column in COLUMNS if column.table == "trades"]
_BY_NAME: Final = {column.name: column for column in COLUMNS}
_NUMBERS: Final = count(
    1
)  # what was saved once may be known for the rest of the process: each test has values of its own


# Families: things that are equal, or nearly, of unlike types ----------------------------------------------------------


def _texts(text: str) -> list[Given]:
    return [
        Given(f"{name} {text!r}", lambda holder=holder: holder(text), Text(text=text))  # type: ignore[misc]
        for name, holder in TEXT_TYPES.items()
    ]


def _wholes(number: int) -> list[Given]:
    whole = Whole(number=number)
    given = [
        constant(f"int {number}", number, whole),
        constant(f"Decimal {number}", Decimal(number), Exact(digits=str(number))),
        constant(f"IntEnum {number}", IntEnum("Kind", {"A": number}).A, whole),  # type: ignore[attr-defined]
        constant(f"Enum of {number}", enum_of(number), whole),
        constant(f"Fraction {number}", Fraction(number), Other(str(number))),
    ]
    if -(2**53) <= number <= 2**53:
        real = Real(digits=repr(float(number)))
        given += [
            constant(f"float {number}", float(number), real),
            constant(f"np.float64 {number}", np.float64(number), real),
            constant(f"Decimal {number}.0", Decimal(f"{number}.0"), Exact(digits=f"{number}.0")),
            constant(f"complex {number}", complex(number), Other(str(complex(number)))),
            constant(
                f"np.timedelta64 {number}", np.timedelta64(number, "ns"), Duration(str(pd.Timedelta(number, "ns")))
            ),
        ]
    if -(2**63) <= number < 2**63:
        given += [
            constant(f"np.int64 {number}", np.int64(number), whole),
            constant(f"pa.int64 {number}", pa.scalar(number, pa.int64()), whole),
        ]
    if number in (0, 1):
        truth = Truth(value=bool(number))
        given += [
            constant(f"{bool(number)}", bool(number), truth),
            constant(f"np.bool_ {number}", np.bool_(number), truth),
        ]
    return given


def _reals(number: float) -> list[Given]:
    real, single = Real(digits=repr(number)), np.float32(number)
    as_single = Real(digits=np.format_float_scientific(single, unique=True, trim="0"))
    return [
        constant(f"float {number}", number, real),
        constant(f"np.float64 {number}", np.float64(number), real),
        constant(f"Price {number}", Price(number), real),
        constant(f"Enum of {number}", enum_of(number), real),
        constant(f"pa.float64 {number}", pa.scalar(number, pa.float64()), real),
        constant(f"Decimal {number}", Decimal(number), Exact(digits=str(Decimal(number)))),
        constant(f"np.float32 {number}", single, as_single),
        constant(f"0-d array of float32 {number}", np.array(single), as_single),
        constant(f"float of np.float32 {number}", float(single), Real(digits=repr(float(single)))),
    ]


def _naive_moments(moment: datetime) -> list[Given]:
    meaning = Moment(utc=moment.isoformat(timespec="microseconds"), iso=moment.isoformat())
    day = Day(day=moment.date().isoformat())
    given = [
        constant(f"datetime {moment}", moment, meaning),
        constant(f"datetime fold=1 {moment}", moment.replace(fold=1), meaning),
        constant(f"Bar {moment}", Bar.fromisoformat(moment.isoformat()), meaning),
        constant(f"pd.Timestamp {moment}", pd.Timestamp(moment), meaning),
        constant(f"pd.Timestamp in ns {moment}", pd.Timestamp(moment).as_unit("ns"), meaning),
        constant(f"np.datetime64[us] {moment}", np.datetime64(moment, "us"), meaning),
        constant(f"np.datetime64[ns] {moment}", np.datetime64(moment, "ns"), meaning),
        constant(f"pa.timestamp {moment}", pa.scalar(moment, pa.timestamp("us")), meaning),
        constant(f"UTC {moment}", moment.replace(tzinfo=UTC), replace(meaning, iso=f"{meaning.iso}+00:00")),
    ]
    if moment.time() == datetime.min.time():
        given += [
            constant(f"date {moment}", moment.date(), day),
            constant(f"np.datetime64[D] {moment}", np.datetime64(moment.date()), day),
            constant(
                f"np.datetime64[Y] {moment}", np.datetime64(moment.date(), "Y"), Other(Iso(f"{moment.year}-01-01"))
            ),
            constant(f"pd.Period[D] {moment}", pd.Period(moment.date(), "D"), Day(str(moment.date()), day=day.day)),
        ]
    return given


def _zoned_moments(moment: datetime) -> list[Given]:
    """The same moment in three zones, and the other fold of the same wall time."""

    def meaning(one: datetime) -> Moment:
        return Moment(
            utc=one.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds"), iso=one.isoformat()
        )

    stamps = [moment, moment.replace(fold=1 - moment.fold), moment.astimezone(UTC), moment.astimezone(TAIPEI)]
    return [
        *(constant(f"datetime {one.isoformat()} fold={one.fold}", one, meaning(one)) for one in stamps),
        *(constant(f"pd.Timestamp {one.isoformat()}", pd.Timestamp(one), meaning(one)) for one in stamps[2:]),
    ]


def _unknown(_: object) -> list[Given]:
    return [
        constant(repr(value), value, Unknown())
        for value in (None, math.nan, np.float32("nan"), pd.NaT, pd.NA, Decimal("NaN"), np.datetime64("NaT"))
    ]


_MIDNIGHTS: Final = st.dates(date(1900, 1, 1), date(2200, 1, 1)).map(lambda day: datetime(day.year, day.month, day.day))
_HOURS: Final = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))
_AUTUMNS: Final = st.integers(0, 3599).map(lambda s: datetime(2024, 11, 3, 1, tzinfo=NEW_YORK) + timedelta(seconds=s))
FAMILIES: Final = st.one_of(
    st.text(st.characters(categories=["L"], codec="utf-8"), min_size=1, max_size=8).map(_texts),
    st.one_of(st.integers(-2, 3), st.integers(-(2**70), 2**70)).map(_wholes),
    st.floats(-1e6, 1e6).map(_reals),
    st.one_of(_MIDNIGHTS, _HOURS).map(_naive_moments),
    st.one_of(_AUTUMNS, _HOURS.map(lambda one: one.replace(tzinfo=NEW_YORK))).map(_zoned_moments),
    st.none().map(_unknown),
)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[fl.StorageManager]]:
    """Return two stores of one process."""
    folder = tmp_path_factory.mktemp("order")
    for name in ("a.db", "b.db"):
        fill(folder / name)
    with fl.StorageManager(folder / "a.db") as one, fl.StorageManager(folder / "b.db") as other:
        yield [one, other]


def _check(wrong: list[str], number: int) -> None:
    if wrong:
        pytest.fail(report(wrong, number), pytrace=False)


# Families made anew from a number, and a column that takes them.
_FRESH: Final[dict[str, tuple[str, Callable[[int], list[Given]]]]] = {
    "texts": ("stock_code", lambda i: _texts(f"code{i}")),
    "whole numbers": ("profit_loss", lambda i: _wholes(i + 1000)),
    "one": ("profit_loss", lambda _: _wholes(1)),
    "beyond a float": ("profit_loss", lambda i: _wholes(2**53 + 1 + 2 * i)),
    "floats": ("profit_loss", lambda i: _reals(i + 0.1)),
    "midnights": ("exit_date", lambda i: _naive_moments(datetime(2000, 1, 1) + timedelta(days=i))),
    "moments": ("exit_date", lambda i: _naive_moments(datetime(2000, 1, 1, 9, 30) + timedelta(minutes=i))),
    "the hour that comes twice": (
        "exit_date",
        lambda i: _zoned_moments(datetime(2024, 11, 3, 1, tzinfo=NEW_YORK) + timedelta(microseconds=i)),
    ),
    "missing numbers": ("profit_loss", _unknown),
    "missing dates": ("exit_date", _unknown),
}


@pytest.mark.parametrize("family", _FRESH)
def test_equal_things_of_unlike_types_are_not_confused_in_either_order(
    stores: list[fl.StorageManager], family: str
) -> None:
    name, fresh = _FRESH[family]
    in_order: list[Pair] = []
    for first, second in permutations(range(len(fresh(0))), 2):
        alike = fresh(next(_NUMBERS))
        for i in (first, second):
            one = replace(alike[i], name=f"{alike[i].name} ({alike[first].name}, then {alike[second].name})")
            in_order += pairs.of_row(_BY_NAME[name], tables.dicts, [one])
    _check([line for store in stores for line in faults(store, in_order)], 2 * len(in_order))


@pytest.mark.slow
@settings(max_examples=200)
@given(FAMILIES, st.data())
def test_what_was_saved_before_changes_nothing(
    stores: list[fl.StorageManager], family: list[Given], data: st.DataObject
) -> None:
    alike = data.draw(st.lists(st.sampled_from(family), min_size=2, max_size=4))
    place, column = data.draw(st.sampled_from(PLACES)), data.draw(st.sampled_from(COLUMNS))
    wrong: list[str] = []
    for store in stores:
        wrong += faults(store, pairs.of_field(place, alike), at_once=place.at_once)
        wrong += faults(store, pairs.of_row(column, tables.dicts, alike))
    _check(wrong, 4 * len(alike))


@pytest.mark.slow
@settings(max_examples=200)
@given(FAMILIES, st.data())
def test_equal_things_of_unlike_types_stand_in_one_column(
    stores: list[fl.StorageManager], family: list[Given], data: st.DataObject
) -> None:
    three = data.draw(st.lists(st.sampled_from(family), min_size=3, max_size=3))
    column = data.draw(st.sampled_from(_TRADES))
    container = data.draw(st.sampled_from([tables.dicts, tables.object_frame, tables.namedtuples]))
    name = ", ".join(one.name for one in three)
    mixed = Column(name, lambda: [one.make() for one in three], tuple(one.meaning for one in three))
    _check(faults(stores[0], pairs.of_column(column, container, [mixed])), 1)
