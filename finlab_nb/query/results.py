"""The wide table of iterations: a row each, with a column for each metric, extra metric and parameter, typed.

It is made from the views of `SOURCES`, and kept up to date by the iterations that changed. Its columns for parameters
and extra metrics have numbers instead of names, because names may be anything; `Results` tells which is which. Each row
has the numbers of two shapes: which parameters the iteration has, of which kinds, and which extra metrics. So the
columns of an answer, and their types, follow from the few shapes of its iterations, without a look at their values.

The view ``results`` shows the table to SQL: `BASE_COLUMNS`, and the structs ``param`` and ``metric``, so that
``param.lookback`` in SQL is the column of that name in a DataFrame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from finlab_nb.query.json_types import Kinds, exact_type_of, joined, keys_of, kinds_of, structure, type_of, values
from finlab_nb.query.names import shown_names
from finlab_nb.query.tables import TABLES, literal, quoted
from finlab_nb.records import METRICS

if TYPE_CHECKING:
    import duckdb

SOURCES: Final = ("strategies", "iterations", "metrics", "extra_metrics", "tags")
# What the wide table depends on, the owner first.
COLUMNS_READ: Final[Mapping[str, Sequence[str]]] = {
    name: ("strategy_id", "name")
    if name == "strategies"
    else ("iteration_id", *(one.name for one in TABLES[name].columns if one.name not in ("iteration_id", "code")))
    for name in SOURCES
}
_MOST_UPDATED: Final = 2_000  # more iterations are not quicker than all
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
TABLE: Final = "copied.results"

_BASE: Final = ", ".join(map(quoted, BASE_COLUMNS))
_CREATED: Final = (
    "CREATE OR REPLACE TABLE copied.parameter_shapes (structure VARCHAR, shape INTEGER, places INTEGER[])",
    "CREATE OR REPLACE TABLE copied.metric_shapes (numbers INTEGER[], shape INTEGER, places INTEGER[])",
    "CREATE OR REPLACE TABLE copied.metric_numbers (name VARCHAR, number INTEGER)",
)
_NUMBER_METRICS: Final = """
    INSERT INTO copied.metric_numbers
    SELECT name, {known} + row_number() OVER (ORDER BY name) FROM (
        SELECT DISTINCT name FROM extra_metrics ANTI JOIN copied.metric_numbers USING (name)
        WHERE name IS NOT NULL AND {chosen})
    RETURNING number, name"""
# Lists of tags that are sorted at the end take a sixth of the time of string_agg(tag, ', ' ORDER BY tag). Figures are
# in no certain order, which therefore is part of their shape.
_CHANGED: Final = f"""
    CREATE OR REPLACE TABLE copied.changed AS
    SELECT i.*, s.name AS strategy, m.* EXCLUDE (iteration_id), tags, figures,
           list_transform(figures, lambda figure: figure.number) AS numbers
    FROM (SELECT * EXCLUDE (code), {structure("parameters")} AS structure FROM iterations WHERE {{chosen}}) AS i
    LEFT JOIN (SELECT strategy_id, name FROM strategies) AS s USING (strategy_id)
    LEFT JOIN (SELECT * FROM metrics WHERE {{chosen}}) AS m USING (iteration_id)
    LEFT JOIN (SELECT iteration_id, array_to_string(list_sort(list(tag) FILTER (tag IS NOT NULL)), ', ') AS tags
               FROM tags WHERE {{chosen}} GROUP BY iteration_id) USING (iteration_id)
    LEFT JOIN (SELECT iteration_id, list({{{{'number': number, 'value': value}}}}) AS figures
               FROM extra_metrics JOIN copied.metric_numbers USING (name)
               WHERE {{chosen}} GROUP BY iteration_id) USING (iteration_id)"""
_SHAPES: Final = """
    SELECT p.shape, m.shape, CASE WHEN p.shape IS NULL THEN structure END, CASE WHEN m.shape IS NULL THEN numbers END,
           count(*)
    FROM copied.changed LEFT JOIN copied.parameter_shapes AS p USING (structure)
                        LEFT JOIN copied.metric_shapes AS m USING (numbers)
    GROUP BY ALL ORDER BY ALL"""
_CREATE: Final = f"CREATE OR REPLACE TABLE {TABLE} ({{columns}})"
_REMOVE: Final = f"DELETE FROM {TABLE} WHERE {{chosen}} RETURNING parameter_shape, metric_shape"
_INSERT: Final = f"""
    INSERT INTO {TABLE} ({_BASE}, parameter_shape, metric_shape{{columns}})
    SELECT {_BASE}, p.shape, m.shape{{values}}
    FROM (SELECT *, {values("parameters")} AS texts FROM copied.changed)
    LEFT JOIN copied.parameter_shapes AS p USING (structure) LEFT JOIN copied.metric_shapes AS m USING (numbers)"""

Shape: TypeAlias = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Column:
    """A column that is made of a parameter: its name in the table, and the kinds of values that it can hold."""

    name: str
    kinds: frozenset[str]

    @property
    def type(self) -> str:
        """Its type in the table."""
        return exact_type_of(self.kinds)


@dataclass(frozen=True, slots=True)
class Results:
    """What is in the wide table at one moment.

    Attributes
    ----------
    parameters, metrics
        The columns of the parameters and the extra metrics, by name; those that no iteration has any more stay.
    parameter_shapes, metric_shapes
        What the numbers of shapes mean: the kinds of the values, by name, and the names of extra metrics.
    rows
        How many rows have the same two shapes.
    kinds, named
        What these rows have: the kinds of each parameter's values, by name, and the names of their extra metrics.
    shown
        The names that these parameters and extra metrics are shown by, by name.
    asked
        The shapes of the rows that questions were about, by what chose them: notebooks ask the same again.
    """

    parameters: Mapping[str, Column] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    parameter_shapes: Sequence[Kinds] = ()
    metric_shapes: Sequence[Sequence[str]] = ()
    rows: Mapping[Shape, int] = field(default_factory=dict)
    kinds: Mapping[str, frozenset[str]] = field(default_factory=dict)
    named: frozenset[str] = frozenset()
    shown: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})
    asked: dict[Hashable, Sequence[Shape]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def columns(self, shapes: Iterable[Shape] | None = None) -> dict[str, str]:
        """Return the SQL of each column of an answer, by its name.

        Parameters
        ----------
        shapes
            Those of the iterations, which decide what columns there are, and their types; by default of all.
        """
        kinds, named = (self.kinds, self.named) if shapes is None else self.held(shapes)
        parameters, metrics = self.shown
        return {
            **{name: quoted(name) for name in BASE_COLUMNS},
            **{f"param.{parameters[name]}": self._typed(name, kinds[name]) for name in sorted(kinds)},
            **{f"metric.{metrics[name]}": self.metrics[name] for name in sorted(named)},
        }

    def held(self, shapes: Iterable[Shape]) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
        """Return what rows of these shapes have: the kinds of their parameters, and the names of extra metrics."""
        pairs = list(shapes)
        kinds = joined(self.parameter_shapes[one] for one in {one for one, _ in pairs} if one is not None)
        metrics = (self.metric_shapes[one] for one in {one for _, one in pairs} if one is not None)
        return kinds, frozenset().union(*metrics)

    def _typed(self, parameter: str, kinds: Collection[str]) -> str:
        column, kind = self.parameters[parameter], type_of(kinds)
        return column.name if kind == column.type else f"TRY_CAST({column.name} AS {kind})"


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the table and its view without a row, so that the view is there to be looked at."""
    _create(connection, Results())
    connection.execute(_view(Results()))


