"""DEFINITIONS.md says what each library makes of a curve; whatever of it is installed here is asked again."""

from __future__ import annotations

import importlib
import math
import re
import tomllib
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import pytest

from finlab_nb.analysis import equity_metrics

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "DEFINITIONS.md").read_text(encoding="utf-8")
BLOCKS: Final = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
VERSIONS: Final = {
    library: (distribution, number)
    for library, distribution, number in re.findall(r"^\| (\w+) \| ([\w-]+) \| ([\d.]+) \|", PAGE, flags=re.MULTILINE)
}
ALWAYS_THERE: Final = ("finlab_nb", "numpy")


class Row(NamedTuple):
    """One row of the page: who is asked, the call, and by curve the number as it is written."""

    library: str
    call: str
    numbers: dict[str, str]


def _rows() -> Iterator[Row]:
    curves: list[str] = []
    for line in PAGE.splitlines():
        columns = [column.strip() for column in line.strip("|").split("|")] if line.startswith("|") else []
        if columns[:2] == ["library", "call"]:
            curves = columns[2:]
        elif not columns:
            curves = []
        elif curves and set(line) != set("|-"):
            library, call, *numbers = columns
            yield Row(library, call.strip("`"), dict(zip(curves, numbers, strict=True)))


ROWS: Final = list(_rows())


@cache
def _names(library: str) -> dict[str, Any]:
    """What the page's blocks define, those of other libraries left out."""
    names: dict[str, Any] = {}
    others = set(VERSIONS) - {library}
    for block in BLOCKS:
        if not others & set(re.findall(r"^import (\w+)", block, flags=re.MULTILINE)):
            exec(compile(block, "DEFINITIONS.md", "exec"), names)
    return names


def _imported(library: str) -> ModuleType:
    if library in ALWAYS_THERE:
        return importlib.import_module(library)
    distribution, number = VERSIONS[library]
    module = pytest.importorskip(library, exc_type=ImportError)
    if version(distribution) != number:
        pytest.skip(f"the page tells of {distribution} {number}, installed is {version(distribution)}")
    return module


def _answer(row: Row, curve: str) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        names = {row.library: _imported(row.library)} | _names(row.library)
        if curve in names:
            equity = names[curve]
            names |= {
                "equity": equity,
                "returns": equity.pct_change().dropna(),
                "freq": names["freq"].get(curve, "D"),
                "per_year": equity_metrics(equity)["periods_per_year"],
            }
        return float(eval(row.call, names))


def test_the_page_tells_of_four_libraries_and_of_ours_and_names_this_file() -> None:
    assert {row.library for row in ROWS} == {*VERSIONS, *ALWAYS_THERE}
    assert len(VERSIONS) == 4
    assert Path(__file__).relative_to(ROOT).as_posix() in PAGE


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.call)
def test_a_call_gives_the_numbers_of_the_page(row: Row) -> None:
    for curve, written in row.numbers.items():
        if written == "-":
            continue
        found = _answer(row, curve)
        if written == "unknown":
            assert math.isnan(found), curve
        else:
            decimals = len(written.partition(".")[2])
            half_a_digit = 0.5 * 10.0**-decimals * (1 + 1e-6)
            assert found == pytest.approx(float(written.replace(",", "")), rel=0, abs=half_a_digit), curve


def test_the_extras_install_the_versions_that_the_page_tells_of() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    stated = dict(VERSIONS.values())
    for extra in ("compare", "test"):
        requirements = [entry.partition(";")[0] for entry in extras[extra]]
        pinned = dict(entry.split("==") for entry in requirements if "==" in entry)
        told_of = pinned.keys() & stated.keys()
        assert told_of
        assert {name: pinned[name] for name in told_of} == {name: stated[name] for name in told_of}
