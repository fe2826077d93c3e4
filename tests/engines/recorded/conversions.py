"""What the adapter of an engine makes of a recorded result, as arguments of a save, and what the engine itself told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pandas as pd

from finlab_nb.engines.recognise import read
from finlab_nb.engines.result import Options, Result
from finlab_nb.engines.sources import source_of
from recorded.cases import Case
from recorded.stand_ins import STAND_INS, figures_of, options

_FEE: Final = 0.001  # of each side, where the engine does not say what it took


def result_of(case: Case, given: Any = None) -> Result:
    """Return what the adapter reads in an engine's object, by default in one with the recorded attributes."""
    found = read(STAND_INS[case.engine](case) if given is None else given, Options(**options(case)))
    if isinstance(found, Result):
        return found
    several = list(found)
    if case.engine == "vectorbt":
        return next(one for one in several if one.parameters == case.facts["parameters"])
    return next(one for one in several if case.facts.get("strategy") in (None, one.name))


def converted(case: Case) -> dict[str, Any]:
    """Return the arguments of ``save_iteration`` for a recorded result."""
    found = result_of(case)
    given = {
        "trades": found.trades,
        "equity": found.equity,
        "initial_capital": found.initial_capital,
        "timezone": found.timezone,
        "currency": found.currency,
        "parameters": found.parameters,
        "code": source_of(found.code),
    }
    return {name: value for name, value in given.items() if value is not None}


def backtrader_fills(case: Case) -> pd.DataFrame:
    """Return the fills of the engine: stock_code, date, size, price, fee."""
    fills = case.raw("raw_transactions").rename(columns={"symbol": "stock_code", "dt": "date", "amount": "size"})
    return fills.assign(fee=_FEE * fills["value"].abs())


def zipline_fills(case: Case) -> pd.DataFrame:
    """Return the fills of the engine: stock_code, date, size, price, fee."""
    paid = case.raw("raw_orders").groupby("id")["commission"].max().rename("fee")  # a transaction has none
    fills = case.raw("raw_transactions").join(paid, on="order_id")
    return fills.rename(columns={"symbol": "stock_code", "dt": "date", "amount": "size"})


def nautilus_fills(case: Case) -> pd.DataFrame:
    """Return the fills of the engine: stock_code, date, size, price, fee."""
    raw = case.raw("raw_fills")  # numbers are text, the time of a daily bar is midnight of UTC
    return pd.DataFrame(
        {
            "stock_code": raw["instrument_id"],
            "date": raw["ts_event"].dt.tz_localize(None),
            "size": raw["last_qty"].astype(float) * raw["order_side"].map({"BUY": 1.0, "SELL": -1.0}),
            "price": raw["last_px"].astype(float),
            "fee": raw["commission"].str.removesuffix(" USD").astype(float),
        }
    )


def bt_fills(case: Case) -> pd.DataFrame:
    """Return the fills of the engine: stock_code, date, size, price, fee."""
    fills = case.raw("raw_transactions").rename(columns={"Security": "stock_code", "Date": "date", "quantity": "size"})
    return fills.assign(fee=_FEE * (fills["size"] * fills["price"]).abs())


def qlib_fills(case: Case) -> pd.DataFrame:
    """Return the fills of the engine: stock_code, date, size, price, fee."""
    return case.raw("raw_fills").rename(columns={"code": "stock_code", "amount": "size"})


FILLS: Final[Mapping[str, Callable[[Case], pd.DataFrame]]] = {
    "backtrader": backtrader_fills,
    "zipline": zipline_fills,
    "nautilus": nautilus_fills,
    "bt": bt_fills,
    "qlib": qlib_fills,
}


def engine_metrics(case: Case) -> dict[str, float]:
    """Return the engine's own figures, those that are numbers, by their way through dicts within dicts."""
    return dict(_leaves(figures_of(case), "engine"))


def _leaves(figures: Mapping[str, Any], path: str) -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.{name}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{path}.{name}", value
