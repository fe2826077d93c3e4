"""What is measured: every tool records the same iterations and answers the same questions, each step by all in turn."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, product
from pathlib import Path
from statistics import median
from typing import Any, Final

from tqdm import tqdm

from tests.benchmarks.children import Child
from tests.benchmarks.peers.answers import QUESTIONS, agree, right, strategy_names
from tests.benchmarks.peers.catalogue import Peer
from tests.benchmarks.table import shown

_ROUNDS: Final = 9
_NEW_PROCESSES: Final = 3
_PATIENCE: Final = 10_000.0  # ms; whoever has used them up for one figure is not asked for it again
_TOGETHER: Final = 2.0  # seconds in which several processes are at work
_WRITERS: Final = 4
_READERS: Final = 2
_FIRST_EVER: Final = ("best", "trades", "by_stock")

ROWS: Final = {
    "record": "record an iteration",
    **QUESTIONS,
    **{f"new {question}": f"{label}, new process" for question, label in QUESTIONS.items()},
    **{f"ever {question}": f"{QUESTIONS[question]}, first question ever" for question in _FIRST_EVER},
    "reader": "ten best, while another process records",
    "writer": f"record, while {_READERS} other processes ask",
    "writers": f"record, {_WRITERS} processes at once",
    "size": "size on disk",
}


class ToolError(Exception):
    """A tool that failed or cannot do what is asked, with the reason."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure as it is shown; one without a figure has no rank in its row."""

    text: str
    figure: float | None = None


@dataclass(slots=True)
class Measured:
    """A tool, the interpreter that has it, the folder of its book, and its figures so far by the keys of `ROWS`."""

    peer: Peer
    python: Path
    folder: Path
    keys: list[str] = field(default_factory=list)
    cells: dict[str, Cell] = field(default_factory=dict)
    further: int = 0  # iterations that were acknowledged after those of `keys`

    @property
    def book(self) -> Path:
        """Where the book stands, by itself."""
        return self.folder / "book"

    @contextmanager
    def process(self) -> Iterator[_Process]:
        """Run a process of the tool, whose messages go to a file beside the book."""
        with (
            (self.folder / "messages.txt").open("a") as messages,
            _Process(
                self.peer.tool,
                self.book.resolve(),
                module="tests.benchmarks.peers.child",
                python=self.python,
                stderr=messages,
            ) as process,
        ):
            yield process

    @contextmanager
    def failing(self, *rows: str) -> Iterator[None]:
        """Put the reason into the rows that are still empty if the tool fails."""
        try:
            yield
        except (ToolError, RuntimeError, BrokenPipeError) as error:
            reason = str(error).replace(str(self.book.resolve()), "book")[:120]
            for row in rows:
                self.cells.setdefault(row, Cell(reason))

    def number(self, turn: int) -> int:
        """Return the iteration whose trades are asked for in a turn."""
        return 7 * turn % len(self.keys)

    def put(self, row: str, milliseconds: float) -> None:
        """Put a time into a row, with a mark if the question is asked past the tool's API."""
        mark = " †" if row.split()[-1] in self.peer.past_api else ""
        self.cells[row] = Cell(shown(milliseconds, "ms") + mark, milliseconds)


class _Process(Child):
    """A child whose failures are errors here."""

    def call(self, action: str, *arguments: object) -> Any:
        self.send([action, *arguments])
        return self.result()

    def result(self) -> Any:
        reply = self.receive()
        if "failed" in reply:
            raise ToolError(reply["failed"])
        return reply["answer"]

    def check(self, question: str, iterations: int, number: int) -> None:
        if not agree(self.call("essence", question), right(question, iterations, number)):
            raise ToolError("wrong answer")


def measure(tools: list[Measured], iterations: int) -> None:
    """Fill the cells of every tool; where one fails, its reason stands instead."""
    for tool in tools:
        shutil.rmtree(tool.folder, ignore_errors=True)
        tool.book.mkdir(parents=True)
    steps = (_record, _ask, _ask_new_processes, _ask_first_ever, _size, _ask_beside_a_writer, _record_at_once)
    with tqdm(list(product(steps, tools)), unit="step", leave=False, disable=None) as progress:
        for step, tool in progress:
            progress.set_description(f"{tool.peer.title}: {step.__name__.strip('_').replace('_', ' ')}")
            if tool.keys or step is _record:
                step(tool, iterations)


def _record(tool: Measured, iterations: int) -> None:
    with tool.failing(*ROWS), tool.process() as process:
        process.call("start", strategy_names())
        keys, times = process.call("record", iterations)
        tool.put("record", median(times))
        tool.keys = keys


