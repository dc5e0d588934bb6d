"""Cameras of a tabletop: two rings for training and held-out views between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.files.manifest import by_name
from studies.options import TabletopConfig

_TARGET = np.array([0.0, 0.0, 0.035])  # m, what all cameras look at, roughly
_RINGS = ((0.93, 0.27), (1.0, 0.47))  # (share of the distance, height in m at distance 0.66)
_TEST_HEIGHT = 0.37


def viewpoints(config: TabletopConfig) -> list[tuple[Camera, bool]]:
    """Return (camera, is test view), sorted by name; exact poses in metres.

    Training views are called ``frame_00001.jpg`` and so on, test views ``test_0.jpg`` and so on.
    """
    rng = np.random.default_rng([config.seed, 3])
    height_scale = config.camera_distance / 0.66
    per_ring = [config.views - config.views // 2, config.views // 2]
    views: list[tuple[Camera, bool]] = []
    number = 1
    for ring, ((share, height), count) in enumerate(zip(_RINGS, per_ring, strict=True)):
        for step in range(count):
            angle = 2 * np.pi * (step + 0.5 * ring) / max(count, 1) + rng.normal(0, 0.03)
            name = f"frame_{number:05d}.jpg"
            position = _position(angle, share * config.camera_distance, height * height_scale, rng)
            views.append((_camera(name, position, config, rng), False))
            number += 1
    digits = len(str(config.test_views - 1))
    for k in range(config.test_views):
        angle = 2 * np.pi * (k + 0.3) / config.test_views + rng.normal(0, 0.05)
        position = _position(angle, 0.97 * config.camera_distance, _TEST_HEIGHT * height_scale, rng)
        views.append((_camera(f"test_{k:0{digits}d}.jpg", position, config, rng), True))
    return sorted(views, key=lambda view: by_name(view[0].name))


def intrinsics(width: int, height: int, field_of_view: float) -> NDArray[np.float64]:
    """Return K for square pixels and a centred principal point; ``field_of_view`` in degrees."""
    focal = 0.5 * width / np.tan(np.radians(field_of_view) / 2)
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def look_at(position: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return cam_from_world [4, 4] of an upright camera (OpenCV axes, world z up)."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    matrix[:3, 3] = -matrix[:3, :3] @ position
    return matrix


def _position(
    angle: float, distance: float, height: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    distance, height = distance * (1 + rng.normal(0, 0.025)), height * (1 + rng.normal(0, 0.05))
    return np.array([distance * np.cos(angle), distance * np.sin(angle), height])


def _camera(
    name: str, position: NDArray[np.float64], config: TabletopConfig, rng: np.random.Generator
) -> Camera:
    target = _TARGET + rng.normal(0, [0.012, 0.012, 0.006])
    return Camera(
        name=name,
        width=config.width,
        height=config.height,
        K=intrinsics(config.width, config.height, config.field_of_view),
        cam_from_world=look_at(position, target),
    )
