"""What a researcher changes and removes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from finlab_nb.records import SUGGESTION_STATES, arguments
from finlab_nb.store import deleting, saving
from finlab_nb.store import series as series_by_name
from finlab_nb.store.manager.base import Base, timed


class Changes(Base):
    """Annotating and deleting."""

    @timed
    def annotate(
        self,
        iteration_id: str,
        *,
        note: str | None = None,
        starred: bool | None = None,
        archived: bool | None = None,
        add_tags: str | Iterable[str] = (),
        remove_tags: str | Iterable[str] = (),
    ) -> None:
        """Change a researcher's annotations of an iteration.

        Parameters
        ----------
        iteration_id
            The iteration.
        note
            Free text; empty text removes the note, None leaves it unchanged.
        starred, archived
            Whether the iteration is; None leaves it unchanged.
        add_tags, remove_tags
            One tag or several. A tag in both is added.

        Raises
        ------
        ValueError
            If an argument is wrong.
        IterationNotFoundError
            If there is no such iteration.
        """
        wanted = arguments.filled_text("iteration_id", iteration_id)
        changes: dict[str, object] = {}
        if note is not None:
            changes["note"] = arguments.text("note", note) or None
        if starred is not None:
            changes["starred"] = arguments.flag("starred", starred)
        if archived is not None:
            changes["archived"] = arguments.flag("archived", archived)
        added, removed = arguments.texts("add_tags", add_tags), arguments.texts("remove_tags", remove_tags)
        with saving.writing(self.pool) as connection:
            saving.annotate(connection, wanted, changes, added, removed)

    @timed
    def set_suggestion_status(self, suggestion_id: int, status: str, applied_iteration_id: str | None = None) -> None:
        """Record what became of a suggestion.

        Which iterations have applied it is kept, whatever its status becomes. An applied suggestion is open again when
        the last iteration that applied it is deleted; one that was applied without an iteration stays so.

        Parameters
        ----------
        suggestion_id
            The suggestion: a number, as `load_iteration` and `Lab.suggestions` give it.
        status
            open, applied or rejected.
        applied_iteration_id
            An iteration that applied it, in addition to those known already; only with the status applied.

        Raises
        ------
        ValueError
            If an argument is wrong, or names an iteration although the status is not applied.
        SuggestionNotFoundError, IterationNotFoundError
            If there is no such suggestion or iteration.
        """
        wanted = arguments.whole("suggestion_id", suggestion_id, 1)
        state = arguments.one_of("status", status, SUGGESTION_STATES)
        applied = None
        if applied_iteration_id is not None:
            applied = arguments.filled_text("applied_iteration_id", applied_iteration_id)
            if state != "applied":
                raise ValueError(f"applied_iteration_id is {applied!r}; it must be None unless the status is 'applied'")
        with saving.writing(self.pool) as connection:
            saving.set_suggestion_status(connection, "suggestion_id", wanted, state, applied)

    @timed
    def delete_iteration(self, iteration_id: str) -> None:
        """Remove an iteration with its metrics, trades, equity, suggestions, tags and provenance.

        An applied suggestion that no other iteration has applied is open again.

        Parameters
        ----------
        iteration_id
            The iteration.

        Raises
        ------
        IterationNotFoundError
            If there is no such iteration.
        ValueError
            If the id is not text, or is empty.
        """
        wanted = arguments.filled_text("iteration_id", iteration_id)
        with saving.writing(self.pool) as connection:
            deleting.delete_iteration(connection, wanted)

    @timed
    def delete_strategy(self, strategy_id: str, *, cascade: bool = False) -> None:
        """Remove a strategy version.

        Other programs can save meanwhile: after each half second of work what was removed is committed, always whole
        iterations. If the call is interrupted, those go that are left, with the strategy, when it is called again.
        Inside `transaction()` all of it is one transaction.

        Parameters
        ----------
        strategy_id
            The strategy version.
        cascade
            Also remove its iterations, and all strategy versions made from it with their iterations.

        Raises
        ------
        StrategyNotFoundError
            If there is no such strategy.
        StorageError
            If it has iterations or children and `cascade` is False; nothing is removed.
        ValueError
            If an argument is wrong.
        """
        wanted, with_all = arguments.filled_text("strategy_id", strategy_id), arguments.flag("cascade", cascade)
        seconds = math.inf if self.pool.own_transaction() else deleting.SLICE_SECONDS
        done = False
        while not done:
            with saving.writing(self.pool) as connection:
                done = deleting.delete_strategy(connection, wanted, cascade=with_all, seconds=seconds)
            if not done:
                time.sleep(deleting.PAUSE_SECONDS)

    @timed
    def delete_series(self, name: str) -> None:
        """Remove a series.

        Parameters
        ----------
        name
            Its name.

        Raises
        ------
        SeriesNotFoundError
            If no series has this name.
        ValueError
            If the name is not text, or is empty.
        """
        wanted = arguments.filled_text("name", name)
        with saving.writing(self.pool) as connection:
            series_by_name.delete(connection, wanted)
