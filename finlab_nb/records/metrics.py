"""The table of metrics: what each is called, what it is measured in, which way is better and how it reads on screen.

The standard set is stored in columns of the table `metrics`; the definitions are in `finlab_nb.analysis`. Further
metrics are stored by name in `extra_metrics`. Well-known ones are listed here too, so that `Lab.best` knows which
way is better and tables can format their values; any other name is stored and shown as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from finlab_nb.records.plain import is_missing

Format: TypeAlias = Callable[[Any], str]

MISSING: Final = "–"


def number(value: Any) -> str:
    """Write a number with six digits."""
    return _finite(value, "{:.6g}")


def percent(value: Any) -> str:
    """Write a fraction as percent with one decimal."""
    return _finite(value, "{:.1%}")


def ratio(value: Any) -> str:
    """Write a ratio with two decimals."""
    return _finite(value, "{:.2f}")


def count(value: Any) -> str:
    """Write a whole number with separated thousands, any other number as `number` does."""
    return f"{int(value):,}" if not is_missing(value) and value % 1 == 0 else number(value)


def _finite(value: Any, form: str) -> str:
    if is_missing(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return form.format(float(value))


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    `better` is None where neither side is (the number of trades), and where engines disagree about the sign.
    `kind`, `least` and `most` say what a column of the standard set holds; `hint` shows a right value where mistakes
    are common.
    """

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower"] | None
    format: Format
    kind: Literal["float", "whole"] = "float"
    least: float = -math.inf
    most: float = math.inf
    hint: str = ""

    def allows(self, value: float) -> bool:
        """Tell whether a value is in the range."""
        return self.least <= value <= self.most

    @property
    def allowed(self) -> str:
        """What a value must be, in the words of an error message."""
        bounds = (math.isfinite(self.least), math.isfinite(self.most))
        if self.kind == "float" and not any(bounds):
            return "a finite number"
        noun = "a whole number" if self.kind == "whole" else f"a {self.unit}"
        if all(bounds):
            return f"{noun} from {self.least:g} to {self.most:g}"
        return f"{noun} of at most {self.most:g}" if bounds[1] else f"{noun} of at least {self.least:g}"


STANDARD_SET: Final = (
    Metric("annualized_return", "Return p.a.", "fraction a year", "higher", percent),
    Metric("sharpe_ratio", "Sharpe ratio", "ratio", "higher", ratio),
    # Higher is nearer to 0: a smaller fall.
    Metric("max_drawdown", "Max drawdown", "fraction", "higher", percent, most=0, hint="-0.2 for a fall of 20%"),
    Metric("win_rate", "Win rate", "fraction", "higher", percent, least=0, most=1),
    Metric("total_trades", "Trades", "trades", None, count, kind="whole", least=0),
)
METRICS: Final = tuple(metric.name for metric in STANDARD_SET)

_WELL_KNOWN: Final = (
    Metric("open_trades", "Open trades", "trades", None, count),
    Metric("total_return", "Total return", "fraction", "higher", percent),
    Metric("cagr", "CAGR", "fraction a year", "higher", percent),
    Metric("alpha", "Alpha", "fraction a year", "higher", percent),
    Metric("beta", "Beta", "ratio", None, ratio),
    Metric("volatility", "Volatility", "fraction a year", "lower", percent),
    Metric("downside_deviation", "Downside deviation", "fraction a year", "lower", percent),
    Metric("tracking_error", "Tracking error", "fraction a year", "lower", percent),
    Metric("sortino_ratio", "Sortino ratio", "ratio", "higher", ratio),
    Metric("calmar_ratio", "Calmar ratio", "ratio", "higher", ratio),
    Metric("omega_ratio", "Omega ratio", "ratio", "higher", ratio),
    Metric("information_ratio", "Information ratio", "ratio", "higher", ratio),
    Metric("profit_factor", "Profit factor", "ratio", "higher", ratio),
    Metric("payoff_ratio", "Payoff ratio", "ratio", "higher", ratio),
    Metric("recovery_factor", "Recovery factor", "ratio", "higher", ratio),
    Metric("average_drawdown", "Average drawdown", "fraction", "higher", percent),  # at most 0, like max_drawdown
    Metric("max_drawdown_duration", "Max drawdown duration", "days", "lower", number),
    Metric("ulcer_index", "Ulcer index", "fraction, or percent", "lower", number),
    Metric("max_consecutive_losses", "Max consecutive losses", "trades", "lower", count),
    Metric("turnover", "Turnover", "fraction a year", "lower", percent),
    Metric("exposure", "Exposure", "fraction", None, percent),
    # Some engines store these as a return (at most 0), others as a loss (at least 0).
    Metric("value_at_risk", "Value at risk", "fraction", None, percent),
    Metric("expected_shortfall", "Expected shortfall", "fraction", None, percent),
    Metric("skewness", "Skewness", "ratio", None, ratio),
    Metric("kurtosis", "Kurtosis", "ratio", None, ratio),
)
KNOWN_METRICS: Final = {metric.name: metric for metric in (*STANDARD_SET, *_WELL_KNOWN)}


def lowest_is_best(name: str) -> bool:
    """Tell whether the smallest value of a metric is the best; for an unknown metric it is not."""
    return name in KNOWN_METRICS and KNOWN_METRICS[name].better == "lower"
