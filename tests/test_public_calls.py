"""What a tooltip shows of a public call: a signature of plain types, and a docstring that tells everything."""

from __future__ import annotations

import inspect
import pydoc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jedi
import pandas as pd
import pytest

import finlab_nb as fl
from finlab_nb.query.exports import export_frames
from finlab_nb.query.frames import Frames
from finlab_nb.records import METRICS

OWNERS: Final = (fl.Lab, fl.StorageManager, fl.BackupScheduler)
QUESTIONS: Final = [name for name in dir(Frames) if name in dir(fl.Lab) and name[0] != "_"]
PLAIN_NAMES: Final = {"str", "int", "float", "bool", "None", "date", "datetime", "tzinfo", "dict", "list", "Path"} | {
    *(
        "tuple",
        "Any",
        "Self",
        "Iterable",
        "Iterator",
        "Mapping",
        "Sequence",
        "Explorer",
        "ImportedIds",
        "Preview",
        "Recording",
    ),
    *("os.PathLike", "pd.DataFrame", "pd.Series", "np.datetime64"),
}
TRADE: Final = {"stock_code": "2330", "entry_date": "2024-01-02", "exit_date": "2024-01-09"} | dict.fromkeys(
    ("entry_price", "exit_price", "position_size", "profit_loss"), 1.0
)
SUGGESTION: Final = {"priority": "high", "description": "try 90"}


def _public_calls() -> dict[str, Callable[..., Any]]:
    calls: dict[str, Callable[..., Any]] = {"restore_backup": fl.restore_backup}
    for owner in OWNERS:
        for name, method in inspect.getmembers(owner, inspect.isfunction):
            if name[0] != "_" or name == "__init__":
                calls[f"{owner.__name__}.{name}"] = method
    return calls


CALLS: Final = _public_calls()


def _documentation(name: str) -> str:
    owner, _, method = name.partition(".")
    return inspect.getdoc(getattr(fl, owner) if method == "__init__" else CALLS[name]) or ""


def _sections(text: str) -> dict[str, str]:
    """Return the sections of a numpy-style docstring by title."""
    parts = re.split(r"^(\w+)\n-+\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _entries(section: str) -> list[str]:
    """Return what a section has entries for: several may share one line."""
    lines = [line for line in section.splitlines() if line and line[0] != " "]
    return [one for line in lines for one in line.split(", ")]


def _arguments(name: str) -> list[str]:
    return [one for one in inspect.signature(CALLS[name]).parameters if one != "self"]


def test_every_question_is_a_real_method_of_the_lab() -> None:
    assert {"strategies", "iterations", "best", "progress", "metrics", "suggestions", "trades"} <= set(QUESTIONS)
    assert {"by_stock", "by_period", "equity", "returns", "sql"} <= set(QUESTIONS)
    shown = pydoc.plain(pydoc.render_doc(fl.Lab))
    for name in QUESTIONS:
        assert f"\n |  {name}(self" in shown


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_of_the_lab_has_the_signature_of_its_answer(name: str) -> None:
    assert inspect.signature(getattr(fl.Lab, name)) == inspect.signature(getattr(Frames, name))


def test_the_export_of_the_lab_has_the_signature_of_its_answer() -> None:
    answer = list(inspect.signature(export_frames).parameters.values())[1:]
    assert list(inspect.signature(fl.Lab.export_frames).parameters.values())[1:] == answer


@pytest.mark.parametrize("name", CALLS)
def test_a_signature_shows_plain_types(name: str) -> None:
    signature = inspect.signature(CALLS[name])
    shown = [one.annotation for one in signature.parameters.values() if one.name != "self"]
    for annotation in [*shown, signature.return_annotation]:
        assert isinstance(annotation, str), f"{annotation} is no text, or missing"
        assert set(re.findall(r"[\w.]+", annotation)) <= PLAIN_NAMES


@pytest.mark.parametrize("name", CALLS)
def test_a_docstring_tells_of_parameters_result_and_errors(name: str) -> None:
    documentation = _documentation(name)
    sections = _sections(documentation)
    assert re.search(r"\.( |$)", documentation.splitlines()[0])
    assert _entries(sections.get("Parameters", "")) == _arguments(name)
    answer = inspect.signature(CALLS[name]).return_annotation
    expected = "Yields" if answer.startswith("Iterator") else "Returns"
    assert (expected in sections) == (answer != "None")
    errors = _entries(sections.get("Raises", ""))
    assert all(hasattr(fl, one) or one == "ValueError" for one in errors)
    if _arguments(name):
        assert "ValueError" in errors


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("strategies", {}),
        ("iterations", {}),
        ("progress", {"strategy": "momentum"}),
        ("metrics", {}),
        ("metrics", {"long": True}),
        ("suggestions", {}),
        ("trades", {}),
        ("by_stock", {"per_iteration": True}),
        ("by_period", {"per_iteration": True}),
        ("series_names", {}),
    ],
)
@pytest.mark.parametrize("filled", [True, False])
def test_a_docstring_names_the_columns_and_dtypes(
    lab: fl.Lab, name: str, arguments: dict[str, Any], filled: bool
) -> None:
    strategy = lab.store.save_strategy_version("momentum", "signal = ...")
    if filled:
        lab.store.save_iteration(strategy, trades=[TRADE], suggestions=[SUGGESTION], metrics={"sharpe_ratio": 1.0})
    answer = getattr(lab, name)(**arguments)
    tables = _sections(inspect.getdoc(getattr(fl.Lab, name)) or "")["Returns"].split("or, if long")
    told = {
        column: dtype
        for columns, dtype in re.findall(
            r"^ +- ([\w, ]+): ([\w\[\]]+(?:, UTC\])?)", tables["long" in arguments], flags=re.MULTILINE
        )
        for column in columns.split(", ")
    }
    if "``metric.<name>``" in tables[0]:
        answer = answer.drop(columns=["metric.open_trades"], errors="ignore")
    if "the standard set of metrics" in tables["long" in arguments]:
        answer = answer.drop(columns=list(METRICS))
    if "``best_<name>`` of each metric" in tables[0]:
        answer = answer.drop(columns=[f"best_{name}" for name in METRICS if f"best_{name}" in answer])
    texts = {column: "str" for column in answer if isinstance(answer[column].dtype, pd.StringDtype)}
    assert told == {column: str(dtype) for column, dtype in answer.dtypes.items()} | texts
    assert list(told) == answer.columns.tolist()


