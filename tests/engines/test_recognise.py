"""Which engine an object comes from: by names alone, with errors that help."""

from __future__ import annotations

import ast
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import finlab_nb as fl
from finlab_nb.engines import adapters
from finlab_nb.engines.recognise import ENGINES, adapter_of, read
from finlab_nb.engines.result import Options
from recorded.cases import recorded_cases
from recorded.stand_ins import STAND_INS, options

ADAPTERS = Path(adapters.__path__[0])
_OF_EACH = {case.engine: case for case in reversed(recorded_cases())}


@pytest.fixture
def lab(tmp_path: Path) -> Any:
    with fl.Lab(tmp_path / "lab.db") as opened:
        yield opened


def _jesse(**changes: Any) -> dict[str, Any]:
    trade = {
        "strategy_name": "Turtle",
        "type": "short",
        "symbol": "BTC-USDT",
        "qty": 0.5,
        "entry_price": 100.0,
        "exit_price": 90.0,
        "fee": 1.0,
        "PNL": 4.0,
        "opened_at": 1_704_067_200_000,
        "closed_at": 1_704_153_600_000,
    }
    points = [{"time": 1_704_067_200 + 86_400 * day, "value": value} for day, value in enumerate((1_000.0, 1_004.0))]
    return {
        "metrics": {"starting_balance": 1_000.0, "win_rate": 1.0},
        "trades": [trade],
        "equity_curve": [{"name": "Portfolio", "data": points}],
        "hyperparameters": {"period": 20},
        **changes,
    }


# --- one object, one engine ---


@pytest.mark.parametrize("engine", [*_OF_EACH])
def test_a_result_is_recognised_by_its_own_adapter_alone(engine: str) -> None:
    given = STAND_INS[engine](_OF_EACH[engine])
    given = given[0] if engine == "backtrader" else given
    if isinstance(given, Path) and given.suffix == ".json":
        given = json.loads(given.read_text("utf-8"))
    assert [name for name in ENGINES if adapter_of(name).recognises(given)] == [engine]


@pytest.mark.parametrize(
    "given", [None, 1, "", b"x", [], (), {}, object(), pd.DataFrame({"a": [1]}), pd.Series([1.0]), Path, print]
)
def test_anything_else_is_recognised_by_none(given: object) -> None:
    assert [name for name in ENGINES if adapter_of(name).recognises(given)] == []


def test_jesse_is_read_without_an_engine(lab: fl.Lab, capsys: pytest.CaptureFixture[str]) -> None:
    stored = lab.store.load_iteration(lab.record(_jesse()))
    (trade,) = stored["trades"]
    assert (trade["position_size"], trade["profit_loss"], trade["fees"]) == (-0.5, 4.0, 1.0)
    assert stored["parameters"] == {"period": 20}
    assert stored["timezone"] == "UTC"
    assert capsys.readouterr().out == "1 trade, P&L 4.00 = change of equity\n"
    assert lab.strategies()["name"].tolist() == ["Turtle"]


