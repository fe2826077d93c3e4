"""The source of a strategy is found where Python can tell it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from finlab_nb.engines.sources import source_of


class Cross:
    """Crosses."""

    fast = 10

    def next(self) -> None:
        """Trade."""


def marked(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@marked
def signal(prices: Any) -> Any:
    return prices


_CELL = '''
import finlab_nb.engines.sources as sources
import functools

class Helper:
    def next(self):
        return "another one"

@functools.total_ordering
class Cross:
    """Crosses."""
    fast = 10

    def next(self):
        return "fast"

    def __eq__(self, other): return True
    def __lt__(self, other): return False
'''


def test_text_is_its_own_source_and_nothing_has_none() -> None:
    assert source_of("x = 1") == "x = 1"
    assert source_of(None) is None


@pytest.mark.parametrize("given", [Cross, Cross()])
def test_the_source_of_a_class_is_found_also_by_one_of_its_objects(given: object) -> None:
    source = source_of(given)
    assert source is not None
    assert source.startswith("class Cross:\n")
    assert source.rstrip().endswith('"""Trade."""')


def test_the_source_of_a_function_is_that_below_its_decorators() -> None:
    assert source_of(signal) == "@marked\ndef signal(prices: Any) -> Any:\n    return prices\n"
    assert source_of(Cross.next) == 'def next(self) -> None:\n    """Trade."""\n'


@pytest.mark.parametrize("given", [int, 5, len, type("Made", (), {}), functools.partial(print)])
def test_what_has_no_source_has_none(given: object) -> None:
    found = source_of(given)
    assert found is None or isinstance(given, functools.partial)


@pytest.mark.slow
def test_a_class_that_was_defined_in_a_cell_is_found_as_it_was_last_run(tmp_path: Path) -> None:
    cells = [
        _CELL,
        "print(sources.source_of(Cross))",
        _CELL.replace("fast", "slow"),
        "print(sources.source_of(Cross()))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    first, second = (cell.outputs[0].text.strip() for cell in notebook.cells[1::2])
    wanted = _CELL[_CELL.index("@functools.total") :].strip()
    assert first == wanted
    assert second == wanted.replace("fast", "slow")
