"""nautilus_trader 1: a BacktestEngine that has run.

Trades are paired from its fills: the report of positions merges what was scaled in and out, and that of 1.221 loses
each position that was reversed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import pandas as pd

from finlab_nb.engines.fills import FILLS, account, paired
from finlab_nb.engines.provenance import version_of
from finlab_nb.engines.recognise import has_all, type_names
from finlab_nb.engines.result import Options, Result

_TYPE: Final = "nautilus_trader.backtest.engine.BacktestEngine"
_FIGURES: Final = "nautilus_trader.backtest.results.BacktestResult"
_ONLY_FIGURES: Final = (
    "a BacktestResult has figures only: give the BacktestEngine, of a node node.get_engine(config.id)"
)
_SIGNS: Final = {"BUY": 1.0, "SELL": -1.0}
_REMARK: Final = "trades are paired from the fills, first in, first out"
_NO_CURVE: Final = "nautilus_trader has no curve, and the engine holds no bars of what was traded: give prices="
_SHARED: Final = "the account is shared by several strategies, and the trades are those of one"
_FOREIGN: Final = "what settles in another currency than the account's, or is inverse, has unknown profits and no curve"


def recognises(given: object) -> bool:
    """Tell whether this is an engine, or its BacktestResult, which has figures only."""
    names = type_names(given)
    return _TYPE in names or _FIGURES in names or has_all(given, "trader", "cache", "portfolio", "kernel")


def results(given: Any, options: Options) -> Result | Iterator[Result]:
    """Read an engine: the backtest of its strategy, or one for each of several."""
    if not has_all(given, "trader"):
        raise ValueError(_ONLY_FIGURES)
    fills = _fills(given)
    strategies = given.trader.strategies() if has_all(given.trader, "strategies") else []
    if len(strategies) <= 1:
        return _result(given, fills, fills, next(iter(strategies), None), options)
    return (_result(given, fills, fills[fills["strategy"] == str(one.id)], one, options) for one in strategies)


def _result(given: Any, fills: pd.DataFrame, own: pd.DataFrame, strategy: Any, options: Options) -> Result:
    """Return the result of one strategy, of the fills of all and its own ones."""
    capital, currency = _capital(given)
    capital = options.initial_capital if options.initial_capital is not None else capital
    closes = options.closes if options.closes is not None else _closes(given)
    foreign = [code for code in own["stock_code"].unique() if not _is_settled_in(given, code, currency)]
    equity = None
    if capital is not None and closes is not None and set(fills["stock_code"]) <= set(closes.columns) and not foreign:
        equity = account(fills, closes, capital)
    marks: dict[Any, float] = {} if closes is None else closes.ffill().iloc[-1].to_dict()
    trades = paired(own, marks)
    trades.loc[trades["stock_code"].isin(foreign), ["profit_loss", "fees"]] = float("nan")
    no_curve = _FOREIGN if foreign else _NO_CURVE
    return Result(
        engine="nautilus",
        version=version_of("nautilus_trader"),
        name=None if strategy is None else type(strategy).__name__,
        code=None if strategy is None else type(strategy),
        parameters=None if strategy is None else _parameters(strategy),
        trades=trades,
        equity=equity,
        initial_capital=capital,
        currency=currency,
        figures=_figures(given),
        known_gap=_SHARED if len(own) < len(fills) else None,
        remarks=((_REMARK,) if len(own) else ()) + ((no_curve,) if equity is None else ()),
    )


def _fills(given: Any) -> pd.DataFrame:
    report = given.trader.generate_fills_report()
    if not len(report):
        return pd.DataFrame(columns=[*FILLS, "strategy"])
    price = report["last_px"].astype(float)
    paid = [_amount(text) for text in report["commission"]]
    foreign = [currency not in (None, own) for (_, currency), own in zip(paid, report["currency"], strict=True)]
    fee = pd.Series([amount for amount, _ in paid], report.index)
    fills = pd.DataFrame(
        {
            "stock_code": report["instrument_id"].astype(str),
            "date": report["ts_event"],
            "size": report["last_qty"].astype(float) * report["order_side"].map(_SIGNS),
            "price": price,
            "fee": fee.where(~pd.Series(foreign, report.index), fee * price),  # paid in what was bought
            "strategy": report["strategy_id"].astype(str),
        }
    )
    multipliers = {code: _multiplier(given, code) for code in fills["stock_code"].unique()}
    if set(multipliers.values()) != {1.0}:
        fills["multiplier"] = fills["stock_code"].map(multipliers)
    return fills.sort_values("date", kind="stable", ignore_index=True)


def _amount(text: object) -> tuple[float, str | None]:
    """Return amount and currency of a text such as "0.05 USD"."""
    amount, _, currency = str(text).partition(" ")
    return float(amount), currency or None


def _instrument(given: Any, code: str) -> Any:
    instruments = given.cache.instruments() if has_all(given.cache, "instruments") else ()
    return next((one for one in instruments if str(one.id) == code), None)


def _multiplier(given: Any, code: str) -> float:
    return float(getattr(_instrument(given, code), "multiplier", 1.0))


def _is_settled_in(given: Any, code: str, currency: str | None) -> bool:
    """Tell whether profits are price differences in the account's currency; so they are where nobody knows better."""
    instrument = _instrument(given, code)
    if instrument is None or currency is None:
        return True
    return not instrument.is_inverse and str(instrument.get_settlement_currency()) == currency


