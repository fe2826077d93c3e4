"""What belongs to the fast lane, which examples property tests try, and which versions CI installs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

COLLECT = """
import sys, pytest

class Collected:
    def pytest_collection_finish(self, session):
        for item in session.items:
            marks = {mark.name for mark in item.iter_markers()}
            if marks & {"browser", "reliability"}:
                print("KEPT OUT" if "slow" in marks else "IN", item.nodeid)

sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[Collected()]))
"""


@pytest.mark.slow
def test_whatever_drives_a_browser_or_kills_is_not_in_the_fast_lane() -> None:
    command = [sys.executable, "-c", COLLECT, "tests/browser", "tests/reliability"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert re.findall(r"^IN (.*)", finished.stdout, re.MULTILINE) == []
    kept_out = re.findall(r"^KEPT OUT (\S+?)::", finished.stdout, re.MULTILINE)
    assert {"tests/browser/test_explorer_page.py", "tests/reliability/test_kill.py"} <= set(kept_out)


def test_property_tests_share_one_profile_without_deadline() -> None:
    assert settings.default is not None
    assert settings.default.deadline is None
    own = re.compile(r"\b(deadline|suppress_health_check|derandomize)=")
    files = set((ROOT / "tests").rglob("*.py")) - {ROOT / "tests" / "conftest.py"}
    assert [path.name for path in files if own.search(path.read_text(encoding="utf-8"))] == []


def test_ci_pins_every_dependency_to_its_oldest_declared_version() -> None:
    script = ROOT / ".ci" / "oldest_versions.py"
    finished = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    pins = dict(line.split("==") for line in finished.stdout.splitlines())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert len(project["dependencies"]) > 10
    for requirement in project["dependencies"]:
        name, bound = re.split(">=", requirement.split(",")[0])
        assert pins[name] == bound
