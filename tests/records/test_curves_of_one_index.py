"""The columns of a table share their index, which is read once for all of them."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from finlab_nb.records import rows
from finlab_nb.records.plain import LastIndex
from finlab_nb.records.rows import curve_record

DAYS = pd.bdate_range("2024-01-01", periods=50)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the columns of dates that are read from now on."""
    made: list[str] = []
    read = rows.stamps_of
    monkeypatch.setattr(rows, "_LAST_INDEX", LastIndex())
    monkeypatch.setattr(
        rows, "stamps_of", lambda path, *given, **options: made.append(path) or read(path, *given, **options)
    )
    return made


def test_the_index_of_a_table_is_read_once_for_all_of_its_columns(calls: list[str]) -> None:
    table = pd.DataFrame(np.random.default_rng(1).random((50, 9)) + 1, DAYS)
    curves = [curve_record("equity", table.iloc[:, place], "equity") for place in range(9)]
    assert len(calls) == 1
    for place, curve in enumerate(curves):
        assert curve.values == table.iloc[:, place].tolist()
        assert curve.dates == [str(day.date()) for day in DAYS]
        assert curve.days(None).tolist() == [day.date() for day in DAYS]


def test_another_index_and_another_zone_are_read_anew(calls: list[str]) -> None:
    taipei, new_york = ZoneInfo("Asia/Taipei"), ZoneInfo("America/New_York")
    moments = DAYS + pd.Timedelta(hours=20)
    curve = pd.Series(1.0, moments)
    found = [curve_record("equity", curve, "equity", zone).dates[0] for zone in (None, taipei, new_york, taipei)]
    assert found == ["2024-01-01T20:00:00", "2024-01-01", "2024-01-01", "2024-01-01"]
    assert curve_record("equity", curve.shift(freq="D"), "equity", taipei).dates[0] == "2024-01-02"
    assert len(calls) == 5


def test_values_are_checked_each_time_and_an_index_that_descends_is_not_remembered(calls: list[str]) -> None:
    table = pd.DataFrame({"a": 1.0, "b": np.nan}, DAYS)
    curve_record("equity", table["a"], "equity")
    with pytest.raises(ValueError, match=r"equity\[0\]\.equity is nan"):
        curve_record("equity", table["b"], "equity")
    backward = pd.DataFrame({"a": range(50), "b": range(50)}, DAYS[::-1], dtype=float)
    for name in backward:
        assert curve_record("equity", backward[name], "equity").values == list(range(49, -1, -1))
    assert len(calls) == 3
