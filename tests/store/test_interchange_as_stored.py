"""Values that today's rules refuse are carried as they are stored, by the import's rules told one by one."""

from __future__ import annotations

import copy
import gzip
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from test_interchange_mutations import places
from test_interchange_odd_values import USUAL, empty, foreign, rows

import finlab_nb as fl
from finlab_nb.store.interchange import json_schema
from finlab_nb.store.interchange.versions import V1_1, V1_2

__all__ = ["empty"]  # a fixture
pytestmark = pytest.mark.filterwarnings("ignore::finlab_nb.BadDataWarning")


# One by one ---------------------------------------------------------------------------------------------------------


def spoilt(path: Path, *statements: str) -> None:
    """Change a database as another program does."""
    with foreign(path) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def run(store: fl.StorageManager) -> str:
    strategy = store.save_strategy_version("momentum", "code", parent_strategy_id=store.save_strategy_version("p", ""))
    return store.save_iteration(
        strategy,
        trades=[{**USUAL["trades"], "exit_date": None}],
        equity={"2024-01-02": 1.0},
        suggestions=[{"priority": "high", "description": "try"}],
    )


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE iterations SET strategy_id = x'00'", r"row 1 of iterations .* its strategy_id is b'"),
        ("UPDATE strategies SET parent_strategy_id = x'00'", r"row [12] of strategies .* its parent_strategy_id is b"),
        (
            "UPDATE strategies SET strategy_id = iif(parent_strategy_id IS NULL, x'ff', strategy_id), "
            "parent_strategy_id = iif(parent_strategy_id IS NULL, NULL, x'ff')",
            r"row 1 of strategies .* its strategy_id is b",
        ),
        (
            "UPDATE strategies SET strategy_id = CAST(x'ff' AS TEXT) WHERE parent_strategy_id IS NOT NULL",
            "no strategy has this id",
        ),
        ("UPDATE iterations SET strategy_id = CAST(x'ff' AS TEXT)", "row 1 of iterations .* BrokenText"),
        ("DELETE FROM strategies", r"strategy_id is '.*'; no strategy has this id; another program has removed it"),
    ],
)
def test_an_id_that_cannot_be_told_is_refused_by_table_and_row(
    store: fl.StorageManager, run: str, tmp_path: Path, statement: str, message: str
) -> None:
    spoilt(store.path, statement)
    with pytest.raises(fl.StorageError, match=message):
        store.export_results([run], tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


def test_strategies_whose_parents_lead_back_travel(store: fl.StorageManager, run: str, tmp_path: Path) -> None:
    own, parent = (store.load_strategy(one["strategy_id"]) for one in reversed(store.lineage(strategy_of(store, run))))
    spoilt(
        store.path,
        f"UPDATE strategies SET parent_strategy_id = '{own['strategy_id']}' "
        f"WHERE strategy_id = '{parent['strategy_id']}'",
    )
    path = store.export_results([run], tmp_path / "a.json")
    exported = json.loads(path.read_text(encoding="utf-8"))
    assert exported["strategies"][0]["as_stored"] == {"parent_strategy_id": own["strategy_id"]}
    assert store.import_results(path, "merge") == [run]
    with fl.StorageManager(":memory:") as other:
        child = other.load_strategy(strategy_of(other, other.import_results(path)[0]))
        above = other.load_strategy(child["parent_strategy_id"])
        assert (above["name"], above["parent_strategy_id"]) == ("p", child["strategy_id"])
        assert child["strategy_id"] != own["strategy_id"]


def strategy_of(store: fl.StorageManager, iteration_id: str) -> str:
    return str(store.load_iteration(iteration_id)["strategy_id"])


def test_what_is_only_in_another_form_travels_without_a_report(
    store: fl.StorageManager, run: str, tmp_path: Path
) -> None:
    spoilt(
        store.path,
        """UPDATE iterations SET timestamp = '2024-01-02 10:00', parameters = '{"a":1}'""",
        "DELETE FROM metrics",
    )
    path = store.export_results([run], tmp_path / "a.json")
    with warnings.catch_warnings(), fl.StorageManager(":memory:") as other:
        warnings.simplefilter("error")
        other.import_results(path)
        assert rows(other.path, "iterations", "iteration_id", "strategy_id") == rows(
            store.path, "iterations", "iteration_id", "strategy_id"
        )
        assert rows(other.path, "metrics") == []


def test_an_import_that_may_not_warn_stores_nothing(store: fl.StorageManager) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(fl.BadDataWarning):
            store.import_results(STORED)
    assert rows(store.path, "iterations") == []


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE trades SET entry_price = 1 WHERE stock_code = ''", r"\$\.iterations\[1\]\.trades has other rows"),
        ("UPDATE iterations SET code = 'a' WHERE iteration_id = 'i-odd'", r"\$\.iterations\[1\]\.code is 'a"),
        ("UPDATE iterations SET code = x'' WHERE iteration_id = 'i-good'", r"\$\.iterations\[0\]\.code differs"),
        ("UPDATE strategies SET parameters = '{}' WHERE name = ' '", r"\$\.iterations\[1\]\.strategy\.parameters is"),
        ("UPDATE strategies SET parent_strategy_id = NULL", r"\$\.iterations\[1\]\.strategy\.parent_strategy_id is"),
    ],
)
def test_merging_refuses_odd_values_that_differ(store: fl.StorageManager, statement: str, message: str) -> None:
    store.import_results(STORED, "merge")
    store.import_results(STORED, "merge")
    spoilt(store.path, statement)
    with pytest.raises(ValueError, match=f"^{message}"):
        store.import_results(STORED, "merge")


