"""The parts of the replica by themselves: ranges, which segments are used and made, and the delta."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

import finlab_nb as fl
from books import TRADE
from finlab_nb.query.replica import compaction, delta
from finlab_nb.query.replica.copies import LEAST_ROWID, Copy, Tracker, caught_up
from finlab_nb.query.replica.ranges import Range, bucket_range, common, gaps, joined, within
from finlab_nb.query.replica.segment_files import Contents, Segment, check, described, publish
from finlab_nb.query.replica.segments import belongs, choose, fingerprint_of, stale_buckets
from finlab_nb.query.tables import TABLES


def segment(first: int, last: int, stamps: dict[int, int] | None = None, name: str = "a") -> Segment:
    return Segment("trades", first, last, 10, stamps or {}, {}, Path(f"{name}.parquet"), last - first + 1, 1, 1)


ends = st.tuples(st.integers(-50, 50), st.integers(0, 20)).map(lambda one: (one[0], one[0] + one[1]))


@given(st.lists(ends), ends)
def test_gaps_and_segments_are_every_rowid_once(found: list[Range], whole: Range) -> None:
    chosen = choose([segment(*one, name=str(number)) for number, one in enumerate(found)], {})
    for one, other in itertools.pairwise(chosen):
        assert one.last < other.first
    left = list(gaps(chosen, *whole))
    assert all(first <= last for first, last in left)
    covered = {place for one in chosen for place in range(one.first, one.last + 1)}
    places = [place for first, last in left for place in range(first, last + 1)]
    assert sorted(places) == sorted(set(range(whole[0], whole[1] + 1)) - covered)


@given(st.sets(st.integers(-9, 9)))
def test_buckets_joined_are_the_same_rowids_in_fewer_ranges(buckets: set[int]) -> None:
    ranges = joined(buckets, 10)
    assert sum(last - first + 1 for first, last in ranges) == 1024 * len(buckets)
    for bucket in buckets:
        assert any(common(bucket_range(bucket, 10), one) == bucket_range(bucket, 10) for one in ranges)
    assert all(one[1] + 1 < other[0] for one, other in itertools.pairwise(ranges))


def test_a_bucket_is_stale_where_its_stamp_differs_and_the_segment_has_rows_of_it() -> None:
    one = segment(1000, 3000, {0: 5, 1: 6, 9: 7})
    assert stale_buckets(one, {0: 5, 1: 6, 9: 7}) == set()
    assert stale_buckets(one, {0: 5, 1: 7, 5: 1}) == {1}
    assert stale_buckets(one, {}) == {0, 1}
    assert within({0: 5, 2: 6, 3: 7}, 1024, 3071, 10) == {2: 6}


def test_of_two_segments_over_the_same_rows_the_one_with_fewer_edits_is_used() -> None:
    old, new, longer = segment(1, 3000, {}, "old"), segment(1, 3000, {1: 4}, "new"), segment(1, 9000, {}, "longer")
    assert choose([old, new], {1: 4}) == (new,)
    assert choose([old, new, longer], {1: 4}) == (longer,)


@given(st.integers(-(2**62), 2**62), st.integers(0, 2**62), st.sets(st.integers(0, 255)))
def test_a_partition_covers_the_range_in_few_parts_and_leaves_no_part_empty(
    first: int, span: int, filled: set[int]
) -> None:
    step = max(compaction.MERGED_ROWS, -(-(span + 1) // 256))
    places = [first + step * number for number in filled if step * number <= span]
    has_rows = lambda low, high: any(low <= place <= high for place in places)  # noqa: E731
    parts = list(compaction.partition(first, first + span, has_rows))
    assert parts[0][0] == first
    assert parts[-1][1] == first + span
    assert all(one[1] + 1 == other[0] for one, other in itertools.pairwise(parts))
    assert len(parts) <= 256
    assert all(has_rows(*part) for part in parts[:-1])


def test_small_neighbours_of_similar_size_are_merged() -> None:
    four = [segment(1 + 100 * number, 100 + 100 * number) for number in range(4)]
    assert compaction.mergeable(four) == (1, 400)
    assert compaction.mergeable(four[:3]) is None
    assert compaction.mergeable([four[0], *four[2:], segment(401, 500)]) is None  # not neighbours
    assert compaction.mergeable([segment(1, 1 << 20), *[segment((1 << 20) + 1, (1 << 20) + 9)] * 1]) is None


# A segment's files ------------------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path: Path) -> Segment:
    with duckdb.connect() as duck:
        path = tmp_path / "trades.1.tmp"
        rows = "SELECT i AS row_id, 'r' || i AS iteration_id, NULL::INT AS fees, 0 AS bad_values FROM range(1, 6) t(i)"
        duck.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet)")
        publish(duck, path, Contents("trades", 1, 9, 10, {0: 7}, {1: "r1", 9: None}), "iteration_id")
    found = described(tmp_path / "trades.1.json")
    assert found is not None
    return found


def test_a_description_tells_what_is_in_a_segment(written: Segment) -> None:
    assert (written.table, written.first, written.last, written.rows) == ("trades", 1, 9, 5)
    assert (written.stamps, written.fingerprint) == ({0: 7}, {1: "r1", 9: None})
    assert written.owners == ("r1", "r5")
    assert written.held == {"row_id", "iteration_id", "bad_values"}
    assert not written.has_bad_values
    assert written.holds_owner(["a", "r3"])
    assert not written.holds_owner(["a", "s"])
    assert written.is_whole
    check([written])


def test_a_segment_with_another_byte_is_not_whole(written: Segment) -> None:
    content = bytearray(written.path.read_bytes())
    content[50] ^= 1
    written.path.write_bytes(content)
    assert not replace(written).is_whole
    written.path.unlink()
    assert not replace(written).is_whole


# From one moment to the next --------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with fl.StorageManager(tmp_path / "a.db") as store:
        strategy = store.save_strategy_version("a", "x")
        runs = [store.save_iteration(strategy, trades=[TRADE] * 1000) for _ in range(3)]
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:
        for number, run in enumerate(runs):
            connection.execute("UPDATE trades SET iteration_id = ? WHERE iteration_id = ?", (f"run {number}", run))
        connection.execute("DELETE FROM edited_rows")
        yield connection


@pytest.fixture
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE SCHEMA copied")
        delta.create(connection, TABLES["trades"])
        delta.show(connection, TABLES["trades"], ())
        yield connection


def _now(source: sqlite3.Connection, version: int) -> Copy:
    stamps = dict(source.execute("SELECT bucket, stamp FROM edited_rows WHERE table_name = 'trades'").fetchall())
    ((last,),) = source.execute("SELECT max(rowid) FROM trades").fetchall()
    return Copy(TABLES["trades"], (), stamps, LEAST_ROWID - 1 if last is None else last, version=(version,))


def test_a_copy_reads_new_rows_and_edited_buckets_only_and_knows_whose_they_are(
    source: sqlite3.Connection, duck: duckdb.DuckDBPyConnection
) -> None:
    asked: list[str] = []
    copy = caught_up(duck, source, Copy(TABLES["trades"]), _now(source, 1))
    assert duck.execute("SELECT count(*), max(row_id) FROM trades, copied.trades_rows LIMIT 1").fetchone()
    source.execute("UPDATE trades SET fees = 2 WHERE rowid = 1500")
    source.execute(
        "INSERT INTO trades (iteration_id, stock_code, entry_price, position_size) VALUES ('run 0', 'new', 1.0, 1.0)"
    )
    source.set_trace_callback(asked.append)
    new = _now(source, 2)
    tracker = Tracker(duck, copy, new, ("iteration_id", "fees"))
    copy = caught_up(duck, source, copy, new)
    source.set_trace_callback(None)
    reads = [one for one in asked if "BETWEEN" in one]
    assert ["BETWEEN 1024 AND 2047" in one for one in reads] == [True, False]
    assert "BETWEEN 3001 AND 3001" in reads[1]
    assert tracker.owners() == {"run 1", "run 0"}
    assert duck.execute("SELECT count(*) FROM trades").fetchall() == [(3001,)]
    assert duck.execute("SELECT row_id FROM copied.trades WHERE fees = 2").fetchall() == [(1500,)]
    assert "fees" in copy.held
    assert Tracker(duck, copy, _now(source, 3), ("iteration_id", "fees")).owners() == set()


def test_a_fingerprint_belongs_to_the_rows_that_it_was_taken_of(source: sqlite3.Connection) -> None:
    trades = TABLES["trades"]
    one = replace(segment(1, 3000), fingerprint=fingerprint_of(source, trades, 1, 3000))
    assert one.fingerprint[3000] == "run 2"
    assert len(one.fingerprint) < 20
    assert belongs(source, trades, one, {})
    source.execute("UPDATE trades SET iteration_id = 'run 1' WHERE rowid = 3000")
    assert not belongs(source, trades, one, {})
    assert belongs(source, trades, one, {2: 1})  # that bucket is read anew


def test_where_rows_hold_code_an_edit_reads_few_of_them_again() -> None:
    for name, rows in (("trades", 1024), ("iterations", 16), ("strategies", 16)):
        ((first, last),) = Copy(TABLES[name], seen=5000).edited({2: 7})
        assert last - first + 1 == rows