def _capital(given: Any) -> tuple[float | None, str | None]:
    """Return what the account began with, and in which currency; unknown of several currencies."""
    found: dict[str, float] = {}
    venues = given.list_venues() if has_all(given, "list_venues") else (None,)
    for venue in venues if has_all(given.trader, "generate_account_report") else ():
        report = given.trader.generate_account_report(venue)
        for row in report[report.index == report.index.min()].drop_duplicates("currency").to_dict("records"):
            found[row["currency"]] = found.get(row["currency"], 0.0) + float(row["total"])
    held = {currency: total for currency, total in found.items() if total}
    return (
        next(((total, currency) for currency, total in held.items()), (None, None)) if len(held) == 1 else (None, None)
    )


def _closes(given: Any) -> pd.DataFrame | None:
    """Return the closes of the finest bars of each instrument that the cache holds, by the moment that they end."""
    columns: dict[str, pd.Series[Any]] = {}
    for bar_type in given.cache.bar_types() if has_all(given.cache, "bar_types") else ():
        bars = given.cache.bars(bar_type)
        stamps = pd.to_datetime([bar.ts_event for bar in bars], utc=True)
        found = pd.Series([float(bar.close) for bar in bars], stamps).sort_index()
        code = str(bar_type.instrument_id)
        if code not in columns or len(found) > len(columns[code]):
            columns[code] = found[~found.index.duplicated(keep="last")]
    return pd.DataFrame(columns) if columns else None


def _parameters(strategy: Any) -> dict[str, Any]:
    """Return what the strategy's own config adds to that of nautilus_trader."""
    config: Any = getattr(strategy, "config", None)
    with contextlib.suppress(Exception):  # of a config of another kind
        base: Any = next(kind for kind in type(config).__mro__ if kind.__module__.startswith("nautilus_trader."))
        given = config.dict() if hasattr(config, "dict") else vars(config)
        return {name: value for name, value in given.items() if name not in base.__struct_fields__}
    return {}


def _figures(given: Any) -> dict[str, Any]:
    """Return the figures of get_result(), by currency where they are."""
    with contextlib.suppress(Exception):
        result = given.get_result()
        return dict(_named(result.stats_pnls)) | dict(result.stats_returns)
    return {}


def _named(by_currency: Any) -> Iterator[tuple[str, Any]]:
    for currency, figures in by_currency.items():
        yield from ((f"{name} {currency}" if len(by_currency) > 1 else name, value) for name, value in figures.items())
