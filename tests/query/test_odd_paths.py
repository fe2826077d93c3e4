"""Whatever stands in a path, a lab answers with what was saved, from segments too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

import finlab_nb as fl
from books import TRADE
from finlab_nb.query.replica.building import Building

# Names of folders: what readers guess from (Hive partitions), patterns, quotes, escapes, schemes, other scripts.
NAMES = [
    "stock_code=2330", "iteration_id=zz", "market=TW", "date=2024-01-01", "year=2024", "entry_day=2024-01-01", "a=b=c",
    "=", "=x", "x=", "row_id=1", "bad_values=7", "iteration_id=", "filename=x", "file_row_number=3",
    "a*b", "a?b", "a[b]", "[!a]", "[0-9]", "a[", "]b", "**", "{a,b}", "a{b}",
    "a'b", 'a"b', "a\\b", "\\", "`a`", "$x", "%20", "100%", "a;b", "--x", "a#b", "a&b", "a|b", "(a)", "<a>", "a^b",
    "!a", "@a", "~", "a,b", " lead", "trail ", "..a", "a.", "a\nb", "tab\tx",
    "s3:", "http:", "file:", "a:b", "x.parquet", "x.json", "con", "x" * 200,
    "回測", "ünï", "e\u0301", "😀", "الف",
]  # fmt: skip


def _saved(folder: Path, name: str) -> Path:
    """Save a book in a folder of this name."""
    path = folder / name / f"{name[:60]}.db"
    path.parent.mkdir()
    with fl.Lab(path) as lab:
        strategy = lab.store.save_strategy_version("momentum", "signal = 1")
        for code in ("2330", "0050"):
            lab.store.save_iteration(strategy, trades=[{**TRADE, "stock_code": code}] * 3, tags=["t"])
    return path


def _answers(path: Path) -> list[pd.DataFrame]:
    with fl.Lab(path) as lab:
        frames = [lab.iterations(), lab.trades(), lab.by_stock(), lab.sql("SELECT * FROM tags")]
        assert {one.table for one in lab._engine.segments()} >= {"iterations", "trades", "tags"}
        assert not lab.cache_info()["temporary"]
    assert frames[1]["stock_code"].tolist() == ["2330"] * 3 + ["0050"] * 3
    assert frames[1]["iteration_id"].tolist() == [one for one in frames[0]["iteration_id"] for _ in range(3)]
    return frames


@pytest.mark.parametrize(
    "name",
    [
        "stock_code=2330",
        "[!a]*?",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("iteration_id=zz", "a'b\\$x", "回測")),
    ],
)
@pytest.mark.usefixtures("by_child")
def test_rows_are_copied_and_read_under_an_odd_path(tmp_path: Path, name: str) -> None:
    _answers(_saved(tmp_path, name))


@pytest.mark.slow
def test_a_book_and_its_cache_answer_the_same_under_every_path(tmp_path: Path, by_child: list[Building]) -> None:
    path = _saved(tmp_path, "plain")
    expected = _answers(path)
    by_child.clear()
    assert len(NAMES) >= 50
    for name in NAMES:
        folder = tmp_path / name
        shutil.copytree(path.parent, folder)
        found = _answers(folder / path.name)
        assert all(one.equals(other) for one, other in zip(found, expected, strict=True)), name
        shutil.rmtree(folder)
    assert not by_child