def test_merging_leaves_what_was_written_on_an_odd_iteration_afterwards(store: fl.StorageManager) -> None:
    store.import_results(STORED, "merge")
    store.annotate("i-odd", note="newer", starred=False, add_tags=["new"])
    with store.pool.read() as connection:
        ((suggestion,),) = connection.execute("SELECT suggestion_id FROM suggestions").fetchall()
    store.set_suggestion_status(suggestion, "rejected")
    assert store.import_results(STORED, "merge") == ["i-good", "i-odd", "i-bare"]
    assert store.load_iteration("i-odd")["note"] == "newer"


def test_stored_rows_carry_the_columns_that_one_of_them_knows(store: fl.StorageManager, tmp_path: Path) -> None:
    strategy = store.save_strategy_version("momentum", "code")
    usual = {**USUAL["trades"], "profit_loss": 1.0, "exit_date": "2024-01-09"}
    plain = store.save_iteration(strategy, trades=[usual])
    known = store.save_iteration(strategy, trades=[usual, {**usual, "fees": 1.0}])
    spoilt(store.path, "UPDATE trades SET stock_code = ''")
    exported = json.loads(store.export_results([plain], tmp_path / "a.json").read_text(encoding="utf-8"))
    assert [set(row) for row in exported["iterations"][0]["as_stored"]["trades"]] == [set(usual)]
    exported = json.loads(store.export_results([known], tmp_path / "b.json").read_text(encoding="utf-8"))
    assert [row["fees"] for row in exported["iterations"][0]["as_stored"]["trades"]] == [None, 1.0]
    with fl.StorageManager(":memory:") as other:
        assert other.import_results(tmp_path / "a.json", "merge") == [plain]
        assert other.import_results(tmp_path / "b.json", "merge") == [known]
        assert rows(other.path, "trades") == rows(store.path, "trades")


