"""What a disk may hold after a power cut: a record of what SQLite does to its files, and its replay up to any moment.

`Recorder` stands under the SQLite of its process, as the default VFS, and notes what SQLite does to the database, its
log and its journals. `Disk` takes these events one by one. What was flushed is there after a cut; what came later may
be there, missing or torn, and a name that was made or removed since the folder was flushed may or may not be as before.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
import random
import sqlite3
import threading
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_void_p, cast, string_at
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

SECTOR: Final = 512
_MAIN_DB, _MAIN_JOURNAL, _SUPER_JOURNAL, _WAL = 0x100, 0x800, 0x4000, 0x80000  # SQLITE_OPEN_...
_LASTING: Final = _MAIN_DB | _MAIN_JOURNAL | _SUPER_JOURNAL | _WAL  # the others are temporary


# Events -----------------------------------------------------------------------------------------------------------


class Created(NamedTuple):
    """A name of the folder stands for a new file from now on."""

    name: str
    file: int


class Deleted(NamedTuple):
    """A name of the folder stands for nothing from now on, as soon as SQLite tries to remove it."""

    name: str


class Written(NamedTuple):
    """Bytes at a place of a file."""

    file: int
    offset: int
    data: bytes


class Truncated(NamedTuple):
    """A file has this size."""

    file: int
    size: int


class Flushed(NamedTuple):
    """What the first `covered` events did to a file is durable; None is the folder."""

    file: int | None
    covered: int


class Mark(NamedTuple):
    """A note of the process itself."""

    note: Any


_Change: TypeAlias = Written | Truncated
_NameChange: TypeAlias = Created | Deleted
Event: TypeAlias = _NameChange | _Change | Flushed | Mark


# The recorder -----------------------------------------------------------------------------------------------------

_OPEN: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_DELETE: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_SET_SYSTEM_CALL: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
_GET_SYSTEM_CALL: Final = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_char_p)
_OPEN_DIRECTORY: Final = ctypes.CFUNCTYPE(c_int, c_char_p, c_void_p)
_WRITE: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_int)


class _Vfs(ctypes.Structure):
    """sqlite3_vfs of version 3; what is passed on as it is has no type."""

    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("longest_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", _OPEN),
        ("delete", _DELETE),
        ("others", c_void_p * 11),  # xAccess to xCurrentTimeInt64
        ("set_system_call", _SET_SYSTEM_CALL),
        ("get_system_call", _GET_SYSTEM_CALL),
        ("next_system_call", c_void_p),
    )


class _Methods(ctypes.Structure):
    """sqlite3_io_methods of version 3."""

    _fields_ = (
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", _WRITE),
        ("truncate", _TRUNCATE),
        ("sync", _SYNC),
        ("others", c_void_p * 13),  # xFileSize to xUnfetch
    )


_kept: Final[list[Any]] = []  # what SQLite calls, or looks at, until the process ends


def _keep(kept: Any) -> Any:
    _kept.append(kept)
    return kept


class Recorder:
    """Notes what the SQLite of this process does in a folder from now on, until the process ends.

    Raises
    ------
    RuntimeError
        If Python's SQLite does not let itself be reached, or has no VFS as it is known here.
    """

    def __init__(self, folder: Path) -> None:
        self.events: list[Event] = []
        self._folder = folder.resolve()
        self._lock = threading.Lock()
        self._names: dict[str, int] = {}  # the file that each name stands for
        self._files: dict[int, int] = {}  # the file of each sqlite3_file, by its address
        self._tables: dict[int, _Methods] = {}  # ours for each table of methods, by its address
        self._count = 0
        library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))  # finds what the module itself is linked with
        try:
            find, register = library.sqlite3_vfs_find, library.sqlite3_vfs_register
        except AttributeError as error:
            raise RuntimeError(
                "Python's SQLite keeps its functions to itself, so that nothing can be recorded"
            ) from error
        find.restype, find.argtypes, register.argtypes = POINTER(_Vfs), [c_char_p], [c_void_p, c_int]
        self._real = find(None)
        if self._real.contents.version < 3:
            raise RuntimeError(f"SQLite {sqlite3.sqlite_version} has a VFS of an older version")
        ours = _Vfs.from_buffer_copy(self._real.contents)
        ours.name = b"recorder"
        ours.open, ours.delete = _keep(_OPEN(self._open)), _keep(_DELETE(self._delete))
        self._replace_open_directory()
        register(byref(_keep(ours)), 1)

    def mark(self, note: Any) -> None:
        """Add a note of this process."""
        self.events.append(Mark(note))

    def _name(self, path: bytes) -> str | None:
        """Return the name of a file, if it is in the folder."""
        found = Path(os.fsdecode(path))
        return found.name if found.parent == self._folder else None

    def _replace_open_directory(self) -> None:
        """Learn when SQLite flushes a folder: it opens one for nothing else."""
        vfs, name = self._real.contents, b"openDirectory"
        real = _OPEN_DIRECTORY(vfs.get_system_call(self._real, name))

        def open_directory(path: bytes, descriptor: int) -> int:
            if self._name(path) is not None:
                self.events.append(Flushed(None, len(self.events)))
            return real(path, descriptor)

        ours = _keep(_OPEN_DIRECTORY(open_directory))
        if vfs.set_system_call(self._real, name, cast(ours, c_void_p)) != 0:
            raise RuntimeError("SQLite does not let its flushing of folders be noticed")

    def _open(self, _: int, path: int, file: int, flags: int, flags_out: int) -> int:
        status = self._real.contents.open(cast(self._real, c_void_p), path, file, flags, flags_out)
        name = self._name(string_at(path)) if path and flags & _LASTING else None
        if status == 0 and name is not None:
            methods = c_void_p.from_address(file)
            with self._lock:
                if name not in self._names:
                    self._count += 1
                    self._names[name] = self._count
                    self.events.append(Created(name, self._count))
                self._files[file] = self._names[name]
                if methods.value not in self._tables:
                    self._tables[methods.value] = _keep(self._recording(_Methods.from_address(methods.value)))
            methods.value = ctypes.addressof(self._tables[methods.value])
        return status

    def _delete(self, _: int, path: bytes, flush_folder: int) -> int:
        name = self._name(path)
        with self._lock:
            if self._names.pop(name, None) is not None:
                self.events.append(Deleted(name))
        return self._real.contents.delete(cast(self._real, c_void_p), path, flush_folder)

    def _recording(self, real: _Methods) -> _Methods:
        """Return a table of methods that notes what goes to the disk, and calls those of another one."""

        def write(file: int, data: int, size: int, offset: int) -> int:
            status = real.write(file, data, size, offset)
            if status == 0:
                self.events.append(Written(self._files[file], offset, string_at(data, size)))
            return status

        def truncate(file: int, size: int) -> int:
            status = real.truncate(file, size)
            if status == 0:
                self.events.append(Truncated(self._files[file], size))
            return status

        def sync(file: int, flags: int) -> int:
            covered = len(self.events)  # others may write while the disk is busy
            status = real.sync(file, flags)
            if status == 0:
                self.events.append(Flushed(self._files[file], covered))
            return status

        ours = _Methods.from_buffer_copy(real)
        ours.write, ours.truncate, ours.sync = map(_keep, (_WRITE(write), _TRUNCATE(truncate), _SYNC(sync)))
        return ours


# The disk ---------------------------------------------------------------------------------------------------------


class Disk:
    """The files of a folder while events happen to it: what is durable, and what is on its way."""

    def __init__(self) -> None:
        self._events = 0
        self._files: dict[int, bytearray] = {}
        self._names: dict[str, int] = {}
        self._changes: dict[int, list[tuple[int, _Change]]] = {}
        self._name_changes: list[tuple[int, _NameChange]] = []

    def take(self, event: Event) -> None:
        """Let the next event happen."""
        match event:
            case Created():
                self._files[event.file] = bytearray()
                self._changes[event.file] = []
                self._name_changes.append((self._events, event))
            case Deleted():
                self._name_changes.append((self._events, event))
            case Written() | Truncated():
                self._changes[event.file].append((self._events, event))
            case Flushed(file=None):
                for number, change in self._name_changes:
                    if number < event.covered:
                        _rename(self._names, change)
                self._name_changes = [one for one in self._name_changes if one[0] >= event.covered]
            case Flushed():
                for number, written in self._changes[event.file]:
                    if number < event.covered:
                        _apply(self._files[event.file], written)
                self._changes[event.file] = [one for one in self._changes[event.file] if one[0] >= event.covered]
        self._events += 1

    def whole(self) -> dict[str, bytes]:
        """Return the files as every process sees them while the power is on."""
        return self._files_if(len(self._name_changes), lambda change: [change])

    def after_cut(self, chance: random.Random) -> dict[str, bytes]:
        """Return the files as they may be when the power comes back."""
        likely = chance.choice([0.0, 0.1, 0.5, 0.9, 1.0])

        def survivors(change: _Change) -> list[_Change]:
            return [change] if chance.random() < likely else _torn(change, chance)

        return self._files_if(chance.randint(0, len(self._name_changes)), survivors)

    def _files_if(self, renamed: int, survivors: Callable[[_Change], list[_Change]]) -> dict[str, bytes]:
        """Return the files if the first changes of names were kept, and of other changes what `survivors` gives."""
        names = dict(self._names)
        for _, change in self._name_changes[:renamed]:
            _rename(names, change)
        found = {}
        for name, file in names.items():
            data = bytearray(self._files[file])
            for _, change in self._changes[file]:
                for survivor in survivors(change):
                    _apply(data, survivor)
            found[name] = bytes(data)
        return found


def _torn(change: _Change, chance: random.Random) -> list[_Change]:
    """Return what is left of a change that the cut has hit: nothing, its beginning, or some of its sectors."""
    form = chance.choice(["nothing", "beginning", "sectors"])
    if form == "nothing" or isinstance(change, Truncated):
        return []
    if form == "beginning":
        return [change._replace(data=change.data[: chance.randint(1, len(change.data))])]
    pieces = []
    place = change.offset
    while place < change.offset + len(change.data):
        end = place - place % SECTOR + SECTOR
        if chance.random() < 0.5:
            pieces.append(Written(change.file, place, change.data[place - change.offset : end - change.offset]))
        place = end
    return pieces


def _apply(data: bytearray, change: _Change) -> None:
    if isinstance(change, Truncated):
        del data[change.size :]
        data.extend(bytes(change.size - len(data)))
        return
    data.extend(bytes(max(0, change.offset - len(data))))
    data[change.offset : change.offset + len(change.data)] = change.data


def _rename(names: dict[str, int], change: _NameChange) -> None:
    if isinstance(change, Created):
        names[change.name] = change.file
    else:
        names.pop(change.name, None)
