"""What a forked child leaves to its parent, however the child ends: temporary folders, and objects in use.

A child has a copy of every object, and the end of an object acts on the world: the finalizer of
`tempfile.TemporaryDirectory` removes the folder of the parent, closing a connection writes to the log that the parent
is writing, and a closed pipe stops the parent's reader. The interpreter ends all objects when the child does.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Self


def leave_to_parent(*inherited: object) -> None:
    """Keep these objects of a forked child from ever ending."""
    for one in inherited:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))


class TemporaryFolder:
    """A new folder that is removed by `remove`, with this object or at the end of the process, but not by a fork.

    Parameters
    ----------
    purpose
        A part of its name.
    parent
        The folder in which it is, instead of the one for temporary files.
    """

    def __init__(self, purpose: str, parent: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"finlab_nb_{purpose}_", dir=parent)).resolve()
        self._finalizer = weakref.finalize(self, _remove, self.path, os.getpid())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove the folder and what is in it, unless this process was forked since. Removing it twice is fine."""
        self._finalizer()


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)