@pytest.mark.parametrize("depth", [100, 200, 201, 499, 500, 900])
def test_json_travels_however_deeply_it_is_nested(
    store: fl.StorageManager, run: str, tmp_path: Path, depth: int
) -> None:
    spoilt(
        store.path,
        f"UPDATE suggestions SET learning_references = '{'[' * depth}{']' * depth}'",
        f"""UPDATE iterations SET parameters = '{'{"a": ' * depth}1{"}" * depth}'""",
        f"""UPDATE trades SET extra = '{'{"a": ' * depth}1{"}" * depth}'""",
    )
    path = store.export_results([run], tmp_path / "a.json")
    [exported] = json.loads(path.read_text(encoding="utf-8"))["iterations"]
    assert set(exported.get("as_stored", {})) == ({"parameters", "suggestions", "trades"} if depth > 200 else set())
    with fl.StorageManager(":memory:") as other:
        other.import_results(path, "merge")
        for table in ("iterations", "suggestions", "trades"):
            assert rows(other.path, table) == rows(store.path, table)


# Wrong files --------------------------------------------------------------------------------------------------------

STORED = Path(__file__).parents[1] / "data" / "export_1_1.json.gz"
ODD = json.loads(gzip.decompress(STORED.read_bytes()))
ODD_1_2 = json.loads(gzip.decompress(STORED.with_name("export_1_2.json.gz").read_bytes()))
WRONG: list[tuple[str, dict[str, Any]]] = [
    (" is 3; it must be an object", {"as_stored": 3}),
    (" has the unknown field 'colour'", {"colour": 1}),
    (" has the unknown field 'iteration_id'", {"iteration_id": "x"}),
    (".strategy_id is 3; it must be text", {"strategy_id": 3}),
    (".note is True; a stored value is", {"note": True}),
    (".note is 9223372036854775808; a stored", {"note": 2**63}),
    (".note is [1]; a stored value is", {"note": [1]}),
    (".note holds half a surrogate pair", {"note": "\ud800"}),
    (".note is {}; it must be", {"note": {}}),
    (".note is {'type': 'int', 'value': 1}; it must be", {"note": {"type": "int", "value": 1}}),
    (".note is {'type': 'real', 'value': 'NaN'}; it must be", {"note": {"type": "real", "value": "NaN"}}),
    (".note is ", {"note": {"type": "blob", "base64": "AA==", "more": 1}}),
    (".note is ", {"note": {"type": ["blob"], "base64": "AA=="}}),
    (".note is ", {"note": {"type": "blob", "base64": 3}}),
    (".note.base64 is no base64", {"note": {"type": "blob", "base64": "A"}}),
    (".note.base64 is no base64", {"note": {"type": "text", "base64": "動="}}),
    (".trades is {}; it must be a list", {"trades": {}}),
    (".trades[0] is 3; it must be an object", {"trades": [3]}),
    (".trades[0].stock_code is missing", {"trades": [{}]}),
    (".trades[0] has the unknown field 'colour'", {"trades": [{**USUAL["trades"], "colour": 1}]}),
    (".trades[0].entry_price is [1]; a stored value", {"trades": [{**USUAL["trades"], "entry_price": [1]}]}),
    (" cannot be stored: NOT NULL constraint failed: iterations.code", {"code": None}),
    (
        " cannot be stored: NOT NULL constraint failed: trades.stock_code",
        {"trades": [{**USUAL["trades"], "stock_code": None}]},
    ),
    (" cannot be stored: UNIQUE constraint failed: metrics", {"metrics": [USUAL["metrics"]] * 2}),
    (" cannot be stored: UNIQUE constraint failed: tags", {"tags": [{"tag": "a"}] * 2}),
]


@pytest.mark.parametrize(("message", "change"), WRONG, ids=[f"{i}{message}" for i, (message, _) in enumerate(WRONG)])
@pytest.mark.parametrize("mode", ["copy", "merge"])
def test_a_wrong_stored_value_is_refused_by_its_json_path(
    store: fl.StorageManager, tmp_path: Path, message: str, change: dict[str, Any], mode: str
) -> None:
    file = copy.deepcopy(ODD)
    odd_one = file["iterations"][1]
    if "as_stored" in change:
        odd_one |= change
    else:
        odd_one["as_stored"] |= change
        odd_one |= dict.fromkeys(change.keys() & odd_one.keys() - {"iteration_id"})
    (tmp_path / "a.json").write_text(json.dumps(file), encoding="utf-8")
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared below
        store.import_results(tmp_path / "a.json", mode)
    assert str(raised.value).startswith(f"$.iterations[1].as_stored{message}")
    assert rows(store.path, "iterations") == rows(store.path, "strategies") == []


