"""What travels between stores."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from finlab_nb.store.manager.base import Base, timed

if TYPE_CHECKING:
    from finlab_nb.store.interchange.report import ImportedIds


class Exchange(Base):
    """Exporting and importing."""

    @timed
    def export_results(
        self, iteration_ids: str | Iterable[str], path: str | os.PathLike[str], *, progress: bool = True
    ) -> Path:
        """Write iterations to an export file (JSON) and return its absolute path.

        The file shows one moment of the store and holds everything that `load_iteration` gives, the strategy of each
        iteration and the strategies that it descends from. It is durable when this returns. An existing file of this
        name is replaced as a whole, and stays as it was if the export fails.

        Whatever is stored travels, and arrives as the same rows: also values of another program or an older file that
        today's rules refuse. The format is the newest one: an older release that reads 1.x passes over what it does not
        know, with a warning. Fields later than 1.0 are left out where they have no value. For a merge the file also
        tells when annotations were changed, which iterations applied a suggestion, and which were deleted from the
        store.

        Parameters
        ----------
        iteration_ids
            One id or several, in the order wanted; an id given twice is written once.
        path
            The file; its ending ``.json``, ``.json.gz`` or ``.json.zst`` says how it is compressed.
        progress
            Show a progress bar on stderr when it takes more than a second.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        IterationNotFoundError
            If there is no such iteration.
        StorageError
            If the file cannot be written, an iteration is too large for an import, or another program has stored an id
            that is no text in UTF-8; the message names table and row.
        ValueError
            If an argument is wrong, or the path has another ending or belongs to a database.

        Examples
        --------
        >>> from finlab_nb import StorageManager
        >>> import tempfile
        >>> with StorageManager(":memory:") as store, tempfile.TemporaryDirectory() as folder:
        ...     iteration = store.save_iteration(store.save_strategy_version("momentum", "signal = ..."))
        ...     store.export_results([iteration], Path(folder, "momentum.json.gz")).name
        'momentum.json.gz'
        """
        from finlab_nb.store import interchange

        return interchange.export_results(self.pool, iteration_ids, path, progress=progress)

    @timed
    def import_results(
        self,
        path: str | os.PathLike[str],
        mode: str = "copy",
        *,
        deleted: str = "apply",
        progress: bool = True,
    ) -> ImportedIds:
        """Store the iterations of an export file, all of them or none, and return their ids in the order of the file.

        The whole file is checked before anything is written. Files of every format 1.x are accepted. Fields that a
        newer version has added are left out, and one `NewerFormatWarning` names them. Values that a file carries as
        they were stored, because today's rules refuse them, are stored like that again; one `BadDataWarning` counts
        those that break a rule, and `check` lists them. Files of the original layer, whose iterations have no
        ``strategy``, are accepted too: an unknown strategy_id gets a strategy made from the iteration's code. Dates
        with an offset are days or moments as in `save_iteration`; times without one are UTC where the iteration has a
        timezone.

        Parameters
        ----------
        path
            The file, compressed as its ending says: ``.json``, ``.json.gz`` or ``.json.zst``.
        mode
            ``"copy"`` gives new ids to iterations and strategies and maps parents and applied suggestions to them;
            references to an iteration outside the file become unknown. ``"merge"`` keeps the ids, so that copies of a
            store that went apart become one again. What the store has already must be the same in its inputs and
            results, as far as the format of the file can tell them, and in its provenance if both have one; where the
            store has none it takes that of the file. Of note, starred, archived, each tag and the status of each
            suggestion the newest change counts (those of formats before 1.3 have no time and never do), and links of
            suggestions are added. A newcomer whose iteration_number is taken gets the next free one.
        deleted
            What a merge does about iterations that one of the two stores had and deleted. ``"apply"`` deletes what was
            deleted elsewhere, unless it was changed here since then, and leaves out what was deleted here. ``"keep"``
            leaves out, but deletes nothing. ``"revive"`` keeps and stores what is there, and where the result is
            merged later, it is back too.
        progress
            Show a progress bar on stderr when it takes more than a second.

        Returns
        -------
        list of str
            The ids of the iterations, as stored, without those left out. Its attribute ``report`` is a DataFrame of
            iteration_id, strategy (its name), iteration_number, action and changes (the fields that are other now, as
            text). Actions are added, renumbered, updated, unchanged and left out, and of those that were deleted
            elsewhere deleted and kept.

        Raises
        ------
        ValueError
            If the file or an argument is wrong, or an iteration differs from the stored one with its id; the message
            begins with the JSON path, such as ``$.iterations[3].trades[7].entry_price``.
        StorageError
            If the file cannot be read or the database cannot be written.

        Examples
        --------
        >>> from finlab_nb import StorageManager
        >>> import tempfile
        >>> with StorageManager(":memory:") as store, tempfile.TemporaryDirectory() as folder:
        ...     saved = [store.save_iteration(store.save_strategy_version("momentum", "signal = ..."))]
        ...     path = store.export_results(saved, Path(folder, "momentum.json"))
        ...     store.import_results(path, mode="merge") == saved, store.import_results(path) == saved
        (True, False)
        """
        from finlab_nb.store import interchange

        return interchange.import_results(self.pool, path, mode, deleted=deleted, progress=progress)
