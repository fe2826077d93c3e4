"""Parameters and tables as a whole: which mappings and rows are taken, and that no key and no value is lost."""

from __future__ import annotations

import argparse
import json
import math
import sqlite3
from collections import ChainMap, OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import finlab_nb as fl


@dataclass
class Settings:
    """Parameters as a dataclass."""

    lookback: int = 60
    fee: float = 0.5


Pair = namedtuple("Pair", "lookback fee")


def _stored(store: fl.StorageManager, parameters: Any) -> dict[str, Any]:
    """Return the JSON that the file holds for parameters; it must be the same for strategies and iterations."""
    strategy = store.save_strategy_version("a", "x", parameters)
    iteration = store.save_iteration(store.save_strategy_version("b", "x"), parameters=parameters)
    connection = sqlite3.connect(store.path)
    (of_strategy,) = connection.execute(
        "SELECT parameters FROM strategies WHERE strategy_id = ?", (strategy,)
    ).fetchone()
    (of_iteration,) = connection.execute(
        "SELECT parameters FROM iterations WHERE iteration_id = ?", (iteration,)
    ).fetchone()
    connection.close()
    assert of_strategy == of_iteration
    found: dict[str, Any] = json.loads(of_strategy)
    return found


@pytest.mark.parametrize(
    "parameters",
    [
        {"lookback": 60, "fee": 0.5},
        OrderedDict(lookback=60, fee=0.5),
        defaultdict(int, lookback=60, fee=0.5),
        ChainMap({"lookback": 60}, {"fee": 0.5}),
        MappingProxyType({"lookback": 60, "fee": 0.5}),
        Settings(),
        Pair(60, 0.5),
        argparse.Namespace(lookback=60, fee=0.5),
        SimpleNamespace(lookback=60, fee=0.5),
        pd.Series({"lookback": 60, "fee": 0.5}, dtype=object),
    ],
    ids=lambda given: type(given).__name__,
)
def test_parameters_may_be_any_mapping_and_whatever_has_named_fields(store: fl.StorageManager, parameters: Any) -> None:
    assert _stored(store, parameters) == {"lookback": 60, "fee": 0.5}


@pytest.mark.parametrize(
    "parameters", [5, 0.5, True, "x", b"x", [1], (1, 2), {1}, np.array([1]), date(2024, 1, 2), Settings]
)
def test_parameters_that_are_no_mapping_are_refused(store: fl.StorageManager, parameters: Any) -> None:
    strategy = store.save_strategy_version("a", "x")
    for save in (
        lambda: store.save_strategy_version("a", "x", parameters),
        lambda: store.save_iteration(strategy, parameters=parameters),
    ):
        with pytest.raises(ValueError, match=r"^parameters is .*; it must be ") as refused:
            save()
        assert type(refused.value) is ValueError


@pytest.mark.parametrize(
    ("parameters", "stored"),
    [
        ({1: "whole", "1": "text"}, {"1": "whole", "1 (str)": "text"}),
        ({"1": "text", 1: "whole"}, {"1": "text", "1 (int)": "whole"}),
        ({True: "truth", "true": "text"}, {"true": "truth", "true (str)": "text"}),
        ({None: "nothing", "null": "text"}, {"null": "nothing", "null (str)": "text"}),
        ({None: "nothing", math.nan: "nan"}, {"null": "nothing", "null (float)": "nan"}),
        ({0.5: "float", "0.5": "text"}, {"0.5": "float", "0.5 (str)": "text"}),
        ({1.0: "float", "1": "text", "1.0": "more"}, {"1.0": "float", "1": "text", "1.0 (str)": "more"}),
        ({math.inf: "float", "Infinity": "text"}, {"Infinity": "float", "Infinity (str)": "text"}),
        ({np.float32(0.1): "single", 0.1: "double"}, {"0.1": "single", "0.1 (float)": "double"}),
        ({date(2024, 1, 2): "day", "2024-01-02": "text"}, {"2024-01-02": "day", "2024-01-02 (str)": "text"}),
    ],
    ids=str,
)
def test_keys_that_become_the_same_text_are_told_apart_by_their_types(
    store: fl.StorageManager, parameters: dict[Any, Any], stored: dict[str, Any]
) -> None:
    assert _stored(store, parameters) == stored
    assert _stored(store, {"nested": [parameters]}) == {"nested": [stored]}