def rebuilt(connection: duckdb.DuckDBPyConnection) -> Results:
    """Make the wide table and its view anew from the views of `SOURCES`."""
    for statement in _CREATED:
        connection.execute(statement)
    return _filled(connection, Results(), None)


def updated(connection: duckdb.DuckDBPyConnection, known: Results, iteration_ids: Collection[str | None]) -> Results:
    """Bring the rows of some iterations up to date, which may be new or gone.

    Parameters
    ----------
    known
        What is in the table; if the transaction is rolled back, it is so again.
    iteration_ids
        Those of all rows of `SOURCES` that were added, changed or removed; of a strategy, those of its iterations.
    """
    return _filled(connection, known, iteration_ids) if iteration_ids else known


def brought_up_to_date(
    connection: duckdb.DuckDBPyConnection, known: Results | None, iteration_ids: Collection[str | None]
) -> Results:
    """Make the wide table, or bring it up to date, whichever is quicker; see `rebuilt` and `updated`."""
    if known is None or len(iteration_ids) > _MOST_UPDATED:
        return rebuilt(connection)
    return updated(connection, known, iteration_ids)


def iterations_of(connection: duckdb.DuckDBPyConnection, strategy_ids: Iterable[str | None]) -> set[str | None]:
    """Return the iterations of some strategies."""
    listed = ", ".join(literal(one) for one in strategy_ids if one is not None) or "NULL"
    found = connection.execute(f"SELECT iteration_id FROM iterations WHERE strategy_id IN ({listed})").fetchall()
    return {one for (one,) in found}


