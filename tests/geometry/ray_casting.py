"""Exact depth maps of a table with simple things on it, by ray casting."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.files.images import write_image
from tests.synthetic import ring_of_cameras, write_colmap

#: Lower and upper corner of each box, and its colour.
BOXES = [
    ((-0.9, -0.45, 0.0), (-0.1, 0.35, 0.8), (0.8, 0.2, 0.15)),
    ((-0.1, -0.3, 0.0), (0.6, 0.3, 0.35), (0.15, 0.3, 0.8)),  # touches the first one
]
#: Centre, radius and colour of the ball, which touches the table only.
BALL = ((0.55, 0.85, 0.3), 0.3, (0.15, 0.7, 0.25))
TABLE = (0.7, 0.65, 0.55)


@dataclass(frozen=True)
class Cast:
    """Views of the table.

    Attributes:
        cameras: Per view.
        depths: Per view [H, W] float32.
        alphas: Per view [H, W] float32, all 1.
        colours: Per view [H, W, 3] float32.
        photographs: Per view [H, W, 3] uint8.
        ids: Per view [H, W] int32: 0 table, 1 and 2 boxes, 3 ball.
    """

    cameras: list[Camera]
    depths: list[NDArray[np.float32]]
    alphas: list[NDArray[np.float32]]
    colours: list[NDArray[np.float32]]
    photographs: list[NDArray[np.uint8]]
    ids: list[NDArray[np.int32]]


def distance(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the exact distance of points [N, 3] to the nearest surface, positive outside."""
    found = [points[:, 2]]
    for low, high, _ in BOXES:
        over = np.maximum(np.array(low) - points, points - np.array(high))
        outside = np.linalg.norm(np.maximum(over, 0.0), axis=1)
        found.append(outside + np.minimum(over.max(axis=1), 0.0))
    center, radius, _ = BALL
    found.append(np.linalg.norm(points - np.array(center), axis=1) - radius)
    return np.min(found, axis=0)


def cast(views: int = 12, width: int = 160, height: int = 120, *, things: bool = True) -> Cast:
    """Return the views of a ring of cameras; without ``things`` the table is empty."""
    cameras = ring_of_cameras(views, width, height)
    return cast_cameras(cameras, things=things)


def cast_cameras(cameras: list[Camera], *, things: bool = True) -> Cast:
    """Return the views of given cameras."""
    height, width = cameras[0].height, cameras[0].width
    seen = [_cast_view(camera, things) for camera in cameras]
    colours = [colour for _, colour, _ in seen]
    return Cast(
        cameras=cameras,
        depths=[depth for depth, _, _ in seen],
        alphas=[np.ones((height, width), np.float32) for _ in seen],
        colours=colours,
        photographs=[(255 * colour).round().astype(np.uint8) for colour in colours],
        ids=[ids for _, _, ids in seen],
    )


def write_cast(views: Cast, root: Path, *, tests: int = 1) -> tuple[Path, Path]:
    """Write scene/ and colmap/ below ``root``; the last ``tests`` views are test views."""
    scene_dir, colmap_dir = root / "scene", root / "colmap"
    listed = []
    first_test = len(views.cameras) - tests
    for number, (camera, photograph) in enumerate(
        zip(views.cameras, views.photographs, strict=True)
    ):
        write_image(colmap_dir / "images" / camera.name, photograph)
        write_image(scene_dir / "images" / camera.name, photograph)
        index = number - first_test if number >= first_test else None
        listed.append(
            {
                "name": camera.name,
                "split": "train" if index is None else "test",
                "test_index": index,
                "width": camera.width,
                "height": camera.height,
            }
        )
    manifest = {"name": "cast", "source": "folder", "views": listed, "prompts": []}
    (scene_dir / "scene.json").write_text(json.dumps(manifest))
    generator = np.random.default_rng(0)
    points = np.c_[generator.uniform(-1.3, 1.3, (300, 2)), np.zeros(300)]
    write_colmap(colmap_dir, views.cameras, points, np.full((300, 3), 150, np.uint8))
    return scene_dir, colmap_dir


def _cast_view(
    camera: Camera, things: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    rays = pixels @ np.linalg.inv(camera.K).T @ camera.cam_from_world[:3, :3]  # z in camera: 1
    eye = camera.center_in_world
    depth = np.where(rays[..., 2] < 0, -eye[2] / np.minimum(rays[..., 2], -1e-9), np.inf)
    ids = np.zeros(depth.shape, np.int32)
    for number, (low, high, _) in enumerate(BOXES if things else [], start=1):
        safe = np.where(np.abs(rays) < 1e-12, 1e-12, rays)
        near, far = (np.array(low) - eye) / safe, (np.array(high) - eye) / safe
        enter = np.minimum(near, far).max(axis=-1)
        leave = np.maximum(near, far).min(axis=-1)
        hit = (enter < leave) & (enter > 0) & (enter < depth)
        depth, ids = np.where(hit, enter, depth), np.where(hit, number, ids)
    center, radius, _ = BALL
    a = (rays**2).sum(axis=-1)
    b = rays @ (eye - np.array(center))
    root = b**2 - a * (((eye - np.array(center)) ** 2).sum() - radius**2)
    enter = (-b - np.sqrt(np.maximum(root, 0.0))) / a
    hit = things & (root > 0) & (enter > 0) & (enter < depth)
    depth, ids = np.where(hit, enter, depth), np.where(hit, 3, ids)
    palette = np.array([TABLE, *(colour for *_, colour in BOXES), BALL[2]], np.float32)
    known = np.isfinite(depth)
    colour = np.where(known[..., None], palette[ids], 0.0).astype(np.float32)
    return np.where(known, depth, 0.0).astype(np.float32), colour, ids
