"""The finlab-nb command."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from finlab_nb import Lab, StorageError, StorageManager, __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

_NOTEBOOK = "01_explore.ipynb"
_DEMO_DATABASE = "finlab_demo.db"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="finlab-nb", description="Remember, explore and judge backtests in notebooks."
    )
    parser.add_argument("--version", action="version", version=f"finlab-nb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="backtest on real prices, record it all, explore it in JupyterLab")
    demo.add_argument("--db", type=Path, default=Path(_DEMO_DATABASE), help="the database (default: %(default)s)")
    demo.add_argument("--no-browser", action="store_true", help="stop before JupyterLab")
    snapshot = commands.add_parser("snapshot", help="copy a database that may be open to one verified file")
    snapshot.add_argument("copy", type=Path, help="the new file")
    snapshot.add_argument("--overwrite", action="store_true", help="replace an existing file")
    compact = commands.add_parser("compact", help="give the space of what was deleted back to the disk")
    for command in (snapshot, compact):
        command.add_argument("--db", type=Path, required=True, help="the database")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "demo":
            return _demo(chosen.db.expanduser().resolve(), browser=not chosen.no_browser)
        with _existing(chosen.db) as store:
            if chosen.command == "snapshot":
                print(store.snapshot(chosen.copy, overwrite=chosen.overwrite))
            else:
                space = store.compact()
                print(
                    f"{space['freed']:,} bytes given back, {space['pending']:,} when those who are reading have ended"
                )
        return 0
    except StorageError as error:
        print(f"finlab-nb: {error}", file=sys.stderr)
        return 1


def _demo(database: Path, *, browser: bool) -> int:
    from finlab_nb.demo.build import build_demo

    build_demo(database)
    with Lab(database) as lab:
        best = lab.iterations(order_by="sharpe_ratio desc", limit=10)
    print(f"\nThe ten best iterations by Sharpe ratio, in {database}:\n\n{_table(best)}\n")
    print("The best of many trials on four survivors: no evidence of skill. The notebook shows more.")
    notebook = _put_notebook(database)
    print(f"Notebook: {notebook}")
    if not browser:
        return 0
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return subprocess.call([sys.executable, "-m", "jupyterlab", *root, str(notebook)], cwd=notebook.parent)  # noqa: S603


def _existing(database: Path) -> StorageManager:
    if not database.expanduser().exists():  # else it would be created
        raise StorageError(f"{database} does not exist; check the path")
    return StorageManager(database)


def _table(iterations: pd.DataFrame) -> str:
    from finlab_nb.records.metrics import STANDARD_SET

    shown = iterations[["strategy", "iteration_number"]].set_axis(["Strategy", "#"], axis="columns")
    for metric in STANDARD_SET:
        shown[metric.label] = iterations[metric.name].astype(object).map(metric.format)
    return shown.to_string(index=False)


def _put_notebook(database: Path) -> Path:
    """Put a notebook that opens this database beside it; an existing notebook stays as it is."""
    target = database.with_name(_NOTEBOOK)
    if not target.exists():
        named = json.dumps(json.dumps(database.name))[1:-1]
        text = _notebook_text().replace(json.dumps(json.dumps(_DEMO_DATABASE))[1:-1], named)
        target.write_text(text, encoding="utf-8")
    return target


def _notebook_text() -> str:
    packaged = resources.files("finlab_nb") / "notebooks" / _NOTEBOOK
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(__file__).parents[1] / "notebooks" / _NOTEBOOK).read_text(encoding="utf-8")  # a checkout


if __name__ == "__main__":
    sys.exit(main())