@pytest.mark.parametrize(
    "parameters",
    [
        {1: "a", "1": "b", "1 (str)": "c"},
        {"1 (int)": "a", "1": "b", 1: "c"},
        {math.nan: "a", float("nan"): "b", float("nan"): "c", None: "d", "null": "e"},
        {float("nan"): "a", "null": "b", "null (float)": "c", float("nan"): "d"},
    ],
    ids=str,
)
def test_no_value_is_lost_where_keys_collide_more_than_once(
    store: fl.StorageManager, parameters: dict[Any, Any]
) -> None:
    assert sorted(_stored(store, parameters).values()) == sorted(parameters.values())


def test_one_truth_and_one_number_are_not_confused_in_nested_values(store: fl.StorageManager) -> None:
    for one, text in ((1, "1"), (True, "true"), (1.0, "1.0"), (np.float32(1), "1.0"), (np.True_, "true")) * 2:
        found = json.dumps(_stored(store, {"a": [one, {"b": (one,)}]}))
        assert found == f'{{"a": [{text}, {{"b": [{text}]}}]}}'


def test_a_mapping_that_holds_itself_is_stored_with_a_mark(store: fl.StorageManager) -> None:
    parameters: dict[str, Any] = {"lookback": 60}
    parameters["itself"] = parameters
    shared = [1]
    assert _stored(store, parameters) == {"lookback": 60, "itself": "<circular>"}
    assert _stored(store, {"a": shared, "b": shared}) == {"a": [1], "b": [1]}  # twice is no circle


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.assign(a=[1, 3]),
        lambda frame: frame.rename(columns={"a": "c"}),
        lambda frame: frame.set_axis(["u", "v"]),
        lambda frame: frame.iloc[::-1],
    ],
    ids=["value", "name", "index", "order"],
)
def test_tables_are_told_apart_by_their_content(store: fl.StorageManager, change: Any) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=["r", "s"])
    given = {"first": frame, "same": frame.copy(), "other": change(frame)}
    stored = _stored(store, given)
    assert stored["first"] == stored["same"] != stored["other"]
    assert all(text.startswith("DataFrame 2x2 sha256:") for text in stored.values())


def test_a_table_with_what_cannot_be_hashed_is_stored_too(store: fl.StorageManager) -> None:
    frame = pd.DataFrame({"a": [[1, 2], {"b": 1}], "c": [{1}, np.array([1])]})
    assert _stored(store, {"table": frame})["table"].startswith("DataFrame 2x2 sha256:")


class _Streamed:
    """A table of another library, which knows Arrow's protocol and nothing else."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)


def test_rows_of_sqlite_and_tables_that_speak_arrow_are_taken(store: fl.StorageManager) -> None:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    query = (
        "SELECT '0050' AS stock_code, '2024-01-02' AS entry_date, 1.5 AS entry_price, 10 AS position_size "
        "UNION ALL SELECT '2330', '2024-01-03', 2.5, 20"
    )
    rows = connection.execute(query).fetchall()
    frame = pd.DataFrame([dict(row) for row in rows])
    strategy = store.save_strategy_version("a", "x")
    for trades in (rows, connection.execute(query), _Streamed(frame), frame.itertuples(), frame.to_records()):
        iteration = store.save_iteration(strategy, trades=trades)
        with sqlite3.connect(store.path) as reading:
            found = reading.execute(
                "SELECT stock_code, entry_date, entry_price, position_size FROM trades WHERE iteration_id = ? "
                "ORDER BY trade_id",
                (iteration,),
            ).fetchall()
        reading.close()
        assert found == [("0050", "2024-01-02", 1.5, 10.0), ("2330", "2024-01-03", 2.5, 20.0)]
    connection.close()
