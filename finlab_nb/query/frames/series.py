"""Questions about series by name: benchmarks and prices."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from finlab_nb.errors import SeriesNotFoundError
from finlab_nb.query.frames.columns import listed_names
from finlab_nb.query.frames.questions import Questions, Views, to_frame
from finlab_nb.records import arguments

_POINTS: Final = """
    SELECT date, value FROM {series} WHERE name = $name AND date IS NOT NULL AND value IS NOT NULL
    ORDER BY date, point_id"""
_DATE: Final = pa.timestamp("us")
_NAMES: Final = pa.schema(
    [
        ("name", pa.string()),
        ("points", pa.int64()),
        ("first", _DATE),
        ("last", _DATE),
        ("timezone", pa.string()),
        ("source", pa.string()),
        ("changed_at", pa.timestamp("us", "UTC")),
    ]
)


class SeriesFrames(Questions):
    """Series by name."""

    def series(self, name: str) -> pd.Series:
        """See `Lab.series`."""
        wanted = arguments.filled_text("name", name)

        def question(views: Views) -> Any:
            query = _POINTS.format(series=views.moment.rows_of("series", [wanted]))
            return views.execute(query, {"name": wanted}).fetchnumpy()

        points = self.ask(question, {"series"}, [wanted])
        dates, values = (np.ma.getdata(points[column]) for column in ("date", "value"))
        if not len(dates):
            names = self.series_names()["name"].tolist()
            if wanted not in names:
                there_are = f"there are {listed_names(names)}" if names else "there are none"
                raise SeriesNotFoundError(f"name is {wanted!r}; no series has this name, {there_are}")
        return pd.Series(values, index=pd.DatetimeIndex(dates, dtype="datetime64[us]", name="date"), name=wanted)

    def series_names(self) -> pd.DataFrame:
        """See `Lab.series_names`."""
        rows = [
            (_text(name), points, _moment(first), _moment(last), _text(zone), _text(source), _moment(changed_at))
            for name, points, first, last, zone, source, changed_at in self._source.series_names()
        ]
        columns = [pa.array(column, kind) for column, kind in zip(_columns(rows), _NAMES.types, strict=True)]
        return to_frame(pa.Table.from_arrays(columns, schema=_NAMES))


def _columns(rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    return [[row[place] for row in rows] for place in range(len(_NAMES))]


def _text(stored: object) -> str | None:
    return stored if isinstance(stored, str) else None


def _moment(stored: object) -> datetime | None:
    """Return a stored date as a naive moment; None where another program has stored something else."""
    with contextlib.suppress(ValueError, OverflowError):
        found = datetime.fromisoformat(str(stored))
        return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)
    return None