@pytest.mark.parametrize("name", ["equity", "returns"])
def test_curves_have_the_index_and_columns_that_are_told(lab: fl.Lab, name: str) -> None:
    strategy = lab.store.save_strategy_version("momentum", "signal = ...")
    ids = [lab.store.save_iteration(strategy, equity={"2024-01-02": 1.0, "2024-01-03": factor}) for factor in (2.0, 3)]
    answer = getattr(lab, name)(ids[::-1])
    assert answer.columns.tolist() == ids[::-1]
    assert (answer.index.name, str(answer.index.dtype)) == ("date", "datetime64[us]")
    assert set(answer.dtypes.map(str)) == {"float64"}


def test_types_can_be_resolved_while_the_code_runs() -> None:
    for name in QUESTIONS:
        assert inspect.get_annotations(getattr(fl.Lab, name), eval_str=True)["return"] is not None


def test_an_editor_completes_the_questions_without_running_anything() -> None:
    source = "import finlab_nb as fl\nlab = fl.Lab('research.db')\nlab."
    script = jedi.Script(source, path=Path(__file__).with_name("cell.py"))
    completions = {one.name for one in script.complete(3, 4)}
    assert {*QUESTIONS, "store", "export_frames", "explore", "close"} <= completions
    (shown,) = jedi.Script(f"{source}trades(").get_signatures(3, 11)
    assert shown.to_string().startswith("trades(iterations: str | Iterable[str] | None=None, *, stocks:")


def test_a_subclass_may_answer_in_its_own_way(tmp_path: Path) -> None:
    class Doubled(fl.Lab):
        def trades(self, *args: Any, **kwargs: Any) -> pd.DataFrame:
            return pd.concat([super().trades(*args, **kwargs)] * 2)

        def sql(self, *args: Any, **kwargs: Any) -> pd.DataFrame:
            return super().sql(*args, **kwargs)

    with Doubled(tmp_path / "lab.db") as lab:
        strategy = lab.store.save_strategy_version("momentum", "signal = ...")
        iteration = lab.store.save_iteration(strategy, trades=[TRADE])
        watched = pd.DataFrame({"stock_code": ["2330", "2317"]})
        assert len(lab.trades(iteration)) == 2
        assert len(lab.sql("SELECT * FROM trades JOIN watched USING (stock_code)")) == 1
        assert len(watched) == 2


def test_sql_finds_the_variables_of_the_cell_that_asks(lab: fl.Lab) -> None:
    cell = (
        "import pandas as pd\n"
        "watched = pd.DataFrame({'x': [1, 2]})\n"
        "def inner():\n"
        "    own = pd.DataFrame({'x': [2, 3]})\n"
        "    return lab.sql('SELECT x FROM watched JOIN own USING (x)')['x'].tolist()\n"
        "found = inner()\n"
    )
    names: dict[str, Any] = {"lab": lab}
    exec(compile(cell, "<cell>", "exec"), names)
    assert names["found"] == [2]
