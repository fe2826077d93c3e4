"""Older files are brought up to date without loss, foreign ones are left alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import finlab_nb as fl
from finlab_nb.analysis import equity_metrics
from finlab_nb.store import integrity, schema

DATA = Path(__file__).parents[1] / "data"
SCHEMAS = sorted(DATA.glob("schema_*.db"))


# Those that schema 3 computes by other definitions than the schemas before.
FOLLOWED_DEFINITIONS = {"annualized_return", "sharpe_ratio"}


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def rows(path: Path) -> dict[str, list[dict[str, object]]]:
    with opened(path) as connection:
        connection.row_factory = sqlite3.Row
        tables = ("strategies", "iterations", "metrics", "extra_metrics", "trades", "equity", "suggestions", "tags")
        found = {table: f"SELECT * FROM {table} ORDER BY rowid" for table in tables}
        names = {row["name"] for row in connection.execute("SELECT name FROM sqlite_schema")}
        if "curves" in names:
            found["equity"] = "SELECT equity_id, iteration_id, date, equity FROM equity JOIN curves USING (curve_id)"
        if "applications" in names:
            found["suggestions"] = """
                SELECT s.*, a.iteration_id AS applied_iteration_id
                FROM suggestions AS s LEFT JOIN applications AS a USING (suggestion_id) ORDER BY suggestion_id"""
        return {table: [dict(row) for row in connection.execute(query)] for table, query in found.items()}


def opened_lab(path: Path) -> fl.Lab:
    """Open a file of an older schema; some of them have metrics by other definitions, which is told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fl.UpgradeWarning)
        return fl.Lab(path)


