"""The invariants that keep the file whole: one SQLite library in this process, and a reader that ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import duckdb
import pytest

import finlab_nb as fl
from books import TRADE, fill
from finlab_nb.query import reader
from finlab_nb.query.replica.building import Building

linux = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="reads Linux's /proc")


def own_locks(path: Path) -> set[str]:
    """Return the POSIX locks that this process holds on the database and its shared memory."""
    inodes = {str(os.stat(f"{path}{suffix}").st_ino) for suffix in ("", "-shm")}
    locks = set()
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "POSIX" and fields[4] == str(os.getpid()) and fields[5].rsplit(":", 1)[1] in inodes:
            locks.add(" ".join(fields[3:]))
    return locks


@pytest.mark.slow
@linux
def test_the_locks_of_the_pool_survive_any_number_of_questions(lab: fl.Lab, by_child: list[Building]) -> None:
    strategy = fill(lab)
    with lab.store.pool.snapshot() as reader:
        reader.execute("SELECT count(*) FROM trades").fetchone()
        held = own_locks(lab.store.path)
        assert held
        for number in range(5):
            lab.trades()
            lab.iterations()
            lab.sql("SELECT count(*) FROM equity")
            assert len(by_child) > number
            lab.clear_cache()
            lab.store.save_iteration(strategy, trades=[TRADE])
            assert held <= own_locks(lab.store.path)


@linux
def test_this_process_never_loads_duckdbs_sqlite(lab: fl.Lab, by_child: list[Building]) -> None:
    fill(lab)
    assert len(lab.trades()) == 30_000
    assert by_child  # the child has copied them
    assert "sqlite_scanner" not in Path("/proc/self/maps").read_text()
    code = """
import duckdb
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from finlab_nb.query.reader import _load_extension
print(_load_extension(duckdb.connect()) == ("sqlite_scanner" in Path("/proc/self/maps").read_text()))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"True\n"


def test_a_query_cannot_load_attach_read_or_write_files(lab: fl.Lab) -> None:
    fill(lab, 1)
    lab.trades()
    path = str(lab.store.path)
    for query in (
        "LOAD sqlite",
        f"ATTACH '{path}' (TYPE sqlite)",
        f"SELECT * FROM read_blob('{path}')",
        f"SELECT * FROM read_text('{path}-wal')",
        f"SELECT * FROM sqlite_scan('{path}', 'trades')",
        f"COPY (SELECT 1) TO '{path}.csv'",
        "SET enable_external_access = true",
        "CREATE TABLE x (a INT)",
        "DELETE FROM copied.trades",
        "SELECT 1; DROP VIEW trades",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO 'x.csv'",
    ):
        with pytest.raises(fl.QueryError):
            lab.sql(query)
    assert len(lab.trades()) == 500


def test_an_idle_database_starts_no_child(lab: fl.Lab, buildings: list[Building]) -> None:
    fill(lab, 1)
    for _ in range(50):
        assert len(lab.iterations()) == 1
    assert not buildings


@pytest.mark.slow
def test_a_child_that_is_killed_is_started_again(lab: fl.Lab, buildings: list[Building]) -> None:
    fill(lab)
    lab.trades()
    (building,) = buildings
    while (first := building.process_id) is None:
        assert not building.has_ended
    os.kill(first, signal.SIGKILL)
    building.wait()
    assert building.error is None
    lab._engine.settle()
    assert [one.rows for one in lab._engine.segments()] == [30_000]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("end", ["kill", "exit"])
def test_the_reader_ends_with_its_parent(tmp_path: Path, end: str) -> None:
    code = f"""
import sys, time, finlab_nb as fl
sys.path.insert(0, {str(Path(__file__).parent)!r})
from books import fill
lab = fl.Lab({str(tmp_path / "a.db")!r})
fill(lab, 600)
lab.trades(lab.iterations()["iteration_id"][0])
while not lab._engine._builder.building.process_id:
    pass
print(lab._engine._builder.building.process_id, flush=True)
time.sleep(60 if {end!r} == "kill" else 0)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    reader = int(parent.stdout.readline())
    if end == "kill":
        os.kill(reader, 0)  # it is there
        parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(reader):
        time.sleep(0.05)
    assert not _runs(reader)


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_asks_with_an_engine_of_its_own(lab: fl.Lab) -> None:
    strategy = fill(lab)
    assert len(lab.trades()) == 30_000
    child = os.fork()
    if child == 0:
        try:
            lab.store.save_iteration(strategy, trades=[TRADE])
            os._exit(0 if len(lab.trades()) == 30_001 else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(lab.trades()) == 30_001


def test_the_child_starts_without_what_only_the_notebook_needs() -> None:
    heavy = {"pandas", "finlab_nb.records", "finlab_nb.store"}
    code = f"import sys, finlab_nb.query.reader; print({heavy} & set(sys.modules))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "set()"


def test_an_extension_that_is_not_here_is_not_asked_for_in_the_network(tmp_path: Path) -> None:
    asked: list[str] = []

    class Repository(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    code = """
import sys, duckdb
from finlab_nb.query.reader import _load_extension
config = {"extension_directory": sys.argv[1], "autoinstall_extension_repository": sys.argv[2]}
sys.path.clear()
print(_load_extension(duckdb.connect(config=config)))
"""
    with HTTPServer(("127.0.0.1", 0), Repository) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        found = subprocess.run([sys.executable, "-c", code, tmp_path, address], capture_output=True, check=True)
        server.shutdown()
    assert found.stdout == b"False\n"
    assert not asked


def test_the_extension_is_found_wherever_a_package_puts_it(tmp_path: Path) -> None:
    for package in ("duckdb_extension_sqlite_scanner/extensions", ".duckdb_extensions"):
        file = tmp_path / package / f"v{duckdb.__version__}" / "linux_amd64" / "sqlite_scanner.duckdb_extension"
        file.parent.mkdir(parents=True)
        file.touch()
    tried: list[str] = []

    class Refusing:
        def execute(self, statement: str) -> None:
            if statement.startswith("LOAD"):
                tried.append(statement)
                raise duckdb.IOException("there is none")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(tmp_path)])
        assert not reader._load_extension(Refusing())  # type: ignore[arg-type]
    assert tried[0] == "LOAD sqlite_scanner"
    assert ["duckdb_extension_sqlite_scanner" in one for one in tried[1:]] == [True, False]
