"""How fast the store and its answers are, each beside a baseline of the same run: `python -m tests.benchmarks`."""
