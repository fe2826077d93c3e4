"""Saving, checking, importing, descent and search cost no more than in proportion to what they are given.

Each operation is counted at some size and at ten times that size: the bytecodes of finlab_nb and the steps of SQLite's
virtual machine. Work inside one call of C code (a search through a list, a copy of a text, the ranking of the search
index) shows in neither, so there the processor time is compared, at sizes where work in the square of the size takes
many times as long.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import random
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple, TypeAlias

import pandas as pd
import pytest
from test_adoption import ORIGINAL

import finlab_nb as fl
from finlab_nb.store import connection
from finlab_nb.store.interchange.json_stream import JsonStream

PACKAGE: Final = str(Path(fl.__file__).parent)
TIMES: Final = 10
LINEAR_AT_MOST: Final = 13  # ten times as much, and the logarithm of a sort or an index
PROCESSOR_AT_MOST: Final = 30  # caches grow too small, and others use the machine; the square would be a hundred
TIMED_SIZE: Final = 10  # times the size for counting

Action: TypeAlias = Callable[[], object]


class Operation(NamedTuple):
    """What is done, given a store and a size, once everything for it is there; and the size for counting."""

    prepare: Callable[[fl.StorageManager, int], Action]
    size: int = 50


def strategy(store: fl.StorageManager, parent: str | None = None) -> str:
    return store.save_strategy_version("momentum", "signal = close > mean", parent_strategy_id=parent)


def suggestions(size: int) -> list[dict[str, Any]]:
    return [{"priority": "high", "description": f"try {i}"} for i in range(size)]


def trades(size: int) -> list[dict[str, Any]]:
    days = pd.date_range("1990-01-01", periods=size).strftime("%Y-%m-%d")
    return [
        {"stock_code": f"{i:04}", "entry_date": day, "entry_price": 1.0, "position_size": 1}
        for i, day in enumerate(days)
    ]


def curve(size: int) -> pd.Series:
    return pd.Series(1.0, index=pd.date_range("2000-01-01", periods=size, freq="min"))


def texts(size: int) -> list[str]:
    return [f"text{i:06}" for i in range(size)]


def numbers(size: int) -> dict[str, float]:
    return dict.fromkeys(texts(size), 1.0)


def changed(store: fl.StorageManager, *statements: str) -> None:
    """Change the database as another program does that minds no rules."""
    with contextlib.closing(sqlite3.connect(store.path)) as other, other:
        other.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            other.execute(statement)


# Saving, loading, checking --------------------------------------------------------------------------------------------


def saving(size_to_arguments: Callable[[int], dict[str, Any]]) -> Callable[[fl.StorageManager, int], Action]:
    def prepare(store: fl.StorageManager, size: int) -> Action:
        owner, given = strategy(store), size_to_arguments(size)
        return lambda: store.save_iteration(owner, **given)

    return prepare


def a_date_twice(store: fl.StorageManager, size: int) -> Action:
    owner, points = strategy(store), curve(size)
    points = pd.concat([points, points[-1:]])

    def save() -> None:
        with pytest.raises(ValueError, match="twice"):
            store.save_iteration(owner, equity=points)

    return save


def applied_suggestions(store: fl.StorageManager, size: int) -> Action:
    owner = strategy(store)
    advised = store.load_iteration(store.save_iteration(owner, suggestions=suggestions(size)))
    ids = [one["suggestion_id"] for one in advised["suggestions"]]
    return lambda: store.save_iteration(owner, applies=ids)


def many_iterations(store: fl.StorageManager, size: int) -> Action:
    owner = strategy(store)
    return lambda: store.save_iterations({"strategy_id": owner} for _ in range(size))


def many_tags(store: fl.StorageManager, size: int) -> Action:
    iteration = store.save_iteration(strategy(store), tags=texts(size))
    return lambda: store.annotate(iteration, add_tags=texts(2 * size), remove_tags=texts(size))


def history(store: fl.StorageManager, size: int) -> Action:
    owner = strategy(store)
    store.save_iterations({"strategy_id": owner} for _ in range(size))
    return lambda: store.load_strategy_history(owner)


def broken_rows(store: fl.StorageManager, size: int) -> Action:
    store.save_iteration(strategy(store), trades=trades(size), suggestions=suggestions(size), equity=curve(size))
    changed(
        store,
        "UPDATE trades SET entry_date = 'never'",
        "UPDATE suggestions SET iteration_id = 'lost' || suggestion_id",
        "UPDATE equity SET date = CAST(x'ff' AS TEXT)",
    )
    return lambda: store.check(limit=10 * size)


def an_original_file(store: fl.StorageManager, size: int) -> Action:
    """Each action adopts a copy; repeated numbers, as text and as numbers, get new ones."""
    path = store.path.with_name(f"original_{size}.db")
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.executescript(ORIGINAL)
        rows = [(f"{number} {i}", "s", number, "code") for i in range(size) for number in ("first", 1)]
        other.executemany(
            "INSERT INTO iterations (iteration_id, strategy_id, iteration_number, code) VALUES (?, ?, ?, ?)", rows
        )

    def adopt() -> None:
        copy = shutil.copy(path, path.with_name(f"{time.monotonic_ns()}.db"))
        with fl.StorageManager(copy) as adopted:
            assert adopted.check(limit=1)

    return adopt


# Descent --------------------------------------------------------------------------------------------------------------


def line(store: fl.StorageManager, size: int) -> list[str]:
    ids: list[str] = []
    with store.transaction():
        for _ in range(size):
            ids.append(strategy(store, ids[-1] if ids else None))
    return ids


def descent_of(place: int) -> Callable[[fl.StorageManager, int], Action]:
    def prepare(store: fl.StorageManager, size: int) -> Action:
        ids = line(store, size)
        return lambda: store.lineage(ids[place])

    return prepare


def children(store: fl.StorageManager, size: int) -> Action:
    parent = strategy(store)
    with store.transaction():
        for _ in range(size):
            strategy(store, parent)
    return lambda: store.lineage(parent)


def removed_line(store: fl.StorageManager, size: int) -> Action:
    """Return an action that saves what it removes."""

    def remove() -> None:
        store.delete_strategy(line(store, size)[0], cascade=True)

    return remove


# Searching ------------------------------------------------------------------------------------------------------------


def searching(
    words: Callable[[int], list[str]], code: Callable[[int], str]
) -> Callable[[fl.StorageManager, int], Action]:
    def prepare(store: fl.StorageManager, size: int) -> Action:
        for _ in range(3):
            store.save_strategy_version("momentum", code(size))
        sought = " ".join(words(size))

        def search() -> None:
            assert len(store.search_strategies(sought)) == 3

        return search

    return prepare


def signs(size: int) -> list[str]:
    return [chr(0x4E00 + i) for i in range(size)]


# Exchanging -----------------------------------------------------------------------------------------------------------


def exported_iteration(store: fl.StorageManager, size: int) -> tuple[Path, list[str]]:
    iteration = store.save_iteration(
        strategy(store),
        trades=trades(size),
        equity=curve(size),
        tags=texts(size),
        extra_metrics=numbers(size),
        parameters=numbers(size),
    )
    return store.path.with_name("iterations.json"), [iteration]


def exported_suggestions(store: fl.StorageManager, size: int) -> tuple[Path, list[str]]:
    owner = strategy(store)
    advised = store.save_iteration(owner, suggestions=suggestions(size))
    ids = [one["suggestion_id"] for one in store.load_iteration(advised)["suggestions"]]
    return store.path.with_name("iterations.json"), [advised, store.save_iteration(owner, applies=ids)]


def exported_line(store: fl.StorageManager, size: int) -> tuple[Path, list[str]]:
    ids = [store.save_iteration(one) for one in line(store, size)]
    random.Random(0).shuffle(ids)
    return store.path.with_name("iterations.json"), ids


Exported: TypeAlias = Callable[[fl.StorageManager, int], tuple[Path, list[str]]]


def exporting(exported: Exported) -> Callable[[fl.StorageManager, int], Action]:
    def prepare(store: fl.StorageManager, size: int) -> Action:
        path, ids = exported(store, size)
        return lambda: store.export_results(ids, path, progress=False)

    return prepare


def importing(exported: Exported, mode: str) -> Callable[[fl.StorageManager, int], Action]:
    def prepare(store: fl.StorageManager, size: int) -> Action:
        path, ids = exported(store, size)
        store.export_results(ids, path, progress=False)
        return lambda: store.import_results(path, mode, progress=False)

    return prepare


def newer_fields(store: fl.StorageManager, size: int) -> Action:
    path = store.export_results([store.save_iteration(strategy(store))], store.path.with_name("newer.json"))
    content = {"format_version": "1.9"} | json.loads(path.read_text()) | {"format_version": "1.9"}
    content["iterations"][0] |= numbers(size)
    path.write_text(json.dumps(content))

    def load() -> None:
        with pytest.warns(fl.NewerFormatWarning):
            store.import_results(path, progress=False)

    return load


def reading(text: Callable[[int], str], wrong: str | None = None) -> Callable[[fl.StorageManager, int], Action]:
    def prepare(_store: fl.StorageManager, size: int) -> Action:
        content = text(size)

        def read() -> None:
            with contextlib.nullcontext() if wrong is None else pytest.raises(ValueError, match=wrong):
                for _ in JsonStream(io.StringIO(content).read).items("$"):
                    pass

        return read

    return prepare


def a_key_twice(size: int) -> str:
    return f"[{{{','.join(f'{json.dumps(key)}: 0' for key in [*texts(size), texts(size)[-1]])}}}]"


OPERATIONS: Final = {
    "save trades": Operation(saving(lambda size: {"trades": trades(size)})),
    "save equity": Operation(saving(lambda size: {"equity": curve(size)})),
    "save equity with a date twice": Operation(a_date_twice, 200),
    "save suggestions": Operation(saving(lambda size: {"suggestions": suggestions(size)})),
    "save tags": Operation(saving(lambda size: {"tags": texts(size)})),
    "save extra metrics": Operation(saving(lambda size: {"extra_metrics": numbers(size)})),
    "save parameters": Operation(saving(lambda size: {"parameters": numbers(size)})),
    "save applied suggestions": Operation(applied_suggestions),
    "save iterations of one strategy": Operation(many_iterations, 10),
    "annotate": Operation(many_tags),
    "load a history": Operation(history, 10),
    "check": Operation(broken_rows),
    "adopt an original file": Operation(an_original_file),
    "lineage of the first": Operation(descent_of(0)),
    "lineage of the last": Operation(descent_of(-1)),
    "lineage of many children": Operation(children),
    "delete a line": Operation(removed_line, 10),
    "search for short words": Operation(searching(signs, lambda size: "".join(signs(size)))),
    "search for words": Operation(searching(texts, lambda size: " ".join(texts(size))), 100),
    "search for one word many times": Operation(searching(lambda size: ["mean"] * size, lambda size: "mean " * size)),
    "search for a long word": Operation(searching(lambda size: ["a" * size], lambda size: "a" * size)),
    "export an iteration": Operation(exporting(exported_iteration)),
    "export a line": Operation(exporting(exported_line), 10),
    "import an iteration": Operation(importing(exported_iteration, "copy")),
    "import applied suggestions": Operation(importing(exported_suggestions, "copy"), 100),
    "import a line": Operation(importing(exported_line, "copy"), 10),
    "merge an iteration": Operation(importing(exported_iteration, "merge")),
    "merge a line": Operation(importing(exported_line, "merge"), 10),
    "import newer fields": Operation(newer_fields, 200),
    "read a key twice": Operation(reading(a_key_twice, "twice"), 200),
    "read many items": Operation(reading(lambda size: f"[{'0, [], ' * size}0]")),
    "read a long text": Operation(reading(lambda size: json.dumps(["a\n" * 100 * size]))),
    "read many lists": Operation(reading(lambda size: f"[[{'[0, [{}]], ' * size}0]]")),
    "read deep lists": Operation(reading(lambda size: f"[{('[' * 300 + ']' * 300 + ',') * (size // 20)}0]"), 40),
    "read an open text": Operation(reading(lambda size: '[["' + "a" * 100 * size, "not complete")),
}


# What takes most of its time in C code is timed in the fast lane too.
class Steps:
    """Counts the bytecodes of finlab_nb, and the steps of SQLite in all connections that are opened from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of_sqlite: list[None] = []
        tick = partial(self.of_sqlite.append, None)  # without a frame, which would be traced

        class Counted(connection.Connection):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.set_progress_handler(tick, 1)

        monkeypatch.setattr(connection, "Connection", Counted)

    def of(self, action: Action) -> int:
        self.of_sqlite.clear()
        self.bytecodes = 0
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            action()
        finally:
            sys.settrace(before)
        return self.bytecodes + len(self.of_sqlite)

    def _enter(self, frame: FrameType, _event: str, _argument: object) -> Callable[..., object] | None:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return self._count

    def _count(self, _frame: FrameType, event: str, _argument: object) -> Callable[..., object]:
        self.bytecodes += event == "opcode"
        return self._count


