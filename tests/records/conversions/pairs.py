"""The pairs of a value and a place."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from conversions import tables
from conversions.columns import Column
from conversions.judging import Pair
from conversions.meanings import Text
from conversions.places import Place
from conversions.scalars import Given
from conversions.tables import Container, TableColumn

_ONE_TEXT: Final = Text(text="2330")  # what every type of text holds once


def of_field(place: Place, given: Iterable[Given]) -> list[Pair]:
    """Return the pairs of a field and single values."""
    return [_in_field(place, one) for one in given if not place.hashable or _is_hashable(one.make())]


def of_row(column: TableColumn, container: Container, given: Iterable[Given]) -> list[Pair]:
    """Return the pairs of a column and single values, each in the second of three rows."""
    needs_hash = column.name == "date" and container in (tables.points, tables.curve_of_objects)
    return [_in_row(column, container, one) for one in given if not needs_hash or _is_hashable(one.make())]


def of_column(column: TableColumn, container: Container, given: Iterable[Column]) -> list[Pair]:
    """Return the pairs of a column and columns of three values."""
    return [
        Pair(
            one.name,
            one.make,
            lambda values: container(column.columns(values)),
            one.meanings,
            column.rule(one.meanings),
            column.save,
            column.read,
            tuple(map(column.field, range(3))),
        )
        for one in given
    ]


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except (TypeError, ValueError):  # ValueError: np.timedelta64 of no unit
        return False
    return True


def _in_field(place: Place, given: Given) -> Pair:
    make, meaning = given.make, given.meaning
    if place.text is not None and given.holder is not None and meaning == _ONE_TEXT:
        make, meaning = partial(given.holder, place.text), Text(text=place.text)

    def read(connection: Any, found: Any) -> list[Any]:
        return [place.read(connection, found)]

    return Pair(
        given.name, make, lambda value: value, (meaning,), (place.rule(meaning),), place.save, read, (place.field,)
    )


def _in_row(column: TableColumn, container: Container, given: Given) -> Pair:
    (first, first_is), _, (last, last_is) = column.plain
    three = Column(given.name, lambda: [first, given.make(), last], (first_is, given.meaning, last_is))
    return of_column(column, container, [three])[0]
