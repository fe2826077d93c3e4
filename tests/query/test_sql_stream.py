"""An answer in pieces is of one moment, ends in every way that a reader can end, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import finlab_nb as fl
from books import TRADE, elsewhere, fill

LONG = "SELECT range AS x FROM range(10000000)"


def _connections(lab: fl.Lab) -> int:
    gc.collect()

    def count(moment: Any) -> int:
        return int(moment.connection.execute("FROM duckdb_connection_count()").fetchall()[0][0])

    return lab.frames.source.answer(count, ())


def test_a_stream_shows_the_moment_at_which_it_was_asked_whatever_is_written_later(lab: fl.Lab) -> None:
    strategy = fill(lab, 4)
    reader = lab.sql("SELECT trade_id FROM trades, range(500) ORDER BY trade_id", to="stream")
    first = reader.read_next_batch()
    for _ in range(3):
        lab.store.save_iteration(strategy, trades=[TRADE] * 500)
        lab.store.delete_iteration(lab.iterations(limit=1)["iteration_id"].item())
        assert len(lab.trades()) == 2000
    rest = reader.read_all()
    assert first.num_rows + rest.num_rows == 2000 * 500
    assert rest.column("trade_id")[-1].as_py() == 2000


def _read_to_its_end(reader: pa.RecordBatchReader) -> None:
    assert sum(batch.num_rows for batch in reader) == 10_000_000


def _read_a_piece(reader: pa.RecordBatchReader) -> None:
    assert reader.read_next_batch().num_rows > 0


@pytest.mark.parametrize("use", [_read_to_its_end, _read_a_piece, lambda reader: None])
def test_a_stream_that_was_read_or_dropped_leaves_no_connection_behind(
    lab: fl.Lab, use: Callable[[pa.RecordBatchReader], None]
) -> None:
    lab.sql("SELECT 1")
    before = _connections(lab)
    reader = lab.sql(LONG, to="stream")
    assert _connections(lab) == before + 1
    use(reader)
    if use is not _read_to_its_end:
        del reader
    assert _connections(lab) == before


def test_an_ended_stream_is_empty(lab: fl.Lab) -> None:
    reader = lab.sql("SELECT 1 AS x", to="stream")
    assert reader.read_all().num_rows == 1
    assert reader.read_all().num_rows == 0


def test_a_stream_that_fails_on_the_way_says_why_and_ends(lab: fl.Lab) -> None:
    lab.sql("SELECT 1")
    before = _connections(lab)
    reader = lab.sql(
        "SELECT CASE WHEN range < 5000000 THEN 1 ELSE error('too far') END AS x FROM range(10000000)", to="stream"
    )
    # Where DuckDB's threads meet the error at the same moment, it may tell of the one that it has stopped.
    with pytest.raises(fl.QueryError, match=r"too far|Interrupted"):
        reader.read_all()
    assert _connections(lab) == before
    with pytest.raises(fl.QueryError, match="Conversion Error"):
        lab.sql("SELECT 'x'::INT", to="stream").read_all()
    assert lab.sql("SELECT 1 AS x")["x"].tolist() == [1]


def test_a_stream_of_a_closed_lab_says_so(lab: fl.Lab) -> None:
    reader = lab.sql(LONG, to="stream")
    assert reader.read_next_batch().num_rows > 0
    lab.close()
    with pytest.raises(fl.StorageError, match="was closed before this answer was read to its end"):
        reader.read_next_batch()


def test_other_tools_read_a_stream(lab: fl.Lab) -> None:
    fill(lab, 2)
    own = pd.DataFrame({"factor": [2]})
    query = "SELECT profit_loss * factor AS doubled FROM trades, own"
    reader = lab.sql(query, to="stream")
    with duckdb.connect() as other:
        assert other.from_arrow(reader).sum("doubled").fetchall() == [(1000.0,)]
    assert pl.DataFrame(lab.sql(query, to="stream"))["doubled"].sum() == 1000.0
    assert lab.sql(query, to="stream").read_pandas()["doubled"].sum() == 1000.0
    assert len(own) == 1


def test_streams_are_read_side_by_side_and_in_any_thread(lab: fl.Lab) -> None:
    readers = [lab.sql("SELECT range AS x FROM range(300000)", to="stream") for _ in range(3)]
    counts: list[int] = []
    threads = [threading.Thread(target=lambda one=one: counts.append(one.read_all().num_rows)) for one in readers[1:]]
    for thread in threads:
        thread.start()
    counts.append(readers[0].read_all().num_rows)
    for thread in threads:
        thread.join()
    assert counts == [300_000] * 3


def test_a_stream_counts_bad_values_too(lab: fl.Lab) -> None:
    fill(lab, 1)
    elsewhere(
        lab.store.path, "PRAGMA ignore_check_constraints = ON", "UPDATE trades SET entry_price = 'x' WHERE trade_id = 1"
    )
    with pytest.warns(fl.BadDataWarning, match="1 value that another program wrote"):
        reader = lab.sql("SELECT entry_price FROM trades", to="stream")
    assert reader.read_all().column("entry_price").null_count == 1


INTERRUPTED = """
import os, signal, sys, threading, time, finlab_nb as fl
lab = fl.Lab(sys.argv[1])
lab.iterations()
for query in ("SELECT range AS x FROM range(100000000000) WHERE range < 300000",  # after its first pieces
              "SELECT sum(sin(a.range * b.range)) AS x FROM range(1000000) a, range(1000000) b"):  # before them
    started, reader = time.monotonic(), None
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        reader = lab.sql(query, to="stream")
        rows = reader.read_all()
        print("no interrupt")
    except KeyboardInterrupt:
        print(round(time.monotonic() - started - 0.5, 2))
    assert reader is None or reader.read_all().num_rows == 0
    assert len(lab.sql("SELECT 1 AS x")) == 1
    assert len(lab.iterations()) == 1
lab.close()
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends a real SIGINT")
def test_an_interrupt_ends_a_stream_and_the_lab_goes_on(lab: fl.Lab) -> None:
    fill(lab, 1)
    finished = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(lab.store.path)], capture_output=True, text=True, timeout=120
    )
    assert finished.stderr == ""
    delays = finished.stdout.split()
    assert len(delays) == 2
    assert all(float(delay) < 2 for delay in delays), delays
