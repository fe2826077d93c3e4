"""A query finds the variables that Python would find at the place of the call, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import finlab_nb as fl

df = pd.DataFrame({"x": ["global"]})
numbers = pd.DataFrame({"x": [1, 2, 3]})
QUERY = "SELECT x FROM df"


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fl.Lab]:
    with fl.Lab(tmp_path_factory.mktemp("lab") / "lab.db") as opened:
        yield opened


def _found(lab: fl.Lab) -> str:
    return str(lab.sql(QUERY)["x"].item())


def _called(ask: Callable[[], str]) -> str:
    df = pd.DataFrame({"x": ["the function that merely called"]})
    return ask() if len(df) else ""


def test_a_helper_that_means_the_global_is_not_given_its_callers_local(asking: fl.Lab) -> None:
    df = pd.DataFrame({"x": ["local"]})
    assert _found(asking) == "global"
    assert asking.sql(QUERY)["x"].item() == df["x"].item() == "local"


def test_lambdas_comprehensions_and_nested_functions_see_what_they_are_written_in(asking: fl.Lab) -> None:
    df = pd.DataFrame({"x": ["local"]})

    def nested() -> str:
        def deeper() -> str:
            return str(asking.sql(QUERY)["x"].item())

        return deeper()

    def shadowing() -> str:
        df = pd.DataFrame({"x": ["nested"]})
        return _called(lambda: str(asking.sql(QUERY)["x"].item())) if len(df) else ""

    assert [asking.sql(QUERY)["x"].item() for _ in range(2)] == ["local"] * 2
    assert list(asking.sql(QUERY)["x"].item() for _ in range(1)) == ["local"]  # noqa: C400 - its own frame
    assert (lambda: asking.sql(QUERY)["x"].item())() == "local"
    assert _called(lambda: str(asking.sql(QUERY)["x"].item())) == "local"
    assert nested() == _called(nested) == "local"
    assert shadowing() == "nested"
    assert len(df) == 1


def test_a_function_whose_enclosing_one_has_ended_sees_the_global(asking: fl.Lab) -> None:
    def made() -> Callable[[], str]:
        df = pd.DataFrame({"x": ["ended"]})
        return lambda: str(asking.sql(QUERY)["x"].item()) if len(df) or True else ""

    inner = made()
    # What the function itself names stays alive with it, as in Python; what only the query names does not.
    assert inner() == "ended"

    def unnamed() -> Callable[[], str]:
        df = pd.DataFrame({"x": ["ended"]})
        assert len(df) == 1
        return lambda: str(asking.sql(QUERY)["x"].item())

    assert unnamed()() == "global"


def test_two_functions_of_the_same_text_are_not_confused(asking: fl.Lab) -> None:
    namespace: dict[str, Any] = {"pd": pd, "lab": asking, "df": pd.DataFrame({"x": ["global"]})}
    exec(
        "def first(): return (lambda: lab.sql('SELECT x FROM df')['x'].item())\n"
        "ask = first()\n"
        "def second():\n"
        "    df = pd.DataFrame({'x': ['second']})\n"
        "    own = (lambda: lab.sql('SELECT x FROM df')['x'].item())\n"
        "    return ask()\n",
        namespace,
    )
    assert namespace["second"]() == "global"


def test_a_class_body_is_a_scope_only_for_itself(asking: fl.Lab) -> None:
    class Body:
        df = pd.DataFrame({"x": ["class"]})
        own = asking.sql(QUERY)["x"].item()

        def method(self) -> str:
            return str(asking.sql(QUERY)["x"].item())

        called = method(None)  # type: ignore[arg-type]

    assert (Body.own, Body.called, Body().method()) == ("class", "global", "global")


def test_a_local_without_a_value_hides_the_global_as_in_python(asking: fl.Lab) -> None:
    df = pd.DataFrame({"x": ["local"]})
    assert asking.sql(QUERY)["x"].item() == df["x"].item()
    del df
    with pytest.raises(fl.QueryError, match="Table with name df does not exist"):
        asking.sql(QUERY)


def test_the_names_of_variables_have_case_and_those_of_tables_have_none(asking: fl.Lab) -> None:
    Prices = pd.DataFrame({"x": [7]})  # noqa: N806 - what the test is about
    assert asking.sql("SELECT x FROM Prices")["x"].tolist() == Prices["x"].tolist()
    assert asking.sql("SELECT a.x FROM Prices AS a JOIN prices AS b USING (x)")["x"].tolist() == [7]
    with pytest.raises(fl.QueryError, match="Table with name PRICES does not exist"):
        asking.sql("SELECT x FROM PRICES")
    prices = pd.DataFrame({"x": [8]})
    with pytest.raises(fl.QueryError, match="have the same name for DuckDB"):
        asking.sql("SELECT a.x FROM Prices AS a JOIN prices AS b USING (x)")
    assert len(prices) == 1


def test_a_view_wins_over_a_variable_and_with_over_both(asking: fl.Lab) -> None:
    trades = pd.DataFrame({"x": ["a variable"]})
    results = [1, 2]
    assert "stock_code" in asking.sql("SELECT * FROM Trades").columns
    assert asking.sql("WITH trades AS (SELECT 1 AS x) FROM trades")["x"].tolist() == [1]
    assert asking.sql("WITH numbers AS (SELECT 5 AS x) SELECT x FROM numbers")["x"].tolist() == [5]
    assert asking.sql("WITH results AS (SELECT 5 AS x) SELECT x FROM results")["x"].tolist() == [5]
    assert (len(trades), len(results)) == (1, 2)


def test_a_name_defined_in_one_part_and_read_in_another_is_the_variable_there(asking: fl.Lab) -> None:
    query = "SELECT (WITH {0} AS (SELECT 50 AS x) SELECT x FROM {0}) + sum(x) AS total FROM {0}"
    assert asking.sql(query.format("numbers"))["total"].tolist() == [56]
    listed = [1, 2]
    with pytest.raises(fl.QueryError, match="Table with name listed does not exist"):
        asking.sql(query.format("listed"))
    assert asking.sql("WITH listed AS (SELECT 5 AS x) SELECT x FROM listed")["x"].tolist() == [5]
    assert len(listed) == 2


def test_names_read_anywhere_in_a_query_are_found(asking: fl.Lab) -> None:
    a = pd.DataFrame({"x": [1, 2]})
    for query in (
        "SELECT (SELECT sum(x) FROM a) AS n",
        "SELECT count(*) + 1 AS n FROM a SEMI JOIN numbers USING (x)",
        "WITH b AS (WITH c AS (FROM a) FROM c) SELECT sum(x) AS n FROM b",
        "SELECT sum(x) AS n FROM (SELECT * FROM a UNION ALL SELECT * FROM a WHERE false)",
        "SELECT 3 AS n WHERE EXISTS (FROM a)",
        "SELECT sum(x) AS n FROM a AS numbers",
    ):
        assert asking.sql(query)["n"].tolist() == [3], query
    assert asking.sql("DESCRIBE a")["column_name"].tolist() == ["x"]
    assert asking.sql("SHOW a")["column_name"].tolist() == ["x"]
    assert len(asking.sql("SUMMARIZE a")) == 1
    assert not asking.sql("EXPLAIN FROM a").empty
    assert len(a) == 2


class Exporting:
    """A table of another library."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.table({"x": [1, 2]}).__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "make",
    [
        lambda: pd.DataFrame({"x": [1, 2]}, index=[7, 8]),
        lambda: pl.DataFrame({"x": [1, 2]}),
        lambda: pa.table({"x": [1, 2]}),
        lambda: pa.record_batch({"x": [1, 2]}),
        lambda: pa.table({"x": [1, 2]}).to_reader(),
        Exporting,
    ],
)
def test_a_variable_may_be_a_table_of_any_library_and_be_read_twice(asking: fl.Lab, make: Callable[[], Any]) -> None:
    own = make()
    answer = asking.sql("SELECT a.x FROM own AS a JOIN own AS b USING (x) ORDER BY 1")
    assert answer["x"].tolist() == [1, 2]
    assert answer.columns.tolist() == ["x"]
    assert own is not None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "is a list; it must be a DataFrame"),
        (pd.Series([1, 2]), "is a Series; it must be a DataFrame"),
        (pl.LazyFrame({"x": [1]}), r"is a LazyFrame; .*; collect\(\) makes one of it"),
        (pl.Series([1]), "pyarrow cannot read the variable own"),
        (pa.array([1]), "Array; it must be a DataFrame"),
        ({"x": [1]}, "is a dict"),
    ],
)
def test_a_variable_that_is_no_table_is_an_error_that_says_so(asking: fl.Lab, value: Any, message: str) -> None:
    own = value
    with pytest.raises(fl.QueryError, match=message):
        asking.sql("SELECT * FROM own")
    assert own is value


def test_given_frames_may_have_any_name_but_that_of_a_view(asking: fl.Lab) -> None:
    one = pd.DataFrame({"x": [1]})
    assert asking.sql('SELECT x FROM "prices.2024"', frames={"prices.2024": one})["x"].tolist() == [1]
    assert asking.sql("SELECT x FROM df", frames={"DF": one})["x"].tolist() == [1]
    for name in ("trades", "Trades", "results", "", 5):
        with pytest.raises(ValueError, match="it must be text, and not the name of a view"):
            asking.sql("SELECT 1", frames={name: one})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="have the same name"):
        asking.sql("SELECT 1", frames={"a": one, "A": one})


def test_variables_and_given_frames_do_not_stay(asking: fl.Lab) -> None:
    asking.sql("SELECT x FROM kept", frames={"kept": numbers})
    with pytest.raises(fl.QueryError, match="Table with name kept does not exist"):
        asking.sql("SELECT x FROM kept")
