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
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from finlab_nb.errors import SchemaChangedError
from finlab_nb.store import schema, triggers

_TABLES: Final = """
    SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'
    AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'strategies\\_search\\_%' ESCAPE '\\'"""
_COLUMNS: Final = f"""
    SELECT t.name, c.name, upper(c.type) FROM ({_TABLES}) AS t, pragma_table_xinfo(t.name) AS c WHERE c.hidden = 0"""
_KEYS: Final = f"""
    SELECT t.name, group_concat(c.name) FROM ({_TABLES}) AS t, pragma_table_info(t.name) AS c
    WHERE c.pk GROUP BY t.name
    UNION SELECT t.name, group_concat(c.name)
    FROM ({_TABLES}) AS t, pragma_index_list(t.name) AS i, pragma_index_info(i.name) AS c
    WHERE i."unique" AND NOT i.partial AND c.name IS NOT NULL GROUP BY t.name, i.name"""
_REFERENCES: Final = f"""
    SELECT t.name, k."from", lower(k."table"), k.on_delete
    FROM ({_TABLES}) AS t, pragma_foreign_key_list(t.name) AS k"""
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
            described = "; ".join(map(str, self._faults))
            raise SchemaChangedError(
                f"another program has changed the tables of {self._path}: {described}; undo that, or restore a "
                "backup. Until then nothing is read or saved"
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
        """Put back what is missing, within the caller's write transaction, and invalidate all caches of earlier rows.

        While a trigger was missing, edits went unnoticed and the search index was not updated.
        """
        ours = _ours(schema.migrations())
        repaired = differences(connection).repairs
        for name in sorted(
            repaired, key=lambda name: ours.serving[name][0] == "trigger"
        ):  # after the views they are on
            kind, sql = ours.serving[name]
            connection.execute(f"DROP {kind} IF EXISTS {name}")
            connection.execute(sql)
        if any(name.startswith(_SEARCH) for name in repaired):
            for statement in FILL_SEARCH:
                connection.execute(statement)
        connection.execute(schema.NEW_GENERATION)
        _log.info("%s: put back what was missing or of another release: %s", self._path, ", ".join(repaired))


def differences(connection: sqlite3.Connection) -> Differences:
    """Compare the schema of a file with ours, within the caller's transaction."""
    wanted = _ours(schema.migrations())
    if wanted.ddl <= set(connection.execute(_DDL).fetchall()):  # identical DDL, which is nearly always the case
        return Differences((), ())
    found = _schema(connection)
    repairs = [
        name
        for name, (_, sql) in wanted.serving.items()
        if name not in found.serving or _without_layout(found.serving[name][1]) != _without_layout(sql)
    ]
    return Differences(tuple(_faults(wanted, found)), tuple(repairs))


# Comparing ----------------------------------------------------------------------------------------------------------


class _Schema(NamedTuple):
    """What matters about a schema."""

    columns: dict[str, dict[str, str]]  # of each table: what SQLite makes of the values of each
    keys: set[tuple[str, frozenset[str]]]  # table and columns of what is unique
    references: set[tuple[str, str, str, str]]
    ddl: set[tuple[str, str, str]]

    @property
    def serving(self) -> dict[str, tuple[str, str]]:
        """Kind and DDL of each index, trigger, view and virtual table."""
        return {
            name: (kind, sql)
            for kind, name, sql in sorted(self.ddl)
            if kind in ("index", "trigger", "view") or sql.startswith("CREATE VIRTUAL")
        }


def _faults(wanted: _Schema, found: _Schema) -> Iterator[Fault]:
    for table, columns in wanted.columns.items():
        there = found.columns.get(table)
        if there is None:
            yield Fault(table, None, "is missing")
            continue
        for column, affinity in columns.items():
            if column not in there:
                yield Fault(table, column, f"is missing (there are {', '.join(there)})")
            elif affinity not in (_ANY, there[column]):
                yield Fault(table, column, f"holds {there[column]} instead of {affinity}")
    for table, key in wanted.keys - found.keys:
        if key <= found.columns.get(table, {}).keys():
            yield Fault(table, None, f"has no unique key of {', '.join(sorted(key))} any more")
    for table, column, parent, _ in wanted.references - found.references:
        if column in found.columns.get(table, {}):
            yield Fault(table, column, f"refers no longer to {parent}, or by another rule for what is deleted there")


@cache
def _ours(migrations: tuple[str, ...]) -> _Schema:
    """Return the schema that the migrations make."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for script in migrations:
            connection.executescript(script)
        triggers.create(connection)
        return _schema(connection)


def _schema(connection: sqlite3.Connection) -> _Schema:
    columns: dict[str, dict[str, str]] = {}
    for table, column, declared in connection.execute(_COLUMNS):
        columns.setdefault(table, {})[column] = _affinity(declared)
    keys = {(table, frozenset(names.split(","))) for table, names in connection.execute(_KEYS)}
    references, ddl = (set(connection.execute(query).fetchall()) for query in (_REFERENCES, _DDL))
    return _Schema(columns, keys, references, ddl)


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
