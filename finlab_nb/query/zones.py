"""Which time zones DuckDB knows: naming another one fails a whole query."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import duckdb

_NAMES: Final = "SELECT name FROM pg_timezone_names()"

_names: set[str] = set()  # read once, which takes as long as reading a thousand trades


def known(connection: duckdb.DuckDBPyConnection, names: Iterable[str | None]) -> list[str]:
    """Return those of the names that DuckDB has a zone for."""
    if not _names:
        _names.update(name for (name,) in connection.execute(_NAMES).fetchall())
    return sorted(_names.intersection(names))
