"""Whether the schema of a file is still ours after other programs have used the file.

`pandas.to_sql(if_exists="replace")`, a table rebuilt by `sqlite-utils transform`, a DROP TRIGGER: another program may
change what saves and answers rely on. SQLite counts every change of a schema in `schema_version`, so one look at that
number in each transaction tells whether to compare it again with the schema that the migrations make.

Objects that only serve the tables are repaired: a missing or changed index, trigger or view, and the search index. All
else is a fault, which every call reports until it is undone: a missing table or column, a column of another type, a
missing key or reference. Further tables, columns, indexes and triggers are ignored. CHECKs, NOT NULL and defaults only
keep other programs from writing nonsense; `check` finds what got past them.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from finlab_nb.errors import SchemaChangedError
from finlab_nb.store import schema, triggers

_TABLES: Final = """
    SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'
    AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'strategies\\_search\\_%' ESCAPE '\\'"""
_COLUMNS: Final = "SELECT name, upper(type), pk FROM pragma_table_xinfo(?) WHERE hidden = 0"
_REFERENCES: Final = 'SELECT "from", lower("table"), on_delete FROM pragma_foreign_key_list(?)'
_INDEXES: Final = """
    SELECT i.name, i."unique", i.partial, (SELECT group_concat(name, ', ') FROM (
        SELECT name FROM pragma_index_info(i.name) ORDER BY seqno))
    FROM pragma_index_list(?) AS i"""
_SERVING: Final = """
    SELECT type, name, sql FROM sqlite_schema
    WHERE sql IS NOT NULL AND (type IN ('index', 'trigger', 'view') OR sql LIKE 'CREATE VIRTUAL%')"""
_DDL: Final = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
_SEARCH: Final = "strategies_search"
FILL_SEARCH: Final = (
    f"INSERT INTO {_SEARCH} ({_SEARCH}) VALUES ('delete-all')",
    f"INSERT INTO {_SEARCH} (rowid, name, code) SELECT rowid, name, code FROM strategies",
)

_log = logging.getLogger(__name__)


class Fault(NamedTuple):
    """A difference in a table that cannot be repaired automatically."""

    table: str
    column: str | None
    problem: str

    def __str__(self) -> str:
        where = f"the table {self.table}" if self.column is None else f"the column {self.table}.{self.column}"
        return f"{where} {self.problem}"


class Differences(NamedTuple):
    """How a schema differs from ours: the faults, and the names of what can be repaired."""

    faults: tuple[Fault, ...]
    repairs: tuple[str, ...]


class SchemaWatch:
    """What is known about the schema of one file.

    Parameters
    ----------
    path
        The file, for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.forget()

    def forget(self) -> None:
        """Forget the schema, because the name now belongs to another file."""
        self._version: int | None = None
        self._faults: tuple[Fault, ...] = ()

    def holds(self, connection: sqlite3.Connection) -> bool:
        """Tell, by one look at a number, whether the schema is the one compared last.

        Raises
        ------
        SchemaChangedError
            If it is, and it had faults.
        """
        (version,) = connection.execute("PRAGMA schema_version").fetchone()
        if version != self._version:
            return False
        if self._faults:
            raise SchemaChangedError(
                f"another program has changed the tables of {self._path}: {described(self._faults)}; undo that, or "
                "restore a backup. Until then nothing is read or saved"
            )
        return True

    def compare(self, connection: sqlite3.Connection) -> bool:
        """Compare within the caller's transaction, and tell whether `repair` is needed."""
        found = differences(connection)
        if not found.repairs or found.faults:
            self._faults = found.faults  # before the version that vouches for them, for other threads
            (self._version,) = connection.execute("PRAGMA schema_version").fetchone()
            return False
        return True

    def repair(self, connection: sqlite3.Connection) -> None:
        """Put back what is missing, within the caller's write transaction."""
        _repair(connection, differences(connection).repairs, self._path)


def differences(connection: sqlite3.Connection) -> Differences:
    """Compare the schema of a file with ours, within the caller's transaction."""
    wanted = _ours(schema.migrations())
    if wanted.ddl <= set(connection.execute(_DDL).fetchall()):  # identical DDL, which is nearly always the case
        return Differences((), ())
    found = _objects(connection)
    faults = [fault for name, table in wanted.tables.items() for fault in _faults(name, table, found.tables.get(name))]
    repairs = [
        name
        for name, one in wanted.serving.items()
        if name not in found.serving or found.serving[name].content != one.content
    ]
    return Differences(tuple(faults), tuple(repairs))


