"""The suggestions of the selected iterations, urgent ones first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from finlab_nb.records.plain import is_missing
from finlab_nb.widgets import formatting
from finlab_nb.widgets.formatting import escaped

MOST_SHOWN = 30

_DETAILS = (
    ("specific_changes", "Change"),
    ("expected_impact", "Expected"),
    ("rationale", "Why"),
    ("learning_references", "See"),
    ("applied_iteration_ids", "Applied by"),
)
_URGENCY = {"high": 0, "medium": 1, "low": 2}


def suggestions_html(suggestions: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Draw rows of `frames.suggestions()` as a list; `names` maps iteration ids to display names."""
    if suggestions.empty:
        return '<h4>Suggestions</h4><p class="finlab-nb-hint">None noted for this selection.</p>'
    urgency = suggestions["priority"].map(_URGENCY)
    ordered = suggestions.loc[urgency.sort_values(kind="stable").index]
    items = "".join(_item(row, names) for row in ordered.head(MOST_SHOWN).to_dict("records"))
    more = len(ordered) - MOST_SHOWN
    rest = f'<p class="finlab-nb-hint">{more:,} more are not shown here.</p>' if more > 0 else ""
    return f'<h4>Suggestions</h4><ul class="finlab-nb-suggestions">{items}</ul>{rest}'


def _item(row: Mapping[Any, Any], names: Mapping[str, str]) -> str:
    priority = str(row["priority"])
    level = priority if priority in _URGENCY else "low"
    details = "".join(
        f'<p><span class="finlab-nb-label">{label}:</span> {escaped(shown)}</p>'
        for column, label in _DETAILS
        if (shown := _shown(column, row.get(column), names))
    )
    status = str(row.get("status", "open"))
    return (
        f'<li class="{escaped(status)}"><span class="finlab-nb-priority {level}">{escaped(priority)}</span>'
        f"<strong>{escaped(row['description'])}</strong>"
        f'<span class="finlab-nb-origin">{escaped(names.get(row["iteration_id"], ""))} · {escaped(status)}</span>'
        f"{details}</li>"
    )


def _shown(column: str, value: Any, names: Mapping[str, str]) -> str:
    if column == "applied_iteration_ids":
        return ", ".join(names.get(iteration_id, iteration_id) for iteration_id in value)
    if column != "learning_references" or is_missing(value):
        return formatting.text(value)
    references = json.loads(value) if isinstance(value, str) else value
    return ", ".join(formatting.plain(reference) for reference in references)
