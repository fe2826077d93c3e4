"""One row a figure: what was measured, beside its baseline and its target; as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.page import Place, markdown

PLACE: Final = Place("speed")
_HEADS: Final = ("", "finlab_nb", "baseline", "ratio", "target", "", "against")


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure must keep: a bound of the figure itself, or of its ratio to the baseline."""

    bound: float
    of_ratio: bool = False
    at_least: bool = False

    def held(self, ours: float, ratio: float | None) -> bool:
        """Tell whether a figure keeps to it."""
        figure = ratio if self.of_ratio else ours
        if figure is None:
            return False
        return figure >= self.bound if self.at_least else figure <= self.bound

    def shown(self, unit: str) -> str:
        """Return it as the table shows it."""
        sign = ">=" if self.at_least else "<="
        return f"{sign} {self.bound:.3g}x" if self.of_ratio else f"{sign} {shown(self.bound, unit)}"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; times are in milliseconds, rates in rows a second. A row without a target is for information."""

    name: str
    ours: float
    against: str = ""
    baseline: float | None = None
    target: Target | None = None
    unit: str = "ms"

    @property
    def ratio(self) -> float | None:
        """Ours as a multiple of the baseline."""
        return None if self.baseline is None else self.ours / self.baseline

    @property
    def held(self) -> bool | None:
        """Whether the target is held; None without one."""
        return None if self.target is None else self.target.held(self.ours, self.ratio)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self) | {"ratio": self.ratio, "ok": self.held}

    def cells(self) -> tuple[str, ...]:
        """Return it as the table shows it."""
        return (
            self.name,
            shown(self.ours, self.unit),
            "" if self.baseline is None else shown(self.baseline, self.unit),
            "" if self.ratio is None else f"{self.ratio:.3g}x",
            "" if self.target is None else self.target.shown(self.unit),
            {True: "ok", False: "MISS", None: ""}[self.held],
            self.against,
        )


def shown(figure: float, unit: str) -> str:
    """Return a figure with its unit, to three digits."""
    if unit != "ms":
        return f"{figure:,.0f}{unit}"
    if figure < 0.1:
        return f"{figure * 1000:.3g} us"
    return f"{figure:.3g} ms" if figure < 1000 else f"{figure / 1000:.3g} s"


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a table in Markdown."""
    return markdown(_HEADS, (row.cells() for row in rows), numbers=range(1, 5))


def write_json(path: Path, rows: Iterable[Row], facts: Mapping[str, Any]) -> None:
    """Write the rows, and the facts of the machine and the book, to a file."""
    path.write_text(json.dumps({**facts, "rows": [row.as_dict() for row in rows]}, indent=2) + "\n", encoding="utf-8")
