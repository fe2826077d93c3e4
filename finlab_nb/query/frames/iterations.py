"""Questions about strategies and their iterations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import pandas as pd

from finlab_nb.query.frames.columns import ordering
from finlab_nb.query.frames.iterations_table import IN_TIME, IterationsTable, iterations_table
from finlab_nb.query.frames.questions import Questions, Views
from finlab_nb.query.results import TABLE
from finlab_nb.query.tables import literal, quoted
from finlab_nb.records import METRICS, SUGGESTION_STATES, arguments
from finlab_nb.records.metrics import STANDARD_SET, lowest_is_best

_IN_TIME: Final = ", ".join(IN_TIME)
_EXTREMES: Final = {"higher": "max", "lower": "min"}
# The Sharpe ratio comes first: it chooses the best iteration.
_BEST: Final = ", ".join(
    f"{_EXTREMES[metric.better]}({metric.name}) AS best_{metric.name}"
    for metric in sorted(STANDARD_SET, key=lambda metric: metric.name != "sharpe_ratio")
    if metric.better
)
# Which one has the best ratio is looked for among the few that have it, in a tenth of the time of arg_min over all.
_STRATEGIES: Final = f"""
    WITH summed AS (
        SELECT strategy_id, count(*) AS iterations, {_BEST}, max(timestamp) AS last_run
        FROM {TABLE} GROUP BY strategy_id),
    first AS (
        SELECT strategy_id, arg_min(iteration_id, ({_IN_TIME})) AS best_iteration_id
        FROM {TABLE} JOIN summed USING (strategy_id) WHERE sharpe_ratio = best_sharpe_ratio GROUP BY strategy_id)
    SELECT strategy_id, name, code, parameters, created_at, parent_strategy_id,
           coalesce(iterations, 0) AS iterations, summed.* EXCLUDE (strategy_id, iterations, last_run),
           best_iteration_id, last_run
    FROM strategies LEFT JOIN summed USING (strategy_id) LEFT JOIN first USING (strategy_id)
    ORDER BY created_at, strategy_id"""
# To sort only what is at least as good as the last of the best takes a third less time.
_AMONG_BEST: Final = f"""
    AND {{value}} {{sign}} (SELECT {{last}}(value) FROM (
        SELECT unnest({{first}}({{value}}, {{most}})) AS value FROM {TABLE} WHERE {{known}}))"""
_BETTER: Final = {
    "DESC": {"sign": ">=", "first": "max", "last": "min"},
    "ASC": {"sign": "<=", "first": "min", "last": "max"},
}
_FEW: Final = 1_000
_OF_STRATEGY: Final = "(strategy_id = $strategy OR strategy = $strategy)"
_HAS_TAGS: Final = """
    iteration_id IN (SELECT iteration_id FROM tags WHERE list_contains($tags::VARCHAR[], tag)
                     GROUP BY iteration_id HAVING count(*) = len($tags::VARCHAR[]))"""
_GIVEN: Final = """
    SELECT iteration_id, array_to_string(list_sort(list(name) FILTER (name IS NOT NULL)), ', ') AS given
    FROM {given_metrics} WHERE {condition} GROUP BY iteration_id"""
_METRICS: Final = f"""
    SELECT iteration_id, {", ".join(METRICS)}, given FROM {{metrics}} LEFT JOIN ({_GIVEN}) USING (iteration_id)
    WHERE {{condition}} ORDER BY iteration_id"""
# An extra metric may have any name; these are told apart from the standard set as in the columns of `iterations`.
_EXTRA_NAME: Final = f"""
    CASE WHEN name IN ({", ".join(map(literal, METRICS))}) OR starts_with(name, 'metric.') THEN 'metric.' || name
         ELSE name END AS name"""
_LONG_METRICS: Final = f"""
    SELECT iteration_id, name, value FROM (
        FROM (SELECT iteration_id, {", ".join(f"{name}::DOUBLE AS {name}" for name in METRICS)} FROM {{metrics}})
        UNPIVOT INCLUDE NULLS (value FOR name IN ({", ".join(METRICS)}))
        UNION ALL SELECT iteration_id, {_EXTRA_NAME}, value FROM {{extra_metrics}})
    WHERE {{condition}} ORDER BY iteration_id, name"""
_PROGRESS: Final = f"""
    SELECT strategy_id, iteration_number, iteration_id, timestamp, {{value}} AS {{name}},
           {{best}}({{value}}) OVER until_now AS best_so_far,
           {{value}} IS NOT NULL AND ({{value}} {{better}} {{best}}({{value}}) OVER before_now) IS NOT false AS is_best
    FROM {TABLE} JOIN (SELECT strategy_id, created_at FROM strategies) USING (strategy_id)
    WHERE {_OF_STRATEGY}
    WINDOW until_now AS (ORDER BY created_at, strategy_id, iteration_number, {_IN_TIME}
                         ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
           before_now AS (ORDER BY created_at, strategy_id, iteration_number, {_IN_TIME}
                          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ORDER BY created_at, strategy_id, iteration_number, {_IN_TIME}"""
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
        return self.ask(lambda views: views.frame(_STRATEGIES), {"strategies", "results"})

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
        filtered, read = self.where(where)
        terms = [] if order_by is None else arguments.texts("order_by", order_by)
        most = None if limit is None else arguments.whole("limit", limit, 0)

        def question(views: Views) -> pd.DataFrame:
            table = _table(views, condition, values)
            order = ordering("order_by", terms, table.names)
            if filtered is None and not order and most is None:
                return table.in_time(views)
            return table.ordered(views, where=filtered, order=order, limit=most)

        return self.ask(question, {"results", "tags", *read})

    def best(
        self,
        n: int = 10,
        by: str = "sharpe_ratio",
        *,
        lowest: bool | None = None,
        strategy: str | None = None,
        archived: bool | None = False,
        where: str | None = None,
    ) -> pd.DataFrame:
        """See `Lab.best`."""
        most = arguments.whole("n", n, 1)
        direction = "ASC" if _is_lowest_best(by, lowest) else "DESC"
        condition, values = _condition(strategy, archived=archived)
        filtered, read = self.where(where)

        def question(views: Views) -> pd.DataFrame:
            table = _table(views, condition, values)
            name = table.metric("by", by)
            value = table.columns[name]
            known = f"{table.condition} AND {value} IS NOT NULL"
            if filtered is None and most <= _FEW:
                known += _AMONG_BEST.format(value=value, most=most, known=known, **_BETTER[direction])
            order = [f"{table.names.index(name) + 1} {direction}"]
            return replace(table, condition=known).ordered(views, where=filtered, order=order, limit=most)

        return self.ask(question, {"results", *read})

    def progress(self, strategy: str, by: str = "sharpe_ratio", *, lowest: bool | None = None) -> pd.DataFrame:
        """See `Lab.progress`."""
        chosen = arguments.filled_text("strategy", strategy)
        best, better = ("min", "<") if _is_lowest_best(by, lowest) else ("max", ">")

        def question(views: Views) -> pd.DataFrame:
            views.check_strategy(chosen)
            table = iterations_table(views)
            name = table.metric("by", by)
            query = _PROGRESS.format(value=table.columns[name], name=quoted(name), best=best, better=better)
            return views.frame(query, {"strategy": chosen})

        return self.ask(question, {"results", "strategies"})

    def metrics(self, iterations: str | Iterable[str] | None = None, *, long: bool = False) -> pd.DataFrame:
        """See `Lab.metrics`."""
        if arguments.flag("long", long):
            return self.of_iterations(_LONG_METRICS, {"metrics", "extra_metrics"}, iterations)
        return self.of_iterations(_METRICS, {"metrics", "given_metrics"}, iterations)

    def suggestions(self, iterations: str | Iterable[str] | None = None, *, status: str | None = None) -> pd.DataFrame:
        """See `Lab.suggestions`."""
        conditions, values = list[str](), dict[str, str]()
        if status is not None:
            conditions, values = ["status = $status"], {"status": arguments.one_of("status", status, SUGGESTION_STATES)}
        tables = {"suggestions", "applications"}
        frame = self.of_iterations(_SUGGESTIONS, tables, iterations, conditions, values, alone=False)
        frame["applied_iteration_ids"] = frame["applied_iteration_ids"].map(list)
        return frame


def _condition(
    strategy: str | None = None,
    tags: str | Iterable[str] | None = None,
    starred: bool | None = None,
    archived: bool | None = None,
) -> tuple[str, dict[str, Any]]:
    conditions, values = list[str](), dict[str, Any]()
    if strategy is not None:
        conditions.append(_OF_STRATEGY)
        values["strategy"] = arguments.filled_text("strategy", strategy)
    wanted = [] if tags is None else arguments.texts("tags", tags)
    if wanted:
        conditions.append(_HAS_TAGS)
        values["tags"] = wanted
    for name, flag in (("starred", starred), ("archived", archived)):
        if flag is not None:
            conditions.append(f"{name} = {arguments.flag(name, flag)}")
    return " AND ".join(conditions) or "true", values


def _table(views: Views, condition: str, values: dict[str, Any]) -> IterationsTable:
    if "strategy" in values:
        views.check_strategy(values["strategy"])
    return iterations_table(views, condition, values)


def _is_lowest_best(by: object, lowest: bool | None) -> bool:
    """Tell whether the smallest value is the best: as the caller says, else by the table of metrics."""
    if lowest is None:
        return isinstance(by, str) and lowest_is_best(by.removeprefix("metric."))
    return arguments.flag("lowest", lowest)
