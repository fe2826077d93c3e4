"""Every example runs as its user would run it, in a folder of its own, and leaves what it says."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
import pandas as pd
import pytest

import finlab_nb as fl
from finlab_nb.engines.recognise import ENGINES

EXAMPLES: Final = Path(__file__).parents[1] / "examples"


class Recorded(NamedTuple):
    """What an example that records results of an engine leaves.

    Attributes
    ----------
    module
        What has to be installed; None where the result is a file.
    lines
        What it prints about its results, one line a call of `Lab.record`; an ellipsis stands for figures.
    iterations
        How many there are then, by strategy.
    """

    module: str | None
    lines: tuple[str, ...]
    iterations: Mapping[str, int]
    is_slow: bool = False


EVEN: Final = "P&L … = change of equity"
RECORDED: Final[Mapping[str, Recorded]] = {
    "vectorbt": Recorded(
        "vectorbt",
        (f"20 trades, {EVEN}", "10 iterations: 73 trades, P&L = change of equity in all"),
        {"crossover": 11},
        is_slow=True,  # it compiles for half a minute
    ),
    "backtesting": Recorded(
        "backtesting", (f"6 trades (1 open), {EVEN}", "7 iterations: 6 trades (1 open), …"), {"Cross": 7}, is_slow=True
    ),
    "bt": Recorded(
        "bt",
        ("2 iterations: 286 trades (90 open), P&L = change of equity in all",),
        {"equal weight": 1, "momentum": 1},
        is_slow=True,
    ),
    "backtrader": Recorded(
        "backtrader",
        (f"19 trades, {EVEN}", "3 iterations: 70 trades (2 open), P&L = change of equity in all, 1 recorded before"),
        {"Breakout": 3},
        is_slow=True,
    ),
    "zipline": Recorded("zipline", (f"78 trades (4 open), {EVEN}",), {"momentum": 1}, is_slow=True),
    "nautilus": Recorded("nautilus_trader", (f"13 trades (1 open), {EVEN}",), {"Cross": 1}),
    "pybroker": Recorded("pybroker", (f"211 trades (2 open), {EVEN}",), {"buy dips": 1}, is_slow=True),
    "qlib": Recorded("qlib", (f"123 trades (2 open), {EVEN}",), {"momentum": 1}, is_slow=True),
    "freqtrade": Recorded(None, (f"36 trades, {EVEN}",), {"Cross": 1}),
    "lean": Recorded(None, ("14 trades, P&L 1,376.78, change of equity 1,889.85, gap …",), {"my project": 1}),
}
# Those that record nothing here, and what they say instead.
NOT_HERE: Final[Mapping[str, str]] = {
    "jesse": "jesse: give the database, and a file",  # it needs a PostgreSQL
    "finlab": "finlab: is not installed, or FINLAB_API_TOKEN is not set",  # it asks its server before each run
}
OTHERS: Final = {"process_pool", "export_dataframes", "nightly_backup", "read_snapshot_with_duckdb"}


def _run(name: str, *arguments: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "FINLAB_API_TOKEN"}
        | {"PYTHONPATH": str(EXAMPLES.parent)}
        | environment,
        capture_output=True,
        text=True,
    )


def _output(name: str, *arguments: object, folder: Path, **environment: str) -> str:
    finished = _run(name, *arguments, folder=folder, **environment)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the database that the example with a pool of processes leaves."""
    folder = tmp_path_factory.mktemp("pool")
    finished = _run("process_pool", "book.db", folder=folder)
    assert finished.returncode == 0, finished.stderr
    assert "12/12" in finished.stderr  # progress
    return folder / "book.db"


def test_every_example_is_tested_and_every_engine_has_one() -> None:
    assert {path.stem for path in EXAMPLES.iterdir()} == {f"record_{name}" for name in {*RECORDED, *NOT_HERE}} | OTHERS
    assert {*RECORDED, *NOT_HERE} == set(ENGINES)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_every_example_says_what_it_shows_and_how_to_run_it(path: Path) -> None:
    text = path.read_text("utf-8")
    docstring = text.split('"""')[1]
    assert re.match(r"[A-Z].*[.:]\n", docstring)
    assert f"    python {path.name} " in docstring or f".venv/bin/python {path.name} " in docstring


def _each() -> list[object]:
    return [
        pytest.param(
            engine,
            marks=[
                pytest.mark.skipif(
                    wanted.module is not None and find_spec(wanted.module) is None,
                    reason=f"{wanted.module} is not installed",
                ),
                *([pytest.mark.slow] if wanted.is_slow else []),
            ],
        )
        for engine, wanted in RECORDED.items()
    ]


