"""backtrader 1.9: the strategies that ``Cerebro.run`` returns, and, by an analyzer of ours, the runs of optstrategy.

A run of ``optstrategy`` keeps its parameters and analyzers only, so that its trades have to be noted by one of them::

    from finlab_nb.engines.adapters.backtrader import Recorder
    cerebro.addanalyzer(Recorder)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import pandas as pd

from finlab_nb.engines.fills import account, paired
from finlab_nb.engines.provenance import version_of
from finlab_nb.engines.recognise import has_all, type_names
from finlab_nb.engines.result import Options, Result

_STRATEGY: Final = "backtrader.strategy.Strategy"
_OF_OPTIMISATION: Final = "backtrader.cerebro.OptReturn"
_FILLS: Final = ("stock_code", "date", "size", "price", "fee", "multiplier")
_REMARK: Final = "trades are paired from the fills, first in, first out"
_SHARED: Final = "the account is shared by several strategies, and the trades are those of one"
_RECORDER: Final = "from finlab_nb.engines.adapters.backtrader import Recorder; cerebro.addanalyzer(Recorder)"
_NO_FILLS: Final = f"a run of optstrategy has no trades without an analyzer that notes them: {_RECORDER}"
_NO_CURVE: Final = f"the account was not observed (stdstats=False, exactbars=1): give prices=, or {_RECORDER}"
_DAY: Final = 86_400.0  # seconds


@dataclass(frozen=True, slots=True)
class Notes:
    """What is kept of a run, with moments as backtrader counts them, in days.

    Attributes
    ----------
    fills
        Stock, moment, signed size, price, fee and multiplier, in order of time.
    marks
        The last price of each stock.
    values
        Moment and value of the account at each bar; None where nobody observed it.
    zone
        The zone of the first feed; None where its times have none.
    is_shared
        Whether the account has orders of other strategies, too.
    """

    fills: list[tuple[Any, ...]]
    marks: dict[str, float]
    values: list[tuple[float, float]] | None
    capital: float
    zone: tzinfo | None
    is_shared: bool


def recognises(given: object) -> bool:
    """Tell whether this is a strategy that has run, or the result of one of optstrategy."""
    names = type_names(given)
    return _STRATEGY in names or _OF_OPTIMISATION in names or has_all(given, "analyzers", "broker", "datas")


def results(given: Any, options: Options) -> Result:
    """Read one strategy."""
    kind = type(given) if has_all(given, "broker") else getattr(given, "strategycls", None)
    notes = _notes_of(given)
    fills = pd.DataFrame(notes.fills, columns=list(_FILLS))
    fills["date"] = _moments(fills["date"], notes.zone)
    marks, codes = options.marks | notes.marks, fills["stock_code"].unique()
    if options.ticker is not None and len(codes) == 1:
        fills["stock_code"] = options.ticker
        marks |= {options.ticker: marks[codes[0]]} if codes[0] in marks else {}
    equity = None
    if notes.values is not None:
        days, values = zip(*notes.values, strict=True)
        equity = pd.Series(dict(zip(_moments(days, notes.zone), values, strict=True)), dtype=float)
    elif options.closes is not None:
        equity = account(fills, options.closes, notes.capital)
    return Result(
        engine="backtrader",
        version=version_of("backtrader"),
        name=None if kind is None else kind.__name__,
        code=kind,
        parameters=dict(given.params._getkwargs()),  # noqa: SLF001 - the only way to all of them
        trades=paired(fills, marks),
        equity=equity,
        initial_capital=notes.capital,
        figures=_figures(given),
        known_gap=_SHARED if notes.is_shared else None,
        remarks=((_REMARK,) if len(fills) else ()) + ((_NO_CURVE,) if equity is None else ()),
    )


def _notes_of(given: Any) -> Notes:
    recorder = next((one for one in given.analyzers if type(one).__name__ == "Recorder"), None)
    if recorder is not None:
        kept: Notes = recorder.notes
        return kept
    # The runs of an optimisation share a broker, which has the orders of the last one.
    if not has_all(given, "broker") or (getattr(given, "_trades", None) and not _own_orders(given)):
        raise ValueError(_NO_FILLS)
    return notes_of(given, _observed(given))


def notes_of(strategy: Any, values: list[tuple[float, float]] | None) -> Notes:
    """Return what is kept of a strategy that has run, with the values of its account."""
    orders = _own_orders(strategy)
    return Notes(
        fills=_fills(orders),
        marks={_name(data): float(data.close[0]) for data in strategy.datas if len(data) and _is_kept(data)},
        values=values or None,
        capital=float(strategy.broker.startingcash),
        zone=_zone(strategy.data0),
        is_shared=len(orders) < len(strategy.broker.orders),
    )


def _is_kept(data: Any) -> bool:
    """Tell whether the last bar is still there, which exactbars=1 may have dropped."""
    return len(getattr(data.close, "array", data.close)) > 0


def _own_orders(strategy: Any) -> list[Any]:
    return [order for order in strategy.broker.orders if getattr(order, "owner", strategy) is strategy]


def _observed(strategy: Any) -> list[tuple[float, float]] | None:
    """Return what the observer of the broker saw; None where it was switched off, or kept the last bars only."""
    count, observer = len(strategy), getattr(strategy.observers, "broker", None)
    values = [] if observer is None else list(observer.lines.value.array)[:count]
    moments = list(strategy.lines.datetime.array)[:count]
    if not len(values) == len(moments) == count:
        return None
    unit = 1.0
    if getattr(observer, "_fundmode", False):  # it saw the price of a share of the fund
        unit = strategy.broker.startingcash / strategy.broker.p.fundstartval
    return [(moment, value * unit) for moment, value in zip(moments, values, strict=True)]


def _fills(orders: Iterable[Any]) -> list[tuple[Any, ...]]:
    found = []
    for order in orders:
        multiplier = getattr(getattr(getattr(order, "comminfo", None), "p", None), "mult", 1.0)
        for bit in getattr(order.executed, "exbits", None) or [order.executed]:
            fee = bit.closedcomm + bit.openedcomm if hasattr(bit, "closedcomm") else bit.comm
            if bit.size:
                found.append((_name(order.data), bit.dt, bit.size, bit.price, fee, multiplier))
    return sorted(found, key=itemgetter(1))


def _name(data: Any) -> str:
    """Return the name of a feed; one that was read from a file without being named has the file's."""
    name = str(data._name or f"data{data._id - 1}")  # noqa: SLF001 - backtrader has no other
    source = getattr(getattr(data, "p", None), "dataname", None)
    return Path(name).stem if isinstance(source, str) and source == name else name


