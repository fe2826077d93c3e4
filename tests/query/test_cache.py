"""What the cache says of itself, whose it is, and that it can be thrown away."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import finlab_nb as fl
from books import TRADE, fill
from finlab_nb.query.replica import compaction, engine
from finlab_nb.query.replica.building import Building
from finlab_nb.query.replica.segment_files import Segment

LONG = os.environ.get("FINLAB_NB_LONG") == "1"
DAMAGES = {
    "a flipped bit": lambda path: path.write_bytes(
        path.read_bytes()[:200] + bytes([path.read_bytes()[200] ^ 4]) + path.read_bytes()[201:]
    ),
    "no end": lambda path: os.truncate(path, path.stat().st_size // 2),
    "nothing in it": lambda path: os.truncate(path, 0),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "no file": lambda path: path.unlink(),
}


def segments(lab: fl.Lab, table: str = "trades") -> list[Segment]:
    return [one for one in lab._engine.segments() if one.table == table]


def test_the_cache_tells_what_it_holds(lab: fl.Lab) -> None:
    strategy = fill(lab)
    lab._engine.settle()
    assert len(lab.trades()) == 30_000
    lab.store.save_iteration(strategy, trades=[TRADE] * 7)
    found = lab.cache_info()
    assert found["folder"] == lab.store.path.with_name("lab.db.cache")
    assert found["temporary"] is False
    assert found["segments"]["trades"] == 1
    assert found["delta_rows"]["trades"] == 7
    assert found["delta_rows"]["iterations"] == 61
    assert found["bytes"] == sum(path.stat().st_size for path in found["folder"].glob("*/*.parquet"))
    assert found["reader_process"] is None
    shutil.rmtree(found["folder"])
    assert lab.cache_info()["delta_rows"]["iterations"] == 61


@pytest.mark.slow
def test_a_cleared_cache_is_built_anew_for_every_kernel(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "a.db") as lab, fl.Lab(tmp_path / "a.db") as other:
        fill(lab)
        for one in (lab, other):
            one._engine.settle()
        lab.clear_cache()
        assert list((tmp_path / "a.db.cache").glob("*/*.parquet")) == []
        assert len(other.trades()) == len(lab.trades()) == 30_000
        assert lab.by_stock()["trades"].tolist() == other.by_stock()["trades"].tolist() == [30_000]
        lab._engine.settle()
        assert lab.cache_info()["bytes"] > 0


@pytest.mark.slow
def test_a_cleared_cache_spares_what_is_not_its_own(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "a.db", cache_dir=tmp_path / "mine") as lab:
        fill(lab)
        lab._engine.settle()
        folder = lab.cache_info()["folder"]
        assert folder.parent == tmp_path / "mine"
        (folder / "album").mkdir()
        (folder / "notes.txt").write_text("x")
        lab.clear_cache()
        assert sorted(path.name for path in folder.iterdir()) == ["album", "notes.txt"]
        assert len(lab.trades()) == 30_000


@pytest.mark.slow
def test_databases_of_one_name_keep_their_own_folders_in_one_cache_dir(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        fl.Lab(tmp_path / "one" / "a.db", cache_dir=tmp_path) as one,
        fl.Lab(tmp_path / "two" / "a.db", cache_dir=tmp_path) as two,
    ):
        for number, lab in enumerate((one, two)):
            fill(lab, 60 + number)
            lab._engine.settle()
        assert one.cache_info()["folder"] != two.cache_info()["folder"]
        one.clear_cache()
        assert segments(two)[0].path.exists()
        assert (len(one.trades()), len(two.trades())) == (30_000, 30_500)


# Damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("is_description", [False, True], ids=["rows", "description"])
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_segment_is_dropped_and_made_anew(tmp_path: Path, how: str, is_description: bool) -> None:
    with fl.Lab(tmp_path / "a.db") as lab:
        fill(lab)
        lab._engine.settle()
        expected = lab.trades()
        (segment,) = segments(lab)
    DAMAGES[how](segment.path.with_suffix(".json") if is_description else segment.path)
    with fl.Lab(tmp_path / "a.db") as lab:
        assert lab.trades().equals(expected)
        assert lab.by_stock()["trades"].tolist() == [30_000]
        lab._engine.settle()
        assert segments(lab)[0].path != segment.path
        assert lab.trades().equals(expected)


@pytest.mark.parametrize(
    "how", ["no file", *(pytest.param(one, marks=pytest.mark.slow) for one in ("no end", "nothing in it", "zeros"))]
)
def test_a_segment_that_goes_while_a_kernel_reads_it_is_made_anew(lab: fl.Lab, how: str) -> None:
    fill(lab)
    lab._engine.settle()
    expected, run = lab.by_stock(), lab.iterations()["iteration_id"][3]
    DAMAGES[how](segments(lab)[0].path)
    assert len(lab.trades(run)) == 500
    assert lab.by_stock().equals(expected)
    assert len(lab.sql("SELECT trade_id FROM trades")) == 30_000


@pytest.mark.slow
def test_no_flipped_bit_anywhere_changes_an_answer(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "a.db") as lab:
        fill(lab)
        lab._engine.settle()
        expected = lab.trades()
        (segment,) = segments(lab)
        files = [segment.path, segment.path.with_suffix(".json")]
        whole = [path.read_bytes() for path in files]
    for number in range(66 if LONG else 16):
        for path, content in zip(files, whole, strict=True):
            path.write_bytes(content)
        place = number * len(whole[number % 2]) // (66 if LONG else 16)
        spoilt = bytearray(whole[number % 2])
        spoilt[place] ^= 1 << number % 8
        files[number % 2].write_bytes(spoilt)
        with fl.Lab(tmp_path / "a.db") as lab:
            assert lab.trades().equals(expected), (number, place)


def test_only_segments_that_a_question_reads_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MERGED_ROWS", 10_000)
    monkeypatch.setattr(compaction, "_MOST_PARTS", 1 << 20)
    with fl.Lab(tmp_path / "a.db") as lab:
        fill(lab)
        lab._engine.settle()
    with fl.Lab(tmp_path / "a.db") as lab:
        run = lab.iterations()["iteration_id"][0]
        assert segments(lab) == []
        assert len(lab.trades(run)) == 500
        assert ["is_whole" in vars(one) for one in segments(lab)] == [True, False, False]
        lab.by_stock()
        assert all("is_whole" in vars(one) for one in segments(lab))


# A cache that cannot be written -----------------------------------------------------------------------------------


def test_a_child_that_fails_costs_one_warning_and_no_answer(
    lab: fl.Lab, by_child: list[Building], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lab)
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.warns(fl.CacheWarning, match="so more of the rows come from SQLite") as caught:
        assert len(lab.trades()) == 30_000
    assert len(caught) == 1
    strategy = fill(lab, 1)
    assert len(lab.trades()) == 30_500
    assert len(lab.iterations(strategy)) == 1
    assert segments(lab) == []
    assert len(by_child) == 1
    monkeypatch.undo()
    lab.clear_cache()
    lab._engine.settle()
    assert len(segments(lab)) == 1


def test_what_the_child_said_last_stands_in_the_warning(
    lab: fl.Lab, by_child: list[Building], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'the library is broken' >&2\nexit 3\n")
    python.chmod(0o755)
    fill(lab, 1)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.warns(fl.CacheWarning, match="the library is broken"):
        assert len(lab.trades()) == 500
    assert by_child[0].process_id is None


# Several kernels --------------------------------------------------------------------------------------------------

COLD = """
import sys, finlab_nb as fl
from finlab_nb.query.replica import engine
engine._BULK = 0
with fl.Lab(sys.argv[1]) as lab:
    sys.stdin.readline()
    print(len(lab.trades()), len(lab.trades(sys.argv[2])))
