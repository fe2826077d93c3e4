"""Where an iteration comes from goes wherever the iteration goes: loads, exports, merges, deletions, backups, SQL."""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import finlab_nb as fl
from finlab_nb.records.provenance import PROVENANCE_FIELDS
from finlab_nb.records.tables import PROVENANCE
from finlab_nb.store.interchange import as_stored, json_schema, versions
from finlab_nb.store.interchange.versions import V1_3, V1_4, VERSIONS

DATA = Path(__file__).parents[1] / "data"
KNOWN: dict[str, Any] = {
    "engine": "vectorbt",
    "engine_version": "1.0.0",
    "code_hash": "5f",
    "packages": {"numpy": "2.3.0", "套件": "1"},
    "data_fingerprint": "DataFrame 3270x2 sha256:0123456789abcdef",
    "seed": -(2**63),
    "duration": 0.1,
    "host": "工作站",
    "result_hash": "a0",
}
UNKNOWN = dict.fromkeys(KNOWN)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[fl.StorageManager]:
    with fl.StorageManager(tmp_path / "other.db") as manager:
        yield manager


@pytest.fixture
def strategy(store: fl.StorageManager) -> str:
    return store.save_strategy_version("momentum", "code")


def rows(store: fl.StorageManager) -> list[tuple[Any, ...]]:
    """Return the rows as another program reads them, text as bytes."""
    with contextlib.closing(sqlite3.connect(store.path)) as connection:
        connection.text_factory = bytes
        return connection.execute("SELECT * FROM provenance ORDER BY iteration_id").fetchall()


def stored_export() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress((DATA / "export_1_4.json.gz").read_bytes()))
    return found


