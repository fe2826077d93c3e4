"""Questions about strategies and their iterations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

from finlab_nb.errors import QueryError
from finlab_nb.query.frames import arguments
from finlab_nb.query.frames.arguments import Ids, Texts
from finlab_nb.query.frames.iterations_table import IterationsTable, iterations_table
from finlab_nb.query.frames.questions import Questions, Views, where_text
from finlab_nb.query.tables import literal, quoted
from finlab_nb.records import METRICS, SUGGESTION_STATES
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
    SELECT iteration_id, {", ".join(METRICS)} FROM metrics WHERE {{condition}} ORDER BY iteration_id"""
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
    SELECT * FROM suggestions WHERE {condition}
    ORDER BY iteration_id, CASE priority WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END, suggestion_id"""


class IterationFrames(Questions):
    """Strategies, iterations, their metrics and suggestions."""

    def strategies(self) -> pd.DataFrame:
        """Return the strategy versions, the oldest first.

        Returns
        -------
        DataFrame
            strategy_id, name, code, parameters (JSON), created_at, parent_strategy_id; of the iterations: iterations
            (their number), best_sharpe_ratio and a best_ column for each other metric of the standard set that has a
            better side, the best value of any iteration; best_iteration_id (by Sharpe ratio) and last_run.
        """
        return self.ask(lambda views: views.frame(_STRATEGIES))

    def iterations(
        self,
        strategy: str | None = None,
        *,
        tags: Texts | None = None,
        starred: bool | None = None,
        archived: bool | None = None,
        where: str | None = None,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Return the iterations, the oldest first.

        Parameters
        ----------
        strategy
            The id or the name of a strategy.
        tags
            Only iterations that have all of these.
        starred, archived
            Only iterations that are, or are not.
        where
            An SQL condition on the columns of the answer: ``sharpe_ratio > 1 AND "param.lookback" < 90``.
        order_by
            Columns, each followed by ``desc`` where the largest comes first: ``"sharpe_ratio desc"``. Unknown
            values come last; what is equal stays in the order of time.
        limit
            At most so many rows.

        Returns
        -------
        DataFrame
            iteration_id, strategy_id, strategy (name), iteration_number, timestamp, the standard set of metrics,
            starred, archived, note, tags (text, parted by commas), ``param.<name>`` for each parameter and
            ``metric.<name>`` for each extra metric of any of the iterations. A parameter is Int64 (UInt64 where it must
            be), float64, boolean or text: lists, objects, whole numbers beyond 64 bits and mixtures are JSON text.

        Raises
        ------
        StrategyNotFoundError
            If there is no such strategy.
        QueryError
            If a condition is wrong, or a column does not exist.
        ValueError
            If another argument is wrong.
        """
        condition, values = _condition(strategy, tags, starred, archived)
        filtered = where_text(where)
        most = None if limit is None else arguments.whole("limit", limit, 0)

        def question(views: Views) -> pd.DataFrame:
            table = _table(views, condition, values)
            order = arguments.ordering(order_by, table.names)
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
        """Return the best iterations by a metric, the best first; iterations without it are left out.

        Parameters
        ----------
        n
            At most so many.
        by
            A metric of the standard set, or ``metric.<name>``.
        lowest
            Whether the smallest value is the best. By default what is known of the metric decides: of
            ``metric.volatility`` the smallest is the best; of max_drawdown, at most 0, the largest; and the largest too
            of a metric that is unknown or has no better side.
        strategy, where
            As in `iterations`.

        Returns
        -------
        DataFrame
            As of `iterations`.

        Raises
        ------
        StrategyNotFoundError, QueryError, ValueError
            As in `iterations`.
        """
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
        """Return how the best value of a metric developed over a strategy's iterations, by iteration number.

        Parameters
        ----------
        strategy
            The id of one version; or a name, whose versions follow each other as they were made.
        by, lowest
            As in `best`.

        Returns
        -------
        DataFrame
            strategy_id, iteration_number, iteration_id, timestamp, the metric under its name, best_so_far (this
            iteration included) and is_best (better than all iterations before).

        Raises
        ------
        StrategyNotFoundError
            If there is no such strategy.
        QueryError
            If no iteration of any strategy has the metric.
        """
        chosen = arguments.one_text("strategy", strategy)
        best, better = ("min", "<") if _is_lowest_best(by, lowest) else ("max", ">")

        def question(views: Views) -> pd.DataFrame:
            views.check_strategy(chosen)
            extra = _extra_metric(views, by)
            value = f"m.{by}" if extra is None else "e.value"
            query = _PROGRESS.format(value=value, name=quoted(by), best=best, better=better, extra=literal(extra or ""))
            return views.frame(query, {"strategy": chosen})

        return self.ask(question)

    def metrics(self, iterations: Ids = None, *, long: bool = False) -> pd.DataFrame:
        """Return the metrics of all or some iterations.

        Returns
        -------
        DataFrame
            iteration_id and a column for each metric of the standard set, total_trades Int64, the others float64; or,
            if `long`, iteration_id, name, value, the extra metrics included.

        Raises
        ------
        IterationNotFoundError
            If there is no iteration with one of the ids.
        """
        return self.of_iterations(_LONG_METRICS if arguments.truth("long", long) else _METRICS, iterations)

    def suggestions(self, iterations: Ids = None, *, status: str | None = None) -> pd.DataFrame:
        """Return suggestions of all or some iterations, high priority first within an iteration.

        Parameters
        ----------
        iterations
            Ids of iterations; by default all.
        status
            Only those that are open, applied or rejected.

        Returns
        -------
        DataFrame
            suggestion_id, iteration_id, priority, description, specific_changes, expected_impact, rationale,
            learning_references (JSON), status, applied_iteration_id.

        Raises
        ------
        IterationNotFoundError
            If there is no iteration with one of the ids.
        """
        if status is None:
            return self.of_iterations(_SUGGESTIONS, iterations)
        wanted = {"status": arguments.one_of("status", status, SUGGESTION_STATES)}
        return self.of_iterations(_SUGGESTIONS, iterations, ["status = $status"], wanted)


def _condition(
    strategy: str | None = None,
    tags: Texts | None = None,
    starred: bool | None = None,
    archived: bool | None = None,
) -> tuple[str, dict[str, Any]]:
    conditions, values = ["true"], dict[str, Any]()
    if strategy is not None:
        conditions.append(_OF_STRATEGY)
        values["strategy"] = arguments.one_text("strategy", strategy)
    if tags is not None:
        conditions.append(_HAS_TAGS)
        values["tags"] = arguments.texts("tags", tags)
    for name, flag in (("starred", starred), ("archived", archived)):
        if flag is not None:
            conditions.append(f"i.{name} = {arguments.truth(name, flag)}")
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
    """Tell which way is better: as the caller says, else as the table of metrics knows it."""
    if lowest is None:
        return isinstance(by, str) and lowest_is_best(by.removeprefix("metric."))
    return arguments.truth("lowest", lowest)


def _extra_metric(views: Views, name: object) -> str | None:
    """Return the extra metric that a name means, None for one of the standard set."""
    if isinstance(name, str) and name in METRICS:
        return None
    known = [one for (one,) in views.rows(_EXTRA_METRIC_NAMES)]
    extra = name.removeprefix("metric.") if isinstance(name, str) and name.startswith("metric.") else None
    if extra not in known:
        names = [*METRICS, *(f"metric.{one}" for one in known)]
        raise QueryError(f"by is {name!r}; no such metric, there are {arguments.listed_names(names)}")
    return extra
