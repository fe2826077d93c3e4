"""Two people work apart on copies of a store, and their copies become one again."""

from __future__ import annotations

import contextlib
import json
import pickle
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import finlab_nb as fl
from finlab_nb.store.broken_text import fetched
from finlab_nb.store.interchange import json_schema
from finlab_nb.store.interchange.report import ImportedIds

DATA = Path(__file__).parents[1] / "data"


class Copies:
    """A store and a copy of its file, and their ways to each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mine = fl.StorageManager(folder / "mine.db")
        self.strategy = self.mine.save_strategy_version("momentum", "code")
        self.run = self.mine.save_iteration(
            self.strategy,
            tags=["daily", "old"],
            note="as saved",
            trades=[{"stock_code": "2330", "entry_date": "2024-01-02", "entry_price": 1.0, "position_size": 1.0}],
            suggestions=[{"priority": "low", "description": "later"}, {"priority": "high", "description": "try it"}],
        )
        self.yours = copied(self.mine, folder / "yours.db")

    def merge(self, source: fl.StorageManager, target: fl.StorageManager, **how: Any) -> ImportedIds:
        """Bring all iterations of one copy to the other."""
        return target.import_results(self.exported(source), "merge", **how)

    def exported(self, source: fl.StorageManager) -> Path:
        return source.export_results(all_ids(source), self.folder / f"{source.path.stem}.json")

    def both_ways(self) -> None:
        """Bring all from mine to yours and back, after which they are one book, as are three more journeys."""
        self.merge(self.mine, self.yours)
        self.merge(self.yours, self.mine)
        assert book(self.mine) == book(self.yours)
        for source, target in ((self.mine, self.yours), (self.yours, self.mine)):
            before = rows(target)
            assert set(self.merge(source, target).report["action"]) <= {"unchanged"}
            assert rows(target) == before


def copied(store: fl.StorageManager, path: Path) -> fl.StorageManager:
    with store.pool.read() as connection, contextlib.closing(sqlite3.connect(path)) as target:
        connection.backup(target)
    return fl.StorageManager(path)


@pytest.fixture
def copies(tmp_path: Path) -> Iterator[Copies]:
    found = Copies(tmp_path)
    with found.mine, found.yours:
        yield found


def query(store: fl.StorageManager, statement: str) -> list[tuple[Any, ...]]:
    with store.pool.read() as connection:
        return fetched(connection, statement)


def all_ids(store: fl.StorageManager) -> list[str]:
    return [one for (one,) in query(store, "SELECT iteration_id FROM iterations ORDER BY iteration_id")]


def rows(store: fl.StorageManager) -> dict[str, list[Any]]:
    """All that is in the tables, apart from the count of changes."""
    names = query(store, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'store_state'")
    return {name: query(store, f"SELECT * FROM {name}") for (name,) in names}


def book(store: fl.StorageManager) -> dict[str, Any]:
    """All that two copies of a store share: what `load_iteration` gives, and when it was changed or deleted."""
    found: dict[str, Any] = {}
    for key in all_ids(store):
        found[key] = store.load_iteration(key)
        found[key]["tags"].sort()
        for one in found[key]["suggestions"]:
            del one["suggestion_id"], one["applied_iteration_id"]
            one["applied_iteration_ids"].sort()
    times = query(
        store,
        """SELECT iteration_id, field, coalesce(description, item), c.changed_at FROM changes AS c
        LEFT JOIN suggestions USING (iteration_id) WHERE field <> 'suggestion' AND suggestion_id IS NULL
        OR field = 'suggestion' AND suggestion_id = item""",
    )
    return found | {"changes": sorted(times)}


def later() -> None:
    """Let the clock of the changes go on."""
    time.sleep(0.002)


def suggestion(store: fl.StorageManager, run: str, place: int = 0) -> int:
    number: int = store.load_iteration(run)["suggestions"][place]["suggestion_id"]
    return number


def outcome(ids: ImportedIds) -> list[tuple[Any, ...]]:
    report = ids.report
    assert list(report.columns) == ["iteration_id", "strategy", "iteration_number", "action", "changes"]
    return list(report.drop(columns="strategy").itertuples(index=False, name=None))


# Numbers ------------------------------------------------------------------------------------------------------------


def test_each_of_two_labs_adds_a_run_2_and_both_end_with_the_same_three(copies: Copies) -> None:
    mine = copies.mine.save_iteration(copies.strategy, note="mine")
    yours = copies.yours.save_iteration(copies.strategy, note="yours")
    arrived = copies.merge(copies.mine, copies.yours)
    assert arrived == [copies.run, mine]
    assert outcome(arrived) == [(copies.run, 1, "unchanged", ""), (mine, 3, "renumbered", "iteration_number")]
    assert copies.yours.load_iteration(yours)["iteration_number"] == 2
    back = copies.merge(copies.yours, copies.mine)
    assert sorted(outcome(back)) == sorted(
        [(copies.run, 1, "unchanged", ""), (mine, 3, "renumbered", "iteration_number"), (yours, 2, "added", "")]
    )
    assert back.report["strategy"].tolist() == ["momentum"] * 3
    copies.both_ways()


def test_numbers_that_are_taken_in_the_meantime_are_kept_by_who_has_them(copies: Copies) -> None:
    mine, yours = (store.save_iteration(copies.strategy) for store in (copies.mine, copies.yours))
    copies.merge(copies.mine, copies.yours)  # mine is 3 there
    third = copies.mine.save_iteration(copies.strategy)
    copies.merge(copies.yours, copies.mine)
    numbers = {key: copies.mine.load_iteration(key)["iteration_number"] for key in (yours, third, mine)}
    assert numbers == {yours: 2, third: 3, mine: 4}
    copies.both_ways()
    assert {key: copies.yours.load_iteration(key)["iteration_number"] for key in numbers} == numbers


def test_runs_that_swapped_their_numbers_swap_them_in_the_other_copy(copies: Copies) -> None:
    other = copies.mine.save_iteration(copies.strategy)
    copies.both_ways()
    with copies.mine.pool.write() as connection:
        for key, number in ((copies.run, 9), (other, 1), (copies.run, 2)):
            connection.execute("UPDATE iterations SET iteration_number = ? WHERE iteration_id = ?", (number, key))
    copies.both_ways()
    assert [copies.yours.load_iteration(key)["iteration_number"] for key in (copies.run, other)] == [2, 1]


# Annotations --------------------------------------------------------------------------------------------------------

ANNOTATIONS: dict[str, Callable[[fl.StorageManager, str, str], Any]] = {
    "note": lambda store, run, who: store.annotate(run, note=who),
    "starred": lambda store, run, who: store.annotate(run, starred=who == "later"),
    "archived": lambda store, run, who: store.annotate(run, archived=who == "later"),
    "added tag": lambda store, run, who: store.annotate(run, add_tags=["new"]) if who == "later" else None,
    "removed tag": lambda store, run, who: store.annotate(run, remove_tags=["old"]) if who == "later" else None,
    "tag back": lambda store, run, who: (
        [store.annotate(run, remove_tags=["old"]), later()]
        + ([store.annotate(run, add_tags=["old"])] if who == "later" else [])
    ),
    "status": lambda store, run, who: store.set_suggestion_status(
        suggestion(store, run, 1), "rejected" if who == "later" else "applied"
    ),
}


@pytest.mark.parametrize("name", ANNOTATIONS)
@pytest.mark.parametrize("first", ["mine", "yours"])
def test_the_newest_change_of_each_annotation_counts_in_both_copies(copies: Copies, name: str, first: str) -> None:
    stores = [copies.mine, copies.yours] if first == "mine" else [copies.yours, copies.mine]
    ANNOTATIONS[name](stores[0], copies.run, "earlier")
    later()
    ANNOTATIONS[name](stores[1], copies.run, "later")
    wanted = book(stores[1])[copies.run]
    copies.both_ways()
    assert book(copies.mine)[copies.run] | {"changed_at": None} == wanted | {"changed_at": None}


def test_changes_of_different_annotations_come_together(copies: Copies) -> None:
    copies.mine.annotate(copies.run, note="mine", add_tags=["a"], remove_tags=["daily"])
    copies.yours.annotate(copies.run, starred=True, add_tags=["b"], remove_tags=["old"])
    tried = copies.yours.save_iteration(copies.strategy, applies=[suggestion(copies.yours, copies.run)])
    arrived = copies.merge(copies.yours, copies.mine)
    assert outcome(arrived) == [
        (copies.run, 1, "updated", "starred, tags, suggestions"),
        (tried, 2, "added", ""),
    ]
    copies.both_ways()
    found = copies.mine.load_iteration(copies.run)
    assert (found["note"], found["starred"], sorted(found["tags"])) == ("mine", True, ["a", "b"])
    assert [one["status"] for one in found["suggestions"]] == ["applied", "open"]
    assert found["suggestions"][0]["applied_iteration_ids"] == [tried]


def test_links_of_both_copies_are_kept(copies: Copies) -> None:
    tried = [
        store.save_iteration(copies.strategy, applies=[suggestion(store, copies.run)])
        for store in (copies.mine, copies.yours)
    ]
    copies.both_ways()
    assert sorted(copies.mine.load_iteration(copies.run)["suggestions"][0]["applied_iteration_ids"]) == tried


def test_a_change_is_newer_than_what_it_changes_even_where_a_clock_is_ahead(copies: Copies) -> None:
    copies.mine.annotate(copies.run, note="of a clock that is ahead")
    with copies.mine.pool.write() as connection:
        connection.execute("UPDATE changes SET changed_at = '2999-01-01T00:00:00.123456Z'")
        connection.execute("UPDATE iterations SET changed_at = '2999-01-01T00:00:00.123456Z'")
    copies.both_ways()
    copies.yours.annotate(copies.run, note="afterwards")
    copies.both_ways()
    assert copies.mine.load_iteration(copies.run)["note"] == "afterwards"
    copies.yours.delete_iteration(copies.run)
    copies.both_ways()
    assert all_ids(copies.mine) == []


@pytest.mark.filterwarnings("ignore::finlab_nb.BadDataWarning")
def test_what_another_program_wrote_for_a_time_keeps_no_one_from_annotating(copies: Copies) -> None:
    with copies.mine.pool.write() as connection:
        connection.execute("UPDATE iterations SET changed_at = 'yesterday'")
    copies.mine.annotate(copies.run, note="new")
    assert copies.mine.check() == []
    copies.both_ways()
    with copies.mine.pool.write() as connection:
        connection.execute("UPDATE changes SET changed_at = 'yesterday'")
    copies.mine.delete_iteration(copies.run)
    copies.both_ways()


def test_at_the_same_time_both_copies_decide_alike(copies: Copies) -> None:
    for store, note, tags in ((copies.mine, "a", {"add_tags": "x"}), (copies.yours, "b", {"remove_tags": "old"})):
        store.annotate(copies.run, note=note, starred=note == "a", **tags)
        with store.pool.write() as connection:
            connection.execute("UPDATE changes SET changed_at = '2024-01-01T00:00:00.000000Z'")
            connection.execute("UPDATE iterations SET changed_at = '2024-01-01T00:00:00.000000Z'")
    files = [copies.exported(store) for store in (copies.mine, copies.yours)]
    copies.yours.import_results(files[0], "merge")
    copies.mine.import_results(files[1], "merge")
    assert book(copies.mine) == book(copies.yours)
    found = copies.mine.load_iteration(copies.run)
    assert (found["note"], found["starred"], sorted(found["tags"])) == ("b", True, ["daily", "x"])


def test_edits_of_other_programs_count(copies: Copies) -> None:
    with contextlib.closing(sqlite3.connect(copies.yours.path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("UPDATE iterations SET note = 'theirs', starred = 1")
        connection.execute("UPDATE suggestions SET status = 'rejected' WHERE priority = 'low'")
        connection.execute("DELETE FROM tags WHERE tag = 'old'")
        connection.execute("INSERT INTO tags SELECT iteration_id, 'new' FROM iterations")
    copies.both_ways()
    found = copies.mine.load_iteration(copies.run)
    assert (found["note"], found["starred"], sorted(found["tags"])) == ("theirs", True, ["daily", "new"])
    assert [one["status"] for one in found["suggestions"]] == ["open", "rejected"]
    with contextlib.closing(sqlite3.connect(copies.yours.path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM iterations")
    assert outcome(copies.merge(copies.yours, copies.mine)) == [(copies.run, 1, "deleted", "")]
    assert all_ids(copies.mine) == []


def test_a_save_leaves_no_times_and_an_annotation_only_its_own(copies: Copies) -> None:
    copies.mine.save_iteration(
        copies.strategy, tags=["a"], note="n", suggestions=[{"priority": "low", "description": "d"}]
    )
    assert query(copies.mine, "SELECT * FROM changes") == []
    copies.mine.annotate(copies.run, note="new", starred=False, add_tags=["daily", "x"], remove_tags=["none"])
    assert query(copies.mine, "SELECT field, item FROM changes") == [("note", ""), ("tag", "x")]
    [(newest,)] = query(copies.mine, "SELECT max(changed_at) FROM changes")
    assert copies.mine.load_iteration(copies.run)["changed_at"] == newest


@pytest.mark.filterwarnings("ignore::finlab_nb.BadDataWarning")
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_files_of_older_formats_never_win(store: fl.StorageManager, version: str) -> None:
    path = DATA / f"export_{version.replace('.', '_')}.json.gz"
    for key in store.import_results(path, "merge"):
        store.annotate(key, note="", starred=not store.load_iteration(key)["starred"], add_tags=["new"])
    before = rows(store)
    assert set(store.import_results(path, "merge").report["action"]) == {"unchanged"}
    assert rows(store) == before


def test_what_was_annotated_before_the_store_kept_times_is_merged_too(tmp_path: Path) -> None:
    paths = [tmp_path / "mine.db", tmp_path / "yours.db"]
    for path, note in zip(paths, ("mine", None), strict=True):
        path.write_bytes((DATA / "schema_3.db").read_bytes())
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            [run, *_] = connection.execute("SELECT iteration_id FROM iterations ORDER BY iteration_id").fetchone()
            connection.execute(
                "UPDATE iterations SET note = ?, starred = ?, changed_at = '2024-05-06T07:08:09.000000Z' "
                "WHERE iteration_id = ?",
                (note, note is None, run),
            )
    with fl.StorageManager(paths[0]) as mine, fl.StorageManager(paths[1]) as yours:
        for source, target in ((mine, yours), (yours, mine)):
            target.import_results(source.export_results(all_ids(source), tmp_path / "a.json"), "merge")
        found = [store.load_iteration(run) for store in (mine, yours)]
    assert [(one["note"], one["starred"]) for one in found] == [("mine", True)] * 2


# Deletions ----------------------------------------------------------------------------------------------------------


def test_what_one_has_deleted_is_deleted_in_the_other_copy_and_stays_so(copies: Copies) -> None:
    before = copies.exported(copies.yours)
    other = copies.mine.save_iteration(copies.strategy)
    copies.mine.delete_iteration(copies.run)
    assert outcome(copies.merge(copies.mine, copies.yours)) == [
        (other, 2, "added", ""),
        (copies.run, 1, "deleted", ""),
    ]
    for store in (copies.mine, copies.yours):
        arrived = store.import_results(before, "merge")
        assert (arrived, outcome(arrived)) == ([], [(copies.run, 1, "left out", "")])
        assert all_ids(store) == [other]
    copies.both_ways()


def test_what_was_changed_after_it_was_deleted_elsewhere_stays_and_comes_back(copies: Copies) -> None:
    copies.mine.delete_iteration(copies.run)
    later()
    copies.yours.annotate(copies.run, note="still needed")
    assert outcome(copies.merge(copies.mine, copies.yours)) == [(copies.run, 1, "kept", "")]
    assert outcome(copies.merge(copies.yours, copies.mine)) == [(copies.run, 1, "added", "revived")]
    copies.both_ways()
    assert copies.mine.load_iteration(copies.run)["note"] == "still needed"


def test_what_was_deleted_before_it_was_changed_elsewhere_stays_deleted_if_that_copy_merges_first(
    copies: Copies,
) -> None:
    copies.mine.delete_iteration(copies.run)
    later()
    copies.yours.annotate(copies.run, note="still needed")
    later()
    for _ in range(2):
        assert outcome(copies.merge(copies.yours, copies.mine)) == [(copies.run, 1, "left out", "")]
    assert outcome(copies.merge(copies.mine, copies.yours)) == [(copies.run, 1, "deleted", "")]
    copies.both_ways()


def test_copies_that_merge_each_other_at_the_same_time_agree_when_they_meet_again(copies: Copies) -> None:
    mine, yours = (store.save_iteration(copies.strategy) for store in (copies.mine, copies.yours))
    copies.mine.delete_iteration(copies.run)
    later()
    copies.yours.annotate(copies.run, note="still needed")
    files = [copies.exported(store) for store in (copies.mine, copies.yours)]
    for store, file in zip((copies.yours, copies.mine), files, strict=True):
        later()
        store.import_results(file, "merge")
    copies.both_ways()
    assert all_ids(copies.mine) == [mine, yours]


def test_what_was_changed_before_it_was_deleted_elsewhere_is_deleted(copies: Copies) -> None:
    copies.yours.annotate(copies.run, note="of yesterday")
    later()
    copies.mine.delete_iteration(copies.run)
    copies.both_ways()
    assert all_ids(copies.yours) == []


def test_nothing_is_deleted_where_that_is_not_wanted(copies: Copies) -> None:
    copies.mine.delete_iteration(copies.run)
    for _ in range(2):
        assert outcome(copies.merge(copies.mine, copies.yours, deleted="keep")) == [(copies.run, 1, "kept", "")]
    copies.merge(copies.yours, copies.mine, deleted="keep")
    assert (all_ids(copies.mine), all_ids(copies.yours)) == ([], [copies.run])
    copies.both_ways()
    assert all_ids(copies.yours) == []


@pytest.mark.parametrize("here", ["deleted here", "deleted there"])
def test_what_was_deleted_comes_back_in_both_copies_where_that_is_wanted(copies: Copies, here: str) -> None:
    wanted = copies.yours.load_iteration(copies.run)
    copies.mine.delete_iteration(copies.run)
    if here == "deleted here":
        arrived = copies.merge(copies.yours, copies.mine, deleted="revive")
        assert (arrived, outcome(arrived)) == ([copies.run], [(copies.run, 1, "added", "revived")])
    else:
        assert outcome(copies.merge(copies.mine, copies.yours, deleted="revive")) == [(copies.run, 1, "kept", "")]
    copies.both_ways()
    numbers = {"suggestion_id": None}
    found = copies.mine.load_iteration(copies.run)
    for one in (found, wanted):
        one["suggestions"] = [suggested | numbers for suggested in one["suggestions"]]
    assert found | {"changed_at": None} == wanted
    copies.yours.delete_iteration(copies.run)
    copies.both_ways()
    assert all_ids(copies.mine) == []


def test_a_third_copy_does_not_bring_back_what_was_deleted_before_it_came(copies: Copies) -> None:
    new = copies.mine.save_iteration(copies.strategy)
    with copied(copies.mine, copies.folder / "third.db") as third:
        copies.mine.delete_iteration(new)
        copies.merge(copies.mine, copies.yours)  # which never had it
        assert outcome(copies.merge(third, copies.yours))[1] == (new, 2, "left out", "")


def test_strategies_of_deleted_runs_do_not_come_back_but_ancestors_do(copies: Copies) -> None:
    child = copies.mine.save_strategy_version("child", "code", parent_strategy_id=copies.strategy)
    grandchild = copies.mine.save_strategy_version("grandchild", "code", parent_strategy_id=child)
    runs = [copies.mine.save_iteration(one) for one in (child, grandchild)]
    copies.both_ways()
    path = copies.exported(copies.yours)
    copies.mine.delete_strategy(copies.strategy, cascade=True)
    assert copies.mine.import_results(path, "merge") == []
    assert query(copies.mine, "SELECT * FROM strategies") == []
    assert copies.mine.import_results(path, "merge").report["strategy"].tolist() == ["momentum", "child", "grandchild"]
    one = copies.yours.export_results(runs[1], copies.folder / "one.json")
    assert copies.mine.import_results(one, "merge", deleted="revive") == runs[1:]
    assert len(query(copies.mine, "SELECT * FROM strategies")) == 3


def test_many_deletions_leave_one_row_each(copies: Copies) -> None:
    ids = copies.mine.save_iterations({"strategy_id": copies.strategy, "tags": ["a", "b"]} for _ in range(50))
    for key in ids[::5]:
        copies.mine.annotate(key, note="n", add_tags=["c"], remove_tags=["a"])
    copies.mine.delete_strategy(copies.strategy, cascade=True)
    assert query(copies.mine, "SELECT DISTINCT field, item FROM changes") == [("deleted", "")]
    assert len(query(copies.mine, "SELECT * FROM changes")) == 51


# Files and reports --------------------------------------------------------------------------------------------------


def test_a_file_tells_of_changes_and_deletions_only_where_there_are_some(copies: Copies) -> None:
    file = json.loads(copies.exported(copies.mine).read_text(encoding="utf-8"))
    assert "deleted" not in file
    assert all("changes" not in one for one in file["iterations"])
    other = copies.mine.save_iteration(copies.strategy)
    copies.mine.annotate(copies.run, note="new", remove_tags=["old"])
    copies.mine.set_suggestion_status(suggestion(copies.mine, copies.run, 1), "rejected")
    copies.mine.delete_iteration(other)
    file = json.loads(copies.exported(copies.mine).read_text(encoding="utf-8"))
    assert list(file).index("deleted") < list(file).index("iterations")
    assert list(file["deleted"]) == [other]
    told = file["iterations"][0]["changes"]
    assert told == {
        "note": told["note"],
        "tag": {"old": told["tag"]["old"]},
        "suggestion": {"1": told["suggestion"]["1"]},
    }
    jsonschema.validate(file, json_schema())


@pytest.mark.filterwarnings("ignore::finlab_nb.BadDataWarning")
def test_the_stored_export_of_1_3_tells_of_changes_and_deletions(store: fl.StorageManager) -> None:
    store.import_results(DATA / "export_1_3.json.gz", "merge")
    numbers = [one["suggestion_id"] for one in store.load_iteration("i-first")["suggestions"]]
    changes = [
        ("i-first", "starred", ""),
        *(("i-first", "suggestion", str(numbers[place])) for place in (0, 3)),
        ("i-first", "tag", "removed"),
        ("i-gone", "deleted", ""),
    ]
    found = query(store, "SELECT iteration_id, field, item FROM changes")
    assert sorted(found) == sorted(changes)
    assert query(store, "SELECT DISTINCT changed_at FROM changes") == [("2026-11-30T10:11:12.500000Z",)]
    assert outcome(store.import_results(DATA / "export_1_3.json.gz", "merge"))[1] == ("i-first", 1, "unchanged", "")


WRONG: list[tuple[str, dict[str, Any], Any]] = [
    (r"\$\.iterations\[0\]\.changes is 3", {}, 3),
    (r"\$\.iterations\[0\]\.changes has the unknown field 'colour'", {}, {"colour": "2024-01-02"}),
    (r"\$\.iterations\[0\]\.changes\.note is 'soon'", {}, {"note": "soon"}),
    (r"\$\.iterations\[0\]\.changes\.note is 3", {}, {"note": 3}),
    (r"\$\.iterations\[0\]\.changes\.tag is '2024", {}, {"tag": "2024-01-02"}),
    (r"\$\.iterations\[0\]\.changes\.tag\.'x' is None", {}, {"tag": {"x": None}}),
    (r"\$\.iterations\[0\]\.changes\.tag is ' '", {}, {"tag": {" ": "2024-01-02"}}),
    (r"\$\.iterations\[0\]\.changes\.suggestion has '2'; .* 2 suggestions", {}, {"suggestion": {"2": "2024-01-02"}}),
    (r"\$\.deleted is \[\]", {"deleted": []}, None),
    (r"\$\.deleted\.'a' is 1", {"deleted": {"a": 1}}, None),
]


@pytest.mark.parametrize(("message", "heading", "changes"), WRONG, ids=[message for message, *_ in WRONG])
def test_wrong_times_are_refused_by_their_json_path(
    copies: Copies, message: str, heading: dict[str, Any], changes: Any
) -> None:
    file = {"format_version": "1.3"} | heading | json.loads(copies.exported(copies.mine).read_text(encoding="utf-8"))
    file["format_version"] = "1.3"
    file["iterations"][0]["changes"] = changes
    path = copies.folder / "wrong.json"
    path.write_text(json.dumps(file), encoding="utf-8")
    with pytest.raises(ValueError, match=f"^{message}"):
        copies.yours.import_results(path, "merge")
    if not any(word in message for word in ("soon", "' '", "2 suggestions")):  # which no schema tells
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(file, json_schema())


def test_times_that_another_program_wrote_in_another_form_are_passed_over(copies: Copies) -> None:
    copies.mine.annotate(copies.run, note="new", add_tags=["x"])
    with copies.mine.pool.write() as connection:
        connection.execute("UPDATE changes SET changed_at = 'yesterday' WHERE field = 'tag'")
        connection.execute("INSERT INTO changes VALUES (?, 'tag', CAST(x'ff' AS TEXT), ?)", (copies.run, "2024-01-02"))
        connection.execute("INSERT INTO changes VALUES (?, 'note', 'odd', ?)", (copies.run, "2024-01-02"))
        connection.execute("INSERT INTO changes VALUES ('gone', 'deleted', '', 'yesterday')")
    copies.merge(copies.mine, copies.yours)
    found = copies.yours.load_iteration(copies.run)
    assert (found["note"], sorted(found["tags"])) == ("new", ["daily", "old", "x"])


def test_suggestions_are_told_by_their_place_among_those_of_the_same_run(copies: Copies) -> None:
    with fl.StorageManager(copies.folder / "new.db") as new:
        new.save_iteration(new.save_strategy_version("a", "b"), suggestions=[{"priority": "low", "description": "d"}])
        copies.mine.set_suggestion_status(suggestion(copies.mine, copies.run, 1), "rejected")
        copies.merge(copies.mine, new)
        copies.mine.set_suggestion_status(suggestion(copies.mine, copies.run, 1), "open")
        later()
        new.set_suggestion_status(suggestion(new, copies.run), "applied")
        copies.merge(new, copies.mine)
        copies.merge(copies.mine, new)
        states = [
            [one["status"] for one in one.load_iteration(copies.run)["suggestions"]] for one in (copies.mine, new)
        ]
    assert states == [["applied", "open"]] * 2


def test_the_ids_of_an_import_are_a_list_that_shows_its_report(copies: Copies) -> None:
    copies.mine.save_strategy_version("unused", "code")
    named = copies.mine.save_iteration(copies.mine.save_strategy_version("<b>bold</b>", "code"))
    arrived = copies.merge(copies.mine, copies.yours)
    assert (arrived, type(arrived).__mro__[1]) == ([copies.run, named], list)
    assert "&lt;b&gt;bold" in arrived._repr_html_()
    again = pickle.loads(pickle.dumps(arrived))
    assert (again, outcome(again)) == (arrived, outcome(arrived))
    copy = copies.yours.import_results(copies.exported(copies.mine))
    assert [action for *_, action, _ in outcome(copy)] == ["added"] * 2
    assert [key for key, *_ in outcome(copy)] == copy


def test_another_way_with_deletions_is_refused(copies: Copies) -> None:
    with pytest.raises(ValueError, match=r"deleted is 'all'; it must be 'apply', 'keep' or 'revive'"):
        copies.merge(copies.mine, copies.yours, deleted="all")


def test_a_merge_that_fails_changes_nothing(copies: Copies) -> None:
    copies.mine.annotate(copies.run, note="new")
    other = copies.mine.save_iteration(copies.strategy)
    copies.mine.delete_iteration(other)
    path = copies.exported(copies.mine)
    before = rows(copies.yours)
    with pytest.raises(RuntimeError), copies.yours.transaction():
        copies.yours.import_results(path, "merge")
        assert rows(copies.yours) != before
        raise RuntimeError
    assert rows(copies.yours) == before


# A model ------------------------------------------------------------------------------------------------------------


class Side:
    """One copy, and what it holds by the rules, in plain Python: fields with the time of their newest change."""

    def __init__(self, store: fl.StorageManager) -> None:
        self.store = store
        self.runs: dict[str, dict[Any, tuple[int, Any]]] = {}
        self.links: dict[str, tuple[set[str], ...]] = {}
        self.deleted: dict[str, int] = {}

    def save(self, strategy: str, at: int, tried: tuple[str, int] | None) -> str:
        applies = [] if tried is None else [suggestion(self.store, *tried)]
        suggestions = [{"priority": one, "description": one} for one in ("low", "high")]
        run = self.store.save_iteration(
            strategy, tags=["saved"], suggestions=suggestions, applies=applies, metrics={"sharpe_ratio": at / 7}
        )
        values = {"note": None, "starred": False, "archived": False, ("tag", "saved"): True, 0: "open", 1: "open"}
        self.runs[run] = {name: (0, value) for name, value in values.items()} | {"sharpe": (0, at / 7)}
        self.links[run] = (set(), set())
        if tried is not None:
            self.apply(tried, run, at)
        return run

    def apply(self, tried: tuple[str, int], run: str, at: int) -> None:
        self.change(tried[0], tried[1], "applied", at)
        self.links[tried[0]][tried[1]].add(run)

    def change(self, run: str, name: Any, value: Any, at: int) -> None:
        default = False if isinstance(name, tuple) else None
        if self.runs[run].get(name, (0, default))[1] != value:
            self.runs[run][name] = (at, value)

    def delete(self, run: str, at: int, deleted: int) -> None:
        del self.runs[run], self.links[run]
        self.deleted[run] = deleted
        for other, both in self.links.items():
            for place, links in enumerate(both):
                if run in links:
                    links.remove(run)
                    if not links and self.runs[other][place][1] == "applied":
                        self.runs[other][place] = (at, "open")

    def take(self, other: Side, at: int) -> None:
        """Merge all of another copy."""
        gone = {}
        for run in self.runs.keys() & other.runs.keys():
            mine, theirs = self.runs[run], other.runs[run]
            for name in theirs:
                mine[name] = max(mine.get(name, (-1, None)), theirs[name], key=lambda one: one[0])
        for run, deleted in other.deleted.items():
            newest = max((time for time, _ in self.runs.get(run, {}).values()), default=0)
            if run in self.runs and newest > deleted:
                self.runs[run]["revived"] = max(self.runs[run].get("revived", (0, None)), (newest, None))
            elif run in self.runs:
                gone[run] = deleted
            else:
                self.deleted[run] = max(deleted, self.deleted.get(run, 0))
        for run in other.runs.keys() - self.runs.keys():
            if run in self.deleted and other.runs[run].get("revived", (0, None))[0] < self.deleted[run]:
                if max(time for time, _ in other.runs[run].values()) > self.deleted[run]:
                    self.deleted[run] = at
            else:
                self.deleted.pop(run, None)
                self.runs[run], self.links[run] = dict(other.runs[run]), (set(), set())
        for run in self.runs.keys() & other.runs.keys():
            for mine_links, their_links in zip(self.links[run], other.links[run], strict=True):
                mine_links |= their_links & self.runs.keys()
        for run, deleted in gone.items():
            self.delete(run, at, deleted)

    def check(self) -> None:
        found = book(self.store)
        del found["changes"]
        assert found.keys() == self.runs.keys()
        for run, wanted in self.runs.items():
            values = {name: value for name, (_, value) in wanted.items()}
            one = found[run]
            assert [one["note"], one["starred"], one["archived"]] == [values[name] for name in list(values)[:3]]
            assert one["tags"] == sorted(name[1] for name in values if isinstance(name, tuple) and values[name])
            suggested = {suggested["priority"]: suggested for suggested in one["suggestions"]}
            for place, priority in enumerate(("high", "low")):
                assert suggested[priority]["status"] == values[place]
                assert suggested[priority]["applied_iteration_ids"] == sorted(self.links[run][place])
            assert one["metrics"]["sharpe_ratio"] == values["sharpe"]


OPERATIONS = ("save", "apply", "note", "starred", "archived", "tag", "status", "delete", "merge", "both ways")
STEPS = st.lists(st.tuples(st.sampled_from(OPERATIONS), st.booleans(), st.integers(0, 99)), max_size=30)


def work_apart(folder: Path, steps: list[tuple[str, bool, int]]) -> None:
    """Do steps on two copies, and compare them with the rules and in the end with each other."""
    with fl.StorageManager(folder / "mine.db") as mine:
        strategy = mine.save_strategy_version("momentum", "code")
        first = Side(mine)
        first.save(strategy, 1, None)
        second = Side(copied(mine, folder / "yours.db"))
        second.runs = {run: dict(fields) for run, fields in first.runs.items()}
        second.links = {run: (set(), set()) for run in first.runs}
        saved = set(first.runs)
        with second.store:
            at = 1
            for kind, is_mine, number in [*steps, ("both ways", True, 0)]:
                later()
                at += 1
                side, other = (first, second) if is_mine else (second, first)
                for source, target in {"merge": [(other, side)], "both ways": [(other, side), (side, other)]}.get(
                    kind, []
                ):
                    later()
                    at += 1
                    path = source.store.export_results(all_ids(source.store), folder / "a.json")
                    target.store.import_results(path, "merge")
                    target.take(source, at)
                    target.check()
                work(side, strategy, kind, number, at)
                saved |= side.runs.keys()
            assert book(mine) == book(second.store)
    assert saved == first.runs.keys() | first.deleted.keys()


def work(side: Side, strategy: str, kind: str, number: int, at: int) -> None:
    runs = sorted(side.runs)
    if kind == "save" or (kind == "apply" and not runs):
        side.save(strategy, at, None)
    if kind in ("merge", "both ways", "save") or not runs:
        return
    run, place = runs[number % len(runs)], number % 2
    if kind == "apply":
        side.save(strategy, at, (run, place))
    elif kind == "delete":
        side.store.delete_iteration(run)
        side.delete(run, at, at)
    elif kind == "tag":
        tag = ("saved", "a", "b")[number % 3]
        side.store.annotate(run, **{"add_tags" if number % 5 else "remove_tags": tag})
        side.change(run, ("tag", tag), bool(number % 5), at)
    elif kind == "status":
        status = ("open", "applied", "rejected")[number % 3]
        side.store.set_suggestion_status(suggestion(side.store, run, place), status)
        side.change(run, place, status, at)
    else:
        value = f"note {number % 4}" if kind == "note" else bool(number % 3)
        side.store.annotate(run, **{kind: value})
        side.change(run, kind, value, at)


@pytest.mark.slow
@settings(max_examples=60)
@given(steps=STEPS)
def test_whatever_two_people_do_apart_their_copies_become_one_book(
    steps: list[tuple[str, bool, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    work_apart(tmp_path_factory.mktemp("copies"), steps)


def test_a_month_of_work_apart_becomes_one_book(tmp_path: Path) -> None:
    chance = random.Random(7)
    work_apart(tmp_path, [(chance.choice(OPERATIONS), chance.random() < 0.5, chance.randrange(100)) for _ in range(60)])
