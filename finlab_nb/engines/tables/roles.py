"""Which column of a table stands for what: found by its name, or said by the caller."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from finlab_nb.engines.tables.columns import CURVE_DATES, CURVES, LAYOUTS, OUR_NAMES, REQUIRED, Layout
from finlab_nb.records.values import shown

_NO_LETTERS: Final = re.compile(r"[^\w%]|_")
_REPEATED: Final = re.compile(r"(.+)\.\d+")
_CURRENCY: Final = re.compile(r"(.*?)[\s(\[_]+([A-Za-z]{3,5})[)\]]?")
_CURRENCIES: Final = re.compile(
    "AED|ARS|AUD|BDT|BRL|CAD|CHF|CLP|CNH|CNY|COP|CZK|DKK|EGP|EUR|GBP|GBX|HKD|HUF|IDR|ILS|INR|JPY|KES|KRW|KWD|LKR|MXN"
    "|MYR|NGN|NOK|NZD|PEN|PHP|PKR|PLN|QAR|RON|RUB|SAR|SEK|SGD|THB|TRY|TWD|USD|VND|ZAR"
    "|BTC|ETH|BNB|BUSD|DAI|FDUSD|TUSD|USDC|USDT|UTC|GMT"
)
_CLOCKS: Final = frozenset({"UTC", "GMT"})  # behind a name they are its zone
_NO_PLATFORM: Final = 0.3  # of what is required: so much less must a table lack to be one of no platform


@dataclass(frozen=True)
class Found:
    """Which column of a table stands for which role.

    Attributes
    ----------
    roles
        Name of the column by role.
    currency
        That which the names tell, such as INR of "Price INR".
    is_utc
        Whether a date's name says that it is of UTC.
    """

    layout: Layout
    roles: dict[str, str]
    currency: str | None = None
    is_utc: bool = False

    @property
    def lacking(self) -> list[str]:
        """The required roles that no column stands for."""
        has = self.roles.keys() | ({"size"} if "lots" in self.roles else set())
        return [role for role in REQUIRED[self.layout.kind] if role not in has]


def letters(name: object) -> str:
    """Return what of a name counts: its letters, digits and percent signs, whatever their case and width."""
    return _NO_LETTERS.sub("", unicodedata.normalize("NFKC", str(name)).casefold())


def _forms(name: object) -> tuple[str, str, str | None]:
    """Return the letters of a name, those before its currency, and that currency if it has one."""
    text = unicodedata.normalize("NFKC", str(name)).strip()
    match = _CURRENCY.fullmatch(text)
    currency = "" if match is None else match[2].upper()
    if match is None or not _CURRENCIES.fullmatch(currency) or not match[1]:
        return letters(text), letters(text), None
    return letters(text), letters(match[1]), currency


_KNOWN: Final = frozenset(
    letters(name)
    for names in (*(layout.names for layout in LAYOUTS), CURVES, {"": CURVE_DATES})
    for alternatives in names.values()
    for name in alternatives
)
_KNOWN_DATES: Final = frozenset(
    letters(name)
    for names in (*(layout.names for layout in LAYOUTS), {"date": CURVE_DATES})
    for role in ("date", "entry_date", "exit_date")
    for name in names.get(role, ())
)


def known(cell: object, further: Iterable[str] = ()) -> str | None:
    """Return the letters of a cell that may be the name of a column, or of those in `further`; None otherwise."""
    if not isinstance(cell, str) or not cell.strip():
        return None
    form, base, _ = _forms(cell)
    unique = letters(_REPEATED.sub(r"\1", cell))
    return next((one for one in (form, base, unique) if one in _KNOWN or one in further), None)


def is_date_name(form: str) -> bool:
    """Tell whether letters are those of the name of a date."""
    return form in _KNOWN_DATES


def found_in(names: Sequence[str], layout: Layout, said: Mapping[str, str | None]) -> Found:
    """Find the roles of a layout among the names of a table.

    Parameters
    ----------
    said
        What the caller says: the role of a column, or None for a column that is none.
    """
    by_form: dict[str, str] = {}
    currencies: dict[str, str] = {}
    for name in names:
        if name in said:
            continue
        form, base, currency = _forms(name)
        by_form.setdefault(form, name)
        if currency is not None:
            by_form.setdefault(base, name)
            currencies[name] = currency
    roles = {role: name for name, role in said.items() if role is not None}
    taken = set(roles.values())
    for role, alternatives in layout.names.items():
        free = (by_form.get(letters(one)) for one in alternatives)
        first = next((name for name in free if name is not None and name not in taken), None)
        if role not in roles and first is not None:
            roles[role] = first
            taken.add(first)
    used = [currencies[name] for name in roles.values() if name in currencies]
    money = [one for one in used if one not in _CLOCKS]
    return Found(layout, roles, money[0] if money else None, any(one in _CLOCKS for one in used))


def marked(names: Iterable[str], layout: Layout) -> bool:
    """Tell whether a table has the marks of a layout."""
    forms = {form for name in names for form in _forms(name)[:2]}
    return all(any(letters(one) in forms for one in mark.split("|")) for mark in layout.marks)


def layout_of(names: Sequence[str], said: Mapping[str, str | None]) -> Found:
    """Find the layout of a table: of those whose marks it has the one that lacks least."""
    shown_names = [name for name in names if said.get(name, name) is not None]
    found = [found_in(names, layout, said) for layout in LAYOUTS if marked(shown_names, layout)]
    return min(
        found,
        key=lambda one: len(one.lacking) / len(REQUIRED[one.layout.kind]) + (0 if one.layout.marks else _NO_PLATFORM),
    )


def said_by(columns: Mapping[Any, Any] | None, names: Sequence[str]) -> dict[str, str | None]:
    """Return what the caller says about columns: ``{"theirs": "ours"}``, or the other way round where that is plain.

    Raises
    ------
    ValueError
        If neither is a column, or what it shall be is none of ours.
    """
    said: dict[str, str | None] = {}
    for one, other in (columns or {}).items():
        is_turned = str(one) not in names and one in OUR_NAMES and str(other) in names
        theirs, ours = (str(other), one) if is_turned else (str(one), other)
        if theirs not in names:
            raise ValueError(f"columns has {shown(one)}, which the table has not; its columns are {', '.join(names)}")
        if ours is not None and ours not in OUR_NAMES:
            raise ValueError(
                f"columns has {shown(ours)} for {shown(theirs)}; it must be one of {', '.join(OUR_NAMES)}, "
                "or None for a column that shall not be used"
            )
        said[theirs] = None if ours is None else OUR_NAMES[ours]
    return said
