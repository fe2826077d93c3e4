"""A process that ends right after it has recorded much ends well."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# DuckDB is brought up to date beside the process; a thread that is cut off within DuckDB aborts the process.
SCRIPT = """
import sys
import numpy as np, pandas as pd
import finlab_nb as fl

lab = fl.Lab(sys.argv[1])
strategy = lab.store.save_strategy_version("a", "b")
days = pd.date_range("1990-01-01", periods=12_000, freq="D")
lab.store.save_iterations(
    {"strategy_id": strategy, "equity": pd.Series(1e6 + number + np.arange(12_000.0), days)} for number in range(300)
)
"""


@pytest.mark.slow
def test_a_script_that_ends_after_it_has_recorded_much_is_not_aborted(tmp_path: Path) -> None:
    for attempt in range(2):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / f"{attempt}.db")]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")
