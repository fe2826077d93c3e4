"""Inline SVG: themed, escaped, alone on its page."""

import re
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from matplotlib.figure import Figure

from finlab_nb.figures import equity_figure, equity_info, themed_svg
from finlab_nb.figures.theme import one_line

SCRIPT = "<script>alert('x')</script>&\"</text>"


def figure(label: str = "Momentum") -> Figure:
    days = pd.bdate_range("2024-01-01", periods=30)
    curves = pd.DataFrame({"a": range(100, 130), "b": range(200, 170, -1)}, index=days, dtype=float)
    return equity_figure(equity_info(curves, {"a": label}))


def elements(svg: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter())


def names(svg: str) -> set[str]:
    return {element.tag.rpartition("}")[2] for element in elements(svg)}


def test_the_colours_are_the_variables_of_the_theme():
    svg = themed_svg(figure())
    for variable in ("--jp-ui-font-color1", "--jp-ui-font-color2", "--jp-layout-color0", "--jp-border-color2"):
        assert f"var({variable}, #" in svg
    assert not re.search(r"(fill|stroke): ?#(000000|ffffff|212121|616161|e0e0e0)", svg)


def test_text_stays_text_in_the_fonts_of_the_browser():
    svg = themed_svg(figure("動能策略"))
    shown = ["".join(element.itertext()) for element in elements(svg) if element.tag.endswith("}text")]
    assert {"動能策略", "b", "Growth of 1", "Drawdown"} <= set(shown)
    for element in elements(svg):
        if element.tag.endswith("}text"):
            assert element.get("style", "").count("var(--jp-ui-font-family") == 1


def test_a_script_in_a_name_is_only_text():
    svg = themed_svg(figure(SCRIPT))
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg
    assert "script" not in names(svg)


def test_a_name_is_never_taken_for_a_colour_or_an_id():
    assert "#ffffff url(#clip)" in themed_svg(figure("#ffffff url(#clip)"))


def test_nothing_in_it_reaches_the_page():
    drawing = figure()
    drawing.axes[0].lines[0].set_url("javascript:alert(1)")
    drawing.axes[0].set_gid('"><script>')
    svg = themed_svg(drawing)
    assert not names(svg) & {"style", "script", "metadata", "foreignObject"}
    assert "javascript" not in svg
    for element in elements(svg):
        assert not [name for name in element.attrib if name.startswith("on")]


def test_two_drawings_share_no_id_and_every_reference_is_met():
    drawing = figure()
    seen: set[str] = set()
    for svg in (themed_svg(drawing), themed_svg(drawing)):
        own = {element.get("id") for element in elements(svg)} - {None}
        used = set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg))
        assert own == used
        assert not own & seen
        seen |= own


def test_it_is_as_wide_as_its_place_and_says_what_it_is():
    root = ET.fromstring(themed_svg(figure()))
    assert root.get("width") == "100%"
    assert root.get("height") is None
    assert root.get("viewBox", "").startswith("0 0 ")
    assert (root.get("role"), root.get("aria-label")) == ("img", "Equity and drawdown of 2 iterations")


@pytest.mark.parametrize("label", ["emoji 🚀 and ⼿", "a\x00\x07b", "\ud800"])
def test_what_no_font_here_can_draw_is_left_to_the_browser(label: str):
    assert names(themed_svg(figure(label)))


def test_any_other_figure_is_themed_too():
    other = Figure()
    ax = other.add_subplot()
    ax.set_title("Returns")
    ax.plot([1, 2], [1, 2], "o")
    ax.imshow([[1, 2], [3, 4]])
    svg = themed_svg(other)
    assert "data:image/png;base64," in svg
    title = next(
        element
        for element in elements(svg)
        if "".join(element.itertext()).strip() == "Returns" and element.tag.endswith("}text")
    )
    assert "fill: var(--jp-ui-font-color1" in title.get("style", "")


def test_the_figure_stays_as_it_was():
    drawing = figure()
    before = [(text.get_text(), text.get_color()) for text in drawing.legends[0].get_texts()]
    themed_svg(drawing)
    assert [(text.get_text(), text.get_color()) for text in drawing.legends[0].get_texts()] == before


def test_an_svg_of_a_dozen_long_curves_stays_small():
    days = pd.bdate_range("2000-01-01", periods=3270)
    random = pd.Series(range(3270)).mod(7).to_numpy()
    curves = pd.DataFrame({f"run-{n}": 100.0 + random * (n + 1) for n in range(12)}, index=days)
    assert len(themed_svg(equity_figure(equity_info(curves)))) < 700_000


def test_one_line_shortens_and_cleans():
    assert one_line(" a\n\tb ") == "a b"
    assert one_line("x" * 60, longest=10) == "xxxxxxxxx…"
    assert one_line(None) == "None"
