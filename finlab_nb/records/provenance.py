"""Where the figures of an iteration come from, and by what the same result is known again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from finlab_nb.records.metrics import METRICS
from finlab_nb.records.parameters import parameters_text
from finlab_nb.records.plain import floats, is_missing
from finlab_nb.records.tables import PROVENANCE, TRADE_COLUMNS, Column
from finlab_nb.records.values import filled_text, known_keys, named, number, refusal, text, whole

PROVENANCE_FIELDS: Final = PROVENANCE.names_without("iteration_id")
_SMALLEST_WHOLE: Final = -(2**63)
_ACCOUNT: Final = ("initial_capital", "timezone", "periods_per_year", "currency")
# What follows from a curve, and from trades: last digits depend on the computer, and the definitions on the release.
_OF_CURVE: Final = frozenset({"annualized_return", "sharpe_ratio", "max_drawdown", "total_return"})
_OF_TRADES: Final = frozenset({"win_rate", "total_trades", "open_trades"})
_CHECKS: Final = "check."  # extra metrics that tell what was found out about a result

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
    if isinstance(given, Provenance):  # which was checked before
        return given
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


def code_hash(code: str | bytes) -> str:
    """Return the SHA-256 of code in UTF-8, in hexadecimal digits; of broken text, that of its bytes."""
    return hashlib.sha256(code.encode("utf-8") if isinstance(code, str) else code).hexdigest()


def outcome_hash(iteration: Iteration) -> str:
    """Return the SHA-256 of what a backtest gave: of account, curve, trades, and the figures that do not follow.

    Equal numbers count as the same, and names in any order. Notes, tags and suggestions are no part of it, nor are
    number, time and origin of the iteration, nor what checks found out about it.
    """
    columns = zip(TRADE_COLUMNS, iteration.trades.columns, strict=False)  # none without trades
    known = [(column, values) for column, values in columns if values.count(None) < len(values)]
    dates, amounts = iteration.equity.columns
    heading = {
        **{name: getattr(iteration, name) for name in _ACCOUNT},
        "figures": _figures(iteration),
        "columns": [column.name for column, _ in known],
        "trades": len(iteration.trades),
        "points": len(iteration.equity),
    }
    digest = hashlib.sha256(_canonical(json.dumps(heading)))
    for column, values in known:
        digest.update(_packed(column, values))
    digest.update("\n".join(dates).encode("utf-8"))
    digest.update(_bytes_of(np.array(amounts, dtype=np.float64)))
    return digest.hexdigest()


def result_hash(outcome: str, parameters: str | bytes | None) -> str:
    """Return the SHA-256 of an outcome and of the parameters that led to it, which are JSON."""
    try:
        form = _canonical(parameters or "{}")
    except (ValueError, TypeError, RecursionError):  # another program's
        form = repr(parameters).encode("utf-8")
    return hashlib.sha256(outcome.encode("ascii") + form).hexdigest()


def _figures(iteration: Iteration) -> dict[str, float]:
    """Return the metrics that do not follow from curve and trades, or were given though these give others."""
    derived = (_OF_CURVE if iteration.equity else frozenset()) | (_OF_TRADES if iteration.trades else frozenset())
    derived -= {name for name, _ in iteration.given}
    named = (*zip(METRICS, iteration.metrics, strict=True), *iteration.extra_metrics)
    return {
        name: value
        for name, value in named
        if value is not None and name not in derived and not name.startswith(_CHECKS)
    }


def _packed(column: Column, values: Sequence[Any]) -> bytes:
    if column.rule.kind == "float":
        return _bytes_of(floats(values))
    if column.rule.kind == "object":
        return _canonical(f"[{','.join(value or 'null' for value in values)}]")
    return json.dumps(values).encode("ascii")


def _bytes_of(numbers: np.ndarray[Any, np.dtype[np.float64]]) -> bytes:
    return (numbers + 0.0).astype("<f8", copy=False).tobytes()  # -0.0 is 0.0


def _canonical(text: str | bytes) -> bytes:
    """Return JSON in the one form that equal values have: keys in order, and 1.0 as 1."""
    return json.dumps(json.loads(text, parse_float=_exact), sort_keys=True).encode("ascii")


def _exact(digits: str) -> float:
    value = float(digits)
    return int(value) if value.is_integer() else value


def _seconds(field: str, value: object) -> float:
    found = number(field, value)
    if found < 0:
        raise refusal(field, value, "a number of seconds, 0 or more", int, float)
    return found