@pytest.mark.parametrize("engine", _each())
def test_an_example_records_the_results_of_its_engine(tmp_path: Path, engine: str) -> None:
    wanted = RECORDED[engine]
    printed = _output(f"record_{engine}", "book.db", folder=tmp_path).splitlines()
    for line, pattern in zip(printed, wanted.lines, strict=False):
        assert re.fullmatch(re.escape(pattern).replace("…", ".*"), line), printed
    with fl.Lab(tmp_path / "book.db") as lab:
        stored = lab.iterations()
        assert stored["strategy"].value_counts().to_dict() == wanted.iterations
        assert stored["sharpe_ratio"].notna().any()
        assert (lab.strategies()["code"].str.len() > 0).all() or engine == "lean"  # whose result has no source
        if EVEN in wanted.lines[0]:
            curves = lab.equity()
            first = stored.iloc[0]
            profit = lab.trades(first["iteration_id"])["profit_loss"].sum()
            change = curves[first["iteration_id"]].dropna().iloc[-1] - first["initial_capital"]
            assert profit == pytest.approx(change, abs=1e-4 * first["initial_capital"])
            assert f"P&L {profit:,.2f}" in printed[0]


@pytest.mark.parametrize("engine", NOT_HERE)
def test_an_example_that_cannot_run_here_says_why_and_records_nothing(tmp_path: Path, engine: str) -> None:
    finished = _run(f"record_{engine}", folder=tmp_path)
    assert finished.returncode == 1
    assert finished.stderr.startswith(NOT_HERE[engine])
    assert list(tmp_path.iterdir()) == []


def test_results_of_a_pool_are_recorded_with_their_parameters(book: Path) -> None:
    with fl.Lab(book) as lab:
        stored = lab.iterations()
        assert len(stored) == len(stored[["param.fast", "param.slow"]].drop_duplicates()) == 12
        assert stored["iteration_number"].tolist() == list(range(1, 13))
        profits = lab.trades().groupby("iteration_id")["profit_loss"].sum()
        change = lab.equity().ffill().iloc[-1] - 1_000_000
        pd.testing.assert_series_equal(profits.sort_index(), change.sort_index(), check_names=False, check_index=False)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_exported_frames_have_the_rows_of_the_lab(book: Path, tmp_path: Path, form: str) -> None:
    printed = _output("export_dataframes", book, "frames", form, folder=tmp_path)
    assert printed.count("bytes") == 3
    read = pd.read_parquet if form == "parquet" else pd.read_csv
    found = {name: read(tmp_path / "frames" / f"{name}.{form}") for name in ("results", "trades", "equity")}
    with fl.Lab(book) as lab:
        trades, results = lab.trades(), lab.iterations()
        assert found["trades"]["profit_loss"].tolist() == pytest.approx(trades["profit_loss"].tolist())
        assert found["trades"]["stock_code"].tolist() == trades["stock_code"].tolist()
        assert sorted(found["results"]["param.fast"]) == sorted(results["param.fast"])
        assert len(found["equity"]) == lab.equity().count().sum()


def test_a_nightly_backup_is_verified_and_can_be_restored(book: Path, tmp_path: Path) -> None:
    printed = _output("nightly_backup", book, "backups", folder=tmp_path).splitlines()
    (backup,) = (tmp_path / "backups").glob("backtest_backup_*.db")
    assert f"{backup} " in printed[0]
    assert printed[0].endswith("trades: verified")
    assert printed[1] == "0 old backups removed, 1 kept"
    fl.restore_backup(backup, tmp_path / "restored.db")
    with fl.Lab(tmp_path / "restored.db") as restored, fl.Lab(book) as lab:
        pd.testing.assert_frame_equal(restored.trades(), lab.trades())


def test_a_nightly_backup_of_nothing_fails_so_that_cron_tells(tmp_path: Path) -> None:
    assert _run("nightly_backup", "nothing.db", "backups", folder=tmp_path).returncode != 0


def _extension() -> Path | None:
    """Return DuckDB's sqlite extension where the package of it that fits is installed."""
    found = find_spec("duckdb_extension_sqlite_scanner")
    folders = [] if found is None else found.submodule_search_locations or []
    name = f"**/v{duckdb.__version__}/**/sqlite_scanner.duckdb_extension"
    return next((path for folder in folders for path in Path(folder).glob(name)), None)


@pytest.mark.skipif(_extension() is None, reason="duckdb-extension-sqlite-scanner of this DuckDB is not installed")
def test_plain_duckdb_reads_a_snapshot(book: Path, tmp_path: Path) -> None:
    platform = duckdb.sql("PRAGMA platform").fetchall()[0][0]
    home = tmp_path / ".duckdb" / "extensions" / f"v{duckdb.__version__}" / platform
    home.mkdir(parents=True)
    extension = _extension()
    assert extension is not None
    shutil.copy(extension, home)  # as if DuckDB had fetched it
    with fl.Lab(book) as lab:
        lab.store.snapshot(tmp_path / "it's a copy.db")
        best, points = lab.best(1).iloc[0], lab.equity().count().sum()
    printed = _output("read_snapshot_with_duckdb", "it's a copy.db", folder=tmp_path, HOME=str(tmp_path))
    assert str(best["sharpe_ratio"])[:6] in printed
    assert str(points) in printed
    assert "import finlab_nb" not in (EXAMPLES / "read_snapshot_with_duckdb.py").read_text("utf-8")
    with sqlite3.connect(tmp_path / "it's a copy.db") as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
