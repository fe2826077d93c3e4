"""What each question must answer: the essence of a tool's answer, and the same made from the work itself."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cache
from typing import Any, Final

QUESTIONS: Final = {
    "iterations": "all iterations",
    "best": "ten best",
    "trades": "trades of one iteration",
    "by_stock": "profit by stock",
    "strategies": "small table by SQL",
}


def essence(question: str, answer: Any) -> list[Any]:
    """Return what must be right in an answer, as plain lists in an order of their own."""
    if question == "strategies":
        return sorted(answer["name"])
    if question == "by_stock":
        return [[stock, float(profit)] for stock, profit in sorted(answer.items())]
    if question == "trades":
        columns = (answer["stock_code"], answer["entry_date"].dt.strftime("%Y-%m-%d"), answer["profit_loss"])
        return sorted([stock, day, float(profit)] for stock, day, profit in zip(*columns, strict=True))
    # A tool may have a prefix for parameters and for metrics, and values that are text.
    names = (next(name for name in answer.columns if name.endswith(part)) for part in ("sharpe_ratio", "lookback"))
    pairs = [[float(sharpe), int(lookback)] for sharpe, lookback in zip(*(answer[name] for name in names), strict=True)]
    return pairs if question == "best" else sorted(pairs)


def right(question: str, count: int, number: int) -> list[Any]:
    """Return the essence of the right answer.

    Parameters
    ----------
    question
        A key of `QUESTIONS`.
    count
        How many iterations the book holds, from number 0 on.
    number
        The iteration whose trades are asked for.
    """
    from tests.benchmarks import work

    if question == "strategies":
        return sorted(strategy_names())
    if question == "trades":
        return essence("trades", work.iteration(number).trades)
    pairs, profits = _of_book(count)
    if question == "by_stock":
        return profits
    return sorted(pairs, reverse=True)[:10] if question == "best" else sorted(pairs)


def strategy_names() -> list[str]:
    """Return the names of the small table."""
    from tests.benchmarks.work import STRATEGIES

    return [f"strategy {number}" for number in range(STRATEGIES)]


def agree(found: Any, wanted: Any) -> bool:
    """Tell whether two essences are the same, sums to nine digits."""
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(agree, found, wanted))
    return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-4) if isinstance(wanted, float) else found == wanted


@cache
def _of_book(count: int) -> tuple[list[list[Any]], list[list[Any]]]:
    from tests.benchmarks.work import iteration

    pairs, profits = [], defaultdict(float)
    for one in map(iteration, range(count)):
        pairs.append([one.metrics["sharpe_ratio"], one.parameters["lookback"]])
        for stock, profit in one.trades.groupby("stock_code")["profit_loss"].sum().items():
            profits[stock] += profit
    return pairs, [[stock, profits[stock]] for stock in sorted(profits)]
