"""Questions about trades."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from finlab_nb.errors import QueryError
from finlab_nb.query.frames.columns import listed_names
from finlab_nb.query.frames.questions import Questions, Views, among, to_frame
from finlab_nb.query.json_types import joined, kinds_of, pointer, structure, type_of
from finlab_nb.query.names import shown_names
from finlab_nb.query.tables import TABLES, literal, quoted
from finlab_nb.records import arguments

PERIODS: Final = ("day", "week", "month", "quarter", "year")

_STORED: Final = [column.name for column in TABLES["trades"].columns]
_SHOWN: Final = [column.name for column in TABLES["trades"].shown]
_ARROW_TYPES: Final = {
    "VARCHAR": pa.string(),
    "DOUBLE": pa.float64(),
    "BIGINT": pa.int64(),
    "TIMESTAMP": pa.timestamp("us"),
}
_TYPES: Final = {column.name: _ARROW_TYPES[column.duckdb_type] for column in TABLES["trades"].columns}
_TRADES: Final = "SELECT {selected} FROM {trades} WHERE {condition}"
_WITH_VALUES: Final = "(SELECT *, json_extract_string(extra, [{pointers}]) AS p FROM {trades})"
_EXTRA_STRUCTURES: Final = f"""
    SELECT DISTINCT {structure("extra")} FROM {{trades}} WHERE {{condition}} AND extra IS NOT NULL"""
_IN_CURRENCIES: Final = """
    SELECT * FROM {trades} LEFT JOIN (SELECT iteration_id, currency FROM {iterations}) USING (iteration_id)
    WHERE {condition}"""
_IN_NO_CURRENCY: Final = "SELECT *, NULL::VARCHAR AS currency FROM {trades} WHERE {condition}"
# As in `analysis.win_rate`: a win rate counts the closed trades whose result is known, by P&L or else by return.
_WIN_RATE: Final = """
    count(*) FILTER (coalesce(profit_loss, trade_return) > 0 AND exit_day IS NOT NULL)
        / nullif(count(coalesce(profit_loss, trade_return)) FILTER (exit_day IS NOT NULL), 0) AS win_rate"""
_BY_STOCK: Final = f"""
    SELECT {{owner}}stock_code, currency, count(*) AS trades, count(exit_day) AS closed, {_WIN_RATE},
           sum(profit_loss) FILTER (exit_day IS NOT NULL) AS profit_loss,
           avg(profit_loss) FILTER (exit_day IS NOT NULL) AS mean_profit_loss,
           max(profit_loss) FILTER (exit_day IS NOT NULL) AS best_trade,
           min(profit_loss) FILTER (exit_day IS NOT NULL) AS worst_trade,
           avg(trade_return) FILTER (exit_day IS NOT NULL) AS mean_trade_return,
           min(entry_date) AS first_entry, max(exit_date) AS last_exit
    FROM ({{trades}}) GROUP BY ALL ORDER BY ALL"""
_BY_PERIOD: Final = f"""
    SELECT {{owner}}date_trunc('{{period}}', exit_day)::TIMESTAMP AS period, currency, count(*) AS closed, {_WIN_RATE},
           sum(profit_loss) AS profit_loss
    FROM ({{trades}}) WHERE exit_day IS NOT NULL GROUP BY ALL ORDER BY ALL"""


class TradeFrames(Questions):
    """Trades, one by one and summed up."""

    def trades(
        self,
        iterations: str | Iterable[str] | None = None,
        *,
        columns: str | Iterable[str] | None = None,
        stocks: str | Iterable[str] | None = None,
        since: str | date | datetime | np.datetime64 | None = None,
        until: str | date | datetime | np.datetime64 | None = None,
    ) -> pd.DataFrame:
        """See `Lab.trades`."""
        ids = None if iterations is None else arguments.texts("iterations", iterations)
        wanted = columns if columns is None or columns == "all" else arguments.texts("columns", columns)
        conditions, bound = ["true"], dict[str, Any]()
        if stocks is not None:
            conditions.append("stock_code IN (SELECT unnest($stocks::VARCHAR[]))")
            bound["stocks"] = arguments.texts("stocks", stocks)
        for name, sign, limit in (("since", ">=", since), ("until", "<=", until)):
            if limit is not None:
                bound[name] = found = arguments.bound(name, limit)
                date_or_day = "entry_date" if isinstance(found, datetime) else "entry_day"
                conditions.append(f"{date_or_day} {sign} ${name}")

        question = partial(_answer, ids=ids, wanted=wanted, condition=" AND ".join(conditions), bound=bound)
        frame, unknown = pd.DataFrame(), list[str]()
        if ids is not None and len(ids) == 1:  # one that has trades exists
            frame, unknown = self.ask(partial(question, are_known=True), {"trades"}, ids)
        if frame.empty:
            frame, unknown = self.ask(question, {"trades"}, ids, checked=("iterations",))
        if unknown:
            self._check_names(unknown)
        return frame

    def _check_names(self, unknown: Iterable[str]) -> None:
        """Refuse a name that is no key of any trade; other iterations may have keys that the chosen ones lack."""
        everywhere = sorted(self.ask(lambda views: _extra_types(views, "trades", "true"), {"trades"}))
        for name in unknown:
            if name not in everywhere:
                names = listed_names([*_SHOWN, *everywhere])
                raise QueryError(f"columns has {name!r}; no such column, there are {names}")

    def by_stock(self, iterations: str | Iterable[str] | None = None, *, per_iteration: bool = False) -> pd.DataFrame:
        """See `Lab.by_stock`."""
        owner = "iteration_id, " if arguments.flag("per_iteration", per_iteration) else ""
        return self._summed(_BY_STOCK, iterations, owner=owner)

    def by_period(
        self, iterations: str | Iterable[str] | None = None, period: str = "month", *, per_iteration: bool = False
    ) -> pd.DataFrame:
        """See `Lab.by_period`."""
        owner = "iteration_id, " if arguments.flag("per_iteration", per_iteration) else ""
        chosen = arguments.one_of("period", period, PERIODS)
        return self._summed(_BY_PERIOD, iterations, owner=owner, period=chosen)

    def _summed(self, query: str, iterations: str | Iterable[str] | None, **parts: str) -> pd.DataFrame:
        """Answer a query about the {trades} of all or some iterations, each with its currency."""
        ids = None if iterations is None else arguments.texts("iterations", iterations)

        def question(views: Views) -> pd.DataFrame:
            rows = _IN_CURRENCIES if "currency" in views.moment.held("iterations") else _IN_NO_CURRENCY
            sources = {name: views.moment.rows_of(name, ids or []) for name in ("trades", "iterations")}
            trades = rows.format(condition=views.condition(ids), **sources)
            return views.frame(query.format(trades=trades, **parts))

        return self.ask(question, {"iterations", "trades"}, ids)


def _frame(columns: list[pa.ChunkedArray], names: list[str], trade_ids: pa.ChunkedArray) -> pd.DataFrame:
    """Return columns as a DataFrame, in the order of the trades' ids."""
    typed = [name if name in _SHOWN else f"extra.{name}" for name in names]
    frame = to_frame(pa.Table.from_arrays(columns, names=typed))
    frame.columns = pd.Index(names)
    places = trade_ids.to_numpy()
    # Rows that were edited after they were copied come last; sorting only then is much cheaper than ORDER BY.
    if (places[1:] > places[:-1]).all():
        return frame
    ordered: pd.DataFrame = frame.iloc[places.argsort()].reset_index(drop=True)
    return ordered


