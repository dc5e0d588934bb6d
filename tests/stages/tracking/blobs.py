"""A synthetic scene with known answers: balls of points on a plane, seen from a ring."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from gradiseg_core.cameras import Camera
from gradiseg_core.files.id_maps import write_id_map
from gradiseg_core.files.images import write_image
from gradiseg_core.files.manifest import SceneManifest, split_views
from gradiseg_core.stages.tracking.evidence import SegmentedView

WIDTH, HEIGHT = 128, 96
CENTERS = np.array([[-0.6, 0.0, 0.3], [0.6, 0.1, 0.3], [0.0, 0.75, 0.35], [0.0, -0.7, 0.25]])
RADII = np.array([0.3, 0.3, 0.35, 0.25])


@dataclass(frozen=True)
class Blobs:
    """Views with exact masks; object k has ID k + 1, the table has the last ID."""

    views: list[SegmentedView]
    xyz: np.ndarray  # [P, 3]
    owner: np.ndarray  # [P] exact ID of each point
    exact: list[np.ndarray]  # per view [H, W]

    @property
    def table(self) -> int:
        return len(CENTERS) + 1


def look_at(eye: np.ndarray, name: str) -> Camera:
    """A camera at ``eye`` that looks at the origin, z up."""
    forward = -eye / np.linalg.norm(eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ eye
    K = np.array([[110.0, 0, WIDTH / 2], [0, 110.0, HEIGHT / 2], [0, 0, 1]])
    return Camera(name, WIDTH, HEIGHT, K, pose)


def trace(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact ID [H, W] (table everywhere else) and the depth of each pixel."""
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(camera.K).T
    directions = rays @ camera.cam_from_world[:3, :3]  # camera depth is the ray parameter
    origin = camera.center_in_world
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(directions[..., 2] < 0, -origin[2] / directions[..., 2], 50.0)
    ids = np.full(depth.shape, len(CENTERS) + 1)
    for k, (center, radius) in enumerate(zip(CENTERS, RADII, strict=True)):
        offset = origin - center
        a = (directions**2).sum(-1)
        b = directions @ offset
        root = b**2 - a * (offset @ offset - radius**2)
        hit = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
        closer = (hit > 0) & (hit < depth)
        ids[closer], depth[closer] = k + 1, hit[closer]
    return ids.astype(np.int32), depth


def make(
    num_views: int = 10, points_per_object: int = 60, detect: float = 0.5, seed: int = 0
) -> Blobs:
    """Build the scene; each visible point is detected in a view with probability ``detect``."""
    rng = np.random.default_rng(seed)
    xyz, owner = [], []
    for k, (center, radius) in enumerate(zip(CENTERS, RADII, strict=True)):
        normal = rng.normal(size=(points_per_object, 3))
        normal[:, 2] = np.abs(normal[:, 2]) * 0.8 - 0.1
        xyz.append(center + radius * normal / np.linalg.norm(normal, axis=1, keepdims=True))
        owner.append(np.full(points_per_object, k + 1))
    table = rng.uniform(-1.6, 1.6, size=(4 * points_per_object, 3)) * [1, 1, 0]
    xyz.append(table)
    owner.append(np.full(len(table), len(CENTERS) + 1))
    points, owners = np.concatenate(xyz), np.concatenate(owner)
    views, exact = [], []
    for index in range(num_views):
        angle = 2 * np.pi * index / num_views
        height = 2.0 if index % 2 else 2.6
        eye = np.array([3.0 * np.cos(angle), 3.0 * np.sin(angle), height])
        camera = look_at(eye, f"view_{index:02d}.png")
        ids, depth = trace(camera)
        in_cam = points @ camera.cam_from_world[:3, :3].T + camera.cam_from_world[:3, 3]
        xy = (in_cam @ camera.K.T)[:, :2] / in_cam[:, 2:]
        inside = (xy > 0).all(1) & (xy[:, 0] < WIDTH) & (xy[:, 1] < HEIGHT)
        columns, rows = np.where(inside[:, None], xy, 0).astype(int).T
        visible = inside & (np.abs(depth[rows, columns] - in_cam[:, 2]) < 0.08)
        found = np.flatnonzero(visible & (rng.random(len(points)) < detect))
        views.append(SegmentedView(camera, ids, xy[found], found))
        exact.append(ids)
    return Blobs(views, points, owners, exact)


def with_segments(blobs: Blobs, segments: dict[int, np.ndarray]) -> list[SegmentedView]:
    """Replace the masks of some views, by index."""
    return [
        SegmentedView(view.camera, segments.get(i, view.segments), view.xy, view.point_index)
        for i, view in enumerate(blobs.views)
    ]


def write(blobs: Blobs, root: Path, *, num_test: int = 0) -> tuple[Path, Path, Path]:
    """Write the scene as stages `scene`, `colmap` and `masks` would; the last views are test views.

    Returns:
        The three folders.
    """
    scene_dir, colmap_dir, masks_dir = root / "scene", root / "colmap", root / "masks"
    (colmap_dir / "sparse" / "0").mkdir(parents=True)
    scene_dir.mkdir()
    names = [view.camera.name for view in blobs.views]
    test_names = set(names[len(names) - num_test :])
    SceneManifest(
        name="blobs", source="folder", views=split_views(names, (WIDTH, HEIGHT), test_names)
    ).save(scene_dir)
    grey = np.full((HEIGHT, WIDTH, 3), 200, dtype=np.uint8)
    for view in blobs.views:
        write_image(colmap_dir / "images" / view.camera.name, grey)
        write_id_map(masks_dir / f"{view.camera.stem}.png", view.segments)
    _write_model(blobs, colmap_dir / "sparse" / "0")
    return scene_dir, colmap_dir, masks_dir


def _write_model(blobs: Blobs, folder: Path) -> None:
    K = blobs.views[0].camera.K
    (folder / "cameras.bin").write_bytes(
        struct.pack("<QIiQQ4d", 1, 1, 1, WIDTH, HEIGHT, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
    )
    images = [struct.pack("<Q", len(blobs.views))]
    tracks: list[list[tuple[int, int]]] = [[] for _ in blobs.xyz]
    for image_id, view in enumerate(blobs.views, start=1):
        pose = view.camera.cam_from_world
        quat = Rotation.from_matrix(pose[:3, :3]).as_quat(scalar_first=True)
        images.append(struct.pack("<I7dI", image_id, *quat, *pose[:3, 3], 1))
        images.append(view.camera.name.encode() + b"\0" + struct.pack("<Q", len(view.xy)))
        for k, (xy, point) in enumerate(zip(view.xy, view.point_index, strict=True)):
            images.append(struct.pack("<2dQ", *xy, point + 1))
            tracks[point].append((image_id, k))
    (folder / "images.bin").write_bytes(b"".join(images))
    points = [struct.pack("<Q", len(blobs.xyz))]
    for index, (xyz, track) in enumerate(zip(blobs.xyz, tracks, strict=True)):
        points.append(struct.pack("<Q3d3BdQ", index + 1, *xyz, 9, 9, 9, 0.5, len(track)))
        points += [struct.pack("<II", image_id, k) for image_id, k in track]
    (folder / "points3D.bin").write_bytes(b"".join(points))
