"""The explorer: every iteration in a table; the selected ones as curves and side by side, with their suggestions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ipywidgets
import pandas as pd

from finlab_nb.errors import IterationNotFoundError, StorageError
from finlab_nb.figures import EquityInfo, equity_figure, equity_info, themed_svg
from finlab_nb.figures.equity import MOST_NAMED_CURVES
from finlab_nb.figures.theme import LINE_STYLES, PALETTE
from finlab_nb.records import arguments
from finlab_nb.records.metrics import STANDARD_SET, count
from finlab_nb.records.plain import is_missing
from finlab_nb.widgets import formatting
from finlab_nb.widgets.comparison import PARAMETER, comparison_html, comparison_info
from finlab_nb.widgets.formatting import escaped
from finlab_nb.widgets.holding import Holding
from finlab_nb.widgets.suggestions import suggestions_html
from finlab_nb.widgets.table import Column, IterationTable

if TYPE_CHECKING:
    from finlab_nb.query.frames import Frames
    from finlab_nb.store.manager import StorageManager

MOST_COMPARED = 100
MOST_PARAMETER_COLUMNS = 5

_ALL_STRATEGIES = ""
_SHOWN = (("Not archived", "active"), ("Starred", "starred"), ("Archived", "archived"), ("Everything", "all"))
_EMPTY_STORE = "No iteration is stored yet. Save one with lab.store.save_iteration(...), then press Refresh."
_NOTHING_SELECTED = (
    "Select an iteration in the table to see its equity curve, metrics and suggestions; tick several to compare them."
)


class Explorer(ipywidgets.VBox):  # type: ignore[misc]
    """Every iteration of a database in a table, and the selected ones side by side.

    On opening, the iteration with the best Sharpe ratio is selected. Every control is an attribute: setting
    it from code does what a person would do with the mouse.

    A page may show it, so it holds its lab until one of the two is closed, or its cell is run again, and stays in
    memory until it is closed.

    Parameters
    ----------
    frames
        The source of the iterations, equity curves and suggestions.
    store
        Where to save stars and the archive. Without it the explorer only shows them.

    Attributes
    ----------
    table
        The table: `table.selected`, `table.search`, `table.sort_by`, `table.descending`, `table.page`.
    strategy, show, search
        Filters: the name of a strategy or ""; "active", "starred", "archived" or "all"; words to look for.
    refresh_button, clear_button, star_button, archive_button
        Buttons that do what their names say. The last two are hidden without a store.
    log_scale
        Whether equal rates of growth have equal slopes in the chart.
    status, chart, comparison, suggestions
        What the page shows of the selection, as HTML.
    """

    def __init__(self, frames: Frames, store: StorageManager | None = None) -> None:
        self._process = os.getpid()
        self._holding = Holding(frames, store)
        super().__init__()
        self._iterations = pd.DataFrame()
        self._drawn: tuple[str, ...] | None = None
        self._make_controls()
        self._make_results()
        self.add_class("finlab-nb-explorer")
        self.children = (self._controls, self.status, self.table, self.chart, self._details)
        self._react()
        self.refresh()
        self._select_best()

    @property
    def selected(self) -> list[str]:
        """The ids of the selected iterations, in order of selection.

        Raises
        ------
        IterationNotFoundError
            When set to an id that the database does not hold; it is also a LookupError.
        """
        return [str(iteration_id) for iteration_id in self.table.selected]

    @selected.setter
    def selected(self, iteration_ids: str | Iterable[str]) -> None:
        wanted = arguments.texts("selected", iteration_ids)
        if any(iteration_id not in self._iterations.index for iteration_id in wanted):
            self._read()
        for iteration_id in wanted:
            if iteration_id not in self._iterations.index:
                raise IterationNotFoundError(f"no iteration has the id {iteration_id!r}")
        self.table.selected = wanted
        if wanted:
            self.table.show_row(wanted[0])

    def refresh(self) -> None:
        """Read the database again: what other processes saved appears, and the selection and filters stay."""
        with self._problems_shown():
            self._read()
            self._draw_again()

    def close(self) -> None:
        """Take the explorer off the page; a forked child leaves that to its parent."""
        self._holding.let_go()
        if os.getpid() == self._process:
            for part in vars(self).values():
                if isinstance(part, ipywidgets.Widget):
                    _close(part)
            self.layout.close()
            super().close()

    def _repr_mimebundle_(self, **how: Any) -> Any:
        self._holding.note_shown()
        return super()._repr_mimebundle_(**how)

    def __repr__(self) -> str:
        return f"Explorer({len(self._iterations):,} iterations, {len(self.selected):,} selected)"

    def _make_controls(self) -> None:
        self.strategy = ipywidgets.Dropdown(
            options=[("All", _ALL_STRATEGIES)], value=_ALL_STRATEGIES, description="Strategy", **_fitted("260px")
        )
        self.show = ipywidgets.Dropdown(options=_SHOWN, value="active", description="Show", **_fitted("180px"))
        self.search = ipywidgets.Text(
            description="Search", placeholder="name, tag, note, parameter …", **_fitted("280px")
        )
        self.refresh_button = _button("Refresh", "refresh", "Read the database again")
        self.clear_button = _button("Clear selection", "times", "Select no iteration")
        self.star_button = _button("Star", "star", "")
        self.archive_button = _button("Archive", "archive", "")
        self.log_scale = ipywidgets.Checkbox(description="Log scale", indent=False, layout={"width": "auto"})
        controls = [self.strategy, self.show, self.search, self.refresh_button, self.clear_button]
        if self._holding.changes:
            controls += [self.star_button, self.archive_button]
        controls.append(self.log_scale)
        self._controls = ipywidgets.HBox(controls, layout={"flex_flow": "row wrap", "overflow": "visible"})
        self._controls.add_class("finlab-nb-controls")

    def _make_results(self) -> None:
        self.status = ipywidgets.HTML()
        self.table = IterationTable(sort_by="sharpe_ratio", editable=self._holding.changes)
        self.chart = ipywidgets.HTML()
        self.comparison = ipywidgets.HTML()
        self.suggestions = ipywidgets.HTML()
        self._details = ipywidgets.HBox([self.comparison, self.suggestions])
        self._details.add_class("finlab-nb-details")

    def _react(self) -> None:
        ipywidgets.dlink((self.search, "value"), (self.table, "search"))
        for control in (self.strategy, self.show):
            control.observe(self._on(self._fill_table), "value")
        self.log_scale.observe(self._on(self._draw_again), "value")
        self.table.observe(self._on(self._draw), ["selected", "view"])
        self.table.on_star(lambda iteration_id: self._switch("starred", [iteration_id]))
        self.refresh_button.on_click(lambda _button: self.refresh())
        self.clear_button.on_click(lambda _button: setattr(self, "selected", []))
        self.star_button.on_click(lambda _button: self._switch("starred", self.selected))
        self.archive_button.on_click(lambda _button: self._switch("archived", self.selected))

    def _on(self, action: Callable[[], None]) -> Callable[[Any], None]:
        def react(_change: Any) -> None:
            with self._problems_shown():
                action()

        return react

    @contextmanager
    def _problems_shown(self) -> Iterator[None]:
        """Say on the page what went wrong, because an error in a callback would only reach the log."""
        try:
            yield
        except StorageError as error:
            self.status.value = f'<div class="finlab-nb-problem" role="alert">{escaped(error)}</div>'

    def _read(self) -> None:
        iterations = self._holding.frames.iterations().set_index("iteration_id", drop=False)
        numbers = iterations["iteration_number"].astype(object).map(str)
        iterations["name"] = iterations["strategy"].astype(object) + " #" + numbers
        self._iterations = iterations.sort_values("timestamp", ascending=False, kind="stable")
        self.table.selected = [known for known in self.selected if known in iterations.index]
        self._offer_strategies()
        self._fill_table()

    def _offer_strategies(self) -> None:
        counts = self._iterations["strategy"].value_counts()
        names = sorted(counts.index, key=lambda name: (str(name).casefold(), str(name)))
        options = [(f"All ({len(self._iterations):,})", _ALL_STRATEGIES)]
        options += [(f"{name} ({counts[name]:,})", name) for name in names]
        if self.strategy.options == tuple(options):
            return
        chosen = self.strategy.value
        with self.strategy.hold_trait_notifications():
            self.strategy.options = options
            self.strategy.value = chosen if chosen in names else _ALL_STRATEGIES

    def _fill_table(self) -> None:
        iterations = self._iterations
        kept = pd.Series(True, index=iterations.index)
        if self.strategy.value != _ALL_STRATEGIES:
            kept &= iterations["strategy"] == self.strategy.value
        if self.show.value == "active":
            kept &= ~iterations["archived"].astype(bool)
        elif self.show.value != "all":
            kept &= iterations[self.show.value].astype(bool)
        frame = iterations[kept]
        empty = "No iteration passes the filters." if len(iterations) else _EMPTY_STORE
        self.table.update(*_with_columns(frame), empty=empty)

    def _select_best(self) -> None:
        """Select what a newcomer wants to see first."""
        shown = self._iterations.loc[self.table.shown]
        sharpe_ratios = shown["sharpe_ratio"].dropna()
        if len(sharpe_ratios):
            best = [str(sharpe_ratios.idxmax())]
        elif len(shown):
            best = [str(shown.index[0])]
        else:
            return
        self.selected = best

    def _switch(self, flag: str, iteration_ids: list[str]) -> None:
        """Star or archive these iterations, or undo that if it was done to all of them."""
        if self._holding.changes and iteration_ids:
            change: dict[str, Any] = {flag: not self._iterations.loc[iteration_ids, flag].all()}
            with self._problems_shown():
                for iteration_id in iteration_ids:
                    self._holding.store.annotate(iteration_id, **change)
                self.refresh()

    def _draw_again(self) -> None:
        self._drawn = None
        self._draw()

    def _draw(self) -> None:
        chosen = self._iterations.loc[[known for known in self.selected if known in self._iterations.index]]
        self._say(chosen)
        if self._drawn == tuple(chosen.index):
            return
        self._draw_buttons(chosen)
        self._draw_results(chosen)
        self._drawn = tuple(chosen.index)

    def _say(self, chosen: pd.DataFrame) -> None:
        shown = set(self.table.shown)
        hidden = sum(iteration_id not in shown for iteration_id in chosen.index)
        parts = [f"{len(shown):,} of {len(self._iterations):,} iterations", f"{len(chosen):,} selected"]
        if hidden:
            parts.append(f"{hidden:,} of them hidden by the filters")
        self.status.value = f'<div class="finlab-nb-hint" role="status">{" · ".join(parts)}</div>'

    def _draw_buttons(self, chosen: pd.DataFrame) -> None:
        for button in (self.clear_button, self.star_button, self.archive_button):
            button.disabled = chosen.empty
        all_starred = not chosen.empty and bool(chosen["starred"].all())
        all_archived = not chosen.empty and bool(chosen["archived"].all())
        self.star_button.description = "Remove star" if all_starred else "Star"
        self.star_button.tooltip = f"{self.star_button.description}: the selected iterations"
        self.archive_button.description = "Unarchive" if all_archived else "Archive"
        self.archive_button.tooltip = f"{self.archive_button.description} the selected iterations"

    def _draw_results(self, chosen: pd.DataFrame) -> None:
        if chosen.empty:
            hint = _NOTHING_SELECTED if len(self._iterations) else ""
            self.chart.value = _hint(hint)
            self.comparison.value = self.suggestions.value = ""
            return
        self.chart.value, lines = self._chart(chosen)
        compared = comparison_info(chosen.head(MOST_COMPARED))
        cut = _cut("The comparison", len(compared.names), len(chosen))
        self.comparison.value = comparison_html(compared, [lines.get(i, "") for i in chosen.index]) + cut
        suggestions = self._holding.frames.suggestions(iterations=list(chosen.index))
        self.suggestions.value = suggestions_html(suggestions, _names(self._iterations))

    def _chart(self, chosen: pd.DataFrame) -> tuple[str, dict[str, str]]:
        """Return the chart as HTML, and the style of its lines by iteration id."""
        drawn = chosen.head(MOST_COMPARED)
        names = _names(drawn)
        equity = self._holding.frames.equity(list(drawn.index))
        info = equity_info(equity, labels=names, initial_capital=drawn["initial_capital"])
        curves = {curve.iteration_id for curve in info.curves}
        said = self._remark(chosen) + _cut("The chart", len(drawn), len(chosen))
        without = [name for iteration_id, name in names.items() if iteration_id not in curves]
        if without:
            said += _hint(f"No equity curve is stored for {', '.join(without)}.")
        if not curves:
            return said, {}
        figure = (
            f'<figure class="finlab-nb-figure">{themed_svg(equity_figure(info, log=self.log_scale.value))}</figure>'
        )
        return figure + said, _line_styles(info)

    def _remark(self, chosen: pd.DataFrame) -> str:
        """Warn about the best of many, whenever it is shown alone."""
        tried = self._iterations["sharpe_ratio"].dropna()
        if len(chosen) != 1 or len(tried) < 2 or chosen["sharpe_ratio"].iloc[0] != tried.max():
            return ""
        return _hint(
            f"{chosen['name'].iloc[0]} has the best Sharpe ratio of {len(tried):,} iterations. "
            "The best of many looks better than it is: luck was selected with it."
        )


def _with_columns(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Column]]:
    """Return the rows with the values that the table shows, and its columns."""
    parameters = [c for c in frame.columns if str(c).startswith(PARAMETER) and frame[c].notna().any()]
    # Parameters that never change within a strategy tell no iterations apart; the comparison shows them.
    changing = frame.groupby("strategy")[parameters].nunique(dropna=False) > 1 if parameters else pd.DataFrame()
    parameters = [c for c in parameters if changing[c].any()] or parameters
    columns = [
        Column("starred", "Starred", formatting.text, "star"),
        Column("strategy", "Strategy", formatting.text),
        Column("iteration_number", "#", count, "number"),
        *(Column(metric.name, metric.label, metric.format, "number") for metric in STANDARD_SET),
    ]
    if len(parameters) <= MOST_PARAMETER_COLUMNS:
        columns += [_parameter_column(frame, key) for key in parameters]
    else:
        frame = frame.assign(parameters=_parameters_as_text(frame, changing[parameters]))
        columns.append(Column("parameters", "Parameters", formatting.text))
    columns += [
        Column("tags", "Tags", formatting.text),
        Column("note", "Note", formatting.text),
        Column("timestamp", "Saved (UTC)", formatting.moment),
    ]
    return frame, columns


def _parameter_column(frame: pd.DataFrame, key: str) -> Column:
    numeric = pd.api.types.is_numeric_dtype(frame[key]) and not pd.api.types.is_bool_dtype(frame[key])
    return Column(key, key.removeprefix(PARAMETER), formatting.plain, "number" if numeric else "text")


def _parameters_as_text(frame: pd.DataFrame, changing: pd.DataFrame) -> list[str]:
    """Return the parameters of each row: those that change within its strategy, or all if none does."""
    names = [str(column).removeprefix(PARAMETER) for column in changing.columns]
    told = {strategy: row if any(row) else [True] * len(names) for strategy, row in _by_row(changing)}
    rows = frame[changing.columns].astype(object).itertuples(index=False, name=None)
    return [
        ", ".join(
            f"{name}={formatting.plain(value)}"
            for name, value, tells in zip(names, row, told[strategy], strict=True)
            if tells and not is_missing(value)
        )
        for strategy, row in zip(frame["strategy"], rows, strict=True)
    ]


def _by_row(flags: pd.DataFrame) -> Iterator[tuple[str, list[bool]]]:
    return zip(map(str, flags.index), flags.to_numpy(dtype=bool).tolist(), strict=True)


def _names(iterations: pd.DataFrame) -> dict[str, str]:
    return {str(iteration_id): str(name) for iteration_id, name in iterations["name"].items()}


def _line_styles(info: EquityInfo) -> dict[str, str]:
    """Return the style of each named line as a CSS border, by iteration id; too many lines have no names."""
    if len(info.curves) > MOST_NAMED_CURVES:
        return {}
    return {
        curve.iteration_id: f"{LINE_STYLES[place // len(PALETTE) % len(LINE_STYLES)]} {PALETTE[place % len(PALETTE)]}"
        for place, curve in enumerate(info.curves)
    }


def _button(description: str, icon: str, tooltip: str) -> ipywidgets.Button:
    return ipywidgets.Button(description=description, icon=icon, tooltip=tooltip, layout={"width": "auto"})


def _fitted(width: str) -> dict[str, Any]:
    return {"layout": {"width": width}, "style": {"description_width": "initial"}}


def _close(widget: ipywidgets.Widget) -> None:
    """Close a widget, and its layout and style, which are widgets too."""
    for one in (widget.layout, getattr(widget, "style", None), widget):
        if one is not None:
            one.close()


def _hint(words: str) -> str:
    return f'<p class="finlab-nb-hint">{escaped(words)}</p>' if words else ""


def _cut(what: str, shown: int, of: int) -> str:
    return _hint(f"{what} shows the first {shown:,} of {of:,} selected iterations.") if shown < of else ""
