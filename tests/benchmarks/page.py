"""Tables in Markdown, and the places of a page that a benchmark fills."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_WIDEST: Final = 60  # cells beyond are sentences, whose columns need no alignment


@dataclass(frozen=True, slots=True)
class Place:
    """What stands between two marks of a page, ``<!-- name -->`` and ``<!-- /name -->``."""

    name: str

    def block_of(self, document: str) -> str:
        """Return what stands there."""
        found = self._block.search(document)
        if found is None:
            raise ValueError(f"the page has no place for {self.name}: <!-- {self.name} --> and <!-- /{self.name} -->")
        return found[0]

    def write(self, path: Path, text: str) -> None:
        """Put a text there."""
        document = path.read_text(encoding="utf-8")
        self.block_of(document)
        path.write_text(self._block.sub(lambda _: text, document), encoding="utf-8")

    @property
    def _block(self) -> re.Pattern[str]:
        return re.compile(f"(?<=<!-- {self.name} -->\n).*?(?=<!-- /{self.name} -->)", re.DOTALL)


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]], *, numbers: Iterable[int] = ()) -> str:
    """Return a table that is also aligned for a terminal; the columns of these numbers stand to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [min(_WIDEST, max(3, *map(len, column))) for column in zip(*lines, strict=True)]
    right = set(numbers)
    rule = ["-" * (width - 1) + ":" if place in right else "-" * width for place, width in enumerate(widths)]
    lines.insert(1, rule)
    return "\n".join(f"| {' | '.join(_aligned(line, widths, right))} |" for line in lines)


def _aligned(line: Iterable[str], widths: Iterable[int], right: set[int]) -> list[str]:
    pairs = enumerate(zip(line, widths, strict=True))
    return [cell.rjust(width) if place in right else cell.ljust(width) for place, (cell, width) in pairs]
