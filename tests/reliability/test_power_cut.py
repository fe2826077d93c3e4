"""A power cut at any moment loses nothing acknowledged, keeps nothing half saved, and leaves a sound file.

Backups and restores are not among what is recorded: they move whole files, beside SQLite.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import re
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import pytest
from journaled import LONG, check_whole, content, in_child
from power import Created, Disk, Event, Flushed, Mark, Recorder, Written

import finlab_nb as fl
from finlab_nb.store import checkpoint, connection

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.skipif(os.name == "nt", reason="SQLite flushes no folders there"),
]
ROUNDS, CUTS = (60, 3000) if LONG else (30, 250)  # what each writer does, and how often the power is cut
LARGEST, MOST_RUNS = 12, 8  # few trades and runs, because all are read after every cut
LOG_BYTES: Final = 256 * 2**10  # so that the log goes back, and begins anew, every few saves

Rows: TypeAlias = dict[str, Any]


class Begun(NamedTuple):
    """The writer has called the store."""

    writer: str


class Acknowledged(NamedTuple):
    """The call has returned: this is how rows are from now on; those that are None are gone."""

    writer: str
    call: str
    rows: Rows


class RefusedError(Exception):
    """Ends a transaction that must leave nothing."""


def rows_of(store: fl.StorageManager, writers: str = "%") -> dict[str, Rows]:
    """Return all strategies and iterations by their ids, for each writer: its strategies have its name."""
    found: dict[str, Rows] = defaultdict(dict)
    with store.pool.read() as reader:
        strategies = reader.execute("SELECT strategy_id, name FROM strategies WHERE name LIKE ?", (writers,)).fetchall()
        runs = reader.execute("SELECT iteration_id, strategy_id FROM iterations").fetchall()
    names = dict(strategies)
    for key, name in names.items():
        found[name][key] = store.load_strategy(key)
    for key, strategy in runs:
        if strategy in names:
            found[names[strategy]][key] = store.load_iteration(key)
    return found


# What is recorded -------------------------------------------------------------------------------------------------


class Writer:
    """Saves, changes and removes at random, and marks what was acknowledged."""

    def __init__(self, path: Path, name: str, recorder: Recorder) -> None:
        self._path, self._name, self._recorder = path, name, recorder
        self._chance, self._notes = random.Random(name), (f"{name}, run {number}" for number in count())
        self._rows: Rows = {}
        self._strategy = ""

    def work(self) -> None:
        for done in range(ROUNDS):
            if done % 10 == 0:
                store = fl.StorageManager(self._path)
            call = self._new_version if not self._runs() else self._chance.choice(self._calls())
            self._recorder.mark(Begun(self._name))
            call(store)
            rows = rows_of(store, self._name)[self._name]
            changed = {key: row for key, row in rows.items() if row != self._rows.get(key)}
            changed |= dict.fromkeys(self._rows.keys() - rows.keys())
            self._recorder.mark(Acknowledged(self._name, call.__name__, changed))
            self._rows = rows
            if done % 10 == 9:
                store.close()

    def _calls(self) -> list[Callable[[fl.StorageManager], None]]:
        if len(self._runs()) > MOST_RUNS:
            return [self._delete]
        return [
            *(self._save, self._save_many, self._save_in_transaction, self._fail, self._annotate, self._decide),
            *(self._delete, self._import, self._new_version),
        ]

    def _runs(self) -> list[str]:
        return [key for key, row in self._rows.items() if "iteration_number" in row]

    def _run(self) -> str:
        return self._chance.choice(self._runs())

    def _suggestion(self) -> int:
        return self._rows[self._run()]["suggestions"][0]["suggestion_id"]

    def _next(self) -> dict[str, Any]:
        return {"strategy_id": self._strategy, **content(next(self._notes), LARGEST)}

    def _new_version(self, store: fl.StorageManager) -> None:
        with store.transaction():
            parent = self._strategy or None
            self._strategy = store.save_strategy_version(self._name, "signal = 1", {"lookback": 60}, parent)
            store.save_iteration(**self._next())

    def _save(self, store: fl.StorageManager) -> None:
        applies = [self._suggestion()] if self._chance.random() < 0.3 else []
        check_whole(store.load_iteration(store.save_iteration(**self._next(), applies=applies)), LARGEST)

    def _save_many(self, store: fl.StorageManager) -> None:
        store.save_iterations([self._next() for _ in range(3)])

    def _save_in_transaction(self, store: fl.StorageManager) -> None:
        with store.transaction():
            store.delete_iteration(self._run())
            with contextlib.suppress(RefusedError), store.transaction():
                store.save_iteration(**self._next())
                raise RefusedError
            store.annotate(store.save_iteration(**self._next()), starred=True)

    def _fail(self, store: fl.StorageManager) -> None:
        with contextlib.suppress(RefusedError), store.transaction():
            store.save_iteration(**self._next())
            store.delete_iteration(self._run())
            raise RefusedError

    def _annotate(self, store: fl.StorageManager) -> None:
        note, chance = next(self._notes), self._chance.random
        store.annotate(self._run(), note=note, starred=chance() < 0.5, add_tags=note, remove_tags="daily")

    def _decide(self, store: fl.StorageManager) -> None:
        status = self._chance.choice(["open", "applied", "rejected"])
        store.set_suggestion_status(self._suggestion(), status, self._run() if status == "applied" else None)

    def _delete(self, store: fl.StorageManager) -> None:
        store.delete_iteration(self._run())

    def _import(self, store: fl.StorageManager) -> None:
        file = store.export_results([self._run()], self._path.with_name(f"{self._name}.json"))
        store.import_results(file)


def record(folder: Path, synchronous: str) -> None:
    """One writer alone, then two beside each other; write the events to a file."""
    checkpoint.WAL_BYTES = LOG_BYTES
    settings = [
        re.sub(r"(?<=journal_size_limit = )\d+", str(LOG_BYTES), setting).replace("FULL", synchronous)
        for setting in connection._SETTINGS
    ]
    assert len(set(settings) - set(connection._SETTINGS)) == (1 if synchronous == "FULL" else 2)
    connection._SETTINGS = tuple(settings)
    recorder = Recorder(folder)
    first, second, third = (Writer(folder / "a.db", name, recorder) for name in ("first", "second", "third"))
    first.work()
    with ThreadPoolExecutor() as threads:
        for work in [threads.submit(second.work), threads.submit(third.work)]:
            work.result()
    (folder / "events").write_bytes(pickle.dumps(recorder.events))


def recorded(folder: Path, synchronous: str = "FULL") -> list[Event]:
    """Return what happened to the files of a store in another process, and check that nothing was overlooked."""
    folder.mkdir()
    in_child(record, folder, synchronous)
    events = pickle.loads((folder / "events").read_bytes())
    assert any(isinstance(event, Created) for event in events), "the writers' SQLite is not the one that was recorded"
    disk = Disk()
    for event in events:
        disk.take(event)
    left = {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("a.db")}
    assert disk.whole() == left, "the record does not lead to the files that there are"
    return events


# What must be there -----------------------------------------------------------------------------------------------


class Expected:
    """What the store must hold while the events of a record happen."""

    def __init__(self, events: list[Event]) -> None:
        self._to_come: dict[str, list[Acknowledged]] = defaultdict(list)
        for event in reversed(events):
            if isinstance(event, Mark) and isinstance(event.note, Acknowledged):
                self._to_come[event.note.writer].append(event.note)
        self._now: dict[str, Rows] = {writer: {} for writer in self._to_come}
        self._at_work: set[str] = set()

    def take(self, event: Event) -> None:
        match event:
            case Mark(Begun(writer)):
                self._at_work.add(writer)
            case Mark(Acknowledged(writer)):
                self._now[writer] = self._next(writer)
                self._to_come[writer].pop()
                self._at_work.remove(writer)

    def _next(self, writer: str) -> Rows:
        changed = self._now[writer] | self._to_come[writer][-1].rows
        return {key: row for key, row in changed.items() if row is not None}

    def check(self, found: dict[str, Rows]) -> None:
        """Check that each writer finds what was acknowledged, and what it was doing done as a whole or not at all."""
        assert found.keys() <= self._now.keys()
        for writer, now in self._now.items():
            rows = found.get(writer, {})
            if writer in self._at_work and rows == self._next(writer):
                continue
            differing = [key for key in rows.keys() | now.keys() if rows.get(key) != now.get(key)]
            lost, unknown = now.keys() - rows.keys(), rows.keys() - now.keys()
            call = self._to_come[writer][-1].call if writer in self._at_work else "nothing"
            assert not differing, (
                f"of the {writer} writer, which was doing {call}, {len(differing)} rows are not as acknowledged: "
                f"{len(lost)} are lost and {len(unknown)} too many"
            )


def moments(events: list[Event], cuts: int, chance: random.Random) -> list[int]:
    """Return after how many events the power is cut: everywhere, and more often when something was acknowledged."""
    everywhere = range(1, len(events) + 1)
    acknowledged = [n for n in everywhere if isinstance(events[n - 1], Mark)]
    some = chance.sample(everywhere, min(len(everywhere), cuts * 2 // 3))
    return sorted(some + chance.choices(acknowledged, k=cuts - len(some)))


def failures(folder: Path, events: list[Event], cuts: int, seed: object) -> Iterator[str]:
    """Cut the power at many moments, and tell each time what is wrong afterwards."""
    disk, expected, happened = Disk(), Expected(events), 0
    for number, moment in enumerate(moments(events, cuts, random.Random(f"{seed}"))):
        for event in events[happened:moment]:
            disk.take(event)
            expected.take(event)
        happened = moment
        place, chance = folder / str(number), random.Random(f"{seed} {number}")
        try:
            check_after_cut(place, disk.after_cut(chance), expected, chance)
        except (AssertionError, fl.StorageError, sqlite3.Error) as error:
            yield f"cut {number} of seed {seed!r}, after event {moment} of {len(events)} of {folder}: {error!r}"
        shutil.rmtree(place)


def check_after_cut(folder: Path, files: dict[str, bytes], expected: Expected, chance: random.Random) -> None:
    """Check that the store opens with these files, has what it must, takes a new run, and is sound."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    if chance.random() < 0.3:  # nobody ever flushes it
        (folder / "a.db-shm").write_bytes(chance.randbytes(32768))
    with fl.StorageManager(folder / "a.db") as store:
        expected.check(rows_of(store))
        run = store.save_iteration(store.save_strategy_version("new", "signal = 1"), **content("after", LARGEST))
    with closing(sqlite3.connect(folder / "a.db")) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert plain.execute("PRAGMA foreign_key_check").fetchall() == []
    with fl.StorageManager(folder / "a.db") as store:
        check_whole(store.load_iteration(run), LARGEST)


