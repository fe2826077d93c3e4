"""ARCHITECTURE.md and CONTRIBUTING.md name what exists, and draw the house as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_package import FLOORS, PACKAGE, _floor, _imported_modules

ROOT = Path(__file__).parents[1]
DOCUMENTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("ARCHITECTURE.md", "CONTRIBUTING.md")}
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))

# What looks like a file or a folder of the repository: a path of several parts, or a name with a known ending.
PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)+/?|[\w.-]+\.(?:py|md|toml|sql|json|js|css|db|ipynb)")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_is_named_exists(document: str) -> None:
    words = re.findall(r"(?<!`)`([^`\n]+)`(?!`)|\]\(([^)]+)\)", DOCUMENTS[document])
    paths = {word for pair in words for word in pair if PATH.fullmatch(word)}
    assert len(paths) >= 4
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_test_that_is_named_exists(document: str) -> None:
    names = re.findall(r"`(test_\w+)`", DOCUMENTS[document])
    assert [name for name in names if f"def {name}(" not in TESTS] == []


def test_the_house_has_its_floors_in_order() -> None:
    named = re.findall(r"^\| `finlab_nb/(\w+)(?:\.py)?` \|", DOCUMENTS["ARCHITECTURE.md"], re.MULTILINE)
    standing = {_floor(path) for path in PACKAGE.rglob("*.py")}
    assert named == [floor for floor in FLOORS if floor in standing]


def test_the_drawing_shows_who_imports_whom() -> None:
    drawing = DOCUMENTS["ARCHITECTURE.md"].split("Who imports whom", 1)[1].split("```")[1]
    heading, *lines = drawing.removeprefix("text\n").splitlines()
    columns = {(found.start(), found.end()): found[0] for found in re.finditer(r"\w+", heading)}
    drawn = set()
    for line in lines:
        own, *crosses = re.finditer(r"\w+", line)
        for cross in crosses:
            drawn |= {(own[0], name) for (first, end), name in columns.items() if first <= cross.start() < end}
    found = {
        (_floor(path), module.split(".")[1])
        for path in PACKAGE.rglob("*.py")
        for module in _imported_modules(path)
        if "." in module and module.split(".")[1] in FLOORS
    }
    assert drawn == {(own, other) for own, other in found if own not in (other, "__init__")}
