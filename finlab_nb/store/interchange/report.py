"""What an import did with each iteration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


_OUTSIDE: Final = ("left out", "deleted", "kept")  # not among the iterations of the file that are stored


class Outcome(NamedTuple):
    """What became of an iteration; see `StorageManager.import_results` for the actions."""

    iteration_id: str
    strategy: Any
    iteration_number: Any
    action: str
    changes: str


class ImportedIds(list[str]):
    """The ids of imported iterations, in the order of the file; a notebook shows the report."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        super().__init__(one.iteration_id for one in outcomes if one.action not in _OUTSIDE)
        self._outcomes = outcomes

    @property
    def report(self) -> pd.DataFrame:
        """What became of each iteration: iteration_id, strategy, iteration_number, action, changes."""
        import pandas as pd

        return pd.DataFrame(self._outcomes, columns=Outcome._fields)

    def _repr_html_(self) -> str:
        return str(self.report.to_html())
