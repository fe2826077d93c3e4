"""The explorer as a person meets it: in JupyterLab, in Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=\"document.title='executed'\">"
CHINESE = "動量策略 台積電"

# Contrast as WCAG 2 defines it, between the text of an element and the first ground behind it that is opaque.
CONTRAST = """(element) => {
    const paint = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const channels = (colour) => {
        paint.clearRect(0, 0, 1, 1);
        paint.fillStyle = colour;
        paint.fillRect(0, 0, 1, 1);
        return [...paint.getImageData(0, 0, 1, 1).data];
    };
    const luminance = (colour) => {
        const [r, g, b] = colour.map((c) => (c <= 10 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let ground = element;
    const clear = (node) => channels(getComputedStyle(node).backgroundColor)[3] < 255;
    while (ground.parentElement && clear(ground)) ground = ground.parentElement;
    const style = getComputedStyle(element);
    const text = element instanceof SVGElement ? style.fill : style.color;
    const pair = [text, getComputedStyle(ground).backgroundColor].map((c) => luminance(channels(c)));
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}"""
READABLE = (
    ".finlab-nb-grid th button",
    ".finlab-nb-grid td.text",
    ".finlab-nb-grid td.number",
    ".finlab-nb-grid tr[aria-selected='true'] td.number",
    ".finlab-nb-range",
    ".finlab-nb-hint",
    ".finlab-nb-comparison td",
    ".finlab-nb-comparison tbody th",
    ".finlab-nb-comparison tr.group th",
    ".finlab-nb-priority",
    ".finlab-nb-suggestions strong",
    ".finlab-nb-label",
    ".finlab-nb-controls .widget-label",
    ".finlab-nb-controls select",
    ".finlab-nb-controls button:not(:disabled)",
    ".finlab-nb-figure svg text",
)


@pytest.fixture
def demo_notebook(notebook_folder: Path, demo_copy: Path) -> str:
    """Return where the browser finds a copy of the first notebook, beside a copy of the demo."""
    source = Path(__file__).parents[2] / "notebooks" / "01_explore.ipynb"
    copied = shutil.copy(source, demo_copy.parent / source.name)
    return copied.relative_to(notebook_folder).as_posix()


@pytest.fixture
def open_explorer(open_notebook: Callable[..., Any], demo_copy: Path) -> Callable[..., Any]:
    """Return a function that opens a notebook with nothing but the explorer of the demo in it."""

    def open_it(*more: str, **size: int) -> Any:
        database = f"{demo_copy.parent.name}/{demo_copy.name}"
        cell = f"import finlab_nb as fl\nlab = fl.Lab({database!r})\nexplorer = lab.explore()\nexplorer"
        notebook = open_notebook([cell, *more], **size)
        notebook.run_all()
        expect(notebook.page.locator("tr[data-id]")).not_to_have_count(0)
        return notebook

    return open_it


def _explorer(page: Page) -> Locator:
    return page.locator(".finlab-nb-explorer")


def _rows(page: Page) -> Locator:
    return page.locator("tr[data-id]")


def _names_compared(page: Page) -> Locator:
    return page.locator(".finlab-nb-comparison thead th")


def _curves(page: Page) -> str:
    return str(page.locator(".finlab-nb-figure svg").first.inner_html())


def _selected(page: Page) -> Locator:
    return page.locator("tr[data-id][aria-selected='true']")


def test_the_notebook_runs_and_another_row_changes_chart_and_metrics(
    open_notebook: Callable[..., Any], demo_notebook: str
) -> None:
    notebook = open_notebook(demo_notebook, height=4200)
    page = notebook.page
    notebook.run_all()
    expect(_names_compared(page)).to_have_count(3, timeout=30_000)
    page.get_by_role("button", name="Clear selection").click()
    expect(page.get_by_text("Select an iteration in the table")).to_be_visible()

    _rows(page).nth(0).locator("td.number").nth(1).click()
    expect(_names_compared(page)).to_have_count(1)
    first_metrics, first_curves = page.locator(".finlab-nb-comparison").inner_text(), _curves(page)
    _rows(page).nth(1).locator("td.number").nth(1).click()
    expect(page.locator(".finlab-nb-comparison")).not_to_have_text(first_metrics, use_inner_text=True)
    expect(_selected(page)).to_have_count(1)
    sharpe_ratio = _rows(page).nth(1).locator("td").nth(5).inner_text()
    expect(page.locator(".finlab-nb-comparison tr", has_text="Sharpe ratio").locator("td")).to_have_text(sharpe_ratio)
    assert _curves(page) != first_curves
    notebook.screenshot("notebook.png")
    assert notebook.errors == []


def test_ticked_rows_are_compared_and_the_picture_for_the_readme_is_taken(open_explorer: Callable[..., Any]) -> None:
    notebook = open_explorer(width=1800, height=2600)
    page = notebook.page
    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
    for place in (5, 14):
        _rows(page).nth(place).get_by_role("checkbox").click()
    expect(_names_compared(page)).to_have_count(3)
    expect(_selected(page)).to_have_count(3)
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(3)
    assert all(
        name in page.locator(".finlab-nb-figure").inner_text() for name in _names_compared(page).all_inner_texts()
    )
    page.get_by_label("Log scale").check()
    expect(page.locator(".finlab-nb-figure")).to_contain_text("log scale")
    page.mouse.move(0, 0)
    picture = notebook.screenshot("explorer.png", ".finlab-nb-explorer", height=1455)
    assert picture.stat().st_size > 20_000
    assert notebook.errors == []


def test_the_table_sorts_pages_searches_and_filters(open_explorer: Callable[..., Any]) -> None:
    notebook = open_explorer()
    page = notebook.page
    total = int(re.search(r"of (\d+)", page.locator(".finlab-nb-range").inner_text()).group(1))
    assert total > 15
    best = _rows(page).first.inner_text()
    page.get_by_role("button", name="Sharpe ratio").click()
    expect(page.get_by_role("columnheader", name="Sharpe ratio")).to_have_attribute("aria-sort", "ascending")
    expect(_rows(page).first).not_to_have_text(best, use_inner_text=True)
    page.get_by_role("button", name="Next page").click()
    expect(page.locator(".finlab-nb-range")).to_have_text(f"16–30 of {total}")
    page.get_by_label("Rows on a page").select_option("200")
    expect(_rows(page)).to_have_count(total)
    _explorer(page).get_by_label("Show").select_option("Starred")
    expect(_rows(page)).to_have_count(1)
    _explorer(page).get_by_label("Show").select_option("Everything")
    expect(_rows(page)).to_have_count(total)
    _explorer(page).get_by_label("Search").fill("breakout")
    expect(_rows(page).filter(has_not_text="breakout")).to_have_count(0)
    expect(_rows(page)).not_to_have_count(0)
    _explorer(page).get_by_label("Search").fill("no such thing")
    expect(page.get_by_text("No iteration matches “no such thing”.")).to_be_visible()
    assert notebook.errors == []


def test_the_keyboard_moves_ticks_and_selects(open_explorer: Callable[..., Any]) -> None:
    notebook = open_explorer()
    page = notebook.page
    expect(_selected(page)).to_have_count(1)
    page.locator("tr[data-id][tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    expect(_selected(page)).to_have_count(2)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(_selected(page)).to_have_count(1)
    expect(_rows(page).nth(2)).to_have_attribute("aria-selected", "true")
    expect(_rows(page).nth(2)).to_be_focused()
    page.keyboard.press("PageDown")
    expect(page.locator(".finlab-nb-range")).to_contain_text("16–")
    expect(page.locator("tr[data-id]:focus")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.get_by_text("Select an iteration in the table")).to_be_visible()
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1  # no key reached the notebook
    assert notebook.errors == []


def test_refresh_shows_what_another_process_saved(open_explorer: Callable[..., Any], demo_copy: Path) -> None:
    import finlab_nb as fl

    notebook = open_explorer()
    page = notebook.page
    with fl.StorageManager(demo_copy) as store:
        sid = store.save_strategy_version("saved elsewhere", "pass")
        store.save_iteration(sid, metrics={"sharpe_ratio": 9.5})
    expect(page.get_by_text("saved elsewhere")).to_have_count(0)
    selected = _names_compared(page).inner_text()
    _explorer(page).get_by_role("button", name="Refresh").click()
    expect(_rows(page).first).to_contain_text("saved elsewhere")
    expect(_names_compared(page)).to_have_text(selected)
    page.get_by_role("button", name="Star saved elsewhere #1").click()
    expect(page.get_by_role("button", name="Star saved elsewhere #1")).to_have_attribute("aria-pressed", "true")
    assert notebook.errors == []


def test_hostile_and_chinese_text_is_shown_as_text(open_notebook: Callable[..., Any]) -> None:
    cell = f"""
import pandas as pd
import finlab_nb as fl
lab = fl.Lab(":memory:")
hostile, days = {HOSTILE!r}, pd.bdate_range("2024-01-01", periods=60)
for name in (hostile, {CHINESE!r}):
    equity = pd.Series(range(100, 160), index=days, dtype=float)
    sid = lab.store.save_strategy_version(name, hostile)
    advice = {{"priority": "high", "description": hostile, "learning_references": [hostile]}}
    lab.store.save_iteration(sid, equity=equity, parameters={{hostile: hostile + name}}, suggestions=[advice],
                             tags=[hostile], note=hostile, extra_metrics={{hostile: 1.0}})
explorer = lab.explore()
explorer.selected = explorer.table.shown
explorer"""
    notebook = open_notebook([cell])
    notebook.run_all()
    page = notebook.page
    expect(_names_compared(page)).to_have_text([re.compile("img src|動量"), re.compile("img src|動量")])
    for place in (".finlab-nb-grid", ".finlab-nb-figure svg", ".finlab-nb-comparison", ".finlab-nb-controls"):
        expect(page.locator(place)).to_contain_text(HOSTILE)
        expect(page.locator(place)).to_contain_text(CHINESE)
    expect(page.locator(".finlab-nb-suggestions")).to_contain_text(HOSTILE)
    _explorer(page).get_by_label("Search").fill(HOSTILE)
    expect(page.locator(".finlab-nb-explorer img")).to_have_count(0)
    notebook.screenshot("hostile-and-chinese.png")
    assert "executed" not in page.title()
    assert notebook.errors == []


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_text_is_readable_in_both_themes(open_explorer: Callable[..., Any], theme: str) -> None:
    notebook = open_explorer("explorer.selected = explorer.table.shown[:3]")
    page = notebook.page
    notebook.use_theme(theme)
    expect(_names_compared(page)).to_have_count(3)
    page.mouse.move(0, 0)
    short = theme.split()[-1].lower()
    notebook.screenshot(f"explorer-{short}.png")
    contrast = {place: page.locator(place).first.evaluate(CONTRAST) for place in READABLE}
    assert {place: round(value, 2) for place, value in contrast.items() if value < 4.5} == {}
    page.set_viewport_size({"width": 760, "height": 2400})
    page.wait_for_timeout(500)
    notebook.screenshot(f"explorer-{short}-narrow.png")
    assert notebook.errors == []


def test_an_empty_database_is_explained(open_notebook: Callable[..., Any]) -> None:
    notebook = open_notebook(["import finlab_nb as fl\nfl.Lab(':memory:').explore()"])
    notebook.run_all()
    expect(notebook.page.get_by_text("No iteration is stored yet")).to_be_visible()
    notebook.screenshot("empty.png")
    assert notebook.errors == []
