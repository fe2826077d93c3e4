"""Interactive widgets for JupyterLab."""

from finlab_nb.widgets.explorer import Explorer

__all__ = ["Explorer"]
