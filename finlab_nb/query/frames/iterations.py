"""Questions about strategies and their iterations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import pandas as pd

from finlab_nb.errors import QueryError
from finlab_nb.query.frames.columns import listed_names, ordering
from finlab_nb.query.frames.iterations_table import IterationsTable, iterations_table
from finlab_nb.query.frames.questions import Questions, Views, where_text
from finlab_nb.query.tables import literal, quoted
from finlab_nb.records import METRICS, SUGGESTION_STATES, arguments
from finlab_nb.records.metrics import STANDARD_SET, lowest_is_best

_EXTREMES: Final = {"higher": "max", "lower": "min"}
# The Sharpe ratio comes first: it chooses the best iteration.
_BEST: Final = ", ".join(
    f"{_EXTREMES[metric.better]}({metric.name}) AS best_{metric.name}"
    for metric in sorted(STANDARD_SET, key=lambda metric: metric.name != "sharpe_ratio")
    if metric.better
)
_STRATEGIES: Final = f"""
    SELECT strategy_id, name, code, parameters, created_at, parent_strategy_id,
           count(iteration_id) AS iterations, {_BEST},
           arg_max(iteration_id, sharpe_ratio) AS best_iteration_id, max(timestamp) AS last_run
    FROM strategies LEFT JOIN (SELECT strategy_id, iteration_id, timestamp FROM iterations) USING (strategy_id)
                    LEFT JOIN metrics USING (iteration_id)
    GROUP BY ALL ORDER BY created_at, strategy_id"""
_OF_STRATEGY: Final = "(i.strategy_id = $strategy OR s.name = $strategy)"
_HAS_TAGS: Final = """
    len($tags::VARCHAR[]) = (SELECT count(*) FROM tags AS own
                             WHERE own.iteration_id = i.iteration_id AND list_contains($tags::VARCHAR[], own.tag))"""
_METRICS: Final = f"""
    SELECT iteration_id, {", ".join(METRICS)}, given FROM metrics LEFT JOIN (
        SELECT iteration_id, array_to_string(list_sort(list(name) FILTER (name IS NOT NULL)), ', ') AS given
        FROM given_metrics GROUP BY iteration_id) USING (iteration_id)
    WHERE {{condition}} ORDER BY iteration_id"""
_LONG_METRICS: Final = f"""
    SELECT iteration_id, name, value FROM (
        FROM (SELECT iteration_id, {", ".join(f"{name}::DOUBLE AS {name}" for name in METRICS)} FROM metrics)
        UNPIVOT INCLUDE NULLS (value FOR name IN ({", ".join(METRICS)}))
        UNION ALL SELECT iteration_id, name, value FROM extra_metrics)
    WHERE {{condition}} ORDER BY iteration_id, name"""
_PROGRESS: Final = """
    SELECT i.strategy_id, i.iteration_number, i.iteration_id, i.timestamp, {value} AS {name},
           {best}({value}) OVER until_now AS best_so_far,
           {value} IS NOT NULL AND ({value} {better} {best}({value}) OVER before_now) IS NOT false AS is_best
    FROM iterations AS i JOIN strategies AS s USING (strategy_id)
        LEFT JOIN metrics AS m USING (iteration_id)
        LEFT JOIN extra_metrics AS e ON e.iteration_id = i.iteration_id AND e.name = {extra}
    WHERE s.strategy_id = $strategy OR s.name = $strategy
    WINDOW until_now AS (ORDER BY s.created_at, s.strategy_id, i.iteration_number
                         ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
           before_now AS (ORDER BY s.created_at, s.strategy_id, i.iteration_number
                          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ORDER BY s.created_at, s.strategy_id, i.iteration_number"""
_EXTRA_METRIC_NAMES: Final = "SELECT DISTINCT name FROM extra_metrics WHERE name IS NOT NULL ORDER BY name"
_SUGGESTIONS: Final = """
    SELECT suggestions.*, applied[1] AS applied_iteration_id, coalesce(applied, []) AS applied_iteration_ids
    FROM suggestions LEFT JOIN (
        SELECT suggestion_id, list(iteration_id ORDER BY row_id) AS applied
        FROM copied.applications_rows AS applications GROUP BY suggestion_id) USING (suggestion_id)
    WHERE {condition}
    ORDER BY iteration_id, CASE priority WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END, suggestion_id"""


class IterationFrames(Questions):
    """Strategies, iterations, their metrics and suggestions."""

    def strategies(self) -> pd.DataFrame:
        """See `Lab.strategies`."""
        return self.ask(lambda views: views.frame(_STRATEGIES))

    def iterations(
        self,
        strategy: str | None = None,
        *,
        tags: str | Iterable[str] | None = None,
        starred: bool | None = None,
        archived: bool | None = None,
        where: str | None = None,
        order_by: str | Iterable[str] | None = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """See `Lab.iterations`."""
        condition, values = _condition(strategy, tags, starred, archived)
        filtered = where_text(where)
        terms = [] if order_by is None else arguments.texts("order_by", order_by)
        most = None if limit is None else arguments.whole("limit", limit, 0)

        def question(views: Views) -> pd.DataFrame:
            table = _table(views, condition, values)
            order = ordering("order_by", terms, table.names)
            return _selected(views, table, where=filtered, order=order, limit=most)

        return self.ask(question)

    def best(
        self,
        n: int = 10,
        by: str = "sharpe_ratio",
        *,
        lowest: bool | None = None,
        strategy: str | None = None,
        where: str | None = None,
    ) -> pd.DataFrame:
        """See `Lab.best`."""
        most = arguments.whole("n", n, 1)
        direction = "ASC" if _is_lowest_best(by, lowest) else "DESC"
        condition, values = _condition(strategy)
        filtered = where_text(where)

        def question(views: Views) -> pd.DataFrame:
            table = _table(views, condition, values)
            place = table.metric("by", by)
            known = f"{filtered} AND {quoted(by)} IS NOT NULL"
            return _selected(views, table, where=known, order=[f"{place} {direction}"], limit=most)

        return self.ask(question)

    def progress(self, strategy: str, by: str = "sharpe_ratio", *, lowest: bool | None = None) -> pd.DataFrame:
        """See `Lab.progress`."""
        chosen = arguments.filled_text("strategy", strategy)
        best, better = ("min", "<") if _is_lowest_best(by, lowest) else ("max", ">")

        def question(views: Views) -> pd.DataFrame:
            views.check_strategy(chosen)
            extra = _extra_metric(views, by)
            value = f"m.{by}" if extra is None else "e.value"
            query = _PROGRESS.format(value=value, name=quoted(by), best=best, better=better, extra=literal(extra or ""))
            return views.frame(query, {"strategy": chosen})

        return self.ask(question)

    def metrics(self, iterations: str | Iterable[str] | None = None, *, long: bool = False) -> pd.DataFrame:
        """See `Lab.metrics`."""
        return self.of_iterations(_LONG_METRICS if arguments.flag("long", long) else _METRICS, iterations)

    def suggestions(self, iterations: str | Iterable[str] | None = None, *, status: str | None = None) -> pd.DataFrame:
        """See `Lab.suggestions`."""
        conditions, values = list[str](), dict[str, str]()
        if status is not None:
            conditions, values = ["status = $status"], {"status": arguments.one_of("status", status, SUGGESTION_STATES)}
        frame = self.of_iterations(_SUGGESTIONS, iterations, conditions, values)
        frame["applied_iteration_ids"] = frame["applied_iteration_ids"].map(list)
        return frame


def _condition(
    strategy: str | None = None,
    tags: str | Iterable[str] | None = None,
    starred: bool | None = None,
    archived: bool | None = None,
) -> tuple[str, dict[str, Any]]:
    conditions, values = ["true"], dict[str, Any]()
    if strategy is not None:
        conditions.append(_OF_STRATEGY)
        values["strategy"] = arguments.filled_text("strategy", strategy)
    if tags is not None:
        conditions.append(_HAS_TAGS)
        values["tags"] = arguments.texts("tags", tags)
    for name, flag in (("starred", starred), ("archived", archived)):
        if flag is not None:
            conditions.append(f"i.{name} = {arguments.flag(name, flag)}")
    return " AND ".join(conditions), values


def _table(views: Views, condition: str, values: dict[str, Any]) -> IterationsTable:
    if "strategy" in values:
        views.check_strategy(values["strategy"])
    return iterations_table(views, condition, values)


def _selected(
    views: Views, table: IterationsTable, *, where: str, order: Sequence[str], limit: int | None
) -> pd.DataFrame:
    query = table.selected(where=where, order=order, limit=limit)
    if where != "true":
        views.check_select(query)
    return table.frame(views, query)


def _is_lowest_best(by: object, lowest: bool | None) -> bool:
    """Tell whether the smallest value is the best: as the caller says, else by the table of metrics."""
    if lowest is None:
        return isinstance(by, str) and lowest_is_best(by.removeprefix("metric."))
    return arguments.flag("lowest", lowest)


def _extra_metric(views: Views, name: object) -> str | None:
    """Return the extra metric that a name refers to, None for a metric of the standard set."""
    wanted = arguments.filled_text("by", name)
    if wanted in METRICS:
        return None
    known = [one for (one,) in views.rows(_EXTRA_METRIC_NAMES)]
    extra = wanted.removeprefix("metric.") if wanted.startswith("metric.") else None
    if extra not in known:
        names = [*METRICS, *(f"metric.{one}" for one in known)]
        raise QueryError(f"by is {name!r}; no such metric, there are {listed_names(names)}")
    return extra
