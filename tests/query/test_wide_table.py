"""The wide table: keeping it up to date says the same as making it anew, and costs what has changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finlab_nb.query.json_types import exact_type_of, kinds_of, structure, type_of
from finlab_nb.query.results import SOURCES, Results, rebuilt, shown_names, updated
from finlab_nb.query.tables import TABLES

NAMES = ["lookback", "Lookback", "LOOKBACK_2", "ß", "ẞ", "İ", "i̇", "a\0b", "", "%", 'q"', "a.b", "~/", "iteration_id"]
VALUES: list[Any] = [
    1,
    -1,
    0.5,
    True,
    "x",
    "7",
    None,
    [1],
    {"a": 1},
    2**53 + 1,
    -(2**60),
    2**63,
    2**70,
    -(2**70),
    1e-05,
]
IDS = ["a", "b", "c", None]


class Store:
    """The base tables in a plain DuckDB, under the views that the wide table is made from."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(":memory:")
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute("CREATE SCHEMA copied")
        for name in SOURCES:
            table = TABLES[name]
            self.connection.execute(f"CREATE TABLE stored_{name} ({table.definition})")
            self.connection.execute(f"CREATE VIEW {name} AS SELECT {table.names} FROM stored_{name}")
        self.put("strategies", strategy_id="s", name="momentum")

    def put(self, table: str, **values: Any) -> None:
        marks = ", ".join(["?"] * len(values))
        self.connection.execute(
            f"INSERT INTO stored_{table} ({', '.join(values)}) VALUES ({marks})", list(values.values())
        )

    def remove(self, iteration_id: str | None) -> None:
        for table in set(SOURCES) - {"strategies"}:
            self.connection.execute(
                f"DELETE FROM stored_{table} WHERE iteration_id IS NOT DISTINCT FROM ?", [iteration_id]
            )

    def save(
        self,
        iteration_id: str | None,
        parameters: dict[str, Any] | None,
        extra_metrics: dict[str, float | None],
        tags: Sequence[str | None] = (),
    ) -> None:
        self.remove(iteration_id)
        text = None if parameters is None else json.dumps(parameters)
        self.put("iterations", iteration_id=iteration_id, strategy_id="s", parameters=text, starred=bool(tags))
        self.put("metrics", iteration_id=iteration_id, sharpe_ratio=len(extra_metrics) / 2)
        for name, value in extra_metrics.items():
            self.put("extra_metrics", iteration_id=iteration_id, name=name, value=value)
        for tag in tags:
            self.put("tags", iteration_id=iteration_id, tag=tag)


@pytest.fixture
def store() -> Iterator[Store]:
    """Return empty base tables."""
    made = Store()
    yield made
    made.connection.close()


def _shown(connection: duckdb.DuckDBPyConnection, results: Results) -> tuple[Any, ...]:
    """Return all that anybody sees of the wide table: the view, and the columns of answers in any order of rows."""
    view = connection.sql("FROM results").to_arrow_table()
    columns = ", ".join(f"{sql} AS c{place}" for place, sql in enumerate(results.columns().values()))
    answer = connection.sql(f"SELECT {columns} FROM copied.results").to_arrow_table()
    return view.schema, _rows(view), list(results.columns()), answer.schema, _rows(answer)


def _rows(table: pa.Table) -> list[str]:
    return sorted(map(str, table.to_pylist()))


# Most iterations have the first name, so that its column meets values of many kinds, and few are removed.
values = st.sampled_from([1, 0.5, "x"]) | st.sampled_from(VALUES)
others = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=4)
parameters = st.builds(lambda first, others: {"lookback": first, **others}, values, others)
figures = st.dictionaries(st.sampled_from([one for one in NAMES if one]), st.sampled_from([None, 0.5]), max_size=4)
tags = st.lists(st.sampled_from(["t", "u", None]), unique=True, max_size=2)
iterations = st.tuples(parameters, figures, tags)
saved = st.one_of(iterations, iterations, iterations, st.tuples(st.none(), figures, tags), st.none())
saves = st.tuples(st.sampled_from(IDS), saved)


