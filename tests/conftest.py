"""Fixtures that tests of every floor use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import finlab_nb as fl
from finlab_nb.demo.build import build_demo

# sqlite_utils would take it, and with it a second SQLite into this process; see `tests.reliability.other_sqlite`.
sys.modules.setdefault("pysqlite3", None)  # type: ignore[arg-type]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the long form of the reliability tests."""
    parser.addoption("--long", action="store_true", help="run the reliability tests in their long form (an hour)")


@pytest.hookimpl(optionalhook=True)  # an environment of one engine may lack pytest-xdist: -o addopts=
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run whole folders in two processes, and files that are named in this one, which starts at once."""
    return 0 if any(".py" in one for one in config.args) else 2


def pytest_configure(config: pytest.Config) -> None:
    """Tell the tests, and the processes that they start, which form is wanted."""
    is_long = config.getoption("--long")
    if is_long:
        os.environ["FINLAB_NB_LONG"] = "1"
    # The one profile of all property tests. No deadline: under load any example takes long once. The short form tries
    # the same examples every time, so that a commit never fails over what it did not touch; the long form tries others.
    settings.register_profile(
        "finlab_nb",
        deadline=None,
        derandomize=not is_long,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.filter_too_much,
            HealthCheck.function_scoped_fixture,
        ],
    )
    settings.load_profile("finlab_nb")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the descriptions, and let whatever drives a browser, or kills and floods, count as slow."""
    # What names a place that was forgotten runs before what merely breaks without it.
    items.sort(key=lambda item: item.path.name != "test_tables.py")
    for item in items:
        if item.get_closest_marker("browser") or item.get_closest_marker("reliability"):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[fl.StorageManager]:
    """Return an empty store."""
    with fl.StorageManager(tmp_path / "store.db") as manager:
        yield manager


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[fl.Lab]:
    """Return an empty lab."""
    with fl.Lab(tmp_path / "lab.db") as opened:
        yield opened


@pytest.fixture(scope="session")
def demo_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the demo's database, which no test may change."""
    path = tmp_path_factory.mktemp("demo") / "finlab_demo.db"
    build_demo(path, progress=False)
    return path


@pytest.fixture(scope="session")
def demo_lab(demo_db: Path) -> Iterator[fl.Lab]:
    """Return a lab on the demo's database."""
    with fl.Lab(demo_db) as opened:
        yield opened