def described(faults: Iterable[Fault]) -> str:
    """Return faults as one sentence."""
    return "; ".join(map(str, faults))


def _repair(connection: sqlite3.Connection, names: Iterable[str], path: Path) -> None:
    """Put back indexes, triggers and the search index, and invalidate all caches of earlier rows.

    While a trigger was missing, edits went unnoticed and the search index was not updated.
    """
    ours = _ours(schema.migrations())
    repaired = list(names)
    for name in repaired:
        one = ours.serving[name]
        connection.execute(f"DROP {one.kind} IF EXISTS {name}")
        connection.execute(one.sql)
    if any(name.startswith(_SEARCH) for name in repaired):
        for statement in FILL_SEARCH:
            connection.execute(statement)
    connection.execute(schema.NEW_GENERATION)
    _log.info("%s: put back what was missing or of another release: %s", path, ", ".join(repaired))


# Comparing ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Table:
    """What matters about a table: columns with what SQLite makes of their values, unique keys, references."""

    columns: dict[str, str] = field(default_factory=dict)
    unique: set[frozenset[str]] = field(default_factory=set)
    references: set[tuple[str, str, str]] = field(default_factory=set)


class _Serving(NamedTuple):
    """An index, a trigger, a view or a virtual table: its meaning in comparable form, and its DDL."""

    kind: str
    content: str
    sql: str


class _Objects(NamedTuple):
    """What a schema consists of, by name."""

    tables: dict[str, _Table]
    serving: dict[str, _Serving]
    ddl: set[tuple[str, str, str]]


def _faults(name: str, wanted: _Table, found: _Table | None) -> Iterator[Fault]:
    if found is None:
        yield Fault(name, None, "is missing")
        return
    for column, affinity in wanted.columns.items():
        if column not in found.columns:
            yield Fault(name, column, f"is missing (there are {', '.join(found.columns)})")
        elif affinity not in (_ANY, found.columns[column]):
            yield Fault(name, column, f"holds {found.columns[column]} instead of {affinity}")
    for key in wanted.unique - found.unique:
        if key <= found.columns.keys():
            yield Fault(name, None, f"has no unique key of {', '.join(sorted(key))} any more")
    for column, parent, _ in wanted.references - found.references:
        if column in found.columns:
            yield Fault(name, column, f"refers no longer to {parent}, or by another rule for what is deleted there")


@cache
def _ours(migrations: tuple[str, ...]) -> _Objects:
    """Return the schema that the migrations make."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for script in migrations:
            for statement in schema.statements(script):
                connection.execute(statement)
        triggers.create(connection)
        return _objects(connection)


def _objects(connection: sqlite3.Connection) -> _Objects:
    tables: dict[str, _Table] = {}
    covered: dict[str, str] = {}  # by index
    for (name,) in connection.execute(_TABLES).fetchall():
        tables[name] = table = _Table()
        key = set()
        for column, declared, place in connection.execute(_COLUMNS, (name,)).fetchall():
            table.columns[column] = _affinity(declared)
            if place:
                key.add(column)
        if key:
            table.unique.add(frozenset(key))
        table.references.update(connection.execute(_REFERENCES, (name,)).fetchall())
        for index, unique, partial, columns in connection.execute(_INDEXES, (name,)).fetchall():
            covered[index] = f"{name} ({columns}) unique={unique} partial={partial}"
            if unique and not partial and columns is not None:
                table.unique.add(frozenset(columns.split(", ")))
    serving = {
        name: _Serving(kind.upper(), covered.get(name) or _without_layout(sql), sql)
        for kind, name, sql in connection.execute(_SERVING).fetchall()
    }
    return _Objects(tables, serving, set(connection.execute(_DDL).fetchall()))


def _without_layout(sql: str) -> str:
    """Return DDL without the quotes that SQLite puts around the name of a renamed table."""
    return " ".join(sql.replace('"', "").split())


def _affinity(declared: str) -> str:
    """Return what SQLite makes of values (https://sqlite.org/datatype3.html, 3.1); JSON is fine in any column."""
    return next((affinity for words, affinity in _AFFINITIES if any(word in declared for word in words)), "NUMERIC")


_ANY: Final = "JSON"
_AFFINITIES: Final = (
    (("JSON",), _ANY),
    (("INT",), "INTEGER"),
    (("CHAR", "CLOB", "TEXT"), "TEXT"),
    (("BLOB",), "BLOB"),
    (("REAL", "FLOA", "DOUB"), "REAL"),
)