def _zone(data: Any) -> tzinfo | None:
    """Return the zone of a feed: its own, that of its table, or that of the feed that it is made from."""
    source = getattr(getattr(data, "p", None), "dataname", None)
    zone: tzinfo | None = getattr(data, "_tz", None) or getattr(getattr(source, "index", None), "tz", None)
    return zone if zone is not None or source is None else _zone(source)


def _moments(numbers: Iterable[float], zone: tzinfo | None) -> pd.DatetimeIndex:
    """Return moments as a clock of the zone shows them; backtrader counts them in UTC where there is a zone."""
    moments = pd.DatetimeIndex([_moment(number) for number in numbers])
    return moments if zone is None else moments.tz_localize("UTC").tz_convert(zone)


def _moment(number: float) -> datetime:
    """Return the moment of a number of days. A bar at the last tick of a day is that of the day."""
    seconds = round((number % 1) * _DAY, 4)  # more than that the number does not hold
    return datetime.fromordinal(int(number)) + timedelta(seconds=seconds if seconds < _DAY else 0.0)


def _figures(given: Any) -> dict[str, Any]:
    """Return what the analyzers found, by the name of each; Recorder and those that list by date say nothing more."""
    return {
        name: analyzer.get_analysis()
        for name, analyzer in zip(given.analyzers.getnames(), given.analyzers, strict=True)
        if type(analyzer).__name__ != "Recorder"
    }


def __getattr__(name: str) -> Any:
    """Make Recorder when it is asked for: it derives from a class of backtrader."""
    if name != "Recorder":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import backtrader

    class Recorder(backtrader.Analyzer):  # type: ignore[misc]
        """Notes fills, last prices and the account at each bar, which survive ``optstrategy``."""

        def start(self) -> None:
            self.values: list[tuple[float, float]] = []

        def prenext(self) -> None:
            self.next()

        def next(self) -> None:
            self.values.append((self.strategy.lines.datetime[0], self.strategy.broker.getvalue()))

        def stop(self) -> None:
            self.notes = notes_of(self.strategy, self.values)

        def get_analysis(self) -> dict[str, Any]:
            return {}

    Recorder.__qualname__ = "Recorder"  # so that it can be sent to the processes of an optimisation
    globals()["Recorder"] = Recorder
    return Recorder
