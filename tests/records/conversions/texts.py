"""Texts with the day or moment that each names, and the types that hold a text."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, StrEnum
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from conversions.meanings import Day, Moment, Text


class Ticker(str):
    """A text of a type of its own, with a dict like any object."""


class Printed(str):
    """A text that prints otherwise."""

    def __str__(self) -> str:
        return "printed"

    def __repr__(self) -> str:
        return "printed"

    def __format__(self, form: str) -> str:
        return "printed"


def enum_of(value: Any, **options: Any) -> Enum:
    """Return a member of a new Enum that has this value."""
    return Enum("Kind", {"A": value}, **options).A  # type: ignore[attr-defined, no-any-return]


# How a text can be held; each takes the text.
TEXT_TYPES: Final[dict[str, Callable[[str], Any]]] = {
    "str": str,
    "subclass of str": Ticker,
    "subclass of str that prints otherwise": Printed,
    "Enum of text": enum_of,
    "Enum of an Enum of text": lambda text: enum_of(enum_of(text)),
    "Enum of np.str_": lambda text: enum_of(np.str_(text)),
    "(str, Enum)": lambda text: enum_of(text, type=str),
    "(subclass of str, Enum)": lambda text: enum_of(text, type=Ticker),
    "StrEnum": lambda text: StrEnum("Kind", {"A": text}).A,  # type: ignore[attr-defined]
    "np.str_": np.str_,
    "0-d array of text": np.array,
    "0-d array of objects with text": lambda text: np.array(text, dtype=object),
    "one of a Categorical of text": lambda text: pd.Categorical([text])[0],
    "pa.string": lambda text: pa.scalar(text, pa.string()),
    "pa.large_string": lambda text: pa.scalar(text, pa.large_string()),
    "pa.dictionary of text": lambda text: pa.array([text]).dictionary_encode()[0],
}

DATED: Final[dict[str, Day | Moment]] = {
    "2024-01-02": Day(day="2024-01-02"),
    "20240102": Day(day="2024-01-02"),
    "2024-02-29": Day(day="2024-02-29"),
    "0001-01-01": Day(day="0001-01-01"),
    "9999-12-31": Day(day="9999-12-31"),
    "2024-01-02T09:30": Moment(utc="2024-01-02T09:30:00.000000"),
    "2024-01-02 09:30": Moment(utc="2024-01-02T09:30:00.000000"),
    "2024-01-02T09:30:15": Moment(utc="2024-01-02T09:30:15.000000"),
    "2024-01-02 00:00:00": Moment(utc="2024-01-02T00:00:00.000000"),
    "2024-01-02T09:30:15.5": Moment(utc="2024-01-02T09:30:15.500000"),
    "2024-01-02 09:30:15.000001": Moment(utc="2024-01-02T09:30:15.000001"),
    "2024-01-02T09:30:15.123456789": Moment(utc="2024-01-02T09:30:15.123456"),
    "2024-01-02T00:00:00.000000999": Moment(utc="2024-01-02T00:00:00.000000"),
    "1969-12-31T23:59:59.9999999": Moment(utc="1969-12-31T23:59:59.999999"),
    "2024-01-02T09:30Z": Moment(utc="2024-01-02T09:30:00.000000"),
    "2024-01-02T09:30:15+08:00": Moment(utc="2024-01-02T01:30:15.000000"),
    "2024-01-02 08:00+0800": Moment(utc="2024-01-02T00:00:00.000000"),
    "2024-01-02T09:30:15.25-05": Moment(utc="2024-01-02T14:30:15.250000"),
    "2024-01-02T09:30+05:45": Moment(utc="2024-01-02T03:45:00.000000"),
    "2024-01-02T00:00-00:00": Moment(utc="2024-01-02T00:00:00.000000"),
    "0001-01-01T00:00:00+08:00": Moment(),
    "9999-12-31T23:00:00-05:00": Moment(),
}

UNDATED: Final = (
    "2330",
    "0050",
    "台積電",
    "e\u0301",
    "🚀\r\n\ufeff",
    " padded ",
    "x" * 10_000,
    "nan",
    "None",
    "null",
    "Infinity",
    "true",
    "1.5",
    "",
    " ",
    "\u3000\t",
    "a\0b",
    "\ud800",
    "1612051200000",
    "1612051200",
    "2024-W05-3",
    "2024W053",
    "2024-W05",
    "2024-033",
    "5/6/2024",
    "06.05.2024",
    "yesterday",
    "now",
    "2024",
    "2024-01",
    "202401",
    "2024-1-2",
    "24-01-02",
    "02-01-2024",
    "2024/01/02",
    "Jan 2, 2024",
    "2024-02-30",
    "20240230",
    "2023-02-29",
    "2024-13-01",
    "2024-00-10",
    "0000-01-01",
    "10000-01-01",
    "-2024-01-02",
    "+2024-01-02",
    " 2024-01-02",
    "2024-01-02 ",
    "2024-01-02\n",
    "2024-01-02T",
    "2024-01-02T09",
    "2024-01-02T9:30",
    "2024-01-02T24:00",
    "2024-01-02T09:60",
    "2024-01-02T09:30:60",
    "2024-01-02T0930",
    "2024-01-02T093015",
    "20240102T093015",
    "20240102 09:30",
    "20240102093015",
    "2024-01-02T09:30:15.",
    "2024-01-02T09:30:15,5",
    "2024-01-02T09:30:15.1234567890",
    "2024-01-02  09:30",
    "2024-01-02\t09:30",
    "2024-01-02_09:30",
    "2024-01-02t09:30",
    "2024-01-02T09:30z",
    "2024-01-02T09:30 UTC",
    "2024-01-02T09:30+8",
    "2024-01-02T09:30+24:00",
    "2024-01-02T09:30+08:60",
    "2024-01-02T09:30[Asia/Taipei]",
    "2024-01-02T09:30\n",
    "2024-01-02Z",
    "2024-01-02+08:00",
    "２０２４-01-02",
    "٢٠٢٤-٠١-٠٢",
    "2024-01-02T０９:30",
    "2024‑01‑02",
)

TEXTS: Final = [*(Text(text=text, date=date) for text, date in DATED.items()), *(Text(text=text) for text in UNDATED)]
