"""Equity curves and their drawdowns: first what the figure shows, as numbers, then the drawing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, TypedDict

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from finlab_nb.analysis import drawdown, with_initial_capital
from finlab_nb.analysis.performance import Floats
from finlab_nb.figures.theme import (
    FAINT_INK,
    INK,
    LINE_STYLES,
    PALETTE,
    PAPER,
    as_plain_text,
    dress_axes,
    new_figure,
    one_line,
)

NO_CURVES: Final = "no equity curves"

# As many curves as a legend can name; if there are more, only those that end highest and lowest are named.
MOST_NAMED_CURVES: Final = 12
_MOST_FILLED_CURVES: Final = 3
_STRETCHES_NAMED: Final = 500
_STRETCHES_IN_CROWD: Final = 100
_LEGEND_CHARACTERS: Final = 100  # in one row, at the width of equity_figure
_FIGURE_WIDTH: Final = 9.0
_FIGURE_HEIGHT: Final = 4.6
_LEGEND_ROW_HEIGHT: Final = 0.2


class EquityCurve(NamedTuple):
    """One curve as it is drawn, without its gaps.

    ``dates`` (naive, in UTC where the frame was aware), ``equity`` and ``drawdown`` (fractions <= 0) have
    the same length and are in time order. ``equity`` is in currency, or the growth of 1 if rebased. The first point is
    the initial capital where that is known; the deepest drawdown is the max_drawdown of the iteration.
    """

    iteration_id: str
    label: str
    dates: pd.DatetimeIndex
    equity: Floats
    drawdown: Floats


class EquityInfo(NamedTuple):
    """What an equity figure shows: the curves in the order of the frame, and whether they show the growth of 1."""

    curves: tuple[EquityCurve, ...]
    rebased: bool


def equity_info(
    equity: pd.DataFrame,
    labels: Mapping[str, str] | None = None,
    *,
    initial_capital: Mapping[str, float] | pd.Series[Any] | None = None,
    rebase: bool = True,
) -> EquityInfo:
    """Compute what an equity figure shows.

    Parameters
    ----------
    equity
        Account values in currency: one column per iteration id, indexed by datetime. Columns may start and
        end on different dates and have gaps (NaN).
    labels
        The name to show for an iteration id; by default the id itself.
    initial_capital
        What the account of an iteration id began with, in currency; it may be a column of `Lab.iterations`, indexed by
        id. Where it differs from the first point, the curve begins with it one period earlier, as its metrics do.
    rebase
        Show the growth of 1 since the first point of each curve, so that accounts of different size and
        start can be compared. A curve that starts at 0 or less has no growth and is left out.

    Returns
    -------
    EquityInfo
        Columns without a single finite value are left out.

    Raises
    ------
    ValueError
        If the frame has values but no DatetimeIndex.

    Examples
    --------
    >>> days = pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-04"])
    >>> info = equity_info(pd.DataFrame({"a": [200.0, 220.0, 165.0]}, index=days), {"a": "Momentum"})
    >>> info.curves[0].label, info.curves[0].equity.tolist(), info.curves[0].drawdown.tolist()
    ('Momentum', [1.0, 1.1, 0.825], [0.0, 0.0, -0.25])
    """
    if equity.empty:
        return EquityInfo((), rebase)
    if not isinstance(equity.index, pd.DatetimeIndex):
        raise ValueError(f"equity must be indexed by datetime, not by {type(equity.index).__name__}")
    names = {} if labels is None else labels
    capitals = {} if initial_capital is None else initial_capital
    columns = ((str(name), equity.iloc[:, place]) for place, name in enumerate(equity.columns))
    curves = (
        _curve(name, str(names.get(name, name)), column, capitals.get(name), rebase=rebase) for name, column in columns
    )
    return EquityInfo(tuple(curve for curve in curves if curve is not None), rebase)


def draw_equity(info: EquityInfo, ax: Axes | None = None, *, log: bool = False, legend: bool = True) -> Axes:
    """Draw the equity curves.

    Parameters
    ----------
    info
        What `equity_info` computed.
    ax
        Where to draw; axes of a new figure by default.
    log
        Use a logarithmic scale, on which equal rates of growth have equal slopes. Values of 0 or
        less are not drawn.
    legend
        Name the curves inside the axes: all of up to twelve curves, else those that end highest and lowest.

    Returns
    -------
    Axes
        ``ax``, or the new axes.
    """
    ax = _dressed(info, ax, _equity_title(info, log=log))
    if not info.curves:
        return ax
    if info.rebased:
        ax.axhline(1.0, color=FAINT_INK, linewidth=0.8, alpha=0.6, zorder=1)
    for curve, style in zip(info.curves, _styles(info), strict=True):
        _draw_line(ax, *_thinned(curve.dates, curve.equity, style), style)
    _set_equity_scale(ax, info, log=log)
    _set_date_axis(ax)
    if legend:
        handles, texts = _legend_entries(info)
        _name_curves(ax, handles, texts, loc="upper left", facecolor=PAPER, edgecolor="none", framealpha=0.85)
    return ax


def draw_drawdown(info: EquityInfo, ax: Axes | None = None) -> Axes:
    """Draw the drawdown of each curve in percent, in the colours of `draw_equity`; `ax` is as there."""
    ax = _dressed(info, ax, "Drawdown")
    if not info.curves:
        return ax
    filled = len(info.curves) <= _MOST_FILLED_CURVES
    for curve, style in zip(info.curves, _styles(info), strict=True):
        dates, falls = _thinned(curve.dates, curve.drawdown, style)
        _draw_line(ax, dates, falls, style, thinner=0.65)
        if filled:
            ax.fill_between(dates, falls, 0.0, color=style["color"], alpha=0.12, linewidth=0)
    deepest = np.fmin.reduce(np.concatenate([curve.drawdown for curve in info.curves]))
    depth = max(-deepest, 0.01) if np.isfinite(deepest) else 1.0
    ax.set_ylim(-1.06 * depth, 0.02 * depth)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent_text(value)))
    _set_date_axis(ax)
    return ax


def equity_figure(info: EquityInfo, *, log: bool = False) -> Figure:
    """Return a figure of the equity curves above and their drawdowns below, on one date axis.

    Parameters
    ----------
    info
        What `equity_info` computed. Without curves the figure says "no equity curves".
    log
        Use a logarithmic scale for the equity.

    Returns
    -------
    Figure
        Independent of pyplot: it is gone when nothing refers to it. `themed_svg` shows it in a notebook,
        ``savefig`` writes it to a file.
    """
    if not info.curves:
        return _empty_figure()
    handles, texts = _legend_entries(info)
    columns = _legend_columns(texts)
    rows = -(-len(texts) // columns)
    figure = new_figure(_FIGURE_WIDTH, _FIGURE_HEIGHT + _LEGEND_ROW_HEIGHT * rows)
    count = len(info.curves)
    figure.set_label(f"Equity and drawdown of {count} {'iteration' if count == 1 else 'iterations'}")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1.0])
    draw_equity(info, upper, log=log, legend=False)
    draw_drawdown(info, lower)
    _name_curves(figure, handles, texts, loc="outside upper left", frameon=False, ncols=columns)
    return figure


def _curve(
    iteration_id: str, label: str, column: pd.Series[Any], initial_capital: float | None, *, rebase: bool
) -> EquityCurve | None:
    index = pd.DatetimeIndex(column.index)
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(values) & np.asarray(index.notna())
    if not known.any():
        return None
    dates = index[known] if index.tz is None else index[known].tz_convert(None)
    capital = None if pd.isna(initial_capital) else initial_capital
    points = with_initial_capital(pd.Series(values[known], index=dates), capital)
    amounts = points.to_numpy(dtype=np.float64)
    if rebase and amounts[0] <= 0:
        return None
    return EquityCurve(
        iteration_id=iteration_id,
        label=label,
        dates=pd.DatetimeIndex(points.index),
        equity=amounts / amounts[0] if rebase else amounts,
        drawdown=np.asarray(drawdown(points), dtype=np.float64),
    )


class _Style(TypedDict):
    color: str
    linestyle: Literal["solid", "dashed", "dotted"]
    linewidth: float
    alpha: float
    zorder: float


def _styles(info: EquityInfo) -> list[_Style]:
    """One style per curve; among many curves only those that the legend names stand out."""
    if len(info.curves) <= MOST_NAMED_CURVES:
        return [_named_style(place) for place in range(len(info.curves))]
    highest, lowest = _ends(info)
    crowd = _Style(color=FAINT_INK, linestyle="solid", linewidth=0.6, alpha=0.35, zorder=2.0)
    styles = [crowd] * len(info.curves)
    styles[lowest] = _named_style(1)
    styles[highest] = _named_style(0)
    return styles


def _named_style(place: int) -> _Style:
    turn, colour = divmod(place, len(PALETTE))
    return _Style(
        color=PALETTE[colour],
        linestyle=LINE_STYLES[turn % len(LINE_STYLES)],
        linewidth=1.6 if turn == 0 else 1.4,
        alpha=1.0,
        zorder=3.0 - place / 100,
    )


def _ends(info: EquityInfo) -> tuple[int, int]:
    """Places of the curves that end highest and lowest."""
    last = [float(curve.equity[-1]) for curve in info.curves]
    return int(np.argmax(last)), int(np.argmin(last))


def _legend_entries(info: EquityInfo) -> tuple[list[Line2D], list[str]]:
    styles = _styles(info)
    named: list[tuple[str, _Style]]
    if len(info.curves) <= MOST_NAMED_CURVES:
        named = [(curve.label, style) for curve, style in zip(info.curves, styles, strict=True)]
    else:
        highest, lowest = _ends(info)
        others = next(place for place in range(len(styles)) if place not in (highest, lowest))
        named = [
            (f"highest: {info.curves[highest].label}", styles[highest]),
            (f"lowest: {info.curves[lowest].label}", styles[lowest]),
            (f"{len(styles) - 2} others", styles[others]),
        ]
    handles = [
        Line2D([], [], color=style["color"], linestyle=style["linestyle"], linewidth=style["linewidth"])
        for _, style in named
    ]
    return handles, [one_line(text) for text, _ in named]


def _legend_columns(texts: list[str]) -> int:
    longest = max(_width(text) for text in texts)
    return max(1, min(4, len(texts), _LEGEND_CHARACTERS // (longest + 6)))


def _width(text: str) -> int:
    """Width in Latin characters: a CJK character takes two."""
    return sum(2 if character >= "\u2e80" else 1 for character in text)


def _name_curves(place: Axes | Figure, handles: list[Line2D], texts: list[str], **options: Any) -> None:
    # Set afterwards, because a legend treats a name with a leading underscore as private.
    numbers = [str(number) for number, _ in enumerate(texts)]
    # Room for a browser with a wider font than the one that matplotlib measures.
    spacing = max(2.4, 0.12 * max(_width(text) for text in texts))
    legend = place.legend(
        handles, numbers, fontsize=9, labelcolor=INK, handlelength=2.0, columnspacing=spacing, **options
    )
    for shown, text in zip(legend.get_texts(), texts, strict=True):
        as_plain_text(shown).set_text(text)


def _dressed(info: EquityInfo, ax: Axes | None, title: str) -> Axes:
    if ax is None:
        ax = new_figure(_FIGURE_WIDTH, _FIGURE_HEIGHT).add_subplot()
    dress_axes(ax, title)
    if not info.curves:
        ax.set_xticks([])
        ax.set_yticks([])
        message = ax.text(0.5, 0.5, NO_CURVES, transform=ax.transAxes, ha="center", va="center")
        as_plain_text(message).set_color(FAINT_INK)
    return ax


def _draw_line(ax: Axes, dates: pd.DatetimeIndex, values: Floats, style: _Style, *, thinner: float = 1.0) -> None:
    marker = "o" if len(dates) == 1 else "None"
    (line,) = ax.plot(dates, values, marker=marker, markersize=4, solid_capstyle="round", **style)
    line.set_linewidth(thinner * style["linewidth"])


def _thinned(dates: pd.DatetimeIndex, values: Floats, style: _Style) -> tuple[pd.DatetimeIndex, Floats]:
    """Drop points that the eye cannot tell apart: the lowest and the highest of each small stretch stay."""
    stretches = _STRETCHES_NAMED if style["alpha"] == 1.0 else _STRETCHES_IN_CROWD
    size = -(-len(values) // stretches)
    if size <= 2:
        return dates, values
    rows = np.full(size * -(-len(values) // size), np.nan)
    rows[: len(values)] = values
    starts = np.arange(0, rows.size, size)
    table = rows.reshape(-1, size)
    lowest = np.where(np.isnan(table), np.inf, table).argmin(axis=1)
    highest = np.where(np.isnan(table), -np.inf, table).argmax(axis=1)
    kept = np.unique(np.concatenate([[0], starts + lowest, starts + highest, [len(values) - 1]]))
    return dates[kept], values[kept]


def _equity_title(info: EquityInfo, *, log: bool) -> str:
    return ("Growth of 1" if info.rebased else "Equity") + (" (log scale)" if log else "")


def _set_equity_scale(ax: Axes, info: EquityInfo, *, log: bool) -> None:
    values = np.concatenate([curve.equity for curve in info.curves])
    positive = values[values > 0]
    if log and positive.size:
        ax.set_yscale("log", nonpositive="mask")
        ax.yaxis.set_minor_locator(NullLocator())
        if positive.max() > 6 * positive.min():
            ax.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=12))
        else:
            ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    else:
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: amount_text(value)))


def _set_date_axis(ax: Axes) -> None:
    locator = AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    ax.margins(x=0.01)


def amount_text(value: float) -> str:
    """Return an amount of currency, or a growth factor, as short as an axis needs.

    Examples
    --------
    >>> [amount_text(value) for value in (1.25, 0.0, 12_500.0, 1_200_000.0, -3e9)]
    ['1.25', '0', '12.5k', '1.2M', '−3B']
    """
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def percent_text(fraction: float) -> str:
    """Return a fraction as a percentage for an axis.

    Examples
    --------
    >>> [percent_text(fraction) for fraction in (0.0, -0.025, -0.4)]
    ['0%', '−2.5%', '−40%']
    """
    return f"{100 * fraction:.4g}%".replace("-", "−")


def _empty_figure() -> Figure:
    figure = new_figure(_FIGURE_WIDTH, 1.6)
    figure.set_label(NO_CURVES)
    as_plain_text(figure.text(0.5, 0.5, NO_CURVES, ha="center", va="center")).set_color(FAINT_INK)
    return figure
