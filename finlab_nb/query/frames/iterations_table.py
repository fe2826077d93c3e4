"""The wide table of iterations: one column for each metric, extra metric and parameter, typed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from finlab_nb.errors import QueryError
from finlab_nb.query.frames.columns import listed_names
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
)
_METRICS: Final = ", ".join(f"m.{name}" for name in METRICS)
_IN_TIME: Final = [str(BASE_COLUMNS.index(name) + 1) for name in ("timestamp", "iteration_id")]

_CHOSEN: Final = """(
    SELECT i.*, s.name AS strategy FROM iterations AS i LEFT JOIN strategies AS s USING (strategy_id)
    WHERE {condition})"""
# Whole numbers of 19 digits and more may not fit 64 bits; for those JSON_STRUCTURE says nothing or DOUBLE.
_PARAMETER_STRUCTURES: Final = f"""
    SELECT json_structure(parameters), bool_or(regexp_matches(parameters, '[0-9]{{{{19}}}}'))
    FROM {_CHOSEN} GROUP BY 1"""
_PARAMETER_SIZES: Final = f"SELECT {{sizes}} FROM (SELECT {{paths}} AS p FROM {_CHOSEN})"
_PARAMETER_SIZE: Final = r"""
    max(CASE WHEN NOT regexp_full_match(p[{place}], '-?\d+') THEN 3 WHEN TRY_CAST(p[{place}] AS BIGINT) IS NOT NULL
        THEN 0 WHEN TRY_CAST(p[{place}] AS UBIGINT) IS NOT NULL THEN 1 ELSE 2 END),
    coalesce(bool_or(p[{place}] LIKE '-%'), false)"""
_EXTRA_METRIC_NAMES: Final = f"""
    SELECT DISTINCT name FROM extra_metrics
    WHERE name IS NOT NULL AND iteration_id IN (SELECT iteration_id FROM {_CHOSEN}) ORDER BY name"""
# This takes a sixth of the time of string_agg(tag, ', ' ORDER BY tag).
_TAGS: Final = """
    SELECT iteration_id, array_to_string(list_sort(list(tag) FILTER (tag IS NOT NULL)), ', ') AS tags
    FROM tags GROUP BY iteration_id"""
_ITERATIONS: Final = f"""
    SELECT i.iteration_id, i.strategy_id, i.strategy, i.iteration_number, i.timestamp,
           {_METRICS}, i.starred, i.archived, i.note, t.tags{{parameters}}{{extra_metrics}}
    FROM (SELECT *, {{paths}} AS p FROM {_CHOSEN}) AS i
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
    types = _parameter_types(views, condition, values)
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
        paths=_paths(types),
        extra_metrics="".join(f", {one}" for one in shown),
        pivoted="".join(f", {one}" for one in pivoted),
    )
    return IterationsTable(query, (*BASE_COLUMNS, *parameters, *metrics), values)


def _paths(names: Iterable[str]) -> str:
    pointers = [literal("/" + name.replace("~", "~0").replace("/", "~1")) for name in names]
    return f"json_extract_string(parameters, [{', '.join(pointers)}])" if pointers else "NULL"


def _parameter_types(views: Views, condition: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Return the type of each parameter, by name."""
    structures = views.rows(_PARAMETER_STRUCTURES.format(condition=condition), values)
    kinds: dict[str, set[str]] = {}
    for structure, _ in structures:
        parsed = json.loads(structure) if structure else None
        if isinstance(parsed, dict):
            for name, kind in parsed.items():
                kinds.setdefault(name, set()).add(kind if isinstance(kind, str) else "JSON")
    types = {name: _type(kinds[name] - {"NULL"}) for name in sorted(kinds)}
    numbers = [name for name, kind in types.items() if kind in ("BIGINT", "DOUBLE")]
    if numbers and any(large for _, large in structures):
        sizes = ", ".join(_PARAMETER_SIZE.format(place=place) for place in range(1, len(numbers) + 1))
        query = _PARAMETER_SIZES.format(sizes=sizes, paths=_paths(numbers), condition=condition)
        (found,) = views.rows(query, values)
        for name, size, negative in zip(numbers, found[::2], found[1::2], strict=True):
            types[name] = _large_type(types[name], size, negative)
    return types


def _type(kinds: set[str]) -> str:
    if kinds and kinds <= {"UBIGINT", "BIGINT"}:
        return "BIGINT"
    if kinds and kinds <= {"UBIGINT", "BIGINT", "DOUBLE", "HUGEINT"}:
        return "DOUBLE"
    return "BOOLEAN" if kinds == {"BOOLEAN"} else "VARCHAR"


def _large_type(kind: str, size: int | None, negative: bool) -> str:
    """Return the type that holds whole numbers exactly: 64 bits, the same without a sign, or text."""
    if size is None or size in (0, 3):
        return kind
    return "UBIGINT" if size == 1 and not negative else "VARCHAR"
