"""The description of the stored tables, held against each place that tells the same fact in its own language."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from packaging.version import Version

import finlab_nb as fl
from finlab_nb import records
from finlab_nb.query import tables as replica
from finlab_nb.records.tables import TABLES, Column, Table
from finlab_nb.store import schema, triggers

DECLARED = {
    "text": {"TEXT"},
    "float": {"REAL"},
    "whole": {"INTEGER"},
    "flag": {"INTEGER"},
    "date": {"TEXT"},
    "moment": {"TEXT"},
    "object": {"JSON"},
    "array": {"JSON"},
}
# Tables of the store that no description is needed for: nobody outside one module reads them.
OWN_TABLES = {"store_state", "edited_rows", "adoption_notes", "strategies_search", "changes"}


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for script in schema.migrations():
            for statement in schema.statements(script):
                connection.execute(statement)
        yield connection


def columns(connection: sqlite3.Connection, table: str) -> list[tuple[str, str, bool, int]]:
    query = 'SELECT name, type, "notnull", pk FROM pragma_table_info(?)'
    return [(name, kind, bool(filled), key) for name, kind, filled, key in connection.execute(query, (table,))]


def test_every_table_of_the_schema_is_described(database: sqlite3.Connection) -> None:
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    stored = {name for (name,) in database.execute(query) if not name.startswith("strategies_search_")}
    assert stored - OWN_TABLES == set(TABLES), "describe a new table in records/tables.py"


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_ddl_has_the_columns_that_are_described(table: Table, database: sqlite3.Connection) -> None:
    stored = columns(database, table.name)
    where = "records/tables.py and store/migrations differ"
    assert tuple(name for name, *_ in stored) == table.stored_names, where
    for (name, kind, filled, _), column in zip(stored, table.columns, strict=True):
        declared = DECLARED[
            "whole" if table.owner_key is not None and name == table.owner_key.column else column.rule.kind
        ]
        assert kind in declared, f"{where} in the type of {table.name}.{name}"
        assert not (filled and column.nullable), f"{where} in whether {table.name}.{name} can be unknown"
    keys = {frozenset(key) for key in table.keys}
    unique = set()
    for index, is_unique in database.execute(
        'SELECT name, "unique" FROM pragma_index_list(?)', (table.name,)
    ).fetchall():
        if is_unique:
            unique.add(
                frozenset(name for (name,) in database.execute("SELECT name FROM pragma_index_info(?)", (index,)))
            )
    assert unique == keys, f"{where} in the unique keys of {table.name}"
    primary = [(name, kind) for name, kind, _, key in stored if key]
    row_keys = [(table.row_key, "INTEGER")] if table.row_key else []
    assert [one for one in primary if len(primary) == 1 and one[1] == "INTEGER"] == row_keys, (
        f"{where} in the row key of {table.name}"
    )
    references = dict(database.execute('SELECT "from", "table" FROM pragma_foreign_key_list(?)', (table.name,)))
    described = {one.name: one.refers_to for one in table.columns if one.refers_to}
    if table.owner_key is not None:
        del described[table.owner]
        described[table.owner_key.column] = table.owner_key.table
    assert references == described, where


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_replica_copies_every_column_of_a_copied_table(table: Table) -> None:
    copied = replica.TABLES.get(table.name)
    assert (copied is not None) == table.copied
    if copied is not None:
        assert [(one.name, one.kind) for one in copied.columns] == [(one.name, one.rule.kind) for one in table.columns]


def test_every_copied_table_has_its_triggers() -> None:
    names = {name for name, _ in triggers.statements()}
    for table in TABLES.values():
        own = {f"{table.name}_{kind}" for kind in ("replaced", "updated", "deleted")}
        own |= {f"{table.name}_overwritten"} if table.keys else set()
        own |= (
            {f"{table.name}_owner_{kind}" for kind in ("inserted", "updated", "deleted")} if table.owner_key else set()
        )
        own |= {f"{table.name}_zone_{kind}" for kind in ("inserted", "updated")} if table.zones else set()
        assert {name for name in names if re.fullmatch(rf"{table.name}(_owner|_zone)?_[a-z]+", name)} == (
            own if table.copied else set()
        )


RECORDS = {
    "strategies": [field.name for field in dataclasses.fields(records.Strategy)],
    "iterations": [field.name for field in dataclasses.fields(records.Iteration)][: len(TABLES["iterations"].columns)],
    "suggestions": [field.name for field in dataclasses.fields(records.Suggestion)],
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_has_the_fields_that_are_stored(name: str) -> None:
    table = TABLES[name]
    # An id of its own that a suggestion gets, and whose it is.
    later = {"suggestion_id"} | ({"iteration_id"} if name == "suggestions" else set())
    wanted = [one for one in table.names if one not in later]
    assert RECORDS[name] == wanted, f"records/__init__.py lacks or misplaces a column of {name}"


# Values of every storage class, and those that stand just outside what a rule allows.
ODD: list[Any] = [
    None, 0, 1, 2, -1, 2**62, 0.0, 0.5, -0.5, 1.5, float("inf"), float("-inf"), "", " ", "text", "2330", "high", "open",
    "urgent", "2024-01-02", "2024-02-30", "2024-1-2", "2024-01-02T09:00:00", "2024-01-02 25:00:00", "soon", "{}",
    '{"a": 1}', "[]", "[1]", "{", "null", "1", b"", b"2330", b"\xff",
]  # fmt: skip


def _kept_out(connection: sqlite3.Connection, table: Table, column: Column, value: Any) -> bool:
    """Tell whether the CHECKs and NOT NULL keep another program from writing a value into the column."""
    row = {stored: _fitting(one) for stored, one in zip(table.stored_names, table.columns, strict=True)}
    row |= {table.owner_key.column: 1} if table.owner_key is not None else {}
    row |= {one: None for one in row if one in ("exit_date", "parent_strategy_id")}
    row[column.name] = value
    connection.execute("SAVEPOINT before")
    try:
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO {table.name} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
        return False
    except (sqlite3.IntegrityError, sqlite3.OperationalError):  # malformed JSON is the latter
        return True
    finally:
        connection.execute("ROLLBACK TO before")
        connection.execute("RELEASE before")


def _fitting(column: Column) -> Any:
    if column.rule.words:
        return column.rule.words[0]
    if column.rule.above == 0:
        return 1.0
    return {
        "text": "x", "float": -0.0, "whole": 1, "flag": 0, "date": "2024-01-02", "moment": "2024-01-02T00:00:00Z",
        "object": "{}", "array": "[]",
    }[column.rule.kind]  # fmt: skip


def _breaks_the_rule(connection: sqlite3.Connection, column: Column, value: Any) -> bool:
    """Tell whether a value, as the column stores it, breaks the rule of the description."""
    affinity = next(iter(DECLARED[column.rule.kind]))
    connection.execute(f"CREATE TEMP TABLE one ({column.name} {affinity})")
    try:
        connection.execute("INSERT INTO one VALUES (?)", (value,))
        # A rule may look at its neighbours.
        row = "one" if column.name == "entry_date" else "(SELECT *, NULL AS entry_date, 1.0 AS exit_price FROM one)"
        query = f"SELECT {column.name} IS NULL, ifnull({column.rule.condition.format(column.name)}, 0) FROM {row}"
        unknown, met = connection.execute(query).fetchone()
        return not (column.nullable if unknown else met)
    finally:
        connection.execute("DROP TABLE one")


def _is_looser(value: Any, column: Column) -> bool:
    """Tell whether the CHECKs of this schema are known to let the value in; `check()` finds it all the same."""
    if isinstance(value, bytes):  # neither empty text nor, without bytes, a date
        return column.rule.kind == "text" or (column.rule.kind == "date" and not value)
    if value == " ":  # `check` wants more than blanks where text must not be empty
        return column.rule.kind == "text"
    if column.rule.kind == "float":  # infinity has the type of a number
        return isinstance(value, float) and abs(value) == float("inf")
    return column.rule.kind == "date" and value == "2024-01-02 25:00:00"  # the CHECK looks at the day alone


CHECKED = [
    pytest.param(table, column, id=f"{table.name}.{column.name}")
    for table in TABLES.values()
    for column in table.columns
    if column.name != table.row_key
    and column.refers_to is None
    and column.name not in ("strategy_id", "iteration_id", table.owner)
]


@pytest.mark.parametrize(("table", "column"), CHECKED)
def test_the_checks_of_the_schema_keep_out_what_breaks_the_rules(
    table: Table, column: Column, database: sqlite3.Connection
) -> None:
    database.execute("PRAGMA foreign_keys = OFF")
    for value in ODD:
        kept_out, breaks = _kept_out(database, table, column, value), _breaks_the_rule(database, column, value)
        if breaks and not kept_out:
            assert _is_looser(value, column), (
                f"the CHECK of {table.name}.{column.name} lets {value!r} in, the rule of records/tables.py does not"
            )
        assert breaks or not kept_out, (
            f"the CHECK of {table.name}.{column.name} keeps {value!r} out, the rule of records/tables.py does not"
        )


def test_the_newest_migration_names_the_release_that_reads_it() -> None:
    scripts = schema.migrations()
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for number, script in enumerate(scripts, 1):
            if number == len(scripts) and number > 2:
                connection.execute("UPDATE store_state SET needs_release = NULL")
            for statement in schema.statements(script):
                connection.execute(statement)
        (needed,) = connection.execute("SELECT needs_release FROM store_state").fetchone()
    newest = f"store/migrations: the newest file, {len(scripts):04}_*.sql,"
    assert needed, f"{newest} must set store_state.needs_release to the release that it comes with"
    assert Version(needed) <= Version(fl.__version__), (
        f"{newest} names the release {needed}, this one is {fl.__version__}"
    )


# How a value of a column reaches the checks of a save.
GIVEN = {
    "trades": lambda given: {"trades": [TRADE | given]},
    "equity": lambda given: {"equity": [{"date": "2024-01-02", "equity": 1.0} | given]},
    "metrics": lambda given: {"metrics": given},
    "extra_metrics": lambda given: {"extra_metrics": {given.get("name", "x"): given.get("value", 1.0)}},
    "suggestions": lambda given: {"suggestions": [{"priority": "low", "description": "x"} | given]},
    "tags": lambda given: {"tags": [given["tag"]]},
    "provenance": lambda given: {"provenance": given},
}
TRADE = {
    "stock_code": "2330", "entry_date": "2023-01-02", "exit_date": None, "entry_price": 1.0, "exit_price": 1.0,
    "position_size": 1.0, "profit_loss": 1.0,
}  # fmt: skip


def _is_saved(table: Table, column: Column, value: Any) -> bool:
    try:
        records.iteration_record("a strategy", **GIVEN[table.name]({column.name: value}), exact=True)
    except ValueError:
        return False
    return True


TYPES = {"text": str, "float": float, "whole": int, "date": str}  # in Python, by kind


@pytest.mark.parametrize(
    ("table", "column"),
    [one for one in CHECKED if one.values[0].name in GIVEN and one.values[1].rule.kind in TYPES],
)
def test_a_save_takes_what_the_rules_allow(table: Table, column: Column, database: sqlite3.Connection) -> None:
    own = TYPES[column.rule.kind]
    where = f"for {table.name}.{column.name}"
    for value in ODD:
        saved = _is_saved(table, column, value)
        if value is None:
            assert saved != column.required, f"records {'takes' if saved else 'refuses'} no value {where}"
        elif type(value) is own:
            breaks = _breaks_the_rule(database, column, value)
            assert saved != breaks, (
                f"records {'takes' if saved else 'refuses'} {value!r} {where}, the rule of records/tables.py "
                f"{'does not' if breaks else 'takes it'}"
            )
        elif {type(value), own} != {int, float}:  # 1 and 1.0 are stored as each other
            assert not saved, f"records makes a {own.__name__} of {value!r} {where}"
