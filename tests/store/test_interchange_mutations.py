"""Damaged and forged export files are refused in order, and never change what is stored."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import finlab_nb as fl
from finlab_nb.store.interchange import json_schema
from finlab_nb.store.interchange.versions import VERSIONS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::finlab_nb.NewerFormatWarning")]
ENDINGS = (".json", ".json.gz", ".json.zst")
MUTATIONS = 10_000 if os.environ.get("FINLAB_NB_LONG") == "1" else 400
SCHEMAS = {version.name: jsonschema.Draft202012Validator(json_schema(version)) for version in VERSIONS}
TOKENS = (
    b"null", b"true", b"-", b"1e999", b"NaN", b"Infinity", b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0000",
    b"\\ud800", b"\xff", b"\xef\xbb\xbf", b"\0", b"9" * 5000, b"[" * 600, b'{"a":' * 600, b" " * 70_000, b"/*", b"'",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, -0.0, 1.5, 2**63, -(2**63) - 1, 10**400, 1e308, 5e-324, float("inf"), float("nan"),
    "", " ", "x", "\0", "\ud800", "1", "Infinity", "-Infinity", "NaN", "2024-02-30", "2024-01-02", "0000-00-00",
    "9999-12-31T23:59:59-12:00", "2024-01-02T00:00:00+08:00", "Asia/Taipei", "Mars/Olympus", "UTC", "{}", '{"a": 1}',
    "'; DROP TABLE trades; --", "<script>", "x" * 5000, "high", "applied",
    [], {}, [[]], [None], [1], {"a": 1}, {"": {}}, ["x", "x"],
)  # fmt: skip


# What a merge takes over from a file that tells of later changes.
MERGED: dict[str, tuple[str, ...]] = {
    "iterations": ("iteration_number", "note", "starred", "archived", "changed_at"),
    "suggestions": ("status",),
}
MERGED_TABLES = {"tags", "changes", "applications"}


class Bench:
    """A store with a few runs, put back as it was after each file that was taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "store.db"
        with fl.StorageManager(self.database) as store:
            self.ids = fill(store)
            self.files = {
                ending: store.export_results(self.ids, folder / f"runs{ending}").read_bytes() for ending in ENDINGS
            }
        self.parsed = json.loads(self.files[".json"])
        self.pristine = self.database.read_bytes()
        self.store = fl.StorageManager(self.database)
        self.before = tables(self.store)
        self.taken = 0

    def close(self) -> None:
        self.store.close()

    def put_back(self) -> None:
        self.store.close()
        self.database.write_bytes(self.pristine)
        self.store = fl.StorageManager(self.database)


def fill(store: fl.StorageManager) -> list[str]:
    parent = store.save_strategy_version("parent", "code", {"a": [1, {"b": None}]})
    child = store.save_strategy_version("動量", "code", parent_strategy_id=parent)
    known = {
        "trade_return": 0.1,
        "fees": -0.5,
        "mae": -0.1,
        "mfe": 0.0,
        "multiplier": 50.0,
        "entry_reason": "up",
        "extra": {"rank": 1},
    }
    trades = [
        {
            "stock_code": f"{2330 + i}",
            "entry_date": "2024-01-02",
            "exit_date": "2024-01-09T09:30:00" if i else None,
            "entry_price": 0.1 + i,
            "exit_price": 0.3,
            "position_size": -1.5,
            "profit_loss": None,
        }
        | (known if i else {})
        for i in range(2)
    ]
    ids = [
        store.save_iteration(
            child,
            trades=trades,
            equity={"2024-01-02": 100.0, "2024-01-03": 101.0},
            suggestions=[{"priority": "high", "description": "try", "learning_references": ["a"]}],
            extra_metrics={"up": float("inf"), "x": 1.0},
            tags=["a"],
            note="note",
            parameters={"p": 1},
            **market,
        )
        for market in (
            {"timezone": "Asia/Taipei", "currency": "TWD", "initial_capital": 1e6, "periods_per_year": 300},
            {},
        )
    ]
    [suggestion] = store.load_iteration(ids[0])["suggestions"]
    store.set_suggestion_status(suggestion["suggestion_id"], "applied", ids[1])
    store.annotate(ids[0], add_tags=["b"], remove_tags=["a"])
    store.delete_iteration(store.save_iteration(child))
    return ids


def tables(store: fl.StorageManager) -> dict[str, list[Any]]:
    with store.pool.read() as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in names}


