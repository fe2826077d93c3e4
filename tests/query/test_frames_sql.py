"""A researcher's own SQL: the caller's DataFrames, placeholders, threads and interrupts."""

from __future__ import annotations

import enum
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import finlab_nb as fl
from books import fill

pytestmark = pytest.mark.sources("replica", "plain")

watched = pd.DataFrame({"stock_code": ["2330", "2317"], "weight": [0.6, 0.4]})
trades = pd.DataFrame({"stock_code": ["not a view"]})


def test_sql_sees_the_callers_dataframes(lab: fl.Lab) -> None:
    fill(lab, 1)
    query = "SELECT weight, count(*) AS n FROM trades JOIN watched USING (stock_code) GROUP BY ALL"
    assert lab.sql(query).to_dict("records") == [{"weight": 0.6, "n": 500}]
    own = pd.DataFrame({"x": [1, 2, 3], "Text": ["a", "b", "台"]}, index=[7, 8, 9])
    assert lab.sql('SELECT "Text" FROM own WHERE x > ?', [1])["Text"].tolist() == own["Text"].tolist()[1:]
    assert [lab.sql("SELECT count(*) AS n FROM own")["n"].item() for _ in range(2)] == [3, 3]
    assert lab.frames.sql("WITH own AS (SELECT 5 AS x) SELECT * FROM own")["x"].tolist() == [5]
    assert lab.sql("SELECT count(*) AS n FROM own a, own b, watched")["n"].item() == 18


def test_a_view_wins_over_a_variable_and_variables_do_not_stay(lab: fl.Lab) -> None:
    fill(lab, 1)
    assert len(lab.sql("SELECT * FROM trades")) == 500
    assert len(lab.sql("SELECT * FROM Trades")) == 500
    gone = pd.DataFrame({"x": [1]})
    assert len(lab.sql("SELECT * FROM gone")) == len(gone)
    del gone
    with pytest.raises(fl.QueryError, match="Table with name gone does not exist"):
        lab.sql("SELECT * FROM gone")


def test_frames_are_taken_by_name_too(lab: fl.Lab) -> None:
    assert lab.sql("SELECT * FROM prices", frames={"prices": pd.DataFrame({"x": [1]})})["x"].tolist() == [1]
    with pytest.raises(ValueError, match="frames has the name 'trades'"):
        lab.sql("SELECT * FROM trades", frames={"trades": watched})
    with pytest.raises(fl.QueryError, match="the variable prices is a int"):
        lab.sql("SELECT * FROM prices", frames={"prices": 5})


def test_a_variable_that_is_no_frame_is_an_error_that_says_so(lab: fl.Lab) -> None:
    numbers = [1, 2]
    with pytest.raises(fl.QueryError, match="the variable numbers is a list; it must be a DataFrame"):
        lab.sql("SELECT * FROM numbers")
    assert numbers == [1, 2]


def test_answers_hold_no_python_objects(lab: fl.Lab) -> None:
    fill(lab, 1)
    answer = lab.sql(
        "SELECT sum(trade_id) AS whole, 1.5 AS fraction, DATE '2024-01-02' AS day, sum(9223372036854775807) AS huge, "
        "max(entry_date) AS moment, NULL::BIGINT AS nothing, true AS flag FROM trades"
    )
    kinds = [str(kind) for kind in answer.dtypes]
    assert kinds == ["int64", "float64", "datetime64[us]", "float64", "datetime64[us]", "Int64", "bool"]
    assert answer["whole"].item() == 500 * 501 // 2


@pytest.mark.sources("replica")
@pytest.mark.slow
def test_a_cache_folder_around_the_database_does_not_open_it_to_queries(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "a.db", cache_dir=tmp_path) as lab:
        fill(lab)
        assert len(lab.trades()) == 30_000
        with pytest.raises(fl.QueryError):
            lab.sql(f"SELECT * FROM read_blob('{tmp_path}/a.db')")


ENDLESS = """
import os, signal, sys, threading, time, finlab_nb as fl
lab = fl.Lab(sys.argv[1])
lab.iterations()
for query in ("SELECT sum(sin(a.range * b.range)) FROM range(1000000) a, range(1000000) b",
              "SELECT a.range FROM range(100000000000) a",
              "SELECT * FROM range(3000000000) t(i) ORDER BY hash(i)"):
    started = time.monotonic()
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        lab.sql(query)
        print("no interrupt")
    except KeyboardInterrupt:
        print(round(time.monotonic() - started - 0.5, 2))
    assert len(lab.sql("SELECT 1 AS x")) == 1
    assert len(lab.iterations()) == 1
lab.close()
print(threading.active_count())
"""


@pytest.mark.sources("replica")
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends a real SIGINT")
def test_an_interrupt_ends_a_long_query_and_the_lab_goes_on(lab: fl.Lab) -> None:
    fill(lab, 1)
    finished = subprocess.run(
        [sys.executable, "-c", ENDLESS, str(lab.store.path)], capture_output=True, text=True, timeout=120
    )
    assert finished.stderr == ""
    *delays, threads = finished.stdout.split()
    assert len(delays) == 3
    assert all(float(delay) < 2 for delay in delays), delays
    assert int(threads) <= 2  # the timer that sent the signal may still be ending


@pytest.mark.sources("replica")
def test_threads_ask_side_by_side(lab: fl.Lab) -> None:
    fill(lab, 1)
    counts: list[int] = []

    def ask(number: int) -> None:
        own = pd.DataFrame({"x": range(number)})
        counts.extend(int(lab.sql("SELECT count(*) AS n FROM own")["n"].item()) - len(own) for _ in range(5))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [0] * 20


def test_an_interrupt_between_questions_is_not_swallowed(lab: fl.Lab) -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals reach the main thread only")
    lab.iterations()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
        time.sleep(1)
    assert lab.iterations().empty


class Symbol(str, enum.Enum):  # noqa: UP042 - StrEnum is another type
    HONHAI = "2317"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Symbol.HONHAI, "2317"),
        (np.str_("2317"), "2317"),
        (pa.scalar("2317"), "2317"),
        (np.int64(5), 5),
        (np.float32(0.1), 0.1),
        (np.bool_(True), True),
        (np.array(5), 5),
        (np.datetime64("2024-01-02T09:30"), pd.Timestamp("2024-01-02 09:30")),
    ],
)
def test_a_placeholder_takes_a_value_as_what_it_is(lab: fl.Lab, value: Any, expected: Any) -> None:
    for query, params in (("SELECT ? AS x", [value]), ("SELECT $x AS x", {"x": value})):
        (found,) = lab.sql(query, params)["x"]
        assert found == expected
        assert isinstance(found, (type(expected), np.generic))


@pytest.mark.parametrize(("value", "message"), [("\ud800", "half a surrogate pair"), (2**300, "at most 128 bits")])
def test_a_placeholder_that_cannot_be_bound_is_named(lab: fl.Lab, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"params\[1\] is .*{message}"):
        lab.sql("SELECT ?, ?", [1, value])
    with pytest.raises(ValueError, match=rf"params\['x'\] is .*{message}"):
        lab.sql("SELECT $x", {"x": value})
