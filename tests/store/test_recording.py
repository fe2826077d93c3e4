"""A recording finds or makes the version that it belongs to, and stores the same result once."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import finlab_nb as fl
from finlab_nb.records import Recording, iteration_record, new_id
from finlab_nb.records.provenance import code_hash

UNKNOWN = "01a22c7e-4001-7329-895d-5688f14734cc"  # as our ids are
DAYS = pd.date_range("2024-01-01", periods=40, freq="D")


def stats(gain: float = 100.0, **figures: Any) -> pd.Series[Any]:
    """Return what backtesting.py hands back: one trade with this gain, and its curve."""
    trades = pd.DataFrame(
        {
            "Size": [10],
            "EntryBar": [2],
            "ExitBar": [20],
            "EntryPrice": [100.0],
            "ExitPrice": [100.0 + gain / 10],
            "PnL": [gain],
            "ReturnPct": [gain / 1000],
            "EntryTime": [DAYS[2]],
            "ExitTime": [DAYS[20]],
        }
    )
    equity = pd.Series(1000.0, DAYS) + np.where(np.arange(40) >= 20, gain, 0.0)
    curve = pd.DataFrame({"Equity": equity, "DrawdownPct": 0.0})
    return pd.Series({"SQN": 1.5, **figures, "_strategy": "Cross(fast=10)", "_trades": trades, "_equity_curve": curve})


@pytest.fixture
def record(lab: fl.Lab) -> Callable[..., str]:
    """Return `lab.record` for one stock."""

    def recorded(gain: float = 100.0, strategy: str | None = None, **options: Any) -> str:
        found = lab.record(stats(gain), strategy, ticker="2330", **options)
        assert isinstance(found, str)
        return found

    return recorded


def versions(lab: fl.Lab, name: str) -> list[dict[str, Any]]:
    return lab.store.find_strategies(name)


def version_of(lab: fl.Lab, iteration: str) -> dict[str, Any]:
    return lab.store.load_strategy(lab.store.load_iteration(iteration)["strategy_id"])


# Versions ---------------------------------------------------------------------------------------------------------


def test_the_same_name_and_code_are_one_version(lab: fl.Lab, record: Callable[..., str]) -> None:
    first, second = record(100.0, "cross", code="a"), record(101.0, "cross", code="a")
    assert version_of(lab, first) == version_of(lab, second)
    assert [one["code"] for one in versions(lab, "cross")] == ["a"]
    assert [lab.store.load_iteration(one)["iteration_number"] for one in (first, second)] == [1, 2]


def test_changed_code_is_a_new_version_whose_parent_is_the_newest(lab: fl.Lab, record: Callable[..., str]) -> None:
    first, second, third = (version_of(lab, record(100.0, "cross", code=code)) for code in "abc")
    assert [one["parent_strategy_id"] for one in (first, second, third)] == [
        None,
        first["strategy_id"],
        second["strategy_id"],
    ]
    back = record(105.0, "cross", code="a")  # back to code that there was
    assert version_of(lab, back) == first
    assert version_of(lab, record(100.0, "cross", code="d"))["parent_strategy_id"] == third["strategy_id"]


def test_a_version_that_was_saved_by_hand_is_used(lab: fl.Lab, record: Callable[..., str]) -> None:
    saved = lab.store.save_strategy_version("cross", "a", {"lookback": 20})
    found = record(100.0, "cross", code="a")
    assert version_of(lab, found)["strategy_id"] == saved
    assert lab.store.load_iteration(found)["parameters"] == {"lookback": 20}


def test_unknown_code_is_the_newest_version_or_a_first_one_without_code(
    lab: fl.Lab, record: Callable[..., str]
) -> None:
    assert version_of(lab, record(100.0, "cross"))["code"] == ""
    newest = version_of(lab, record(100.0, "cross", code="b"))
    iteration = lab.store.load_iteration(record(101.0, "cross"))
    assert (iteration["strategy_id"], iteration["code"]) == (newest["strategy_id"], "b")
    assert iteration["provenance"]["code_hash"] == code_hash("b")


def test_the_id_of_a_version_is_that_version_whatever_the_code(lab: fl.Lab, record: Callable[..., str]) -> None:
    saved = lab.store.save_strategy_version("cross", "a")
    lab.store.save_strategy_version("cross", "b", None, saved)
    iteration = lab.store.load_iteration(record(100.0, saved, code="c"))
    assert (iteration["strategy_id"], iteration["code"]) == (saved, "c")
    assert iteration["provenance"]["code_hash"] == code_hash("c")
    assert lab.store.load_iteration(record(100.0, saved))["code"] == "a"
    assert len(versions(lab, "cross")) == 2


@pytest.mark.parametrize("unknown", [UNKNOWN, UNKNOWN.upper(), "01a22c7e-4001-4329-895d-5688f14734cc"])
def test_an_id_that_no_strategy_has_is_an_error_and_no_name(
    lab: fl.Lab, record: Callable[..., str], unknown: str
) -> None:
    for code in (None, "a"):
        with pytest.raises(fl.StrategyNotFoundError, match=f"strategy is '{unknown}'; no strategy has this id"):
            record(100.0, unknown, code=code)
    assert len(lab.strategies()) == len(lab.iterations()) == 0


def test_a_strategy_that_is_called_like_an_id_is_found(lab: fl.Lab, record: Callable[..., str]) -> None:
    name = new_id()
    lab.store.save_strategy_version(name, "a")
    assert version_of(lab, record(100.0, name, code="a"))["name"] == name


def test_code_of_another_program_that_is_no_text_breaks_nothing(lab: fl.Lab, record: Callable[..., str]) -> None:
    saved = lab.store.save_strategy_version("cross", "a")
    with contextlib.closing(sqlite3.connect(lab.store.path)) as other, other:
        other.execute("UPDATE strategies SET code = CAST(x'61ff' AS TEXT)")
    first = record(100.0, "cross")
    assert record(100.0, saved) == first
    with pytest.warns(fl.BadDataWarning):
        found = lab.store.load_iteration(first)
    assert (found["strategy_id"], found["code"]) == (saved, b"a\xff")
    assert found["provenance"]["code_hash"] == code_hash(b"a\xff")
    assert version_of(lab, record(100.0, "cross", code="b"))["parent_strategy_id"] == saved


# The same result --------------------------------------------------------------------------------------------------


def test_the_same_result_is_stored_once(lab: fl.Lab, record: Callable[..., str], capsys: Any) -> None:
    first = record(100.0, "cross", code="a", parameters={"fast": 10, "slow": 50})
    assert "recorded before" not in capsys.readouterr().out
    assert record(100.0, "cross", code="a", parameters={"slow": 50.0, "fast": 10}) == first
    assert "recorded before" in capsys.readouterr().out
    assert len(lab.iterations()) == 1
    others = [
        record(100.5, "cross", code="a", parameters={"fast": 10, "slow": 50}),
        record(100.0, "cross", code="a", parameters={"fast": 11, "slow": 50}),
        record(100.0, "cross", code="b", parameters={"fast": 10, "slow": 50}),
        record(100.0, "other", code="a", parameters={"fast": 10, "slow": 50}),
    ]
    assert len({first, *others}) == len(lab.iterations()) == 5


def test_notes_tags_prices_and_checks_make_no_other_result(lab: fl.Lab, record: Callable[..., str]) -> None:
    first = record(100.0, "cross", code="a")
    again = record(100.0, "cross", code="a", note="n", tags=["t"], prices="of today", check=False)
    assert again == first
    assert lab.store.load_iteration(first)["note"] is None


def test_parameters_that_are_the_strategys_are_the_same_as_given_ones(lab: fl.Lab, record: Callable[..., str]) -> None:
    saved = lab.store.save_strategy_version("cross", "a", {"lookback": 20})
    first = record(100.0, saved)
    assert record(100.0, saved, parameters={"lookback": 20.0}) == first
    assert record(100.0, saved, parameters={"lookback": 21}) != first


def test_it_is_stored_once_more_if_that_is_wanted(lab: fl.Lab, record: Callable[..., str]) -> None:
    first = record(100.0, "cross", code="a")
    second = record(100.0, "cross", code="a", again=True)
    assert second != first
    assert record(100.0, "cross", code="a") == first  # the earlier one
    hashes = lab.sql("SELECT DISTINCT result_hash FROM provenance")
    assert len(hashes) == 1


def test_after_a_deletion_it_is_stored_anew(lab: fl.Lab, record: Callable[..., str]) -> None:
    first = record(100.0, "cross", code="a")
    lab.store.delete_iteration(first)
    second = record(100.0, "cross", code="a")
    assert second != first
    assert lab.sql("SELECT iteration_id FROM provenance")["iteration_id"].tolist() == [second]


def test_starred_and_archived_ones_are_known_too(lab: fl.Lab, record: Callable[..., str]) -> None:
    first = record(100.0, "cross", code="a")
    lab.store.annotate(first, starred=True, archived=True, note="seen", add_tags=["t"])
    assert record(100.0, "cross", code="a") == first
    assert lab.store.load_iteration(first)["archived"]


def test_results_of_one_call_that_are_equal_are_stored_once(lab: fl.Lab) -> None:
    found = lab.record([stats(), stats(50.0), stats()], "cross", code="a", ticker="2330")
    assert found[0] == found[2] != found[1]
    assert len(lab.iterations()) == 2


def test_what_was_merged_or_copied_from_another_book_is_known(lab: fl.Lab, tmp_path: Path) -> None:
    first = lab.record(stats(), "cross", code="a", ticker="2330")
    path = lab.store.export_results([first], tmp_path / "a.json")
    for mode in ("merge", "copy"):
        with fl.Lab(tmp_path / f"{mode}.db") as other:
            (arrived,) = other.store.import_results(path, mode)
            assert other.record(stats(), "cross", code="a", ticker="2330") == arrived


def test_a_recording_names_its_engine_and_leaves_the_rest_open(lab: fl.Lab, record: Callable[..., str]) -> None:
    origin = lab.store.load_iteration(record(100.0, "cross", parameters={"seed": 7}, prices="vendor 7"))["provenance"]
    assert (origin["engine"], origin["seed"], origin["data_fingerprint"]) == ("backtesting", 7, "vendor 7")
    assert origin["packages"]["pandas"] == pd.__version__


# All or nothing ---------------------------------------------------------------------------------------------------


def recording(strategy: str, code: str | None = None, **given: Any) -> Recording:
    return Recording(strategy, code, iteration_record(strategy, **given))


def test_versions_and_iterations_of_a_call_are_stored_together_or_not_at_all(lab: fl.Lab) -> None:
    good = [recording("cross", "a"), recording("cross", "b", parameters={"fast": 1})]
    with pytest.raises(fl.StrategyNotFoundError):
        lab.store.record_iterations([*good, recording(new_id())])
    assert len(lab.strategies()) == len(lab.iterations()) == 0
    assert [is_new for _, is_new in lab.store.record_iterations(good)] == [True, True]
    assert [is_new for _, is_new in lab.store.record_iterations(good)] == [False, False]


SCRIPT = """
import sys
import finlab_nb as fl
from finlab_nb.records import Recording, iteration_record
path, name, code, count = sys.argv[1:]
with fl.StorageManager(path, timeout=60) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(count)):
        made = iteration_record(name, parameters={"number": number}, extra_metrics={"engine.a": 1.0})
        ((iteration, is_new),) = store.record_iterations([Recording(name, code, made)])
        print(iteration, int(is_new), flush=True)
