"""The wide table of iterations: one column for each metric, extra metric and parameter, typed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from finlab_nb.errors import QueryError
from finlab_nb.query.frames.columns import listed_names
from finlab_nb.query.frames.json_columns import types_of, values_of
from finlab_nb.query.frames.questions import Views
from finlab_nb.query.tables import literal, quoted
from finlab_nb.records import METRICS, arguments

BASE_COLUMNS: Final = (
    "iteration_id",
    "strategy_id",
    "strategy",
    "iteration_number",
    "timestamp",
    *METRICS,
    "starred",
    "archived",
    "note",
    "tags",
    "initial_capital",
    "currency",
    "timezone",
    "periods_per_year",
    "changed_at",
)
_METRICS: Final = ", ".join(f"m.{name}" for name in METRICS)
_IN_TIME: Final = [str(BASE_COLUMNS.index(name) + 1) for name in ("timestamp", "iteration_id")]

_CHOSEN: Final = """(
    SELECT i.*, s.name AS strategy FROM iterations AS i LEFT JOIN strategies AS s USING (strategy_id)
    WHERE {condition})"""
_EXTRA_METRIC_NAMES: Final = f"""
    SELECT DISTINCT name FROM extra_metrics
    WHERE name IS NOT NULL AND iteration_id IN (SELECT iteration_id FROM {_CHOSEN}) ORDER BY name"""
# This takes a sixth of the time of string_agg(tag, ', ' ORDER BY tag).
_TAGS: Final = """
    SELECT iteration_id, array_to_string(list_sort(list(tag) FILTER (tag IS NOT NULL)), ', ') AS tags
    FROM tags GROUP BY iteration_id"""
_ITERATIONS: Final = f"""
    SELECT i.iteration_id, i.strategy_id, i.strategy, i.iteration_number, i.timestamp,
           {_METRICS}, i.starred, i.archived, i.note, t.tags,
           i.initial_capital, i.currency, i.timezone, i.periods_per_year, i.changed_at{{parameters}}{{extra_metrics}}
    FROM (SELECT *, {{parameter_values}} AS p FROM {_CHOSEN}) AS i
    LEFT JOIN metrics AS m USING (iteration_id)
    LEFT JOIN ({_TAGS}) AS t USING (iteration_id)
    LEFT JOIN (SELECT iteration_id{{pivoted}} FROM extra_metrics GROUP BY ALL) AS e USING (iteration_id)"""


@dataclass(frozen=True, slots=True)
class IterationsTable:
    """The query for some iterations, its columns in order, and the values bound in it."""

    query: str
    names: tuple[str, ...]
    values: Mapping[str, Any]

    def selected(self, where: str = "true", order: Iterable[str] = (), limit: int | None = None) -> str:
        """Return the query for the iterations that meet a condition on the columns."""
        ending = "" if limit is None else f" LIMIT {limit}"
        return f"SELECT * FROM ({self.query}) WHERE {where} ORDER BY {', '.join([*order, *_IN_TIME])}{ending}"

    def frame(self, views: Views, query: str) -> pd.DataFrame:
        """Return the answer to a query that selects all columns."""
        frame = views.frame(query, self.values)
        frame.columns = pd.Index(self.names)  # DuckDB would number those that differ only in case
        return frame

    def metric(self, field: str, name: object) -> int:
        """Return the place of a metric's column, counted from 1."""
        metrics = [one for one in self.names if one in METRICS or one.startswith("metric.")]
        wanted = arguments.filled_text(field, name)
        if wanted not in metrics:
            raise QueryError(f"{field} is {wanted!r}; no such metric, there are {listed_names(metrics)}")
        return self.names.index(wanted) + 1


def iterations_table(views: Views, condition: str, values: Mapping[str, Any]) -> IterationsTable:
    """Return the query for the chosen iterations, with a column for each parameter and extra metric that they have."""
    types = types_of(views, "parameters", _CHOSEN.format(condition=condition), values)
    extra = [name for (name,) in views.rows(_EXTRA_METRIC_NAMES.format(condition=condition), values)]
    parameters = [f"param.{name}" for name in types]
    metrics = [f"metric.{name}" for name in extra]
    casts = [
        f"TRY_CAST(i.p[{place}] AS {kind}) AS {quoted(name)}"
        for place, (name, kind) in enumerate(zip(parameters, types.values(), strict=True), 1)
    ]
    # Numbered inside the query, because names may differ only in case.
    pivoted = [f"max(value) FILTER (WHERE name = {literal(name)}) AS e{place}" for place, name in enumerate(extra)]
    shown = [f"e.e{place} AS {quoted(name)}" for place, name in enumerate(metrics)]
    query = _ITERATIONS.format(
        condition=condition,
        parameters="".join(f", {one}" for one in casts),
        parameter_values=values_of("parameters", types),
        extra_metrics="".join(f", {one}" for one in shown),
        pivoted="".join(f", {one}" for one in pivoted),
    )
    return IterationsTable(query, (*BASE_COLUMNS, *parameters, *metrics), values)
