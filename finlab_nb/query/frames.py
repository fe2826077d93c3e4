"""The questions that researchers ask, as SQL over named views, answered as pandas DataFrames.

Ids and texts are Arrow-backed strings (``str`` of pandas 3, ``string[pyarrow]`` of pandas 2), figures float64, counts
int64, flags bool, dates naive datetime64[us] and timestamps datetime64[us, UTC]. Counts that can be unknown
(total_trades, whole parameters) are Int64. An empty answer has the same columns and dtypes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import duckdb
import pandas as pd
import pyarrow as pa

from finlab_nb.errors import IterationNotFoundError, QueryError
from finlab_nb.query.tables import literal, quoted

if TYPE_CHECKING:
    from datetime import date

    from finlab_nb.query.engine import Engine

Ids: TypeAlias = str | Iterable[str] | None

_STRATEGIES: Final = """
    SELECT strategy_id, name, code, parameters, created_at, parent_strategy_id,
           count(iteration_id) AS iterations, max(sharpe_ratio) AS best_sharpe_ratio,
           max(annualized_return) AS best_annualized_return, max(timestamp) AS last_run
    FROM strategies LEFT JOIN (SELECT strategy_id, iteration_id, timestamp FROM iterations) USING (strategy_id)
                    LEFT JOIN metrics USING (iteration_id)
    GROUP BY ALL ORDER BY created_at, strategy_id"""
_CHOSEN: Final = """(
    SELECT i.*, s.name AS strategy FROM iterations AS i LEFT JOIN strategies AS s USING (strategy_id)
    WHERE {condition})"""
_PARAMETER_STRUCTURES: Final = f"SELECT DISTINCT json_structure(parameters) FROM {_CHOSEN} WHERE json_valid(parameters)"
_EXTRA_METRIC_NAMES: Final = f"""
    SELECT DISTINCT name FROM extra_metrics WHERE iteration_id IN (SELECT iteration_id FROM {_CHOSEN}) ORDER BY name"""
_ITERATIONS: Final = f"""
    SELECT i.iteration_id, i.strategy_id, i.strategy, i.iteration_number, i.timestamp,
           m.annualized_return, m.sharpe_ratio, m.max_drawdown, m.win_rate, m.total_trades,
           i.starred, i.archived, i.note, t.tags{{parameters}}{{extra_metrics}}
    FROM (SELECT *, {{paths}} AS p FROM {_CHOSEN}) AS i
    LEFT JOIN metrics AS m USING (iteration_id)
    LEFT JOIN (SELECT iteration_id, string_agg(tag, ', ' ORDER BY tag) AS tags FROM tags GROUP BY ALL) AS t
        USING (iteration_id)
    LEFT JOIN (SELECT iteration_id{{pivoted}} FROM extra_metrics GROUP BY ALL) AS e USING (iteration_id)
    ORDER BY i.timestamp, i.iteration_id"""
_METRICS: Final = """
    SELECT iteration_id, annualized_return, sharpe_ratio, max_drawdown, win_rate, total_trades
    FROM metrics WHERE {condition} ORDER BY iteration_id"""
_LONG_METRICS: Final = """
    SELECT iteration_id, name, value FROM (
        FROM (SELECT iteration_id, annualized_return, sharpe_ratio, max_drawdown, win_rate,
                     total_trades::DOUBLE AS total_trades FROM metrics)
        UNPIVOT INCLUDE NULLS (value FOR name IN (
            annualized_return, sharpe_ratio, max_drawdown, win_rate, total_trades))
        UNION ALL SELECT iteration_id, name, value FROM extra_metrics)
    WHERE {condition} ORDER BY iteration_id, name"""
_TRADES: Final = "SELECT * FROM trades WHERE {condition}"
_EQUITY: Final = "SELECT date, iteration_id, equity FROM equity WHERE {condition}"
_SUGGESTIONS: Final = """
    SELECT * FROM suggestions WHERE {condition}
    ORDER BY iteration_id, CASE priority WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END, suggestion_id"""
_UNKNOWN_IDS: Final = """
    SELECT id FROM (SELECT unnest($ids) AS id) WHERE id NOT IN (SELECT iteration_id FROM iterations)"""

_NULLABLE_TYPES: Final[dict[Any, Any]] = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
_STRING_TYPES: Final[dict[Any, Any]] = (
    {}
    if pd.__version__ >= "3"
    else {pa.string(): pd.StringDtype("pyarrow"), pa.large_string(): pd.StringDtype("pyarrow")}
)


class Frames:
    """Answers over one store, each of its newest moment.

    Parameters
    ----------
    engine
        What stands behind the views ``strategies, iterations, metrics, extra_metrics, trades, equity, suggestions,
        tags``.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def strategies(self) -> pd.DataFrame:
        """Return the strategy versions, the oldest first.

        Returns
        -------
        DataFrame
            strategy_id, name, code, parameters (JSON), created_at, parent_strategy_id; iterations (their number),
            best_sharpe_ratio, best_annualized_return and last_run over them.
        """
        return self._engine.answer(lambda views: _frame(views, _STRATEGIES))

    def iterations(
        self,
        strategy: str | None = None,
        *,
        tags: str | Iterable[str] | None = None,
        starred: bool | None = None,
        archived: bool | None = None,
        where: str | None = None,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Return the runs, the oldest first.

        Parameters
        ----------
        strategy
            The id or the name of a strategy.
        tags
            Only runs that have all of these.
        starred, archived
            Only runs that are, or are not.
        where
            An SQL condition on the columns of the answer: ``sharpe_ratio > 1 AND "param.lookback" < 90``.
        order_by
            Columns, each followed by ``desc`` where the largest comes first: ``"sharpe_ratio desc"``. Unknown
            values come last.
        limit
            At most so many rows.

        Returns
        -------
        DataFrame
            iteration_id, strategy_id, strategy (name), iteration_number, timestamp, the five metrics, starred,
            archived, note, tags (text, parted by commas), ``param.<name>`` for each parameter and ``metric.<name>``
            for each extra metric.

        Raises
        ------
        QueryError
            If a condition or a column does not exist.
        """
        conditions, values = ["true"], dict[str, Any]()
        if strategy is not None:
            conditions.append("(i.strategy_id = $strategy OR s.name = $strategy)")
            values["strategy"] = strategy
        if tags is not None:
            conditions.append(_HAS_TAGS)
            values["tags"] = _listed("tags", tags)
        for name, flag in (("starred", starred), ("archived", archived)):
            if flag is not None:
                conditions.append(f"i.{name} = {bool(flag)}")
        outer = "" if where is None else f" WHERE ({where}\n)"
        outer += _order(order_by) + _limit(limit)

        def question(views: duckdb.DuckDBPyConnection) -> pd.DataFrame:
            query = _wide(views, " AND ".join(conditions), values)
            if outer:
                query = f"SELECT * FROM ({query}){outer}"
            _only_selects(views, query)
            return _frame(views, query, values)

        return self._engine.answer(question)

    def metrics(self, iterations: Ids = None, *, long: bool = False) -> pd.DataFrame:
        """Return the metrics of all or some runs.

        Returns
        -------
        DataFrame
            iteration_id, annualized_return, sharpe_ratio, max_drawdown, win_rate, total_trades; or, if `long`,
            iteration_id, name, value, the extra metrics included.
        """
        return self._of(_LONG_METRICS if long else _METRICS, iterations)

    def trades(
        self,
        iterations: Ids = None,
        *,
        stocks: str | Iterable[str] | None = None,
        since: str | date | None = None,
        until: str | date | None = None,
    ) -> pd.DataFrame:
        """Return trades in the order they were stored.

        Parameters
        ----------
        iterations
            Ids of runs; by default all.
        stocks
            Only these stock codes.
        since, until
            Only trades entered on this date or later, or on this date or earlier.

        Returns
        -------
        DataFrame
            trade_id, iteration_id, stock_code, entry_date, exit_date (NaT while open), entry_price, exit_price,
            position_size (negative for short), profit_loss (currency).

        Raises
        ------
        IterationNotFoundError
            If there is no run with one of the ids.
        """
        conditions, values = ["true"], dict[str, Any]()
        if stocks is not None:
            conditions.append("stock_code IN (SELECT unnest($stocks::VARCHAR[]))")
            values["stocks"] = _listed("stocks", stocks)
        if since is not None:
            conditions.append("entry_date >= $since::TIMESTAMP")
            values["since"] = since
        if until is not None:
            conditions.append("entry_date < $until::DATE + INTERVAL 1 DAY")
            values["until"] = until
        return self._of(_TRADES, iterations, conditions, values)

    def equity(self, iterations: Ids = None) -> pd.DataFrame:
        """Return equity curves side by side.

        Returns
        -------
        DataFrame
            Indexed by date; one column a run, named by its id, in the order asked for: account value in currency,
            NaN where the run has no point.

        Raises
        ------
        IterationNotFoundError
            If there is no run with one of the ids.
        """
        points = self._of(_EQUITY, iterations)
        wide = points.pivot_table(index="date", columns="iteration_id", values="equity", aggfunc="last", observed=True)
        if iterations is not None:
            wide = wide.reindex(columns=_listed("iterations", iterations))
        wide.columns = pd.Index(list(wide.columns), dtype=object, name="iteration_id")
        return wide.astype("float64")

    def suggestions(self, iterations: Ids = None, *, status: str | None = None) -> pd.DataFrame:
        """Return suggestions of all or some runs, high priority first within a run.

        Returns
        -------
        DataFrame
            suggestion_id, iteration_id, priority, description, specific_changes, expected_impact, rationale,
            learning_references (JSON), status, applied_iteration_id.
        """
        conditions, values = ["true"], dict[str, Any]()
        if status is not None:
            conditions.append("status = $status")
            values["status"] = status
        return self._of(_SUGGESTIONS, iterations, conditions, values)

    def sql(self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return the answer to a SELECT in DuckDB's SQL over the views; it cannot write.

        Parameters
        ----------
        query
            One statement over ``strategies, iterations, metrics, extra_metrics, trades, equity, suggestions, tags``.
        params
            Values for ``?`` or ``$name`` in it.

        Raises
        ------
        QueryError
            If it is no SELECT, or DuckDB refuses it.
        """

        def question(views: duckdb.DuckDBPyConnection) -> pd.DataFrame:
            _only_selects(views, query)
            return _frame(views, query, params)

        return self._engine.answer(question)

    def _of(
        self,
        query: str,
        iterations: Ids,
        conditions: Sequence[str] = ("true",),
        values: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Ask a query with a {condition}, of all or some runs."""
        ids = None if iterations is None else _listed("iterations", iterations)
        bound = dict(values or {})

        def question(views: duckdb.DuckDBPyConnection) -> pd.DataFrame:
            chosen = list(conditions)
            if ids is not None:
                _check_ids(views, ids)
                chosen.append(f"iteration_id IN ({', '.join(map(literal, ids)) or 'NULL'})")
            return _frame(views, query.format(condition=" AND ".join(chosen)), bound)

        return self._engine.answer(question)


_HAS_TAGS: Final = """
    len($tags::VARCHAR[]) = (SELECT count(*) FROM tags AS own
                             WHERE own.iteration_id = i.iteration_id AND list_contains($tags::VARCHAR[], own.tag))"""


def _frame(views: duckdb.DuckDBPyConnection, query: str, values: Any = None) -> pd.DataFrame:
    answer = views.execute(query, values) if values else views.execute(query)
    table = answer.to_arrow_table()
    frame: pd.DataFrame = table.to_pandas(types_mapper=_STRING_TYPES.get)
    for name, kind in zip(table.schema.names, table.schema.types, strict=True):
        if kind in _NULLABLE_TYPES and (name == "total_trades" or name.startswith("param.")):
            frame[name] = table.column(name).to_pandas(types_mapper=_NULLABLE_TYPES.get)
        elif pa.types.is_timestamp(kind) and kind.tz:
            frame[name] = frame[name].dt.tz_convert("UTC")
    return frame


def _wide(views: duckdb.DuckDBPyConnection, condition: str, values: Mapping[str, Any]) -> str:
    """Return the query for iterations, with a column for each parameter and extra metric of the chosen runs."""
    kinds = _parameter_kinds(_rows(views, _PARAMETER_STRUCTURES.format(condition=condition), values))
    pointers = [literal("/" + name.replace("~", "~0").replace("/", "~1")) for name in kinds]
    parameters = [
        f"TRY_CAST(i.p[{place}] AS {_parameter_type(types)}) AS {quoted('param.' + name)}"
        for place, (name, types) in enumerate(kinds.items(), 1)
    ]
    extra = [name for (name,) in _rows(views, _EXTRA_METRIC_NAMES.format(condition=condition), values)]
    pivoted = [f"max(value) FILTER (WHERE name = {literal(name)}) AS {quoted('metric.' + name)}" for name in extra]
    return _ITERATIONS.format(
        condition=condition,
        parameters="".join(f", {one}" for one in parameters),
        paths=f"json_extract_string(parameters, [{', '.join(pointers)}])" if pointers else "NULL",
        extra_metrics="".join(f", e.{quoted('metric.' + name)}" for name in extra),
        pivoted="".join(f", {one}" for one in pivoted),
    )


def _parameter_kinds(structures: Iterable[tuple[str | None]]) -> dict[str, set[str]]:
    """Return the JSON types that each parameter has, over all different structures of parameters."""
    kinds: dict[str, set[str]] = {}
    for (structure,) in structures:
        parsed = json.loads(structure) if structure else None
        if isinstance(parsed, dict):
            for name, kind in parsed.items():
                kinds.setdefault(name, set()).add(kind if isinstance(kind, str) else "JSON")
    return {name: kinds[name] for name in sorted(kinds)}


def _parameter_type(types: set[str]) -> str:
    types = types - {"NULL"}
    if types and types <= {"UBIGINT", "BIGINT"}:
        return "BIGINT"
    if types and types <= {"UBIGINT", "BIGINT", "DOUBLE", "HUGEINT"}:
        return "DOUBLE"
    return "BOOLEAN" if types == {"BOOLEAN"} else "VARCHAR"


def _rows(views: duckdb.DuckDBPyConnection, query: str, values: Any) -> list[Any]:
    return (views.execute(query, values) if values else views.execute(query)).fetchall()


def _order(order_by: str | Sequence[str] | None) -> str:
    if order_by is None:
        return ""
    terms = []
    for term in [order_by] if isinstance(order_by, str) else order_by:
        name, _, direction = term.strip().rpartition(" ")
        if not name or direction.lower() not in ("asc", "desc"):
            name, direction = term.strip(), "asc"
        terms.append(f"{quoted(name)} {direction} NULLS LAST")
    return f" ORDER BY {', '.join(terms)}"


def _limit(limit: int | None) -> str:
    if limit is None:
        return ""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ValueError(f"limit is {limit!r}; it must be a whole number, 0 or more")
    return f" LIMIT {limit}"


def _listed(field: str, value: str | Iterable[str]) -> list[str]:
    items = [value] if isinstance(value, str) else list(value)
    for item in items:
        if not isinstance(item, str):
            raise ValueError(f"{field} holds {item!r}; it must be text")
    return list(dict.fromkeys(items))


def _check_ids(views: duckdb.DuckDBPyConnection, ids: list[str]) -> None:
    if not ids:
        return
    unknown = [one for (one,) in views.execute(_UNKNOWN_IDS, {"ids": ids}).fetchall()]
    if unknown:
        raise IterationNotFoundError(f"iterations holds {unknown[0]!r}; no iteration has this id")


def _only_selects(views: duckdb.DuckDBPyConnection, query: str) -> None:
    statements = views.extract_statements(query)
    if len(statements) != 1:
        raise QueryError(f"the query holds {len(statements)} statements; it must be one")
    if statements[0].type != duckdb.StatementType.SELECT:
        raise QueryError(
            f"the query is a {statements[0].type.name} statement; only SELECT is allowed, the store does the writing"
        )
