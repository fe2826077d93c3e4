"""Every frame is one moment while others write, and asking a thousand times leaves nothing behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import finlab_nb as fl
from books import TRADE, fill
from finlab_nb.query.replica import compaction
from finlab_nb.query.tables import Table

pytestmark = pytest.mark.slow
SECONDS = 60.0 if os.environ.get("FINLAB_NB_LONG") == "1" else 8.0

WRITER = """
import random, sys, finlab_nb as fl
sys.path.insert(0, sys.argv[3])
from books import TRADE
chance = random.Random(sys.argv[2])
with fl.StorageManager(sys.argv[1]) as store:
    runs = []
    print("ready", flush=True)
    while True:
        count = chance.randint(1, 80)
        arguments = dict(strategy_id=sys.argv[2], trades=[TRADE] * count, equity={"2024-01-02": float(count)},
                         tags=["t"], extra_metrics={"count": count})
        if chance.random() < 0.1:
            runs += store.save_iterations([arguments] * 3)
        else:
            runs.append(store.save_iteration(**arguments))
        if len(runs) > 1 and chance.random() < 0.4:
            store.delete_iteration(runs.pop(chance.randrange(len(runs))))
        if chance.random() < 0.2:
            store.annotate(chance.choice(runs), note=str(count))
"""

TORN = """
    SELECT count(*) AS torn FROM iterations
    FULL JOIN metrics USING (iteration_id)
    FULL JOIN (SELECT iteration_id, count(*) AS trades FROM trades GROUP BY 1) USING (iteration_id)
    FULL JOIN (SELECT iteration_id, max(equity) AS points FROM equity GROUP BY 1) USING (iteration_id)
    FULL JOIN (SELECT iteration_id, max(value) AS extra FROM extra_metrics GROUP BY 1) USING (iteration_id)
    FULL JOIN (SELECT iteration_id, count(*) AS tags FROM tags GROUP BY 1) USING (iteration_id)
    WHERE iterations.strategy_id IS NULL OR total_trades IS DISTINCT FROM trades OR trades IS DISTINCT FROM points
        OR trades IS DISTINCT FROM extra OR tags IS DISTINCT FROM 1"""


def _check(lab: fl.Lab) -> int:
    assert lab.sql(TORN)["torn"].item() == 0
    runs = lab.iterations()
    assert (runs["total_trades"] == runs["metric.count"]).all()
    assert runs["iteration_id"].is_unique
    trades = lab.trades()
    assert trades["trade_id"].is_unique
    later = lab.iterations().set_index("iteration_id")["total_trades"]
    counts = trades["iteration_id"].value_counts()
    both = counts.index.intersection(later.index)
    assert (counts[both] == later[both]).all()  # a run that both moments know has the same trades
    assert len(later.index.difference(counts.index)) == len(later) - len(both)
    equity = lab.equity()
    assert (equity.max() > 0).all()
    return len(runs)


@pytest.mark.timeout(300)
def test_no_frame_mixes_two_moments_while_others_save_and_delete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Table, "sealed_rows", 500)
    monkeypatch.setattr(compaction, "MERGED_ROWS", 4000)
    path = tmp_path / "a.db"
    with fl.Lab(path) as lab, fl.Lab(path) as second:
        strategy = lab.store.save_strategy_version("a", "x")
        arguments = [str(path), strategy, str(Path(__file__).parent)]
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE) for _ in range(2)
        ]
        failures: list[BaseException] = []
        until = time.monotonic() + SECONDS
        rounds = [0, 0, 0]

        def read(place: int, one: fl.Lab) -> None:
            try:
                while time.monotonic() < until and not failures:
                    _check(one)
                    rounds[place] += 1
            except BaseException as error:
                failures.append(error)

        try:
            for writer in writers:
                assert writer.stdout is not None
                writer.stdout.readline()
            threads = [threading.Thread(target=read, args=(place, one)) for place, one in ((1, lab), (2, second))]
            for thread in threads:
                thread.start()
            read(0, lab)
            for thread in threads:
                thread.join()
            assert all(writer.poll() is None for writer in writers)
        finally:
            for writer in writers:
                writer.kill()
                writer.communicate()
        if failures:
            raise failures[0]
        assert min(rounds) >= 1
        assert _check(lab) == _check(second) > 10


def _state(folder: Path) -> dict[str, Any]:
    gc.collect()
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "system threads": len(os.listdir("/proc/self/task")),
        "temporary files": len(os.listdir(folder)),
        "children": Path(f"/proc/self/task/{os.getpid()}/children").read_text().split(),
    }


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_a_thousand_questions_leak_no_descriptors_threads_or_files(
    lab: fl.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    others = _state(scratch)["children"]  # of the tests before this one
    strategy = fill(lab, 40)
    run = lab.store.save_iteration(strategy, trades=[TRADE], equity={"2024-01-02": 1.0, "2024-01-03": 2.0}, tags=["t"])
    lab._engine.settle()
    own = pd.DataFrame({"stock_code": ["2330"]})
    questions: list[Callable[[], Any]] = [
        lab.strategies,
        lambda: lab.iterations(where="sharpe_ratio IS NULL", order_by="timestamp", limit=5),
        lambda: lab.best(3),
        lambda: lab.progress(strategy),
        lambda: lab.metrics(long=True),
        lambda: lab.trades(run),
        lambda: lab.by_stock(run),
        lambda: lab.by_period(run),
        lambda: lab.equity(run),
        lambda: lab.returns(run),
        lambda: lab.suggestions(run),
        lambda: lab.sql("SELECT count(*) FROM trades JOIN own USING (stock_code)"),
        lambda: lab.sql("SELECT * FROM tags", to="stream").read_all(),
        lambda: lab.sql("SELECT * FROM tags", to="stream").schema,
        lambda: lab.export_frames(tmp_path / "out", "tags"),
        lambda: lab.store.annotate(run, note="x"),
    ]
    assert len(own) == 1

    def ask(count: int) -> dict[str, Any]:
        for number in range(count):
            questions[number % len(questions)]()
        return _state(scratch)

    before = ask(10 * len(questions))
    after = ask(1000)
    assert after == before
    lab.close()
    closed = _state(scratch)
    assert closed["temporary files"] == 0
    assert closed["children"] == others
    assert closed["system threads"] <= before["system threads"] - 1
