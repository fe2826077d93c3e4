"""The finlab-nb command, run as a user runs it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import finlab_nb as fl


def _finlab_nb(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "finlab_nb.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)


@pytest.mark.slow
def test_demo_records_runs_and_a_second_call_adds_nothing(tmp_path: Path) -> None:
    database = tmp_path / "研究 books" / "my demo.db"
    database.parent.mkdir()
    first = _finlab_nb("demo", "--db", str(database), "--no-browser")
    assert first.returncode == 0, first.stderr
    assert "iteration/s" in first.stderr  # the progress bar
    with fl.Lab(database) as lab:
        runs, strategies = lab.iterations(), lab.strategies()
        best = runs.sort_values("sharpe_ratio", ascending=False).iloc[0]
        points = lab.sql("SELECT iteration_id FROM equity GROUP BY ALL")
        trades = lab.sql("SELECT iteration_id FROM trades GROUP BY ALL")
        suggested = lab.suggestions()
    assert len(runs) >= 60
    assert len(strategies) >= 3
    assert strategies["parent_strategy_id"].notna().sum() >= 2
    assert len(points) == len(runs)
    assert len(trades) == len(runs)
    assert len(suggested) > len(runs) / 2
    assert runs[["annualized_return", "sharpe_ratio", "max_drawdown", "win_rate"]].notna().all().all()
    table = [line for line in first.stdout.splitlines() if best["strategy"] in line]
    assert f"{best['sharpe_ratio']:.2f}" in table[0]
    assert len([line for line in first.stdout.splitlines() if "%" in line]) == 10

    second = _finlab_nb("demo", "--db", str(database), "--no-browser")
    assert second.returncode == 0, second.stderr
    with fl.Lab(database) as lab:
        assert lab.iterations()["iteration_id"].tolist() == runs["iteration_id"].tolist()
        assert len(lab.strategies()) == len(strategies)


@pytest.mark.slow
def test_demo_puts_a_notebook_beside_the_database_that_opens_it(tmp_path: Path, demo_db: Path) -> None:
    database = tmp_path / "other.db"
    connection = sqlite3.connect(demo_db)  # a copy, so that the demo is there already
    connection.execute("VACUUM INTO ?", (str(database),))
    connection.close()
    assert _finlab_nb("demo", "--db", str(database), "--no-browser").returncode == 0
    notebook = tmp_path / "01_explore.ipynb"
    source_text = json.dumps(json.loads(notebook.read_text(encoding="utf-8")))
    assert "other.db" in source_text
    assert "finlab_demo.db" not in source_text
    notebook.write_text("{}", encoding="utf-8")
    assert _finlab_nb("demo", "--db", str(database), "--no-browser").returncode == 0
    assert notebook.read_text(encoding="utf-8") == "{}"  # what the user has changed stays


@pytest.mark.slow
def test_an_open_database_is_copied_and_compacted(tmp_path: Path) -> None:
    path, copy = tmp_path / "research.db", tmp_path / "copy.db"
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("momentum", "x")
        run = store.save_iteration(strategy, note="n" * 100_000)
        copied = _finlab_nb("snapshot", str(copy), "--db", str(path))
        assert (copied.returncode, copied.stdout) == (0, f"{copy}\n"), copied.stderr
        store.delete_iteration(run)
        compacted = _finlab_nb("compact", "--db", str(path))
        assert compacted.returncode == 0, compacted.stderr
        freed = int(compacted.stdout.split(" bytes given back")[0].replace(",", ""))
        assert freed > 90_000
    with fl.StorageManager(copy) as store:
        assert len(store.load_iteration(run)["note"]) == 100_000
    again = _finlab_nb("snapshot", str(copy), "--db", str(path))
    assert (again.returncode, "exists already" in again.stderr) == (1, True)
    assert _finlab_nb("snapshot", str(copy), "--db", str(path), "--overwrite").returncode == 0
    missing = _finlab_nb("compact", "--db", str(tmp_path / "missing.db"))
    assert (missing.returncode, missing.stderr) == (
        1,
        f"finlab-nb: {tmp_path / 'missing.db'} does not exist; check the path\n",
    )
    assert not (tmp_path / "missing.db").exists()


def test_demo_reports_an_impossible_place_in_one_line(tmp_path: Path) -> None:
    finished = _finlab_nb("demo", "--db", str(tmp_path / "missing" / "a.db"), "--no-browser")
    assert finished.returncode == 1
    assert finished.stderr.startswith("finlab-nb: ")
    assert "Traceback" not in finished.stderr


def test_version_is_the_package_version() -> None:
    assert _finlab_nb("--version").stdout.strip() == f"finlab-nb {fl.__version__}"
