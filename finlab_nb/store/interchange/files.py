"""The files of an export: packed as their names say, replaced as a whole, and never the database itself."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, TypeAlias

import zstandard

from finlab_nb.errors import StorageError
from finlab_nb.records import arguments, new_id
from finlab_nb.store.fsync import flush_folder
from finlab_nb.store.registry import is_open_here

Write: TypeAlias = Callable[[bytes], object]

_ENDINGS: Final = (".json", ".json.gz", ".json.zst")
_COMPANIONS: Final = ("", "-wal", "-shm", "-journal")
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 3
_ZSTD_WINDOW_BYTES: Final = 2**27  # what the zstd command unpacks without being asked to


class Source(NamedTuple):
    """An export file that is open for reading as text."""

    read: Callable[[int], str]
    bytes_read: Callable[[], int]
    size: int


def export_path(path: str | os.PathLike[str], database: Path) -> Path:
    """Return the path of an export file as an absolute one.

    Raises
    ------
    ValueError
        If the name has another ending than .json, .json.gz or .json.zst, or the file is part of the database.
    """
    found = arguments.path("path", path)
    if not found.name.lower().endswith(_ENDINGS):
        raise ValueError(f"path is {os.fspath(path)!r}; it must be a file whose name ends in {', '.join(_ENDINGS)}")
    for part in (Path(f"{database}{companion}") for companion in _COMPANIONS):
        if found == part or _same_file(found, part) or is_open_here(found):
            raise ValueError(f"path is {os.fspath(path)!r}; it must be an export file, but belongs to an open database")
    return found


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Write]:
    """Write a new file beside the old one and put it in its place when all is well.

    When this has ended the new file is durable; when it fails the old one is as it was, and nothing else is left.

    Raises
    ------
    StorageError
        If the file or its folder cannot be written.
    """
    temporary = path.with_name(f".{new_id()}.tmp")
    try:
        with temporary.open("xb") as stream:
            with _packed(stream, path.name.lower()) as packed:
                yield packed.write
            stream.flush()
            os.fsync(stream.fileno())
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o777)
        temporary.replace(path)
        flush_folder(path.parent)
    except StorageError:  # some are also an OSError
        raise
    except OSError as error:
        raise StorageError(
            f"the export cannot be written to {path}: {error}; check that the folder exists, that you may write in it "
            "and that the disk is not full, or choose another folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _packed(stream: IO[bytes], name: str) -> AbstractContextManager[Any]:
    if name.endswith(".gz"):
        return gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=stream, mtime=0)
    if name.endswith(".zst"):
        compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        return compressor.stream_writer(stream, closefd=False)
    return contextlib.nullcontext(stream)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Source]:
    """Open an export file.

    Raises
    ------
    StorageError
        If there is none or it cannot be read.
    ValueError
        If it is not packed as its name says, or is not complete.
    """
    try:
        if path.exists() and not path.is_file():
            raise StorageError(f"{path} is no file; give the path of an export file")
        with (
            path.open("rb") as stream,
            _unpacked(stream, path.name.lower()) as unpacked,
            io.TextIOWrapper(unpacked, encoding="utf-8-sig", newline="") as text,
        ):
            yield Source(text.read, stream.tell, os.fstat(stream.fileno()).st_size)
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        raise ValueError(f"$: {path} is damaged, not complete, or not packed as its name says ({error})") from error
    except StorageError:  # some are also an OSError
        raise
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read: {error}; check that the file exists and that you may read it"
        ) from error


def _unpacked(stream: IO[bytes], name: str) -> Any:  # the three have no type in common
    if name.endswith(".gz"):
        return gzip.GzipFile(fileobj=stream, mode="rb")
    if name.endswith(".zst"):
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        return decompressor.stream_reader(stream, read_across_frames=True, closefd=False)
    return stream
