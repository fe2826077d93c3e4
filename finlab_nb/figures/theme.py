"""How figures look: colours, fonts, and inline SVG that follows JupyterLab's light and dark themes live."""

from __future__ import annotations

import io
import re
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final, Literal
from xml.etree import ElementTree as ET

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

# On paper these are the colours of a light theme; in a notebook each becomes a variable of the theme.
INK: Final = "#212121"
FAINT_INK: Final = "#616161"
LINE: Final = "#e0e0e0"
PAPER: Final = "#ffffff"

_THEMED_COLOURS: Final[Mapping[str, str]] = {
    INK: f"var(--jp-ui-font-color1, {INK})",
    "#000000": f"var(--jp-ui-font-color1, {INK})",
    FAINT_INK: f"var(--jp-ui-font-color2, {FAINT_INK})",
    LINE: f"var(--jp-border-color2, {LINE})",
    PAPER: f"var(--jp-layout-color0, {PAPER})",
}
_THEMED_FONT: Final = "var(--jp-ui-font-family, system-ui, sans-serif)"

# Distinct even with red-green blindness (simulated distance in OKLab at least 0.11), with a contrast of at least
# 3:1 against both white and JupyterLab's dark background.
PALETTE: Final = ("#1f6fd6", "#e8590c", "#2a9d86", "#c41a06", "#0099dc", "#396a77")
LINE_STYLES: Final[tuple[Literal["solid", "dashed", "dotted"], ...]] = ("solid", "dashed", "dotted")

_CJK_FAMILIES: Final = (
    "Noto Sans CJK TC",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans TC",
    "Noto Sans SC",
    "Source Han Sans TC",
    "Source Han Sans SC",
    "Microsoft JhengHei",
    "Microsoft YaHei",
    "PingFang TC",
    "PingFang HK",
    "Heiti TC",
    "Heiti SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
)
_LAST_FAMILY: Final = "DejaVu Sans"  # comes with matplotlib

_LONGEST_TEXT: Final = 48
_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")
_ILLEGAL_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_LONG_DECIMALS = re.compile(r"(\.\d\d)\d+")


@lru_cache(maxsize=1)
def font_families() -> tuple[str, ...]:
    """Return the installed font families that draw Latin and Chinese text, best first.

    Returns
    -------
    tuple of str
        Only families that matplotlib knows, so that it has nothing to warn about; "DejaVu Sans", which comes
        with matplotlib, is always last.
    """
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    return (*(family for family in _CJK_FAMILIES if family in installed), _LAST_FAMILY)


def one_line(text: object, longest: int = _LONGEST_TEXT) -> str:
    """Return text as a figure can show it: printable, on one line, at most ``longest`` characters."""
    line = " ".join(_NOT_PRINTABLE.sub(" ", str(text)).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def as_plain_text(text: Text) -> Text:
    """Make a figure's text literal: no ``$`` starts a formula, and the fonts include Chinese."""
    text.set_parse_math(False)
    text.set_usetex(False)
    text.set_fontfamily(list(font_families()))
    return text


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size (inches) with a themed background, unknown to pyplot."""
    return Figure(
        figsize=(width, height), dpi=100, facecolor=PAPER, edgecolor=PAPER, layout="constrained", frameon=True
    )


def dress_axes(ax: Axes, title: str) -> None:
    """Give axes the package's look: a title at the left, horizontal grid lines, no box."""
    families = list(font_families())
    ax.set_facecolor(PAPER)
    as_plain_text(ax.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK, pad=8))
    for side, spine in ax.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(LINE)
    ax.set_axisbelow(True)
    ax.grid(visible=True, which="major", axis="y", color=LINE, linewidth=0.8, linestyle="solid", alpha=1.0)
    ax.grid(visible=False, which="both", axis="x")
    ax.tick_params(which="both", length=0, pad=6, labelsize=9, labelcolor=FAINT_INK, labelfontfamily=families)
    for axis in (ax.xaxis, ax.yaxis):
        as_plain_text(axis.get_offset_text()).set_color(FAINT_INK)


