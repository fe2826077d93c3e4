"""Building the demo: complete, repeatable, resumable, and beside the user's own work."""

import subprocess
import sys
import threading
import time

import pandas as pd
import pytest

from finlab_nb.analysis import equity_metrics
from finlab_nb.demo import build
from finlab_nb.demo.build import build_demo
from finlab_nb.demo.strategies import STRATEGIES
from finlab_nb.store import StorageManager


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch) -> int:
    """Two runs a strategy, for speed; returns how many runs that are."""
    few = tuple(strategy._replace(grid=strategy.grid[:2]) for strategy in STRATEGIES)
    monkeypatch.setattr(build, "STRATEGIES", few)
    return sum(len(strategy.grid) for strategy in few)


def runs(path) -> list[dict]:
    with StorageManager(path) as store:
        return [
            run
            for strategy in STRATEGIES
            for found in store.find_strategies(strategy.name)
            for run in store.load_strategy_history(found["strategy_id"])
        ]


@pytest.mark.slow
def test_the_whole_demo_is_built_in_time(tmp_path, capsys):
    started = time.perf_counter()
    ids = build_demo(tmp_path / "demo.db")
    assert time.perf_counter() - started < 60
    assert len(set(ids)) == len(ids) == sum(len(strategy.grid) for strategy in STRATEGIES) >= 60
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "demo" in captured.err


def test_a_run_has_all_that_belongs_to_it(tmp_path, small_demo):
    ids = build_demo(tmp_path / "demo.db", progress=False)
    with StorageManager(tmp_path / "demo.db") as store:
        run = store.load_iteration(ids[0])
        strategy = store.load_strategy(run["strategy_id"])
    assert strategy["name"] == "Moving-average crossover"
    assert strategy["code"] == run["code"] == STRATEGIES[0].code
    assert run["parameters"] == STRATEGIES[0].parameters
    assert set(run["tags"]) == {"demo", "crossover"}
    assert "no evidence of skill" in run["note"]
    assert len(run["equity"]) == 3270
    assert run["trades"]
    assert run["suggestions"]
    closed = [trade for trade in run["trades"] if trade["exit_date"] is not None]
    assert run["metrics"]["total_trades"] == len(closed)
    final = 1_000_000 + sum(trade["profit_loss"] for trade in run["trades"])
    assert run["equity"][-1]["equity"] == pytest.approx(final)


def test_the_metrics_of_a_run_are_those_of_its_curve(tmp_path, small_demo):
    ids = build_demo(tmp_path / "demo.db", progress=False)
    with StorageManager(tmp_path / "demo.db") as store:
        run = store.load_iteration(ids[0])
    curve = pd.DataFrame(run["equity"])
    metrics = equity_metrics(pd.Series(curve["equity"].to_numpy(), index=pd.to_datetime(curve["date"])))
    assert metrics["periods_per_year"] == 252
    for name in ("annualized_return", "sharpe_ratio", "max_drawdown"):
        assert run["metrics"][name] == metrics[name], name


def test_the_strategies_are_a_lineage(tmp_path, small_demo):
    build_demo(tmp_path / "demo.db", progress=False)
    with StorageManager(tmp_path / "demo.db") as store:
        saved = {strategy.name: store.find_strategies(strategy.name)[0] for strategy in STRATEGIES}
    for strategy in STRATEGIES:
        parent = None if strategy.parent is None else saved[strategy.parent]["strategy_id"]
        assert saved[strategy.name]["parent_strategy_id"] == parent


def test_the_best_run_is_starred(tmp_path, small_demo):
    build_demo(tmp_path / "demo.db", progress=False)
    stored = runs(tmp_path / "demo.db")
    best = max(stored, key=lambda run: run["metrics"]["sharpe_ratio"])
    assert [run["iteration_id"] for run in stored if run["starred"]] == [best["iteration_id"]]


def test_a_second_call_adds_nothing(tmp_path, small_demo, capsys):
    first = build_demo(tmp_path / "demo.db", progress=False)
    before = runs(tmp_path / "demo.db")
    assert build_demo(tmp_path / "demo.db", progress=False) == first
    assert runs(tmp_path / "demo.db") == before
    assert len(before) == small_demo
    assert capsys.readouterr().err == ""


def test_a_half_built_demo_is_completed(tmp_path, small_demo, monkeypatch):
    computed = 0
    original = build._iteration

    def interrupted(*arguments):
        nonlocal computed
        computed += 1
        if computed == 6:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(build, "_iteration", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_demo(tmp_path / "demo.db", progress=False)
    half = runs(tmp_path / "demo.db")
    assert 0 < len(half) < small_demo
    assert not any(run["starred"] for run in half)
    ids = build_demo(tmp_path / "demo.db", progress=False)
    whole = runs(tmp_path / "demo.db")
    assert {run["iteration_id"] for run in half} < {run["iteration_id"] for run in whole} == set(ids)
    assert len(whole) == small_demo
    assert sum(run["starred"] for run in whole) == 1


def test_two_builders_at_once_add_each_run_once(tmp_path, small_demo):
    together = threading.Barrier(2)
    answers: list[list[str]] = []

    def builder() -> None:
        together.wait()
        answers.append(build_demo(tmp_path / "demo.db", progress=False))

    threads = [threading.Thread(target=builder) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 2
    assert answers[0] == answers[1]
    stored = runs(tmp_path / "demo.db")
    assert len(stored) == small_demo
    assert sum(run["starred"] for run in stored) == 1


def test_the_users_own_work_stays(tmp_path, small_demo):
    first = build_demo(tmp_path / "demo.db", progress=False)
    with StorageManager(tmp_path / "demo.db") as store:
        mine = store.save_strategy_version("Moving-average crossover", "mine", {"fast": 1})
        own_run = store.save_iteration(mine, metrics={"sharpe_ratio": 9.0})
        demo_strategy = store.load_iteration(first[0])["strategy_id"]
        extension = store.save_iteration(demo_strategy, parameters={"fast": {"nested": [1, 2]}}, metrics={})
        starred = next(run["iteration_id"] for run in store.load_strategy_history(demo_strategy))
        for iteration_id in first:
            store.annotate(iteration_id, starred=False)
        store.annotate(starred, note="mine now")
    assert build_demo(tmp_path / "demo.db", progress=False) == first
    with StorageManager(tmp_path / "demo.db") as store:
        assert store.load_iteration(own_run)["metrics"]["sharpe_ratio"] == 9.0
        assert store.load_iteration(extension)["parameters"] == {"fast": {"nested": [1, 2]}}
        assert store.load_iteration(starred)["note"] == "mine now"
        assert not any(store.load_iteration(iteration_id)["starred"] for iteration_id in first)


def test_a_run_that_was_deleted_comes_back(tmp_path, small_demo):
    first = build_demo(tmp_path / "demo.db", progress=False)
    with StorageManager(tmp_path / "demo.db") as store:
        store.delete_iteration(first[1])
    second = build_demo(tmp_path / "demo.db", progress=False)
    assert [one == other for one, other in zip(first, second, strict=True)].count(False) == 1


def test_the_progress_bar_leaves_no_thread(tmp_path, small_demo):
    before = threading.active_count()
    build_demo(tmp_path / "demo.db")
    assert threading.active_count() == before


def test_importing_the_demo_loads_nothing():
    code = "import sys, finlab_nb.demo; print({'pandas', 'duckdb', 'tqdm', 'matplotlib'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() in {"set()", "{'pandas'}"}
