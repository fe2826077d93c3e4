"""The triggers that keep `edited_rows`, made from one template for every table that the replica copies.

Rows are grouped in buckets of 1024 rowids, or of 16 where they hold code. When any program changes, replaces or
removes rows of a bucket, it gets a new random stamp. An ordinary append is not an edit. When the owner's key or the
zone of rows changes, they count as changed. A deletion of ours stamps all buckets of an iteration first
(`store.deleting`), and not with each row.

SQLite fires no DELETE trigger for a row that INSERT OR REPLACE or UPDATE OR REPLACE removes, so these rows are looked
up before. Stamps are written by DELETE and INSERT instead of REPLACE, because the conflict policy of the outer
statement would override that of the trigger.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from finlab_nb.records.tables import TABLES, Table

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
# IS NOT: without the row of store_state too.
_DELETED: Final = """CREATE TRIGGER {table}_deleted AFTER DELETE ON {table}
WHEN (SELECT deleting FROM store_state) IS NOT 1 BEGIN
    {stamp_of_old}
END"""

# What a row shows also depends on other tables: on that with its owner's key, and on that with its zone. When these
# change, the rows of the owner are as if changed. An INSERT too can change them, in the place of another row.
_OWNER_INSERTED: Final = """CREATE TRIGGER {table}_owner_inserted BEFORE INSERT ON {keys}
WHEN EXISTS (SELECT 1 FROM {table} WHERE {of_new}) BEGIN
    {stamps_of_new}
END"""
_OWNER_UPDATED: Final = """CREATE TRIGGER {table}_owner_updated BEFORE UPDATE OF {key}, {owner} ON {keys} BEGIN
    {stamps_of_old}
    {stamps_of_new}
END"""
_OWNER_DELETED: Final = """CREATE TRIGGER {table}_owner_deleted AFTER DELETE ON {keys} BEGIN
    {stamps_of_old}
END"""
_ZONE_INSERTED: Final = """CREATE TRIGGER {table}_zone_inserted BEFORE INSERT ON {zones}
WHEN NEW.timezone IS NOT (SELECT timezone FROM {zones} WHERE {owner} = NEW.{owner}) BEGIN
    {stamps_of_owner}
END"""
_ZONE_UPDATED: Final = """CREATE TRIGGER {table}_zone_updated AFTER UPDATE OF timezone ON {zones}
WHEN NEW.timezone IS NOT OLD.timezone BEGIN
    {stamps_of_owner}
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
        if not table.copied:
            continue
        made = [
            _filled(one, table) for one in (_REPLACED, _UPDATED, _DELETED, *((_OVERWRITTEN,) if table.keys else ()))
        ]
        if table.owner_key is not None:
            made += [_of_owner(one, table) for one in (_OWNER_INSERTED, _OWNER_UPDATED, _OWNER_DELETED)]
        if table.zones is not None:
            made += [_of_owner(one, table) for one in (_ZONE_INSERTED, _ZONE_UPDATED)]
        for statement in made:
            yield statement.split()[2], statement


def create(connection: sqlite3.Connection) -> None:
    """Create the triggers, replacing existing ones."""
    for name, statement in statements():
        connection.execute(f"DROP TRIGGER IF EXISTS {name}")
        connection.execute(statement)


def _filled(template: str, table: Table) -> str:
    same_key = " OR ".join(f"({' AND '.join(f'{name} = NEW.{name}' for name in key)})" for key in table.keys)
    parts = {"table": table.name, "bits": table.bucket_bits, "same_key": same_key or "rowid = NEW.rowid"}
    buckets = _BUCKETS.format(**parts)
    return template.format(
        **parts,
        or_replaces=f" OR EXISTS (SELECT 1 FROM {table.name} WHERE {same_key})" if same_key else "",
        key_columns=", ".join(sorted({name for key in table.keys for name in key})),
        stamps_of_replaced=_STAMPS.format(**parts, buckets=buckets),
        stamp_of_old=_STAMP.format(**parts, row="OLD"),
        stamp_of_new=_STAMP.format(**parts, row="NEW"),
    )


def _of_owner(template: str, table: Table) -> str:
    """Fill a template whose triggers belong to another table and stamp the rows of an owner."""
    owner, key = table.owner, table.owner_key
    parts = {"table": table.name, "owner": owner, "zones": table.zones or ""}
    of_owner = table.rows_of(f"NEW.{owner}")
    if key is not None:
        of_new = f"{key.column} = NEW.{key.column} OR {of_owner}"
        parts |= {"keys": key.table, "key": key.column, "of_new": of_new, "stamps_of_new": _stamps(table, of_new)}
        parts["stamps_of_old"] = _stamps(table, f"{key.column} = OLD.{key.column}")
    return template.format(**parts, stamps_of_owner=_stamps(table, of_owner))


def _stamps(table: Table, condition: str) -> str:
    buckets = f"SELECT DISTINCT rowid >> {table.bucket_bits} AS bucket FROM {table.name} WHERE {condition}"
    return _STAMPS.format(table=table.name, buckets=buckets)
