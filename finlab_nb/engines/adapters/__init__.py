"""One module an engine, of the name that `recognise.ENGINES` has for it.

Each has two functions:

- ``recognises(given) -> bool`` tells whether an object is a result of the engine, by the names of types and attributes;
- ``results(given, options) -> Result | Iterable[Result]`` reads it: one backtest, or several from one object.

None imports its engine, and none knows the store.
"""
