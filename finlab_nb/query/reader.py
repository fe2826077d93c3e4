"""The child process that copies rows of the database file to Parquet segments, once, and ends.

DuckDB's SQLite extension brings its own copy of SQLite. In the process that holds the pool it would drop the pool's
locks on the file and corrupt it, so it lives in a separate process: ``python -m finlab_nb.query.reader``. Where no
extension fits the installed DuckDB, and for ranges of a large table, Python's own SQLite reads the rows: the extension
can only scan a table from end to end.

It reads a request in JSON from stdin, and writes a line to stdout for each segment that it has published. It never
writes to the database, reads in one transaction on one thread (each thread of a scan would see a different moment),
and ends when its parent does.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from finlab_nb.query.columns import Column, Table, literal, parquet, quoted
from finlab_nb.query.raw_rows import no_rows, raw_rows
from finlab_nb.query.replica.segment_files import Contents, publish

RAW_ROWS: Final = "raw_rows"  # what the typed rows of a request are made of: row_id, the raw columns, misfits

_EXTENSION_PACKAGES: Final = ("duckdb_extension_sqlite_scanner/extensions", ".duckdb_extensions")
_SETTINGS: Final = (
    "SET enable_progress_bar = false",
    "SET TimeZone = 'UTC'",
    # A join that reads the large table first keeps its order.
    "SET disabled_optimizers = 'join_order,build_side_probe_side'",
)
# Chosen for fast unpacking, which every question does: zstd would save a quarter of the disk space and take twice as
# long. With DuckDB's usual 122,880 rows a group 500 trades of one iteration are unpacked in a quarter more time; with
# 20,480 and fewer all questions are slower, because they look at the statistics of so many groups.
_PARQUET: Final = "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION lz4_raw, ROW_GROUP_SIZE 40960"


@dataclass(frozen=True, slots=True)
class TableRequest:
    """The segments to be made of one table.

    Attributes
    ----------
    table
        What is read of it. The child knows no description of the tables: importing it takes a quarter second.
    typed_rows
        The SELECT that makes typed rows of `RAW_ROWS`.
    is_scan
        Whether the segments are so much of the table that a scan of all of it is quicker.
    segments
        For each segment a temporary path for its rows, and what it is to hold.
    """

    table: Table
    typed_rows: str
    is_scan: bool
    segments: Sequence[tuple[str, Contents]]


def written(database: Path, requests: Sequence[TableRequest]) -> str:
    """Return a request as text."""
    return json.dumps({"database": str(database), "tables": [asdict(one) for one in requests]})


def _read(text: str) -> tuple[Path, list[TableRequest]]:
    request = json.loads(text)
    return Path(request["database"]), [_table_request(**one) for one in request["tables"]]


def _table_request(table: dict[str, Any], segments: list[Any], **others: Any) -> TableRequest:
    columns = tuple(Column(**column) for column in table.pop("columns"))
    numbered = [(path, _contents(**contents)) for path, contents in segments]
    return TableRequest(table=Table(**table, columns=columns), segments=numbered, **others)


def _contents(stamps: dict[str, int], fingerprint: dict[str, str | None], **others: Any) -> Contents:
    return Contents(
        stamps={int(bucket): stamp for bucket, stamp in stamps.items()},
        fingerprint={int(place): owner for place, owner in fingerprint.items()},
        **others,
    )


def main() -> None:
    """Carry out the request on stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt in the notebook is meant for the parent
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    gc.disable()  # rows are millions of tuples in no circle, and this process ends soon
    database, requests = _read(sys.stdin.read())
    connection = duckdb.connect(":memory:")
    for setting in _SETTINGS:
        connection.execute(setting)
    can_scan = any(one.is_scan for one in requests) and _load_extension(connection)
    for request in requests:
        # One after the other: two copies of SQLite are never at work on the file.
        if not (can_scan and request.is_scan and _scan(connection, database, request)):
            _copy(connection, database, request)


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def _load_extension(connection: duckdb.DuckDBPyConnection) -> bool:
    """Load the extension that belongs to this DuckDB, if it is installed here."""
    connection.execute("SET autoinstall_known_extensions = false")  # LOAD would ask the internet for what is not here
    attempts = ["LOAD sqlite_scanner"]
    for folder in sys.path:
        for package in _EXTENSION_PACKAGES:
            found = Path(folder, package).glob(f"**/v{duckdb.__version__}/**/sqlite_scanner.duckdb_extension")
            attempts += [f"LOAD {literal(str(path))}" for path in found]
    for attempt in attempts:
        with contextlib.suppress(duckdb.Error):
            connection.execute(attempt)
            connection.execute("SET sqlite_disable_multithreaded_scans = true")
            return True
    return False


