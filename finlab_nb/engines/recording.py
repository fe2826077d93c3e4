"""From a result to the store: read by an adapter, completed by what the caller says, checked, saved, told in a line."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd

from finlab_nb.engines.checks import GAP, Balance, balance, columns_of, doubts, error_of_signs
from finlab_nb.engines.preview import Preview, preview_of
from finlab_nb.engines.provenance import origin, surroundings
from finlab_nb.engines.recognise import read
from finlab_nb.engines.result import Options, Result
from finlab_nb.engines.sources import source_of
from finlab_nb.records import Provenance, Recording, iteration_record, provenance_record
from finlab_nb.records.results import optional
from finlab_nb.records.values import filled_text, flag, named, positive, refusal, tags_record, text
from finlab_nb.records.zones import zone_name
from finlab_nb.store import StorageManager
from finlab_nb.store.progress import ProgressBar

_PARAMETERS: Final = "a dict of names and values"
_CHECKS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "strategy": filled_text,
    "parameters": lambda field, value: named(field, value, _PARAMETERS),
    "ticker": filled_text,
    "initial_capital": positive,
    "timezone": zone_name,
    "note": text,
    "tags": tags_record,
    "check": flag,
}
_DAY: Final = timedelta(days=1)
_UNKNOWN_STRATEGY: Final = "no name of the strategy is known: it goes under the engine's; give strategy='momentum'"
_NO_CODE: Final = "its code was not found; give code="


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the caller says beside the result; see `Lab.record`."""

    strategy: str | None = None
    parameters: Mapping[str, Any] | None = None
    code: Any = None
    ticker: str | None = None
    initial_capital: float | None = None
    timezone: str | None = None
    prices: Any = None
    engine: str | None = None
    note: str | None = None
    tags: str | Iterable[str] = ()
    check: bool = True

    def __post_init__(self) -> None:
        """Refuse what is wrong before a result is read."""
        for name, check in _CHECKS.items():
            optional(check, name, getattr(self, name))
        if not (self.prices is None or isinstance(self.prices, (str, pd.Series, pd.DataFrame))):
            raise refusal("prices", self.prices, "a DataFrame by date with a column a stock, a Series, or text")
        if self.code is not None and self.source is None:
            raise refusal("code", self.code, "text, or a class or function whose source Python can find")

    @property
    def options(self) -> Options:
        """What of it adapters use."""
        return Options(ticker=self.ticker, initial_capital=self.initial_capital, prices=self.prices)

    @cached_property
    def surroundings(self) -> Provenance:
        """What the provenance of all results has in common."""
        return provenance_record(surroundings(self.prices))

    @cached_property
    def source(self) -> str | None:
        """The source that the caller gives."""
        return source_of(self.code)


@dataclass(frozen=True)
class _Prepared:
    """A result as it will be stored, and what there is to say about it."""

    result: Result
    recording: Recording
    balance: Balance
    remarks: tuple[str, ...]

    def preview(self) -> Preview:
        """Show what would be stored."""
        return preview_of(
            self.recording.iteration,
            self.recording.strategy,
            self.result.engine,
            self.recording.code,
            None if self.recording.iteration.parameters is None else json.loads(self.recording.iteration.parameters),
            remarks=(*self.remarks, *(doubt.message for doubt in self.recording.iteration.doubts)),
            summary=self.balance.line,
        )


def record(store: StorageManager, given: Any, *, again: bool = False, **wishes: Any) -> str | list[str]:
    """Store a result and print one line about it; return the id, or those of several. See `Lab.record`."""
    flag("again", again)
    wanted = Wishes(**wishes)
    found = read(given, wanted.options, wanted.engine)
    if isinstance(found, Result):
        return record_result(store, found, wanted, again=again)
    return _stored(store, _of_each(found, wanted), again=again)


def record_result(store: StorageManager, result: Result, wishes: Wishes, *, again: bool) -> str:
    """Store one result that has been read."""
    return _stored(store, [_prepared(result, wishes)], again=again)[0]


def preview(given: Any, **wishes: Any) -> Preview | list[Preview]:
    """Return what `record` would store."""
    wanted = Wishes(**wishes)
    found = read(given, wanted.options, wanted.engine)
    if isinstance(found, Result):
        return preview_result(found, wanted)
    return [_of_several(one, wanted, place).preview() for place, one in enumerate(found)]


def preview_result(result: Result, wishes: Wishes) -> Preview:
    """Return what `record_result` would store."""
    return _prepared(result, wishes).preview()


