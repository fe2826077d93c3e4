"""Every notebook runs from the first cell to the last, beside a demo database."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def _name(path: Path) -> str:
    return path.stem


@pytest.fixture
def run(tmp_path: Path, demo_db: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs a notebook in a folder with a copy of the demo and returns it with its outputs."""
    from nbclient import NotebookClient

    # In a process of its own: the demo may be open here, and to open it twice in one process breaks its locks.
    copy = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('VACUUM INTO ?', sys.argv[2:]); c.close()"
    subprocess.run([sys.executable, "-c", copy, str(demo_db), str(tmp_path / "finlab_demo.db")], check=True)
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")

    def run_it(path: Path) -> nbformat.NotebookNode:
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="jupyter_client|zmq|nbclient")
            return client.execute()

    return run_it


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_a_notebook_runs_without_errors_or_warnings(run: Any, path: Path) -> None:
    outputs = [output for cell in run(path).cells for output in cell.get("outputs", [])]
    assert outputs
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_a_notebook_is_stored_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []
