"""What a stored value must be, in words and in SQLite's SQL."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

Kind = Literal["text", "float", "whole", "flag", "date", "moment", "object", "array"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a stored value must be.

    Attributes
    ----------
    kind
        What the value is: text, float, whole, flag, date (a day or a naive moment), moment (UTC), and object and array
        for JSON.
    allowed
        The rule in words.
    words
        The only texts allowed, if they are limited.
    blank
        Whether text may be empty or consist of blanks.
    infinite
        Whether a number may be infinite.
    least, most
        The range of a number.
    above
        What a number is greater than.
    not_before
        The column of a date in the same row whose day this one does not precede.
    needs
        The column of the same row that is known whenever this one is.
    """

    kind: Kind
    allowed: str
    words: tuple[str, ...] = ()
    blank: bool = True
    infinite: bool = False
    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    not_before: str | None = None
    needs: str | None = None

    @property
    def bounds(self) -> list[tuple[str, float]]:
        """The comparisons that a number must meet, as signs of SQL and numbers."""
        found = ((">=", self.least), ("<=", self.most), (">", self.above))
        return [(sign, bound) for sign, bound in found if math.isfinite(bound)]

    @property
    def condition(self) -> str:
        """The rule in SQLite's SQL, with ``{0}`` for the column; NULL and false break the rule."""
        conditions = [_CONDITIONS[self.kind]]
        if not self.blank:
            conditions.append(f"trim({{0}}, {_BLANKS}) <> ''")
        if self.kind == "float" and not self.infinite:
            conditions.append("abs({0}) < 9e999")
        if self.words:
            conditions.append(f"{{0}} IN ({', '.join(map(repr, self.words))})")
        conditions += [f"{{0}} {sign} {bound:g}" for sign, bound in self.bounds]
        if self.not_before is not None:
            in_order = f"substr({{0}}, 1, 10) >= substr({self.not_before}, 1, 10)"
            conditions.append(f"({self.not_before} IS NULL OR {in_order})")
        if self.needs is not None:
            conditions.append(f"{self.needs} IS NOT NULL")
        return " AND ".join(conditions)


_TEXT: Final = "typeof({0}) = 'text' AND instr({0}, char(0)) = 0"
_BLANKS: Final = f"char({','.join(str(code) for code in range(0x3001) if chr(code).isspace())})"
# date() computes only if given a shift, and then 2024-02-30 becomes another day; without one it is returned as it is.
# julianday() takes more than ISO 8601: hour 24, blanks around the parts, a small z and the year 0.
_DATE: Final = (
    f"{_TEXT} AND {{0}} >= '0001' AND julianday({{0}}) IS NOT NULL "
    "AND date(substr({0}, 1, 10), '+0 days') IS substr({0}, 1, 10) AND (length({0}) = 10 "
    "OR (substr({0}, 11) GLOB '[T ][0-2][0-9]:*' AND substr({0}, 12, 2) < '24' "
    "AND substr({0}, 12) NOT GLOB '*[^0-9:.Z+-]*' "
    "AND ({0} BETWEEN '0001-01-02' AND '9999-12-31' OR substr({0}, 12) NOT GLOB '*[+-]*')))"
)
_JSON: Final = f"CASE WHEN {_TEXT} AND json_valid({{0}}) THEN json_type({{0}}) = '{{kind}}' END"
_CONDITIONS: Final[Mapping[Kind, str]] = {
    "text": _TEXT,
    "float": "typeof({0}) = 'real'",
    "whole": "typeof({0}) = 'integer'",
    "flag": "{0} IN (0, 1)",
    "date": _DATE,
    "moment": _DATE,
    "object": _JSON.replace("{kind}", "object"),
    "array": _JSON.replace("{kind}", "array"),
}
TEXT: Final = Rule("text", "text in UTF-8, without NUL")
NAME: Final = Rule("text", "text in UTF-8 that is not empty, without NUL", blank=False)
NUMBER: Final = Rule("float", "a finite number")
ANY_NUMBER: Final = Rule("float", "a number", infinite=True)
FLAG: Final = Rule("flag", "0 or 1")
DAY: Final = Rule("date", "a date that exists, as YYYY-MM-DD, or date and time in ISO 8601")
EXIT_DAY: Final = replace(
    DAY,
    allowed=f"{DAY.allowed}, not before the entry_date, and with an exit_price",
    not_before="entry_date",
    needs="exit_price",
)
MOMENT: Final = Rule("moment", "a date and time in ISO 8601")
OBJECT: Final = Rule("object", "a JSON object")
ARRAY: Final = Rule("array", "a JSON array")
ROW_NUMBER: Final = Rule("whole", "a whole number")
POSITIVE: Final = Rule("float", "a finite number above 0", above=0)
LOSS: Final = Rule("float", "a finite number of at most 0", most=0)
GAIN: Final = Rule("float", "a finite number of at least 0", least=0)


def whole(least: int) -> Rule:
    """Return the rule for a whole number of at least this size."""
    return Rule("whole", f"a whole number of at least {least}", least=least)


def one_of(words: tuple[str, ...]) -> Rule:
    """Return the rule for text that is one of these words."""
    return Rule("text", f"{', '.join(words[:-1])} or {words[-1]}", words)
