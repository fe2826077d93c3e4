"""Names of trade columns: ours, the usual ones of engines and brokers, and those that no table knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from finlab_nb.records.tables import TRADE_FIELDS
from finlab_nb.records.values import KEYS_OF_ROWS, shown

# Of several the first counts: an id before a label, what is net before what may be gross. Names in percent are missing
# on purpose: what they hold would be a hundred times too large.
OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "stock_code": ("stock_id", "symbol", "ticker", "pair", "code", "instrument", "asset", "security"),
    "entry_date": (
        *("entry_time", "entry_datetime", "entry_timestamp", "entry_day", "entry_dt", "entry_at"),
        *("open_date", "open_time", "open_datetime", "opened_at", "date_in"),
    ),
    "exit_date": (
        *("exit_time", "exit_datetime", "exit_timestamp", "exit_day", "exit_dt", "exit_at"),
        *("close_date", "close_time", "close_datetime", "closed_at", "date_out"),
    ),
    "entry_price": ("open_rate", "open_price", "avg_entry_price", "average_entry_price", "price_in"),
    "exit_price": ("close_rate", "close_price", "avg_exit_price", "average_exit_price", "price_out"),
    "position_size": ("size", "quantity", "qty", "shares", "amount", "volume", "contracts"),
    "profit_loss": (
        *("net_profit", "net_pnl", "pnlcomm", "profit_abs", "pnl", "pl", "profit"),
        *("realized_pnl", "realised_pnl"),
    ),
    "trade_return": ("net_return", "profit_ratio", "return", "ret", "trade_ret"),
    "fees": ("fee", "commission", "commissions", "total_fees", "fees_paid"),
    "mae": ("max_adverse_excursion", "maximum_adverse_excursion"),
    "mfe": ("max_favorable_excursion", "max_favourable_excursion", "maximum_favorable_excursion"),
    "multiplier": ("contract_size", "contract_multiplier", "point_value"),
    "entry_reason": ("entry_tag", "enter_tag", "entry_signal", "enter_reason"),
    "exit_reason": ("exit_tag", "exit_signal", "sell_reason", "close_reason"),
}
DERIVED: Final = frozenset({"entry_day", "exit_day"})  # what our own frames add to the columns that are stored
_FEWEST_LETTERS: Final = 6
_SEPARATORS: Final = str.maketrans("", "", " _-.")


def columns_by_name(field: str, names: Iterable[Any]) -> tuple[dict[str, Any], list[Any]]:
    """Find the columns of trades among the names of a table.

    Parameters
    ----------
    field
        What to call the table in an error.
    names
        Its columns. A usual other name counts where our own is absent, and of several the first of `OTHER_NAMES`.

    Returns
    -------
    found, others
        The name that stands for each column of ours, and the names that stand for none, without row numbers.

    Raises
    ------
    ValueError
        If a name looks like a misspelt column that is absent.
    """
    given = [name for name in names if name not in KEYS_OF_ROWS]
    by_letters = {_letters(name): name for name in reversed(given)}
    found: dict[str, Any] = {name: name for name in given if name in TRADE_FIELDS}
    for letters, column in _MEANT.items():
        if column not in found and letters in by_letters:
            found[column] = by_letters[letters]
    ignored = DERIVED.union(found.values())
    others = [name for name in given if name not in ignored]
    absent = {_letters(name): name for name in TRADE_FIELDS if name not in found}
    for name in others:
        _refuse_misspelt(field, name, absent)
    return found, others


def _letters(name: object) -> str:
    return name.translate(_SEPARATORS).casefold() if isinstance(name, str) else ""


def _refuse_misspelt(field: str, name: object, absent: Mapping[str, str]) -> None:
    given = _letters(name)
    for wanted, column in absent.items():
        if min(len(given), len(wanted)) >= _FEWEST_LETTERS and _one_edit(given, wanted):
            raise ValueError(
                f"{field} has the unknown field {shown(name)}; did you mean {column!r}? A further column needs a name "
                "that differs from it in more than one letter"
            )


def _one_edit(one: str, other: str) -> bool:
    """Tell whether a letter was left out, added, changed, or exchanged with its neighbour (Damerau 1964)."""
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    return max(len(one), len(other)) <= 1 or (len(one) == len(other) == 2 and one == other[::-1])


_MEANT: Final[Mapping[str, str]] = {
    _letters(name): column for column in TRADE_FIELDS for name in (column, *OTHER_NAMES.get(column, ()))
}
