"""What an equity figure shows, as numbers and labels, and that it can be drawn from any book."""

import gc
import math
import subprocess
import sys
import weakref

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finlab_nb.analysis import max_drawdown
from finlab_nb.figures import (
    EquityInfo,
    draw_drawdown,
    draw_equity,
    equity_figure,
    equity_info,
    font_families,
)
from finlab_nb.figures.equity import amount_text, percent_text
from finlab_nb.figures.theme import PALETTE


def frame(curves: int, days: int = 400) -> pd.DataFrame:
    random = np.random.default_rng(7)
    steps = 1 + random.normal(5e-4, 0.01, (days, curves))
    columns = [f"run-{number}" for number in range(curves)]
    return pd.DataFrame(
        1e6 * np.cumprod(steps, axis=0), index=pd.bdate_range("2020-01-01", periods=days), columns=columns
    )


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def saved(figure: Figure, path) -> bytes:
    figure.savefig(path / "figure.png", dpi=60)
    return (path / "figure.png").read_bytes()


def test_a_curve_is_rebased_to_the_growth_of_one():
    days = pd.date_range("2024-01-02", periods=4)
    info = equity_info(pd.DataFrame({"a": [200.0, 240.0, 180.0, 264.0]}, index=days), {"a": "Momentum"})
    (curve,) = info.curves
    assert (curve.iteration_id, curve.label, info.rebased) == ("a", "Momentum", True)
    assert curve.equity.tolist() == pytest.approx([1.0, 1.2, 0.9, 1.32])
    assert curve.drawdown.tolist() == pytest.approx([0, 0, -0.25, 0])
    assert curve.dates.tolist() == days.tolist()


def test_a_curve_can_stay_in_currency():
    curves = frame(1)
    info = equity_info(curves, rebase=False)
    assert info.curves[0].equity.tolist() == curves["run-0"].tolist()
    assert draw_equity(info).get_title(loc="left") == "Equity"
    assert draw_equity(equity_info(curves)).get_title(loc="left") == "Growth of 1"


@pytest.mark.parametrize("rebase", [True, False])
def test_the_deepest_drawdown_drawn_is_the_one_of_the_account(rebase: bool):
    curves = frame(3)
    capital = {"run-0": 5e6, "run-1": float(curves["run-1"].iloc[0])}
    for curve in equity_info(curves, initial_capital=capital, rebase=rebase).curves:
        name = curve.iteration_id
        assert curve.drawdown.min() == max_drawdown(curves[name], initial_capital=capital.get(name))


def test_a_curve_begins_at_its_initial_capital():
    days = pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-04"])
    (curve,) = equity_info(pd.DataFrame({"a": [80.0, 90.0, 120.0]}, index=days), initial_capital={"a": 100.0}).curves
    assert curve.dates.tolist() == [pd.Timestamp("2024-01-01"), *days]
    assert curve.equity.tolist() == pytest.approx([1.0, 0.8, 0.9, 1.2])
    assert curve.drawdown.tolist() == pytest.approx([0.0, -0.2, -0.1, 0.0])


def test_the_initial_capital_may_be_a_column_of_iterations():
    curves = frame(2)
    first = float(curves["run-1"].iloc[0])
    for unknown in (math.nan, None, pd.NA):
        column = pd.Series({"run-0": unknown, "run-1": first, "run-9": 1.0}, dtype=object)
        for curve in equity_info(curves, initial_capital=column, rebase=False).curves:
            assert curve.equity.tolist() == curves[curve.iteration_id].tolist()


def test_the_drawdown_axis_reaches_the_deepest_of_the_curves_that_have_one():
    days = pd.date_range("2024-01-02", periods=3)
    curves = pd.DataFrame({"debt": [-1.0, -2.0, -3.0], "a": [100.0, 50.0, 80.0]}, index=days)
    assert draw_drawdown(equity_info(curves, rebase=False)).get_ylim()[0] == pytest.approx(-0.53)


def test_an_iteration_without_a_label_shows_its_id():
    info = equity_info(frame(2), {"run-1": "Momentum"})
    assert [curve.label for curve in info.curves] == ["run-0", "Momentum"]


def test_holes_and_different_starts_are_passed_over():
    curves = frame(3)
    curves.iloc[:100, 1] = np.nan
    curves.iloc[50:60, 0] = np.nan
    curves["empty"] = np.nan
    info = equity_info(curves)
    assert [len(curve.dates) for curve in info.curves] == [390, 300, 400]
    assert [curve.equity[0] for curve in info.curves] == [1.0, 1.0, 1.0]
    assert info.curves[1].dates[0] == curves.index[100]
    assert not any(np.isnan(curve.equity).any() for curve in info.curves)


