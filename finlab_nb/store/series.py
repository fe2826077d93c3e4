"""Series by name: benchmarks, prices, and whatever else iterations are held against."""

from __future__ import annotations

import sqlite3
from typing import Final

from finlab_nb.errors import SeriesNotFoundError
from finlab_nb.records import Series
from finlab_nb.store.broken_text import Row, fetched
from finlab_nb.store.saving import insert_rows

_PUT_NAME: Final = """
    INSERT INTO series_names (name, timezone, source, changed_at) VALUES (?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET timezone = excluded.timezone, source = excluded.source,
                                     changed_at = excluded.changed_at"""
_KEY: Final = "SELECT series_id FROM series_names WHERE name = ?"
_REMOVE_POINTS: Final = "DELETE FROM series WHERE series_id = ?"
_REMOVE: Final = "DELETE FROM series_names WHERE name = ?"
_NAMES: Final = """
    SELECT name, count(point_id), min(date), max(date), timezone, source, changed_at
    FROM series_names LEFT JOIN series USING (series_id) GROUP BY series_names.series_id ORDER BY name"""


def save(connection: sqlite3.Connection, series: Series) -> None:
    """Store a series, in the place of the one that has its name."""
    connection.execute(_PUT_NAME, (series.name, series.timezone, series.source, series.changed_at))
    (key,) = connection.execute(_KEY, (series.name,)).fetchone()
    connection.execute(_REMOVE_POINTS, (key,))
    insert_rows(connection, "series", key, series.points)


def delete(connection: sqlite3.Connection, name: str) -> None:
    """Remove a series; foreign keys remove its points."""
    if connection.execute(_REMOVE, (name,)).rowcount == 0:
        raise SeriesNotFoundError(f"name is {name!r}; no series has this name")


def names(connection: sqlite3.Connection) -> list[Row]:
    """Return the name of each series, its number of points, the first and last date, zone, source and last change."""
    return fetched(connection, _NAMES)
