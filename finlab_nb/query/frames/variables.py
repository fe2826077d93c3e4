"""The variables of a caller, found where Python would look for them at the place of the call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from inspect import CO_OPTIMIZED
from types import CodeType, FrameType
from typing import Any, TypeAlias

from finlab_nb.errors import is_ours

Lookup: TypeAlias = Callable[[str], Any]


def callers_variables() -> Lookup:
    """Return a function that finds a variable as the code outside this package sees it, or None.

    That is a local one of the calling function, else of the functions that it is written in, as long as they are
    running (a lambda or comprehension is such a function, too), else a global one. A function that merely calls another
    lends it nothing.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to find a caller
    while frame is not None and is_ours(frame):
        frame = frame.f_back
    scopes = [] if frame is None else [_scope(frame), *_around(frame), (frame.f_globals, ())]

    def lookup(name: str) -> Any:
        for variables, own in scopes:
            if name in variables or name in own:  # one without a value hides those further out
                return variables.get(name)
        return None

    return lookup


def _scope(frame: FrameType) -> tuple[Mapping[str, Any], Collection[str]]:
    """Return the variables of a frame, and the names of its own ones, which may have no value."""
    code = frame.f_code
    return frame.f_locals, {*code.co_varnames, *code.co_cellvars} if code.co_flags & CO_OPTIMIZED else ()


def _around(inner: FrameType) -> list[tuple[Mapping[str, Any], Collection[str]]]:
    """Return the scopes of the running functions whose text holds that of a frame; Python skips those of classes."""
    scopes, code, frame = [], inner.f_code, inner.f_back
    while frame is not None:
        if frame.f_globals is inner.f_globals and _holds(frame.f_code, code):
            code = frame.f_code
            if code.co_flags & CO_OPTIMIZED:
                scopes.append(_scope(frame))
        frame = frame.f_back
    return scopes


def _holds(outer: CodeType, inner: CodeType) -> bool:
    return any(one is inner or _holds(one, inner) for one in outer.co_consts if isinstance(one, CodeType))
