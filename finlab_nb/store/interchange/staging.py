"""A whole export file, read once and checked before anything is written.

The checked iterations wait in a temporary file without a name, so that neither the memory holds them all nor the write
lock waits for the reading of JSON; and what is stored is what was checked, even when the export file changes meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple, Self

from finlab_nb.records import Iteration, Strategy, strategy_record, text
from finlab_nb.records.days import timestamp_text
from finlab_nb.records.values import shown, whole
from finlab_nb.store.interchange import changes
from finlab_nb.store.interchange.codec import (
    ImportedIteration,
    ImportedStrategy,
    checked_iteration,
    checked_strategy,
)
from finlab_nb.store.interchange.files import Source
from finlab_nb.store.interchange.json_stream import JsonStream
from finlab_nb.store.interchange.versions import NEWEST, Reading, Version
from finlab_nb.store.progress import ProgressBar
from finlab_nb.store.spool import Spool


class StrategyEntry(NamedTuple):
    """Where a strategy of the file is found again."""

    path: str
    place: int
    digest: bytes
    parent: str | None
    made: bool  # from the code of an iteration that came without its strategy


class IterationEntry(NamedTuple):
    """Where an iteration of the file is found again, and what decides whether and by which number it is stored."""

    path: str
    place: int
    strategy_id: str
    number: Any
    numbered_at: str
    revived_at: str
    changed_at: str  # apart from its number


@dataclass(slots=True)
class Staging:
    """What an export file holds: strategies and iterations by id, in the order of the file, and what was deleted."""

    spool: Spool
    version: Version = NEWEST
    strategies: dict[str, StrategyEntry] = field(default_factory=dict)
    iterations: dict[str, IterationEntry] = field(default_factory=dict)
    deleted: dict[str, str] = field(default_factory=dict)
    numbers: set[tuple[str, object]] = field(default_factory=set)
    parents_first: list[str] = field(default_factory=list)  # the strategies

    @classmethod
    def read(cls, source: Source, spool: Spool, bar: ProgressBar) -> Self:
        """Read and check a file; the checked records are in the spool.

        Raises
        ------
        ValueError
            If anything in it is wrong; the message begins with the JSON path.
        """
        staging = cls(spool)
        staging._read_all(JsonStream(source.read), source, bar)
        staging._sort_strategies()
        return staging

    def iteration(self, iteration_id: str) -> ImportedIteration:
        """Return an iteration, without its strategy."""
        found: ImportedIteration = self.spool.get(self.iterations[iteration_id].place)
        return found

    def strategy(self, strategy_id: str) -> ImportedStrategy:
        """Return a strategy."""
        found: ImportedStrategy = self.spool.get(self.strategies[strategy_id].place)
        return found

    def ancestors(self, strategy_ids: Iterable[str | None]) -> set[str]:
        """Return strategies of the file, and those that they descend from."""
        found: set[str] = set()
        for ancestor in strategy_ids:
            while ancestor in self.strategies and ancestor not in found:
                found.add(ancestor)
                ancestor = self.strategies[ancestor].parent
        return found

    # Reading ------------------------------------------------------------------------------------------------------

    def _read_all(self, stream: JsonStream, source: Source, bar: ProgressBar) -> None:
        reading = Reading()
        found: dict[str, Any] = {}
        for key in stream.members("$"):
            heading = reading.version.heading
            path = f"$.{key}"
            if key not in heading.names:
                reading.pass_over("$", "heading", key, heading.names)
                stream.pass_over(path)
                continue
            found[key] = True
            if key == "strategies":
                for item, value in stream.items(path):
                    self._add_strategy(item, checked_strategy(item, value, reading))
            elif key == "iterations":
                for item, value in stream.items(path):
                    self._add_iteration(item, checked_iteration(item, value, reading))
                    bar.update(source.bytes_read() - bar.n)
            else:
                found[key] = stream.value(path)
                self._take_heading(path, key, found[key], reading)
        stream.end()
        for key in reading.version.heading.required:
            if key not in found:
                raise ValueError(f"$.{key} is missing")
        if found["iteration_count"] != len(self.iterations):
            raise ValueError(
                f"$.iteration_count is {found['iteration_count']}, but $.iterations holds {len(self.iterations)}; "
                "the file is not complete"
            )
        self.version = reading.version
        reading.warn()

    def _take_heading(self, path: str, key: str, value: object, reading: Reading) -> None:
        if key == "export_timestamp":
            timestamp_text(path, text(path, value))
        elif key == "iteration_count":
            whole(path, value, 0)
        elif key == "format_version":
            reading.begin(path, value)
        elif key == "deleted" and value is not None:
            self.deleted = changes.moments(path, value)

    def _add_iteration(self, path: str, iteration: ImportedIteration) -> None:
        record, strategy = iteration.record, iteration.strategy
        if record.iteration_id in self.iterations:
            raise ValueError(f"{path}.iteration_id is {shown(record.iteration_id)}; an iteration before it has this id")
        number = iteration.as_stored.get("iteration_number", record.iteration_number)
        if (record.strategy_id, number) in self.numbers:
            raise ValueError(
                f"{path}.iteration_number is {shown(number)}; an iteration of this strategy before it has this number"
            )
        self.numbers.add((record.strategy_id, number))
        place, told = self.spool.put(iteration._replace(strategy=None)), iteration.changes
        numbered_at, revived_at = (told.get((name, ""), "") for name in ("iteration_number", "revived"))
        self.iterations[record.iteration_id] = IterationEntry(
            path, place, record.strategy_id, number, numbered_at, revived_at, changes.newest(told)
        )
        if strategy is not None:
            self._add_strategy(f"{path}.strategy", strategy)
        elif record.strategy_id not in self.strategies:
            self._add_strategy(path, ImportedStrategy(_strategy_of(record), {}), made=True)

    def _add_strategy(self, path: str, strategy: ImportedStrategy, *, made: bool = False) -> None:
        record = strategy.record
        digest = hashlib.sha256(repr((astuple(record), strategy.as_stored)).encode()).digest()
        before = self.strategies.get(record.strategy_id)
        if before is None or before.made:
            place = self.spool.put(strategy)
            self.strategies[record.strategy_id] = StrategyEntry(path, place, digest, record.parent_strategy_id, made)
        elif before.digest != digest:
            raise ValueError(f"{path} differs from {before.path}, which has the same strategy_id")

    def _sort_strategies(self) -> None:
        parents = {key: [one.parent] if one.parent in self.strategies else [] for key, one in self.strategies.items()}
        try:
            self.parents_first = [*TopologicalSorter(parents).static_order()]
        except CycleError as error:
            entry = self.strategies[error.args[1][0]]
            raise ValueError(
                f"{entry.path}.parent_strategy_id is {shown(entry.parent)}; "
                "the parents lead back to a strategy that was passed already"
            ) from error


def _strategy_of(iteration: Iteration) -> Strategy:
    """Make a strategy for an iteration of the original layer, which exported iterations only."""
    made = strategy_record(iteration.strategy_id, iteration.code or "")
    parameters = made.parameters if iteration.parameters is None else iteration.parameters
    return replace(made, strategy_id=iteration.strategy_id, parameters=parameters, created_at=iteration.timestamp)
