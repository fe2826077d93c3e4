"""The README says what is true: its Python runs, its commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import finlab_nb as fl

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_the_tour_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = _blocks("python")
    assert len(blocks) >= 5
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    with fl.Lab("research.db") as lab:
        assert lab.iterations()["starred"].tolist() == [True]
        assert lab.iterations()["tags"].tolist() == ["daily, keep"]


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
