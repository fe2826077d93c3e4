"""The README says what is true: its Python runs, its commands exist."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pytest

import finlab_nb as fl

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_the_tour_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = [block for block in _blocks("python") if _engine_of(block) is None]
    assert len(blocks) >= 5
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    with fl.Lab("research.db") as lab:
        assert lab.iterations()["starred"].tolist() == [True]
        assert lab.iterations()["tags"].tolist() == ["daily, keep"]
        assert 0.3 < lab.iterations()["sharpe_ratio"].item() < 1.5, "a figure that a reader can believe"


def _engine_of(block: str) -> str | None:
    """Return the engine that a block imports."""
    found = re.search(r"^(?:import|from) (vectorbt|backtesting|backtrader)\b", block, flags=re.MULTILINE)
    return None if found is None else found[1]


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in _blocks("python") if _engine_of(block)], ids=_engine_of)
def test_a_cell_with_an_engine_ends_in_the_two_lines_that_record_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], block: str
) -> None:
    engine = _engine_of(block)
    if find_spec(str(engine)) is None:
        pytest.skip(f"{engine} is not installed")
    monkeypatch.chdir(tmp_path)
    blocks = _blocks("python")
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the engines
        warnings.simplefilter("error", fl.ImplausibleDataWarning)
        for earlier in [*blocks[:2], *(one for one in blocks if _engine_of(one) == "backtesting"), block]:
            exec(compile(earlier, "README.md", "exec"), names)
    assert re.findall(r"^(\w+)", block, flags=re.MULTILINE)[-2:] == ["lab", "lab"]
    with fl.Lab("engines.db") as lab:
        assert len(lab.iterations()) >= 1
        assert lab.sql("SELECT count(*) AS n FROM trades")["n"].item() > 0
    assert "= change of equity" in capsys.readouterr().out


def test_there_is_one_command_for_the_demo_and_one_for_the_tests() -> None:
    commands = [block.strip() for block in _blocks("sh")]
    assert len(commands) == 2
    assert all("\n" not in command for command in commands)
    assert commands[0].endswith("finlab-nb demo")
    assert shlex.split(commands[1])[-1] == ".venv/bin/pytest"


def test_pictures_and_files_that_are_named_exist() -> None:
    for name in [*re.findall(r"!\[.*?\]\((.*?)\)", README), "finlab_nb/demo/PROVENANCE.md", "LICENSE"]:
        assert (ROOT / name).is_file(), name


def test_the_data_model_names_the_columns_that_exist(lab: fl.Lab) -> None:
    for table, columns in re.findall(r"^\| `(\w+)` \| (.*?) \|$", README, flags=re.MULTILINE):
        existing = set(lab.sql(f"SELECT * FROM {table}").columns)
        named = {word for word in re.findall(r"\b[a-z_]+\b", columns) if "_" in word or word in existing}
        assert named <= existing | {"iteration_id"}, table


# Where the table of conversions says that a value goes, and how it is read back.
FIELDS: Final[dict[str, tuple[Callable[[Any], dict[str, Any]], Callable[[dict[str, Any]], Any]]]] = {
    "text": (lambda value: {"trades": [TRADE | {"stock_code": value}]}, lambda one: one["trades"][0]["stock_code"]),
    "number": (lambda value: {"trades": [TRADE | {"profit_loss": value}]}, lambda one: one["trades"][0]["profit_loss"]),
    "day": (lambda value: {"equity": {value: 1.0}}, lambda one: one["equity"][0]["date"]),
    "moment": (lambda value: {"trades": [TRADE | {"entry_date": value}]}, lambda one: one["trades"][0]["entry_date"]),
    "reason": (
        lambda value: {"trades": [TRADE | {"entry_reason": value}]},
        lambda one: one["trades"][0]["entry_reason"],
    ),
    "metric": (lambda value: {"metrics": {"sharpe_ratio": value}}, lambda one: one["metrics"]["sharpe_ratio"]),
    "extra metric": (lambda value: {"extra_metrics": {"x": value}}, lambda one: one["extra_metrics"]["x"]),
    "parameter": (lambda value: {"parameters": {"x": value}}, lambda one: one["parameters"]["x"]),
}
TRADE: Final = {"stock_code": "2330", "entry_date": "2024-01-02", "entry_price": 593.0, "position_size": 1000.0}
CONVERSIONS: Final = re.findall(rf"^\| ({'|'.join(FIELDS)}) \| (.*) \| (.*) \|$", README, flags=re.MULTILINE)


def test_the_table_of_conversions_names_every_kind_of_field() -> None:
    assert len(CONVERSIONS) >= 30
    assert {field for field, _, _ in CONVERSIONS} == set(FIELDS)


@pytest.mark.parametrize(("field", "given", "stored"), CONVERSIONS)
def test_a_value_becomes_what_the_table_of_conversions_says(
    store: fl.StorageManager, field: str, given: str, stored: str
) -> None:
    names: dict[str, Any] = {"pd": pd, "trades": pd.DataFrame([TRADE])}
    exec(next(block for block in _blocks("python") if "class Symbol" in block), names)
    strategy = store.save_strategy_version("a", "x")
    arguments, read = FIELDS[field]
    expected = [eval(code, {"NULL": None}) for code in re.findall(r"`([^`]+)`", stored) if code != "str"]
    values = [eval(code, dict(names)) for code in re.findall(r"`([^`]+)`", given)]
    assert values
    for i, value in enumerate(values):
        if stored == "refused":
            with pytest.raises(ValueError, match=r" is .*; it must be "):
                store.save_iteration(strategy, **arguments(value))
        elif stored.startswith("left out"):
            with pytest.warns(fl.DroppedMetricsWarning, match="x="):
                iteration = store.save_iteration(strategy, **arguments(value))
            assert store.load_iteration(iteration)["extra_metrics"] == {}
        else:
            found = read(store.load_iteration(store.save_iteration(strategy, **arguments(value))))
            wanted = expected[min(i, len(expected) - 1)]
            assert (found, type(found)) == (wanted, type(wanted))
