"""The folder of the cache: where it is, who may write in it, and what is removed from it.

Several kernels share the folder of a database. A file is written under a temporary name and renamed, and one kernel at
a time writes segments of a table, for which it holds the table's lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from finlab_nb.query.replica.segment_files import (
    DESCRIPTION_ENDING,
    FORMAT,
    ROWS_ENDING,
    TEMPORARY_ENDING,
    Segment,
    described,
)
from finlab_nb.records import new_id
from finlab_nb.store.file_lock import FileLock
from finlab_nb.store.forks import TemporaryFolder

_OLD_SECONDS: Final = 3600.0
_GENERATION: Final = re.compile(r"[0-9a-f]{16}(\.-?\d+)+")
_PATTERN: Final = re.compile(r"[*?\[]")  # in a path, DuckDB takes these for a pattern


class CacheFolder:
    """The cache of one database, in a folder of its own, because queries can read all that is in it.

    Parameters
    ----------
    database
        The database file.
    wanted
        The folder to put it in; by default beside the database, or, if nothing can be written there, a temporary one.

    Attributes
    ----------
    path
        The folder.
    shown
        The path by which DuckDB knows it.
    is_temporary
        Whether it ends with this process.

    Raises
    ------
    OSError
        If nothing can be written in the wanted folder.
    """

    def __init__(self, database: Path, wanted: Path | None) -> None:
        self._temporary: list[TemporaryFolder] = []
        self.path, self.is_temporary = self._made(database, wanted)
        self.shown = self._without_pattern(self.path)

    def generation(self, generation: str, schema_version: int) -> SegmentFolder:
        """Return the folder for the segments of one generation of the store under one schema."""
        return SegmentFolder(self, f"{generation}.{schema_version}.{FORMAT}")

    def clear(self) -> None:
        """Remove all segments, except files that another program holds open."""
        for folder in self.path.iterdir() if self.path.is_dir() else ():
            if _GENERATION.fullmatch(folder.name):
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove what is temporary."""
        for folder in self._temporary:
            folder.remove()

    def _made(self, database: Path, wanted: Path | None) -> tuple[Path, bool]:
        name = f"{database.name}.cache"
        if wanted is not None:  # where databases of one name may meet
            name = f"{database.name}.{hashlib.sha256(str(database).encode()).hexdigest()[:8]}.cache"
        root = (database.parent if wanted is None else wanted) / name
        if database.is_relative_to(root):
            root = root / root.name
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=root):
                return root, False
        except OSError:
            if wanted is not None:
                raise
        return self._new_temporary("cache"), True

    def _without_pattern(self, path: Path) -> Path:
        if not _PATTERN.search(str(path)):
            return path
        link = self._new_temporary("link") / "cache"
        try:
            link.symlink_to(path, target_is_directory=True)
        except OSError:  # Windows wants a privilege for it, and takes no such characters but brackets
            self.path, self.is_temporary = self._new_temporary("cache"), True
            return self.path
        return link

    def _new_temporary(self, purpose: str) -> Path:
        self._temporary.append(TemporaryFolder(purpose))
        return self._temporary[-1].path


class SegmentFolder:
    """The segments of one generation of one store."""

    def __init__(self, cache: CacheFolder, name: str) -> None:
        self.path = cache.path / name
        self._shown = cache.shown / name
        self._known: dict[str, Segment | None] = {}  # by the name of the description; None if it cannot be used

    def new_path(self, table: str) -> Path:
        """Return a temporary path in this folder for rows to be published."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self._shown / f"{table}.{new_id()}{TEMPORARY_ENDING}"

    def segments(self, table: str) -> list[Segment]:
        """Return the segments of a table that are in the folder and look whole."""
        found = []
        for path in self._shown.glob(f"{table}.*{DESCRIPTION_ENDING}"):
            if path.name not in self._known:
                self._known[path.name] = described(path)
            segment = self._known[path.name]
            if segment is not None and segment.table == table and segment.path.exists():
                found.append(segment)
        return found

    def known(self) -> list[Segment]:
        """Return all segments that have been found so far and can be used."""
        return [one for one in self._known.values() if one is not None]

    def remove(self, segment: Segment) -> None:
        """Remove a segment that is not what was written."""
        self._known[segment.path.with_suffix(DESCRIPTION_ENDING).name] = None
        segment.remove()

    def lock(self, table: str) -> FileLock:
        """Return the lock that whoever writes segments of a table holds."""
        return FileLock(self.path / f"{table}.lock")

    def remove_old(self, used: Iterable[Segment]) -> None:
        """Remove files that are no longer valid, once they are so old that no kernel can still be reading them."""
        keep = {one.path.stem for one in used}
        with contextlib.suppress(OSError):
            for path in self.path.iterdir():
                is_ours = path.suffix in (ROWS_ENDING, DESCRIPTION_ENDING, TEMPORARY_ENDING)
                if is_ours and path.stem not in keep and _age(path) > _OLD_SECONDS:
                    path.unlink()
            for folder in self.path.parent.iterdir():
                if folder != self.path and _GENERATION.fullmatch(folder.name) and _age(folder) > _OLD_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime
