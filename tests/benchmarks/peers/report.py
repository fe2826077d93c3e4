"""The comparison as Markdown, and its place in the README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tests.benchmarks.page import Place, markdown
from tests.benchmarks.peers.catalogue import Peer
from tests.benchmarks.peers.measures import ROWS, Cell

PLACE: Final = Place("peers")
PROMISE_HEADS: Final = (
    "",
    "version",
    "licence",
    "trades and curve",
    "when it has returned",
    "others meanwhile",
    "cost",
)
_AHEAD: Final = "ahead of finlab_nb in"


def report(facts: str, peers: Sequence[Peer], columns: Sequence[Mapping[str, Cell]]) -> str:
    """Return the two tables: figures, the best of a row in bold, and what each tool promises.

    Parameters
    ----------
    facts
        A sentence about the measurement, which stands first.
    peers
        The tools, finlab_nb first.
    columns
        The cells of each, by the keys of `ROWS`.
    """
    figures = [[label, *_with_the_best_in_bold([column[row] for column in columns])] for row, label in ROWS.items()]
    ahead = ["", *(_ahead(columns[0], column) for column in columns[1:])]
    promises = [[*promise_cells(peer), rows] for peer, rows in zip(peers, ahead, strict=True)]
    tables = markdown(["", *(peer.title for peer in peers)], figures), markdown([*PROMISE_HEADS, _AHEAD], promises)
    return "\n\n".join([facts, *tables]) + "\n"


def promise_cells(peer: Peer) -> list[str]:
    """Return the cells of a tool under `PROMISE_HEADS`."""
    return [peer.title, peer.version, peer.licence, peer.holds, peer.promise, peer.others, peer.cost]


def _with_the_best_in_bold(cells: Sequence[Cell]) -> list[str]:
    best = min((cell.figure for cell in cells if cell.figure is not None), default=None)
    return [f"**{cell.text}**" if best is not None and cell.figure == best else cell.text for cell in cells]


def _ahead(ours: Mapping[str, Cell], theirs: Mapping[str, Cell]) -> str:
    """Name the rows in which a tool is better."""
    pairs = [(label, ours[row].figure, theirs[row].figure) for row, label in ROWS.items()]
    return "; ".join(label for label, own, other in pairs if own is not None and other is not None and other < own)
