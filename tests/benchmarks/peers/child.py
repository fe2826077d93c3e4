"""One tool in a process of its own, run by its environment: `python -m tests.benchmarks.peers.child TOOL FOLDER`.

A request is a line of JSON with the name of a call of `Session` and its arguments; the reply has `answer` or `failed`.
Nothing is imported before the first request but what its answer needs, so that a new process can be timed whole.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

_PREPARED: Final = 25  # iterations that are recorded round and round where several processes record


class Session:
    """An open tool.

    Parameters
    ----------
    tool
        Module and class, as in `mlflow:Files`.
    folder
        Where its book stands.
    """

    def __init__(self, tool: str, folder: str) -> None:
        module, name = tool.split(":")
        self._tool = getattr(importlib.import_module(f"tests.benchmarks.peers.tools.{module}"), name)(Path(folder))

    def open(self) -> None:
        """Do nothing: the tool is open when a first call has been answered."""

    def start(self, names: list[str]) -> None:
        """Begin the book."""
        self._tool.start(names)

    def record(self, count: int) -> tuple[list[str], list[float]]:
        """Record iterations from number 0 on, made off the clock; return their keys and milliseconds."""
        from tests.benchmarks.work import iteration

        keys, times = [], []
        for one in map(iteration, range(count)):
            started = time.perf_counter()
            keys.append(self._tool.record(one))
            times.append(_elapsed(started))
        return keys, times

    def prepare(self, first: int) -> None:
        """Make the iterations that `record_for` records."""
        from tests.benchmarks.work import iteration

        self._items = [iteration(number) for number in range(first, first + _PREPARED)]

    def record_for(self, seconds: float) -> tuple[list[float], list[str]]:
        """Record as fast as it goes; return the milliseconds of what was acknowledged, and what went wrong."""
        items = itertools.cycle(self._items)
        return _repeat(lambda: self._tool.record(next(items)), seconds)

    def ask_for(self, seconds: float, question: str) -> tuple[list[float], list[str]]:
        """Ask as fast as it goes; return the milliseconds of the answers, and what went wrong."""
        return _repeat(getattr(self._tool, question), seconds)

    def can(self, question: str) -> bool:
        """Tell whether the tool knows a question."""
        return hasattr(self._tool, question)

    def ask(self, question: str, *arguments: str) -> float:
        """Ask a question once; return the milliseconds."""
        self._answer = None  # that it is let go of is not on the clock
        started = time.perf_counter()
        self._answer = getattr(self._tool, question)(*arguments)
        return _elapsed(started)

    def essence(self, question: str) -> list[Any]:
        """Return what must be right in the answer before."""
        from tests.benchmarks.peers.answers import essence

        return essence(question, self._answer)

    def close(self) -> None:
        """Close the tool."""
        self._tool.close()


def _repeat(call: Any, seconds: float) -> tuple[list[float], list[str]]:
    times, errors, end = [], [], time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        try:
            call()
        except Exception as error:
            errors.append(type(error).__name__)
        else:
            times.append(_elapsed(started))
    return times, errors


def _elapsed(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def main() -> None:
    """Answer until the parent closes the pipe."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a tool prints is no reply
    session = None
    for line in sys.stdin:
        action, *arguments = json.loads(line)
        try:
            session = session or Session(*sys.argv[1:])
            reply = {"answer": getattr(session, action)(*arguments)}
        except Exception as error:
            reply = {"failed": _told(error)}
        print(json.dumps(reply), file=replies, flush=True)
    if session:
        session.close()


if __name__ == "__main__":
    main()
