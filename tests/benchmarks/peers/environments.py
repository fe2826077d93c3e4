"""A virtual environment for each tool, made once and kept."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

from tests.benchmarks.peers.catalogue import ROOT, Peer

DEFAULT: Final = Path.home() / ".cache" / "finlab_nb" / "peers"


class InstallError(Exception):
    """A tool that cannot be installed here, with pip's reason."""


def environment(peer: Peer, folder: Path) -> Path:
    """Return the interpreter that has a tool, and its bytecode; made on the first call.

    Parameters
    ----------
    peer
        The tool. Tools of the same requirements share an environment.
    folder
        Where all environments stand.

    Raises
    ------
    InstallError
        If pip fails.
    """
    home = folder / peer.tool.split(":")[0]
    python, installed = home / "bin" / "python", home / "installed.txt"
    wanted = "\n".join([*peer.requirements, *(_dependencies() if "-e" in peer.requirements else [])])
    if not installed.exists() or installed.read_text() != wanted:
        _run(sys.executable, "-m", "venv", "--clear", str(home))
        _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements)
        installed.write_text(wanted)
    # Packages hold templates that are no Python: what does not compile is not imported either.
    compiled = [home / "lib", ROOT / "finlab_nb", ROOT / "tests" / "benchmarks"]
    subprocess.run([python, "-m", "compileall", "-qq", *compiled], check=False)
    return python


def _dependencies() -> list[str]:
    """Return what the checkout depends on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["dependencies"])


def _run(*command: str) -> None:
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        lines = finished.stderr.strip().splitlines() or [f"exit status {finished.returncode}"]
        raise InstallError(next((line for line in lines if line.startswith("ERROR")), lines[-1])[:200])
