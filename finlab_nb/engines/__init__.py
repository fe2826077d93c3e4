"""What backtest engines hand back, and what becomes of it: one adapter an engine, and one way from there to the store.

An adapter (`adapters/`) turns a result into `Result`; `recognise` finds the adapter without importing an engine;
`recording` completes, checks and stores what came out. No SQL here, and no engine is imported.
"""

from finlab_nb.engines.preview import Preview
from finlab_nb.engines.recording import preview, record

__all__ = ["Preview", "preview", "record"]
