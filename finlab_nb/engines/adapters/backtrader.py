"""backtrader 1.9: the strategies that ``Cerebro.run`` returns, and, by an analyzer of ours, the runs of optstrategy.

A run of ``optstrategy`` keeps its parameters and analyzers only, so that its trades have to be noted by one of them::

    from finlab_nb.engines.adapters.backtrader import Recorder
    cerebro.addanalyzer(Recorder)
"""

from __future__ import annotations

from datetime import datetime, timedelta
from operator import itemgetter
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
_NO_FILLS: Final = (
    "a run of optstrategy has no trades without an analyzer that notes them: from "
    "finlab_nb.engines.adapters.backtrader import Recorder; cerebro.addanalyzer(Recorder)"
)


def recognises(given: object) -> bool:
    """Tell whether this is a strategy that has run, or the result of one of optstrategy."""
    names = type_names(given)
    return _STRATEGY in names or _OF_OPTIMISATION in names or has_all(given, "analyzers", "broker", "datas")


def results(given: Any, options: Options) -> Result:
    """Read one strategy."""
    strategy = given if has_all(given, "broker") else None
    kind = type(given) if strategy is not None else getattr(given, "strategycls", None)
    noted = next((one for one in given.analyzers if type(one).__name__ == "Recorder"), None)
    if strategy is not None:
        fills, marks, equity, capital = _of_strategy(strategy)
    elif noted is not None:
        fills, marks, equity, capital = [], {}, None, noted.capital
    else:
        raise ValueError(_NO_FILLS)
    if noted is not None:
        fills, marks, equity = noted.fills, noted.marks, pd.Series(dict(noted.values), dtype=float)
    table = pd.DataFrame(fills, columns=list(_FILLS))
    if equity is None and options.closes is not None:
        equity = account(table, options.closes, capital)
    return Result(
        engine="backtrader",
        version=version_of("backtrader"),
        name=None if kind is None else kind.__name__,
        code=kind,
        parameters=dict(given.params._getkwargs()),  # noqa: SLF001 - the only way to all of them
        trades=paired(table, options.marks | marks),
        equity=equity,
        initial_capital=capital,
        figures=_figures(given),
        remarks=(_REMARK,) if len(table) else (),
    )


def _of_strategy(strategy: Any) -> tuple[list[tuple[Any, ...]], dict[str, float], pd.Series[Any] | None, float]:
    """Return fills, last prices, curve and capital of a strategy; no curve where its observer was switched off."""
    count = len(strategy)
    broker = getattr(strategy.observers, "broker", None)
    values = [] if broker is None else list(broker.lines.value.array)[:count]  # of which exactbars keep the last ones
    days = [_moment(number, strategy.data0) for number in list(strategy.lines.datetime.array)[:count]]
    equity = pd.Series(values, days, dtype=float) if len(values) == count == len(days) and count else None
    return fills_of(strategy.broker), marks_of(strategy.datas), equity, float(strategy.broker.startingcash)


def fills_of(broker: Any) -> list[tuple[Any, ...]]:
    """Return the fills of all orders in order of time: stock, date, signed size, price, fee and multiplier."""
    found = []
    for order in broker.orders:
        data = order.data
        multiplier = getattr(getattr(getattr(order, "comminfo", None), "p", None), "mult", 1.0)
        for bit in getattr(order.executed, "exbits", None) or [order.executed]:
            fee = bit.closedcomm + bit.openedcomm if hasattr(bit, "closedcomm") else bit.comm
            if bit.size:
                moment = _moment(bit.dt, data)
                found.append((_name(data), moment, bit.size, bit.price, fee, multiplier))
    return sorted(found, key=itemgetter(1))


def marks_of(datas: Any) -> dict[str, float]:
    """Return the last closing price of each stock."""
    return {_name(data): float(data.close[0]) for data in datas if len(data)}


def _name(data: Any) -> str:
    return str(data._name or f"data{data._id - 1}")  # noqa: SLF001 - backtrader has no other


def _moment(number: float, data: Any) -> datetime:
    """Return the moment that backtrader counts in days, as a clock of the data's zone shows it."""
    if hasattr(data, "num2date"):
        found: datetime = data.num2date(number)
        return found
    day = datetime.fromordinal(int(number))
    return day + timedelta(seconds=round((number % 1) * 86_400))


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
            self.capital = float(self.strategy.broker.startingcash)
            self.values: list[tuple[datetime, float]] = []
            self.fills: list[tuple[Any, ...]] = []
            self.marks: dict[str, float] = {}

        def prenext(self) -> None:
            self.next()

        def next(self) -> None:
            self.values.append((self.strategy.datetime.datetime(0), self.strategy.broker.getvalue()))

        def stop(self) -> None:
            self.fills = fills_of(self.strategy.broker)
            self.marks = marks_of(self.strategy.datas)

        def get_analysis(self) -> dict[str, Any]:
            return {}

    Recorder.__qualname__ = "Recorder"  # so that it can be sent to the processes of an optimisation
    globals()["Recorder"] = Recorder
    return Recorder