def test_shuffled_aware_and_nullable_frames_are_understood():
    plain = frame(2)
    odd = plain.tz_localize("UTC").tz_convert("Asia/Taipei").astype("Float64").sample(frac=1, random_state=1)
    for curve, other in zip(equity_info(plain).curves, equity_info(odd).curves, strict=True):
        assert curve.dates.tolist() == other.dates.tolist()
        assert curve.equity.tolist() == other.equity.tolist()
        assert curve.drawdown.tolist() == other.drawdown.tolist()


def test_an_account_that_starts_at_nothing_has_no_growth():
    curves = pd.DataFrame({"a": [0.0, 1.0], "b": [1.0, 2.0]}, index=pd.date_range("2024", periods=2))
    assert [curve.iteration_id for curve in equity_info(curves).curves] == ["b"]
    assert [curve.iteration_id for curve in equity_info(curves, rebase=False).curves] == ["a", "b"]


def test_a_frame_without_dates_is_refused():
    with pytest.raises(ValueError, match="indexed by datetime, not by RangeIndex"):
        equity_info(pd.DataFrame({"a": [1.0]}))


@pytest.mark.parametrize(
    "nothing", [pd.DataFrame(), pd.DataFrame({"a": []}), frame(1) * math.nan], ids=["none", "no rows", "NaN"]
)
def test_nothing_to_show_says_so(nothing: pd.DataFrame, tmp_path):
    info = equity_info(nothing)
    assert info == EquityInfo((), rebased=True)
    figure = equity_figure(info)
    assert [text.get_text() for text in figure.texts] == ["no equity curves"]
    assert saved(figure, tmp_path)
    for draw in (draw_equity, draw_drawdown):
        assert [text.get_text() for text in draw(info).texts] == ["no equity curves"]


@pytest.mark.parametrize("curves", [1, 4, 12])
def test_up_to_twelve_curves_have_a_name_and_a_look_of_their_own(curves: int, tmp_path):
    figure = equity_figure(equity_info(frame(curves)))
    assert legend_texts(figure) == [f"run-{number}" for number in range(curves)]
    handles = figure.legends[0].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in handles}) == curves
    assert saved(figure, tmp_path)


def test_of_a_hundred_curves_only_the_ends_are_named(tmp_path):
    curves = frame(100)
    last = curves.iloc[-1] / curves.iloc[0]
    figure = equity_figure(equity_info(curves))
    assert legend_texts(figure) == [f"highest: {last.idxmax()}", f"lowest: {last.idxmin()}", "98 others"]
    upper = figure.axes[0]
    assert len([line for line in upper.lines if line.get_linewidth() < 1 and len(line.get_xdata()) > 2]) == 98
    assert saved(figure, tmp_path)


def test_both_axes_share_the_dates_and_the_colours():
    upper, lower = equity_figure(equity_info(frame(3))).axes
    assert upper.get_shared_x_axes().joined(upper, lower)
    shown = [line.get_color() for line in upper.lines if len(line.get_xdata()) > 2]
    assert shown == [line.get_color() for line in lower.lines] == list(PALETTE[:3])


def test_the_drawdown_axis_is_in_percent():
    ax = draw_drawdown(equity_info(frame(2)))
    assert ax.get_ylim()[1] > 0 > ax.get_ylim()[0]
    ax.figure.canvas.draw()
    assert all(label.get_text().endswith("%") for label in ax.get_yticklabels())


def test_the_thinned_line_keeps_the_extremes_and_the_ends():
    info = equity_info(frame(1, days=9000))
    curve = info.curves[0]
    (line,) = [line for line in draw_equity(info).lines if len(line.get_xdata()) > 2]
    values = np.asarray(line.get_ydata(), dtype=float)
    assert len(values) <= 1002
    assert (values[0], values[-1]) == (curve.equity[0], curve.equity[-1])
    assert (values.min(), values.max()) == (curve.equity.min(), curve.equity.max())


@pytest.mark.parametrize("growth", [1.001, 1.01], ids=["narrow", "wide"])
def test_a_log_scale_has_plain_labels(growth: float):
    days = pd.bdate_range("2020-01-01", periods=500)
    ax = draw_equity(equity_info(pd.DataFrame({"a": growth ** np.arange(500)}, index=days)), log=True)
    ax.figure.canvas.draw()
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert ax.get_yscale() == "log"
    assert "1" in labels
    assert not any("$" in label or "e" in label for label in labels)


