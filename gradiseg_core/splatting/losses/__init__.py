"""Losses of Eq. 3 and 5: photometric, identity (2D) and spatial (3D)."""