"""


@pytest.mark.slow
def test_cold_kernels_that_start_together_write_one_copy(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "a.db") as lab:
        fill(lab)
        with lab.store.pool.snapshot() as source:
            ((run,),) = source.execute("SELECT min(iteration_id) FROM iterations").fetchall()
    command = [sys.executable, "-W", "error", "-c", COLD, str(tmp_path / "a.db"), run]
    kernels = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for kernel in kernels:
        assert kernel.stdin is not None
        kernel.stdin.write("go\n")
        kernel.stdin.flush()
    for kernel in kernels:
        said, complaints = kernel.communicate()
        assert (said.split(), kernel.returncode) == (["30000", "500"], 0), complaints
    assert _rows_by_table(tmp_path / "a.db.cache")["trades"] == 30_000


def _rows_by_table(folder: Path) -> dict[str, int]:
    rows: dict[str, int] = {}
    for path in folder.glob("*/*.json"):
        described: dict[str, Any] = json.loads(path.read_text().partition("\n")[2])
        rows[described["table"]] = rows.get(described["table"], 0) + described["rows"]
    return rows


@pytest.mark.slow
def test_a_kernel_that_is_killed_leaves_what_it_has_copied(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import finlab_nb as fl
from books import fill
from finlab_nb.query.replica import compaction, engine
engine._BULK, compaction.MERGED_ROWS, compaction._MOST_PARTS = 0, 100, 10_000
lab = fl.Lab(sys.argv[1])
fill(lab)
lab.trades()
"""
    path = tmp_path / "a.db"
    kernel = subprocess.Popen([sys.executable, "-c", code, str(path)], stderr=subprocess.DEVNULL)
    while len(list(tmp_path.glob("a.db.cache/*/trades.*.json"))) < 5:
        assert kernel.poll() is None
    kernel.kill()
    kernel.wait()
    made = set(tmp_path.glob("a.db.cache/*/trades.*.json"))
    assert len(made) < 300
    with pytest.MonkeyPatch.context() as patch, fl.Lab(path) as lab:
        patch.setattr(engine, "_BULK", 0)
        assert len(lab.trades()) == 30_000
        assert made <= {one.path.with_suffix(".json") for one in segments(lab)}