def _extra_types(views: Views, trades: str, condition: str) -> dict[str, str]:
    """Return the type of each key in `extra` of some trades."""
    structures = views.rows(_EXTRA_STRUCTURES.format(trades=trades, condition=condition))
    return {name: type_of(kinds) for name, kinds in joined(kinds_of(text) for (text,) in structures).items()}


def _answer(
    views: Views,
    ids: Sequence[str] | None,
    wanted: str | Sequence[str] | None,
    condition: str,
    bound: Mapping[str, Any],
    *,
    are_known: bool = False,
) -> tuple[pd.DataFrame, list[str]]:
    """Return the trades, and the names of wanted columns that none of them has."""
    if not are_known:
        views.check_ids(ids or [])
    of_ids, trades = "true" if ids is None else among(ids), views.moment.rows_of("trades", ids or [])
    is_stored = wanted is None or (wanted != "all" and set(wanted) <= set(_SHOWN))
    types = {} if is_stored else _extra_types(views, trades, of_ids)
    selected = _selected(wanted, types)
    empty = {name: _TYPES[name] for name in selected.keys() & (_TYPES.keys() - views.moment.held("trades"))}
    asked = {name: key for name, key in selected.items() if name not in empty} | {"trade_id": None}
    keys = [key for key in asked.values() if key is not None]
    pointers = ", ".join(literal(pointer(key)) for key in keys)
    values = {key: f"TRY_CAST(p[{place}] AS {types.get(key, 'VARCHAR')})" for place, key in enumerate(keys, 1)}
    query = _TRADES.format(
        selected=", ".join(quoted(name) if key is None else values[key] for name, key in asked.items()),
        trades=_WITH_VALUES.format(pointers=pointers, trades=trades) if keys else trades,
        condition=f"{of_ids} AND {condition}",
    )
    rows = views.table(query, bound)
    columns = dict(zip(asked, rows.columns, strict=True))
    # DuckDB takes as long for a column without any value as for another one.
    columns |= {name: pa.chunked_array([pa.nulls(len(rows), kind)]) for name, kind in empty.items()}
    frame = _frame([columns[name] for name in selected], list(selected), columns["trade_id"])
    return frame, [key for key in keys if key not in types]


def _selected(wanted: str | Sequence[str] | None, known: Iterable[str]) -> dict[str, str | None]:
    """Return the columns of an answer, each with its key in `extra` if any: those stored, or wanted, or ``"all"``."""
    if wanted is None:
        return dict.fromkeys(_STORED)
    if wanted != "all":
        return {name: None if name in _SHOWN else name for name in wanted}
    stored = [name for name in _SHOWN if name != "extra"]
    keys = shown_names(set(known) - set(_SHOWN), taken=_SHOWN)
    return {**dict.fromkeys(stored), **{shown: key for key, shown in keys.items()}}
