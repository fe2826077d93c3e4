"""The DuckDB of a kernel, which opens nothing but segments."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import duckdb

from finlab_nb.query import results
from finlab_nb.query.replica import delta
from finlab_nb.query.tables import TABLES, literal


def connect(cache: Path) -> duckdb.DuckDBPyConnection:
    """Return a DuckDB in memory with all views, which show no row yet, for segments in this folder."""
    connection = duckdb.connect(":memory:")
    spill = Path(tempfile.gettempdir()) / f"finlab_nb_{os.getpid()}_spill"
    for setting in (
        "SET TimeZone = 'UTC'",
        "SET enable_progress_bar = false",
        "SET parquet_metadata_cache = true",
        # DuckDB would look for variables in this package's own functions; `Frames.sql` looks in the caller's.
        "SET python_enable_replacements = false",
        f"SET temp_directory = {literal(str(spill))}",
        # DuckDB opens the segments and nothing else: no other file, least of all the live database, and no extension,
        # least of all the one for SQLite. What a query may read is for `frames.parsing` to say.
        f"SET allowed_directories = [{literal(str(cache))}]",
        "SET enable_external_access = false",
        "SET lock_configuration = true",
        "CREATE SCHEMA copied",
        "CREATE TABLE copied.moment AS SELECT 0 AS number",
    ):
        connection.execute(setting)
    for table in TABLES.values():
        delta.create(connection, table)
        delta.show(connection, table, ())
    results.create(connection)
    return connection
