"""finlab_nb and other tools on the same work, each in its own environment: `python -m tests.benchmarks --peers`."""
