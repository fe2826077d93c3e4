"""The backups in a folder: what their names and manifests say, and whether they are what they say.

Each backup has a manifest beside it, ``<backup>.json``: the rows of each table, generation, change counter, schema
version, and size and SHA-256 of the file. The manifest is published just before the backup, so a backup under its final
name was verified; one without a manifest was not made by this program or lost it, and is shown as unverified.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from finlab_nb.errors import StorageError
from finlab_nb.records import arguments
from finlab_nb.store.forks import TemporaryFolder
from finlab_nb.store.fsync import flush_folder, flushed, translated_os_errors
from finlab_nb.store.integrity import Summary, inspected
from finlab_nb.store.registry import is_open_here

PREFIX: Final = "backtest_backup_"
STAMP: Final = "%Y%m%d_%H%M%S"
PLAIN: Final = ".db"
COMPRESSED: Final = ".db.zst"
TEMPORARY: Final = ".tmp"
_NAME: Final = re.compile(rf"{PREFIX}(\d{{8}}_\d{{6}})\.db(\.zst)?")
_CHUNK: Final = 1 << 20
_ZSTD_LEVEL: Final = 3
_FORMAT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup file, as described by its name and manifest."""

    path: Path
    created_at: datetime
    size: int
    manifest: dict[str, Any] | None

    @property
    def compressed(self) -> bool:
        """Whether it is compressed with zstd."""
        return self.path.name.endswith(COMPRESSED)

    @property
    def verified(self) -> bool:
        """Whether it was verified when it was made, and has kept its size."""
        return self.manifest is not None and self.manifest["size"] == self.size

    @property
    def database(self) -> str | None:
        """The path of the database that it was made from, if known."""
        return None if self.manifest is None else str(self.manifest["database"])

    def as_dict(self) -> dict[str, Any]:
        """Return it in the form of `list_backups`."""
        manifest = self.manifest or {}
        return {
            "path": self.path,
            "created_at": self.created_at,
            "size": self.size,
            "compressed": self.compressed,
            "verified": self.verified,
            "database": self.database,
            "iterations": manifest.get("rows", {}).get("iterations"),
            "schema_version": manifest.get("schema_version"),
            "generation": manifest.get("generation"),
            "schema_faults": manifest.get("schema_faults"),
        }


# What is there ----------------------------------------------------------------------------------------------------


def manifest_path(backup: Path) -> Path:
    """Return the path of a backup's manifest."""
    return backup.with_name(backup.name + ".json")


def described(path: Path) -> Backup:
    """Return what name, size and manifest say about a backup file, without opening it."""
    with translated_os_errors(path):
        status = path.stat()
    manifest = _read_manifest(path)
    named = _NAME.fullmatch(path.name)
    if manifest is not None:
        created = datetime.fromisoformat(manifest["created_at"])
    elif named is not None:
        created = datetime.strptime(named[1], STAMP).replace(tzinfo=UTC)
    else:
        created = datetime.fromtimestamp(status.st_mtime, UTC)
    return Backup(path, created, status.st_size, manifest)


def backups_in(folder: Path) -> list[Backup]:
    """Return the backups in a folder, newest first; none if there is no such folder."""
    found = []
    with translated_os_errors(folder):
        if not folder.exists():
            return []
        for path in folder.iterdir():
            named = _NAME.fullmatch(path.name)
            # Skip names that are not a date, which are not ours, and backups that another process has just pruned.
            with contextlib.suppress(ValueError, FileNotFoundError):
                if named is not None and path.is_file() and datetime.strptime(named[1], STAMP).replace(tzinfo=UTC):
                    path.stat()
                    found.append(described(path))
    return sorted(found, key=lambda one: (one.created_at, one.path.name), reverse=True)


