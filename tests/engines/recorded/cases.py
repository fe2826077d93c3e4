"""The recorded results: what an engine gave, and what must become of it; see PROVENANCE.md beside the files."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import pandas as pd

FOLDER: Final = Path(__file__).parents[2] / "data" / "engine_cases"


@dataclass(frozen=True)
class Case:
    """One recorded result; its tables are read anew each time, so that a conversion may change them."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's path, such as "vectorbt/single_long"."""
        return self.folder.relative_to(FOLDER).as_posix()

    @property
    def engine(self) -> str:
        """The engine's name."""
        return self.name.split("/")[0]

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What case.json tells: parameters, ticker, the engine's own metrics and more."""
        found: dict[str, Any] = json.loads((self.folder / "case.json").read_text("utf-8"))
        return found

    @property
    def _raw(self) -> Path:
        """The folder of the raw files, which the columns of a grid share."""
        parent = self.folder.parent
        return parent if (parent / "columns.json").exists() else self.folder

    def has(self, table: str) -> bool:
        """Tell whether the engine gave this table."""
        return (self._raw / f"{table}.parquet").exists()

    def raw(self, table: str) -> pd.DataFrame:
        """Return a table of the engine."""
        return pd.read_parquet(self._raw / f"{table}.parquet")

    def result(self) -> Any:
        """Return the result file of LEAN, or what Freqtrade's archive holds of the strategy."""
        if self.engine == "freqtrade":
            return json.loads(self.archived(self.facts["names"][0]))["strategy"][self.facts["strategy"]]
        return json.loads((self._raw / "result.json").read_text("utf-8"))

    def strategies(self) -> list[str]:
        """Return the strategies of Freqtrade's archive in their order."""
        return list(json.loads(self.archived(self.facts["names"][0]))["strategy"])

    def raw_trades(self) -> pd.DataFrame:
        """Return the engine's own table of trades."""
        if self.engine == "freqtrade":
            return pd.DataFrame(self.result()["trades"])
        if self.engine == "lean":
            return pd.DataFrame(self.result()["totalPerformance"]["closedTrades"])
        return self.raw("raw_trades")

    def archived(self, end: str) -> bytes:
        """Return the file of Freqtrade's archive whose name ends so."""
        with zipfile.ZipFile(self._raw / "backtest-result.zip") as archive:
            return archive.read(next(name for name in archive.namelist() if name.endswith(end)))

    def archived_table(self, end: str) -> pd.DataFrame:
        """Return the table of Freqtrade's archive whose name ends so."""
        return pd.read_feather(io.BytesIO(self.archived(end)))

    @property
    def trades(self) -> pd.DataFrame:
        """The expected trades."""
        return pd.read_parquet(self.folder / "expected_trades.parquet")

    @property
    def equity(self) -> pd.Series:
        """The expected curve, by naive moments of UTC."""
        return pd.read_parquet(self.folder / "expected_equity.parquet").set_index("date")["equity"]

    @property
    def money(self) -> float:
        """By how much an amount of one trade may differ, because the engine rounds to cents."""
        return float(self.facts.get("tolerance_abs_per_trade", 0.0))


@cache
def recorded_cases() -> tuple[Case, ...]:
    """Return all recorded results."""
    return tuple(Case(path.parent) for path in sorted(FOLDER.rglob("case.json")))
