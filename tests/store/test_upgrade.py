"""Older files are brought up to date without loss, foreign ones are left alone."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import finlab_nb as fl
from finlab_nb.store import integrity, schema

DATA = Path(__file__).parents[1] / "data"
SCHEMAS = sorted(DATA.glob("schema_*.db"))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def rows(path: Path) -> dict[str, list[dict[str, object]]]:
    with opened(path) as connection:
        connection.row_factory = sqlite3.Row
        tables = ("strategies", "iterations", "metrics", "extra_metrics", "trades", "equity", "suggestions", "tags")
        return {
            table: [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY rowid")]
            for table in tables
        }


def copies_beside(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{path.name}.before-schema-*"))


@pytest.mark.parametrize("source", SCHEMAS, ids=lambda path: path.stem)
def test_a_file_of_each_released_schema_is_upgraded_without_losing_a_row(source: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(source, tmp_path / "research.db"))
    before = rows(path)
    with fl.Lab(path) as lab:
        assert lab.iterations()["note"].dropna().tolist() == ["first try"]
        assert lab.store.check() == []
        assert [one["name"] for one in lab.store.search_strategies("rolling")] == ["動量策略"]
        lab.store.save_iteration(lab.store.find_strategies("momentum")[0]["strategy_id"])
    after = rows(path)
    for table, kept in before.items():
        found = after[table][: len(kept)]  # a migration may have added columns
        assert [new | old for new, old in zip(found, kept, strict=True)] == found
    (copy,) = copies_beside(path)
    assert rows(copy) == before
    integrity.check_integrity(copy)


def test_a_current_file_is_not_copied(tmp_path: Path) -> None:
    for _ in range(2):
        fl.StorageManager(tmp_path / "a.db").close()
    assert copies_beside(tmp_path / "a.db") == []


@pytest.mark.parametrize("source", SCHEMAS, ids=lambda path: path.stem)
def test_a_failing_migration_leaves_the_file_as_it_was(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(source, tmp_path / "research.db"))
    before = path.read_bytes()
    good = schema.migrations()
    broken = "CREATE TABLE half_done (a);\nINSERT INTO no_such_table VALUES (1);\n"
    monkeypatch.setattr(schema, "migrations", lambda: (*good, broken))
    with pytest.raises(fl.StorageError, match="no such table"):
        fl.StorageManager(path)
    assert path.read_bytes() == before
    monkeypatch.undo()
    with fl.StorageManager(path) as store:
        assert store.find_strategies("momentum")


def test_nothing_is_changed_when_the_copy_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(shutil.copy(SCHEMAS[0], tmp_path / "research.db"))
    before = path.read_bytes()

    def damaged(_path: Path) -> None:
        raise fl.StorageError("the copy is damaged")

    monkeypatch.setattr(integrity, "check_integrity", damaged)
    with pytest.raises(fl.StorageError, match="the copy is damaged; nothing was changed"):
        fl.StorageManager(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["research.db"]


def test_a_newer_file_is_refused_with_the_release_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    fl.StorageManager(path).close()
    with opened(path) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("UPDATE store_state SET needs_release = '7.1.0'")
    before = path.read_bytes()
    with pytest.raises(fl.StorageError, match=r"needs finlab_nb 7\.1\.0 or later \(it has schema 99.*not touched"):
        fl.StorageManager(path)
    assert path.read_bytes() == before


OTHERS = {
    "a photo album": "CREATE TABLE photos (name)",
    "one more table": f"{';'.join(f'CREATE TABLE {t} (a)' for t in schema.ORIGINAL_TABLES)};CREATE TABLE photos (a)",
    "one more column": ";".join(f"CREATE TABLE {t} ({', '.join(c)}, b)" for t, c in schema.ORIGINAL_TABLES.items()),
    "a mark of its own": "PRAGMA application_id = 77",
}


@pytest.mark.parametrize("script", OTHERS.values(), ids=OTHERS)
def test_the_database_of_another_program_is_refused_and_not_touched(tmp_path: Path, script: str) -> None:
    path = tmp_path / "a.db"
    with opened(path) as connection:
        connection.executescript(script)
    before = path.read_bytes()
    with pytest.raises(fl.StorageError, match=r"database of another program .* not touched"):
        fl.StorageManager(path)
    assert path.read_bytes() == before


def test_a_text_file_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_text("no database at all " * 100)
    with pytest.raises(fl.StorageError, match="not a SQLite database; nothing was changed"):
        fl.StorageManager(path)
    assert path.read_text() == "no database at all " * 100


@pytest.mark.slow
def test_processes_that_upgrade_one_file_at_once_agree(tmp_path: Path) -> None:
    path = Path(shutil.copy(SCHEMAS[0], tmp_path / "research.db"))
    script = "import sys, finlab_nb as fl\nwith fl.StorageManager(sys.argv[1]) as s: print(len(s.lineage(sys.argv[2])))"
    with opened(path) as connection:
        (strategy,) = connection.execute("SELECT strategy_id FROM strategies LIMIT 1").fetchone()
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(path), strategy], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == ["2"] * 4
    assert len(copies_beside(path)) == 1
