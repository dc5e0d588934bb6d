"""Gaussians, and what draws and trains them; nothing here knows a file."""
