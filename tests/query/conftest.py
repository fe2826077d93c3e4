"""The labs of this folder: a test of answers asks every source, and all of them must say the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import finlab_nb as fl
from finlab_nb.query.frames import Frames
from finlab_nb.query.replica import building, engine
from finlab_nb.query.replica.building import Building
from plain_source import PlainSource


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask each source that the closest mark names."""
    mark = metafunc.definition.get_closest_marker("sources")
    if mark is not None and "source" in metafunc.fixturenames:
        metafunc.parametrize("source", mark.args)


@pytest.fixture
def source() -> str:
    """Return what stands under the frames, where a test does not name it."""
    return "replica"


@pytest.fixture
def lab(lab: fl.Lab, source: str) -> fl.Lab:
    """Return an empty lab."""
    if source == "plain":
        lab.frames = Frames(PlainSource(lab.store.pool))
    return lab


@pytest.fixture
def demo_lab(demo_lab: fl.Lab, plain_demo_lab: fl.Lab, source: str) -> fl.Lab:
    """Return a lab on the demo's database."""
    return plain_demo_lab if source == "plain" else demo_lab


@pytest.fixture(scope="session")
def plain_demo_lab(demo_db: Path) -> Iterator[fl.Lab]:
    """Return a lab on the demo's database whose frames ask plain tables."""
    with fl.Lab(demo_db) as opened:
        opened.frames = Frames(PlainSource(opened.store.pool))
        yield opened


@pytest.fixture
def buildings(monkeypatch: pytest.MonkeyPatch) -> list[Building]:
    """Return all that child processes are started for, as it begins."""
    begun: list[Building] = []

    class Noted(Building):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            begun.append(self)

    monkeypatch.setattr(building, "Building", Noted)
    return begun


@pytest.fixture
def by_child(monkeypatch: pytest.MonkeyPatch, buildings: list[Building]) -> list[Building]:
    """Let the child copy all rows, however few, before a question about them is answered."""
    monkeypatch.setattr(engine, "_BULK", 0)
    return buildings
