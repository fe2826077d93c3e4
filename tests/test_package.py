"""The house: what importing does, and in which direction imports run."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import finlab_nb as fl

PACKAGE = Path(fl.__file__).parent
# From the roof down; a floor imports only from floors below it.
FLOORS = [
    "__init__",
    "cli",
    "demo",
    "lab",
    "widgets",
    "reports",
    "sweep",
    "engines",
    "figures",
    "query",
    "store",
    "records",
    "analysis",
    "vendor",
    "errors",
]


def _floor(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported_modules(path: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("finlab_nb"):
            modules.add(node.module)
            modules.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names if alias.name.startswith("finlab_nb"))
    return modules


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downward_only(path: Path) -> None:
    own = _floor(path)
    assert own in FLOORS, f"{own} is on no floor"
    for module in _imported_modules(path):
        target = [*module.split("."), "__init__"][1]
        if target not in FLOORS:  # a public name of the package itself, as the command uses it
            assert own in ("cli", "demo"), f"{own} reaches through the roof for {module}"
            continue
        if target == "__init__":
            continue
        assert FLOORS.index(target) >= FLOORS.index(own), f"{own} imports {module} above it"


def _run(code: str) -> str:
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return finished.stdout


def test_importing_loads_nothing_heavy() -> None:
    finished = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import finlab_nb"], capture_output=True, text=True, check=True
    )
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in finished.stderr.splitlines() if "|" in line}
    assert "finlab_nb" in loaded
    assert loaded.isdisjoint({"matplotlib", "ipywidgets", "apscheduler", "pandas", "duckdb", "sqlite3"})


def test_opening_a_lab_loads_no_figures_widgets_or_schedulers(tmp_path: Path) -> None:
    code = (
        "import sys, finlab_nb\n"
        f"with finlab_nb.Lab({str(tmp_path / 'lab.db')!r}) as lab: lab.iterations()\n"
        "print([name for name in ('matplotlib', 'ipywidgets', 'apscheduler') if name in sys.modules])"
    )
    assert _run(code).strip() == "[]"


def test_importing_starts_no_thread_and_opens_no_file() -> None:
    code = (
        "import os, threading\n"
        "before = set(os.listdir('/proc/self/fd')) if os.path.isdir('/proc/self/fd') else set()\n"
        "import finlab_nb\n"
        "from finlab_nb import Lab, StorageManager\n"
        "after = set(os.listdir('/proc/self/fd')) if os.path.isdir('/proc/self/fd') else set()\n"
        "print(threading.active_count(), len(after) - len(before))"
    )
    assert _run(code).split() == ["1", "0"]


def test_every_public_name_exists() -> None:
    for name in fl.__all__:
        assert getattr(fl, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fl.nothing


def test_errors_share_one_base_and_are_what_a_caller_expects() -> None:
    assert issubclass(fl.IterationNotFoundError, LookupError)
    assert issubclass(fl.StrategyNotFoundError, LookupError)
    assert issubclass(fl.PoolTimeoutError, TimeoutError)
    assert issubclass(fl.QueryError, ValueError)
    errors = [getattr(fl, name) for name in fl.__all__ if name.endswith("Error")]
    assert all(issubclass(error, fl.StorageError) for error in errors)
