"""Restoring: the old database or the new one, never a mixture."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

import finlab_nb as fl
from finlab_nb.store.backup import restore
from finlab_nb.store.backup.files import manifest_path

OTHER_PROCESS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2]).fetchall()
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait two seconds for programs that will not end."""
    monkeypatch.setattr(restore, "_LOCK_PATIENCE_SECONDS", 0.2)


@pytest.fixture
def closed(tmp_path: Path) -> tuple[Path, Path]:
    """Return a closed database with three runs, and a backup of it when it had two."""
    path = tmp_path / "research.db"
    with fl.StorageManager(path) as store:
        strategy = store.save_strategy_version("momentum", "signal = 1")
        store.save_iteration(strategy)
        store.save_iteration(strategy)
        backup = fl.BackupScheduler(path, tmp_path / "backups").backup_now()
        store.save_iteration(strategy, note="after the backup")
    return path, backup


@pytest.fixture
def elsewhere() -> Iterator[Callable[[Path, str], subprocess.Popen[str]]]:
    """Return a way to hold the database open in another process."""
    processes = []

    def start(path: Path, statement: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", OTHER_PROCESS, str(path), statement],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def runs(path: Path) -> int:
    with fl.StorageManager(path) as store, store.pool.read() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (count,) = connection.execute("SELECT count(*) FROM iterations").fetchone()
    return int(count)


def generation(path: Path) -> str:
    with fl.StorageManager(path) as store, store.pool.read() as connection:
        return str(connection.execute("SELECT generation FROM store_state").fetchone()[0])


def test_a_restored_database_holds_what_the_backup_held(closed):
    path, backup = closed
    assert runs(path) == 3
    fl.restore_backup(backup, path)
    assert runs(path) == 2


def test_a_compressed_backup_is_restored(closed, tmp_path):
    path, _ = closed
    packed = fl.BackupScheduler(path, tmp_path / "packed").backup_now(compress=True)
    fl.restore_backup(packed, tmp_path / "new.db")
    assert runs(tmp_path / "new.db") == 3


def test_the_replaced_database_stays_aside(closed):
    path, backup = closed
    (aside, *_) = fl.restore_backup(backup, path)
    assert aside.name.startswith("research.db.replaced-")
    assert runs(aside) == 3


def test_restoring_twice_within_a_second_keeps_both_replaced_databases(closed):
    path, backup = closed
    replaced = {fl.restore_backup(backup, path)[0] for _ in range(3)}
    assert len(replaced) == 3
    assert sorted(runs(aside) for aside in replaced) == [2, 2, 3]


def test_a_restored_store_has_a_new_generation(closed):
    path, backup = closed
    before = generation(path)
    fl.restore_backup(backup, path)
    first = generation(path)
    fl.restore_backup(backup, path)
    assert len({before, first, generation(path)}) == 3


def test_a_restored_store_has_a_write_ahead_log_and_nothing_beside_it(closed):
    path, backup = closed
    fl.restore_backup(backup, path)
    assert not [file for file in path.parent.iterdir() if file.name.startswith((".research", "research.db-"))]
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_copy_put_in_place_by_hand_gets_its_write_ahead_log_back(closed, tmp_path):
    _, backup = closed
    shutil.copy(backup, tmp_path / "by_hand.db")
    with fl.StorageManager(tmp_path / "by_hand.db") as store, store.pool.read() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_restoring_to_a_path_where_nothing_is_works(closed, tmp_path):
    assert fl.restore_backup(closed[1], tmp_path / "fresh.db") == []
    assert runs(tmp_path / "fresh.db") == 2


def test_the_permissions_of_the_replaced_database_stay(closed):
    path, backup = closed
    path.chmod(0o640)
    fl.restore_backup(backup, path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_to_the_database_stays_a_link(closed, tmp_path):
    path, backup = closed
    link = tmp_path / "link.db"
    link.symlink_to(path)
    fl.restore_backup(backup, link)
    assert link.is_symlink()
    assert runs(path) == 2


def test_a_backup_without_a_manifest_is_restored_after_its_checks(closed):
    path, backup = closed
    manifest_path(backup).unlink()
    fl.restore_backup(backup, path)
    assert runs(path) == 2


# A small file that holds very much --------------------------------------------------------------------------------


@pytest.fixture
def bomb(closed: tuple[Path, Path]) -> Path:
    """Return a backup of a few kilobytes that unpacks to 400 MB."""
    path = closed[0].with_name("backtest_backup_20240101_000000.db.zst")
    with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as packing:
        packing.write(closed[1].read_bytes())
        for _ in range(400):
            packing.write(bytes(1 << 20))
    assert path.stat().st_size < 200_000
    return path


def put_manifest(path: Path, like: Path, **fields: object) -> None:
    manifest = json.loads(manifest_path(like).read_text(encoding="utf-8"))
    packed = {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    manifest_path(path).write_text(json.dumps(manifest | packed | fields), encoding="utf-8")


@pytest.mark.parametrize("told", [None, {}, {"plain_size": 0}])
def test_a_small_file_that_unpacks_to_very_much_fills_neither_disk_nor_memory(closed, bomb, tmp_path, told):
    if told is not None:
        put_manifest(bomb, closed[1], **told)
    limit = 200_000_000
    script = (
        "import resource, sys, finlab_nb as fl, finlab_nb.store.backup as backup\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "for refused in (lambda: backup.verify_backup(sys.argv[1]), lambda: fl.restore_backup(*sys.argv[1:])):\n"
        "    try: refused()\n"
        "    except fl.StorageError as error: print(error)\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"  # not that before the exec
    )
    command = [sys.executable, "-c", script, str(bomb), str(tmp_path / "new.db")]
    first, second, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "unpacks to more than" in first
    assert "unpacks to more than" in second
    assert int(peak) < 200_000  # kilobytes
    assert not (tmp_path / "new.db").exists()
    assert not list(tmp_path.glob(".*restoring*"))


def test_a_window_that_needs_much_memory_is_refused(closed, tmp_path):
    path = tmp_path / "backtest_backup_20240101_000000.db.zst"
    wide = zstandard.ZstdCompressionParameters.from_level(3, window_log=27, enable_ldm=True)
    packing = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    path.write_bytes(packing.compress(closed[1].read_bytes()) + packing.flush())
    with pytest.raises(fl.StorageError, match="memory"):
        fl.restore_backup(path, tmp_path / "new.db")


# A stale log ------------------------------------------------------------------------------------------------------


def leave_a_log(path: Path) -> None:
    """Write to the database and die, so that the rows stand in the log alone."""
    script = (
        "import os, sys, sqlite3; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('PRAGMA wal_autocheckpoint = 0'); c.execute(\"UPDATE iterations SET note = 'stale'\");"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert path.with_name(path.name + "-wal").stat().st_size > 0


def test_a_stale_log_does_not_reach_the_restored_database(closed):
    path, backup = closed
    leave_a_log(path)
    fl.restore_backup(backup, path)
    assert runs(path) == 2
    with fl.StorageManager(path) as store, store.pool.read() as connection:
        assert connection.execute("SELECT count(*) FROM iterations WHERE note = 'stale'").fetchone() == (0,)


def test_the_rows_of_a_stale_log_are_in_the_replaced_database(closed):
    path, backup = closed
    leave_a_log(path)
    (aside, *_) = fl.restore_backup(backup, path)
    with fl.StorageManager(aside) as store, store.pool.read() as connection:
        assert connection.execute("SELECT count(*) FROM iterations WHERE note = 'stale'").fetchone() == (3,)


def test_a_stale_log_without_its_database_goes_aside(closed):
    path, backup = closed
    leave_a_log(path)
    path.unlink()
    moved = fl.restore_backup(backup, path)
    assert any(file.name.endswith("-wal") for file in moved)
    assert runs(path) == 2


def test_a_damaged_database_is_replaced_with_its_log_set_aside(closed):
    path, backup = closed
    leave_a_log(path)
    path.write_bytes(b"\x00garbage" * 1000)
    moved = fl.restore_backup(backup, path)
    assert {file.name.rpartition("-")[2] for file in moved} >= {"wal"}
    assert moved[0].read_bytes().startswith(b"\x00garbage")
    assert runs(path) == 2


@pytest.mark.parametrize("failing", ["rename", "replace", "flush"])
def test_a_failure_amid_the_swap_leaves_the_old_database_whole(closed, monkeypatch, failing):
    path, backup = closed
    leave_a_log(path)

    def fail(*_: object) -> None:
        raise OSError(5, "the disk failed")

    with monkeypatch.context() as broken:
        if failing == "flush":
            broken.setattr(restore, "flush_folder", fail)
        else:
            broken.setattr(Path, failing, fail)
        with pytest.raises(fl.StorageError, match="the disk failed"):
            fl.restore_backup(backup, path)
    assert runs(path) == 3


def test_without_hard_links_the_database_is_replaced_all_the_same(closed, monkeypatch):
    path, backup = closed

    def no_links(*_: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    (aside, *_) = fl.restore_backup(backup, path)
    assert (runs(path), runs(aside)) == (2, 3)


# What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", ["SELECT count(*) FROM iterations", "BEGIN IMMEDIATE", "PRAGMA user_version"])
def test_a_database_that_another_process_has_open_is_refused(closed, elsewhere, statement):
    path, backup = closed
    process = elsewhere(path, statement)
    with pytest.raises(fl.StorageError, match="open in another program"):
        fl.restore_backup(backup, path)
    process.communicate("go\n")
    assert runs(path) == 3
    fl.restore_backup(backup, path)
    assert runs(path) == 2


def test_a_store_of_another_process_that_does_nothing_is_noticed(closed):
    path, backup = closed
    script = (
        "import sys, finlab_nb as fl; s = fl.StorageManager(sys.argv[1]); s.find_strategies('x');"
        "print('ready', flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(fl.StorageError, match="open in another program"):
            fl.restore_backup(backup, path)
        process.communicate("go\n")


def test_a_store_of_this_process_is_refused_until_it_is_closed(closed):
    path, backup = closed
    store = fl.StorageManager(path)
    with pytest.raises(fl.StorageError, match="open in this process"):
        fl.restore_backup(backup, path)
    store.close()
    fl.restore_backup(backup, path)
    assert runs(path) == 2


def test_a_connection_of_this_process_is_refused(closed):
    path, backup = closed
    own = sqlite3.connect(path)
    own.execute("SELECT count(*) FROM iterations").fetchone()
    with pytest.raises(fl.StorageError, match="open in another program, or in a connection of this one"):
        fl.restore_backup(backup, path)
    own.close()


def test_force_replaces_what_is_open_and_a_store_goes_over_to_it(closed):
    path, backup = closed
    with fl.StorageManager(path) as store:
        strategy = store.find_strategies("momentum")[0]["strategy_id"]
        store.save_iteration(strategy)
        moved = fl.restore_backup(backup, path, force=True)
        assert len(store.load_strategy_history(strategy)) == 2
        store.save_iteration(strategy)
        assert len(store.load_strategy_history(strategy)) == 3
    assert runs(path) == 3
    assert runs(moved[0]) == 4


def test_force_replaces_what_another_process_reads(closed, elsewhere):
    path, backup = closed
    process = elsewhere(path, "SELECT count(*) FROM iterations")
    fl.restore_backup(backup, path, force=True)
    with fl.StorageManager(path) as store:
        strategy = store.find_strategies("momentum")[0]["strategy_id"]
        store.save_iteration(strategy)
        process.communicate("go\n")  # it closes the old file, and must not take the new log away
        store.save_iteration(strategy)
    assert runs(path) == 4


def test_a_damaged_backup_is_refused_and_the_database_stays(closed):
    path, backup = closed
    content = bytearray(backup.read_bytes())
    content[4096 : 20 * 4096] = b"\xff" * (19 * 4096)
    backup.write_bytes(content)
    for manifest_there in (True, False):
        if not manifest_there:
            manifest_path(backup).unlink()
        with pytest.raises(fl.StorageError, match="damaged"):
            fl.restore_backup(backup, path)
    assert runs(path) == 3
    assert not list(path.parent.glob(".*restoring*"))


def test_a_file_that_is_no_database_is_refused(closed, tmp_path):
    (tmp_path / "text.db").write_text("these are no pages" * 100)
    with pytest.raises(fl.StorageError, match="not a SQLite database"):
        fl.restore_backup(tmp_path / "text.db", closed[0])


def test_a_backup_of_the_database_of_another_program_is_refused(closed, tmp_path):
    with sqlite3.connect(tmp_path / "photos.db") as other:
        other.execute("CREATE TABLE photos (name)")
    other.close()
    with pytest.raises(fl.StorageError, match=r"photos\.db is the database of another program"):
        fl.restore_backup(tmp_path / "photos.db", closed[0])
    assert runs(closed[0]) == 3


def test_a_backup_of_a_newer_release_is_refused(closed):
    path, backup = closed
    with sqlite3.connect(backup) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    manifest_path(backup).unlink()
    with pytest.raises(fl.StorageError, match=r"needs finlab_nb .* schema 99"):
        fl.restore_backup(backup, path)


def test_a_database_in_use_is_no_backup(closed, tmp_path, store):
    with pytest.raises(fl.StorageError, match="open in this process"):
        fl.restore_backup(store.path, closed[0])


def test_a_copy_with_a_log_beside_it_is_no_backup(closed, tmp_path):
    path, _ = closed
    leave_a_log(path)
    with pytest.raises(fl.StorageError, match="no backup"):
        fl.restore_backup(path, tmp_path / "new.db")


def test_a_database_is_not_restored_from_itself(closed):
    with pytest.raises(fl.StorageError, match="the database itself"):
        fl.restore_backup(closed[0], closed[0])


def test_paths_that_cannot_be_are_refused_with_advice(closed, tmp_path):
    _, backup = closed
    with pytest.raises(fl.StorageError, match="is a folder"):
        fl.restore_backup(backup, tmp_path)
    with pytest.raises(fl.StorageError, match="is a folder"):
        fl.restore_backup(tmp_path, tmp_path / "new.db")
    with pytest.raises(fl.StorageError, match="create it first"):
        fl.restore_backup(backup, tmp_path / "none" / "new.db")
    with pytest.raises(fl.StorageError, match="list_backups"):
        fl.restore_backup(tmp_path / "none.db", tmp_path / "new.db")


def test_a_read_only_folder_is_refused_with_advice(closed, tmp_path, monkeypatch):
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "new.db"))

    monkeypatch.setattr(Path, "open", denied)  # root, who may run this test, can write everywhere
    with pytest.raises(fl.StorageError, match="make the folder and the file writable"):
        fl.restore_backup(closed[1], tmp_path / "new.db")
