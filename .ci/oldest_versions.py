"""Print the oldest version of each dependency that pyproject.toml declares, as pins for `pip install -c`."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
for requirement in project["dependencies"] + extras["excel"] + extras["scanner"]:
    bound = re.match(r"([\w.-]+)>=([\w.]+)", requirement)
    if bound is None:
        sys.exit(f"pyproject.toml: {requirement!r} has no lower bound")
    sys.stdout.write(f"{bound[1]}=={bound[2]}\n")
