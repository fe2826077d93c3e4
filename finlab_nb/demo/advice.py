"""Suggestions for the next iteration: rules applied to the metrics, trades and parameters of an iteration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from finlab_nb.analysis import win_rate
from finlab_nb.analysis.performance import Floats

Suggestion: TypeAlias = dict[str, Any]

LOW_WIN_RATE: Final = 0.40
DEEP_DRAWDOWN: Final = -0.30
VERY_DEEP_DRAWDOWN: Final = -0.45
LOW_SHARPE: Final = 0.3
HIGH_SHARPE: Final = 1.0
COSTLY: Final = 0.15
FEW_TRADES: Final = 50
ONE_STOCK: Final = 0.6

_BASIS_POINT: Final = 1e-4
_LONG_WINDOWS: Final = ("slow", "trend", "exit_window")
_SHORT_WINDOWS: Final = ("fast", "lookback", "entry_window")

_BROCK: Final = (
    "Brock, Lakonishok and LeBaron (1992). Simple technical trading rules and the stochastic properties of "
    "stock returns. Journal of Finance 47(5), 1731-1764."
)
_MOSKOWITZ: Final = (
    "Moskowitz, Ooi and Pedersen (2012). Time series momentum. Journal of Financial Economics 104(2), 228-250."
)
_MAGDON: Final = "Magdon-Ismail and Atiya (2004). Maximum drawdown. Risk 17(10), 99-102."
_NOVY_MARX: Final = (
    "Novy-Marx and Velikov (2016). A taxonomy of anomalies and their trading costs. "
    "Review of Financial Studies 29(1), 104-147."
)
_LO: Final = "Lo (2002). The statistics of Sharpe ratios. Financial Analysts Journal 58(4), 36-52."
_MARKOWITZ: Final = "Markowitz (1952). Portfolio selection. Journal of Finance 7(1), 77-91."
_ELTON: Final = (
    "Elton, Gruber and Blake (1996). Survivorship bias and mutual fund performance. "
    "Review of Financial Studies 9(4), 1097-1120."
)
_BAILEY: Final = (
    "Bailey and López de Prado (2014). The deflated Sharpe ratio. Journal of Portfolio Management 40(5), 94-107."
)


class _Iteration(NamedTuple):
    metrics: Mapping[str, float]
    closed: pd.DataFrame
    trades: pd.DataFrame
    parameters: Mapping[str, Any]


def suggestions_for(
    metrics: Mapping[str, float], trades: pd.DataFrame, parameters: Mapping[str, Any]
) -> list[Suggestion]:
    """Return what an iteration suggests trying next, most important first.

    Parameters
    ----------
    metrics
        ``sharpe_ratio`` and ``max_drawdown`` as `finlab_nb.analysis.equity_metrics` returns them.
    trades
        As in `finlab_nb.demo.backtest.BacktestResult`.
    parameters
        The parameters of the iteration; ``cost_bps`` is the cost of each side in basis points.

    Returns
    -------
    list of dict
        ``priority`` (high, medium, low), ``description, specific_changes, expected_impact, rationale`` (text) and
        ``learning_references`` (list of text). Empty if no rule applies.
    """
    iteration = _Iteration(metrics, trades[trades["exit_date"].notna()], trades, parameters)
    found = [suggestion for rule in _RULES if (suggestion := rule(iteration)) is not None]
    order = {"high": 0, "medium": 1, "low": 2}
    return sorted(found, key=lambda suggestion: order[suggestion["priority"]])


def _suggestion(
    priority: str, description: str, changes: str, impact: str, rationale: str, *references: str
) -> Suggestion:
    return {
        "priority": priority,
        "description": description,
        "specific_changes": changes,
        "expected_impact": impact,
        "rationale": rationale,
        "learning_references": list(references),
    }


def _low_sharpe(iteration: _Iteration) -> Suggestion | None:
    sharpe = iteration.metrics["sharpe_ratio"]
    if not sharpe < LOW_SHARPE:
        return None
    return _suggestion(
        "high",
        f"The Sharpe ratio is only {sharpe:.2f}: the signal hardly pays for its risk",
        "Change the idea rather than its numbers: add a trend filter, or drop the side that loses",
        "A Sharpe ratio above 0.5, or the knowledge that the idea does not work",
        f"Below {LOW_SHARPE}, 13 years cannot be told from luck: its standard error alone is about 0.28.",
        _LO,
        _MOSKOWITZ,
    )


def _deep_drawdown(iteration: _Iteration) -> Suggestion | None:
    deepest = iteration.metrics["max_drawdown"]
    if not deepest < DEEP_DRAWDOWN:
        return None
    exposure = float(iteration.parameters.get("exposure", 1.0))
    return _suggestion(
        "high" if deepest < VERY_DEEP_DRAWDOWN else "medium",
        f"The account once fell by {-deepest:.0%} from its peak",
        f"exposure: {exposure:g} -> {exposure / 2:g}; or leave the market when the whole account is below its average",
        f"A maximum drawdown of about {-deepest / 2:.0%}, for about half of the return",
        f"A fall of {-deepest:.0%} takes a gain of {_recovery(deepest)} to recover, and few hold out that long.",
        _MAGDON,
    )


def _recovery(fall: float) -> str:
    return f"{1 / (1 + fall) - 1:.0%}" if fall > -1 else "more than everything"


def _low_win_rate(iteration: _Iteration) -> Suggestion | None:
    share = win_rate(iteration.closed["profit_loss"])
    if not share < LOW_WIN_RATE or len(iteration.closed) < 10:
        return None
    return _suggestion(
        "medium",
        f"Only {share:.0%} of the closed trades made money",
        _longer(iteration.parameters, _LONG_WINDOWS),
        "Fewer false starts in sideways markets, at the price of later exits",
        "Following a trend wins seldom and big; a longer window leaves out the shortest swings, which mostly lose.",
        _BROCK,
    )


def _longer(parameters: Mapping[str, Any], names: tuple[str, ...]) -> str:
    changes = [f"{name}: {parameters[name]} -> {round(1.5 * parameters[name])}" for name in names if name in parameters]
    return "; ".join(changes) or "Use a longer window"


def _costly(iteration: _Iteration) -> Suggestion | None:
    costs = _costs(iteration)
    net = float(iteration.trades["profit_loss"].sum())
    gross = net + costs
    if costs <= 0 or (gross > 0 and costs <= COSTLY * gross):
        return None
    share = f"{costs / gross:.0%} of the profit before costs" if gross > 0 else "and there was no profit to pay them"
    return _suggestion(
        "high" if net <= 0 else "medium",
        f"{len(iteration.trades)} trades cost {costs:,.0f}, {share}",
        f"{_longer(iteration.parameters, _SHORT_WINDOWS)}; or trade only when a signal has lasted three days",
        f"Every trade less saves about {costs / max(len(iteration.trades), 1):,.0f}",
        "Costs are certain, the edge of a signal is not: turnover must earn more than it costs.",
        _NOVY_MARX,
    )


def _costs(iteration: _Iteration) -> float:
    size = iteration.trades["position_size"].abs()
    exits = iteration.trades["exit_price"].where(iteration.trades["exit_date"].notna(), 0.0)
    turnover = float((size * (iteration.trades["entry_price"] + exits)).sum())
    return turnover * float(iteration.parameters.get("cost_bps", 0.0)) * _BASIS_POINT


def _one_stock(iteration: _Iteration) -> Suggestion | None:
    profits = iteration.trades.groupby("stock_code")["profit_loss"].sum()
    gains = profits[profits > 0]
    if len(profits) < 2 or gains.empty:
        return None
    best, share = str(gains.idxmax()), float(gains.max() / gains.sum())
    if share <= ONE_STOCK:
        return None
    return _suggestion(
        "medium",
        f"{best} alone made {share:.0%} of the gains",
        f"Run it again without {best}, and on shares that were chosen by a rule of the time",
        "The figures of the strategy rather than those of one lucky share",
        f"In hindsight {best} is an easy choice. What is left without it is what a new share may be expected to earn.",
        _MARKOWITZ,
        _ELTON,
    )


def _losing_side(iteration: _Iteration) -> Suggestion | None:
    profits: Floats = iteration.trades["profit_loss"].to_numpy(dtype=np.float64)
    is_short = iteration.trades["position_size"].to_numpy(dtype=np.float64) < 0
    short, long = float(profits[is_short].sum()), float(profits[~is_short].sum())
    if not is_short.any() or short >= 0 or long <= 0:
        return None
    return _suggestion(
        "medium",
        f"Short trades lost {-short:,.0f}, long trades made {long:,.0f}",
        "Only go long; or go short only while the price is below its 200-day average",
        f"Up to {-short:,.0f} more, and a quieter account",
        "Shares rise in the long term: a short sale pays that premium instead of earning it.",
        _MOSKOWITZ,
    )


def _few_trades(iteration: _Iteration) -> Suggestion | None:
    if len(iteration.closed) >= FEW_TRADES:
        return None
    return _suggestion(
        "low",
        f"{len(iteration.closed)} closed trades are few to judge by",
        "Run it on more shares, or over more years",
        "The same conclusions, with less doubt",
        "The win rate of 50 trades is uncertain by 14 percentage points either way (95%).",
        _LO,
    )


def _too_good(iteration: _Iteration) -> Suggestion | None:
    sharpe = iteration.metrics["sharpe_ratio"]
    if not sharpe > HIGH_SHARPE:
        return None
    return _suggestion(
        "low",
        f"A Sharpe ratio of {sharpe:.2f} on four survivors is no evidence of skill",
        "Count all that you tried and deflate the ratio by their number; keep the last years for one final test",
        "A lower ratio that is more likely to last",
        "The best of many iterations is good by selection, and these four shares were known to do well.",
        _BAILEY,
        _ELTON,
    )


_RULES: Final[tuple[Callable[[_Iteration], Suggestion | None], ...]] = (
    _low_sharpe,
    _deep_drawdown,
    _costly,
    _low_win_rate,
    _one_stock,
    _losing_side,
    _few_trades,
    _too_good,
)
