"""A preview shows what recording would store, and stores nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import finlab_nb as fl
from recorded.cases import recorded_cases
from recorded.stand_ins import STAND_INS, options

CASES = {case.name: case for case in recorded_cases()}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[fl.Lab]:
    with fl.Lab(tmp_path / "lab.db") as opened:
        yield opened


def _given(name: str) -> tuple[Any, dict[str, Any]]:
    case = CASES[name]
    return STAND_INS[case.engine](case), options(case)


@pytest.mark.parametrize("name", ["backtesting/single_long", "zipline/single_long", "finlab/open_and_pending"])
def test_a_preview_is_what_is_stored(lab: fl.Lab, capsys: pytest.CaptureFixture[str], name: str) -> None:
    given, said = _given(name)
    shown = lab.preview(given, "Momentum", **said)
    assert lab.iterations().empty
    assert lab.strategies().empty
    assert capsys.readouterr().out == ""
    iteration = lab.record(given, "Momentum", **said)
    stored = lab.store.load_iteration(iteration)
    assert shown.summary + "\n" == capsys.readouterr().out
    assert shown.metrics == stored["metrics"] | stored["extra_metrics"]
    assert shown.parameters in (None, stored["parameters"])
    trades = lab.trades(iteration, columns="all").drop(columns=["trade_id", "iteration_id"])
    ours = shown.trades[[column for column in shown.trades if column in trades]]
    assert ours.select_dtypes("number").columns.tolist() == trades[list(ours)].select_dtypes("number").columns.tolist()
    pd.testing.assert_frame_equal(_plain(ours), _plain(trades[list(ours)]))
    assert shown.equity.tolist() == lab.equity(iteration)[iteration].tolist()


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype(object).where(table.notna(), None)


def test_a_grid_is_a_list_of_previews(lab: fl.Lab) -> None:
    given, said = _given("vectorbt/grid/column_10_40")
    shown = lab.preview(given, **said)
    assert [tuple(one.parameters.values()) for one in shown] == [(10, 40), (20, 60), (30, 90)]


def test_a_preview_says_what_was_assumed_and_what_looks_wrong(lab: fl.Lab) -> None:
    given, said = _given("backtesting/single_long")
    curve = given["_equity_curve"].copy()
    curve.iloc[1:, curve.columns.get_loc("Equity")] += 50.0
    given["_equity_curve"] = curve
    shown = lab.preview(given, **said)
    assert any("check.pnl_gap" in remark for remark in shown.remarks)
    assert any("code was not found" in remark for remark in shown.remarks)
    assert shown.strategy == "Cross"


def test_a_preview_reads_well_as_text_and_runs_nothing_as_html(lab: fl.Lab) -> None:
    given, said = _given("backtesting/single_long")
    hostile = "<script>alert(1)</script>"
    shown = lab.preview(given, hostile, code=f"# {hostile}", parameters={hostile: hostile}, **said)
    text, html = repr(shown), shown._repr_html_()
    for part in ("metrics", "parameters", "trades", "equity: ", "sharpe_ratio", "code"):
        assert part in text
    assert "00:00:00" not in text
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 3
    assert "<table" in html
    assert '<svg role="img" aria-label="equity from 2004-' in html
    assert "figures of backtesting</summary>" in html