def _of_each(found: Iterable[Result], wishes: Wishes) -> Iterator[_Prepared]:
    """Yield results as they will be stored; they are counted where it takes long."""
    with ProgressBar("read", None, "result", shown=True) as bar:
        for place, one in enumerate(found):
            yield _of_several(one, wishes, place)
            bar.update()


def _of_several(result: Result, wishes: Wishes, place: int) -> _Prepared:
    try:
        return _prepared(result, wishes)
    except ValueError as error:
        raise ValueError(f"result[{place}]: {error}") from error


def _prepared(result: Result, wishes: Wishes) -> _Prepared:
    wished = () if wishes.parameters is None else named("parameters", wishes.parameters, _PARAMETERS)
    parameters = {**(result.parameters or {}), **dict(wished)}
    strategy = wishes.strategy or result.name
    code = source_of(result.code) if wishes.code is None else wishes.source
    capital = result.initial_capital if wishes.initial_capital is None else wishes.initial_capital
    iteration = iteration_record(
        strategy or result.engine,
        trades=result.trades,
        equity=result.equity,
        returns=result.returns,
        metrics=None,
        extra_metrics=engine_figures(result.figures) | dict(result.extra_metrics),
        parameters=parameters if result.parameters is not None or wishes.parameters is not None else None,
        code=code,
        note=wishes.note,
        tags=(*tags_record("tags", wishes.tags), *result.tags),
        initial_capital=capital,
        timezone=wishes.timezone or result.timezone,
        periods_per_year=result.periods_per_year,
        currency=result.currency,
        provenance=dataclasses.replace(wishes.surroundings, **origin(result, parameters)),
    )
    columns = columns_of(iteration)
    found = balance(result, iteration, columns)
    if wishes.check and (error := error_of_signs(columns)) is not None:
        raise ValueError(error)
    further = {"fees": found.fees, GAP: found.gap if wishes.check else None}
    extra = {name: value for name, value in further.items() if value is not None} | dict(iteration.extra_metrics)
    wrong = doubts(found, iteration, columns) if wishes.check else ()
    iteration = dataclasses.replace(iteration, extra_metrics=tuple(extra.items()), doubts=(*iteration.doubts, *wrong))
    remarks = [*result.remarks]
    remarks += [_UNKNOWN_STRATEGY] if strategy is None else []
    remarks += [_NO_CODE] if code is None else []
    return _Prepared(
        result=result,
        recording=Recording(strategy or result.engine, code, iteration),
        balance=found,
        remarks=tuple(remarks),
    )


def engine_figures(figures: Mapping[str, Any]) -> dict[str, float | None]:
    """Return an engine's own figures as extra metrics ``engine.<name>``: numbers, times as days; no texts, no flags."""
    found: dict[str, float | None] = {}
    for name, value in _leaves("engine", figures):
        if isinstance(value, np.timedelta64 | timedelta):
            days = np.timedelta64(value) / np.timedelta64(_DAY)
            found[name] = None if math.isnan(days) else float(days)
        elif isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
            found[name] = None if math.isnan(value) else float(value)
    return found


def _leaves(path: str, figures: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield figures by their way through dicts within dicts; those by date are curves."""
    for key, value in figures.items():
        if not isinstance(key, (str, int)):
            continue
        if isinstance(value, Mapping):
            yield from _leaves(f"{path}.{key}", value)
        else:
            yield f"{path}.{key}", value


def _stored(store: StorageManager, prepared: Iterable[_Prepared], *, again: bool) -> list[str]:
    """Store results in one transaction, then tell in one line what was stored."""
    balances: list[Balance] = []

    def recordings() -> Iterator[Recording]:
        for one in prepared:
            balances.append(one.balance)
            yield one.recording

    stored = store.record_iterations(recordings(), again=again)
    known = sum(not is_new for _, is_new in stored)
    print(summary(balances, known))  # noqa: T201 - the answer to whoever records by hand
    return [iteration_id for iteration_id, _ in stored]


def summary(balances: Sequence[Balance], known: int = 0) -> str:
    """Tell in one line what was recorded, and how much of it was there already."""
    if len(balances) == 1:
        return balances[0].line + (", recorded before" if known else "")
    trades = sum(one.trades or 0 for one in balances)
    still_open = sum(one.still_open for one in balances)
    line = f"{len(balances):,} iterations: {trades:,} trades" + (f" ({still_open:,} open)" if still_open else "")
    with_gap = [one for one in balances if one.gap is not None]
    if with_gap:
        even = sum(one.is_even for one in with_gap)
        line += f", P&L = change of equity in {'all' if even == len(balances) else f'{even:,}'}"
    return line + (f", {known:,} recorded before" if known else "")
