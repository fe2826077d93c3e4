"""Where the figures of an iteration come from, and by what the same result is known again."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from finlab_nb.records.parameters import parameters_text
from finlab_nb.records.plain import is_missing
from finlab_nb.records.tables import PROVENANCE
from finlab_nb.records.values import filled_text, known_keys, named, number, refusal, text, whole

PROVENANCE_FIELDS: Final = PROVENANCE.names_without("iteration_id")
_SMALLEST_WHOLE: Final = -(2**63)

if TYPE_CHECKING:
    from finlab_nb.records import Iteration


@dataclass(frozen=True, slots=True)
class Provenance:
    """One row of the table, without the iteration; None is unknown."""

    engine: str | None = None
    engine_version: str | None = None
    code_hash: str | None = None
    packages: str | None = None
    data_fingerprint: str | None = None
    seed: int | None = None
    duration: float | None = None
    host: str | None = None
    result_hash: str | None = None


def provenance_record(given: Any, *, exact: bool = False) -> Provenance:
    """Check where an iteration comes from: a dict with any of the columns of ``provenance``.

    Parameters
    ----------
    given
        ``engine, engine_version, host`` and the hashes are text that is not empty, ``data_fingerprint`` is text,
        ``packages`` a dict of versions by name, ``seed`` a whole number of 64 bits, ``duration`` seconds.
    exact
        As in `iteration_record`.
    """
    fields = dict(named("provenance", given, "a dict of what is known of the origin"))
    known_keys("provenance", fields, PROVENANCE_FIELDS)
    checks: Mapping[str, Any] = {
        "packages": lambda field, value: parameters_text(field, value, exact=exact),
        "data_fingerprint": text,
        "seed": lambda field, value: whole(field, value, _SMALLEST_WHOLE),
        "duration": _seconds,
    }
    found = {
        name: checks.get(name, filled_text)(f"provenance.{name}", value)
        for name, value in fields.items()
        if name in PROVENANCE_FIELDS and not is_missing(value)
    }
    return Provenance(**found)


def code_hash(code: str) -> str:
    """Return the SHA-256 of code, in hexadecimal digits."""
    return hashlib.sha256(code.encode("utf-8")).hexdigest()


def result_hash(iteration: Iteration) -> str:
    """Return the SHA-256 of what a backtest gave and with which parameters: the same result has the same one.

    Suggestions, notes and tags are no part of it, nor are number and time of the iteration.
    """
    digest = hashlib.sha256()
    heading = (
        iteration.parameters,
        iteration.initial_capital,
        iteration.timezone,
        iteration.periods_per_year,
        iteration.currency,
        iteration.metrics,
        iteration.extra_metrics,
    )
    digest.update(repr(heading).encode("utf-8"))
    digest.update(repr(iteration.trades).encode("utf-8"))
    if iteration.equity:
        dates, values = zip(*iteration.equity, strict=True)
        digest.update(",".join(dates).encode("utf-8"))
        digest.update(array("d", values).tobytes())
    return digest.hexdigest()


def _seconds(field: str, value: object) -> float:
    found = number(field, value)
    if found < 0:
        raise refusal(field, value, "a number of seconds, 0 or more", int, float)
    return found