def copies_beside(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{path.name}.before-schema-*"))


@pytest.mark.parametrize("source", SCHEMAS, ids=lambda path: path.stem)
def test_a_file_of_each_released_schema_is_upgraded_without_losing_a_row(source: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(source, tmp_path / "research.db"))
    before = rows(path)
    with opened_lab(path) as lab:
        assert lab.iterations()["note"].dropna().tolist() == ["first try"]
        assert lab.store.check() == []
        assert [one["name"] for one in lab.store.search_strategies("rolling")] == ["動量策略"]
        lab.store.save_iteration(lab.store.find_strategies("momentum")[0]["strategy_id"])
    after = rows(path)
    for table, kept in before.items():
        found = after[table][: len(kept)]  # a migration may have added columns
        followed = FOLLOWED_DEFINITIONS if table == "metrics" else set()
        same = [old | {name: new[name] for name in followed} for new, old in zip(found, kept, strict=True)]
        assert [new | old for new, old in zip(found, same, strict=True)] == found
    (copy,) = copies_beside(path)
    assert rows(copy) == before
    integrity.check_integrity(copy)


@pytest.fixture
def schema_2(tmp_path: Path) -> Path:
    return Path(shutil.copy(DATA / "schema_2.db", tmp_path / "research.db"))


def figures(store: fl.StorageManager) -> dict[str, dict[str, float | None]]:
    """Return the metrics of each iteration by its tag."""
    found = [
        iteration
        for name in ("momentum", "動量策略")
        for strategy in store.find_strategies(name)
        for iteration in store.load_strategy_history(strategy["strategy_id"])
    ]
    return {one["tags"][0]: one["metrics"] | one["extra_metrics"] for one in found}


def test_metrics_that_schema_2_computed_follow_todays_definitions(schema_2: Path) -> None:
    with opened_lab(schema_2) as lab:
        found = figures(lab.store)
        for tag, iteration in lab.iterations().set_index("tags").iterrows():
            curve = lab.equity([iteration["iteration_id"]]).iloc[:, 0].dropna()
            if tag in ("given", "no curve"):
                continue
            for name, value in equity_metrics(curve).items():
                stored = iteration[name] if name in iteration else found[tag.split(", ")[0]][name]
                assert stored == pytest.approx(value, nan_ok=True), (tag, name)
    assert found["monthly"]["sharpe_ratio"] is not None
    assert found["every 50 days"]["sharpe_ratio"] is None
    assert found["two days"]["annualized_return"] is None


def test_metrics_that_were_given_to_schema_2_are_kept_and_marked(schema_2: Path) -> None:
    with opened_lab(schema_2) as lab:
        found = figures(lab.store)
        marked = lab.sql("SELECT tag, name, computed FROM given_metrics JOIN tags USING (iteration_id) ORDER BY name")
        curve = lab.equity(lab.iterations(where="tags = 'given'")["iteration_id"].tolist()).iloc[:, 0]
    assert (found["given"]["sharpe_ratio"], found["given"]["max_drawdown"]) == (1.23, -0.25)
    assert (found["no curve"]["sharpe_ratio"], found["no curve"]["annualized_return"]) == (0.9, 0.1)
    assert marked["tag"].tolist() == ["given"] * 2
    assert dict(zip(marked["name"], marked["computed"], strict=True)) == pytest.approx(
        {name: equity_metrics(curve)[name] for name in ("max_drawdown", "sharpe_ratio")}
    )


def test_the_upgrade_says_how_many_metrics_have_other_values(schema_2: Path) -> None:
    message = (
        r"schema 6.*: \d+ metrics of \d+ iterations were computed anew.*, and 2 that were given .*before-schema-6-\d+"
    )
    with pytest.warns(fl.UpgradeWarning, match=message):
        fl.StorageManager(schema_2).close()
    fl.StorageManager(schema_2).close()  # told once


def test_a_curve_without_an_iteration_is_upgraded_as_it_is(schema_2: Path) -> None:
    with opened(schema_2) as connection:
        connection.execute("DELETE FROM iterations WHERE iteration_id = (SELECT iteration_id FROM equity LIMIT 1)")
        (points,) = connection.execute("SELECT count(*) FROM equity").fetchone()
    with opened_lab(schema_2) as lab:
        assert {one["table"] for one in lab.store.check()} >= {"curves", "trades"}
    with opened(schema_2) as connection:
        assert connection.execute("SELECT count(*) FROM equity").fetchone() == (points,)


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
    with opened_lab(path) as lab:
        assert lab.store.find_strategies("momentum")


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


def test_a_file_of_schema_5_gets_room_for_where_iterations_come_from(tmp_path: Path) -> None:
    path = Path(shutil.copy(DATA / "schema_5.db", tmp_path / "research.db"))
    with fl.Lab(path) as lab:
        assert lab.sql("SELECT * FROM provenance").empty
        runs = lab.iterations()["iteration_id"].tolist()
        assert {lab.store.load_iteration(run)["provenance"] for run in runs} == {None}
        assert lab.store.import_results(DATA / "of_schema_5.json.gz", "merge").report["action"].eq("unchanged").all()
        strategy = lab.store.find_strategies("momentum")[0]["strategy_id"]
        new = lab.store.save_iteration(strategy, provenance={"engine": "vectorbt"})
        assert lab.sql("SELECT iteration_id, engine FROM provenance").values.tolist() == [[new, "vectorbt"]]
        assert lab.store.check() == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no such permissions")
def test_a_file_of_schema_5_that_may_not_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    place = Path(tempfile.mkdtemp())  # where other users may look
    try:
        path = Path(shutil.copy(DATA / "schema_5.db", place / "research.db"))
        path.chmod(0o444)
        place.chmod(0o555)
        script = (
            "import os, sys, finlab_nb as fl\n"
            "from finlab_nb.store import schema; schema.migrations()\n"
            "if os.geteuid() == 0: os.setuid(65534)\n"
            "try: fl.StorageManager(sys.argv[1])\n"
            "except fl.StorageError as error: print(error)\n"
        )
        command = [sys.executable, "-W", "error", "-c", script, str(path)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (found.returncode, found.stderr) == (0, "")
        assert "read-only" in found.stdout
        assert path.read_bytes() == (DATA / "schema_5.db").read_bytes()
        assert [one.name for one in place.iterdir()] == ["research.db"]
    finally:
        place.chmod(0o755)
        shutil.rmtree(place)


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