def _filled(
    connection: duckdb.DuckDBPyConnection, known: Results, iteration_ids: Collection[str | None] | None
) -> Results:
    chosen = "true" if iteration_ids is None else _among(iteration_ids)
    now = _with_metrics(connection, known, chosen)
    connection.execute(_CHANGED.format(chosen=chosen))
    now, added = _with_shapes(connection, now)
    removed = Counter[Shape]()
    if iteration_ids is None:
        _create(connection, now)
    elif _needs_texts(known, now):
        return rebuilt(connection)
    else:
        _widen(connection, known, now)
        removed.update(connection.execute(_REMOVE.format(chosen=chosen)).fetchall())
    connection.execute(_insertion(now, added))
    connection.execute("DROP TABLE copied.changed")
    rows = Counter(known.rows)
    rows.subtract(removed)
    rows.update(added)
    return _shown(connection, known, replace(now, rows=+rows))


def _among(iteration_ids: Collection[str | None]) -> str:
    listed = ", ".join(literal(one) for one in iteration_ids if one is not None)
    conditions = [f"iteration_id IN ({listed})"] if listed else []
    return f"({' OR '.join([*conditions, *(['iteration_id IS NULL'] if None in iteration_ids else [])])})"


def _with_metrics(connection: duckdb.DuckDBPyConnection, known: Results, chosen: str) -> Results:
    """Give numbers to the extra metrics that chosen iterations are the first to have."""
    query = _NUMBER_METRICS.format(known=len(known.metrics), chosen=chosen)
    new = {name: f"m{number}" for number, name in sorted(connection.execute(query).fetchall())}
    return replace(known, metrics={**known.metrics, **new}) if new else known


def _with_shapes(connection: duckdb.DuckDBPyConnection, known: Results) -> tuple[Results, Counter[Shape]]:
    """Give numbers to the shapes that changed iterations are the first to have, and count the rows of each."""
    found = connection.execute(_SHAPES).fetchall()
    structures = list(dict.fromkeys(text for _, _, text, _, _ in found if text is not None))
    figures = list(dict.fromkeys(tuple(numbers) for _, _, _, numbers, _ in found if numbers is not None))
    parameter_numbers = {text: number for number, text in enumerate(structures, len(known.parameter_shapes))}
    metric_numbers = {numbers: number for number, numbers in enumerate(figures, len(known.metric_shapes))}
    added = Counter[Shape]()
    for parameter_shape, metric_shape, text, numbers, count in found:
        if text is not None:
            parameter_shape = parameter_numbers[text]
        if numbers is not None:
            metric_shape = metric_numbers[tuple(numbers)]
        added[parameter_shape, metric_shape] += count
    if not structures and not figures:
        return known, added
    shapes = [kinds_of(text) for text in structures]
    names = list(known.metrics)
    now = replace(
        known,
        parameters=_with_columns(known.parameters, shapes),
        parameter_shapes=[*known.parameter_shapes, *shapes],
        metric_shapes=[*known.metric_shapes, *([names[number - 1] for number in one] for one in figures)],
    )
    places = [_places(now.parameters, keys_of(text)) for text in structures]
    _append(connection, "parameter_shapes", parameter_numbers, places)
    _append(connection, "metric_shapes", metric_numbers, [_places(range(1, len(names) + 1), one) for one in figures])
    return now, added


def _with_columns(known: Mapping[str, Column], shapes: Iterable[Kinds]) -> dict[str, Column]:
    columns = dict(known)
    for name, kinds in sorted(joined(shapes).items()):
        before = columns.get(name, Column(f"p{len(columns) + 1}", frozenset()))
        columns[name] = Column(before.name, before.kinds | kinds)
    return columns


