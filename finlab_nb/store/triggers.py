"""The triggers that keep `edited_rows`, made from one template for every table that the replica copies.

Rows are grouped in buckets of 1024 rowids. When any program changes, replaces or removes rows of a bucket, it gets a
new random stamp. An ordinary append is not an edit.

SQLite fires no DELETE trigger for a row that INSERT OR REPLACE or UPDATE OR REPLACE removes, so these rows are looked
up before. Stamps are written by DELETE and INSERT instead of REPLACE, because the conflict policy of the outer
statement would override that of the trigger.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from finlab_nb.records.tables import TABLES, Table

BUCKET_BITS: Final = 10

# Before an INSERT, NEW.rowid is -1 if SQLite will choose it.
_REPLACED: Final = """CREATE TRIGGER {table}_replaced BEFORE INSERT ON {table}
WHEN NEW.rowid <> -1{or_replaces} BEGIN
    {stamps_of_replaced}
END"""
_OVERWRITTEN: Final = """CREATE TRIGGER {table}_overwritten BEFORE UPDATE OF {key_columns} ON {table}
WHEN EXISTS (SELECT 1 FROM {table} WHERE ({same_key}) AND rowid <> OLD.rowid) BEGIN
    {stamps_of_replaced}
END"""
_UPDATED: Final = """CREATE TRIGGER {table}_updated AFTER UPDATE ON {table} BEGIN
    {stamp_of_old}
    {stamp_of_new}
END"""
_DELETED: Final = """CREATE TRIGGER {table}_deleted AFTER DELETE ON {table} BEGIN
    {stamp_of_old}
END"""

_STAMP: Final = """DELETE FROM edited_rows WHERE table_name = '{table}' AND bucket = {row}.rowid >> {bits};
    INSERT INTO edited_rows VALUES ('{table}', {row}.rowid >> {bits}, random());"""
_STAMPS: Final = """DELETE FROM edited_rows WHERE table_name = '{table}' AND bucket IN ({buckets});
    INSERT INTO edited_rows SELECT '{table}', bucket, random() FROM ({buckets});"""
_BUCKETS: Final = (
    "SELECT rowid >> {bits} AS bucket FROM {table} WHERE {same_key} "
    "UNION SELECT NEW.rowid >> {bits} WHERE NEW.rowid <> -1"
)


def statements() -> Iterator[tuple[str, str]]:
    """Yield the name and the DDL of each trigger."""
    for table in TABLES.values():
        templates = [_REPLACED, _UPDATED, _DELETED] if table.copied else []
        if table.copied and table.keys:
            templates.append(_OVERWRITTEN)
        for template in templates:
            statement = _filled(template, table)
            yield statement.split()[2], statement


def create(connection: sqlite3.Connection) -> None:
    """Create the triggers, replacing existing ones."""
    for name, statement in statements():
        connection.execute(f"DROP TRIGGER IF EXISTS {name}")
        connection.execute(statement)


def _filled(template: str, table: Table) -> str:
    same_key = " OR ".join(f"({' AND '.join(f'{name} = NEW.{name}' for name in key)})" for key in table.keys)
    parts = {"table": table.name, "bits": BUCKET_BITS, "same_key": same_key or "rowid = NEW.rowid"}
    buckets = _BUCKETS.format(**parts)
    return template.format(
        **parts,
        or_replaces=f" OR EXISTS (SELECT 1 FROM {table.name} WHERE {same_key})" if same_key else "",
        key_columns=", ".join(sorted({name for key in table.keys for name in key})),
        stamps_of_replaced=_STAMPS.format(**parts, buckets=buckets),
        stamp_of_old=_STAMP.format(**parts, row="OLD"),
        stamp_of_new=_STAMP.format(**parts, row="NEW"),
    )
