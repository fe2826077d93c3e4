"""The backups in a folder: what their names and manifests say, and whether they are what they say.

Each backup has a manifest beside it, ``<backup>.json``: the rows of each table, the id of the store, generation, change
counter, schema version, and size and SHA-256 of the file. The manifest is published just before the backup, so a backup
under its final name was verified; one without a manifest was not made by this program or lost it: it is shown as
unverified, and left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import zstandard

from finlab_nb.errors import StorageError
from finlab_nb.records import arguments
from finlab_nb.store.forks import TemporaryFolder
from finlab_nb.store.fsync import flush_folder, flushed, translated_os_errors
from finlab_nb.store.integrity import Summary, inspected
from finlab_nb.store.registry import is_open_here
from finlab_nb.store.statistics import size_of

PREFIX: Final = "backtest_backup_"
STAMP: Final = "%Y%m%d_%H%M%S"
PLAIN: Final = ".db"
COMPRESSED: Final = ".db.zst"
TEMPORARY: Final = ".tmp"
_NAME: Final = re.compile(rf"{PREFIX}(\d{{8}}_\d{{6}})\.db(\.zst)?")
_LEFTOVER: Final = re.compile(rf"{_NAME.pattern}\.tmp(-journal|-wal|-shm|\.json)?")
_CHUNK: Final = 1 << 20
_ZSTD_LEVEL: Final = 3
_WINDOW_BYTES: Final = 1 << 23  # as large as that of level 19
_FORMAT_VERSION: Final = 1
_MOST_RATIO: Final = 1000  # of what is unpacked to what is packed, where no manifest tells
_RESERVE_BYTES: Final = 1 << 24  # left free on the disk

_TOLD: Final = {str: ("created_at", "sha256", "database", "generation"), int: ("size", "plain_size", "schema_version")}
# What manifests of earlier releases lack.
_SINCE_THEN: Final[dict[str, Any]] = {"plain_size": 0, "store_id": None, "schema_faults": None}


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup file, as described by its name, its manifest (empty if there is none) and the file system."""

    path: Path
    created_at: datetime
    written_at: datetime
    size: int
    manifest: dict[str, Any]

    @property
    def compressed(self) -> bool:
        """Whether it is compressed with zstd."""
        return self.path.name.endswith(COMPRESSED)

    @property
    def verified(self) -> bool:
        """Whether it was verified when it was made, and has kept its size."""
        return self.manifest.get("size") == self.size

    @property
    def iterations(self) -> int:
        """How many iterations it holds, as far as it is known."""
        return int(self.manifest["rows"]["iterations"]) if self.manifest else 0

    def as_dict(self) -> dict[str, Any]:
        """Return it in the form of `list_backups`."""
        seen = {field: getattr(self, field) for field in ("path", "created_at", "size", "compressed", "verified")}
        told = ("database", "store_id", "schema_version", "generation", "schema_faults")
        seen["iterations"] = self.iterations if self.manifest else None
        return seen | {field: self.manifest.get(field) for field in told}


# What is there ----------------------------------------------------------------------------------------------------


def manifest_path(backup: Path) -> Path:
    """Return the path of a backup's manifest."""
    return backup.with_name(backup.name + ".json")


def described(path: Path) -> Backup:
    """Return what name, size and manifest say about a backup file, without opening it."""
    with translated_os_errors(path):
        status = path.stat()
    manifest, named = _read_manifest(path), _NAME.fullmatch(path.name)
    written = created = datetime.fromtimestamp(status.st_mtime, UTC)
    if manifest:
        created = datetime.fromisoformat(manifest["created_at"])
    elif named is not None:
        created = datetime.strptime(named[1], STAMP).replace(tzinfo=UTC)
    return Backup(path, created, written, status.st_size, manifest)


