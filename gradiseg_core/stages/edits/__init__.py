"""Edited copies of trained scenes."""
