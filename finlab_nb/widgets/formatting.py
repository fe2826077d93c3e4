"""How a value of the store reads on screen: plain text from values, escaped text for HTML.

The formats of metrics are in the table of metrics, `finlab_nb.records.metrics`.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from finlab_nb.records.metrics import MISSING, number
from finlab_nb.records.plain import is_missing


def text(value: Any) -> str:
    """Write text as it is, nothing if it is missing."""
    return "" if is_missing(value) else str(value)


def moment(value: Any) -> str:
    """Write a UTC timestamp to the minute."""
    return MISSING if is_missing(value) else pd.Timestamp(value).strftime("%Y-%m-%d %H:%M")


def plain(value: Any) -> str:
    """Write a parameter or an extra metric: numbers with six digits, lists and objects as JSON."""
    if is_missing(value):
        return MISSING
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        return number(value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (Mapping, Sequence)) and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def escaped(value: object) -> str:
    """Escape text for the inside of an HTML element or a quoted attribute."""
    return html.escape(str(value), quote=True)
