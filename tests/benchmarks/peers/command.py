"""Compare finlab_nb with other tools: the same iterations, recorded and asked by each in an environment of its own.

Every answer is checked against the iterations themselves. The environments need about 3 GB, and the network while they
are made.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from tests.benchmarks.peers.catalogue import PEERS
from tests.benchmarks.peers.environments import DEFAULT, InstallError, environment
from tests.benchmarks.peers.measures import ROWS, Cell, Measured, measure
from tests.benchmarks.peers.report import PLACE, report


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the tables."""
    options = _options(arguments)
    if options.write is not None:
        PLACE.block_of(options.write.read_text(encoding="utf-8"))  # a page without a place is told before, not after
    tools = [Measured(PEERS[name], Path(sys.executable), options.keep / "peers" / name) for name in options.only]
    for tool in tqdm(tools, desc="environments", leave=False, disable=None):
        try:
            if not options.installed:
                tool.python = environment(tool.peer, options.environments)
        except InstallError as error:
            tool.cells = dict.fromkeys(ROWS, Cell(f"not installed: {error}"))
    measure([tool for tool in tools if not tool.cells], options.iterations)
    text = report(_facts(options.iterations), [tool.peer for tool in tools], [tool.cells for tool in tools])
    print(text, end="")
    if options.write is not None:
        PLACE.write(options.write, text)
    for tool in tools:
        shutil.rmtree(tool.book, ignore_errors=True)


def _facts(iterations: int) -> str:
    return (
        f"Measured in {datetime.now(UTC):%B %Y} with {iterations:,} iterations of 500 trades and a curve of 250 days, "
        f"on {os.cpu_count()} cores at a load of {os.getloadavg()[2]:.1f} with Python {platform.python_version()}: "
        "medians; the best of a row is bold."
    )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks --peers", description=__doc__)
    parser.add_argument("--iterations", type=int, default=2_000, help="how many each tool records (2,000)")
    parser.add_argument("--only", type=_names, default=list(PEERS), help=f"some of {', '.join(PEERS)}; finlab always")
    parser.add_argument("--installed", action="store_true", help="by this interpreter, with what is installed for it")
    parser.add_argument("--environments", type=Path, default=DEFAULT, help=f"where they are kept ({DEFAULT})")
    parser.add_argument("--keep", type=Path, default=Path(".benchmarks"), help="the folder of the books (.benchmarks)")
    parser.add_argument("--write", type=Path, metavar="README.md", help="put the tables between the marks of this file")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(PEERS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: there are {', '.join(PEERS)}")
    return [name for name in PEERS if name in {*names, "finlab"}]
