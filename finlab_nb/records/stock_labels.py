"""Stock codes that look like the label of a column: of a grid, of a table of prices, or the number of a column."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

# Hong Kong's codes may be written "5", so that a column's number counts only where all codes are that short.
_COLUMN_NUMBER: Final = re.compile(r"\d|[1-9]\d")
_PRICE_COLUMNS: Final = frozenset({"close", "Close", "adj_close", "Adj Close", "Adj_Close"})
# Codes of letters and digits alone are none of these, nor are those that end in a letter. "1.600519" and "116.00700"
# are codes: the market stands before the point, and five or six digits after it.
_LABEL: Final = re.compile(
    r"(?P<float>\d{3,}\.0)|(?P<tuple>[(\[].*,.*[)\]]|\d+(?:\.\d+)?(?:[_|]\d+(?:\.\d+)?)+)"
    r"|(?P<number>(?!\d{1,3}\.\d{5,6}$)[+-]?\d+\.\d+(?:e[+-]?\d+)?|[+-]?\d+e[+-]\d+|-\d+)"
)
_LABEL_ENDS: Final = "0123456789)]"
_LABEL_REASONS: Final[Mapping[str | None, str]] = {
    "float": "it looks like a code that was read as a number: read it with dtype=str, numbers lose leading zeros",
    "tuple": "it looks like a column of a grid: give the stock code alone, and the rest as parameters",
    "number": "it looks like a column of a grid: give the stock code, and this number as a parameter",
    "column": "it looks like the number of a column: give the stock code ('0005', if it is one of Hong Kong)",
    "price": "it looks like the name of a price column: give the stock code of these prices",
}


def label_reasons(codes: Collection[str]) -> dict[str, str]:
    """Return, for each of the codes that looks like a label, what it looks like and what to give instead."""
    different = set(codes)
    labels: dict[str, str | None] = dict.fromkeys(different & _PRICE_COLUMNS, "price")
    if all(map(_COLUMN_NUMBER.fullmatch, different)):
        labels = dict.fromkeys(different, "column")
    for code in different:
        if code[-1] in _LABEL_ENDS and not code.isalnum() and (match := _LABEL.fullmatch(code)):
            labels[code] = match.lastgroup
    return {code: _LABEL_REASONS[label] for code, label in labels.items()}