def _places(columns: Iterable[Any], values: Sequence[Any]) -> list[int | None]:
    """Return the place of each column among the values of a shape, counted from 1; if a value comes twice, the last."""
    places = {value: place for place, value in enumerate(values, 1)}
    return [places.get(column) for column in columns]


def _append(
    connection: duckdb.DuckDBPyConnection, table: str, numbers: Mapping[Any, int], places: Sequence[list[int | None]]
) -> None:
    """Keep what is in the rows of new shapes, by their numbers, and where."""
    if numbers:
        query = f"INSERT INTO copied.{table} SELECT unnest($1), unnest($2), unnest($3::INTEGER[][])"
        connection.execute(query, [list(numbers), list(numbers.values()), places])


def _needs_texts(known: Results, now: Results) -> bool:
    """Tell whether a column becomes text that was made of numbers or flags, which may have been written otherwise."""
    return now.parameters is not known.parameters and any(
        one.kinds and one.type != "VARCHAR" == now.parameters[name].type for name, one in known.parameters.items()
    )


def _widen(connection: duckdb.DuckDBPyConnection, known: Results, now: Results) -> None:
    """Add the columns that are new, and let others hold more, as they can: numbers, or anything where nothing was."""
    if now is known:
        return
    before = dict(_columns(known))
    for name, kind in _columns(now):
        if name not in before:
            connection.execute(f"ALTER TABLE {TABLE} ADD COLUMN {name} {kind}")
        elif kind != before[name]:
            connection.execute(f"ALTER TABLE {TABLE} ALTER {name} TYPE {kind}")


def _columns(results: Results) -> list[tuple[str, str]]:
    """Return the name and the type of each column that is made of a parameter or an extra metric."""
    parameters = [(column.name, column.type) for column in results.parameters.values()]
    return parameters + [(name, "DOUBLE") for name in results.metrics.values()]


def _definition(results: Results) -> list[tuple[str, str]]:
    types = {column.name: column.duckdb_type for name in ("metrics", "iterations") for column in TABLES[name].columns}
    base = [(quoted(name), types.get(name, "VARCHAR")) for name in BASE_COLUMNS]
    return [*base, ("parameter_shape", "INTEGER"), ("metric_shape", "INTEGER"), *_columns(results)]


def _create(connection: duckdb.DuckDBPyConnection, results: Results) -> None:
    connection.execute(_CREATE.format(columns=", ".join(f"{name} {kind}" for name, kind in _definition(results))))


def _insertion(results: Results, shapes: Iterable[Shape]) -> str:
    """Return the statement that adds the changed iterations, which have these shapes: no other columns than theirs."""
    kinds, named = results.held(shapes)
    values = {
        column.name: f"TRY_CAST(texts[p.places[{place}]] AS {column.type})"
        for place, (name, column) in enumerate(results.parameters.items(), 1)
        if name in kinds
    } | {
        column: f"figures[m.places[{place}]].value"
        for place, (name, column) in enumerate(results.metrics.items(), 1)
        if name in named
    }
    return _INSERT.format(
        columns="".join(f", {name}" for name in values), values="".join(f", {sql}" for sql in values.values())
    )


def _shown(connection: duckdb.DuckDBPyConnection, known: Results, now: Results) -> Results:
    """Name what the rows have now, and show it as a view."""
    if known.rows and known.rows.keys() == now.rows.keys():
        return now
    kinds, named = now.held(now.rows)
    if known.rows and kinds == known.kinds and named == known.named:
        return now
    now = replace(now, kinds=kinds, named=named, shown=(shown_names(kinds), shown_names(named)))
    connection.execute(_view(now))
    return now


def _view(results: Results) -> str:
    """Return the statement that makes the view."""
    return f"CREATE OR REPLACE VIEW results AS SELECT {', '.join([_BASE, *structs(results.columns())])} FROM {TABLE}"


def structs(columns: Mapping[str, str]) -> list[str]:
    """Return the SQL of the structs that hold the columns of parameters and of extra metrics, where there are any."""
    found = []
    for struct in ("param", "metric"):
        prefix = f"{struct}."
        own = {name.removeprefix(prefix): sql for name, sql in columns.items() if name.startswith(prefix)}
        fields = [f"{quoted(name)} := {sql}" for name, sql in own.items()]
        if fields:
            found.append(f"struct_pack({', '.join(fields)}) AS {struct}")
    return found
