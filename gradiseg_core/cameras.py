"""Pinhole cameras in COLMAP's and gsplat's common convention, and the world that they stand in.

Axes are OpenCV's (x right, y down, z forward). ``cam_from_world`` maps world points to camera
points. Pixel (column j, row i) has its centre at (j + 0.5, i + 0.5), so the image's top left
*corner* is (0, 0).

Training, rendering and COLMAP's PLY readers work in float32 with a near plane at 0.01 world units.
Both fail without a word on models in map coordinates (float32 at 4,000,000 m has steps of 0.25 m)
and in unusual units (kilometres: all in front of the near plane). Where a model would suffer, its
world is shifted and scaled for all that follows stage `colmap` (:class:`Frame`); where not, nothing
changes.

`colmap/sparse/0` stays in the user's world. `colmap/frame.json` holds the transform, which
`files.colmap` applies in float64 when it reads cameras and points. What is written for the user
goes back: depth in the user's units, and `train/point_cloud.ply` in the user's units and axes, less
the offset (which float32 could not hold), with a copy of `frame.json` beside it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.errors import InputError

FRAME_FILE = "frame.json"

_NEAREST, _FARTHEST = 0.1, 100.0  # harmless median depths: 10 near planes; MCMC's noise
#: Harmless distance from the origin, in median depths. float32 then places a point to about
#: 100 * 6e-8 of its depth, which is 0.006 px at a focal length of 1000 px.
_FAR_AWAY = 100.0


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


@dataclass(frozen=True)
class Frame:
    """x_training = scale * (x_user - offset).

    Attributes:
        scale: Training units per user's unit; a power of two, so that float32 loses nothing.
        offset: The training frame's origin in the user's world, user's units.
    """

    scale: float = 1.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def is_identity(self) -> bool:
        """Whether both worlds are the same."""
        return self == Frame()

    def points(self, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points [P, 3] of the user's world in the training frame."""
        return xyz if self.is_identity else self.scale * (xyz - np.array(self.offset))

    def pose(self, cam_from_world: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a pose [4, 4] of the user's world in the training frame."""
        if self.is_identity:
            return cam_from_world
        pose = cam_from_world.copy()
        pose[:3, 3] = self.scale * (pose[:3, 3] + pose[:3, :3] @ np.array(self.offset))
        return pose

    def save(self, folder: Path) -> None:
        """Write `folder/frame.json`."""
        content = {
            "about": "x_training = scale * (x_user - offset); point_cloud.ply holds x_user - "
            "offset, in the user's units",
            "scale": self.scale,
            "offset": list(self.offset),
        }
        (folder / FRAME_FILE).write_text(json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Frame:
        """Read `folder/frame.json`; where there is none, both worlds are the same.

        Raises:
            InputError: If the file is damaged.
        """
        path = Path(folder) / FRAME_FILE
        try:
            content = json.loads(path.read_text())
            x, y, z = (float(value) for value in content["offset"])
            frame = cls(float(content["scale"]), (x, y, z))
        except FileNotFoundError:
            return cls()
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is damaged ({error}); rerun stage `colmap`, or `train` where it lies there"
            ) from error
        if not (frame.scale > 0 and np.isfinite([frame.scale, *frame.offset]).all()):
            raise InputError(f"{path} has a scale or an offset of no use; rerun stage `colmap`")
        return frame


def training_frame(cameras: list[Camera], xyz: NDArray[np.float64]) -> Frame:
    """Return the frame to train in: the identity where the user's world is harmless.

    The measure is the median depth of the points in front of each camera, over the cameras.

    Args:
        cameras: In the user's world.
        xyz: [P, 3] points, user's world.
    """
    depths = []
    for camera in cameras:
        depth = xyz @ camera.cam_from_world[2, :3] + camera.cam_from_world[2, 3]
        if (depth > 0).any():
            depths.append(np.median(depth[depth > 0]))
    if not depths:
        return Frame()
    depth = float(np.median(depths))
    scale = 1.0 if _NEAREST <= depth <= _FARTHEST else 2.0 ** -round(np.log2(depth))
    middle = np.median([camera.center_in_world for camera in cameras], axis=0)
    if np.linalg.norm(middle) <= _FAR_AWAY * depth:
        return Frame(float(scale))
    step = 10.0 ** np.floor(np.log10(depth))  # a number that people can read
    x, y, z = (float(value) for value in np.round(middle / step) * step)
    return Frame(float(scale), (x, y, z))
