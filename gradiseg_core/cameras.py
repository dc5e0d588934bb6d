"""Pinhole cameras in COLMAP's and gsplat's common convention.

Axes are OpenCV's (x right, y down, z forward). ``cam_from_world`` maps world points to camera
points. Pixel (column j, row i) has its centre at (j + 0.5, i + 0.5), so the image's top left
*corner* is (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Camera:
    """One undistorted view.

    Attributes:
        name: File name of the image, with suffix.
        width: Image width, px.
        height: Image height, px.
        K: Intrinsics, [3, 3] float64, px.
        cam_from_world: Pose, [4, 4] float64, world units.
    """

    name: str
    width: int
    height: int
    K: NDArray[np.float64]
    cam_from_world: NDArray[np.float64]

    @property
    def stem(self) -> str:
        """File name without suffix; ID maps and renderings of the view carry it."""
        return self.name.rsplit(".", 1)[0]

    @property
    def center_in_world(self) -> NDArray[np.float64]:
        """Optical centre in world coordinates, [3]."""
        rotation, translation = self.cam_from_world[:3, :3], self.cam_from_world[:3, 3]
        return -rotation.T @ translation

    def resized(self, width: int, height: int) -> Camera:
        """Return the camera of the same view resampled to ``width`` x ``height`` px."""
        K = self.K.copy()
        K[0] *= width / self.width
        K[1] *= height / self.height
        return replace(self, width=width, height=height, K=K)


def scene_extent(cameras: list[Camera]) -> float:
    """Return 1.1 x the largest distance of a camera from the cameras' mean centre.

    This is 3DGS's ``cameras_extent`` (getNerfppNorm), the unit of its position learning rate and of
    its size thresholds.

    Raises:
        ValueError: If ``cameras`` is empty.
    """
    if not cameras:
        raise ValueError("scene_extent needs at least one camera")
    centers = np.stack([camera.center_in_world for camera in cameras])
    return float(1.1 * np.linalg.norm(centers - centers.mean(axis=0), axis=1).max())


def training_size(
    width: int, height: int, longest_side: int | None, downsample: float | None
) -> tuple[int, int]:
    """Return the (width, height) that images of one size are trained and rendered at, px.

    Args:
        width: Width of the undistorted image, px.
        height: Height of the undistorted image, px.
        longest_side: Wanted longest side, px; never enlarges.
        downsample: Wanted factor, at least 1. Give at most one of the two; neither keeps the size.
    """
    if longest_side is not None:
        factor = max(1.0, max(width, height) / longest_side)
    else:
        factor = downsample or 1.0
    return max(1, round(width / factor)), max(1, round(height / factor))
