"""Full, read-only and damaged disks and files give an error that says what to do, no damage, and work goes on after."""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from journaled import LONG, Journal, acknowledged, check_store, check_whole, content, in_child

import finlab_nb as fl
import finlab_nb.store.backup
from finlab_nb.store import checkpoint

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits and permissions"),
]
NOBODY = 65534
ADVICE = re.compile(
    "put the file back|restore a backup|restore the newest backup|free some space|make them writable|check"
)


# A full disk ------------------------------------------------------------------------------------------------------


def limit_files(size: int | None) -> None:
    """Let no file of this process grow beyond a size, as on a full disk; None ends that."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


def save_until_refused(store: fl.StorageManager, strategy: str, journal: Journal, name: str) -> int:
    with pytest.raises(fl.StorageError, match="free some space"):
        for number in itertools.count():
            store.save_iteration(strategy, **content(f"{name}, run {number}"))
            journal.add(f"{name}, run {number}")
    return number


def fill_and_go_on(path: Path, journals: Path, fill: Callable[[], None], make_room: Callable[[], None]) -> None:
    journal = Journal(journals, "full")
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        store.save_iteration(strategy, **content("before"))
        journal.add("before")
        fill()
        saved = save_until_refused(store, strategy, journal, "on a disk that fills")
        assert len(store.load_strategy_history(strategy)) == saved + 1
        with pytest.raises(fl.StorageError, match="free some space"):
            store.save_iterations({"strategy_id": strategy, "note": "n" * 1_000_000} for _ in range(40))
        make_room()
        assert store.pool.in_use == 0
        store.save_iteration(strategy, **content("after"))
        journal.add("after")
        assert len(store.load_strategy_history(strategy)) == saved + 2


def on_limited_files(path: Path, journals: Path) -> None:
    fill_and_go_on(path, journals, lambda: limit_files(1_500_000), lambda: limit_files(None))


def test_a_save_on_a_full_disk_says_so_and_the_next_one_goes_on(tmp_path: Path) -> None:
    in_child(on_limited_files, tmp_path / "a.db", tmp_path / "journals")
    done = acknowledged(tmp_path / "journals")
    assert len(done) > 10
    assert check_store(tmp_path / "a.db", done) == done


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return the folder of a file system of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "finlab_nb_test", str(folder)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def on_small_disk(disk: Path, journals: Path) -> None:
    filler = disk / "filler"
    fill_and_go_on(disk / "a.db", journals, lambda: filler.write_bytes(b"x" * 4_000_000) and None, filler.unlink)


def open_on_full_disk(disk: Path) -> None:
    filler, path = disk / "filler", disk / "a.db"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 4096)
    for name in ("a.db", "new.db"):
        with pytest.raises(fl.StorageError, match=ADVICE):
            with fl.StorageManager(disk / name) as store:
                store.save_strategy_version("on a full disk", "signal = 1")
    filler.unlink()
    for name in ("a.db", "new.db"):
        with fl.StorageManager(disk / name) as store:
            store.save_strategy_version("with room", "signal = 1")
            assert store.find_strategies("on a full disk") == []
    assert path.exists()


def test_a_full_file_system_loses_nothing_and_stops_no_later_work(small_disk: Path, tmp_path: Path) -> None:
    in_child(on_small_disk, small_disk, tmp_path / "journals")
    done = acknowledged(tmp_path / "journals")
    assert len(done) > 10
    assert check_store(small_disk / "a.db", done) == done
    in_child(open_on_full_disk, small_disk)
    assert check_store(small_disk / "a.db", done) == done


def checkpoint_on_full_disk(path: Path, journals: Path) -> None:
    checkpoint.WAL_BYTES = 200_000
    journal, log = Journal(journals, "full"), Path(f"{path}-wal")
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        for number in itertools.count():
            note = f"run {number}"
            store.save_iteration(strategy, **content(note))
            journal.add(note)
            if path.stat().st_size > 1_000_000:
                break
        size = path.stat().st_size
        limit_files(size)  # the log may grow to this size, the database no further
        save_until_refused(store, strategy, journal, "without a checkpoint")
        assert path.stat().st_size == size
        assert log.stat().st_size > 700_000
        limit_files(None)
        for number in itertools.count():
            store.save_iteration(strategy, **content(f"after, run {number}"))
            journal.add(f"after, run {number}")
            if path.stat().st_size > size:
                break
        assert number < 20


def test_a_log_that_finds_no_room_in_the_database_keeps_what_was_saved(tmp_path: Path) -> None:
    in_child(checkpoint_on_full_disk, tmp_path / "a.db", tmp_path / "journals")
    done = acknowledged(tmp_path / "journals")
    assert check_store(tmp_path / "a.db", done) == done


def fail_as_a_whole(path: Path) -> None:
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        limit_files(3_000_000)
        with pytest.raises(fl.StorageError, match="nothing of it was saved"):
            with store.transaction():
                store.save_iteration(strategy, **content("first"))
                with pytest.raises(fl.StorageError, match="free some space"):  # more than SQLite keeps in memory
                    store.save_iterations({"strategy_id": strategy, "note": "n" * 1_000_000} for _ in range(40))
                store.save_iteration(strategy, **content("last"))
        limit_files(None)
        assert store.load_strategy_history(strategy) == []
        store.save_iteration(strategy, **content("after"))


def test_a_transaction_that_met_a_full_disk_is_not_continued_in_part(tmp_path: Path) -> None:
    in_child(fail_as_a_whole, tmp_path / "a.db")
    assert check_store(tmp_path / "a.db", []) == {"after"}


def compact_without_room(path: Path) -> None:
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        runs = store.save_iterations({"strategy_id": strategy, **content(f"run {i}", 400)} for i in range(60))
        for run in runs[::2]:
            store.delete_iteration(run)
        store.compact(progress=False)  # brings the log back
        for run in runs[1::8]:
            store.delete_iteration(run)
        size = path.stat().st_size
        limit_files(size // 3)  # neither the temporary copy nor the log finds room
        with pytest.raises(fl.StorageError, match="free some space"):
            store.compact(progress=False)
        limit_files(None)
        assert path.stat().st_size == size
        assert store.pool.in_use == 0
        store.save_iteration(strategy, **content("after", 400))
        assert store.compact(progress=False)["freed"] > 0
        assert path.stat().st_size < size


def test_compacting_on_a_full_disk_leaves_everything_as_it_was(tmp_path: Path) -> None:
    in_child(compact_without_room, tmp_path / "a.db")
    kept = {f"run {i}" for i in range(60) if i % 2 and i % 8 != 1}
    assert check_store(tmp_path / "a.db", kept, 400) == kept | {"after"}


def compact_on_small_disk(disk: Path) -> None:
    path = disk / "a.db"
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        note = "n" * 700_000
        runs = [store.save_iteration(strategy, note=note) for _ in range(2)]
        store.delete_iteration(runs[0])
    size = path.stat().st_size
    (disk / "filler").write_bytes(b"x" * (shutil.disk_usage(disk).free - 300_000))
    with fl.StorageManager(path) as store:
        with pytest.raises(fl.StorageError, match=r"takes 1 MB in .*, and 0 MB are free there; free some space"):
            store.compact()
        assert path.stat().st_size == size
        (disk / "filler").unlink()
        assert store.compact()["freed"] > 600_000
        assert store.load_iteration(runs[1])["note"] == note
    assert path.stat().st_size < size - 600_000


def test_compacting_is_refused_where_it_would_fill_the_disk(small_disk: Path) -> None:
    in_child(compact_on_small_disk, small_disk)


# Read-only --------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """Return a folder that an ordinary user owns and reaches: root may write everywhere."""
    folder = Path(tempfile.mkdtemp(prefix="finlab_nb_")).resolve()
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)


def become_an_ordinary_user() -> None:
    with fl.StorageManager(":memory:") as store:  # what is imported late, such a user may not be able to read
        store.load_iteration(store.save_iteration(store.save_strategy_version("a", "x"), **content("warm")))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def use_read_only_folder(folder: Path) -> None:
    become_an_ordinary_user()
    folder.chmod(0o500)
    with pytest.raises(fl.StorageError, match="writable"):
        fl.StorageManager(folder / "a.db")
    assert list(folder.iterdir()) == []
    folder.chmod(0o700)
    with fl.StorageManager(folder / "a.db") as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        store.save_iteration(strategy, **content("before"))
    folder.chmod(0o500)
    before = (folder / "a.db").read_bytes()
    with pytest.raises(fl.StorageError, match="writable"):
        with fl.StorageManager(folder / "a.db") as store:
            store.save_iteration(strategy, **content("refused"))
    assert (folder / "a.db").read_bytes() == before
    folder.chmod(0o700)
    with fl.StorageManager(folder / "a.db") as store:
        store.save_iteration(strategy, **content("after"))


def test_a_read_only_folder_is_reported_and_nothing_is_left_there(own_folder: Path) -> None:
    in_child(use_read_only_folder, own_folder)
    assert check_store(own_folder / "a.db", []) == {"before", "after"}


def use_read_only_file(folder: Path) -> None:
    become_an_ordinary_user()
    path = folder / "a.db"
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        run = store.save_iteration(strategy, **content("before"))
    path.chmod(0o400)
    with fl.StorageManager(path) as store:
        check_whole(store.load_iteration(run))
        copy = store.snapshot(folder / "copy.db")
        for _ in range(2):
            with pytest.raises(fl.StorageError, match="read-only; make them writable"):
                store.save_iteration(strategy, **content("refused"))
        check_whole(store.load_iteration(run))
        for file in folder.iterdir():
            file.chmod(0o600)
        store.save_iteration(strategy, **content("after"))
    with fl.StorageManager(copy) as store:
        check_whole(store.load_iteration(run))


def test_a_read_only_file_can_be_read_and_written_once_it_is_writable(own_folder: Path) -> None:
    in_child(use_read_only_file, own_folder)
    assert check_store(own_folder / "a.db", []) == {"before", "after"}


# Damaged and replaced ---------------------------------------------------------------------------------------------


@pytest.fixture
def book(tmp_path: Path) -> tuple[Path, str, list[str]]:
    """Return a closed store with forty runs, its strategy and their ids."""
    path = tmp_path / "a.db"
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        ids = store.save_iterations({"strategy_id": strategy, **content(f"run {i}")} for i in range(40))
    assert not Path(f"{path}-wal").exists()
    return path, strategy, ids


def test_damaged_pages_give_an_error_that_names_the_backup_or_no_error(book: tuple[Path, str, list[str]]) -> None:
    path, strategy, ids = book
    sound, refusals = path.read_bytes(), []
    pages = len(sound) // 4096
    for seed in range(400 if LONG else 40):
        chance, damaged = random.Random(seed), bytearray(sound)
        for page in chance.sample(range(pages), chance.choice((1, 3, pages // 4))):
            start, length = 4096 * page, chance.choice((8, 200, 4096))
            damaged[start : start + length] = chance.choice((bytes(length), chance.randbytes(length)))
        path.write_bytes(damaged)
        try:
            with fl.StorageManager(path) as store:
                for attempt in (
                    lambda: store.load_strategy_history(strategy),
                    lambda: [store.load_iteration(key) for key in ids],
                    lambda: store.save_iteration(strategy, **content("new")),
                ):
                    try:
                        attempt()
                    except (fl.IterationNotFoundError, fl.StrategyNotFoundError):
                        pass
                    except fl.StorageError as error:
                        refusals.append(str(error))
                path.with_name("sound").write_bytes(sound)
                for log in path.parent.glob("a.db-*"):
                    log.unlink()
                os.replace(path.with_name("sound"), path)
                assert [run["iteration_id"] for run in store.load_strategy_history(strategy)] == ids
                check_whole(store.load_iteration(store.save_iteration(strategy, **content("again"))))
        except fl.StorageError as error:
            refusals.append(str(error))
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
        for log in path.parent.glob("a.db-*"):
            log.unlink()
    assert len(refusals) > 10
    assert [message for message in refusals if not ADVICE.search(message)] == []


@pytest.mark.parametrize("kind", ["nothing", "folder", "text", "empty file", "other program"])
def test_what_stands_in_place_of_the_open_file_is_refused_and_left_alone(
    book: tuple[Path, str, list[str]], kind: str
) -> None:
    path, strategy, ids = book
    with fl.StorageManager(path) as store:
        store.save_iteration(strategy, **content("in the log"))
        aside = path.parent / "aside"
        aside.mkdir()
        for file in path.parent.glob("a.db*"):
            file.rename(aside / file.name)
        before = put_in_place(path, kind)
        for attempt in (
            lambda: store.save_iteration(strategy, **content("refused")),
            lambda: store.load_iteration(ids[0]),
            lambda: store.load_strategy_history(strategy),
            store.pool.data_version,
        ):
            with pytest.raises(fl.StorageError, match=ADVICE if kind != "other program" else "not touched"):
                attempt()
        assert store.pool.in_use == 0
        assert (path.read_bytes() if path.is_file() else None) == before
        assert sorted(file.name for file in path.parent.iterdir()) == ["a.db", "aside"][kind == "nothing" :]
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        for file in aside.iterdir():
            file.rename(path.parent / file.name)
        store.save_iteration(strategy, **content("after"))
    notes = {f"run {i}" for i in range(40)}
    assert check_store(path, notes) == notes | {"in the log", "after"}


def put_in_place(path: Path, kind: str) -> bytes | None:
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("this is no database, but long enough to look like something\n" * 50)
    elif kind == "empty file":
        path.touch()
    elif kind == "other program":
        script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('CREATE TABLE bookmarks (url)')"
        subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    return path.read_bytes() if path.is_file() else None


def test_a_deleted_database_is_missed_and_its_backup_carries_on(
    book: tuple[Path, str, list[str]], tmp_path: Path
) -> None:
    path, strategy, _ = book
    backup = fl.BackupScheduler(path, tmp_path / "backups").backup_now()
    with fl.StorageManager(path) as store:
        store.save_iteration(strategy, **content("not in the backup"))
        for file in path.parent.glob("a.db*"):
            file.unlink()
        with pytest.raises(fl.StorageError, match="has disappeared; put the file back, or restore a backup"):
            store.save_iteration(strategy, **content("refused"))
        fl.restore_backup(backup, path, force=True)
        store.save_iteration(strategy, **content("after"))
    notes = {f"run {i}" for i in range(40)}
    assert check_store(path, notes) == notes | {"after"}
