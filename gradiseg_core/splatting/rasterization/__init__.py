"""Rasterization of Gaussians behind one interface, :class:`.interface.Rasterizer`."""
