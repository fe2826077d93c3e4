"""Fill a database with the demo: existing rows stay, missing ones are added."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd
from tqdm import tqdm

from finlab_nb.analysis import equity_metrics
from finlab_nb.demo.advice import suggestions_for
from finlab_nb.demo.prices import load_prices
from finlab_nb.demo.strategies import STRATEGIES, Parameters, Strategy
from finlab_nb.store import StorageManager

DEMO_TAG: Final = "demo"
_CAVEAT: Final = "Four survivors (AAPL, GOOG, IBM, MSFT): no evidence of skill."

_Iterations = dict[str, dict[str, Any]]


class _ProgressBar(tqdm):  # type: ignore[type-arg]
    monitor_interval = 0  # no thread, which would outlive the bar


def build_demo(db_path: str | os.PathLike[str], *, progress: bool = True) -> list[str]:
    """Add the demo to a database: four strategies on real prices, with trades, equity and suggestions.

    Existing strategies (recognised by name and code) and iterations (by their parameters) are left as they are. So a
    second call adds nothing, the next call completes an interrupted one, and two calls at once add each iteration only
    once. Nothing is ever removed. When the last iteration has been added, the one with the highest Sharpe ratio is
    starred, unless an iteration of the demo is starred already.

    The prices are those of four survivors: the results are no evidence of skill.

    Parameters
    ----------
    db_path
        The database file, created if it does not exist.
    progress
        Show a progress bar on stderr.

    Returns
    -------
    list of str
        The ids of all iterations of the demo, by strategy and in the order of its grid.

    Raises
    ------
    StorageError
        If the database cannot be opened or written.
    """
    total = sum(len(strategy.grid) for strategy in STRATEGIES)
    ids: list[str] = []
    with (
        StorageManager(db_path) as store,
        _ProgressBar(total=total, desc="demo", unit="iteration", file=sys.stderr, disable=not progress) as bar,
    ):
        strategy_ids = _save_strategies(store)
        prices = None
        for strategy in STRATEGIES:
            strategy_id = strategy_ids[strategy.name]
            missing = _missing(strategy, _iterations(store, strategy_id))
            bar.update(len(strategy.grid) - len(missing))
            if missing:
                prices = load_prices() if prices is None else prices
                computed = []
                for parameters in missing:
                    computed.append(_iteration(strategy, parameters, prices))
                    bar.update()
                _save_missing(store, strategy, strategy_ids, computed)
            found = _iterations(store, strategy_id)
            ids.extend(found[_key(parameters)]["iteration_id"] for parameters in strategy.grid)
    return ids


def _save_strategies(store: StorageManager) -> dict[str, str]:
    """Return the ids of the strategies by name; missing ones are saved, parents first."""
    ids: dict[str, str] = {}
    for strategy in STRATEGIES:
        with store.transaction():
            same = [found for found in store.find_strategies(strategy.name) if found["code"] == strategy.code]
            ids[strategy.name] = (
                same[0]["strategy_id"]
                if same
                else store.save_strategy_version(
                    strategy.name,
                    strategy.code,
                    strategy.parameters,
                    parent_strategy_id=None if strategy.parent is None else ids[strategy.parent],
                )
            )
    return ids


def _save_missing(
    store: StorageManager, strategy: Strategy, strategy_ids: Mapping[str, str], computed: list[dict[str, Any]]
) -> None:
    """Save the iterations that no other process has saved meanwhile, and star the best once all are there."""
    with store.transaction():
        strategy_id = strategy_ids[strategy.name]
        present = _iterations(store, strategy_id)
        new = [iteration for iteration in computed if _key(iteration["parameters"]) not in present]
        for iteration in new:
            store.save_iteration(strategy_id, **iteration)
        if new:
            _star_the_best(store, strategy_ids)


def _star_the_best(store: StorageManager, strategy_ids: Mapping[str, str]) -> None:
    found: list[dict[str, Any]] = []
    for strategy in STRATEGIES:
        present = _iterations(store, strategy_ids[strategy.name])
        if _missing(strategy, present):
            return
        found.extend(present[_key(parameters)] for parameters in strategy.grid)
    if not any(iteration["starred"] for iteration in found):
        best = max(found, key=_sharpe_ratio)
        store.annotate(best["iteration_id"], starred=True)


def _sharpe_ratio(iteration: Mapping[str, Any]) -> float:
    ratio = iteration["metrics"]["sharpe_ratio"]
    return float("-inf") if ratio is None or ratio != ratio else float(ratio)


def _iterations(store: StorageManager, strategy_id: str) -> _Iterations:
    """Find the iterations of a strategy by their parameters; among equal ones, the first."""
    found: _Iterations = {}
    for iteration in store.load_strategy_history(strategy_id):
        found.setdefault(_key(iteration["parameters"] or {}), iteration)
    return found


def _missing(strategy: Strategy, found: _Iterations) -> list[Parameters]:
    return [parameters for parameters in strategy.grid if _key(parameters) not in found]


def _key(parameters: Mapping[str, Any]) -> str:
    return json.dumps(parameters, sort_keys=True, default=str)


def _iteration(strategy: Strategy, parameters: Parameters, prices: pd.DataFrame) -> dict[str, Any]:
    """Backtest one set of parameters, and return the arguments to save it with."""
    result = strategy.run(prices, parameters)
    is_first = parameters == strategy.parameters
    return {
        "parameters": parameters,
        "trades": result.trades,
        "equity": result.equity,
        "initial_capital": float(result.equity.iloc[0]),
        "timezone": "America/New_York",
        "currency": "USD",
        "suggestions": suggestions_for(equity_metrics(result.equity), result.trades, parameters),
        "tags": [DEMO_TAG, strategy.family],
        "note": f"First parameters of {strategy.name}. {_CAVEAT}" if is_first else None,
    }
