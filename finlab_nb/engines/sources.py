"""The source of a strategy, where Python can tell it, also of what was defined in a notebook's cell."""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections.abc import Iterator
from types import CodeType
from typing import Any


def source_of(given: object) -> str | None:
    """Return source: text as it is, else that of a class or function, or of an object's class; None if unknown."""
    if given is None or isinstance(given, str):
        return given
    subject: Any = inspect.unwrap(given) if callable(given) and not isinstance(given, type) else given
    if not (inspect.isclass(subject) or inspect.isroutine(subject)):
        subject = type(subject)
    try:
        return textwrap.dedent(inspect.getsource(subject))
    except (OSError, TypeError):
        return _source_of_cell(subject) if inspect.isclass(subject) else None


def _source_of_cell(kind: type[Any]) -> str | None:
    """Find a class by its methods: a cell is no file, but the functions in it know their lines."""
    for code in _codes(kind):
        text = "".join(linecache.getlines(code.co_filename))
        try:
            tree = ast.parse(text)
        except SyntaxError:
            continue
        holding = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and node.name == kind.__name__ and _holds(node, code.co_firstlineno)
        ]
        if holding:
            node = holding[-1]
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            return textwrap.dedent("".join(text.splitlines(keepends=True)[first - 1 : node.end_lineno]))
    return None


def _codes(kind: type[Any]) -> Iterator[CodeType]:
    for value in vars(kind).values():
        function = inspect.unwrap(getattr(value, "__func__", getattr(value, "fget", None)) or value)
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType) and getattr(function, "__qualname__", "").startswith(f"{kind.__qualname__}."):
            yield code


def _holds(node: ast.ClassDef, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)
