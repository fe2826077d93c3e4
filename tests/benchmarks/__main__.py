"""Build the reference book, or find it in its folder, and measure every row: `python -m tests.benchmarks`."""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import duckdb
import pandas as pd
from tqdm import tqdm

import finlab_nb as fl
from tests.benchmarks import query, store
from tests.benchmarks.book import Book, facts_of, open_book
from tests.benchmarks.peers import command as peers
from tests.benchmarks.table import PLACE, Row, table, write_json

MEASURES: Final[dict[str, Callable[[Book], list[Row]]]] = {
    "one-run": query.one_run,
    "aggregate": query.aggregate,
    "all-trades": query.all_trades,
    "new-kernel": query.new_kernel_rows,
    "seen": query.seen,
    "runs": query.runs_table,
    "small": query.small,
    "first-cache": query.first_cache,
    "size": query.size,
    "save-one": store.save_one,
    "save-many": store.save_many,
    "save-curve": store.save_curve,
    "record-grid": store.record_grid,
    "closed-loop": store.closed_loop,
    "load-one": store.load_one,
    "start": store.start,
    "backup": store.backup,
    "growth": query.growth,
}
# It builds a second book, four times as large; it needs an engine.
_ONLY_WHEN_NAMED: Final = {"growth", "record-grid"}


def main() -> int:
    """Measure, print the table, and return 1 if a target is missed."""
    if "--peers" in sys.argv:
        peers.main([word for word in sys.argv[1:] if word != "--peers"])
        return 0
    options = _options()
    if options.write is not None:
        PLACE.block_of(options.write.read_text(encoding="utf-8"))  # a page without a place is told before, not after
    book = open_book(options.keep, options.scale)
    load_before = _load()
    rows: list[Row] = []
    with tqdm(options.rows, unit="row", leave=False) as progress:
        for name in progress:
            progress.set_description(name)
            rows += MEASURES[name](book)
    text = f"{_facts(book, load_before)}\n\n{table(rows)}\n"
    print(text, end="")
    if options.write is not None:
        PLACE.write(options.write, text)
    if options.json is not None:
        write_json(
            options.json, rows, {"measured_at": datetime.now(UTC).isoformat(), **_machine(), "book": facts_of(book)}
        )
    return int(any(row.held is False for row in rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--peers", action="store_true", help="compare with other tools instead; --peers --help")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the 10,000 iterations of the book")
    parser.add_argument(
        "--rows",
        type=_row_names,
        default=[name for name in MEASURES if name not in _ONLY_WHEN_NAMED],
        help=f"what to measure, parted by commas, or 'all'; of {', '.join(MEASURES)} (some only when named)",
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--write", type=Path, help="a page to put the table into, between its marks of 'speed'")
    parser.add_argument(
        "--keep", type=Path, default=Path(".benchmarks"), help="the folder where the books stay (.benchmarks)"
    )
    return parser.parse_args()


def _facts(book: Book, load_before: float) -> str:
    machine, size = _machine(), book.database.stat().st_size
    return (
        f"Measured in {datetime.now(UTC):%B %Y} with {book.runs:,} iterations and {book.trades:,} trades "
        f"({size / 1e6:,.0f} MB of SQLite), on {machine['cores']} cores at a load of {load_before:.1f} to "
        f"{machine['load']:.1f}, with Python {machine['python']}, DuckDB {machine['duckdb']} and pandas "
        f"{machine['pandas']}: medians. A row without a name has another baseline for the one above."
    )


def _row_names(text: str) -> list[str]:
    names = list(MEASURES) if text == "all" else text.split(",")
    for name in names:
        if name not in MEASURES:
            raise argparse.ArgumentTypeError(f"{name!r} is no row; there are {', '.join(MEASURES)}")
    return names


def _load() -> float:
    """Return how many processes compete for the cores, over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "load": _load(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "duckdb": duckdb.__version__,
        "pandas": pd.__version__,
        "finlab_nb": fl.__version__,
    }


if __name__ == "__main__":
    sys.exit(main())
