"""Text that is no UTF-8: other programs can store it, and Python's sqlite3 refuses to read it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from finlab_nb.errors import BadDataWarning
from finlab_nb.errors import warn as warn_caller
from finlab_nb.records.tables import Table

Row: TypeAlias = tuple[Any, ...]


class BrokenText(bytes):
    """Stored text that is no UTF-8, as the bytes it consists of."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({super().__repr__()})"


def fetched(
    connection: sqlite3.Connection, query: str, parameters: Sequence[object] = (), *, warn: bool = False
) -> list[Row]:
    """Return the rows of a query; text that is no UTF-8 comes as `BrokenText`, with a warning if that is wanted."""
    try:
        return connection.execute(query, parameters).fetchall()
    except sqlite3.OperationalError as error:
        if not str(error).startswith("Could not decode to UTF-8"):
            raise
    usual, connection.text_factory = connection.text_factory, decoded
    try:
        rows = connection.execute(query, parameters).fetchall()
    finally:
        connection.text_factory = usual
    if warn:
        warn_caller(
            "another program has stored text that is no UTF-8; it is given as bytes, and store.check() lists all such "
            "values",
            BadDataWarning,
        )
    return rows


def insert(connection: sqlite3.Connection, table: Table, rows: Iterable[Row]) -> None:
    """Insert rows without their number, whose values may be `BrokenText`."""
    names = [name for name in table.stored_names if name != table.row_key]
    for row in rows:
        places = ", ".join("CAST(? AS TEXT)" if isinstance(value, BrokenText) else "?" for value in row)
        connection.execute(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})", row)


def decoded(raw: bytes) -> str | BrokenText:
    """Return stored text as `str` where it is UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return BrokenText(raw)
