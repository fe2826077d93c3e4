"""Tells in the summary of a run which engines' results were recorded live, and which from what was noted of them."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

_OF_EACH = "test_trades_come_back_as_they_were_expected["


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line an engine: its cases that were recorded as noted, live, or not live for want of the engine."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            _, marker, way = report.nodeid.partition(_OF_EACH)
            if marker and (report.when == "call" or outcome == "skipped"):
                case, _, how = way.removesuffix("]").rpartition("-")
                found[case.split("/")[0]][f"{how} {outcome}"] += 1
    if found:
        terminalreporter.section("recorded results of engines")
        for engine, counts in sorted(found.items()):
            terminalreporter.line(
                f"{engine:12} " + ", ".join(f"{count} {how}" for how, count in sorted(counts.items()))
            )
