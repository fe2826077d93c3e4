"""A researcher's own SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import pandas as pd
import pyarrow as pa

from finlab_nb.errors import QueryError
from finlab_nb.query.frames import answers
from finlab_nb.query.frames.parsing import Parsed
from finlab_nb.query.frames.questions import Questions, Views
from finlab_nb.query.frames.variables import callers_variables
from finlab_nb.query.tables import TABLES
from finlab_nb.records import arguments

FORMS: Final = ("pandas", "arrow", "polars", "stream")

_VIEWS: Final = frozenset({*TABLES, "results"})


class SqlFrames(Questions):
    """Any other question."""

    def sql(
        self,
        query: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        frames: Mapping[str, Any] | None = None,
        to: str = "pandas",
    ) -> Any:
        """See `Lab.sql`."""
        text, values = arguments.filled_text("query", query), arguments.bound_values("params", params)
        form = arguments.one_of("to", to, FORMS)
        if form == "polars":
            answers.load_polars()
        known = _given_frames(frames)
        names = {name.lower() for name in known}
        wanted = self.parsed(text, names)
        known |= _variables(wanted, {*_VIEWS, *names})
        tables = {name.lower() for name in wanted.read} & _VIEWS

        def asked(views: Views) -> Any:
            for name, frame in known.items():
                views.connection.register(name, frame)
            return views.result(wanted.text, values)

        if form == "stream":
            return self.stream(lambda views: answers.stream(asked(views)), tables)
        answer = self.ask(lambda views: answers.table(asked(views)), tables)
        return answer if form == "arrow" else answers.FRAMES[form](answer)


def _given_frames(frames: Mapping[str, Any] | None) -> dict[str, Any]:
    if frames is None:
        return {}
    for name in arguments.mapping("frames", frames, "a dict of names and DataFrames"):
        if not isinstance(name, str) or not name or name.lower() in _VIEWS:
            raise ValueError(f"frames has the name {name!r}; it must be text, and not the name of a view")
    return _tables(frames)


def _variables(wanted: Parsed, known: Collection[str]) -> dict[str, Any]:
    """Return the caller's variables of the names that a query reads, and that nothing else has."""
    names = [name for name in wanted.read if name.lower() not in known]
    found = dict(zip(names, map(callers_variables(), names), strict=True)) if names else {}
    # What WITH defines may be read only where it is defined, and then a variable of its name need not be a table.
    return _tables(
        {
            name: value
            for name, value in found.items()
            if value is not None and (name.lower() not in wanted.defined or _is_table(value))
        }
    )


def _tables(values: Mapping[str, Any]) -> dict[str, Any]:
    names = {name.lower(): name for name in values}
    for name in values:
        if names[name.lower()] != name:
            raise QueryError(f"the tables {name} and {names[name.lower()]} have the same name for DuckDB")
    return {name: _table(name, value) for name, value in values.items()}


def _is_table(value: Any) -> bool:
    is_column = isinstance(value, (pd.Series, pa.Array, pa.ChunkedArray))
    return isinstance(value, (pd.DataFrame, pa.Table)) or (hasattr(value, "__arrow_c_stream__") and not is_column)


def _table(name: str, value: Any) -> Any:
    """Return a value in a form that DuckDB can scan, several times and without reading any file."""
    if isinstance(value, (pd.DataFrame, pa.Table)):
        return value
    if _is_table(value):
        try:
            return pa.table(value)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise QueryError(f"the query reads {name}, and pyarrow cannot read the variable {name}: {error}") from error
    hint = "; collect() makes one of it" if hasattr(value, "collect") else ""
    raise QueryError(
        f"the query reads {name}, and the variable {name} is a {type(value).__name__}; it must be a DataFrame of "
        f"pandas or polars, or a table of pyarrow{hint}"
    )
