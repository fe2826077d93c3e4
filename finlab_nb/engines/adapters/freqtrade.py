"""freqtrade: the dict of ``Backtesting.results``, or the file of it: .zip, .json, or the folder they lie in.

A .zip holds the wallet of each day beside the result, and the source of each strategy. Without it the curve is made of
the profits that were realised each day.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from finlab_nb.engines.recognise import has_keys
from finlab_nb.engines.result import Options, Result

_COLUMNS: Final[Mapping[str, str]] = {
    "pair": "stock_code",
    "open_date": "entry_date",
    "close_date": "exit_date",
    "open_rate": "entry_price",
    "close_rate": "exit_price",
    "profit_abs": "profit_loss",
    "profit_ratio": "trade_return",
    "enter_tag": "entry_reason",
}
_KEPT: Final = ("exit_reason", "stake_amount", "leverage", "trade_duration", "stop_loss_ratio")
_SETTINGS: Final = (
    *("timeframe", "timerange", "trading_mode", "stake_amount", "max_open_trades", "stoploss", "minimal_roi"),
    *("trailing_stop", "trailing_stop_positive", "trailing_stop_positive_offset", "trailing_only_offset_is_reached"),
    *("use_exit_signal", "exit_profit_only", "use_custom_stoploss", "enable_protections", "freqaimodel"),
)
_NEWEST: Final = ".last_result.json"
_FUTURES: Final = "a wallet of futures has what was realised only"
_REALISED: Final = "the result has no wallet, which the .zip of freqtrade 2026 has: the curve has realised profits only"


@dataclass(frozen=True)
class _Archive:
    """A result, and what lies beside it in its .zip."""

    result: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)

    def ending(self, end: str) -> bytes | None:
        """Return the file whose name ends so."""
        return next((content for name, content in self.files.items() if name.endswith(end)), None)


def recognises(given: object) -> bool:
    """Tell whether this is a result, or the path of one."""
    if isinstance(given, Path):
        return given.suffix == ".zip" or (given.is_dir() and _newest(given) is not None)
    return has_keys(given, "strategy") and has_keys(given["strategy"]) and _has_trades(given["strategy"])  # type: ignore[index]


def results(given: Any, _options: Options) -> Result | Iterator[Result]:
    """Read a result: that of its strategy, or of each of several."""
    archive = _opened(given) if isinstance(given, Path) else _Archive(given)
    strategies = archive.result["strategy"]
    found = (_result(archive, name, one) for name, one in strategies.items())
    return next(found) if len(strategies) == 1 else found


def _has_trades(strategies: Mapping[str, Any]) -> bool:
    return bool(strategies) and all(has_keys(one, "trades", "stake_currency") for one in strategies.values())


def _newest(folder: Path) -> Path | None:
    """Return the newest result of a folder: the one that freqtrade noted, else the last one by its name."""
    noted = folder / _NEWEST
    if noted.exists():
        named = folder / str(json.loads(noted.read_text("utf-8")).get("latest_backtest", ""))
        if named.is_file():
            return named
    found = [*folder.glob("backtest-result*.zip"), *folder.glob("backtest-result*[0-9].json")]
    return max(found, key=lambda path: path.name) if found else None


def _opened(path: Path) -> _Archive:
    if path.is_dir():
        newest = _newest(path)
        if newest is None:
            raise ValueError(f"result is {str(path)!r}; freqtrade has left no result in this folder")
        path = newest
    if path.suffix == ".json":
        return _Archive(json.loads(path.read_text("utf-8")))
    try:
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise ValueError(f"result is {str(path)!r}; it is no zip file ({error})") from error
    for name, content in files.items():
        if name.endswith(".json") and has_keys(found := json.loads(content), "strategy"):
            return _Archive(found, files)
    raise ValueError(f"result is {str(path)!r}; there is no result of freqtrade in it: {', '.join(files) or 'nothing'}")


def _result(archive: _Archive, name: str, given: Mapping[str, Any]) -> Result:
    trades = pd.DataFrame(given["trades"])
    equity, remark = _equity(archive, name, given)
    code = archive.ending(f"_{name}.py")
    chosen = archive.ending(f"_{name}.json")
    parameters = {setting: given[setting] for setting in _SETTINGS if given.get(setting) is not None}
    if chosen is not None:
        parameters["hyperopt"] = json.loads(chosen).get("params")
    forced = sum(one.get("exit_reason") == "force_exit" for one in given["trades"])
    started, ended = given.get("backtest_run_start_ts"), given.get("backtest_run_end_ts")
    is_futures = given.get("trading_mode") == "futures"
    return Result(
        engine="freqtrade",
        name=name,
        code=None if code is None else code.decode("utf-8"),
        parameters=parameters,
        trades=_trades(trades) if len(trades) else trades,
        equity=equity,
        initial_capital=float(given["starting_balance"]),
        timezone="UTC",
        currency=given["stake_currency"],
        figures={key: value for key, value in given.items() if key not in _SETTINGS and _is_figure(key, value)},
        extra_metrics={"engine.force_exits": float(forced)},
        known_gap=_FUTURES if is_futures else None,
        duration=None if started is None or ended is None else float(ended - started),
        remarks=() if remark is None else (remark,),
    )


def _is_figure(name: str, value: object) -> bool:
    return name == "wallet_stats" or not (isinstance(value, Mapping) or name.endswith(("_ts", "_s")))


def _trades(given: pd.DataFrame) -> pd.DataFrame:
    entry, leave, amount = given["open_rate"], given["close_rate"], given["amount"]
    short = given["is_short"].astype(bool) if "is_short" in given else pd.Series(False, given.index)
    funding = given["funding_fees"].fillna(0.0) if "funding_fees" in given else 0.0  # positive when received
    trades = given.rename(columns=_COLUMNS)
    kept = [name for name in (*_COLUMNS.values(), *_KEPT) if name in trades]
    return trades[kept].assign(
        entry_date=pd.to_datetime(trades["entry_date"], utc=True),
        exit_date=pd.to_datetime(trades["exit_date"], utc=True),
        position_size=amount.where(~short, -amount),
        fees=amount * (entry * given["fee_open"] + leave * given["fee_close"]) - funding,
        mae=_excursion(given, entry, ["max_rate", "min_rate"], short, worst=True),
        mfe=_excursion(given, entry, ["min_rate", "max_rate"], short, worst=False),
    )


def _excursion(
    given: pd.DataFrame, entry: pd.Series[Any], rates: list[str], short: pd.Series[bool], *, worst: bool
) -> Any:
    """Return the worst or best return on the way, from the rates that a short and a long had then."""
    if not set(rates) <= set(given):
        return None
    of_short, of_long = (given[rate] / entry - 1 for rate in rates)
    move = of_long.where(~short, -of_short)
    return move.clip(upper=0) if worst else move.clip(lower=0)


def _equity(archive: _Archive, name: str, given: Mapping[str, Any]) -> tuple[pd.Series[Any] | None, str | None]:
    """Return the account by date, and what is missing of it."""
    wallet = archive.ending(f"_{name}_wallet.feather")
    if wallet is not None:
        table = pd.read_feather(io.BytesIO(wallet))
        equity = (table["rate"] * table["balance"]).groupby(table["date"]).sum()
        equity.iloc[-1] = given["final_balance"]  # the wallet ends before what is open is closed by force
        return equity, None
    profits = dict(given.get("daily_profit") or ())  # from the first day on which a trade was closed to the last one
    ends = [given.get(name) for name in ("backtest_start", "backtest_end")]
    known = [pd.Timestamp(one).tz_localize(None).normalize() for one in (*profits, *ends) if one]
    if not known:
        return None, None
    realised = pd.Series(profits.values(), pd.to_datetime(list(profits)), dtype=float)
    daily = realised.reindex(pd.date_range(min(known), max(known)), fill_value=0.0)
    return daily.cumsum() + given["starting_balance"], _REALISED
