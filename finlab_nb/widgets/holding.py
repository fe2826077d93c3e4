"""How long a widget holds the lab that it shows.

ipywidgets keeps every widget until it is closed, because a page may show it, and no page tells when it shows it no
longer. But running a cell again takes away what the cell has shown before. So what only earlier runs of a cell have
shown holds its lab no longer: it goes on as long as somebody else holds the lab. JupyterLab tells the kernel which cell
runs; where nothing does, a widget holds its lab until one of the two is closed.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

from finlab_nb.errors import StoreClosedError

if TYPE_CHECKING:
    from finlab_nb.query.frames import Frames
    from finlab_nb.store.manager import StorageManager

_shown: dict[str, tuple[str, weakref.WeakSet[Holding]]] = {}  # by cell: its last run, and what that has shown


class Holding:
    """The frames of a lab, and its store if the widget may change it.

    Parameters
    ----------
    frames, store
        Those of the lab.

    Attributes
    ----------
    cells
        The cells that have shown the widget; "" stands for one that is unknown.
    """

    def __init__(self, frames: Frames, store: StorageManager | None) -> None:
        self._frames = weakref.ref(frames)
        self._store = None if store is None else weakref.ref(store)
        self.cells: set[str] = set()
        self._held: list[object] = [frames, store]

    @property
    def frames(self) -> Frames:
        """The frames.

        Raises
        ------
        StoreClosedError
            If nobody holds them any more; so do the others.
        """
        frames = self._frames()
        if frames is None:
            raise _gone()
        return frames

    @property
    def store(self) -> StorageManager:
        """The store, of a widget that has one."""
        store = None if self._store is None else self._store()
        if store is None:
            raise _gone()
        return store

    @property
    def changes(self) -> bool:
        """Whether the widget may change what is stored."""
        return self._store is not None

    def note_shown(self) -> None:
        """Hold the lab for the cell that runs, and have what its earlier runs have shown let go of theirs."""
        cell, run = _running()
        last_run, shown = _shown.get(cell, ("", weakref.WeakSet[Holding]()))
        if run != last_run:
            for one in shown:
                if one.cells == {cell}:
                    one.let_go()
            shown = weakref.WeakSet()
        self.cells.add(cell)
        self._held = [self._frames(), self._store and self._store()]
        if cell:
            shown.add(self)
            _shown[cell] = run, shown

    def let_go(self) -> None:
        """Hold the lab no longer."""
        self._held = []


def _gone() -> StoreClosedError:
    return StoreClosedError("the lab that this shows is closed; run the cell that shows it again")


def _running() -> tuple[str, str]:
    """Return which cell runs, and which of its runs it is; both are empty if that is unknown."""
    shell: Any = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    message = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return str(message.get("metadata", {}).get("cellId", "")), str(message.get("header", {}).get("msg_id", ""))