def written(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def exported(store: fl.StorageManager, ids: list[str], path: Path) -> list[dict[str, Any]]:
    found = json.loads(store.export_results(ids, path).read_text(encoding="utf-8"))
    jsonschema.validate(found, json_schema())
    assert found["format_version"] == VERSIONS[-1].name
    runs: list[dict[str, Any]] = found["iterations"]
    return runs


# Saving and loading -----------------------------------------------------------------------------------------------


def test_what_is_saved_is_loaded(store: fl.StorageManager, strategy: str) -> None:
    assert tuple(KNOWN) == PROVENANCE_FIELDS
    ids = [
        store.save_iteration(strategy, provenance=KNOWN),
        *store.save_iterations({"strategy_id": strategy, "provenance": given} for given in ({"seed": 7}, {}, None)),
        store.save_iteration(strategy),
    ]
    wanted = [KNOWN, UNKNOWN | {"seed": 7}, UNKNOWN, None, None]
    assert [store.load_iteration(one)["provenance"] for one in ids] == wanted
    assert [one["provenance"] for one in store.load_strategy_history(strategy)] == wanted
    assert store.check() == []


def test_a_wrong_one_stores_nothing(store: fl.StorageManager, strategy: str) -> None:
    with pytest.raises(ValueError, match=r"^iterations\[1\]: provenance\.seed is 'x'"):
        store.save_iterations({"strategy_id": strategy, "provenance": {"seed": seed}} for seed in (1, "x"))
    assert store.load_strategy_history(strategy) == []


def test_packages_that_are_no_json_are_left_out_with_a_warning(store: fl.StorageManager, strategy: str) -> None:
    run = store.save_iteration(strategy, provenance=KNOWN)
    with store.pool.write() as connection:
        connection.execute("UPDATE provenance SET packages = '[1]'")
    with pytest.warns(fl.BadDataWarning, match=rf"^provenance\.packages of '{run}' is '\[1\]', no JSON dict"):
        assert store.load_iteration(run)["provenance"] == KNOWN | {"packages": None}


# Exports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["copy", "merge"])
def test_the_stored_export_of_1_4_imports(store: fl.StorageManager, mode: str) -> None:
    with pytest.warns(fl.BadDataWarning, match=r"provenance\.seed \(1\)") as caught:
        ids = store.import_results(DATA / "export_1_4.json.gz", mode)
    known, some, none = (store.load_iteration(one)["provenance"] for one in ids[:3])
    assert known == stored_export()["iterations"][0]["provenance"]
    assert some == UNKNOWN | {"data_fingerprint": "", "seed": 42}
    assert none is None
    (odd,) = [row[1:] for row in rows(store) if row[0] == ids[3].encode()]
    assert odd == (b"", None, None, b"no JSON", b"\x00\xff", b"many", -1.0, b"\xff", None)
    [message] = [str(one.message) for one in caught]
    assert message.startswith(f"{len(store.check())} imported values break today's rules")


@pytest.mark.filterwarnings("ignore::finlab_nb.BadDataWarning")
def test_an_export_of_an_import_is_the_same(store: fl.StorageManager, other: fl.StorageManager, tmp_path: Path) -> None:
    ids = store.import_results(DATA / "export_1_4.json.gz", "merge")
    first = exported(store, ids, tmp_path / "a.json")
    assert first == stored_export()["iterations"]
    other.import_results(tmp_path / "a.json", "merge")
    assert exported(other, ids, tmp_path / "b.json") == first
    assert rows(other) == rows(store)
    copies = other.import_results(tmp_path / "b.json")
    again = exported(other, copies, tmp_path / "c.json")
    assert [(one.get("provenance"), one.get("as_stored")) for one in again] == [
        (one.get("provenance"), one.get("as_stored")) for one in first
    ]


def test_only_what_is_known_is_told(store: fl.StorageManager, strategy: str, tmp_path: Path) -> None:
    ids = [store.save_iteration(strategy, provenance=given) for given in (None, {}, {"seed": 7}, KNOWN)]
    told = [one.get("provenance", "absent") for one in exported(store, ids, tmp_path / "a.json")]
    assert told == ["absent", {}, {"seed": 7}, KNOWN]


def test_a_row_that_knows_nothing_is_carried_as_it_is_stored(store: fl.StorageManager, tmp_path: Path) -> None:
    nothing = [(None,) * len(KNOWN)]
    assert as_stored.written("provenance", nothing) == [{}]
    assert as_stored.written("provenance", []) == []
    file = stored_export()
    file["iterations"], file["iteration_count"] = file["iterations"][2:3], 1
    file["iterations"][0]["as_stored"] = {"provenance": [{}]}
    jsonschema.validate(file, json_schema())
    store.import_results(written(tmp_path / "a.json", file), "merge")
    assert rows(store) == [(b"i-none", *nothing[0])]


def test_files_of_older_versions_have_none(store: fl.StorageManager, tmp_path: Path) -> None:
    file = stored_export()
    file["iterations"], file["iteration_count"] = file["iterations"][:1], 1
    for version in VERSIONS[: VERSIONS.index(V1_4)]:
        with pytest.raises(ValueError, match=r"^\$\.iterations\[0\] has the unknown field 'provenance'"):
            store.import_results(written(tmp_path / "a.json", file | {"format_version": version.name}))
        older = copy.deepcopy(file) | {"format_version": version.name}
        del older["iterations"][0]["provenance"]
        (run,) = store.import_results(written(tmp_path / "a.json", older))
        assert store.load_iteration(run)["provenance"] is None


def test_an_iteration_without_its_strategy_may_have_one(store: fl.StorageManager, tmp_path: Path) -> None:
    file = stored_export()
    file["iterations"], file["iteration_count"] = file["iterations"][:1], 1
    del file["iterations"][0]["strategy"]
    jsonschema.validate(file, json_schema(V1_4))
    (run,) = store.import_results(written(tmp_path / "a.json", file))
    assert store.load_iteration(run)["provenance"] == file["iterations"][0]["provenance"]


def test_a_release_of_1_3_passes_it_over(store: fl.StorageManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "NEWEST", V1_3)
    monkeypatch.setattr(versions, "_BY_NAME", {one.name: one for one in VERSIONS[: VERSIONS.index(V1_4)]})
    with pytest.warns(fl.NewerFormatWarning) as caught:
        ids = store.import_results(DATA / "export_1_4.json.gz", "merge")
    [message] = [str(one.message) for one in caught]
    assert (
        message.split("passed over were ")[1].split(";")[0]
        == "'iteration.provenance', 'iteration.as_stored.provenance'"
    )
    assert {store.load_iteration(one)["provenance"] for one in ids} == {None}


WRONG: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("provenance.engine is ''", lambda run: run["provenance"].update(engine="")),
    ("provenance.packages is ", lambda run: run["provenance"].update(packages=[1])),
    ("provenance.seed is 1.5", lambda run: run["provenance"].update(seed=1.5)),
    ("provenance.seed is True", lambda run: run["provenance"].update(seed=True)),
    ("provenance.duration is -0.5", lambda run: run["provenance"].update(duration=-0.5)),
    ("provenance.duration is '1'", lambda run: run["provenance"].update(duration="1")),
    ("provenance.host is 5", lambda run: run["provenance"].update(host=5)),
    ("provenance has the unknown field 'gpu'", lambda run: run["provenance"].update(gpu="H200")),
    ("provenance is []", lambda run: run.update(provenance=[])),
    ("provenance has a value, and so has", lambda run: run.update(as_stored={"provenance": [{}]})),
    ("as_stored.provenance is {}", lambda run: run.update(provenance=None, as_stored={"provenance": {}})),
    (
        "as_stored.provenance[0] has the unknown field 'gpu'",
        lambda run: run.update(provenance=None, as_stored={"provenance": [{"gpu": "H200"}]}),
    ),
]


