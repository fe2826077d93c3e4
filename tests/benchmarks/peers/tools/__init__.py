"""One class a tool, which records and answers as its documentation shows it; each runs in its tool's own environment.

`Tool(folder)` opens the book of a folder, `start(names)` begins one, `record(iteration)` returns a key, `close()` ends.
The questions are `iterations()`, `best()`, `trades(key)`, `by_stock()` and, where there is SQL, `strategies()`.
A tool that is timed from the start of its process imports here what it needs, and nothing else.
"""
