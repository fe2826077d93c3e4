"""Selected iterations side by side: their metrics, and their parameters where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import pandas as pd

from finlab_nb.records.metrics import KNOWN_METRICS, MISSING, STANDARD_SET, Format, Metric
from finlab_nb.widgets import formatting
from finlab_nb.widgets.formatting import escaped

PARAMETER = "param."
EXTRA_METRIC = "metric."


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a side-by-side table shows, as text.

    Attributes
    ----------
    names
        One heading for each iteration.
    metrics, extra_metrics, parameters, remarks
        Pairs of a row label and one cell for each iteration. `parameters` holds those that differ, or
        all for a single iteration.
    shared
        Pairs of a name and the value that several iterations have in common.
    """

    names: tuple[str, ...]
    metrics: tuple[Row, ...]
    extra_metrics: tuple[Row, ...]
    parameters: tuple[Row, ...]
    remarks: tuple[Row, ...]
    shared: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the side-by-side table: a label and one cell for each iteration."""

    label: str
    cells: tuple[str, ...]


def comparison_info(chosen: pd.DataFrame) -> Comparison:
    """Compare rows of `frames.iterations()`, indexed by iteration id, with a column `name`."""
    parameters = _rows_of(chosen, PARAMETER, {})
    differing = tuple(row for row in parameters if len(chosen) == 1 or len(set(row.cells)) > 1)
    return Comparison(
        names=tuple(chosen["name"]),
        metrics=tuple(_row(metric.label, chosen[metric.name], metric.format) for metric in STANDARD_SET),
        extra_metrics=_rows_of(chosen, EXTRA_METRIC, KNOWN_METRICS),
        parameters=differing,
        remarks=(
            *_present(_row("Tags", chosen["tags"], formatting.text)),
            *_present(_row("Note", chosen["note"], formatting.text)),
            _row("Saved (UTC)", chosen["timestamp"], formatting.moment),
        ),
        shared=tuple((row.label, row.cells[0]) for row in parameters if row not in differing),
    )


def comparison_html(info: Comparison, lines: Sequence[str] = ()) -> str:
    """Draw the comparison as an HTML table; a CSS border marks each heading like its curve."""
    marks = [f'<i class="finlab-nb-line" style="border-top:3px {escaped(line)}"></i>' if line else "" for line in lines]
    heads = "".join(
        f'<th scope="col">{mark}{escaped(name)}</th>'
        for mark, name in zip_longest(marks[: len(info.names)], info.names, fillvalue="")
    )
    title = "Parameters" if len(info.names) == 1 else "Parameters that differ"
    bodies = (
        _body("Metrics", info.metrics, len(info.names))
        + _body("More metrics", info.extra_metrics, len(info.names))
        + _body(title, info.parameters, len(info.names))
        + _body("About", info.remarks, len(info.names), css="words")
    )
    return (
        '<h4>Comparison</h4><div class="finlab-nb-scroll" tabindex="0" role="region" aria-label="Comparison">'
        '<table class="finlab-nb-comparison"><thead><tr><td></td>'
        f"{heads}</tr></thead>{bodies}</table></div>{_shared(info)}"
    )


def _rows_of(chosen: pd.DataFrame, prefix: str, known: Mapping[str, Metric]) -> tuple[Row, ...]:
    """Return a row for each column with this prefix that has values; known metrics have a label and a format."""
    columns = [column for column in chosen.columns if str(column).startswith(prefix)]
    rows = []
    for column in columns:
        name = column.removeprefix(prefix)
        metric = known.get(name)
        label, show = (metric.label, metric.format) if metric else (name, formatting.plain)
        rows.append(_row(label, chosen[column], show))
    return tuple(row for row in rows if set(row.cells) != {MISSING})


def _row(label: str, values: pd.Series, show: Format) -> Row:
    return Row(label, tuple(show(value) for value in values.astype(object)))


def _present(row: Row) -> tuple[Row, ...]:
    return (row,) if any(row.cells) else ()


def _body(title: str, rows: Sequence[Row], width: int, css: str = "numbers") -> str:
    if not rows:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{escaped(row.label)}</th>'
        + "".join(f'<td class="{css}">{escaped(cell)}</td>' for cell in row.cells)
        + "</tr>"
        for row in rows
    )
    return (
        f'<tbody><tr class="group"><th scope="rowgroup" colspan="{width + 1}">{escaped(title)}</th></tr>{lines}</tbody>'
    )


def _shared(info: Comparison) -> str:
    if not info.shared:
        return ""
    values = ", ".join(f"{escaped(name)} = {escaped(value)}" for name, value in info.shared)
    return f'<p class="finlab-nb-hint">The same in all: {values}</p>'
