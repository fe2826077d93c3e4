"""The explorer without a browser: what code can drive, and what the widgets then say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import ipywidgets
import pandas as pd
import pytest

import finlab_nb as fl
from finlab_nb.errors import IterationNotFoundError
from finlab_nb.widgets import Explorer

HOSTILE = "<img src=x onerror=\"alert('1')\"> $x^ _a"
CHINESE = "動量策略 台積電"
DAYS = pd.bdate_range("2024-01-01", periods=60)


@pytest.fixture
def explore() -> Iterator[Any]:
    """Return a function that opens the explorer of a lab, and close what was opened."""
    opened: list[Explorer] = []

    def open_it(lab: fl.Lab) -> Explorer:
        opened.append(lab.explore())
        return opened[-1]

    yield open_it
    for explorer in opened:
        explorer.close()


def _save(lab: fl.Lab, name: str = "momentum", growth: float = 1.001, **values: Any) -> str:
    strategy_id = lab.store.save_strategy_version(name, "signal = ...", values.pop("strategy_parameters", None))
    equity = pd.Series([1000 * growth**day * (1 + 0.01 * (day % 3)) for day in range(len(DAYS))], index=DAYS)
    return lab.store.save_iteration(strategy_id, equity=values.pop("equity", equity), **values)


def _rows(explorer: Explorer) -> list[str]:
    return explorer.table.shown


def test_the_best_sharpe_ratio_is_selected_on_opening(explore: Any, demo_lab: fl.Lab) -> None:
    explorer = explore(demo_lab)
    runs = demo_lab.iterations(order_by="sharpe_ratio desc", archived=False)
    assert explorer.selected == [runs["iteration_id"].iloc[0]]
    assert explorer.table.page == 0
    assert "<svg" in explorer.chart.value
    assert f"best Sharpe ratio of {len(runs)}" in explorer.chart.value
    assert f"{runs['sharpe_ratio'].iloc[0]:.2f}" in explorer.comparison.value


def test_every_iteration_is_in_the_table(explore: Any, demo_lab: fl.Lab) -> None:
    assert sorted(_rows(explore(demo_lab))) == sorted(demo_lab.iterations()["iteration_id"])


def test_selecting_several_compares_them(explore: Any, demo_lab: fl.Lab) -> None:
    explorer = explore(demo_lab)
    chosen = demo_lab.iterations(order_by="iteration_id", limit=3)
    explorer.selected = list(chosen["iteration_id"])
    assert explorer.selected == list(chosen["iteration_id"])
    for name, number in zip(chosen["strategy"], chosen["iteration_number"], strict=True):
        assert f"{name} #{number}" in explorer.comparison.value
        assert f"{name} #{number}" in explorer.chart.value
    assert "Parameters that differ" in explorer.comparison.value
    assert "The same in all: exposure = 1" in explorer.comparison.value
    assert "best Sharpe ratio of" not in explorer.chart.value


def test_selecting_nothing_gives_a_hint(explore: Any, demo_lab: fl.Lab) -> None:
    explorer = explore(demo_lab)
    explorer.clear_button.click()
    assert explorer.selected == []
    assert "Select an iteration" in explorer.chart.value
    assert explorer.comparison.value == explorer.suggestions.value == ""


def test_an_unknown_id_is_refused_and_the_selection_stays(explore: Any, demo_lab: fl.Lab) -> None:
    explorer = explore(demo_lab)
    before = explorer.selected
    with pytest.raises(IterationNotFoundError, match="no-such-run"):
        explorer.selected = ["no-such-run"]
    assert explorer.selected == before


def test_refresh_shows_what_was_saved_meanwhile_and_keeps_the_selection(explore: Any, lab: fl.Lab) -> None:
    first = _save(lab)
    explorer = explore(lab)
    second = _save(lab, "reversal", growth=1.002)
    assert second not in _rows(explorer)
    explorer.refresh_button.click()
    assert set(_rows(explorer)) == {first, second}
    assert explorer.selected == [first]
    assert [label for label, _ in explorer.strategy.options] == ["All (2)", "momentum (1)", "reversal (1)"]


def test_a_run_saved_meanwhile_can_be_selected_at_once(explore: Any, lab: fl.Lab) -> None:
    _save(lab)
    explorer = explore(lab)
    second = _save(lab, "reversal")
    explorer.selected = [second]
    assert explorer.selected == [second]
    assert "reversal #1" in explorer.comparison.value


@pytest.mark.slow
def test_refresh_forgets_deleted_runs(explore: Any, lab: fl.Lab) -> None:
    first, second = _save(lab), _save(lab, "reversal")
    explorer = explore(lab)
    explorer.selected = [first, second]
    lab.store.delete_iteration(first)
    explorer.refresh()
    assert explorer.selected == _rows(explorer) == [second]


def test_filters_choose_rows_and_say_what_they_hide(explore: Any, lab: fl.Lab) -> None:
    first, second = _save(lab), _save(lab, "reversal", tags=["grid"], note="look at March")
    lab.store.annotate(first, starred=True)
    explorer = explore(lab)
    explorer.selected = [first]
    explorer.strategy.value = "reversal"
    assert _rows(explorer) == [second]
    assert "1 of them hidden by the filters" in explorer.status.value
    explorer.strategy.value = ""
    explorer.show.value = "starred"
    assert _rows(explorer) == [first]
    explorer.show.value = "archived"
    assert explorer.table.view["empty"] == "No iteration passes the filters."
    explorer.show.value = "all"
    explorer.search.value = "MARCH grid"
    assert _rows(explorer) == [second]
    explorer.search.value = "nowhere"
    assert "nowhere" in explorer.table.view["empty"]
    assert explorer.selected == [first]


@pytest.mark.slow
def test_stars_and_the_archive_are_kept_in_the_store(explore: Any, lab: fl.Lab) -> None:
    first = _save(lab)
    explorer = explore(lab)
    explorer.star_button.click()
    assert lab.iterations()["starred"].tolist() == [True]
    assert explorer.star_button.description == "Remove star"
    explorer.table._receive(None, {"event": "star", "id": first}, [])
    assert lab.iterations()["starred"].tolist() == [False]
    explorer.archive_button.click()
    assert lab.iterations()["archived"].tolist() == [True]
    assert _rows(explorer) == []
    explorer.archive_button.click()
    assert _rows(explorer) == [first]


def test_without_a_store_nothing_can_be_changed(lab: fl.Lab) -> None:
    first = _save(lab)
    explorer = Explorer(lab.frames)
    explorer.table._receive(None, {"event": "star", "id": first}, [])
    explorer.star_button.click()
    assert not explorer.table.editable
    assert explorer.star_button not in explorer.children[0].children
    assert lab.iterations()["starred"].tolist() == [False]
    explorer.close()


def test_an_empty_database_says_so(explore: Any, lab: fl.Lab) -> None:
    explorer = explore(lab)
    assert explorer.selected == []
    assert "No iteration is stored yet" in explorer.table.view["empty"]
    assert "0 of 0 iterations" in explorer.status.value
    run = _save(lab)
    explorer.refresh()
    assert _rows(explorer) == [run]


def test_a_run_without_equity_trades_and_metrics_says_so(explore: Any, lab: fl.Lab) -> None:
    strategy_id = lab.store.save_strategy_version("idea", "pass")
    bare = lab.store.save_iteration(strategy_id)
    explorer = explore(lab)
    assert explorer.selected == [bare]
    assert "No equity curve is stored for idea #1." in explorer.chart.value
    assert "<svg" not in explorer.chart.value
    assert "None noted" in explorer.suggestions.value
    explorer.selected = [bare, _save(lab)]
    assert "No equity curve is stored for idea #1." in explorer.chart.value
    assert "<svg" in explorer.chart.value


def test_text_of_the_database_is_escaped_everywhere(explore: Any, lab: fl.Lab) -> None:
    suggestion = {
        "priority": "high",
        "description": HOSTILE,
        "specific_changes": HOSTILE,
        "expected_impact": HOSTILE,
        "rationale": HOSTILE,
        "learning_references": [HOSTILE],
    }
    for growth in (1.001, 1.002):
        _save(
            lab,
            HOSTILE,
            growth,
            parameters={HOSTILE: HOSTILE + str(growth), "same" + HOSTILE: HOSTILE},
            suggestions=[suggestion],
            tags=[HOSTILE],
            note=HOSTILE,
            extra_metrics={HOSTILE: 1.0},
        )
    explorer = explore(lab)
    explorer.selected = _rows(explorer)
    shown = (explorer.status, explorer.chart, explorer.comparison, explorer.suggestions)
    assert [widget.value for widget in shown if "<img" in widget.value] == []
    assert "&lt;img src=x" in explorer.chart.value
    assert explorer.comparison.value.count("&lt;img src=x") >= 10
    assert explorer.suggestions.value.count("&lt;img src=x") == 12


def test_chinese_names_reach_the_table_the_chart_and_the_comparison(explore: Any, lab: fl.Lab) -> None:
    _save(lab, CHINESE)
    explorer = explore(lab)
    assert explorer.table.view["rows"][0]["name"] == f"{CHINESE} #1"
    assert CHINESE in explorer.chart.value
    assert CHINESE in explorer.comparison.value
    explorer.search.value = "台積"
    assert len(_rows(explorer)) == 1


@pytest.mark.slow
def test_a_suggestion_names_all_runs_that_applied_it(explore: Any, lab: fl.Lab) -> None:
    run = _save(lab, suggestions=[{"priority": "low", "description": "try it"}])
    number = lab.suggestions(run)["suggestion_id"].item()
    _save(lab, "<b>second", applies=[number])
    _save(lab, "third", applies=[number])
    explorer = explore(lab)
    explorer.selected = [run]
    assert "Applied by:</span> &lt;b&gt;second #1, third #1</p>" in explorer.suggestions.value


def test_suggestions_come_in_order_of_priority(explore: Any, lab: fl.Lab) -> None:
    suggestions = [{"priority": level, "description": f"a {level} thing"} for level in ("low", "high", "medium")]
    _save(lab, suggestions=suggestions)
    said = explore(lab).suggestions.value
    places = [said.index(f"a {level} thing") for level in ("high", "medium", "low")]
    assert places == sorted(places)


def test_a_problem_of_the_database_is_said_on_the_page(explore: Any, lab: fl.Lab) -> None:
    _save(lab)
    explorer = explore(lab)
    lab.close()
    explorer.refresh_button.click()
    assert "finlab-nb-problem" in explorer.status.value
    explorer.star_button.click()
    assert "finlab-nb-problem" in explorer.status.value


def test_a_crowd_is_cut_and_the_page_says_so(explore: Any, demo_lab: fl.Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finlab_nb.widgets.explorer.MOST_COMPARED", 5)
    explorer = explore(demo_lab)
    explorer.selected = _rows(explorer)[:7]
    assert "The chart shows the first 5 of 7 selected iterations." in explorer.chart.value
    assert "The comparison shows the first 5 of 7 selected iterations." in explorer.comparison.value


def test_it_says_what_it_is_in_one_line(explore: Any, lab: fl.Lab) -> None:
    _save(lab)
    assert repr(explore(lab)) == "Explorer(1 iterations, 1 selected)"


def test_closing_takes_every_widget_off_the_page(lab: fl.Lab) -> None:
    before = set(ipywidgets.widgets.widget._instances)
    _save(lab)
    explorer = lab.explore()
    explorer.close()
    left = [ipywidgets.widgets.widget._instances[key] for key in set(ipywidgets.widgets.widget._instances) - before]
    assert [
        type(widget).__name__ for widget in left if not isinstance(widget, (ipywidgets.Layout, ipywidgets.Style))
    ] == []


def test_parameters_have_columns_of_their_own_when_they_are_few(explore: Any, demo_lab: fl.Lab) -> None:
    explorer = explore(demo_lab)
    assert "parameters" in [column["key"] for column in explorer.table.view["columns"]]
    explorer.strategy.value = demo_lab.strategies()["name"].iloc[0]
    keys = [column["key"] for column in explorer.table.view["columns"]]
    assert {"param.fast", "param.slow"} <= set(keys)
    assert "param.exposure" not in keys
    assert "exposure" in explorer.comparison.value


def test_extra_metrics_that_are_known_have_a_label_and_a_format(explore: Any, lab: fl.Lab) -> None:
    extra = {"volatility": 0.1234, "max_consecutive_losses": 4, "profit_factor": float("inf"), "my_score": 0.1234}
    _save(lab, extra_metrics=extra)
    rows = dict(
        re.findall(r'<th scope="row">([^<]+)</th><td class="numbers">([^<]+)</td>', explore(lab).comparison.value)
    )
    assert rows["Volatility"] == "12.3%"
    assert rows["Max consecutive losses"] == "4"
    assert rows["Profit factor"] == "∞"
    assert rows["my_score"] == "0.1234"


def test_the_chart_can_have_a_log_scale(explore: Any, demo_lab: fl.Lab) -> None:
    explorer = explore(demo_lab)
    assert "log scale" not in explorer.chart.value
    explorer.log_scale.value = True
    assert "log scale" in explorer.chart.value