def themed_svg(fig: Figure) -> str:
    """Return a figure as inline SVG that follows JupyterLab's theme while it is shown.

    Parameters
    ----------
    fig
        Any matplotlib figure. Its label (``fig.set_label``) becomes the text for screen readers.

    Returns
    -------
    str
        One ``<svg>`` element, as wide as its place allows. Black, white and the greys of this package become
        variables of the theme; text stays text, in the browser's fonts; ids are unique to this call; it
        contains no script, style sheet or link, and all text is escaped.
    """
    root = ET.fromstring(_ILLEGAL_IN_XML.sub("", _svg_of(fig)))  # noqa: S314 (written by matplotlib)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local_name(child.tag) in {"metadata", "style", "script", "title"}:
                parent.remove(child)
    _rename_ids(root, f"figure-{uuid.uuid4().hex[:12]}-")
    for element in root.iter():
        element.tag = _local_name(element.tag)
        _theme_element(element)
    _make_responsive(root, one_line(fig.get_label(), longest=300))
    return ET.tostring(root, encoding="unicode")


def _svg_of(fig: Figure) -> str:
    buffer = io.StringIO()
    with (
        mpl.rc_context({"svg.fonttype": "none", "svg.image_inline": True, "path.simplify": True}),
        warnings.catch_warnings(),
    ):
        # The browser's fonts draw the text, so glyphs that this machine's fonts lack do not matter.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        fig.savefig(buffer, format="svg")
    return buffer.getvalue()


def _local_name(name: object) -> str:
    return str(name).rpartition("}")[2]


def _rename_ids(root: ET.Element, prefix: str) -> None:
    """Keep the ids that something refers to, under unique names; drop the others."""
    used = set(_references(root))

    def renamed(match: re.Match[str]) -> str:
        return f"url(#{prefix}{match[1]})"

    for element in root.iter():
        for name, value in list(element.attrib.items()):
            if name == "id":
                del element.attrib[name]
                if value in used:
                    element.set(name, prefix + value)
            elif _local_name(name) == "href":
                del element.attrib[name]
                if value.startswith("#"):
                    element.set("href", f"#{prefix}{value[1:]}")
                elif value.startswith("data:image/png;base64,"):
                    element.set("href", value)
            else:
                element.set(name, _REFERENCE.sub(renamed, value))


def _references(root: ET.Element) -> Iterator[str]:
    for element in root.iter():
        for name, value in element.attrib.items():
            if _local_name(name) == "href":
                yield value.removeprefix("#")
            yield from _REFERENCE.findall(value)


def _theme_element(element: ET.Element) -> None:
    style = element.get("style", "")
    if element.tag in {"text", "tspan"} and style:
        inherited = "" if "fill:" in style else f"; fill: {INK}"
        style = f"{style.rstrip('; ')}; font-family: {_THEMED_FONT}{inherited}"
    if style:
        element.set("style", _themed(style))
    if "d" in element.attrib:
        element.set("d", _LONG_DECIMALS.sub(r"\1", element.attrib["d"]))
    for name in ("fill", "stroke"):
        if name in element.attrib:
            element.set(name, _themed(element.attrib[name]))


def _themed(declarations: str) -> str:
    variable: Callable[[re.Match[str]], str] = lambda match: _THEMED_COLOURS.get(match[0], match[0])  # noqa: E731
    return _COLOUR.sub(variable, declarations)


def _make_responsive(root: ET.Element, description: str) -> None:
    width = float(root.get("viewBox", "0 0 720 360").split()[2])
    attributes = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": root.get("viewBox", ""),
        "width": "100%",
        "role": "img",
        "aria-label": description or "Figure",
        # matplotlib puts the first two in a style sheet, which would affect every SVG on the page.
        "style": f"stroke-linejoin: round; stroke-linecap: butt; display: block; height: auto; "
        f"max-width: {round(1.75 * width)}px",
    }
    root.attrib.clear()
    root.attrib.update(attributes)
