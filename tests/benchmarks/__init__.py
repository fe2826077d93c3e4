"""How fast the store and its answers are, each beside a baseline measured with it: `python -m tests.benchmarks`."""