# The tests --------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(3600)
def test_a_power_cut_loses_nothing_acknowledged_and_leaves_a_sound_file(tmp_path: Path) -> None:
    events = recorded(tmp_path / "recorded")
    (database,) = {event.file for event in events if isinstance(event, Created) and event.name == "a.db"}
    logs = {event.file for event in events if isinstance(event, Created) and event.name == "a.db-wal"}
    copied_back = sum(isinstance(event, Flushed) and event.file == database for event in events)
    begun_anew = sum(isinstance(event, Written) and event.file in logs and not event.offset for event in events)
    seed = random.randrange(10**6) if LONG else 0
    wrong = list(failures(tmp_path / "cuts", events, CUTS, seed))
    print(
        f"\n{CUTS} cuts among {len(events)} events: the log copied back {copied_back} times, begun {begun_anew} times"
    )
    assert wrong == []
    assert copied_back >= ROUNDS / 5
    assert begun_anew - len(logs) >= ROUNDS / 5


@pytest.mark.parametrize(
    ("synchronous", "consequence"), [("NORMAL", "rows are not as acknowledged"), ("OFF", "damaged")]
)
def test_the_cuts_find_what_a_weaker_setting_would_lose(tmp_path: Path, synchronous: str, consequence: str) -> None:
    events = recorded(tmp_path / "recorded", synchronous)
    assert any(consequence in failure for failure in failures(tmp_path / "cuts", events, 60, 0))
