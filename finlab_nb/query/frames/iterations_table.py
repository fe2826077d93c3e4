"""The wide table of iterations as a caller sees it: the columns of some iterations, and conditions on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
import pyarrow.compute as pc

from finlab_nb.query.frames.columns import column
from finlab_nb.query.frames.questions import Views, to_frame
from finlab_nb.query.results import TABLE, structs
from finlab_nb.query.tables import quoted
from finlab_nb.records import METRICS

IN_TIME: Final = ("timestamp", "iteration_id")
_MOST_REMEMBERED: Final = 64  # shapes by what chose the rows
_SHAPES: Final = f"SELECT DISTINCT parameter_shape, metric_shape FROM {TABLE} WHERE {{condition}}"


@dataclass(frozen=True, slots=True)
class IterationsTable:
    """Some iterations: the SQL of their columns by name, the condition that chooses them, and its bound values."""

    columns: Mapping[str, str]
    condition: str
    values: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """The names of the columns in order."""
        return list(self.columns)

    def selected(self, *names: str, where: str | None = None, ending: str = "") -> str:
        """Return the query for some columns, or all, of the iterations that meet a condition on all columns."""
        shown = names or self.columns
        chosen = [f"{self.columns[name] if where is None else quoted(name)} AS {quoted(name)}" for name in shown]
        rows = f"{TABLE} WHERE {self.condition}" if where is None else f"{self._named} WHERE {where}"
        return f"SELECT {', '.join(chosen)} FROM {rows} {ending}"

    def in_time(self, views: Views) -> pd.DataFrame:
        """Return all columns of all these iterations in order of time."""
        rows = views.table(self.selected(), self.values)
        moments = rows.column("timestamp").to_numpy()
        # Rows lie as they were saved, and those that were changed since come last: to look is cheaper than ORDER BY.
        if not (moments[1:] > moments[:-1]).all():
            rows = rows.take(pc.sort_indices(rows, [(name, "ascending") for name in IN_TIME]))
        return to_frame(rows)

    def ordered(
        self, views: Views, *, where: str | None = None, order: Iterable[str] = (), limit: int | None = None
    ) -> pd.DataFrame:
        """Return all columns of the iterations that meet a condition, in the order of some terms and then of time."""
        most = "" if limit is None else f" LIMIT {limit}"
        query = self.selected(where=where, ending=f"ORDER BY {', '.join([*order, *IN_TIME])}{most}")
        return views.frame(query, self.values)

    @property
    def _named(self) -> str:
        """The iterations with their columns under the names that a caller's condition has for them."""
        columns = [f"{sql} AS {quoted(name)}" for name, sql in self.columns.items()]
        return f"(SELECT {', '.join([*columns, *structs(self.columns)])} FROM {TABLE} WHERE {self.condition})"

    def metric(self, field: str, value: object) -> str:
        """Return the name of the column of a metric, which may be given in another case."""
        metrics = [name for name in self.columns if name in METRICS or name.startswith("metric.")]
        return metrics[column(field, value, metrics, "metric") - 1]


def iterations_table(views: Views, condition: str = "true", values: Mapping[str, Any] | None = None) -> IterationsTable:
    """Return the chosen iterations, with a column for each parameter and extra metric that they have."""
    results, bound = views.moment.results, values or {}
    if condition == "true":
        return IterationsTable(results.columns(), condition, bound)
    key = condition, repr(bound)
    shapes = results.asked.get(key)
    if shapes is None:
        shapes = views.rows(_SHAPES.format(condition=condition), bound)
        if len(results.asked) >= _MOST_REMEMBERED:
            results.asked.clear()
        results.asked[key] = shapes
    return IterationsTable(results.columns(shapes), condition, bound)
