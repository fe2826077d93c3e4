"""Stores and labs travel to other processes as their path, and copies of them stand alone."""

from __future__ import annotations

import copy
import gc
import importlib
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import distributed
import joblib
import pytest

import finlab_nb as fl
from finlab_nb.query.frames import Frames

WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),
    "the oldest protocol": lambda one: pickle.loads(pickle.dumps(one, 0)),
    "cloudpickle": lambda one: pickle.loads(importlib.import_module("cloudpickle").dumps(one)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


class OwnStore(fl.StorageManager):
    """A store with a constructor of its own."""

    def __init__(self, folder: Path, *, owner: str) -> None:
        super().__init__(folder / "own.db", pool_size=2, timeout=3.0)
        self.owner = owner


class OwnLab(fl.Lab):
    """A lab with a constructor of its own."""

    def __init__(self, folder: Path, *, owner: str) -> None:
        super().__init__(folder / "own.db", cache_dir=folder / "caches", pool_size=2, timeout=3.0)
        self.owner = owner


@every_way
def test_a_store_comes_back_with_its_path_and_arguments(tmp_path: Path, way: Callable[[Any], Any]) -> None:
    with fl.StorageManager(tmp_path / "a.db", pool_size=3, timeout=1.5) as store:
        strategy = store.save_strategy_version("momentum", "code")
        with way(store) as other:
            assert type(other) is fl.StorageManager
            assert (other.path, other.pool.size, other.pool.timeout) == (tmp_path / "a.db", 3, 1.5)
            iteration = other.save_iteration(strategy, note="saved by the other")
            assert other.statistics()["calls"].keys() == {"save_iteration"}
        assert store.load_iteration(iteration)["note"] == "saved by the other"  # closing one does not close both


@every_way
def test_a_lab_comes_back_with_its_path_and_arguments(tmp_path: Path, way: Callable[[Any], Any]) -> None:
    with fl.Lab(tmp_path / "a.db", cache_dir=tmp_path / "caches", pool_size=3, timeout=1.5) as lab:
        lab.store.save_iteration(lab.store.save_strategy_version("momentum", "code"), note="saved before")
        assert len(lab.iterations()) == 1
        with way(lab) as other:
            assert type(other) is fl.Lab
            assert (other.store.path, other.store.pool.size, other.store.pool.timeout) == (tmp_path / "a.db", 3, 1.5)
            assert other.iterations()["note"].tolist() == ["saved before"]
            assert other.cache_info()["folder"] == lab.cache_info()["folder"]
            other.store.save_strategy_version("reversal", "code")
            assert len(other.strategies()) == 2
        assert len(lab.strategies()) == 2


@every_way
@pytest.mark.parametrize("kind", [OwnStore, OwnLab])
def test_a_subclass_comes_back_as_itself(tmp_path: Path, kind: Any, way: Callable[[Any], Any]) -> None:
    with kind(tmp_path, owner="Ada") as one, way(one) as other:
        assert (type(other), other.owner) == (kind, "Ada")
        store = other.store if kind is OwnLab else other
        assert (store.path, store.pool.size) == (tmp_path / "own.db", 2)
        assert store.find_strategies("momentum") == []


def test_what_travels_together_stays_together(lab: fl.Lab) -> None:
    other, store, frames, ask = pickle.loads(pickle.dumps((lab, lab.store, lab.frames, lab.iterations)))
    with other:
        assert (other.store, other.frames, ask.__self__) == (store, frames, other)
        store.save_strategy_version("momentum", "code")
        assert len(frames.strategies()) == len(other.strategies()) == 1


def test_frames_come_back_and_answer(lab: fl.Lab) -> None:
    frames = pickle.loads(pickle.dumps(lab.frames))
    lab.store.save_strategy_version("momentum", "code")
    assert type(frames) is Frames
    assert frames.strategies()["name"].tolist() == ["momentum"]
    frames.source.close()


@every_way
@pytest.mark.parametrize("of", [lambda lab: lab, lambda lab: lab.store, lambda lab: lab.store.load_iteration])
def test_a_private_database_says_to_give_it_a_path(of: Callable[[fl.Lab], Any], way: Callable[[Any], Any]) -> None:
    with fl.Lab(":memory:") as lab:
        one = of(lab)
        if way in (copy.copy, copy.deepcopy) and callable(one):
            one = lab  # a copied method is the method itself
        with pytest.raises(fl.StorePicklingError, match=r'^a ":memory:" database .* cannot be pickled .* open a file'):
            way(one)
        with pytest.raises(pickle.PicklingError):
            pickle.dumps(lab.frames)
        assert len(lab.iterations()) == 0


@every_way
def test_a_closed_store_or_lab_says_so(tmp_path: Path, way: Callable[[Any], Any]) -> None:
    for one in (fl.StorageManager(tmp_path / "a.db"), fl.Lab(tmp_path / "a.db")):
        one.close()
        with pytest.raises(fl.StoreClosedError, match=r"a\.db is closed; open it again"):
            way(one)


def test_a_store_whose_file_is_gone_does_not_come_back_empty(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "a.db") as lab:
        pickled = pickle.dumps(lab)
    (tmp_path / "a.db").unlink()
    with pytest.raises(fl.StorageError, match=r"a\.db does not exist here; a pickled store"):
        pickle.loads(pickled)
    assert not (tmp_path / "a.db").exists()


@pytest.mark.parametrize("way", [WAYS["pickle"], copy.copy, copy.deepcopy])
def test_a_scheduler_says_to_make_another(tmp_path: Path, way: Callable[[Any], Any]) -> None:
    backups = fl.BackupScheduler(tmp_path / "a.db", tmp_path / "backups")
    with pytest.raises(
        fl.StorePicklingError, match=r"belongs to its process.*BackupScheduler\('.*a\.db', '.*backups'\)"
    ):
        way(backups)


def test_a_pickle_holds_the_path_and_no_data(lab: fl.Lab) -> None:
    lab.store.save_iteration(lab.store.save_strategy_version("momentum", "x" * 100_000))
    lab.iterations()
    assert len(pickle.dumps(lab)) < 2_000


@pytest.mark.slow
def test_labs_that_are_loaded_used_and_closed_leave_nothing_open(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("momentum", "code")
    pickled = pickle.dumps(lab)

    def load_use_and_close(times: int) -> tuple[int, int]:
        for _ in range(times):
            with pickle.loads(pickled) as other:
                other.store.save_iteration(strategy)
                other.iterations()
        gc.collect()
        return threading.active_count(), len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    (threads, files), (threads_after, files_after) = load_use_and_close(2), load_use_and_close(10)
    assert threads_after == threads
    # SQLite keeps the file of a closed connection open for the next one, as many as there ever were at a time.
    assert files_after <= files + 3
    assert len(lab.iterations()) == 12


def test_errors_arrive_as_what_they_are() -> None:
    for name in fl.__all__:
        if name.endswith(("Error", "Warning")):
            error = getattr(fl, name)("what to do")
            other = pickle.loads(pickle.dumps(error))
            assert (type(other), str(other)) == (type(error), "what to do")


# In other processes -----------------------------------------------------------------------------------------------


def save_and_count(lab: fl.Lab, strategy: str, note: str) -> int:
    lab.store.save_iteration(strategy, note=note)
    return len(lab.iterations())


def check_work(lab: fl.Lab, workers: Executor) -> None:
    """Let workers use a lab, its store, its frames and their methods."""
    strategy = lab.store.save_strategy_version("momentum", "code")
    assert workers.submit(save_and_count, lab, strategy, "by a function").result(60) == 1
    saved = workers.submit(lab.store.save_iteration, strategy, note="by a method").result(60)
    assert lab.store.load_iteration(saved)["note"] == "by a method"
    assert workers.submit(lab.iterations).result(60)["note"].tolist() == ["by a function", "by a method"]
    assert len(workers.submit(lab.frames.iterations, limit=1).result(60)) == 1
    counts = list(workers.map(save_and_count, [lab] * 6, [strategy] * 6, [f"task {number}" for number in range(6)]))
    assert max(counts) == len(lab.iterations()) == 8
    with pytest.raises(fl.IterationNotFoundError, match="no iteration has this id"):
        workers.submit(lab.store.load_iteration, "unknown").result(60)
    with fl.Lab(":memory:") as private, pytest.raises(pickle.PicklingError, match="open a file instead"):
        workers.submit(private.iterations).result(60)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_workers_of_other_processes_use_a_lab_that_is_sent_to_them(lab: fl.Lab, method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as workers:
        check_work(lab, workers)


def save_in_process(store: fl.StorageManager, strategy: str) -> None:
    with store:
        store.save_iteration(strategy, note="by a process")


@pytest.mark.slow
def test_a_spawned_process_takes_a_store_as_argument(store: fl.StorageManager) -> None:
    strategy = store.save_strategy_version("momentum", "code")
    process = multiprocessing.get_context("spawn").Process(target=save_in_process, args=(store, strategy))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert [one["note"] for one in store.load_strategy_history(strategy)] == ["by a process"]


@pytest.mark.slow
def test_joblib_sends_a_lab_to_its_workers(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("momentum", "code")
    tasks = (joblib.delayed(save_and_count)(lab, strategy, f"task {number}") for number in range(4))
    assert max(joblib.Parallel(n_jobs=2)(tasks)) == len(lab.iterations()) == 4
    with fl.Lab(":memory:") as private, pytest.raises(pickle.PicklingError) as refused:
        joblib.Parallel(n_jobs=2)([joblib.delayed(len)(private.frames)])
    assert "open a file instead" in str(refused.getrepr(style="native"))


@pytest.mark.slow
def test_dask_sends_a_lab_to_its_workers(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("momentum", "code")
    with (
        distributed.LocalCluster(2, processes=True, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        tasks = [client.submit(save_and_count, lab, strategy, f"task {number}") for number in range(4)]
        assert max(client.gather(tasks)) == len(lab.iterations()) == 4
        saved = client.submit(lab.store.save_iteration, strategy, note="by a method").result()
        assert lab.store.load_iteration(saved)["note"] == "by a method"
