"""A researcher's own SQL."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, Final, TypeAlias

import duckdb
import pandas as pd
import pyarrow as pa

from finlab_nb.errors import QueryError, is_ours
from finlab_nb.query.frames.questions import Questions, Views
from finlab_nb.query.tables import TABLES
from finlab_nb.records import arguments

Lookup: TypeAlias = Callable[[str], Any]

_UNKNOWN_TABLE: Final = re.compile(r"Table with name (.+?) does not exist!", re.DOTALL)


class SqlFrames(Questions):
    """Any other question."""

    def sql(
        self,
        query: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        frames: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """See `Lab.sql`."""
        text, values = arguments.filled_text("query", query), arguments.bound_values("params", params)
        given = _given_frames(frames)
        lookup = _variables(sys._getframe(1))  # noqa: SLF001 - the documented way to find a caller

        def question(views: Views) -> pd.DataFrame:
            views.check_select(text)
            for name, frame in given.items():
                views.connection.register(name, frame)
            return _with_variables(views, text, values, lookup)

        return self.ask(question)

    def relation(self, view: str) -> duckdb.DuckDBPyRelation:
        """See `Lab.relation`."""
        name = arguments.one_of("view", view, list(TABLES))
        self.warn_of_lost_values([name])
        return self._engine.pin(name)


def _with_variables(views: Views, query: str, values: Any, lookup: Lookup) -> pd.DataFrame:
    """Answer a query; an unknown table is looked up among the caller's variables."""
    known: set[str] = set()
    while True:
        try:
            return views.frame(query, values)
        except duckdb.CatalogException as error:
            unknown = _UNKNOWN_TABLE.search(str(error))
            if unknown is None or unknown[1].lower() in known:
                raise
            value = lookup(unknown[1])
            if value is None:
                raise
            views.connection.register(unknown[1], _table(unknown[1], value))
            known.add(unknown[1].lower())


def _variables(frame: FrameType | None) -> Lookup:
    """Return a function that finds a variable as the code outside this package sees it, or None."""
    while frame is not None and is_ours(frame):
        frame = frame.f_back
    scopes: list[Mapping[str, Any]] = []
    module = {} if frame is None else frame.f_globals
    while frame is not None and frame.f_globals is module:  # a lambda or comprehension has its own frame
        scopes.append(frame.f_locals)
        frame = frame.f_back
    scopes.append(module)

    def lookup(name: str) -> Any:
        return next((scope[name] for scope in scopes if name in scope), None)

    return lookup


def _given_frames(frames: Mapping[str, Any] | None) -> dict[str, Any]:
    if frames is None:
        return {}
    for name in arguments.mapping("frames", frames, "a dict of names and DataFrames"):
        if not isinstance(name, str) or name.lower() in TABLES:
            raise ValueError(f"frames has the name {name!r}; it must be text, and not the name of a view")
    return {name: _table(name, value) for name, value in frames.items()}


def _table(name: str, value: Any) -> Any:
    """Return a value in a form that DuckDB can scan without reading any file."""
    if isinstance(value, (pd.DataFrame, pa.Table)):
        return value
    if hasattr(value, "__arrow_c_stream__") and not isinstance(value, pd.Series):
        return pa.table(value)
    raise QueryError(
        f"the query reads {name}, and the variable {name} is a {type(value).__name__}; it must be a DataFrame of "
        "pandas or polars, or a table of pyarrow"
    )
