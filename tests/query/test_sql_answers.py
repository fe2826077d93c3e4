"""The forms of an answer, its names and its types."""

from __future__ import annotations

import datetime as dt
import enum
import random
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import finlab_nb as fl
from books import TRADE, fill
from finlab_nb.query.names import unique_names


def _one(lab: fl.Lab, expression: str) -> Any:
    return lab.sql(f"SELECT {expression} AS x")["x"].iloc[0]


def test_an_answer_has_the_form_asked_for(lab: fl.Lab) -> None:
    fill(lab, 1)
    query = "SELECT stock_code, count(*) AS n FROM trades GROUP BY ALL"
    assert isinstance(lab.sql(query), pd.DataFrame)
    arrow = lab.sql(query, to="arrow")
    assert isinstance(arrow, pa.Table)
    frame = lab.sql(query, to="polars")
    assert isinstance(frame, pl.DataFrame)
    with lab.sql(query, to="stream") as reader:
        assert isinstance(reader, pa.RecordBatchReader)
        streamed = reader.read_all()
    assert arrow.to_pylist() == frame.to_dicts() == streamed.to_pylist() == [{"stock_code": "2330", "n": 500}]
    assert arrow.schema == streamed.schema


@pytest.mark.parametrize("to", ["pandas", "arrow", "polars", "stream"])
def test_every_form_takes_placeholders_and_variables_and_may_be_empty(lab: fl.Lab, to: str) -> None:
    own = pd.DataFrame({"x": [1, 2, 3]})
    answers = [lab.sql("SELECT x FROM own WHERE x > $least", {"least": least}, to=to) for least in (1, len(own))]
    tables = [pa.table(one) if to != "pandas" else pa.Table.from_pandas(one) for one in answers]
    assert [table.column("x").to_pylist() for table in tables] == [[2, 3], []]
    assert tables[0].column("x").type == tables[1].column("x").type == pa.int64()


def test_every_column_of_an_answer_may_be_written_to(lab: fl.Lab) -> None:
    values = "({0}, {0}.5, {0} > 1, 'a{0}', DATE '2024-01-0{0}', TIMESTAMPTZ '2024-01-0{0}', {1})"
    frame = lab.sql(f"FROM (VALUES {values.format(1, 'NULL')}, {values.format(2, 7)})")
    for place in range(frame.shape[1]):
        frame.iloc[0, place] = frame.iloc[1, place]
    assert frame.iloc[0].equals(frame.iloc[1])