def test_a_log_scale_of_debts_stays_linear(tmp_path):
    days = pd.bdate_range("2020-01-01", periods=3)
    info = equity_info(pd.DataFrame({"a": [-1.0, -2.0, 0.0]}, index=days), rebase=False)
    assert draw_equity(info, log=True).get_yscale() == "linear"
    assert saved(equity_figure(info, log=True), tmp_path)


def test_one_point_is_drawn_as_a_dot(tmp_path):
    info = equity_info(pd.DataFrame({"a": [1e6]}, index=pd.to_datetime(["2024-01-02"])))
    assert [line.get_marker() for line in draw_equity(info).lines][-1] == "o"
    assert saved(equity_figure(info), tmp_path)


def test_axes_of_the_caller_are_drawn_on():
    ax = Figure().add_subplot()
    assert draw_equity(equity_info(frame(2)), ax) is ax
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["run-0", "run-1"]
    assert draw_equity(equity_info(frame(2)), legend=False).get_legend() is None
    assert isinstance(draw_drawdown(equity_info(frame(2))), Axes)


@pytest.mark.parametrize(
    "name", ["$60$ and \\frac{1", "_private", "a\nb\x00c\ud800d", "x" * 300, "", "100% {0}"], ids=repr
)
def test_any_name_can_be_drawn(name: str, tmp_path):
    figure = equity_figure(equity_info(frame(2), {"run-0": name}))
    assert saved(figure, tmp_path)
    shown = legend_texts(figure)[0]
    assert len(shown) <= 48
    assert shown.isprintable()


def test_a_dollar_sign_starts_no_formula():
    figure = equity_figure(equity_info(frame(1), {"run-0": "$x^2$"}))
    assert not any(text.get_parse_math() for legend in figure.legends for text in legend.get_texts())
    assert legend_texts(figure) == ["$x^2$"]


@pytest.mark.skipif(len(font_families()) == 1, reason="no font for Chinese is installed")
def test_chinese_names_are_drawn_without_a_warning(tmp_path, caplog):
    labels = {"run-0": "動能策略 六十日", "run-1": "移动平均线 突破", "run-2": "モメンタム"}
    assert saved(equity_figure(equity_info(frame(3), labels)), tmp_path)
    assert not caplog.records


def test_font_families_are_installed_and_end_with_the_one_of_matplotlib(caplog):
    families = font_families()
    assert families[-1] == "DejaVu Sans"
    for family in families:
        mpl.font_manager.findfont(family, fallback_to_default=False)
    assert not caplog.records


def test_no_style_is_changed_and_no_figure_leaks():
    before = dict(mpl.rcParams)
    figure = equity_figure(equity_info(frame(3)))
    figure.canvas.draw()
    assert dict(mpl.rcParams) == before
    gone = weakref.ref(figure)
    del figure
    gc.collect()
    assert gone() is None


def test_the_style_of_the_user_does_not_reach_the_figure():
    with mpl.rc_context({"text.usetex": True, "axes.grid": True, "figure.facecolor": "black"}):
        figure = equity_figure(equity_info(frame(2)))
    assert mpl.colors.to_hex(figure.get_facecolor()) == "#ffffff"
    assert not any(text.get_usetex() for text in figure.legends[0].get_texts())


@pytest.mark.slow
def test_drawing_never_loads_pyplot():
    code = (
        "import sys, pandas as pd; from finlab_nb.figures import *; "
        "frame = pd.DataFrame({'a': [1., 2.]}, index=pd.to_datetime(['2024', '2025'])); "
        "themed_svg(equity_figure(equity_info(frame))); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_the_palette_is_readable_on_white_and_on_black():
    def luminance(colour: str) -> float:
        channels = np.array(mpl.colors.to_rgb(colour))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for colour in PALETTE:
        assert 1.05 / (luminance(colour) + 0.05) >= 3, colour
        assert (luminance(colour) + 0.05) / (luminance("#111111") + 0.05) >= 3, colour


def test_axis_texts_are_short():
    assert [amount_text(value) for value in (999.0, 1000.0, -2.5e6, 0.001)] == ["999", "1k", "−2.5M", "0.001"]
    assert [percent_text(value) for value in (0.0, -0.125, -1.5)] == ["0%", "−12.5%", "−150%"]