@pytest.mark.parametrize(("message", "change"), WRONG, ids=[message for message, _ in WRONG])
def test_a_wrong_value_is_refused_by_its_json_path_and_by_the_schema(
    store: fl.StorageManager, tmp_path: Path, message: str, change: Callable[[dict[str, Any]], Any]
) -> None:
    file = stored_export()
    change(file["iterations"][0])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(file, json_schema(V1_4))
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared below
        store.import_results(written(tmp_path / "a.json", file))
    assert str(raised.value).startswith(f"$.iterations[0].{message}")
    assert rows(store) == []


# Merging ----------------------------------------------------------------------------------------------------------

DIFFERENCES: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("provenance.engine is 'bt', but 'vectorbt' is stored", lambda run: run["provenance"].update(engine="bt")),
    ("provenance.engine is None, but 'vectorbt'", lambda run: run["provenance"].pop("engine")),
    ("provenance.packages.numpy is '1', but '2.3.0'", lambda run: run["provenance"]["packages"].update(numpy="1")),
    ("provenance.duration is 0.5, but 0.25 is stored", lambda run: run["provenance"].update(duration=0.5)),
    (
        "provenance has other rows than are stored",
        lambda run: run.update(provenance=None, as_stored={"provenance": [{"seed": "x"}]}),
    ),
]


@pytest.mark.filterwarnings("ignore::finlab_nb.BadDataWarning")
@pytest.mark.parametrize(("message", "change"), DIFFERENCES, ids=[message for message, _ in DIFFERENCES])
def test_a_merge_refuses_another_origin(
    store: fl.StorageManager, tmp_path: Path, message: str, change: Callable[[dict[str, Any]], Any]
) -> None:
    store.import_results(DATA / "export_1_4.json.gz", "merge")
    before, file = rows(store), stored_export()
    change(file["iterations"][0])
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared below
        store.import_results(written(tmp_path / "a.json", file), "merge")
    assert str(raised.value).startswith(f"$.iterations[0].{message}")
    assert rows(store) == before


@pytest.mark.filterwarnings("ignore::finlab_nb.BadDataWarning")
def test_a_merge_refuses_an_origin_that_breaks_a_rule_here_and_none_there(
    store: fl.StorageManager, tmp_path: Path
) -> None:
    store.import_results(DATA / "export_1_4.json.gz", "merge")
    file = stored_export()
    file["iterations"][3] |= {"provenance": {"seed": 1}}
    del file["iterations"][3]["as_stored"]
    with pytest.raises(ValueError, match=r"^\$\.iterations\[3\]\.provenance differs from what is stored, which breaks"):
        store.import_results(written(tmp_path / "a.json", file), "merge")


@pytest.mark.filterwarnings("ignore::finlab_nb.BadDataWarning")
def test_copies_of_which_one_knows_the_origin_both_know_it_after_a_merge(
    store: fl.StorageManager, other: fl.StorageManager, tmp_path: Path
) -> None:
    """A copy that an older release has made lacks it."""
    file = stored_export()
    ids = store.import_results(written(tmp_path / "a.json", file), "merge")
    for run in file["iterations"]:
        run.pop("provenance", None)
        run.pop("as_stored", None)
    other.import_results(written(tmp_path / "older.json", file), "merge")
    assert rows(other) == []
    back = store.import_results(other.export_results(ids, tmp_path / "b.json"), "merge").report
    assert back["action"].eq("unchanged").all()
    path = store.export_results(ids, tmp_path / "a.json")
    with pytest.warns(fl.BadDataWarning, match=r"provenance\.seed \(1\)"):
        there = other.import_results(path, "merge").report
    assert there["action"].tolist() == ["updated", "updated", "unchanged", "updated"]
    assert there["changes"].tolist() == ["provenance", "provenance", "", "provenance"]
    assert rows(other) == rows(store) != []
    assert other.import_results(path, "merge").report["action"].eq("unchanged").all()
    assert exported(other, ids, tmp_path / "c.json") == exported(store, ids, tmp_path / "d.json")


def test_two_rows_of_one_iteration_cannot_be_stored(
    store: fl.StorageManager, other: fl.StorageManager, tmp_path: Path
) -> None:
    file = stored_export()
    file["iterations"], file["iteration_count"] = file["iterations"][2:3], 1
    other.import_results(written(tmp_path / "none.json", file), "merge")
    file["iterations"][0]["as_stored"] = {"provenance": [{"seed": 1}, {"seed": 2}]}
    for target in (store, other):
        with pytest.raises(ValueError, match=r"^\$\.iterations\[0\]\.as_stored cannot be stored: UNIQUE"):
            target.import_results(written(tmp_path / "a.json", file), "merge")
        assert rows(target) == []


