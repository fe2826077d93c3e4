"""Trades and fills out of a table, once it is known which of its columns is what."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from finlab_nb.engines.tables.cells import Cells, is_empty, numbers, numbers_with_units, side_of
from finlab_nb.engines.tables.reading import COSTS, HALF_COSTS, LOT, Reading

_NO_TRADE: Final = re.compile(
    r"(?:balance|credit|deposit|withdraw\w*|dividend|correction|interest|transfer"
    r"|.*(?:入金|出金|股利|股息|紅利|红利|配息|除權|除息|利息).*)",
    re.IGNORECASE,
)
_PENDING: Final = re.compile(r"(?:buy|sell) (?:limit|stop).*", re.IGNORECASE)  # which MetaTrader lists among trades
_FILLED: Final = re.compile(r"(?:part\w*[ _-]?)?(?:filled|executed|closed|done|completed?|traded)|.*成交.*|[部全已]成")
_NOT_FILLED: Final = re.compile(r"未成交.*|.*取消.*|.*撤.*|.*失敗.*|.*失败.*")
_DETAILS: Final = ("execution", "trade", "order")  # of rows that tell the same at several levels, one level counts
_CONTRACTS: Final = re.compile(r"opt|fop|fut|fsfop|war|.*options?.*|.*futures?.*|.*warrants?.*", re.IGNORECASE)
_CENT: Final = 0.0051
_SAME: Final = 0.002
_TEN_PERCENT: Final = 0.1
_ENTRY: Final = re.compile(r"entry|進場|入場|进场|入场", re.IGNORECASE)
_EXIT: Final = re.compile(r"exit|出場|出场|margin call", re.IGNORECASE)
_UNFILLED: Final = "not filled"
_STILL_OPEN: Final = ("open", "未平倉", "未平仓", "開倉", "开仓")


def fills_of(reading: Reading) -> pd.DataFrame:
    """Return the fills of a table, in order of time, as `fills.paired` takes them."""
    _only_fills(reading)
    when = reading.dates("date")
    if len(when) > 1 and when.is_monotonic_decreasing and when.iloc[0] > when.iloc[-1]:  # the newest comes first
        reading.table = reading.table.turned()
        when = reading.dates("date")
    price, size = reading.numbers("price", required=True), reading.sizes()
    if not any(map(reading.has, ("side", "is_buyer", "is_short"))) and len(size) and (size > 0).all():
        raise ValueError(
            f"{reading.table.field} tells no buys from sells: no column is a side, and no number in "
            f"{reading.found.roles.get('size', reading.found.roles.get('lots'))!r} is negative; say which column is by "
            "columns={'their name': 'side'}, or give negative sizes for what was sold"
        )
    found = pd.DataFrame({"stock_code": reading.codes(), "date": when, "size": size, "price": price})
    found["fee"] = reading.costs()
    if reading.has("multiplier"):
        found["multiplier"] = reading.numbers("multiplier", required=True)
    elif reading.has("class"):
        _refuse_contracts(reading.cells("class"))
    if reading.has("reason"):
        found["reason"] = [None if is_empty(cell) else str(cell) for cell in reading.cells("reason").values]
    _check_paid(reading, found)
    found = found[found["size"] != 0]
    return found.sort_values("date", kind="stable", ignore_index=True)


def _only_fills(reading: Reading) -> None:
    """Leave out what is no fill: payments, orders that were not filled, and the same fills at another level."""
    if reading.has("detail"):
        levels = {str(cell).casefold() for cell in reading.cells("detail").values}
        level = next((one for one in _DETAILS if one in levels), None)
        if level is not None:
            reading.only("detail", lambda cell: str(cell).casefold() == level, f"of each trade the {level} counts")
    _only_trades(reading)
    by_size = reading.found.roles.get("size", "").casefold().replace("_", "").startswith(("filled", "executed"))
    if by_size:
        sizes, _ = numbers_with_units(reading.cells("size"), comma=reading.comma)
        keep = (np.nan_to_num(sizes) != 0).tolist()
        reading.table = reading.table.kept(keep, _UNFILLED)
    elif reading.has("status"):
        reading.only("status", _is_filled, _UNFILLED)


def _only_trades(reading: Reading) -> None:
    """Leave out payments, and orders that MetaTrader lists although they wait or were withdrawn."""
    is_metatrader = reading.found.layout.platform.startswith("metatrader")

    def is_trade(cell: Any) -> bool:
        text = str(cell).strip()
        return _NO_TRADE.fullmatch(text) is None and not (is_metatrader and _PENDING.fullmatch(text))

    if reading.has("side"):
        reading.only("side", is_trade, "no trades")


def _is_filled(cell: Any) -> bool:
    text = str(cell).strip().casefold()
    return _FILLED.fullmatch(text) is not None and _NOT_FILLED.fullmatch(text) is None


def _refuse_contracts(cells: Cells) -> None:
    for row, cell in enumerate(cells.values):
        if not is_empty(cell) and _CONTRACTS.fullmatch(str(cell)):
            raise cells.refusal(row, "is a contract, and no column is the multiplier; add a column 'multiplier'")


def _check_paid(reading: Reading, fills: pd.DataFrame) -> None:
    """Compare sizes and prices with what was paid; where that is a thousand times as much, sizes are of lots."""
    if not reading.has("paid"):
        return
    name = reading.found.roles["paid"]
    reading.words.pop("paid")
    worth = (fills["size"] * fills["price"] * fills.get("multiplier", 1.0)).abs()
    ratios = pd.Series(reading.numbers("paid")).abs() / worth.where(worth > 0)
    if ratios.isna().all():
        return
    ratio = ratios.median()
    if abs(ratio / LOT - 1) < _TEN_PERCENT:
        fills["size"] *= LOT
        reading.words["size"] = reading.words["size"].replace(" signed", f" x {LOT:,} signed")
    elif abs(ratio - 1) >= _TEN_PERCENT:
        reading.notes.append(f"{name} is {ratio:.4g} times size x price: see whether sizes are of lots or contracts")


def trades_of(reading: Reading) -> pd.DataFrame:
    """Return the trades of a table that has one in each row."""
    _only_trades(reading)
    entry, leave = reading.dates("entry_date"), reading.dates("exit_date", required=False)
    if reading.has("status"):
        still_open = [str(cell).strip().casefold() in _STILL_OPEN for cell in reading.cells("status").values]
        leave = leave.mask(np.array(still_open, dtype=bool))
    found = pd.DataFrame({"stock_code": reading.codes(), "entry_date": entry, "exit_date": leave})
    found["entry_price"] = reading.numbers("entry_price", required=True)
    found["exit_price"] = reading.numbers("exit_price")
    found["position_size"] = reading.sizes()
    has_costs = any(map(reading.has, (*COSTS, *HALF_COSTS)))
    if has_costs:
        found["fees"] = reading.costs()
    for role in ("multiplier", "trade_return", "mae", "mfe"):
        if reading.has(role):
            found[role] = reading.numbers(role)
    for role in ("entry_reason", "exit_reason"):
        if reading.has(role):
            found[role] = [None if is_empty(cell) else str(cell) for cell in reading.cells(role).values]
    found["profit_loss"] = _profits(reading, found)
    return found


def _profits(reading: Reading, trades: pd.DataFrame) -> Any:
    """Return profit net of fees: as it is given, less fees if it is gross, or by prices where it is not given."""
    fees = trades["fees"] if "fees" in trades else pd.Series(0.0, trades.index)
    moved = (trades["exit_price"] - trades["entry_price"]) * trades["position_size"]
    if "multiplier" in trades:
        moved = moved * trades["multiplier"].fillna(1.0)
    if reading.has("gross"):
        gross = reading.numbers("gross", required=True)
        if "multiplier" not in trades:
            _with_points(reading, trades, moved, gross)
        name = reading.found.roles["gross"]
        reading.words["gross"] = f"profit_loss = {name}" + (" less fees" if "fees" in trades else "")
        return gross - fees
    if not reading.has("profit_loss"):
        if reading.has("trade_return"):
            return np.nan
        reading.words["profit_loss"] = "profit_loss = (exit_price - entry_price) x size" + (
            " less fees" if "fees" in trades else ""
        )
        return moved - fees
    profit = reading.numbers("profit_loss")
    reading.tell_of_empty("profit_loss", np.isnan(profit) & trades["exit_date"].notna(), "unknown")
    known = np.isfinite(profit) & np.isfinite(moved) & (fees != 0)
    far = np.abs(profit - moved)[known].sum(), np.abs(profit - (moved - fees))[known].sum()
    if known.any() and far[0] < _TEN_PERCENT * far[1]:
        reading.words["profit_loss"] += " less fees (it is gross)"
        return profit - fees
    return profit


def _with_points(reading: Reading, trades: pd.DataFrame, moved: pd.Series[Any], gross: Any) -> None:
    """Add the multiplier of each stock that follows from its gross profits, where all of them agree."""
    of_code = points(trades["stock_code"], moved, pd.Series(gross, trades.index))
    if of_code:
        trades["multiplier"] = trades["stock_code"].map(of_code)
        reading.notes.append(
            f"multiplier of {', '.join(f'{code} = {value:,g}' for code, value in of_code.items())} by the profits"
        )


def points(codes: pd.Series[Any], moved: pd.Series[Any], gross: pd.Series[Any]) -> dict[str, float]:
    """Return what one point of each stock is worth, where that is one round number for all of its trades."""
    found = {}
    for code, rows in moved.groupby(codes).groups.items():
        one, other = moved.loc[rows].abs().sum(), gross.loc[rows].abs().sum()
        if not one or not other or not np.isfinite(one):
            continue
        value = float(f"{other / one:.0e}")
        if (np.abs(gross.loc[rows] - value * moved.loc[rows]) <= _CENT + _SAME * np.abs(gross.loc[rows])).all():
            found[str(code)] = value
    return found


def entries_and_exits_of(reading: Reading, extras: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return the trades of a table that has a row for the entry and one for the exit of each.

    Parameters
    ----------
    extras
        What further columns say about each row; that of the last row of a trade is kept.
    """
    types, ids = reading.cells("type"), reading.cells("trade").values
    when, code = reading.dates("date", required=False), reading.codes()
    price, profit = reading.numbers("price"), reading.numbers("profit_loss")
    size = reading.numbers("size", required=True)
    signals = reading.cells("signal").values if reading.has("signal") else [None] * len(ids)
    pairs: dict[Any, dict[str, int]] = {}
    for row, (trade, text) in enumerate(zip(ids, types.values, strict=True)):
        part = "entry" if _ENTRY.search(str(text)) else "exit" if _EXIT.search(str(text)) else None
        if part is None or part in pairs.setdefault(str(trade), {}):
            raise types.refusal(row, "is no entry or exit" if part is None else f"is a second one of trade {trade}")
        pairs[str(trade)][part] = row
    trades = []
    for rows in pairs.values():
        entry, leave = rows.get("entry"), rows.get("exit")
        if entry is None:
            raise types.refusal(next(iter(rows.values())), "has no entry")
        side = side_of(re.sub(r"(?i)entry|exit|進場|入場|进场|入场", " ", str(types.values[entry])))
        if side is None:
            raise types.refusal(entry, "tells neither long nor short")
        if np.isnan(price[entry]) or pd.isna(when.iloc[entry]):
            raise reading.cells("price" if np.isnan(price[entry]) else "date").missing(entry, "that of the entry")
        is_open = leave is None or pd.isna(when.iloc[leave]) or _says_open(signals[leave])
        trades.append(
            {
                "stock_code": code[entry],
                "entry_date": when.iloc[entry],
                "exit_date": pd.NaT if is_open or leave is None else when.iloc[leave],
                "entry_price": price[entry],
                "exit_price": np.nan if leave is None else price[leave],
                "position_size": abs(size[entry if leave is None else leave]) * side,
                "profit_loss": profit[entry if leave is None else leave],
                "extra": extras[entry if leave is None else leave],
                "entry_reason": None if is_empty(signals[entry]) else str(signals[entry]),
                "exit_reason": None if is_open or leave is None or is_empty(signals[leave]) else str(signals[leave]),
            }
        )
    for role in ("trade", "type", "signal"):
        reading.words.pop(role, None)
    reading.words["date"] = f"entry_date and exit_date = {reading.found.roles['date']} by {types.name}"
    reading.words["price"] = f"entry_price and exit_price = {reading.found.roles['price']}"
    reading.words["size"] = f"size = {reading.found.roles['size']} signed by {types.name}"
    found = pd.DataFrame(trades, columns=None if trades else ["stock_code"])
    for name in ("entry_date", "exit_date"):
        if trades:
            found[name] = found[name].astype(when.dtype)
    return found.sort_values("entry_date", kind="stable", ignore_index=True) if trades else found


def _says_open(signal: Any) -> bool:
    return isinstance(signal, str) and signal.strip().casefold() in _STILL_OPEN


def extras_of(reading: Reading, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return what further columns say about each row, by their own names; numbers where all of a column are."""
    columns: Mapping[str, Sequence[Any]] = {name: _plain_cells(reading, name) for name in names}
    return [
        {name: cells[row] for name, cells in columns.items() if not is_empty(cells[row])}
        for row in range(len(reading.table))
    ]


def _plain_cells(reading: Reading, name: str) -> Sequence[Any]:
    cells = reading.table.cells(name)
    texts = [cell.strip() for cell in cells.values if isinstance(cell, str) and not is_empty(cell)]
    if texts and not any(re.match(r"0\d", text) for text in texts):
        with contextlib.suppress(ValueError):
            found = numbers(cells, comma=reading.comma)
            if not all(map(str.isdigit, texts)):
                return list(found.tolist())
            return [None if value != value else int(value) for value in found]
    return cells.values