def test_polars_is_asked_for_before_the_query_is(lab: fl.Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(fl.StorageError, match="pip install polars"):
        lab.sql("SELECT nothing", to="polars")


def test_names_that_differ_only_in_case_are_numbered(lab: fl.Lab) -> None:
    assert unique_names(["a", "A", "a_2", "b", "a"]) == ["a", "A_3", "a_2", "b", "a_4"]
    for to in ("pandas", "arrow", "polars"):
        answer = lab.sql("SELECT 1 AS x, 2 AS X, 3 AS x, 4 AS x_2", to=to)
        names = answer.column_names if to == "arrow" else list(answer.columns)
        assert names == ["x", "X_3", "x_4", "x_2"]
    assert lab.sql("SELECT 1 AS x, 2 AS X", to="stream").schema.names == ["x", "X_2"]


@pytest.mark.parametrize("to", ["pandas", "arrow", "polars", "stream"])
def test_the_structs_of_results_become_columns(lab: fl.Lab, to: str) -> None:
    query = """
        SELECT {'lookback': 5, 'kind': 'a'} AS param, {'alpha': 0.5::DOUBLE} AS metric, {'a': 1} AS other
        UNION ALL SELECT NULL, NULL, NULL"""
    answer = lab.sql(query, to=to)
    table = pa.Table.from_pandas(answer) if to == "pandas" else pa.table(answer)
    assert table.column_names == ["param.lookback", "param.kind", "metric.alpha", "other"]
    assert table.column("param.lookback").to_pylist() == [5, None]
    assert table.column("metric.alpha").to_pylist() in ([0.5, None], [0.5, np.nan])
    if to == "pandas":
        assert [str(kind) for kind in answer.dtypes][::2] == ["Int32", "float64"]


def test_a_difference_of_dates_is_a_timedelta(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("a", "x")
    lab.store.save_iteration(
        strategy, trades=[TRADE, TRADE | {"exit_date": None, "exit_price": None, "profit_loss": None}]
    )
    held = lab.sql("SELECT exit_date - entry_date AS held FROM trades ORDER BY held")["held"]
    assert str(held.dtype) == "timedelta64[us]"
    assert held.tolist() == [pd.Timedelta(days=1), pd.NaT]
    assert (
        str(lab.sql("SELECT exit_date - entry_date AS held FROM trades WHERE false")["held"].dtype) == "timedelta64[us]"
    )
    frame = lab.sql("SELECT exit_date - entry_date AS held FROM trades", to="polars")
    assert frame.schema["held"] == pl.Duration("us")
    assert _one(lab, "INTERVAL '-1 day 2 hours 3.5 seconds'") == pd.Timedelta("-1 day") + pd.Timedelta("2h3.5s")
    months = lab.sql("SELECT unnest([INTERVAL 1 MONTH, INTERVAL 1 DAY, NULL]) AS x")["x"].tolist()
    assert pd.Timestamp("2024-01-31") + months[0] == pd.Timestamp("2024-02-29")


def test_a_million_differences_are_no_python_objects(lab: fl.Lab) -> None:
    answer = lab.sql("SELECT to_days(range::INT) - to_seconds(1.5) AS x FROM range(1000000)")["x"]
    assert str(answer.dtype) == "timedelta64[us]"
    microseconds = np.arange(1_000_000) * 86_400_000_000 - 1_500_000
    assert (answer.to_numpy() == microseconds.astype("timedelta64[us]")).all()


def test_decimal_numbers_are_the_floats_of_python(lab: fl.Lab) -> None:
    chance = random.Random(7)
    literals = ["0.7", "1.5", "0.1", "123456789.123456789", "0.30000000000000004"]
    for _ in range(300):
        digits = "".join(chance.choice("0123456789") for _ in range(chance.randint(1, 36)))
        point = chance.randint(0, len(digits))
        literals.append(f"{chance.choice(['', '-'])}{digits[:point] or '0'}.{digits[point:] or '0'}")
    answer = lab.sql("SELECT " + ", ".join(f"{one} AS c{place}" for place, one in enumerate(literals)))
    assert set(answer.dtypes.map(str)) == {"float64"}
    assert answer.iloc[0].tolist() == list(map(float, literals))
    assert _one(lab, "0.1 + 0.2") == 0.3
    assert _one(lab, "1.1 * 3") == 3.3
    assert _one(lab, "0.1::DECIMAL(18, 17)") == 0.1
    assert lab.sql("SELECT sum(x) AS x FROM (VALUES (0.1), (0.2), (0.7)) AS t(x)")["x"].tolist() == [1.0]


def test_a_decimal_literal_of_up_to_15_digits_equals_the_float_it_is_compared_with(lab: fl.Lab) -> None:
    chance = random.Random(8)
    values = [round(chance.uniform(-1000, 1000), chance.randint(0, 11)) for _ in range(300)]
    conditions = ", ".join(f"count(*) FILTER (sharpe = {value:.11f})" for value in values)
    frames = {"own": pd.DataFrame({"sharpe": values})}
    assert (lab.sql(f"SELECT {conditions} FROM own", frames=frames).iloc[0] > 0).all()
    exact = 0.1 + 0.2
    frames = {"own": pd.DataFrame({"sharpe": [exact]})}
    for condition, params in ((f"{exact!r}e0", None), ("?", [exact])):
        found = lab.sql(f"SELECT count(*) AS n FROM own WHERE sharpe = {condition}", params, frames=frames)
        assert found["n"].tolist() == [1]


def test_sums_of_whole_numbers_are_int64_where_they_fit(lab: fl.Lab) -> None:
    numbers = f"(VALUES ({2**62}), ({2**62 - 1}), ({2**62 + 1})) AS t(x)"
    fitting = lab.sql(f"SELECT sum(x) AS n FROM {numbers} WHERE x <= {2**62}")["n"]
    assert (str(fitting.dtype), fitting.tolist()) == ("int64", [2**63 - 1])
    assert str(lab.sql(f"SELECT sum(x) AS n FROM {numbers} WHERE x < 0")["n"].dtype) == "Int64"
    assert lab.sql(f"SELECT sum(x) AS n FROM {numbers}")["n"].tolist() == [float(3 * 2**62)]


NO_TYPE = "for which Arrow has no type; cast it to VARCHAR"
NOT_IN_PANDAS = r"pandas cannot hold this answer \(.*\); ask for it with to='arrow'"
TYPES_REFUSED = {
    **dict.fromkeys(("bignum", "bit", "time_tz", "uhugeint", "union", "variant"), NO_TYPE),
    **dict.fromkeys(("date", "date_array", "time", "time_ns"), NOT_IN_PANDAS),  # year 5877642, and 24 o'clock
}
TYPES = {
    "bool": "boolean",
    "tinyint": "Int8",
    "smallint": "Int16",
    "int": "Int32",
    "bigint": "Int64",
    "utinyint": "UInt8",
    "usmallint": "UInt16",
    "uint": "UInt32",
    "ubigint": "UInt64",
    "timestamp": "datetime64[us]",
    "timestamp_s": "datetime64[s]",
    "timestamp_ms": "datetime64[ms]",
    "timestamp_ns": "datetime64[ns]",
    "timestamp_tz": "datetime64[us, UTC]",
    "timestamp_tz_ns": "datetime64[ns, UTC]",
    "float": "float32",
    **dict.fromkeys(("double", "hugeint", "dec_4_1", "dec_9_4", "dec_18_6", "dec38_10"), "float64"),
    **dict.fromkeys(("uuid", "varchar"), "str"),
    **dict.fromkeys(("small_enum", "medium_enum", "large_enum"), "category"),
}


def test_every_type_of_duckdb_is_a_column_or_an_error_in_words(lab: fl.Lab) -> None:
    names = lab.sql("DESCRIBE SELECT * FROM test_all_types()")["column_name"].tolist()
    assert len(names) > 50
    for name in names:
        query = f'SELECT "{name}" FROM test_all_types()'
        if name in TYPES_REFUSED:
            with pytest.raises(fl.QueryError, match=TYPES_REFUSED[name]):
                lab.sql(query)
        else:
            column = lab.sql(query)[name]
            kind = "str" if isinstance(column.dtype, pd.StringDtype) else str(column.dtype)
            assert column.isna().tolist()[-1]
            assert kind == TYPES.get(name, "object"), name
        if TYPES_REFUSED.get(name) != NO_TYPE:
            assert lab.sql(query, to="arrow").num_rows == 3
            assert lab.sql(query, to="stream").read_all().num_rows == 3


@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP_S", "TIMESTAMP_NS", "DATE"])
def test_an_infinite_date_is_an_error_in_words_not_a_finite_one(lab: fl.Lab, kind: str) -> None:
    for value in ("infinity", "-infinity"):
        with pytest.raises(fl.QueryError, match=r"holds an infinite date|pandas cannot hold this answer"):
            lab.sql(f"SELECT '{value}'::{kind} AS x UNION ALL SELECT NULL")


def test_what_arrow_cannot_tell_is_refused_inside_of_other_types_too(lab: fl.Lab) -> None:
    for expression in ("['1'::BIT]", "{'a': [1::UHUGEINT]}", "MAP {'a': '1'::BIT}", "array_value('1'::BIT)"):
        with pytest.raises(fl.QueryError, match=NO_TYPE):
            lab.sql(f"SELECT {expression} AS x")


def test_ordinary_values_of_types_that_have_extraordinary_ones_are_columns(lab: fl.Lab) -> None:
    answer = lab.sql("""
        SELECT DATE '2024-01-02' AS day, TIMESTAMP '2024-01-02 03:04:05' AS moment, TIMESTAMP_S '2024-01-02' AS s,
               TIMESTAMP_NS '2024-01-02 00:00:00.000000001' AS ns, TIMESTAMPTZ '2024-01-02 00:00:00+00' AS aware,
               TIME '03:04' AS clock, NULL AS nothing, MAP {'a': 1} AS mapped,
               '\\x00'::BLOB AS bytes""")
    kinds = dict(zip(answer.columns, answer.dtypes.map(str), strict=True))
    assert [kinds[name] for name in ("day", "moment", "s", "ns", "aware")] == [
        *("datetime64[us]", "datetime64[us]", "datetime64[s]", "datetime64[ns]", "datetime64[us, UTC]"),
    ]
    assert answer["clock"].tolist() == [dt.time(3, 4)]
    assert answer["nothing"].isna().all()
    assert answer["mapped"].tolist() == [[("a", 1)]]
    assert answer["bytes"].tolist() == [b"\0"]


MORNING = pd.Timestamp("2024-01-02 09:30").to_pydatetime()


class Symbol(str, enum.Enum):  # noqa: UP042 - StrEnum is another type
    HONHAI = "2317"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([np.int64(1), np.int8(2)], [1, 2]),
        ([np.str_("a"), Symbol.HONHAI], ["a", "2317"]),
        ([np.float32(0.1), np.float64(0.5)], [0.1, 0.5]),
        ([np.bool_(True)], [True]),
        ([[np.int64(1)], [2]], [[1], [2]]),
        ((1, 2), [1, 2]),
        (np.array([1, 2]), [1, 2]),
        (np.array(["a", "b"]), ["a", "b"]),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Index(["a", "b"]), ["a", "b"]),
        (pd.Categorical(["a"]), ["a"]),
        (pa.array([1, None]), [1, None]),
        (range(2), [0, 1]),
        ({5}, [5]),
        ({"a": np.int64(1)}, {"a": 1}),
        (pd.DatetimeIndex(["2024-01-02 09:30"]), [MORNING]),
        (np.array(["2024-01-02T09:30"], dtype="datetime64[ns]"), [MORNING]),
        (np.datetime64("2024-01-02T09:30:00.123456789"), pd.Timestamp("2024-01-02 09:30:00.123456").to_pydatetime()),
        (np.datetime64("2024-01-02"), dt.date(2024, 1, 2)),
        (np.datetime64("NaT"), None),
        (pd.NaT, None),
        (pd.NA, None),
        (pd.Timestamp("2024-01-02", tz="Asia/Taipei"), dt.datetime(2024, 1, 1, 16, tzinfo=dt.UTC)),
        (dt.datetime(2024, 1, 2, tzinfo=dt.UTC), dt.datetime(2024, 1, 2, tzinfo=dt.UTC)),
        (Decimal("1.25"), Decimal("1.25")),
        (np.longdouble(1.5), 1.5),
        (np.timedelta64(5, "s"), None),
    ],
)
def test_placeholders_take_scalars_and_lists_of_numpy_and_pandas(lab: fl.Lab, value: Any, expected: Any) -> None:
    (found,) = lab.sql("SELECT $x AS x", {"x": value}, to="arrow").column("x").to_pylist()
    if isinstance(value, np.timedelta64):
        assert lab.sql("SELECT $x AS x", {"x": value})["x"].tolist() == [pd.Timedelta(seconds=5)]
    else:
        assert found == expected
        assert type(found) is type(expected)


def test_a_list_that_cannot_be_bound_names_the_place(lab: fl.Lab) -> None:
    with pytest.raises(ValueError, match=r"params\['ids'\]\[1\] is .*half a surrogate pair"):
        lab.sql("SELECT $ids", {"ids": ["a", "\ud800"]})


def test_a_refused_query_is_told_in_the_words_of_duckdb_alone(lab: fl.Lab) -> None:
    with pytest.raises(fl.QueryError) as refused:
        lab.sql("SELECT nothing FROM trades WHERE 'a long text' <> ''")
    assert str(refused.value).startswith("Binder Error")
    assert str(refused.value).count("a long text") <= 1
