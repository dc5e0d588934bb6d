"""What is up in a scene, and what the page looks at first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera

_TRIALS = 400
_SAMPLE = 4000
#: Cosine of the largest angle between a support's normal and what the cameras take for up.
_TILT = 0.8
#: Distance to a plane up to which a point counts, of the scene's radius.
_NEAR = 0.01


def up_direction(points: NDArray[np.float64], cameras: list[Camera]) -> NDArray[np.float64]:
    """Return what is up, [3]: the normal of the largest plane that the cameras hold upright.

    Photographs are rarely upside down, so the mean of the cameras' upward axes is about up; RANSAC
    (Fischler and Bolles 1981) over planes near it finds what things stand on.

    Args:
        points: [P, 3] centres of opaque Gaussians.
        cameras: At least one, in the same world.
    """
    held = -np.mean([camera.cam_from_world[1, :3] for camera in cameras], axis=0)
    length = np.linalg.norm(held)
    held = held / length if length > 0.05 else np.array([0.0, 0.0, 1.0])
    if len(points) < 3:
        return held
    generator = np.random.default_rng(0)
    sample = points[generator.permutation(len(points))[:_SAMPLE]]
    near = _NEAR * radius_of(points)
    best, plane = 0, (sample[0], held)
    for a, b, c in sample[generator.integers(0, len(sample), (_TRIALS, 3))]:
        normal = np.cross(b - a, c - a)
        size = np.linalg.norm(normal)
        if size < near**2:
            continue
        normal = normal / size
        if normal @ held < 0:
            normal = -normal
        count = int((np.abs((sample - a) @ normal) < near).sum())
        if normal @ held > _TILT and count > best:
            best, plane = count, (a, normal)
    if best < 3:
        return held
    inside = sample[np.abs((sample - plane[0]) @ plane[1]) < near]
    offsets = inside - inside.mean(axis=0)
    normal = np.linalg.eigh(offsets.T @ offsets)[1][:, 0]
    normal = normal if normal @ held > 0 else -normal
    return normal if normal @ plane[1] > 0.9 else plane[1]


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
