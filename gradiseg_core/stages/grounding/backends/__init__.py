"""Backends of stage `grounding`, found by their file."""
