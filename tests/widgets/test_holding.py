"""How long an explorer holds its lab, in a kernel of its own and without one."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import pytest

import finlab_nb as fl

PREPARED = """
import gc, weakref, finlab_nb as fl
pools = []

def opened(path):
    lab = fl.Lab(path)
    pools.append(weakref.ref(lab.store.pool))
    return lab

def alive():
    gc.collect()
    return [pool() is not None for pool in pools]
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Return a function that runs code in a cell of a notebook, as JupyterLab does, and returns what it prints."""
    from jupyter_client.manager import start_new_kernel

    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path))

        def run_it(code: str, cell: str | None = None) -> str:
            content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
            told = {} if cell is None else {"cellId": cell}
            message = client.session.msg("execute_request", content | {"allow_stdin": False}, metadata=told)
            client.shell_channel.send(message)
            printed = []
            while True:
                found = client.get_iopub_msg(timeout=60)
                if found["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                    continue
                assert found["msg_type"] != "error", "\n".join(found["content"]["traceback"])
                if found["msg_type"] == "stream":
                    printed.append(found["content"]["text"])
                if found["content"].get("execution_state") == "idle":
                    return "".join(printed).strip()

        try:
            run_it(PREPARED)
            yield run_it
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


@pytest.mark.slow
def test_a_lab_goes_when_its_cells_are_run_again(run: Callable[..., str]) -> None:
    for _ in range(3):
        run("lab = opened('a.db')", "opens")
        run("lab.explore()", "shows")
    assert run("print(alive())") == "[False, False, True]"
    run("other = lab.explore(); other", "shows too")
    run("lab = opened('a.db')", "opens")
    run("lab.explore()", "shows")
    assert run("print(alive())") == "[False, False, True, True]"  # the other cell still shows it
    assert run("other.refresh(); print('problem' in other.status.value)") == "False"


@pytest.mark.slow
def test_an_explorer_that_is_held_goes_on_with_its_lab_and_says_when_that_is_gone(run: Callable[..., str]) -> None:
    run("lab = opened('a.db'); kept = lab.explore(); kept", "shows")
    run("another = lab.explore(); another", "shows")
    assert run("kept.refresh(); print('problem' in kept.status.value)") == "False"
    run("lab = opened('a.db'); lab.explore()", "shows")
    assert run("print(alive())") == "[False, True]"
    assert "run the cell that shows it again" in run("kept.refresh(); print(kept.status.value)")


@pytest.mark.slow
def test_where_no_cell_is_told_an_explorer_holds_its_lab_until_one_is_closed(run: Callable[..., str]) -> None:
    for _ in range(3):
        run("lab = opened('a.db'); explorer = lab.explore(); explorer")
    assert run("print(alive())") == "[True, True, True]"
    run("explorer.close(); del lab")
    assert run("print(alive())") == "[True, True, False]"


@pytest.mark.parametrize("end", ["close the explorer", "close the lab"])
def test_an_explorer_that_is_closed_leaves_nothing(end: str) -> None:
    gc.collect()
    before = set(ipywidgets.widgets.widget._instances)
    lab = fl.Lab(":memory:")
    lab.store.save_iteration(lab.store.save_strategy_version("momentum", "code"))
    explorer = lab.explore()
    gone: list[Any] = [weakref.ref(one) for one in (explorer, explorer.table, lab.store.pool, lab.frames)]
    if end == "close the lab":
        lab.close()
    else:
        explorer.close()
    assert set(ipywidgets.widgets.widget._instances) == before
    del explorer, lab
    gc.collect()
    assert [one() for one in gone] == [None] * 4


def test_an_explorer_holds_the_lab_that_nobody_else_holds() -> None:
    explorer = fl.Lab(":memory:").explore()
    gc.collect()
    explorer.refresh()
    assert "No iteration is stored yet" in explorer.table.view["empty"]
    explorer.close()