# The first question -----------------------------------------------------------------------------------------------


def test_a_question_about_a_few_iterations_waits_for_no_copy(
    lab: fl.Lab, by_child: list[Building], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lab)
    runs = lab.iterations()["iteration_id"]
    by_child.clear()
    waits: list[object] = []
    monkeypatch.setattr(Building, "wait", lambda *asked: waits.append(asked))
    found = [lab.trades([runs[3], runs[7]]), lab.by_stock(runs[3]), lab.equity(runs[3])]
    assert not waits
    assert len(by_child) >= 1  # beside
    monkeypatch.undo()
    monkeypatch.setattr(engine, "_BULK", 0)
    lab._engine.settle()
    assert len(segments(lab)) == 1
    again = [lab.trades([runs[3], runs[7]]), lab.by_stock(runs[3]), lab.equity(runs[3])]
    assert all(one.equals(other) for one, other in zip(found, again, strict=True))


def test_a_first_question_about_one_iteration_reads_nothing_but_its_rows(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("momentum", "code", {})
    traded, idle = (lab.store.save_iteration(strategy, trades=trades) for trades in ([TRADE], []))
    assert len(lab.trades(traded)) == 1
    assert lab._engine._shown.copies["iterations"].version is None
    assert lab.trades(idle).empty
    assert lab._engine._shown.copies["iterations"].version is not None  # to know that there is such an iteration
    with pytest.raises(fl.IterationNotFoundError):
        lab.trades("nothing")


def test_what_a_lab_records_is_copied_before_anybody_asks(lab: fl.Lab, buildings: list[Building]) -> None:
    fill(lab, 10)
    assert not buildings
    fill(lab, 300)
    while not buildings:
        assert threading.active_count() > 1
    buildings[0].wait()
    assert buildings[0].error is None
    assert _rows_by_table(lab.store.path.with_name("lab.db.cache"))["trades"] == 155_000


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads Linux's /proc")
def test_the_child_of_a_lab_that_nobody_holds_ends(tmp_path: Path, buildings: list[Building]) -> None:
    lab = fl.Lab(tmp_path / "a.db")
    fill(lab, 600)
    lab.trades(lab.iterations()["iteration_id"][0])
    (building,) = buildings
    while (child := building.process_id) is None:
        assert not building.has_ended
    del lab
    gc.collect()
    building.wait()
    assert building.has_ended
    assert not Path(f"/proc/{child}").exists()
