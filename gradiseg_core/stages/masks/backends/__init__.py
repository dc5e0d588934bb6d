"""Backends of stage `masks`, found by their file."""
