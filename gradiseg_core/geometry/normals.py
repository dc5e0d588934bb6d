"""Normals of what a view shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.files.geometry import Surface
from gradiseg_core.geometry.fusion import smooth_depth, unproject
from gradiseg_core.geometry.labels import draw

#: The surface's normals count where it lies this near to the view's own depth, voxels.
_NEAR = 6.0


def view_normals(depth: NDArray[np.float32], camera: Camera) -> NDArray[np.float32]:
    """Return the normals of a depth map in world axes, [h, w, 3]; zeros where they are unknown.

    Args:
        depth: [h, w] along the optical axis; 0: nothing there.
        camera: Of the map's size.
    """
    points = np.pad(unproject(smooth_depth(depth), camera), ((1, 1), (1, 1), (0, 0)), mode="edge")
    known = np.pad(depth > 0, 1, mode="edge")
    across = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    normals = np.cross(down, across)  # towards the camera: x is right and y is down
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    whole = known[1:-1, 1:-1] & known[1:-1, 2:] & known[1:-1, :-2]
    whole &= known[2:, 1:-1] & known[:-2, 1:-1]
    there = whole[..., None] & (length > 0)
    return np.where(there, normals / np.where(length > 0, length, 1.0), 0.0).astype(np.float32)


def surface_normals(
    surface: Surface, depth: NDArray[np.float32], camera: Camera, disc: float
) -> NDArray[np.float32]:
    """Return what :func:`view_normals` does, with the surface's normals where the view shows it.

    Args:
        surface: The fused surface.
        depth: [h, w] the view's own.
        camera: Of the map's size.
        disc: Radius of the discs that the surface is drawn with, voxels.
    """
    node, shown = draw(surface, camera, disc)
    near = (node >= 0) & (np.abs(shown - depth) < _NEAR * surface.voxel)
    own = view_normals(depth, camera)
    return np.where(near[..., None], surface.normals[node], own).astype(np.float32)
