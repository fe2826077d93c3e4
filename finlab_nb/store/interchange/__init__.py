"""Export and import of iterations in format 1.0: JSON that takes an iteration from one store to another without loss.

The format is described by the JSON Schema in export_format_1_0.json beside this module. In both directions one
iteration at a time is in memory.
"""

from finlab_nb.store.interchange.exporting import export_results
from finlab_nb.store.interchange.importing import import_results

__all__ = ["export_results", "import_results"]
