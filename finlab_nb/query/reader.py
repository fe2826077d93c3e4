"""The child process that attaches the database file in DuckDB and copies rows to Parquet.

DuckDB's SQLite extension brings its own copy of SQLite. In the process that holds the pool it would drop the pool's
locks on the file and corrupt it, so it lives in a separate process: ``python -m finlab_nb.query.reader``.

The two exchange lines of JSON over the child's stdin and stdout, which nothing else uses. The child never writes to
the database, reads each request in one transaction on one thread (each thread of a scan would see a different
moment), and ends when its parent closes the pipe or dies.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from finlab_nb.errors import ReaderError
from finlab_nb.query.columns import Column, Table, literal, quoted

if TYPE_CHECKING:
    from finlab_nb.records.rules import Kind

EXTENSION_PACKAGE: Final = "duckdb-extension-sqlite-scanner"
_STOP_SECONDS: Final = 2.0
_SETTINGS: Final = (
    "SET enable_progress_bar = false",
    "SET TimeZone = 'UTC'",
    "SET sqlite_disable_multithreaded_scans = true",
    # A join that reads the large table first keeps its order.
    "SET disabled_optimizers = 'join_order,build_side_probe_side'",
)


RAW_ROWS: Final = "raw_rows"  # the rows of a request: row_id, the raw columns, misfits


class CopyRequest(NamedTuple):
    """Rows of a table to be copied, from one rowid to another, with a statement that reads `RAW_ROWS`.

    SQLite's rows can only be scanned from end to end. So the rows for many segments are first copied to one file, which
    `parts` then read and which is removed.
    """

    table: str
    owner: str
    columns: list[tuple[str, Kind]]  # the child knows no description of the tables: importing it takes a quarter second
    key: tuple[str, str] | None
    zones: str | None
    first: int
    last: int
    path: str
    statement: str
    parts: list[str]

    def described(self) -> Table:
        """Return the table, as far as copying needs it."""
        columns = tuple(Column(name, kind) for name, kind in self.columns)
        return Table(self.table, self.owner, columns, self.key, self.zones)


class Reader:
    """The parent's end: starts the child at the first request, and again if it dies.

    Parameters
    ----------
    database
        The SQLite file.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    @property
    def process_id(self) -> int | None:
        """The child's process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def copy(self, copies: list[CopyRequest]) -> None:
        """Copy rows to Parquet files.

        Raises
        ------
        ReaderError
            If the child cannot start, fails or dies twice.
        """
        with self._lock:
            request = {"database": str(self._database), "copies": copies}
            answer = self._ask(request)
            if answer is None:  # it died; try once more with a new one
                self._stop()
                answer = self._ask(request)
            if answer is None:
                status = self._process.wait(_STOP_SECONDS) if self._process is not None else None
                self._stop()
                raise ReaderError(
                    f"the reader of {self._database} died twice (exit status {status}) while it copied rows"
                )
            if "error" in answer:
                raise ReaderError(f"the reader of {self._database} failed: {answer['error']}")

    def close(self) -> None:
        """Stop the child, if there is one."""
        with self._lock:
            self._stop()

    def let_go(self) -> None:
        """Close the ends of the pipes that a forked child has, or the reader would not see its parent close its own.

        The files themselves are never used again, or they would close other files that have their numbers by then.
        """
        process = self._process
        for pipe in (process.stdin, process.stdout) if process is not None else ():
            if pipe is not None and not pipe.closed:
                os.close(pipe.fileno())

    def _ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._process = _start()
        process = self._process
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            return None
        except BaseException:
            self._stop()  # an interrupt would leave behind an answer that nobody waits for
            raise
        answer: dict[str, Any] | None = json.loads(line) if line.endswith("\n") else None
        return answer

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start() -> subprocess.Popen[str]:
    package_root = str(Path(__file__).parents[2])
    search_path = os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "finlab_nb.query.reader"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": search_path, "PYTHONUTF8": "1"},
    )


# The child's end --------------------------------------------------------------------------------------------------


def main() -> None:
    """Serve requests until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt in the notebook is meant for the parent
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not look like an answer
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin, requests), daemon=True).start()
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    connection = None
    while True:
        request = json.loads(requests.get())
        try:
            connection = connection or _connect()
            _serve(connection, request)
            answer = {}
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent reports it
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _listen(stdin: IO[str], requests: queue.SimpleQueue[str]) -> None:
    for line in stdin:
        requests.put(line)
    os._exit(0)


