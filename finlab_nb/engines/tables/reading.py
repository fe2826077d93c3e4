"""A table while it is read: what its columns were taken for, and the values that they hold."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd

from finlab_nb.engines.tables.cells import (
    Cells,
    codes,
    dates,
    has_decimal_comma,
    is_empty,
    numbers,
    numbers_with_units,
    side_of,
)
from finlab_nb.engines.tables.raw import Table
from finlab_nb.engines.tables.roles import Found
from finlab_nb.records.values import shown

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

COSTS: Final = ("fee", "further_fee", "tax", "swap")
HALF_COSTS: Final = ("entry_fee", "exit_fee")  # of both ends of a trade, where no column has the sum
LOT: Final = 1000  # shares, of Taiwan
_NUMBERS: Final = frozenset(
    (
        *("size", "lots", "price", "entry_price", "exit_price", "profit_loss", "gross", "paid", "multiplier"),
        *("trade_return", "mae", "mfe", *COSTS, *HALF_COSTS),
    )
)
_REBATES: Final = ("binance", "ccxt")  # whose negative fees are paid to the trader


@dataclass
class Reading:
    """A table while it is read: what it is, what its columns were taken for, and what there is to tell."""

    table: Table
    found: Found
    ticker: str | None = None
    words: dict[str, str] = field(init=False)
    comma: bool = field(init=False)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.words = {role: role if role == name else f"{role} = {name}" for role, name in self.found.roles.items()}
        columns = [self.table.cells(name) for role, name in self.found.roles.items() if role in _NUMBERS]
        self.comma = has_decimal_comma(columns, is_likely=self.table.separator == ";")

    def has(self, role: str) -> bool:
        """Tell whether a column stands for a role."""
        return role in self.found.roles

    def cells(self, role: str) -> Cells:
        """Return the column of a role."""
        return self.table.cells(self.found.roles[role])

    def numbers(self, role: str, *, required: bool = False) -> Floats:
        """Return the numbers of a role; NaN where a cell is empty, and everywhere without a column."""
        if not self.has(role):
            return np.full(len(self.table), np.nan)
        cells = self.cells(role)
        found = numbers(cells, comma=self.comma)
        if required and np.isnan(found).any():
            raise cells.missing(int(np.flatnonzero(np.isnan(found))[0]), "a number")
        return found

    def dates(self, role: str, *, required: bool = True) -> pd.Series[Any]:
        """Return the dates of a role."""
        cells = self.cells(role)
        found = dates(cells, self.cells("time") if role == "date" and self.has("time") else None)
        if required and found.isna().any():
            raise cells.missing(int(np.flatnonzero(found.isna())[0]), "a date")
        return found.dt.tz_localize("UTC") if self.found.is_utc and found.dt.tz is None else found

    def only(self, role: str, keep: Callable[[Any], bool], why: str) -> None:
        """Leave out the rows whose cell is not to be kept, and tell why."""
        self.table = self.table.kept([keep(cell) for cell in self.cells(role).values], why)

    def codes(self) -> list[str]:
        """Return the stock code of each row."""
        if not self.has("stock_code"):
            if self.ticker is None:
                raise ValueError(f"{self.table.field} has no column for the stock code; give ticker='2330'")
            self.words["stock_code"] = f"stock_code = {self.ticker} (ticker=)"
            return [self.ticker] * len(self.table)
        found, were_numbers = codes(self.cells("stock_code"), digits=self.found.layout.code_digits)
        if were_numbers:
            self.notes.append(
                "stock codes were read as numbers and may lack leading zeros "
                f"({', '.join(sorted(set(found))[:3])}): read them with dtype=str"
            )
        if self.ticker is None or set(found) == {self.ticker}:
            return found
        if len(set(found)) > 1:
            raise ValueError(
                f"ticker is {shown(self.ticker)}, but the column {self.found.roles['stock_code']!r} of "
                f"{self.table.field} has {len(set(found))} stock codes"
            )
        return [self.ticker] * len(found)

    def sides(self, role: str = "side") -> Floats | None:
        """Return 1 for long or bought and -1 for short or sold of each row; None without a column."""
        flag = next((one for one in ("is_short", "is_buyer") if self.has(one)), None)
        if not self.has(role) and flag is None:
            return None
        cells = self.cells(role if self.has(role) else str(flag))
        found = []
        for row, cell in enumerate(cells.values):
            side = side_of(cell) if self.has(role) else _of_flag(cell, is_long=flag == "is_buyer")
            if side is None:
                raise cells.refusal(row, "tells neither buy nor sell")
            found.append(side)
        return np.array(found, dtype=float)

    def sizes(self) -> Floats:
        """Return signed sizes: the numbers themselves, or those of a side."""
        role = "size" if self.has("size") else "lots"
        cells = self.cells(role)
        size, _ = numbers_with_units(cells, comma=self.comma)
        if self.has("size") and self.has("lots"):
            size = np.where(np.isnan(size), self.numbers("lots") * LOT, size)
        if np.isnan(size).any():
            raise cells.missing(int(np.flatnonzero(np.isnan(size))[0]), "a number")
        self.words["size"] = f"size = {cells.name}" + (f" x {LOT:,}" if role == "lots" else "")
        self.words.pop("lots", None)
        size = size * LOT if role == "lots" else size
        side = self.sides()
        if side is None:
            return size
        by = self.found.roles.get("side") or self.found.roles.get("is_short") or self.found.roles["is_buyer"]
        self.words["size"] += f" signed by {by}"
        for one in ("side", "is_short", "is_buyer"):
            self.words.pop(one, None)
        are_signed = bool((size[side < 0] < 0).any())
        wrong = np.flatnonzero((size < 0) != (side < 0) if are_signed else size < 0)
        wrong = wrong[size[wrong] != 0]
        if wrong.size:
            raise cells.refusal(int(wrong[0]), f"contradicts its side by column {by!r}")
        return np.asarray(np.abs(size) * side)

    def tell_of_empty(self, role: str, empty: Any, what: str) -> None:
        """Say in how many rows an amount is empty, and what that means."""
        count = int(np.sum(empty))
        if count:
            self.notes.append(f"{role} is empty in {count:,} of {len(self.table):,} rows: {what}")

    def costs(self) -> Floats:
        """Return the fees of each row, a cost as a positive number: the sum of all columns of costs."""
        roles = [role for role in COSTS if self.has(role)]
        if not self.has("fee"):
            roles = [role for role in HALF_COSTS if self.has(role)] + roles
        if not roles:
            self.words["fee"] = "fee missing: taken as 0"
            return np.zeros(len(self.table))
        costs = np.array([self._cost(role) for role in roles])
        paid = np.nan_to_num(costs).sum(axis=0)
        self.tell_of_empty("fee", np.isnan(costs).all(axis=0), "taken as 0")
        names = " + ".join(self.found.roles[role] for role in roles)
        turned = self.found.layout.are_costs_negative
        if not turned and self.found.layout.platform not in _REBATES and (paid <= 0).all() and (paid < 0).any():
            turned = True
        for role in (*COSTS, *HALF_COSTS):
            self.words.pop(role, None)
        self.words["fee"] = f"fee = -({names})" if turned else f"fee = {names}"
        return np.asarray(-paid if turned else paid) + 0.0

    def _cost(self, role: str) -> Floats:
        """Return a column of costs in the currency of the prices."""
        cells = self.cells(role)
        pairs = [_cost_and_currency(cell) for cell in cells.values]
        cells = Cells(cells.field, cells.name, [cost for cost, _ in pairs], cells.labels)
        paid, units = numbers_with_units(cells, comma=self.comma)
        own = self.cells("fee_currency").values if self.has("fee_currency") and role == "fee" else units
        currencies = [one if known is None else known for one, (_, known) in zip(own, pairs, strict=True)]
        if all(map(is_empty, currencies)) or not self.has("stock_code"):
            return paid
        bases = [None] * len(paid) if not self.has("currency") else self.cells("currency").values
        prices = self.numbers("price")
        for row, currency in enumerate(currencies):
            if is_empty(currency) or not paid[row] or np.isnan(paid[row]) or currency == bases[row]:
                continue
            code = str(self.cells("stock_code").values[row]).upper().split(":")[0]
            if code.startswith(str(currency).upper()) and not code.endswith(str(currency).upper()):
                paid[row] *= prices[row]
            elif not code.endswith(str(currency).upper()):
                raise cells.refusal(
                    row,
                    f"is a fee in {currency}, whose price in the currency of {code} is not known: give a column of "
                    f"fees in that currency, or leave it out by columns={{{cells.name!r}: None}}",
                )
        return paid


def _of_flag(cell: Any, *, is_long: bool) -> int | None:
    text = str(cell).strip().casefold()
    if text not in ("true", "false", "0", "1", "0.0", "1.0"):
        return None
    return 1 if (text in ("true", "1", "1.0")) == is_long else -1


def _cost_and_currency(cell: Any) -> tuple[Any, Any]:
    """Return cost and currency of a fee, which ccxt has as a dict, or as the text of one."""
    if isinstance(cell, str) and cell.strip().startswith("{"):
        with contextlib.suppress(ValueError, SyntaxError):
            cell = ast.literal_eval(cell.strip())
    return (cell.get("cost"), cell.get("currency")) if isinstance(cell, Mapping) else (cell, None)
