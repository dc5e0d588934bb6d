"""Which way is up where no ground is known, and what the page looks at first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera


def held_up(cameras: list[Camera]) -> NDArray[np.float64]:
    """Return the direction that is up in the cameras, [3]: photographs are rarely upside down.

    Args:
        cameras: At least one.
    """
    mean = -np.mean([camera.cam_from_world[1, :3] for camera in cameras], axis=0)
    length = np.linalg.norm(mean)
    return np.asarray(mean / length if length > 0.05 else [0.0, 0.0, 1.0], np.float64)


def middle(points: NDArray[np.float64], cameras: list[Camera]) -> NDArray[np.float64]:
    """Return what the cameras look at, [3]: the point nearest to all optical axes, at a depth.

    Where axes are parallel, it is the median of the points.
    """
    matrix, vector = np.zeros((3, 3)), np.zeros(3)
    for camera in cameras:
        axis = camera.cam_from_world[2, :3]
        across = np.eye(3) - np.outer(axis, axis)
        matrix += across
        vector += across @ camera.center_in_world
    if np.linalg.cond(matrix) < 1e3:
        point = np.linalg.solve(matrix, vector)
        if np.mean([c.cam_from_world[2, :3] @ (point - c.center_in_world) for c in cameras]) > 0:
            return np.asarray(point, np.float64)
    return np.asarray(np.median(points, axis=0), np.float64)


def radius_of(points: NDArray[np.float64]) -> float:
    """Return the distance from the points' median within which 80 % of them lie."""
    distances = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    return float(max(np.quantile(distances, 0.8), 1e-9))
