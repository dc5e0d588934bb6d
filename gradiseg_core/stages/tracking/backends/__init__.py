"""Backends of stage `tracking`, found by their file."""
