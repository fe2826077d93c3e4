"""Which run gets which suggestion."""

import math

import pandas as pd
import pytest

from finlab_nb.demo.advice import suggestions_for

FIELDS = ["priority", "description", "specific_changes", "expected_impact", "rationale", "learning_references"]
FINE = {"annualized_return": 0.1, "sharpe_ratio": 0.7, "max_drawdown": -0.1}


def trades(*profits: float, codes: str = "AB", size: float = 10.0, price: float = 100.0) -> pd.DataFrame:
    count = len(profits)
    return pd.DataFrame(
        {
            "stock_code": [codes[place % len(codes)] for place in range(count)],
            "entry_date": pd.Timestamp("2024-01-02"),
            "exit_date": pd.Timestamp("2024-02-02"),
            "entry_price": price,
            "exit_price": price,
            "position_size": size,
            "profit_loss": profits,
        }
    )


GOOD = trades(*[50.0, 50.0, -20.0, -20.0] * 20)


def test_a_run_without_a_fault_has_no_suggestion():
    assert suggestions_for(FINE, GOOD, {"cost_bps": 0.0}) == []


@pytest.mark.parametrize(
    ("metrics", "table", "parameters", "priority", "text"),
    [
        ({"sharpe_ratio": 0.2}, GOOD, {}, "high", "Sharpe ratio is only 0.20"),
        ({"sharpe_ratio": 1.4}, GOOD, {}, "low", "four survivors is no evidence of skill"),
        ({"max_drawdown": -0.35}, GOOD, {"exposure": 1.0}, "medium", "once fell by 35%"),
        ({"max_drawdown": -0.6}, GOOD, {}, "high", "once fell by 60%"),
        ({"max_drawdown": -1.2}, GOOD, {}, "high", "once fell by 120%"),
        ({}, trades(*[90.0, 90.0, -20.0, -20.0, -20.0, -20.0] * 10), {}, "medium", "Only 33% of the closed"),
        ({}, GOOD, {"cost_bps": 25.0}, "medium", "80 trades cost 400, 25% of the profit before costs"),
        ({}, trades(*[10.0, 10.0, -10.0, -10.0] * 20), {"cost_bps": 10.0}, "high", "80 trades cost 160, 100%"),
        ({}, trades(*[100.0, 10.0] * 40), {}, "medium", "A alone made 91% of the gains"),
        ({}, GOOD.head(20), {}, "low", "20 closed trades are few"),
        (
            {},
            pd.concat([GOOD, trades(-1.0, -1.0, size=-10.0)]),
            {},
            "medium",
            "Short trades lost 2, long trades made 1,200",
        ),
    ],
)
def test_each_fault_has_its_suggestion(metrics, table, parameters, priority, text):
    (suggestion,) = suggestions_for(FINE | metrics, table, parameters)
    assert text in suggestion["description"]
    assert suggestion["priority"] == priority
    assert list(suggestion) == FIELDS
    assert all(suggestion[field] for field in FIELDS)
    assert all(isinstance(reference, str) for reference in suggestion["learning_references"])


def test_a_change_names_the_parameter_and_its_next_value():
    losing = trades(*[90.0, 90.0, -20.0, -20.0, -20.0, -20.0] * 10)
    (suggestion,) = suggestions_for(FINE, losing, {"fast": 20, "slow": 100})
    assert suggestion["specific_changes"] == "slow: 100 -> 150"


def test_the_most_important_comes_first():
    found = suggestions_for(FINE | {"sharpe_ratio": 0.1, "max_drawdown": -0.35}, GOOD.head(20), {})
    assert [suggestion["priority"] for suggestion in found] == ["high", "medium", "low"]


def test_unknown_metrics_and_no_trades_are_understood():
    unknown = dict.fromkeys(FINE, math.nan)
    assert [found["priority"] for found in suggestions_for(unknown, GOOD.head(0), {"cost_bps": 10.0})] == ["low"]
