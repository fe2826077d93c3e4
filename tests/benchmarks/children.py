"""What must not run in the measuring process: naive readers, a second writer and kernels that have just started.

Each is `python -m tests.benchmarks.children ROLE ...`. A child answers every line of JSON on its stdin by one on its
stdout. The naive readers work on a copy of the database: DuckDB's SQLite extension and the pool never share a file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

_ROOT: Final = Path(__file__).parents[2]


class Child:
    """The parent's end of a child; a context manager that ends it.

    Parameters
    ----------
    role
        A key of `ROLES`, with its arguments.
    module, python
        Another module that answers in the same way, and the interpreter that runs it.
    stderr
        Where its messages go; by default where the parent's go.
    """

    def __init__(
        self,
        role: str,
        *arguments: object,
        module: str = "tests.benchmarks.children",
        python: str | Path = sys.executable,
        stderr: IO[str] | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            [str(python), "-m", module, role, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            cwd=_ROOT,
            env=os.environ | {"PYTHONUTF8": "1"},
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._process.__exit__(*exception)

    def ask(self, request: object = None) -> Any:
        """Send a request and return the answer."""
        self.send(request)
        return self.receive()

    def send(self, request: object = None) -> None:
        """Send a request; the answer is received later."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        """Return the answer to the oldest request that has none yet."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a child ended with status {self._process.wait()}")
        return json.loads(line)


def peak_memory(database: Path, query: str) -> float:
    """Return how many MB a new kernel that answers a query takes at most."""
    with Child("summed_up", database, query) as child:
        return float(child.ask())


def milliseconds_of(code: str) -> float:
    """Return how many milliseconds a new process takes for some code."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=_ROOT, check=True)
    return (time.perf_counter() - started) * 1000


def new_kernel(kind: str, *arguments: object) -> float:
    """Return the milliseconds that the first frame takes in a process that has just imported what it needs."""
    with Child(kind, *arguments) as child:
        return float(child.ask())


# The children's end -----------------------------------------------------------------------------------------------


def _elapsed(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def attached(database: str) -> Iterator[Any]:
    """Answer SELECTs over `s.<table>` in a DuckDB that has attached the file, as its documentation shows it."""
    connection = _attach(database)
    yield from _answering(lambda query: connection.execute(query).df())


def read_sql(database: str) -> Iterator[Any]:
    """Answer SELECTs by pandas over Python's own sqlite3."""
    import sqlite3

    import pandas as pd

    connection = sqlite3.connect(database)
    yield from _answering(lambda query: pd.read_sql(query, connection))


def export(database: str) -> Iterator[Any]:
    """Run one COPY from the attached file to a bare Parquet file."""
    connection = _attach(database)
    yield from _answering(connection.execute)


def summed_up(database: str, query: str) -> Iterator[Any]:
    """Answer a query in a new kernel, and tell how much memory that took at most, in MB."""
    import finlab_nb as fl

    yield
    with fl.Lab(database) as lab:
        lab.sql(query)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    yield int(status.split("VmHWM:")[1].split()[0]) / 1024


def first_frame(database: str, question: str, *ids: str) -> Iterator[Any]:
    """Time the first frame of a new kernel, from the import of finlab_nb on."""
    import finlab_nb as fl

    yield
    started = time.perf_counter()
    lab = fl.Lab(database)
    frame = getattr(lab, question)(*([list(ids)] if ids else []))
    elapsed = _elapsed(started)
    assert len(frame)
    lab.close()
    yield elapsed


def first_attach(database: str, query: str) -> Iterator[Any]:
    """Time the first frame of a new kernel by a naive ATTACH, from the import of duckdb and pandas on."""
    import duckdb  # noqa: F401 - not on the clock
    import pandas as pd  # noqa: F401

    yield
    started = time.perf_counter()
    assert len(_attach(database).execute(query).df())
    yield _elapsed(started)


def writer(database: str, strategy_id: str) -> Iterator[Any]:
    """Save a run of 500 trades at each request, and answer with its id as soon as it is committed."""
    import finlab_nb as fl
    from tests.benchmarks.book import Runs

    runs = Runs(strategy_id, seed=os.getpid())
    with fl.StorageManager(database) as store:
        yield
        while True:
            yield store.save_iteration(**runs.next_run())


def closed_loop(database: str, strategy_id: str) -> Iterator[Any]:
    """Save for the seconds of a request, each iteration as soon as the one before is committed.

    The answer is the milliseconds of every save, and how many were refused. The iterations have 50 to 500 trades and
    are made off the clock.
    """
    import itertools
    import random

    import finlab_nb as fl
    from tests.benchmarks.book import Runs

    runs, chance = Runs(strategy_id, seed=os.getpid()), random.Random(os.getpid())
    tables = itertools.cycle([runs.next_run()["trades"].head(chance.randint(50, 500)) for _ in range(40)])
    with fl.StorageManager(database) as store:
        seconds = yield
        while True:
            taken, refused, end = [], 0, time.perf_counter() + seconds
            while (started := time.perf_counter()) < end:
                try:
                    store.save_iteration(strategy_id, trades=next(tables))
                except fl.StorageError:
                    refused += 1
                taken.append(_elapsed(started))
            seconds = yield taken, refused


def _attach(database: str) -> Any:
    import duckdb

    from finlab_nb.query.reader import _load_extension

    connection = duckdb.connect()
    if not _load_extension(connection):
        raise SystemExit('the baselines need the SQLite extension of DuckDB: pip install -e ".[scanner]"')
    connection.execute(f"ATTACH '{database}' AS s (TYPE sqlite, READ_ONLY)")
    return connection


def _answering(ask: Callable[[str], Any]) -> Iterator[Any]:
    query = yield
    while True:
        started = time.perf_counter()
        answer = ask(query)
        elapsed = _elapsed(started)
        del answer
        query = yield elapsed


ROLES: Final[dict[str, Callable[..., Any]]] = {
    role.__name__: role
    for role in (attached, read_sql, export, summed_up, first_frame, first_attach, writer, closed_loop)
}


def main() -> None:
    """Serve requests until the parent closes the pipe."""
    role = ROLES[sys.argv[1]](*sys.argv[2:])
    next(role)  # imports and connections, off the clock
    for line in sys.stdin:
        print(json.dumps(role.send(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
