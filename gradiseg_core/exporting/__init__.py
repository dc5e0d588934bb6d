"""Trained scenes as files of other programs (docs/exporting.md)."""
