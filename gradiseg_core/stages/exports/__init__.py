"""Trained scenes as files of other programs."""