def processor_seconds(action: Action, times: int) -> float:
    """Return the least of several measurements."""

    def once() -> float:
        gc.collect()
        begun = time.thread_time()
        action()
        return time.thread_time() - begun

    gc.collect()
    gc.freeze()  # what other tests have left counts in no measurement, and is not gone through before each
    try:
        return min(once() for _ in range(times))
    finally:
        gc.unfreeze()


Prepare: TypeAlias = Callable[[Operation, int], Action]


@pytest.fixture
def prepared(tmp_path: Path) -> Iterator[Prepare]:
    """Return what prepares an operation on a store of its own."""
    with contextlib.ExitStack() as stores:

        def prepare(operation: Operation, size: int) -> Action:
            folder = tmp_path / str(size)
            folder.mkdir()
            return operation.prepare(stores.enter_context(fl.StorageManager(folder / "store.db")), size)

        yield prepare


@pytest.mark.parametrize("name", OPERATIONS)
def test_steps_are_in_proportion_to_the_size(monkeypatch: pytest.MonkeyPatch, prepared: Prepare, name: str) -> None:
    steps, operation = Steps(monkeypatch), OPERATIONS[name]
    small, large = prepared(operation, operation.size), prepared(operation, TIMES * operation.size)
    for action in (small, large):
        action()  # what is made at the first call only
    assert steps.of(large) / steps.of(small) <= LINEAR_AT_MOST


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_processor_time_is_in_proportion_to_the_size(prepared: Prepare, name: str) -> None:
    operation = OPERATIONS[name]
    size = TIMED_SIZE * operation.size
    small, large = prepared(operation, size), prepared(operation, TIMES * size)
    small()  # what is made at the first call only
    assert processor_seconds(large, 1) / processor_seconds(small, 5) <= PROCESSOR_AT_MOST
