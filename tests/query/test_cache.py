"""What the cache says of itself, and that it can be thrown away."""

from __future__ import annotations

from pathlib import Path

import pytest

import finlab_nb as fl
from books import TRADE, fill


@pytest.mark.slow
def test_the_cache_tells_what_it_holds(lab: fl.Lab) -> None:
    strategy = fill(lab)
    assert len(lab.trades()) == 30_000
    lab.store.save_iteration(strategy, trades=[TRADE] * 7)
    found = lab.cache_info()
    assert found["folder"] == lab.store.path.with_name("lab.db.cache")
    assert found["temporary"] is False
    assert found["segments"]["trades"] == 1
    assert found["delta_rows"]["trades"] == 7
    assert found["delta_rows"]["iterations"] == 61
    assert found["bytes"] == sum(path.stat().st_size for path in found["folder"].glob("*/*.parquet"))
    assert found["reader_process"] is not None


@pytest.mark.slow
def test_a_cleared_cache_is_built_anew_for_every_kernel(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "a.db") as lab, fl.Lab(tmp_path / "a.db") as other:
        fill(lab)
        assert len(lab.trades()) == len(other.trades()) == 30_000
        relation = lab.relation("trades")
        lab.clear_cache()
        assert list((tmp_path / "a.db.cache").glob("*/*.parquet")) == []
        assert len(other.trades()) == len(lab.trades()) == 30_000
        assert lab.by_stock()["trades"].tolist() == other.by_stock()["trades"].tolist() == [30_000]
        assert lab.cache_info()["bytes"] > 0
        del relation


@pytest.mark.slow
def test_a_cleared_cache_spares_what_is_not_its_own(tmp_path: Path) -> None:
    with fl.Lab(tmp_path / "a.db", cache_dir=tmp_path / "mine") as lab:
        fill(lab)
        lab.trades()
        folder = tmp_path / "mine" / "a.db.cache"
        assert lab.cache_info()["folder"] == folder
        (folder / "album").mkdir()
        (folder / "notes.txt").write_text("x")
        lab.clear_cache()
        assert sorted(path.name for path in folder.iterdir()) == ["album", "notes.txt"]
        assert len(lab.trades()) == 30_000