def _scan(connection: duckdb.DuckDBPyConnection, database: Path, request: TableRequest) -> bool:
    """Copy all rows by DuckDB's own scan, which trusts the types of the schema, and make the segments of the copy.

    Returns
    -------
    bool
        Whether all values have the types that they should.
    """
    whole = Path(request.segments[0][0]).with_suffix(".whole.tmp")
    whole.parent.mkdir(parents=True, exist_ok=True)
    table, (first, last) = request.table, (request.segments[0][1].first, request.segments[-1][1].last)
    texts = " OR ".join(f"{quoted(one.name)} = ''" for one in table.columns if one.duckdb_type == "VARCHAR")
    copied = parquet(literal(str(whole)))
    try:
        connection.execute(f"ATTACH {literal(str(database))} AS store (TYPE sqlite, READ_ONLY, BUSY_TIMEOUT 10000)")
        connection.execute("BEGIN TRANSACTION")
        for name, columns in table.looked_up().items():  # one after the other: a scan is alone in its transaction
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT {', '.join(columns)} FROM store.{name}")
        rows = table.select_raw(f"t.rowid BETWEEN {first} AND {last}", main="store.")
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {RAW_ROWS} AS SELECT *, 0 AS misfits FROM ({rows})")
        connection.execute(f"COPY ({request.typed_rows}) TO {literal(str(whole))} ({_PARQUET})")
        # Text that is not UTF-8 is written silently, but refused when it is read.
        connection.execute(f"SELECT count(*) FROM {copied} WHERE {texts or 'false'}").fetchall()
        connection.execute("ROLLBACK")
        for path, contents in request.segments:
            of_segment = f"SELECT * FROM {copied} WHERE row_id BETWEEN {contents.first} AND {contents.last}"
            _write(connection, of_segment, Path(path), contents, table)
        return True
    except (duckdb.TypeMismatchException, duckdb.ConversionException, duckdb.InvalidInputException):
        return False
    finally:
        with contextlib.suppress(duckdb.Error):  # there is no transaction if it came to its end
            connection.execute("ROLLBACK")
        connection.execute("DETACH DATABASE IF EXISTS store")
        connection.execute(f"DROP VIEW IF EXISTS {RAW_ROWS}")
        whole.unlink(missing_ok=True)


def _copy(connection: duckdb.DuckDBPyConnection, database: Path, request: TableRequest) -> None:
    """Copy the rows of each segment by Python's SQLite, whatever their types are."""
    uri = f"{database.as_uri()}?mode=ro"
    source = sqlite3.connect(uri, uri=True, timeout=10.0, isolation_level=None, check_same_thread=False)
    with contextlib.closing(source):
        for path, contents in request.segments:
            source.execute("BEGIN")
            pieces = raw_rows(source, request.table, contents.first, contents.last)
            first = next(pieces, None)
            if first is None:
                first = no_rows(request.table)
            batches = (batch for piece in itertools.chain([first], pieces) for batch in piece.to_batches())
            connection.register(RAW_ROWS, pa.RecordBatchReader.from_batches(first.schema, batches))
            try:
                _write(connection, request.typed_rows, Path(path), contents, request.table)
            finally:
                connection.unregister(RAW_ROWS)
                source.execute("ROLLBACK")


def _write(
    connection: duckdb.DuckDBPyConnection, query: str, temporary: Path, contents: Contents, table: Table
) -> None:
    """Write the rows of a query as a segment, and say so."""
    temporary.parent.mkdir(parents=True, exist_ok=True)  # somebody may have removed the cache meanwhile
    connection.execute(f"COPY ({query}) TO {literal(str(temporary))} ({_PARQUET})")
    publish(connection, temporary, contents, table.owner)
    sys.stdout.write(json.dumps([contents.table, contents.last - contents.first + 1]) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
