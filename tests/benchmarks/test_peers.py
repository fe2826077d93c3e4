"""The comparison with other tools: what it prints, what it checks, and its place in the README."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import main as benchmarks
from tests.benchmarks.peers import measures
from tests.benchmarks.peers.answers import QUESTIONS, agree, right, strategy_names
from tests.benchmarks.peers.catalogue import PEERS, ROOT, Peer
from tests.benchmarks.peers.child import Session
from tests.benchmarks.peers.environments import InstallError, environment
from tests.benchmarks.peers.measures import ROWS, Cell, Measured, measure
from tests.benchmarks.peers.report import PLACE, PROMISE_HEADS, promise_cells, report

README = (ROOT / "README.md").read_text(encoding="utf-8")
LONG = os.environ.get("FINLAB_NB_LONG") == "1"
HOME_MADE = ["finlab", "to_sql", "parquet", "duckdb"] if LONG else ["finlab", "duckdb"]


def _tables(text: str) -> list[list[list[str]]]:
    """Return the two tables of a comparison as cells, without the lines under their heads."""
    blocks = [block for block in text.strip().split("\n\n") if block.startswith("|")]
    return [
        [[cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines() if "| ---" not in line]
        for block in blocks
    ]


def test_the_readme_holds_every_row_and_column_that_the_benchmark_prints() -> None:
    figures, promises = _tables(PLACE.block_of(README))
    assert figures[0] == ["", *(peer.title for peer in PEERS.values())]
    assert [line[0] for line in figures[1:]] == list(ROWS.values())
    assert all(cell for line in figures[1:] for cell in line)
    assert promises[0][:-1] == list(PROMISE_HEADS)
    assert [line[:-1] for line in promises[1:]] == [promise_cells(peer) for peer in PEERS.values()]


def test_the_best_of_a_row_is_bold_and_the_rows_where_others_are_ahead_are_named() -> None:
    ours = dict.fromkeys(ROWS, Cell("2 ms", 2.0))
    theirs = ours | {"best": Cell("1 ms", 1.0), "trades": Cell("3 ms", 3.0), "strategies": Cell("no SQL")}
    figures, promises = _tables(report("Measured.", [PEERS["finlab"], PEERS["duckdb"]], [ours, theirs]))
    shown = {line[0]: line[1:] for line in figures}
    assert shown[ROWS["best"]] == ["2 ms", "**1 ms**"]
    assert shown[ROWS["trades"]] == ["**2 ms**", "3 ms"]
    assert shown[ROWS["strategies"]] == ["**2 ms**", "no SQL"]
    assert [line[-1] for line in promises[1:]] == ["", ROWS["best"]]


@pytest.mark.parametrize("old", ["", "old\n"])
def test_the_comparison_takes_the_place_between_the_marks_and_touches_nothing_else(tmp_path: Path, old: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n<!-- peers -->\n{old}<!-- /peers -->\nafter\n", encoding="utf-8")
    PLACE.write(page, "new\n")
    assert page.read_text(encoding="utf-8") == "before\n<!-- peers -->\nnew\n<!-- /peers -->\nafter\n"
    with pytest.raises(ValueError, match="no place for peers"):
        PLACE.block_of("# A page without marks\n")


def test_a_changed_trade_makes_an_answer_wrong(tmp_path: Path) -> None:
    session = Session("to_sql:Tool", str(tmp_path))
    session.start(strategy_names())
    keys, times = session.record(3)
    assert len(times) == 3

    def is_right(question: str) -> bool:
        session.ask(question, *([keys[1]] if question == "trades" else []))
        return agree(session.essence(question), right(question, 3, 1))

    assert [question for question in QUESTIONS if not is_right(question)] == []
    with sqlite3.connect(tmp_path / "home.db") as other:
        other.execute(
            "UPDATE trades SET profit_loss = profit_loss + 1 WHERE iteration_id = ? AND rowid % 500 = 7", keys[1:2]
        )
    other.close()
    assert [question for question in QUESTIONS if not is_right(question)] == ["trades", "by_stock"]
    session.close()


def test_a_tool_that_dies_has_a_reason_in_every_row(tmp_path: Path) -> None:
    tool = Measured(PEERS["to_sql"], Path(shutil.which("false") or "false"), tmp_path / "to_sql")
    measure([tool], 3)
    assert set(tool.cells) == set(ROWS)
    assert {cell.figure for cell in tool.cells.values()} == {None}
    assert {cell.text for cell in tool.cells.values()} <= {"a child ended with status 1", "[Errno 32] Broken pipe"}


@pytest.mark.slow
def test_what_cannot_be_installed_is_told_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match=r"ERROR: .*nowhere"):
        environment(Peer("nowhere:Tool", "Nowhere", (str(tmp_path / "nowhere"),)), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_short_form_measures_what_is_installed_and_all_answers_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- peers -->\n<!-- /peers -->\n", encoding="utf-8")
    options = ["--installed", "--iterations", "50", "--only", ",".join(HOME_MADE), "--keep", tmp_path, "--write", page]
    monkeypatch.setattr(sys, "argv", ["tests.benchmarks", "--peers", *map(str, options)])
    if not LONG:  # every cell is filled and every answer checked; only medians need more than one time of each
        monkeypatch.setattr(measures, "_NEW_PROCESSES", 1)
        monkeypatch.setattr(measures, "_TOGETHER", 0.5)
    assert benchmarks() == 0
    printed = capsys.readouterr().out
    assert PLACE.block_of(page.read_text(encoding="utf-8")) == printed
    figures, promises = _tables(printed)
    assert [line[0] for line in promises[1:]] == [PEERS[name].title for name in HOME_MADE]
    without = {
        (title, cell)
        for line in figures[1:]
        for title, cell in zip(figures[0][1:], line[1:], strict=True)
        if not re.match(r"\**[\d.,]+ (us|ms|s|MB)", cell)
    }
    # A reader of the Parquet files may meet half a file, and DuckDB lets one process in.
    without -= {pair for pair in without if pair[0] == "Parquet files" and "calls failed" in pair[1]}
    assert without == {("DuckDB file", f"{count - 1} of {count} processes refused") for count in (3, 4)}
