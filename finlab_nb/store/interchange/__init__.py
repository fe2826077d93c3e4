"""Export and import of iterations: JSON that takes an iteration from one store to another without loss.

Which fields each version of the format has is told in `versions`, and by export_format_1_0.json and so on in JSON
Schema. In both directions one iteration at a time is in memory.
"""

from finlab_nb.store.interchange.exporting import export_results
from finlab_nb.store.interchange.importing import import_results
from finlab_nb.store.interchange.json_schema import json_schema

__all__ = ["export_results", "import_results", "json_schema"]