def _ask(tool: Measured, iterations: int) -> None:
    with tool.failing(*QUESTIONS), tool.process() as process:
        for question in QUESTIONS:  # all are warm: whatever a first question of one kind begins has ended
            if process.call("can", question):
                with tool.failing(question):
                    _ask_once(tool, process, question, turn=0)
        for question in QUESTIONS:
            with tool.failing(question):
                if not process.call("can", question):
                    raise ToolError("no SQL")
                times = _patiently(_ROUNDS, partial(_ask_once, tool, process, question))
                process.check(question, iterations, tool.number(len(times) - 1))
                tool.put(question, median(times[1:] or times))


def _ask_once(tool: Measured, process: _Process, question: str, turn: int) -> float:
    key = [tool.keys[tool.number(turn)]] if question == "trades" else []
    return process.call("ask", question, *key)


def _ask_new_processes(tool: Measured, iterations: int) -> None:
    for question in QUESTIONS:
        if tool.cells[question].figure is None:
            tool.cells[f"new {question}"] = tool.cells[question]
            continue
        with tool.failing(f"new {question}"):
            tool.put(f"new {question}", _in_new_processes(tool, question, iterations))


def _ask_first_ever(tool: Measured, iterations: int) -> None:
    for question in _FIRST_EVER:
        row = f"ever {question}"
        if tool.peer.cache is None:
            tool.cells[row] = tool.cells[f"new {question}"]
            continue
        with tool.failing(row):
            tool.put(row, _in_new_processes(tool, question, iterations, forget=tool.book / tool.peer.cache))


def _in_new_processes(tool: Measured, question: str, iterations: int, forget: Path | None = None) -> float:
    def first_answer(turn: int) -> float:
        if forget is not None:
            shutil.rmtree(forget)
        started = time.perf_counter()
        with tool.process() as process:
            _ask_once(tool, process, question, turn)
            elapsed = (time.perf_counter() - started) * 1000
            process.check(question, iterations, tool.number(turn))
        return elapsed

    return median(_patiently(_NEW_PROCESSES, first_answer))


def _size(tool: Measured, iterations: int) -> None:
    megabytes = sum(path.stat().st_blocks * 512 for path in tool.book.rglob("*") if path.is_file()) / 1e6
    tool.cells["size"] = Cell(shown(megabytes, " MB"), megabytes)


def _ask_beside_a_writer(tool: Measured, iterations: int) -> None:
    with tool.failing("reader", "writer"), ExitStack() as stack:
        writer, *readers = _open(tool, stack, 1 + _READERS)
        writer.call("prepare", iterations)
        writer.send(["record_for", _TOGETHER])
        for reader in readers:
            reader.send(["ask_for", _TOGETHER, "best"])
        recorded, *asked = [process.result() for process in (writer, *readers)]
        tool.further += len(recorded[0])
        with tool.failing("writer"):
            tool.put("writer", median(_without_errors([recorded])))
        with tool.failing("reader"):
            times = _without_errors(asked)
            if unseen := _missing(readers[0], iterations + tool.further):
                raise ToolError(f"{unseen} of {len(recorded[0])} unseen")
            tool.put("reader", median(times))


def _record_at_once(tool: Measured, iterations: int) -> None:
    with tool.failing("writers"):
        with ExitStack() as stack:
            processes = _open(tool, stack, _WRITERS)
            for process in processes:
                process.call("prepare", iterations)
            started = time.perf_counter()
            for process in processes:
                process.send(["record_for", _TOGETHER])
            results = [process.result() for process in processes]
            elapsed = (time.perf_counter() - started) * 1000
        recorded = len(_without_errors(results))
        tool.further += recorded
        with tool.process() as process:
            if lost := _missing(process, iterations + tool.further):
                raise ToolError(f"{lost} of {recorded} lost")
        tool.put("writers", elapsed / recorded)


def _open(tool: Measured, stack: ExitStack, count: int) -> list[_Process]:
    """Open processes beside each other."""
    processes, refused = [stack.enter_context(tool.process()) for _ in range(count)], 0
    for process in processes:
        try:
            process.call("open")
        except ToolError:
            refused += 1
    if refused:
        raise ToolError(f"{refused} of {count} processes refused")
    return processes


def _missing(process: _Process, count: int) -> int:
    process.call("ask", "iterations")
    return count - len(process.call("essence", "iterations"))


def _without_errors(results: Iterable[tuple[list[float], list[str]]]) -> list[float]:
    """Return the times of all calls of several processes, of which none may have failed."""
    times, errors = (list(chain.from_iterable(parts)) for parts in zip(*results, strict=True))
    if errors or not times:
        raise ToolError(f"{len(errors)} of {len(times) + len(errors)} calls failed: {', '.join(sorted(set(errors)))}")
    return times


def _patiently(rounds: int, call: Callable[[int], float]) -> list[float]:
    times: list[float] = []
    while len(times) < rounds and sum(times) < _PATIENCE:
        times.append(call(len(times)))
    return times