def test_a_list_of_results_is_stored_in_its_order_in_one_transaction(
    lab: fl.Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    several = [_jesse(hyperparameters={"period": period}) for period in (10, 20, 30)]
    ids = lab.record([several[0], several[1:]])
    assert [lab.store.load_iteration(one)["parameters"]["period"] for one in ids] == [10, 20, 30]
    assert "3 iterations: 3 trades" in capsys.readouterr().out
    broken = _jesse()
    broken["trades"][0]["PNL"] = "much"
    with pytest.raises(ValueError, match=r"result\[1\]: trades\[0\]\.profit_loss is 'much'"):
        lab.record([_jesse(hyperparameters={"period": 40}), broken])
    assert len(lab.iterations()) == 3


def test_a_file_of_json_is_opened(lab: fl.Lab, tmp_path: Path) -> None:
    path = tmp_path / "結果.json"
    path.write_text(json.dumps(_jesse()), "utf-8")
    for given in (path, str(path)):
        assert lab.record(given) == lab.record(_jesse())


def test_a_result_of_freqtrade_is_taken_as_archive_folder_file_and_dict(lab: fl.Lab, tmp_path: Path) -> None:
    case = next(case for case in recorded_cases() if case.name == "freqtrade/two_strategies")
    archive = case.folder / "backtest-result.zip"
    newest = tmp_path / "results" / "backtest-result-2026-09-02_10-00-00.zip"
    newest.parent.mkdir()
    newest.write_bytes(archive.read_bytes())
    newest.with_name("backtest-result-2026-09-03_10-00-00.zip").write_bytes(b"of another run")
    (newest.parent / ".last_result.json").write_text(json.dumps({"latest_backtest": newest.name}), "utf-8")
    content = case.archived(case.facts["names"][0])
    (tmp_path / "result.json").write_bytes(content)
    forms = [archive, newest.parent, tmp_path / "result.json", json.loads(content)]
    shown = [lab.preview(one) for one in forms]
    assert [[one.strategy for one in each] for each in shown] == [["Cross", "Never"]] * 4
    for each in shown:
        pd.testing.assert_frame_equal(each[0].trades, shown[0][0].trades)
        assert each[0].equity.iloc[-1] == pytest.approx(shown[0][0].equity.iloc[-1])
        assert each[0].metrics["check.pnl_gap"] == pytest.approx(0.0, abs=1e-4)
        assert each[1].trades.empty
        assert set(each[1].equity) == {each[1].equity.iloc[0]}
    assert [one[0].code is not None for one in shown] == [True, True, False, False]
    assert all(any("realised profits only" in remark for remark in one[0].remarks) for one in shown[2:])


# --- errors ---


def test_what_is_unknown_is_told_with_what_is_known_and_what_stores_it_all_the_same(lab: fl.Lab) -> None:
    with pytest.raises(ValueError, match=r"^result is .*DataFrame\); it must be") as caught:
        lab.record(pd.DataFrame({"a": [1]}))
    message = str(caught.value)
    assert all(f"  {engine}: {what}" in message for engine, what in ENGINES.items())
    assert 'lab.record_frames("my strategy", trades=trades, equity=equity)' in message
    with pytest.raises(ValueError, match=r"result\[1\]: result is 5 \(int\)"):
        lab.record([_jesse(), 5])
    assert lab.iterations().empty


def test_a_result_of_another_layout_is_told_as_such(lab: fl.Lab) -> None:
    other = _jesse()
    del other["trades"][0]["qty"]
    with pytest.raises(ValueError, match=r"looks like one of jesse, but cannot be read \(KeyError: 'qty'\)"):
        lab.record(other)


def test_a_pickle_is_never_opened(lab: fl.Lab, tmp_path: Path) -> None:
    path = tmp_path / "result.pkl"
    path.write_bytes(pickle.dumps(_jesse()))
    with pytest.raises(ValueError, match="a pickle runs code when it is read"):
        lab.record(path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("none.json", None, "no such file"), ("torn.json", '{"trades": [', "it is no JSON")],
)
def test_a_file_that_cannot_be_read_is_named(
    lab: fl.Lab, tmp_path: Path, name: str, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(ValueError, match=f"{name}.*{words}"):
        lab.record(tmp_path / name)


def test_an_engine_that_is_named_is_not_guessed(lab: fl.Lab) -> None:
    with pytest.raises(ValueError, match=r"engine is 'jess'; it must be one of vectorbt, .*jesse"):
        lab.record(_jesse(), engine="jess")
    assert lab.record(_jesse(), engine="jesse") == lab.record([_jesse()], engine="jesse")[0]


# --- the house ---


@pytest.mark.parametrize("engine", [*ENGINES])
def test_an_adapter_is_one_file_that_imports_no_engine_and_has_no_sql(engine: str) -> None:
    source = (ADAPTERS / f"{engine}.py").read_text("utf-8")
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.parse(source).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    known = {"numpy", "pandas", "finlab_nb", *sys.stdlib_module_names}
    assert {name.partition(".")[0] for name in imported} <= known
    assert not any(name.startswith(("finlab_nb.store", "finlab_nb.query")) for name in imported)
    assert not re.search(r"\b(SELECT|INSERT|UPDATE|DELETE|sqlite3|duckdb)\b", source)


def test_every_adapter_is_in_the_table_and_described_where_users_read_it() -> None:
    assert {path.stem for path in ADAPTERS.glob("*.py")} - {"__init__"} == set(ENGINES)
    described = " ".join((fl.Lab.record.__doc__ or "").split())
    assert f"{', '.join(ENGINES)}." in described


def test_recognising_imports_no_engine() -> None:
    code = (
        "import sys, pandas as pd\n"
        "from finlab_nb.engines.recognise import ENGINES, adapter_of\n"
        "given = [adapter_of(name).recognises(pd.Series([1.0])) for name in ENGINES]\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    found = set(ast.literal_eval(loaded))
    assert "finlab_nb" in found
    assert found.isdisjoint(set(ENGINES) - {"lean"})


def test_what_an_engine_warns_of_while_it_is_read_is_its_own() -> None:
    class Report:
        creturn = pd.Series([1.0, 1.1], pd.bdate_range("2024-01-01", periods=2))
        position = None

        def get_trades(self) -> pd.DataFrame:
            import warnings

            warnings.warn("old", DeprecationWarning, stacklevel=1)
            return STAND_INS["finlab"](_OF_EACH["finlab"]).get_trades()

        def get_stats(self) -> dict[str, float]:
            return {"cagr": 0.1}

    found = read(Report(), Options(**options(_OF_EACH["finlab"])))
    assert found.engine == "finlab"  # type: ignore[union-attr]
