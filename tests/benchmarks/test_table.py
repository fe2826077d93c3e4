"""The benchmark's own table: a short run of it, and its place in the README."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.peers.catalogue import ROOT
from tests.benchmarks.table import PLACE, Row, Target, table


def _lines(text: str) -> list[list[str]]:
    """Return the rows of a table as cells, its head first."""
    lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line.startswith("|")]
    return [lines[0], *lines[2:]]


def test_a_table_has_each_figure_its_baseline_and_whether_it_keeps_its_target() -> None:
    rows = [
        Row("trades", 4.0, "naive ATTACH", 1_400.0, Target(10)),
        Row("sum", 30.0, "bare Parquet", 20.0, Target(1.3, of_ratio=True)),
        Row("size", 12.0, unit="MB"),
    ]
    assert _lines(table(rows))[1:] == [
        ["trades", "4 ms", "1.4 s", "0.00286x", "<= 10 ms", "ok", "naive ATTACH"],
        ["sum", "30 ms", "20 ms", "1.5x", "<= 1.3x", "MISS", "bare Parquet"],
        ["size", "12MB", "", "", "", "", ""],
    ]


def test_the_readme_holds_a_whole_run() -> None:
    facts, printed = PLACE.block_of((ROOT / "README.md").read_text(encoding="utf-8")).split("\n\n")
    assert "10,000 iterations and 5,000,000 trades" in facts
    head, *lines = _lines(printed)
    assert head == _lines(table([]))[0]
    assert len(lines) > 40
    assert all(re.match(r"[\d.,]+", line[1]) for line in lines)


@pytest.mark.slow
def test_what_is_printed_is_put_into_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- speed -->\n<!-- /speed -->\nafter\n", encoding="utf-8")
    command = [sys.executable, "-m", "tests.benchmarks", "--scale", "0.01", "--rows", "start,size"]
    ran = subprocess.run(
        [*command, "--keep", str(tmp_path), "--write", str(page)], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode in (0, 1), ran.stderr  # 1 tells of a target that a book this small may miss
    assert page.read_text(encoding="utf-8") == f"before\n<!-- speed -->\n{ran.stdout}<!-- /speed -->\nafter\n"
    assert "pool start" in ran.stdout