@given(st.lists(st.lists(saves, min_size=1, max_size=3), min_size=6, max_size=6))
@settings(max_examples=30)
def test_what_is_kept_up_to_date_is_what_is_made_anew(history: list[list[tuple[str | None, Any]]]) -> None:
    kept, anew = Store(), Store()
    results = rebuilt(kept.connection)
    for changes in history:
        for store in (kept, anew):
            for iteration_id, saved in changes:
                if saved is None:
                    store.remove(iteration_id)
                else:
                    store.save(iteration_id, *saved)
        results = updated(kept.connection, results, {iteration_id for iteration_id, _ in changes})
        again = rebuilt(anew.connection)
        assert _shown(kept.connection, results) == _shown(anew.connection, again)
        assert (results.kinds, results.named, results.shown) == (again.kinds, again.named, again.shown)
        assert sum(results.rows.values()) == kept.connection.sql("FROM iterations").count("*").fetchall()[0][0]
    kept.connection.close()
    anew.connection.close()


def test_a_change_that_is_rolled_back_leaves_what_was_known(store: Store) -> None:
    store.save("a", {"lookback": 1}, {"calmar": 1.0})
    known = rebuilt(store.connection)
    before = _shown(store.connection, known)
    store.connection.execute("BEGIN TRANSACTION")
    store.save("a", {"lookback": 0.5, "mode": "x"}, {"ulcer": 1.0})
    store.save("b", {"lookback": "text"}, {})
    assert _shown(store.connection, updated(store.connection, known, ["a", "b"])) != before
    store.connection.execute("ROLLBACK")
    assert _shown(store.connection, known) == before


def test_a_parameter_goes_from_whole_numbers_over_others_to_text_and_back(store: Store) -> None:
    results = rebuilt(store.connection)
    seen = []
    for iteration_id, value in (("a", None), ("b", 60), ("c", 0.5), ("d", "x"), ("d", 1), ("c", 2**63)):
        store.save(iteration_id, {"lookback": value}, {})
        results = updated(store.connection, results, [iteration_id])
        answer = store.connection.sql("SELECT param.lookback FROM results ORDER BY iteration_id").to_arrow_table()
        seen.append((str(answer.schema.types[0]), answer.column(0).to_pylist()))
    assert seen == [
        ("string", [None]),
        ("int64", [None, 60]),
        ("double", [None, 60.0, 0.5]),
        ("string", [None, "60", "0.5", "x"]),
        ("double", [None, 60.0, 0.5, 1.0]),
        ("uint64", [None, 60, 2**63, 1]),
    ]


def test_names_that_nothing_has_any_more_are_gone_from_view_and_answers(store: Store) -> None:
    store.save("a", {"lookback": 1}, {"calmar": 1.0})
    store.save("b", {}, {})
    results = rebuilt(store.connection)
    assert {"param.lookback", "metric.calmar"} <= results.columns().keys()
    store.remove("a")
    results = updated(store.connection, results, ["a"])
    assert not any("." in name for name in results.columns())
    assert store.connection.sql("FROM results").columns[-1] == "changed_at"


def test_a_change_rewrites_the_rows_of_its_iterations_alone(store: Store) -> None:
    for number in range(5):
        store.save(f"i{number}", {"lookback": number}, {"calmar": 0.5})
    results = rebuilt(store.connection)
    store.connection.execute("UPDATE copied.results SET note = 'untouched'")
    store.save("i3", {"lookback": 3}, {"calmar": 0.5}, ["t"])
    updated(store.connection, results, ["i3"])
    rewritten = "SELECT iteration_id, starred FROM results WHERE note IS NULL"
    assert store.connection.execute(rewritten).fetchall() == [("i3", True)]


