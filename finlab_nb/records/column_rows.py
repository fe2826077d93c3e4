"""Rows that are held by column, as they come and as they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn, TypeAlias, overload

Row: TypeAlias = tuple[Any, ...]


class ColumnRows(Sequence[Row]):
    """A list of tuples to whoever reads it; a tuple is made of a row only where somebody looks at it.

    Attributes
    ----------
    columns
        The values of each column, all of one length.
    """

    __slots__ = ("columns",)

    def __init__(self, columns: Iterable[Sequence[Any]]) -> None:
        self.columns = tuple(columns)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> ColumnRows:
        """Hold rows by column."""
        return cls(zip(*rows, strict=True))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.columns[0]) if self.columns else 0

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...

    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        """Return one row, or some as a list."""
        if isinstance(place, slice):
            return list(zip(*(column[place] for column in self.columns), strict=True))
        if not self.columns:
            raise IndexError(place)
        return tuple(column[place] for column in self.columns)

    def __iter__(self) -> Iterator[Row]:
        """Yield each row."""
        return zip(*self.columns, strict=True)

    def __eq__(self, other: object) -> bool:
        """Tell whether another list has the same rows."""
        return isinstance(other, Sequence) and len(other) == len(self) and all(map(tuple.__eq__, self, other))

    def __hash__(self) -> NoReturn:
        raise TypeError("these rows cannot be hashed, as a list cannot")

    def __repr__(self) -> str:
        return repr(list(self))
