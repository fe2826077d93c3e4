"""A second source for the frames: plain DuckDB tables, copied anew whenever the store has changed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Hashable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from finlab_nb.errors import QueryError
from finlab_nb.query.replica import delta
from finlab_nb.query.results import SOURCES, Results, rebuilt
from finlab_nb.query.source import Answer, Question
from finlab_nb.query.tables import TABLES, literal
from finlab_nb.store import series
from finlab_nb.store.pool import ConnectionPool

ALL_ROWS = (-(2**63), 2**63 - 1)


class PlainMoment:
    """The tables as they were copied; see `finlab_nb.query.source.Moment`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, results: Results) -> None:
        self.connection = connection
        self.results = results

    def rows_of(self, table: str, owners: Sequence[str]) -> str:
        listed = ", ".join(map(literal, owners))
        if not owners:
            return table
        described = TABLES[table]
        return f"(SELECT {described.names} FROM copied.{table} WHERE {described.owner} IN ({listed})) AS {table}"

    def held(self, table: str) -> set[str]:
        names = [column.name for column in TABLES[table].shown]
        counts = ", ".join(f'count("{name}")' for name in names)
        (found,) = self.connection.execute(f"SELECT {counts} FROM copied.{table}").fetchall()
        return {name for name, count in zip(names, found, strict=True) if count}

    def bad_values(self, tables: Collection[str]) -> dict[str, dict[str, int]]:
        lost = {}
        for table in (TABLES[name] for name in tables if name in TABLES):
            counts = ", ".join(f"count_if(bad_values & {1 << place} > 0)" for place in range(len(table.columns)))
            (found,) = self.connection.execute(f"SELECT {counts} FROM copied.{table.name}").fetchall()
            counted = {column.name: count for column, count in zip(table.columns, found, strict=True) if count}
            if counted:
                lost[table.name] = counted
        return lost


def _hide(connection: duckdb.DuckDBPyConnection, named: Collection[str], *, whole: bool) -> None:
    """Hide what a question may not read: tables that it did not name, and views of tables that it reads by owners."""
    for table in TABLES:
        if table not in named:
            connection.execute(f"CREATE TEMP VIEW {table} AS SELECT error('{table} is not named')")
        elif not whole:
            names = TABLES[table].names
            connection.execute(f"CREATE TEMP VIEW {table} AS SELECT {names} FROM copied.{table} WHERE false")


class PlainSource:
    """Tables of DuckDB over one store; see `finlab_nb.query.source.Source`."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._version: Hashable = None
        self._results = Results()
        self._duck = duckdb.connect(":memory:")
        for statement in (
            "SET TimeZone = 'UTC'",
            "SET python_enable_replacements = false",
            "SET enable_external_access = false",
            "CREATE SCHEMA copied",
        ):
            self._duck.execute(statement)

    def answer(
        self, question: Question[Answer], tables: Collection[str], owners: Sequence[str] | None = None
    ) -> Answer:
        with self._lock, self._duck.cursor() as cursor:
            self._refresh()
            cursor.execute("BEGIN TRANSACTION")
            try:
                _hide(cursor, {*tables, *(SOURCES if "results" in tables else ())}, whole=owners is None)
                return question(PlainMoment(cursor, self._results))
            except duckdb.Error as error:
                raise QueryError(str(error)) from error
            finally:
                with contextlib.suppress(duckdb.Error):
                    cursor.execute("ROLLBACK")

    def stream(self, question: Question[pa.RecordBatchReader], tables: Collection[str]) -> pa.RecordBatchReader:
        return self.answer(lambda moment: question(moment).read_all(), tables).to_reader()

    def version(self) -> Hashable:
        return self._pool.data_version()

    def series_names(self) -> list[tuple[Any, ...]]:
        with self._pool.snapshot() as source:
            return series.names(source)

    @property
    def own_paths(self) -> tuple[Path, Path]:
        return self._pool.path, self._pool.path.with_name(f"{self._pool.path.name}.cache")

    def _refresh(self) -> None:
        version = self.version()
        if version == self._version:
            return
        with self._pool.snapshot() as store:
            for table in TABLES.values():
                self._duck.execute(f"CREATE OR REPLACE TABLE copied.{table.name} ({table.definition})")
                delta.read(self._duck, store, table, [ALL_ROWS])
                self._duck.execute(
                    f"CREATE OR REPLACE VIEW {table.name} AS SELECT {table.names} FROM copied.{table.name}"
                )
                self._duck.execute(
                    f"CREATE OR REPLACE VIEW copied.{table.name}_rows AS SELECT * FROM copied.{table.name}"
                )
        self._results = rebuilt(self._duck)
        self._version = version
