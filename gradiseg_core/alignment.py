"""Comparing estimated cameras with reference cameras, up to a similarity.

Structure from motion knows its world up to rotation, translation and scale. The least-squares
similarity between the camera centres (Umeyama, "Least-squares estimation of transformation
parameters between two point patterns", PAMI 1991) brings the estimate into the reference's frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera


@dataclass(frozen=True)
class Similarity:
    """x_reference = scale * rotation @ x_estimated + translation.

    Attributes:
        scale: Reference units per estimated unit.
        rotation: [3, 3] float64.
        translation: [3] float64, reference units.
    """

    scale: float
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    def apply(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points [..., 3] of the estimate in the reference's frame."""
        return self.scale * x @ self.rotation.T + self.translation


@dataclass(frozen=True)
class Alignment:
    """The similarity, and what remains of each view after it.

    Attributes:
        similarity: From the estimate's world to the reference's.
        position_error: Distance between the camera centres by image name, reference units.
        rotation_error_deg: Angle between the orientations by image name, degrees.
    """

    similarity: Similarity
    position_error: dict[str, float]
    rotation_error_deg: dict[str, float]


def align_cameras(estimated: Mapping[str, Camera], reference: Mapping[str, Camera]) -> Alignment:
    """Align by camera centres and measure every view that both have.

    Args:
        estimated: Cameras by image name, in any world frame.
        reference: Cameras by image name; its units are those of the position errors.

    Raises:
        ValueError: If fewer than three views are shared, or their centres lie on one line (the
            rotation about it would be arbitrary).
    """
    names = sorted(set(estimated) & set(reference))
    if len(names) < 3:
        raise ValueError(f"alignment needs 3 shared views, got {len(names)}: {names}")
    source = np.stack([estimated[name].center_in_world for name in names])
    target = np.stack([reference[name].center_in_world for name in names])
    similarity = umeyama(source, target)
    distances = np.linalg.norm(similarity.apply(source) - target, axis=1)
    angles = {}
    for name in names:
        cam_from_reference = estimated[name].cam_from_world[:3, :3] @ similarity.rotation.T
        difference = cam_from_reference @ reference[name].cam_from_world[:3, :3].T
        angles[name] = rotation_angle_deg(difference)
    positions = {name: float(value) for name, value in zip(names, distances, strict=True)}
    return Alignment(similarity, positions, angles)


def umeyama(source: NDArray[np.float64], target: NDArray[np.float64]) -> Similarity:
    """Return the similarity that minimises the squared distances of source [N, 3] to target.

    Raises:
        ValueError: If the source points lie on one line or coincide.
    """
    mean_s, mean_t = source.mean(axis=0), target.mean(axis=0)
    x, y = source - mean_s, target - mean_t
    spread = np.linalg.svd(x, compute_uv=False)
    if spread[1] <= 1e-9 * max(spread[0], np.finfo(float).tiny):
        raise ValueError("camera centres lie on one line: the similarity is not determined")
    U, singular, Vt = np.linalg.svd(y.T @ x / len(x))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(U) * np.linalg.det(Vt))])
    rotation = U @ np.diag(sign) @ Vt
    scale = float((singular * sign).sum() / (x**2).sum(axis=1).mean())
    return Similarity(scale, rotation, mean_t - scale * rotation @ mean_s)


def rotation_angle_deg(rotation: NDArray[np.float64]) -> float:
    """Return the angle of a rotation matrix, degrees; exact near 0 as well (atan2 form)."""
    axis = np.array(
        [
            rotation[2, 1] - rotation[1, 2],
            rotation[0, 2] - rotation[2, 0],
            rotation[1, 0] - rotation[0, 1],
        ]
    )
    return float(np.degrees(np.arctan2(np.linalg.norm(axis), np.trace(rotation) - 1.0)))