"""


UNKNOWN = "01a22c7e-4001-7329-895d-5688f14734cc"  # as our ids are


def started(path: Path, name: str, code: str, count: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path), name, code, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.mark.slow
@pytest.mark.parametrize("codes", ["aaaa", "abcd"])
def test_processes_that_record_at_once_make_each_version_and_each_result_once(lab: fl.Lab, codes: str) -> None:
    processes = [started(lab.store.path, "cross", code, 20) for code in codes]
    for process in processes:
        go_on(process)
    answers = [process.communicate(timeout=120)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    found = versions(lab, "cross")
    assert sorted(one["code"] for one in found) == sorted(set(codes))
    parents = [one["parent_strategy_id"] for one in found]
    assert parents == [None, *(one["strategy_id"] for one in found[:-1])]  # one line, in the order of their making
    pairs = [line.split() for lines in answers for line in lines]
    assert len({iteration for iteration, _ in pairs}) == len(lab.iterations()) == 20 * len(set(codes))
    assert sum(int(is_new) for _, is_new in pairs) == 20 * len(set(codes))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.5])
def test_what_a_recording_returned_is_there_after_kill_9_with_its_origin(lab: fl.Lab, seconds: float) -> None:
    process = started(lab.store.path, "cross", "a", 100_000)
    go_on(process)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    answer = process.communicate(timeout=60)[0]
    told = [line.split()[0] for line in answer.splitlines() if line.endswith(" 1")]
    stored = lab.sql(
        "SELECT iteration_id, code_hash, result_hash FROM iterations LEFT JOIN provenance USING (iteration_id)"
    )
    assert set(told) <= set(stored["iteration_id"])
    assert len(stored) <= len(told) + 1
    assert stored.notna().all(axis=None)
    assert lab.store.check() == []
    if len(stored):
        repeated = started(lab.store.path, "cross", "a", len(stored))
        go_on(repeated)
        lines = repeated.communicate(timeout=60)[0].splitlines()
        assert [line.split()[1] for line in lines] == ["0"] * len(stored)


# What is read -----------------------------------------------------------------------------------------------------


def test_a_result_is_looked_up_by_an_index(lab: fl.Lab) -> None:
    from finlab_nb.store.recording import _SAME_RESULT

    with lab.store.pool.read() as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {_SAME_RESULT}", ("a", "b", "c")).fetchall()
    assert any("provenance_by_result" in step for *_, step in plan)
    assert not any(step.startswith("SCAN") for *_, step in plan)


def test_the_hash_of_a_result_is_made_before_the_write_lock_is_taken(
    lab: fl.Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finlab_nb.store.manager import saves

    hashed: list[bool] = []

    def unlocked(iteration: Any) -> str:
        with contextlib.closing(sqlite3.connect(lab.store.path, timeout=0.0)) as other:
            other.execute("BEGIN IMMEDIATE")
            hashed.append(True)
        return "a0"

    monkeypatch.setattr(saves, "outcome_hash", unlocked)
    lab.store.record_iterations([recording("cross", "a"), recording("cross", "b")])
    assert hashed == [True, True]
