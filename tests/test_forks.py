"""Whatever a forked child does and however it ends, it removes nothing of its parent and spoils nothing there."""

from __future__ import annotations

import ast
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import finlab_nb as fl
from finlab_nb.store.forks import TemporaryFolder

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
NEVER_WARN = (
    "import warnings; warnings.simplefilter('ignore')  # of forks beside threads, and of what children leave open"
)

# One process for all ways, because importing takes longer than all that is tested. In a child, `child` is 0.
EVERY_WAY = """
import gc, multiprocessing, os, signal, sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
import finlab_nb as fl

forked = multiprocessing.get_context("fork")
labs = []


def end_by_sys_exit(child, lab):
    if child == 0:
        with lab:
            sys.exit(0)

def end_by_os_exit(child, lab):
    if child == 0:
        os._exit(0)

def end_by_closing(child, lab):
    if child == 0:
        lab.close()
        lab.close()
        os._exit(0)

def end_by_an_error(child, lab):
    if child == 0:
        with lab:
            raise RuntimeError("meant to be raised")

def end_by_a_kill(child, lab):
    if child == 0:
        lab.iterations()
        os.kill(os.getpid(), signal.SIGKILL)

def end_after_dropping_all_objects(child, lab):
    if child == 0:
        labs.clear()
        lab.__dict__.clear()
        gc.collect()
        os._exit(0)

def end_after_use(child, lab):
    if child == 0:
        assert len(lab.iterations()) == 1
        lab.store.save_strategy_version("child", "code")
        lab.close()
        sys.exit(0)

def end_with_labs_of_its_own(child, lab):
    if child == 0:
        with fl.Lab(":memory:") as own:
            own.iterations()
        assert not own.store.path.parent.exists()
        left_open = fl.Lab(":memory:")
        Path("own").write_text(str(left_open.store.path.parent))
        sys.exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert not Path(Path("own").read_text()).exists()

def end_after_a_grandchild(child, lab):
    if child == 0:
        grandchild = os.fork()
        if grandchild:
            os.waitpid(grandchild, 0)
        sys.exit(0)

def end_as_a_process_of_multiprocessing(child, lab):
    if child == 0:
        process = forked.Process(target=lab.close)
        process.start()
        process.join()
        os._exit(process.exitcode)

def end_as_a_pool_of_processes(child, lab):
    if child == 0:
        with ProcessPoolExecutor(1, mp_context=forked) as workers:
            assert workers.submit(answer).result() == 1
        sys.exit(0)

def answer():
    return len(labs[0].iterations())

ALLOWED = {"end_by_an_error": 1, "end_by_a_kill": -signal.SIGKILL}


def main():
    Path("a.db.cache").touch()  # a file in the place of the cache folder, so that the cache is a temporary one
    with fl.Lab(":memory:") as private, fl.Lab("a.db") as cached:
        labs.extend([private, cached])
        for lab in labs:
            lab.store.save_iteration(lab.store.save_strategy_version("momentum", "code"))
            lab.iterations()
        assert cached.cache_info()["temporary"]
        (cached.cache_info()["folder"] / "segment").touch()
        made = [private.store.path, cached.cache_info()["folder"] / "segment"]
        for way in [way for name, way in globals().items() if name.startswith("end_")]:
            for lab in (private, cached):
                child = os.fork()
                way(child, lab)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                assert status == ALLOWED.get(way.__name__, 0), (way.__name__, status)
                assert all(path.exists() for path in made), f"{way.__name__} has removed what its parent made"
                assert [len(lab.iterations()) for lab in (private, cached)] == [1, 1]
                assert [lab.store.check() for lab in (private, cached)] == [[], []]
        child = os.fork()
        if child == 0:
            return  # to the end of the program
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert all(path.exists() for path in made), "the end of the program has removed what the parent made"
    assert not any(path.parent.exists() for path in made), "the parent has left behind what it made"
    print("everything was kept")

main()
"""


def run(code: str, folder: Path) -> str:
    script = folder / "script.py"
    script.write_text(f"{NEVER_WARN}\n{code}", encoding="utf-8")
    finished = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True, timeout=200)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@needs_fork
@pytest.mark.slow
def test_however_a_forked_child_ends_its_parent_keeps_the_database_and_the_cache(tmp_path: Path) -> None:
    assert run(EVERY_WAY, tmp_path) == "everything was kept\n"


