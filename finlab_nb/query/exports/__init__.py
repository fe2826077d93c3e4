"""Scripted exports: tables of the store as files for other tools."""

from finlab_nb.query.exports.exporting import export_frames

__all__ = ["export_frames"]