def _read_manifest(path: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads(manifest_path(path).read_text(encoding="utf-8"))
        created = datetime.fromisoformat(manifest["created_at"])
        kinds = {"size": int, "sha256": str, "database": str, "rows": dict, "schema_version": int, "generation": str}
        whole = created.tzinfo is not None and all(isinstance(manifest[key], kind) for key, kind in kinds.items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return manifest if whole else None


def remove_leftovers(folder: Path) -> int:
    """Remove what a killed backup left behind, and return how many files. Only while no backup is in progress."""
    removed = 0
    for path in folder.glob(f"{PREFIX}*"):
        of_killed_run = f"{PLAIN}{TEMPORARY}" in path.name or f"{COMPRESSED}{TEMPORARY}" in path.name
        orphan = path.suffix == ".json" and _NAME.fullmatch(path.stem) and not path.with_suffix("").exists()
        if of_killed_run or orphan:
            path.unlink(missing_ok=True)
            removed += 1
    return removed


# Whether it is sound ----------------------------------------------------------------------------------------------


def verify_backup(path: str | os.PathLike[str]) -> dict[str, Any]:
    """See `BackupScheduler.verify_backup`."""
    backup = described(arguments.path("path", path))
    if backup.compressed:
        with TemporaryFolder("verify") as folder:
            plain = folder.path / "unpacked.db"
            unpack(backup, plain)
            summary, _ = inspected(plain)
    else:
        refuse_live(backup.path)
        summary, digest = inspected(backup.path)
        compare_digest(backup, digest)
    compare_summary(backup, summary)
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
        with translated_os_errors(path), contextlib.suppress(FileNotFoundError):
            if path.with_name(path.name + suffix).stat().st_size > 0:
                raise StorageError(
                    f"{path} has a {path.name}{suffix} beside it: it is a database in use or a copy of one, and no "
                    "backup; make one by BackupScheduler.backup_now()"
                )


def compare_digest(backup: Backup, digest: str) -> None:
    """Refuse a file that is not, byte for byte, the one of its manifest."""
    if backup.manifest is not None and digest != backup.manifest["sha256"]:
        raise StorageError(
            f"{backup.path} is damaged: it differs from its manifest (SHA-256 {digest[:12]}..., "
            f"{backup.size} bytes; {backup.manifest['sha256'][:12]}..., {backup.manifest['size']} bytes in the "
            "manifest); use another backup"
        )


def compare_summary(backup: Backup, summary: Summary) -> None:
    """Refuse a database whose contents do not match the counts in the manifest."""
    if backup.manifest is not None:
        for field, value in asdict(summary).items():
            if backup.manifest.get(field, value) != value:
                raise StorageError(
                    f"{backup.path} differs from its manifest: {field} is {value!r}, "
                    f"{backup.manifest.get(field)!r} in the manifest; use another backup"
                )


# Packing and publishing -------------------------------------------------------------------------------------------


def pack(source: Path, target: Path) -> str:
    """Compress a verified copy, check that it unpacks to the same bytes, and return the SHA-256 of the result."""
    zstandard = _zstandard(target)
    before, packed, after = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    packing = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()
    with flushed(target), source.open("rb") as plain, target.open("wb") as file:
        for chunk in _chunks(plain, before):
            file.write(packing.compress(chunk))
        file.write(packing.flush())
    with target.open("rb") as written:
        for chunk in _unpacked(target, _chunks(written, packed)):
            after.update(chunk)
    if before.digest() != after.digest():
        raise StorageError(f"{target} does not unpack to what was packed; check the disk")
    return packed.hexdigest()


def unpack(backup: Backup, target: Path) -> None:
    """Copy a backup into a new file, decompressed, and compare what was read with the manifest."""
    refuse_live(backup.path)
    digest = hashlib.sha256()
    with (
        translated_os_errors(backup.path),
        backup.path.open("rb") as source,
        target.open("xb") as plain,
        flushed(target),
    ):
        unpacked = _unpacked if backup.compressed else _unchanged
        for chunk in unpacked(backup.path, _chunks(source, digest)):
            plain.write(chunk)
        plain.flush()
    compare_digest(backup, digest.hexdigest())


def _chunks(source: IO[bytes], digest: Any) -> Iterator[bytes]:
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        yield chunk


def _unchanged(path: Path, chunks: Iterator[bytes]) -> Iterator[bytes]:  # noqa: ARG001 - as _unpacked
    return chunks


def _unpacked(path: Path, chunks: Iterator[bytes]) -> Iterator[bytes]:
    zstandard = _zstandard(path)
    unpacking = zstandard.ZstdDecompressor().decompressobj()
    try:
        for chunk in chunks:
            yield unpacking.decompress(chunk)
    except zstandard.ZstdError as error:
        raise StorageError(f"{path} is damaged: {error}; use another backup") from error
    if not unpacking.eof:
        raise StorageError(f"{path} is damaged: it ends too early; use another backup")


def _zstandard(path: Path) -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise StorageError(f"{path}: compressed backups need zstandard; run: pip install zstandard") from error
    return zstandard


def publish(temporary: Path, final: Path, digest: str, summary: Summary, database: Path, created_at: datetime) -> None:
    """Give a verified, flushed file its final name, with its manifest."""
    manifest = {
        "format_version": _FORMAT_VERSION,
        "created_at": created_at.isoformat(),
        "database": str(database),
        "size": temporary.stat().st_size,
        "sha256": digest,
        **asdict(summary),
    }
    written = manifest_path(final).with_name(f"{final.name}{TEMPORARY}.json")
    with written.open("w", encoding="utf-8") as file_of_text:
        json.dump(manifest, file_of_text, indent=2, sort_keys=True)
        file_of_text.flush()
        os.fsync(file_of_text.fileno())
    written.replace(manifest_path(final))
    temporary.replace(final)
    flush_folder(final.parent)
