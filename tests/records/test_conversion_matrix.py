"""The matrix of conversions: every type of value in every field of a save, and every dtype in every column.

Each pair is stored exactly, is NULL where it means unknown, or is refused with field, row, value and what is allowed.
What must become of a pair follows from what the value is, which `conversions` says by hand, never from the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import Any, Final

import pytest

import finlab_nb as fl
from conversions import pairs, tables
from conversions.arrow_columns import ARROW, BACKED, POLARS
from conversions.judging import Pair, faults, report
from conversions.libraries import GIVEN
from conversions.numpy_columns import NUMPY, PANDAS
from conversions.places import PLACES, Place, fill
from conversions.tables import COLUMNS, Container, TableColumn

_EQUITY: Final = [column for column in COLUMNS if column.table == "equity"]
_SOME: Final = [column for column in COLUMNS if column.name in ("stock_code", "entry_date", "entry_price")]

# The fast lane takes each kind of column once, in dicts and in a DataFrame, and a field of every fourth kind.
_FAST: Final = {
    tables.dicts: ("stock_code", "entry_date", "profit_loss"),
    tables.frame: ("stock_code", "exit_date", "entry_price"),
    tables.arrays: ("entry_date", "entry_price"),
    tables.curve: ("date", "equity"),
}
_FAST_FIELDS: Final = 4


def _slow_if(slow: bool) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] if slow else []


def _group(container: Container, column: TableColumn, build: Callable[..., list[Pair]], given: Iterable[Any]) -> Any:
    """Return one case: how its pairs are built."""
    marks = _slow_if(column.name not in _FAST.get(container, ()))
    name = f"{container.__name__}: {column.field(1)}"
    return pytest.param(cache(partial(build, column, container, given)), id=name, marks=marks)


def _rows() -> Iterator[Any]:
    """Single values, in the second row of every kind of rows."""
    complete = (tables.dicts, tables.object_frame)
    kinds = [(container, COLUMNS if container in complete else _SOME) for container in tables.ROWS]
    for container, places in [*kinds, (tables.points, _EQUITY), (tables.curve_of_objects, _EQUITY)]:
        yield from (_group(container, column, pairs.of_row, GIVEN) for column in places)


def _typed() -> Iterator[Any]:
    """Columns of every dtype, in every kind of table."""
    indexed = [column for column in (*PANDAS, *BACKED) if not column.name.startswith("numpy float16")]
    for container, given, places in (
        (tables.frame, [*PANDAS, *BACKED], COLUMNS),
        (tables.curve, indexed, _EQUITY),
        (tables.frame_of_one_column, indexed, _EQUITY),
        (tables.arrow_table, ARROW, COLUMNS),
        (tables.arrow_batch, ARROW, _SOME),
        (tables.polars_frame, POLARS, COLUMNS),
        (tables.arrays, NUMPY, COLUMNS),
        (tables.typed_records, NUMPY, COLUMNS),
    ):
        yield from (_group(container, column, pairs.of_column, given) for column in places)


FIELDS: Final = [
    pytest.param(place, id=place.name, marks=_slow_if(number % _FAST_FIELDS > 0)) for number, place in enumerate(PLACES)
]
ROWS: Final = list(_rows())
TYPED: Final = list(_typed())


@pytest.fixture(scope="module")
def matrix_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fl.StorageManager]:
    """Return the store that takes all pairs."""
    path = tmp_path_factory.mktemp("matrix") / "matrix.db"
    fill(path)
    with fl.StorageManager(path) as store:
        yield store
    for case in (*ROWS, *TYPED):
        case.values[0].cache_clear()  # half a million objects, which garbage collections of later tests go through


def _check(store: fl.StorageManager, given: list[Pair], *, at_once: bool = False) -> None:
    if wrong := faults(store, given, at_once=at_once):
        pytest.fail(report(wrong, len(given)), pytrace=False)


@pytest.mark.parametrize("place", FIELDS)
def test_every_value_in_a_field_is_stored_as_it_is_or_refused(matrix_store: fl.StorageManager, place: Place) -> None:
    _check(matrix_store, pairs.of_field(place, GIVEN), at_once=place.at_once)


@pytest.mark.parametrize("group", ROWS)
def test_every_value_in_a_row_is_stored_as_it_is_or_refused(
    matrix_store: fl.StorageManager, group: Callable[[], list[Pair]]
) -> None:
    _check(matrix_store, group())


@pytest.mark.parametrize("group", TYPED)
def test_every_column_of_a_dtype_is_stored_as_it_is_or_refused(
    matrix_store: fl.StorageManager, group: Callable[[], list[Pair]]
) -> None:
    _check(matrix_store, group())


def test_the_matrix_has_thousands_of_pairs(record_property: Callable[[str, object], None]) -> None:
    groups = [*(pairs.of_field(place, GIVEN) for place in PLACES), *(case.values[0]() for case in (*ROWS, *TYPED))]
    count = sum(map(len, groups))
    record_property("pairs", count)
    print(f"\n{count:,} pairs: {len(GIVEN)} values in {len(PLACES) + len(ROWS)} places, columns in {len(TYPED)}")
    assert count >= 20_000
