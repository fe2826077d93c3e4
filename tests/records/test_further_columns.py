"""The columns of trades: ours, usual other names, further ones, and misspelt ones."""

from __future__ import annotations

import enum
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finlab_nb.records import TRADE_FIELDS, Iteration, iteration_record
from finlab_nb.records.names import OTHER_NAMES, _letters

TRADE = {"stock_code": "2330", "entry_date": "2024-01-02", "entry_price": 100.0, "position_size": 1.0}
CLOSED = TRADE | {"exit_date": "2024-01-03", "exit_price": 110.0}


def saved(trades: Any, **more: Any) -> Iteration:
    return iteration_record("a strategy", trades=trades, **more)


def only_trade(**changes: Any) -> dict[str, Any]:
    [row] = saved([CLOSED | changes]).trades
    return dict(zip(TRADE_FIELDS, row, strict=True))


VALUES = {
    "stock_code": "0050", "entry_date": "2024-01-01", "exit_date": "2024-02-01", "entry_reason": "breakout",
    "exit_reason": "stop", "mae": -0.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("column", "name"), [(column, name) for column in OTHER_NAMES for name in (column, *OTHER_NAMES[column])]
)
def test_a_usual_other_name_is_understood_however_it_is_written(column: str, name: str) -> None:
    value = VALUES.get(column, 2.0)
    beside = {other: given for other, given in CLOSED.items() if other != column}
    for written in (name, name.upper(), name.replace("_", " ").title(), name.replace("_", "-"), name.replace("_", "")):
        [row] = saved([beside | {written: value}]).trades
        assert dict(zip(TRADE_FIELDS, row, strict=True)) == dict.fromkeys(TRADE_FIELDS) | CLOSED | {column: value}


def test_no_other_name_stands_for_two_columns() -> None:
    names = [_letters(name) for column in OTHER_NAMES for name in (column, *OTHER_NAMES[column])]
    assert sorted(set(names)) == sorted(names)
    assert set(OTHER_NAMES) <= set(TRADE_FIELDS)


def test_our_own_name_counts_before_others_and_the_first_of_those_before_the_next() -> None:
    found = only_trade(pnl=1.0, profit_loss=2.0, commission=3.0, fee=4.0)
    assert (found["profit_loss"], found["fees"]) == (2.0, 4.0)
    assert json.loads(found["extra"]) == {"pnl": 1.0, "commission": 3.0}


@pytest.mark.parametrize("name", ["Return [%]", "return_pct", "ReturnPct", "pnl_pct", "profit_pct"])
def test_names_in_percent_are_further_columns(name: str) -> None:
    assert only_trade(**{name: 10.0})["extra"] == json.dumps({name: 10.0})


def test_a_further_column_is_kept_under_its_name_in_the_form_of_a_parameter() -> None:
    class Side(enum.Enum):
        LONG = "long"

    table = pd.DataFrame([CLOSED] * 3).assign(
        leverage=[3, 2, 1],
        Direction=[Side.LONG, None, Side.LONG],
        bars=[5.0, np.nan, np.inf],
        day=pd.Timestamp("2024-01-02"),
    )
    rows = [json.loads(row[-1]) for row in saved(table.assign(day=table["day"].where([True, False, False]))).trades]
    assert rows == [
        {"leverage": 3, "Direction": "long", "bars": 5.0, "day": "2024-01-02T00:00:00"},
        {"leverage": 2},
        {"leverage": 1, "Direction": "long", "bars": "Infinity"},
    ]


def test_a_row_without_a_further_value_has_no_extra() -> None:
    assert [row[-1] for row in saved([CLOSED | {"note": "x"}, CLOSED | {"note": None}, CLOSED]).trades] == [
        '{"note": "x"}', None, None,
    ]  # fmt: skip


@pytest.mark.parametrize("given", [{"a": 1, "b": None}, '{"a": 1, "b": null}'])
def test_a_given_extra_is_joined_with_further_columns(given: object) -> None:
    assert json.loads(only_trade(extra=given, leverage=2)["extra"]) == {"a": 1, "b": None, "leverage": 2}


