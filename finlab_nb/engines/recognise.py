"""Which engine an object comes from, by the names of its type and attributes, so that no engine is imported."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol, cast

from finlab_nb.engines.result import Options, Result
from finlab_nb.records import TRADE_FIELDS
from finlab_nb.records.values import refusal, shown

# Each name is that of a module in `adapters`. What it takes is told to whoever gives something else.
ENGINES: Final[Mapping[str, str]] = {
    "vectorbt": "a Portfolio: single, grid or groups",
    "backtesting": "stats of run() and optimize(), also with its heatmap",
    "finlab": "a Report",
    "freqtrade": "a result dict, or its .zip, .json or folder",
    "nautilus": "a BacktestEngine that has run",
    "backtrader": "what Cerebro.run() returns",
    "zipline": "the DataFrame of run_algorithm()",
    "bt": "a Result",
    "pybroker": "a TestResult",
    "jesse": "the dict of backtest()",
    "lean": "a result dict, or its .json",
    "qlib": "what backtest() returns",
}
_PICKLES: Final = (".pkl", ".pickle", ".dill")
_FRAMES: Final = f"""trades = ...  # a DataFrame: {", ".join(TRADE_FIELDS[:7])}
equity = ...  # a Series of account values by date
lab.record_frames("my strategy", trades=trades, equity=equity)"""


class Adapter(Protocol):
    """What a module of `adapters` offers."""

    def recognises(self, given: Any, /) -> bool:
        """Tell whether an object is a result of this engine."""

    def results(self, given: Any, options: Options, /) -> Result | Iterable[Result]:
        """Read a result: one backtest, or several."""


def type_names(given: object) -> tuple[str, ...]:
    """Return the full names of an object's type and of those that it derives from."""
    return tuple(f"{kind.__module__}.{kind.__qualname__}" for kind in type(given).__mro__)


def has_all(given: object, *names: str) -> bool:
    """Tell whether an object has all of these attributes."""
    return all(hasattr(given, name) for name in names)


def has_keys(given: object, *names: str) -> bool:
    """Tell whether an object is a mapping with all of these keys."""
    return isinstance(given, Mapping) and all(name in given for name in names)


def adapter_of(engine: str) -> Adapter:
    """Return the adapter of an engine.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if engine not in ENGINES:
        raise refusal("engine", engine, f"one of {', '.join(ENGINES)}", str)
    return cast(Adapter, import_module(f"finlab_nb.engines.adapters.{engine}"))


def read(given: object, options: Options, engine: str | None = None) -> Result | Iterator[Result]:
    """Return the backtests of a result: one, or, of a list, a grid or a file of several strategies, each of them.

    Parameters
    ----------
    given
        What an engine handed back, a list or tuple of such, or the path of a file that an engine wrote.
    engine
        The engine's name, where it shall not be guessed.

    Raises
    ------
    ValueError
        If nothing is known of such an object.
    """
    if isinstance(given, (str, os.PathLike)):
        given = _opened(Path(given).expanduser())
    chosen = adapter_of(engine) if engine is not None else _adapter(given)
    is_list = isinstance(given, (list, tuple))
    if chosen is None or (engine is not None and is_list and not chosen.recognises(given)):
        if not is_list or not given:
            raise ValueError(_unknown(given))
        return _of_each(cast(Iterable[object], given), options, engine)
    with _readable(chosen):
        found = chosen.results(given, options)
    return found if isinstance(found, Result) else _all(found, chosen)


def _adapter(given: object) -> Adapter | None:
    return next((found for found in map(adapter_of, ENGINES) if found.recognises(given)), None)


@contextlib.contextmanager
def _readable(adapter: Adapter) -> Iterator[None]:
    """Say what failed where a result is not as the adapter knows it; warnings of the engine's code are not shown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (AttributeError, LookupError, TypeError) as error:
        engine = cast(ModuleType, adapter).__name__.rpartition(".")[2]
        raise ValueError(
            f"result looks like one of {engine}, but cannot be read ({type(error).__name__}: {error}); another version "
            f"may hold other things. Three lines store it all the same:\n{_FRAMES}"
        ) from error


def _all(found: Iterable[Result], adapter: Adapter) -> Iterator[Result]:
    rest = iter(found)
    while True:
        with _readable(adapter):
            one = next(rest, None)
        if one is None:
            return
        yield one


def _of_each(given: Iterable[object], options: Options, engine: str | None) -> Iterator[Result]:
    for position, one in enumerate(given):
        try:
            found = read(one, options, engine)
        except ValueError as error:
            raise ValueError(f"result[{position}]: {error}") from error
        yield from (found,) if isinstance(found, Result) else found


def _opened(path: Path) -> object:
    """Return what a JSON file holds, and any other path as it is."""
    if not path.exists():
        raise ValueError(f"result is {shown(str(path))}; there is no such file or folder")
    if path.suffix in _PICKLES:
        raise ValueError(
            f"result is {shown(str(path))}; a pickle runs code when it is read: load it, and give the object"
        )
    if path.suffix != ".json":
        return path
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"result is {shown(str(path))}; it is no JSON ({error})") from error


def _unknown(given: object) -> str:
    known = "\n".join(f"  {engine}: {what}" for engine, what in ENGINES.items())
    kind = type_names(given)[0].removeprefix("builtins.")
    return (
        f"result is {' '.join(shown(given).split())} ({kind}); it must be what one of these engines hands back, "
        f"or a list of such:\n{known}\nAnything else goes in by three lines:\n{_FRAMES}"
    )