def backups_in(folder: Path) -> list[Backup]:
    """Return the backups in a folder, newest first; none if there is no such folder."""
    found = []
    with translated_os_errors(folder):
        for path in folder.iterdir() if folder.exists() else ():
            # Skip names that are not a date, which are not ours, and backups that another process has just pruned.
            with contextlib.suppress(ValueError, StorageError):
                if _NAME.fullmatch(path.name) and path.is_file():
                    found.append(described(path))
    return sorted(found, key=lambda one: (one.created_at, one.path.name), reverse=True)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = _SINCE_THEN | json.loads(manifest_path(path).read_text(encoding="utf-8"))
        whole = all(isinstance(manifest[key], kind) for kind, keys in _TOLD.items() for key in keys)
        whole = whole and isinstance(manifest["rows"]["iterations"], int)
        return manifest if whole and datetime.fromisoformat(manifest["created_at"]).tzinfo else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed backup left behind. Only while no backup is in progress."""
    for path in folder.glob(f"{PREFIX}*"):
        orphan = path.suffix == ".json" and _NAME.fullmatch(path.stem) and not path.with_suffix("").exists()
        if orphan or _LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


# Whether it is sound ----------------------------------------------------------------------------------------------


def verify_backup(path: str | os.PathLike[str]) -> dict[str, Any]:
    """See `BackupScheduler.verify_backup`."""
    backup = described(arguments.path("path", path))
    if backup.compressed:
        with TemporaryFolder("verify") as folder:
            summary = unpack(backup, folder.path / "unpacked.db")
    else:
        refuse_live(backup.path)
        summary, digest = inspected(backup.path)
        _compare(backup, {"size": backup.size, "sha256": digest} | asdict(summary))
    return backup.as_dict() | asdict(summary) | {"iterations": summary.rows["iterations"]}


def refuse_live(path: Path) -> None:
    """Refuse a database that is open in this process, because reading it would drop its locks.

    Also refuse one with a write-ahead log or a journal beside it: it is in use, or incomplete without that file.
    """
    if is_open_here(path):
        raise StorageError(
            f"{path} is a database that is open in this process, and no backup; "
            "make one by BackupScheduler.backup_now()"
        )
    for suffix in ("-wal", "-journal"):
        if size_of(f"{path}{suffix}") > 0:
            raise StorageError(
                f"{path} has a {path.name}{suffix} beside it: it is a database in use or a copy of one, and no backup; "
                "make one by BackupScheduler.backup_now()"
            )


def _compare(backup: Backup, found: dict[str, Any]) -> None:
    """Refuse a backup that is not, byte for byte and row for row, the one of its manifest."""
    for field, value in found.items():
        told = backup.manifest.get(field)
        if told not in (None, value):
            raise StorageError(
                f"{backup.path} is damaged: it differs from its manifest: {field} is {value!r}, {told!r} in the "
                "manifest; use another backup"
            )


# Packing and publishing -------------------------------------------------------------------------------------------


def pack(source: Path, target: Path, digest: str) -> str:
    """Compress a verified copy, check that it unpacks to the same bytes, and return the SHA-256 of the result."""
    with flushed(target), source.open("rb") as plain, target.open("wb") as file:
        zstandard.ZstdCompressor(level=_ZSTD_LEVEL).copy_stream(plain, file)
    unpacked = hashlib.sha256()
    with target.open("rb") as written:
        packed = hashlib.file_digest(written, "sha256").hexdigest()
        written.seek(0)
        for chunk in _unpacked(target, written):
            unpacked.update(chunk)
    if unpacked.hexdigest() != digest:
        raise StorageError(f"{target} does not unpack to what was packed; check the disk")
    return packed


def unpack(backup: Backup, target: Path) -> Summary:
    """Copy a backup into a new file, decompressed, compare both with the manifest, and return what it holds.

    Neither memory nor disk is filled by a small file that claims to hold very much.
    """
    refuse_live(backup.path)
    with translated_os_errors(backup.path), backup.path.open("rb") as source:
        _compare(backup, {"size": backup.size, "sha256": hashlib.file_digest(source, "sha256").hexdigest()})
        allowed = _allowed_bytes(backup, target)
        with target.open("xb") as plain, flushed(target):
            source.seek(0)
            plainly = iter(partial(source.read, _CHUNK), b"")
            for chunk in _unpacked(backup.path, source) if backup.compressed else plainly:
                if plain.tell() + len(chunk) > allowed:
                    raise StorageError(
                        f"{backup.path} unpacks to more than {allowed:,} bytes: to more than its manifest tells, than "
                        "is plausible without one, or than the disk has free; free some space or use another backup"
                    )
                plain.write(chunk)
            plain.flush()
    try:
        summary, _ = inspected(target)
    except StorageError as error:
        raise StorageError(str(error).replace(str(target), str(backup.path))) from error
    _compare(backup, asdict(summary))
    return summary


def _allowed_bytes(backup: Backup, target: Path) -> int:
    told = backup.manifest.get("plain_size") or backup.size * (_MOST_RATIO if backup.compressed else 1)
    return min(told, max(0, shutil.disk_usage(target.parent).free - _RESERVE_BYTES))


def _unpacked(path: Path, source: IO[bytes]) -> Iterator[bytes]:
    unpacking = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).stream_reader(source)
    try:
        yield from iter(partial(unpacking.read, _CHUNK), b"")
    except zstandard.ZstdError as error:
        raise StorageError(f"{path} is damaged: {error}; use another backup") from error


def publish(temporary: Path, final: Path, manifest: dict[str, Any]) -> None:
    """Give a verified, flushed file its final name, with its manifest."""
    write_manifest(final, manifest | {"format_version": _FORMAT_VERSION, "size": temporary.stat().st_size})
    temporary.replace(final)
    flush_folder(final.parent)


def write_manifest(backup: Path, manifest: dict[str, Any]) -> None:
    """Put a manifest beside a backup, in place of the one that it may have."""
    written = backup.with_name(f"{backup.name}{TEMPORARY}.json")
    with written.open("w", encoding="utf-8") as file_of_text:
        json.dump(manifest, file_of_text, indent=2, sort_keys=True)
        file_of_text.flush()
        os.fsync(file_of_text.fileno())
    written.replace(manifest_path(backup))
