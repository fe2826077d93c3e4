"""How a value of the store reads on screen: plain text from values, escaped text for HTML."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

Show: TypeAlias = Callable[[Any], str]

MISSING = "–"


@dataclass(frozen=True, slots=True)
class Metric:
    """One of the five metrics: its column in the frames, its name on screen and how its values read."""

    column: str
    label: str
    show: Show


def is_missing(value: object) -> bool:
    """Tell whether a cell holds no value: None, NaN, NaT or NA."""
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def percent(value: Any) -> str:
    """Write a fraction as percent with one decimal."""
    if is_missing(value):
        return MISSING
    return f"{float(value):.1%}" if math.isfinite(value) else _infinity(value)


def ratio(value: Any) -> str:
    """Write a ratio with two decimals."""
    if is_missing(value):
        return MISSING
    return f"{float(value):.2f}" if math.isfinite(value) else _infinity(value)


def count(value: Any) -> str:
    """Write a whole number with thousands separated."""
    return MISSING if is_missing(value) else f"{int(value):,}"


def text(value: Any) -> str:
    """Write text as it is, nothing for a missing one."""
    return "" if is_missing(value) else str(value)


def moment(value: Any) -> str:
    """Write a UTC timestamp to the minute."""
    return MISSING if is_missing(value) else pd.Timestamp(value).strftime("%Y-%m-%d %H:%M")


def plain(value: Any) -> str:
    """Write a parameter or an extra metric: numbers in six digits, lists and objects as JSON."""
    if is_missing(value):
        return MISSING
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.6g}" if math.isfinite(value) else _infinity(float(value))
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (Mapping, Sequence)) and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def escaped(value: object) -> str:
    """Escape text for the inside of an HTML element or a quoted attribute."""
    return html.escape(str(value), quote=True)


def _infinity(value: float) -> str:
    return "∞" if value > 0 else "-∞"


METRICS = (
    Metric("annualized_return", "Return p.a.", percent),
    Metric("sharpe_ratio", "Sharpe ratio", ratio),
    Metric("max_drawdown", "Max drawdown", percent),
    Metric("win_rate", "Win rate", percent),
    Metric("total_trades", "Trades", count),
)
