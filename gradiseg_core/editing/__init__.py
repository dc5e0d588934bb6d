"""Trained scenes in use: their objects, selections, and edited copies."""
