"""One connection to the database file: how it is set up, which file it has opened, and what its errors mean."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

from finlab_nb.errors import StorageError
from finlab_nb.store import checkpoint

PATIENCE_SECONDS: Final = 10.0  # how long a reader waits for locks of others
_SETTINGS: Final = (
    "PRAGMA foreign_keys = ON",
    # Records are checked before they get here; the CHECKs of the schema are for other programs. They cost a third of a
    # save, and would prevent changes to an adopted row that violates one.
    "PRAGMA ignore_check_constraints = ON",
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA cache_size = -16384",
    f"PRAGMA journal_size_limit = {checkpoint.WAL_BYTES}",
)

FileIdentity: TypeAlias = tuple[int, int, int]

_EXPLANATIONS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space and save again, nothing of this save was written",
    sqlite3.SQLITE_READONLY: "the file, its -wal and -shm beside it or the folder is read-only; make them writable, or "
    "work on a copy elsewhere",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that the folder exists, that it and the file are readable and "
    "writable, and that the path is no folder",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database; nothing was changed; choose another file, or restore a backup "
    "if it was one",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; keep a copy of it and restore the newest backup",
    sqlite3.SQLITE_IOERR: "the disk failed or is full; free some space, check the disk, and save again",
    sqlite3.SQLITE_BUSY: "another program holds a lock on it for too long; end that program or wait for it",
    sqlite3.SQLITE_TOOBIG: "a text is larger than SQLite can store (1 GB)",
}


class Connection(sqlite3.Connection):
    """A connection that knows which file it opened."""

    file: FileIdentity | None


def connect(path: Path, *, create: bool = False) -> Connection:
    """Open a connection that begins transactions only when told to."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={'rwc' if create else 'rw'}",  # a file that is gone must not come back empty
        uri=True,
        timeout=PATIENCE_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=Connection,
    )
    try:
        for setting in _SETTINGS:
            connection.execute(setting).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def file_identity(path: Path) -> FileIdentity:
    """Return what distinguishes the file that has this name now from any other."""
    try:
        status = os.stat(path)  # noqa: PTH116 - called before every question, and this is the fast way
    except FileNotFoundError as error:
        raise StorageError(
            f"the database {path} has disappeared; put the file back, or restore a backup, and go on"
        ) from error
    except OSError as error:
        raise StorageError(f"the database {path} cannot be reached: {error}") from error
    if status.st_size == 0:
        raise StorageError(
            f"the database {path} is an empty file now; put the file back, or restore a backup, and go on"
        )
    return status.st_dev, status.st_ino, status.st_mode  # the mode, because a connection opened read-only stays so


def spoils(error: BaseException) -> bool:
    """Tell whether the error makes its connection unusable: a failure, or an interrupt between two steps."""
    return (
        not isinstance(error, Exception)
        or isinstance(error, sqlite3.Error)
        or isinstance(error.__cause__, sqlite3.Error)
    )


class CallersError(Exception):
    """Carries an error of SQLite in a caller's own code past the translation: it is not about this database."""

    def __init__(self, error: sqlite3.Error) -> None:
        super().__init__(str(error))
        self.error = error


@contextlib.contextmanager
def callers_code() -> Iterator[None]:
    """Enclose code that is the caller's: a generator that is given, the body of a transaction."""
    try:
        yield
    except sqlite3.Error as error:
        raise CallersError(error) from error


@contextlib.contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Turn SQLite errors into a StorageError that says what to do, except those of the caller's code."""
    try:
        yield
    except CallersError as carried:
        raise carried.error from carried.error.__cause__
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        explanation = _EXPLANATIONS.get(code)
        raise StorageError(f"{path}: {explanation} ({error})" if explanation else f"{path}: {error}") from error
