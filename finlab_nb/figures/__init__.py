"""Figures: what a figure shows is computed as numbers, then drawn with matplotlib; nothing touches pyplot."""

from finlab_nb.figures.equity import (
    EquityCurve,
    EquityInfo,
    draw_drawdown,
    draw_equity,
    equity_figure,
    equity_info,
)
from finlab_nb.figures.theme import font_families, themed_svg

__all__ = [
    "EquityCurve",
    "EquityInfo",
    "draw_drawdown",
    "draw_equity",
    "equity_figure",
    "equity_info",
    "font_families",
    "themed_svg",
]