# Wherever the iteration goes --------------------------------------------------------------------------------------


def test_it_goes_with_its_iteration_and_with_its_strategy(store: fl.StorageManager, strategy: str) -> None:
    ids = [store.save_iteration(strategy, provenance={"seed": seed}) for seed in range(3)]
    store.delete_iteration(ids[0])
    assert [row[0].decode() for row in rows(store)] == ids[1:]
    with contextlib.closing(sqlite3.connect(store.path)) as foreign, foreign:
        foreign.execute("PRAGMA foreign_keys = ON")
        foreign.execute("DELETE FROM iterations WHERE iteration_id = ?", (ids[1],))
    assert [row[0].decode() for row in rows(store)] == ids[2:]
    store.delete_strategy(strategy, cascade=True)
    assert rows(store) == []


def test_it_is_in_backups_snapshots_and_compacted_files(
    store: fl.StorageManager, strategy: str, tmp_path: Path
) -> None:
    run = store.save_iteration(strategy, provenance=KNOWN)
    before = rows(store)
    backup = fl.BackupScheduler(store.path, tmp_path / "backups").backup_now()
    manifest = json.loads(backup.with_name(f"{backup.name}.json").read_text(encoding="utf-8"))
    assert manifest["rows"]["provenance"] == 1
    for path in (store.snapshot(tmp_path / "copy.db"), fl.restore_backup(backup, tmp_path / "restored.db")):
        with fl.StorageManager(path or tmp_path / "restored.db") as found:
            assert rows(found) == before
            assert found.load_iteration(run)["provenance"] == KNOWN
    store.compact()
    assert rows(store) == before


# SQL --------------------------------------------------------------------------------------------------------------


def test_it_is_a_view_that_joins_iterations(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("momentum", "code")
    run, _ = [lab.store.save_iteration(strategy, provenance=given, tags=["t"]) for given in (KNOWN, None)]
    found = lab.sql("SELECT * FROM provenance")
    assert found.columns.tolist() == list(PROVENANCE.names)
    row = found.iloc[0].to_dict()
    assert json.loads(row.pop("packages")) == KNOWN["packages"]
    assert row == {"iteration_id": run} | {name: value for name, value in KNOWN.items() if name != "packages"}
    assert found.dtypes[["seed", "duration"]].astype(str).tolist() == ["int64", "float64"]
    joined = lab.sql(
        "SELECT r.iteration_number, engine, packages->>'numpy' AS numpy, duration FROM results AS r "
        "LEFT JOIN provenance USING (iteration_id) ORDER BY iteration_number"
    )
    assert joined["engine"].fillna("-").tolist() == ["vectorbt", "-"]
    assert joined["numpy"].fillna("-").tolist() == ["2.3.0", "-"]
    assert not {*PROVENANCE_FIELDS}.intersection(lab.iterations().columns)


def test_what_other_programs_change_is_seen(lab: fl.Lab) -> None:
    strategy = lab.store.save_strategy_version("momentum", "code")
    run = lab.store.save_iteration(strategy, provenance=KNOWN)
    question = "SELECT engine, seed, duration FROM provenance"
    assert lab.sql(question).values.tolist() == [["vectorbt", -(2**63), 0.1]]
    with contextlib.closing(sqlite3.connect(lab.store.path, isolation_level=None)) as foreign:
        foreign.execute("PRAGMA foreign_keys = ON")
        foreign.execute("UPDATE provenance SET engine = 'bt', duration = 2")
        assert lab.sql(question).values.tolist() == [["bt", -(2**63), 2.0]]
        foreign.execute("INSERT OR REPLACE INTO provenance (iteration_id, seed, duration) VALUES (?, 3, 1)", (run,))
        assert lab.sql(question)[["seed", "duration"]].values.tolist() == [[3, 1]]
        foreign.execute("PRAGMA ignore_check_constraints = ON")
        foreign.execute("UPDATE provenance SET seed = 'many', packages = 'none'")
        with pytest.warns(fl.BadDataWarning, match=r"provenance \(packages 1, seed 1\)"):
            assert lab.sql("SELECT seed, packages FROM provenance").isna().all(axis=None)
        foreign.execute("DELETE FROM iterations")
        assert lab.sql(question).empty


def test_it_is_exported_as_a_table(lab: fl.Lab, tmp_path: Path) -> None:
    lab.store.save_iteration(lab.store.save_strategy_version("momentum", "code"), provenance={"seed": 3})
    lab.export_frames(tmp_path / "out", "provenance", format="csv")
    assert "seed" in (tmp_path / "out" / "provenance.csv").read_text(encoding="utf-8-sig").splitlines()[0]