class Counted:
    """A connection that counts statements."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.statements: list[str] = []

    def execute(self, query: str, values: Any = None) -> duckdb.DuckDBPyConnection:
        self.statements.append(query)
        return self._connection.execute(query, values)


def test_the_cost_of_a_change_does_not_grow_with_the_book() -> None:
    costs = []
    for size in (10, 1_000):
        store = Store()
        for table, columns in (("iterations", "strategy_id, parameters"), ("extra_metrics", "name, value")):
            values = "'s', '{\"lookback\": 1}'" if table == "iterations" else "'calmar', 0.5"
            store.connection.execute(
                f"INSERT INTO stored_{table} (iteration_id, {columns}) SELECT 'i' || range, {values} FROM range({size})"
            )
        results = rebuilt(store.connection)
        store.save("i7", {"lookback": 7}, {"calmar": 1.0}, ["t"])
        counted = Counted(store.connection)
        updated(counted, results, ["i7"])  # type: ignore[arg-type]
        costs.append([statement.split()[:4] for statement in counted.statements])
        store.connection.close()
    assert costs[0] == costs[1]
    assert len(costs[0]) == 6


def test_thousands_of_names_cost_no_square(store: Store) -> None:
    counts = []
    for names in (50, 500):
        for number in range(3):
            store.save(f"i{number}", {f"p{one}": one for one in range(names)}, {f"m{one}": 1.0 for one in range(names)})
        counted = Counted(store.connection)
        results = rebuilt(counted)  # type: ignore[arg-type]
        assert len(results.columns()) == 2 * names + len(store.connection.sql("FROM results").columns) - 2
        counts.append(sum(map(len, counted.statements)) / names)
    assert counts[1] < 1.5 * counts[0]  # text to plan for each name


def test_names_are_shown_so_that_sql_and_people_tell_them_apart() -> None:
    shown = shown_names(["b", "a", "A", "a_2", "x\0", "x␀", "", "ß", "ẞ"])
    assert shown == {
        "": "∅",
        "A": "A",
        "a": "a_3",
        "a_2": "a_2",
        "b": "b",
        "x\0": "x␀",
        "x␀": "x␀_2",
        "ß": "ß",
        "ẞ": "ẞ_2",
    }
    assert shown_names(["Stock_Code"], taken=["stock_code"]) == {"Stock_Code": "Stock_Code_2"}


@given(st.lists(st.text(st.sampled_from("aAßẞİi_2\0")), unique=True), st.lists(st.sampled_from(["A", "a_2"])))
def test_no_two_names_are_shown_alike(names: list[str], taken: list[str]) -> None:
    shown = shown_names(names, taken)
    assert set(shown) == set(names)
    assert max(Counter(one.lower() for one in [*shown.values(), *set(taken)]).values(), default=1) == 1
    assert not any("\0" in one or not one for one in shown.values())


@pytest.mark.parametrize(
    ("values", "kind", "exact"),
    [
        ([1, 2**53], "BIGINT", "BIGINT"),
        ([-1, 2**63 - 1], "BIGINT", "BIGINT"),
        ([1, 2**63], "UBIGINT", "UBIGINT"),
        ([-1, 2**63], "VARCHAR", "VARCHAR"),
        ([-(2**60), 2**63], "VARCHAR", "VARCHAR"),
        ([2**64], "VARCHAR", "VARCHAR"),
        ([-(2**63) - 1], "VARCHAR", "VARCHAR"),
        ([1, 0.5], "DOUBLE", "DOUBLE"),
        ([0.00012345678901234567], "DOUBLE", "DOUBLE"),
        ([2**53 + 1, 0.5], "DOUBLE", "VARCHAR"),  # the first one alone is a whole number
        (["12345678901234567890", "x"], "VARCHAR", "VARCHAR"),
        ([True, False], "BOOLEAN", "BOOLEAN"),
        ([True, 1], "VARCHAR", "VARCHAR"),
        ([None], "VARCHAR", "VARCHAR"),
        ([1, None], "BIGINT", "BIGINT"),
        ([[1], {"a": 2**70}], "VARCHAR", "VARCHAR"),
    ],
)
def test_a_column_has_the_type_that_holds_its_values(values: list[Any], kind: str, exact: str) -> None:
    query = f"SELECT {structure('object')} FROM (SELECT unnest(?::VARCHAR[]) AS object)"
    texts = [json.dumps({"other": 1, "x": value}) for value in values]
    found = {kinds_of(text)["x"] for (text,) in duckdb.execute(query, [texts]).fetchall()} - {"NULL"}
    assert (type_of(found), exact_type_of(found)) == (kind, exact)
