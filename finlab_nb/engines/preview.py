"""What recording a result would store, to look at before it is."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any, Final

import numpy as np
import pandas as pd

from finlab_nb.records import METRICS, TRADE_FIELDS, Iteration
from finlab_nb.records.tables import TRADES

_SHOWN_ROWS: Final = 10
_SHOWN_LINES: Final = 20
_ENGINE: Final = "engine."
_WIDTH, _HEIGHT = 480, 96  # pixels
_FEWEST_POINTS: Final = 2


@dataclass(frozen=True, eq=False)
class Preview:
    """What `Lab.record` would store of one backtest.

    Attributes
    ----------
    strategy : str
        The name, or the id, under which it goes.
    engine : str
        The engine's name.
    trades : DataFrame
        As they are stored: the columns of `StorageManager.save_iteration`; dates are datetime64[us], naive.
    equity : Series
        float64 by datetime64[us], naive; empty without a curve.
    metrics : dict
        The standard set by name, None where it is unknown, then the extra metrics.
    parameters : dict or None
        As they were given; None for those of the strategy.
    code : str or None
        The source, if it was found.
    remarks : tuple of str
        What was assumed, left out or looks wrong, each a sentence.
    summary : str
        The line that `Lab.record` prints.
    """

    strategy: str
    engine: str
    trades: pd.DataFrame
    equity: pd.Series[float]
    metrics: dict[str, float | None]
    parameters: dict[str, Any] | None
    code: str | None
    remarks: tuple[str, ...]
    summary: str

    def __repr__(self) -> str:
        parts = [f"{self.strategy} ({self.engine}): {self.summary}", *(f"  - {remark}" for remark in self.remarks)]
        if self.parameters:
            parts += ["", "parameters", _lines(self.parameters)]
        if not self.trades.empty:
            parts += ["", "trades", self._shown_trades().to_string(index=False)]
        if not self.equity.empty:
            first, last = (str(moment).removesuffix(" 00:00:00") for moment in self.equity.index[[0, -1]])
            parts += ["", f"equity: {len(self.equity):,} points, {first} to {last}"]
        parts += ["", "metrics", _lines(self.metrics), "", "code", self._shown_code()]
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        head = f"<p><b>{escape(self.strategy)}</b> ({escape(self.engine)}): {escape(self.summary)}</p>"
        remarks = "".join(f"<li>{escape(remark)}</li>" for remark in self.remarks)
        own = {name: value for name, value in self.metrics.items() if name.startswith(_ENGINE)}
        ours = {f"parameters.{name}": value for name, value in (self.parameters or {}).items()}
        ours |= {name: value for name, value in self.metrics.items() if name not in own}
        parts = [head, f"<ul>{remarks}</ul>" if remarks else "", _curve(self.equity), _table(ours)]
        if own:
            parts.append(
                f"<details><summary>{len(own)} figures of {escape(self.engine)}</summary>{_table(own)}</details>"
            )
        if not self.trades.empty:
            parts.append(self._shown_trades().to_html(index=False))
        return "".join([*parts, f"<pre>{escape(self._shown_code())}</pre>"])

    def _shown_trades(self) -> pd.DataFrame:
        return self.trades.drop(columns="extra").dropna(axis="columns", how="all").head(_SHOWN_ROWS)

    def _shown_code(self) -> str:
        lines = (self.code or "(not found: give code=)").splitlines()
        more = [f"... {len(lines) - _SHOWN_LINES} more lines"] if len(lines) > _SHOWN_LINES else []
        return "\n".join([*lines[:_SHOWN_LINES], *more])


def preview_of(
    iteration: Iteration, strategy: str, engine: str, code: str | None, parameters: dict[str, Any] | None, **words: Any
) -> Preview:
    """Show a record that is not stored; `words` are remarks and summary."""
    trades = pd.DataFrame(iteration.trades, columns=list(TRADE_FIELDS))
    for column in (TRADES.column(name) for name in TRADE_FIELDS):
        if column.rule.kind == "date":
            trades[column.name] = pd.to_datetime(trades[column.name], format="ISO8601").astype("datetime64[us]")
        elif column.rule.kind == "float":
            trades[column.name] = trades[column.name].astype("float64")
    dates, values = iteration.equity.columns
    moments = pd.to_datetime(dates, format="ISO8601").astype("datetime64[us]")
    return Preview(
        strategy=strategy,
        engine=engine,
        trades=trades,
        equity=pd.Series(values, moments, dtype="float64", name="equity"),
        metrics=dict(zip(METRICS, iteration.metrics, strict=True)) | dict(iteration.extra_metrics),
        parameters=parameters,
        code=code,
        **words,
    )


def _table(values: dict[str, Any]) -> str:
    return str(pd.DataFrame({"": [_text(value) for value in values.values()]}, index=list(values)).to_html())


def _curve(equity: pd.Series[float]) -> str:
    """Draw a curve in the colour of the text, which follows the theme."""
    points = equity.iloc[np.linspace(0, len(equity) - 1, min(len(equity), _WIDTH), dtype=int)]
    if len(points) < _FEWEST_POINTS:
        return ""
    low, high = float(points.min()), float(points.max())
    heights = (_HEIGHT - 2) * (1 - (points - low) / ((high - low) or 1.0)) + 1
    places = np.linspace(1, _WIDTH - 1, len(points))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(places, heights, strict=True))
    first, last = (str(moment).removesuffix(" 00:00:00") for moment in equity.index[[0, -1]])
    label = f"equity from {first} to {last}, between {low:,.0f} and {high:,.0f}"
    return (
        f'<svg role="img" aria-label="{label}" width="{_WIDTH}" height="{_HEIGHT}"><title>{label}</title>'
        f'<polyline points="{line}" fill="none" stroke="currentColor"/></svg>'
    )


def _lines(values: dict[str, Any]) -> str:
    width = max(map(len, values))
    return "\n".join(f"  {name:<{width}}  {_text(value)}" for name, value in values.items())


def _text(value: object) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.6g}" if isinstance(value, float) else str(value)
