"""Where a backtest comes from: engine, packages, data and machine, so that it can be told later why two differ."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any, Final

from finlab_nb.engines.result import Result
from finlab_nb.records.parameters import plain
from finlab_nb.records.values import held_number

# What figures depend on, where a kernel has imported it: the name of the module, and that of its distribution.
_PACKAGES: Final[Mapping[str, str]] = {
    "numpy": "numpy",
    "pandas": "pandas",
    "polars": "polars",
    "scipy": "scipy",
    "numba": "numba",
    "talib": "TA-Lib",
    "sklearn": "scikit-learn",
    "lightgbm": "lightgbm",
    "xgboost": "xgboost",
    "torch": "torch",
    "vectorbt": "vectorbt",
    "backtesting": "backtesting",
    "finlab": "finlab",
    "freqtrade": "freqtrade",
    "nautilus_trader": "nautilus_trader",
    "backtrader": "backtrader",
    "zipline": "zipline-reloaded",
    "bt": "bt",
    "pybroker": "lib-pybroker",
    "jesse": "jesse",
    "qlib": "pyqlib",
    "finlab_nb": "finlab_nb",
}
_SEEDS: Final = ("seed", "random_state", "random_seed")


def surroundings(prices: object) -> dict[str, Any]:
    """Return what all results that are recorded together share, by the columns of the table ``provenance``.

    Parameters
    ----------
    prices
        The prices that were traded, or a text that tells which; None where nobody says.
    """
    return {
        "packages": {"python": platform.python_version()} | package_versions(),
        "data_fingerprint": fingerprint(prices),
        "host": platform.node() or None,
    }


def origin(result: Result, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of the origin of one result, by the columns of the table ``provenance``.

    Parameters
    ----------
    parameters
        The parameters of the backtest: a seed may stand among them.
    """
    seed = result.seed
    if seed is None:
        named = (held_number(parameters.get(name)) for name in _SEEDS)
        seed = next((found for found in named if isinstance(found, int) and -(2**63) <= found < 2**63), None)
    return {
        "engine": result.engine,
        "engine_version": result.version,
        "seed": seed,
        "duration": result.duration,
    }


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that were imported and that figures depend on."""
    found = {}
    for module, distribution in _PACKAGES.items():
        if module in sys.modules and (version := version_of(distribution)) is not None:
            found[distribution] = version
    return found


@cache
def version_of(distribution: str) -> str | None:
    """Return the version of an installed distribution."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def fingerprint(prices: object) -> str | None:
    """Return a text as it is, and of a table its shape and SHA-256: equal tables have equal ones."""
    form = plain(prices)
    return form if form is None or isinstance(form, str) else json.dumps(form, ensure_ascii=False)