def test_a_value_that_stands_twice_is_refused(store: fl.StorageManager, tmp_path: Path) -> None:
    file = copy.deepcopy(ODD)
    file["iterations"][1]["code"] = "code"
    (tmp_path / "a.json").write_text(json.dumps(file), encoding="utf-8")
    with pytest.raises(ValueError, match=r"^\$\.iterations\[1\]\.code has a value, and so has .*; it must be null"):
        store.import_results(tmp_path / "a.json")


def test_good_values_may_be_carried_as_they_are_stored_too(store: fl.StorageManager, tmp_path: Path) -> None:
    file = copy.deepcopy(ODD)
    file["iterations"] = file["iterations"][:1]
    file["iteration_count"] = 1
    file["iterations"][0] |= {"note": None, "trades": None, "as_stored": {"note": "kept", "trades": [USUAL["trades"]]}}
    (tmp_path / "a.json").write_text(json.dumps(file), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [arrived] = store.import_results(tmp_path / "a.json", "merge")
        assert store.import_results(tmp_path / "a.json", "merge") == [arrived]
    assert store.load_iteration(arrived)["note"] == "kept"
    [trade] = store.load_iteration(arrived)["trades"]
    assert {name: trade[name] for name in USUAL["trades"]} == USUAL["trades"]


# The stored values of a file of 1.1, and of one of 1.2, which has more of them.
HOLDERS = {
    "1.1": (ODD["iterations"][1:2], [ODD["iterations"][0]["strategy"]]),
    "1.2": ([one for one in ODD_1_2["iterations"] if "as_stored" in one], []),
}
HOSTILE: tuple[Any, ...] = (
    None, True, 0, -0.0, 1.5, 2**63, 10**400, float("inf"), float("nan"), "", "\0", "\ud800", "x", [], {}, [[]], [{}],
    {"type": "blob", "base64": ""}, {"type": "text", "base64": "/w=="}, {"type": "text", "base64": "Zg=="},
    {"type": "real", "value": "-Infinity"}, {"type": "real", "value": 1},
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("version", HOLDERS)
@pytest.mark.parametrize("value", HOSTILE, ids=[f"{i}-{str(value)[:20]!a}" for i, value in enumerate(HOSTILE)])
def test_no_place_of_stored_values_takes_a_hostile_one_amiss(
    empty: Path, version: str, value: Any, tmp_path: Path
) -> None:
    """What is taken follows the JSON Schema, and can be given again; the rest is refused in order."""
    validators = {one.name: jsonschema.Draft202012Validator(json_schema(one)) for one in (V1_1, V1_2)}
    path = tmp_path / "a.json"
    iterations, strategies = HOLDERS[version]
    base = ODD | {"format_version": version, "iterations": iterations, "strategies": strategies, "iteration_count": 1}
    for i in range(len(places(base))):
        file = copy.deepcopy(base)
        holder, key = places(file)[i]
        holder[key] = value
        path.write_text(json.dumps(file), encoding="utf-8")
        with fl.StorageManager(shutil.copy(empty, tmp_path / "store.db")) as store:
            try:
                ids = store.import_results(path, "copy" if i % 2 else "merge")
            except ValueError as error:
                assert str(error).startswith("$")  # noqa: PT017 - some are taken
                assert rows(store.path, "iterations") == rows(store.path, "strategies") == []
                continue
            validators[version].validate(json.loads(path.read_text(encoding="utf-8")))
            for one in ids:
                store.load_iteration(one)
            store.export_results(ids, tmp_path / "again.json")
        for leftover in tmp_path.glob("store.db*"):
            leftover.unlink()
