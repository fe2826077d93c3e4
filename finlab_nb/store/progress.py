"""Progress of long work."""

from __future__ import annotations

import sys
from typing import Final

from tqdm import tqdm

_QUIET_SECONDS: Final = 1.0


class ProgressBar(tqdm):  # type: ignore[type-arg]
    """A bar on stderr that appears only when the work takes more than a second."""

    monitor_interval = 0  # without a thread of its own, which would outlive the bar

    def __init__(self, what: str, total: int | None, unit: str, *, shown: bool) -> None:
        super().__init__(
            desc=what,
            total=total,
            unit=unit,
            unit_scale=unit == "B",
            disable=not shown,
            delay=_QUIET_SECONDS,
            leave=total is not None,  # a mere count says nothing afterwards
            file=sys.stderr,
        )