def _end_with_parent(parent: int) -> None:
    # Another child may hold the pipe open after the parent's death, so that no end of file arrives.
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def _connect() -> Any:
    import duckdb

    connection = duckdb.connect(":memory:")
    _load_extension(connection)
    for setting in _SETTINGS:
        connection.execute(setting)
    return connection


def _load_extension(connection: Any) -> None:
    import duckdb

    attempts = ["LOAD sqlite_scanner"]
    with contextlib.suppress(ImportError):
        from importlib import resources

        folder = resources.files(EXTENSION_PACKAGE.replace("-", "_")) / "extensions"
        path = str(folder / f"v{duckdb.__version__}" / "sqlite_scanner.duckdb_extension")
        attempts.append("LOAD '" + path.replace("'", "''") + "'")
    attempts.append("INSTALL sqlite_scanner; LOAD sqlite_scanner")
    failures = []
    for attempt in attempts:
        try:
            connection.execute(attempt)
            return
        except duckdb.Error as error:
            failures.append(str(error).splitlines()[0])
    raise ReaderError(
        f"DuckDB {duckdb.__version__} has no SQLite extension here; run: pip install --upgrade duckdb "
        f"{EXTENSION_PACKAGE} ({'; '.join(failures)})"
    )


def _serve(connection: Any, request: dict[str, Any]) -> None:
    copies = [CopyRequest(*one) for one in request["copies"]]
    path = request["database"].replace("'", "''")
    refused = []
    try:
        connection.execute(f"ATTACH '{path}' AS store (TYPE sqlite, READ_ONLY, BUSY_TIMEOUT 10000)")
        for copy in copies:
            connection.execute("BEGIN TRANSACTION")
            if not _copied(connection, copy):
                refused.append(copy)
            connection.execute("ROLLBACK")
    finally:
        with contextlib.suppress(Exception):  # there is no transaction if the file could not be attached
            connection.execute("ROLLBACK")
        connection.execute("DETACH DATABASE IF EXISTS store")
    if refused:  # only now, so that two copies of SQLite are never at work on the file
        _copy_by_python(connection, Path(request["database"]), refused)
    for copy in copies:
        for part in copy.parts:
            connection.execute(part)
        if copy.parts:
            Path(copy.path).unlink()


def _copied(connection: Any, copy: CopyRequest) -> bool:
    """Copy rows by DuckDB's own scan, which is fast and trusts the types of the schema."""
    import duckdb

    table = copy.described()
    texts = " OR ".join(f"{quoted(one.name)} = ''" for one in table.columns if one.duckdb_type == "VARCHAR")
    try:
        for name, columns in table.looked_up().items():  # one after the other: a scan is alone in its transaction
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT {', '.join(columns)} FROM store.{name}")
        rows = table.select_raw(f"t.rowid BETWEEN {copy.first} AND {copy.last}", main="store.")
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {RAW_ROWS} AS SELECT *, 0 AS misfits FROM ({rows})")
        connection.execute(copy.statement)
        if texts:  # text that is not UTF-8 is written silently, but refused when it is read
            connection.execute(f"SELECT count(*) FROM read_parquet({literal(copy.path)}) WHERE {texts}").fetchall()
    except (duckdb.TypeMismatchException, duckdb.ConversionException, duckdb.InvalidInputException):
        return False
    return True


def _copy_by_python(connection: Any, database: Path, copies: list[CopyRequest]) -> None:
    """Copy rows, some of which have values of a type other than the schema says."""
    import sqlite3

    import pyarrow as pa

    from finlab_nb.query import delta

    source = sqlite3.connect(
        f"{database.as_uri()}?mode=ro", uri=True, timeout=10.0, isolation_level=None, check_same_thread=False
    )
    with contextlib.closing(source):
        for copy in copies:
            source.execute("BEGIN")
            pieces = delta.raw_rows(source, copy.described(), copy.first, copy.last)
            first = next(pieces, None)
            if first is None:
                first = delta.no_rows(copy.described())
            batches = (batch for piece in itertools.chain([first], pieces) for batch in piece.to_batches())
            connection.execute(f"DROP VIEW IF EXISTS {RAW_ROWS}")
            connection.register(RAW_ROWS, pa.RecordBatchReader.from_batches(first.schema, batches))
            try:
                connection.execute(copy.statement)
            finally:
                connection.unregister(RAW_ROWS)
                source.execute("ROLLBACK")


if __name__ == "__main__":
    main()