# SQLite writes to the log before the commit when a transaction has outgrown its memory.
INSIDE_A_TRANSACTION = """
import os, sys
import finlab_nb as fl

TRADES = [{"stock_code": "2330", "entry_date": "2024-01-02", "entry_price": 1.0, "position_size": 1.0}] * 1_500

with fl.StorageManager("a.db") as store:
    strategy = store.save_strategy_version("momentum", "code")
    with store.transaction():
        for number in range(40):
            store.save_iteration(strategy, trades=TRADES, code="x" * 200_000)
        child = os.fork()
        if child == 0:
            sys.exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        for number in range(40):
            store.save_iteration(strategy, trades=TRADES, code="y" * 200_000)
    codes = [one["code"][0] for one in store.load_strategy_history(strategy)]
    assert codes == ["x"] * 40 + ["y"] * 40
"""


@pytest.mark.slow
@needs_fork
def test_a_child_that_ends_inside_a_large_transaction_leaves_it_whole(tmp_path: Path) -> None:
    run(INSIDE_A_TRANSACTION, tmp_path)


BESIDE_THE_READER = """
import os, signal, sys, time
import finlab_nb as fl

TRADE = {"stock_code": "2330", "entry_date": "2024-01-02", "entry_price": 1.0, "position_size": 1.0}
lab = fl.Lab("a.db")
strategy = lab.store.save_strategy_version("momentum", "code")
small, _ = [lab.store.save_iteration(strategy, trades=[TRADE] * count) for count in (1, 299_999)]
assert len(lab.trades(small)) == 1
building = lab.frames.source._builder.building
while building.process_id is None:
    assert not building.has_ended
reader = building.process_id
child = os.fork()
if child == 0:
    lab.close()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
building.wait()
assert building.error is None
assert building._process.pid == reader, "it was started again"
child = os.fork()
if child == 0:
    assert len(lab.trades()) == 300_000
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert len(lab.trades()) == 300_000
lab.close()
"""


@pytest.mark.slow
@needs_fork
def test_a_child_does_not_stop_the_reader_of_its_parent(tmp_path: Path) -> None:
    run(BESIDE_THE_READER, tmp_path)


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_temporary_folder_is_removed_by_the_process_that_made_it_only() -> None:
    with TemporaryFolder("test") as folder:
        child = os.fork()
        if child == 0:
            folder.remove()
            os._exit(0)
        os.waitpid(child, 0)
        assert folder.path.is_dir()
    assert not folder.path.exists()
    folder.remove()


def test_a_temporary_folder_that_nobody_removes_goes_with_its_object() -> None:
    folder = TemporaryFolder("test")
    path = folder.path
    assert path.is_dir()
    del folder
    gc.collect()
    assert not path.exists()


def test_every_temporary_folder_of_the_package_is_one_that_a_child_leaves_alone() -> None:
    package = Path(fl.__file__).parent
    names = {
        path.name
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("TemporaryDirectory", "mkdtemp", "NamedTemporaryFile")
    }
    assert names == {"forks.py"}


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forks_beside_threads_that_open_and_close_stores_disturb_neither(tmp_path: Path) -> None:
    path, over, failures = tmp_path / "a.db", threading.Event(), []
    fl.StorageManager(path).close()

    def open_and_close() -> None:
        while not over.is_set():
            try:
                with fl.StorageManager(path) as store:
                    store.save_strategy_version("momentum", "x")
            except BaseException as error:
                failures.append(error)
                raise

    threads = [threading.Thread(target=open_and_close) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    over.set()
    for thread in threads:
        thread.join()
    assert failures == []


IDS_OF_CHILDREN = """
import os, time
from finlab_nb.records import new_id

new_id()  # the generator of random numbers is there before the forks
start, pipes = time.time() + 0.3, []
for _ in range(4):
    end, pipe = os.pipe()
    if os.fork() == 0:
        with os.fdopen(pipe, "w") as out:
            while time.time() < start:
                pass
            out.write(" ".join(new_id() for _ in range(2000)))
        os._exit(0)
    os.close(pipe)
    pipes.append(end)
found = []
for end in pipes:
    with os.fdopen(end) as answer:
        found += answer.read().split()
assert len(set(found)) == len(found) == 8000, f"{len(found) - len(set(found))} ids were given twice"
"""


@needs_fork
def test_children_that_were_forked_at_once_give_ids_of_their_own() -> None:
    done = subprocess.run([sys.executable, "-c", IDS_OF_CHILDREN], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