@pytest.mark.parametrize("given", ["[1]", "text", '{"a": NaN}', 5, [1]])
def test_an_extra_that_is_no_object_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"^trades\[0\]\.extra is .*; it must be a dict, or the text of a JSON object"):
        only_trade(extra=given)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("profit_los", "profit_loss"), ("ProfitLos", "profit_loss"), ("trade_retrun", "trade_return"),
        ("exit_reasons", "exit_reason"), ("entry-raeson", "entry_reason"), ("multiplyer", "multiplier"),
    ],
)  # fmt: skip
def test_a_misspelt_column_is_refused_with_the_name_that_was_meant(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"^trades has the unknown field '{name}'; did you mean '{meant}'\?"):
        only_trade(**{name: 0.1})
    frame = pd.DataFrame([CLOSED | {name: 0.1}])
    with pytest.raises(ValueError, match=rf"trades has the unknown field '{name}'; did you mean '{meant}'\?"):
        saved(frame)
    value = 0.5 if "reason" not in meant else "x"
    assert json.loads(only_trade(**{name: 0.1, meant: value})["extra"]) == {name: 0.1}  # ours is there


@pytest.mark.parametrize("name", ["fes", "mai", "mee", "bars", "entry_signal_price", "exit_dates2"])
def test_short_names_and_others_are_no_misspelling(name: str) -> None:
    assert json.loads(only_trade(**{name: 0.1})["extra"]) == {name: 0.1}


def test_a_dict_of_columns_is_a_table() -> None:
    columns = {name: [value, value] for name, value in CLOSED.items()}
    expected = saved([CLOSED, CLOSED]).trades
    assert saved(columns).trades == saved({name: np.array(one) for name, one in columns.items()}).trades == expected
    assert saved({name: pd.Series(one, [7, 3]) for name, one in columns.items()}).trades == expected
    with pytest.raises(ValueError, match=r"trades has columns of different lengths: .*entry_price 1"):
        saved(columns | {"entry_price": [1.0]})
    curve = {"date": np.array(["2024-01-02", "2024-01-03"], dtype="M8[D]"), "equity": [1.0, 2.0]}
    found = iteration_record("a strategy", equity=curve).equity
    assert found == [("2024-01-02", 1.0), ("2024-01-03", 2.0)] == list(found)
    assert found != [("2024-01-02", 1.0), ("2024-01-03", 2.5)]
    assert (found[-1], found[:1]) == (("2024-01-03", 2.0), [("2024-01-02", 1.0)])


def test_our_own_frames_can_be_saved_again() -> None:
    own = {
        "trade_id": 7,
        "iteration_id": "x",
        "entry_day": pd.Timestamp("2024-01-02"),
        "exit_day": pd.Timestamp("2024-01-03"),
    }
    assert only_trade(**own) == dict.fromkeys(TRADE_FIELDS) | CLOSED


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("stop", "stop"),
        (0.0, "0.0"),
        (1, "1"),
        (True, "True"),
        (np.float32(0.1), "0.1"),
        (None, None),
        (np.nan, None),
        ("", ""),
    ],
)
def test_a_reason_is_the_text_of_any_scalar(given: object, stored: str | None) -> None:
    assert only_trade(entry_reason=given)["entry_reason"] == stored
    assert only_trade(exit_tag=given)["exit_reason"] == stored


@pytest.mark.parametrize("given", [["a"], {"a": 1}, (1, 2)])
def test_a_reason_is_no_container(given: object) -> None:
    with pytest.raises(ValueError, match=r"^trades\[0\]\.entry_reason is .*; it must be text"):
        only_trade(entry_reason=given)


@pytest.mark.parametrize(("column", "wrong"), [("mae", 0.02), ("mfe", -0.01), ("multiplier", 0.0), ("multiplier", -1)])
def test_excursions_and_multipliers_have_their_sign(column: str, wrong: float) -> None:
    with pytest.raises(ValueError, match=rf"^trades\[0\]\.{column} is {wrong}; it must be a finite number"):
        only_trade(**{column: wrong})


def test_an_import_takes_names_as_they_are() -> None:
    for wrong in ({"pnl": 1.0}, {"leverage": 2.0}, {"entry_reason": 1}):
        with pytest.raises(ValueError, match=r"^trades"):
            saved([CLOSED | wrong], exact=True)
    assert saved([CLOSED | {"extra": {"a": 1.5}}], exact=True).trades[0][-1] == '{"a": 1.5}'


def test_win_rate_counts_returns_where_the_profit_is_unknown() -> None:
    trades = [
        CLOSED | {"profit_loss": -1.0, "trade_return": 0.5},
        CLOSED | {"trade_return": 0.1},
        TRADE | {"trade_return": 0.1},
    ]
    assert saved(trades).metrics[3:] == (0.5, 2)