def lasting(store: fl.StorageManager, name: str, rows: list[Any]) -> set[str]:
    """What no merge changes in the rows of a table."""
    with store.pool.read() as connection:
        names = [column for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", (name,))]
    kept = [i for i, column in enumerate(names) if column not in MERGED.get(name, ())]
    return {repr([row[i] for i in kept]) for row in rows}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("mutations"))
    yield made
    made.close()


# Mutations --------------------------------------------------------------------------------------------------------


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Damage bytes: flipped, cut out, doubled, moved, cut off, or with something thrown in."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        start = chance.randrange(len(changed) + 1)
        end = min(len(changed), start + chance.choice((1, 2, 8, 50, 500)))
        kind = chance.randrange(6)
        if kind == 0 and start < len(changed):
            changed[start] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del changed[start:end]
        elif kind == 2:
            changed[start:start] = changed[start:end]
        elif kind == 3:
            del changed[start:]
        elif kind == 4:
            changed[start:end] = chance.choice(TOKENS)
        else:
            changed[start:start] = chance.choice(TOKENS)
    return bytes(changed)


def forged(parsed: Any, chance: random.Random) -> bytes:
    """Change values and keys of the parsed file, so that what comes out is (nearly) JSON."""
    changed = copy.deepcopy(parsed)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        holder, key = chance.choice(places(changed) or [({}, "x")])
        kind = chance.randrange(6)
        if kind <= 2:
            holder[key] = chance.choice(VALUES)
        elif kind == 3:
            del holder[key]
        elif kind == 4 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif kind == 4:
            holder[chance.choice(("new", "", "iteration_id", "trade_id", "note", "\0"))] = chance.choice(VALUES)
        else:
            other, at = chance.choice(places(changed))
            holder[key] = copy.deepcopy(other[at])
    return json.dumps(changed, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")


def places(value: Any) -> list[tuple[Any, Any]]:
    """All (holder, key) of a JSON value."""
    found: list[tuple[Any, Any]] = []
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found.append((value, key))
        found.extend(places(value[key]))
    return found


# ------------------------------------------------------------------------------------------------------------------


def check(bench: Bench, path: Path, mode: str) -> None:
    """Import a file: it is taken or refused in order, and what was stored before is as it was."""
    ids = None
    with contextlib.suppress(ValueError, fl.StorageError):
        ids = bench.store.import_results(path, mode, progress=False)
    if ids is None:
        assert tables(bench.store) == bench.before
        return
    bench.taken += 1
    after = tables(bench.store)
    for name in bench.before.keys() - {"store_state", "sqlite_sequence", "edited_rows"} - MERGED_TABLES:
        if name.startswith("strategies_search_"):
            continue  # how the search index keeps its words
        assert lasting(bench.store, name, bench.before[name]) <= lasting(bench.store, name, after[name]), name
    if mode == "copy":
        assert all(set(bench.before[name]) <= set(after[name]) for name in (*MERGED, *MERGED_TABLES))
    if path.suffix == ".json":
        taken = json.loads(path.read_text(encoding="utf-8-sig"))
        if taken["format_version"] in SCHEMAS:  # not made a newer one
            SCHEMAS[taken["format_version"]].validate(taken)
    for iteration_id in ids:
        bench.store.load_iteration(iteration_id)
    bench.store.export_results(ids, path)  # what was taken can be given
    bench.put_back()


@pytest.mark.reliability
@pytest.mark.timeout(1800)
def test_mutated_files_are_refused_in_order_and_change_no_row(bench: Bench) -> None:
    for seed in range(MUTATIONS):
        chance = random.Random(seed)
        ending = chance.choice((".json", ".json", ".json", ".json", ".json.gz", ".json.zst"))
        is_forged = ending == ".json" and seed % 2
        data = forged(bench.parsed, chance) if is_forged else damaged(bench.files[ending], chance)
        path = bench.folder / f"mutated{ending}"
        path.write_bytes(data)
        try:
            check(bench, path, chance.choice(("copy", "merge")))
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
    assert bench.taken > 0, "some harmless changes must be taken, or the test proves little"


@pytest.mark.parametrize("value", VALUES, ids=[f"{i}-{str(value)[:20]!a}" for i, value in enumerate(VALUES)])
def test_no_place_of_a_file_takes_a_hostile_value_amiss(bench: Bench, value: Any) -> None:
    run = {"iterations": bench.parsed["iterations"][:1], "strategies": bench.parsed["strategies"], "iteration_count": 1}
    base = bench.parsed | run
    path = bench.folder / "hostile.json"
    for i in range(len(places(base))):
        changed = copy.deepcopy(base)
        holder, key = places(changed)[i]
        holder[key] = value
        path.write_bytes(json.dumps(changed).encode())
        check(bench, path, "copy" if i % 2 else "merge")
