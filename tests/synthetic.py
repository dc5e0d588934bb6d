"""A small scene whose stages 1 to 4 are written to disk, for tests of everything after them.

Three coloured balls of Gaussians on a plane of Gaussians, rendered by the reference rasterizer, so
that photographs, poses, points and ID maps agree exactly.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from gradiseg_core.cameras import Camera
from gradiseg_core.files.id_maps import write_id_map
from gradiseg_core.files.images import write_image
from gradiseg_core.splatting.rasterization.registry import get_rasterizer

COLORS = np.array([[0.5, 0.5, 0.45], [0.85, 0.15, 0.1], [0.1, 0.6, 0.2], [0.15, 0.25, 0.85]])


def look_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """cam_from_world, [4, 4], of a camera at ``eye``; world z is up."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, -rotation @ eye
    return matrix


def ring_of_cameras(count: int, width: int, height: int) -> list[Camera]:
    K = np.array([[width * 1.1, 0, width / 2], [0, width * 1.1, height / 2], [0, 0, 1]])
    cameras = []
    for index in range(count):
        angle = 2 * np.pi * index / count
        eye = np.array([2.4 * np.cos(angle), 2.4 * np.sin(angle), 1.3])
        pose = look_at(eye, np.array([0.0, 0.0, 0.2]))
        cameras.append(Camera(f"view_{index:03d}.png", width, height, K, pose))
    return cameras


def by_three_cameras(cameras: list[Camera]) -> list[Camera]:
    """Let every third view be an upright crop, off the middle, and every third a smaller one."""
    mixed = []
    for index, camera in enumerate(cameras):
        K = camera.K.copy()
        if index % 3 == 1:
            width = round(0.7 * camera.width)
            K[0, 2] -= round(0.1 * camera.width)
            camera = Camera(camera.name, width, camera.height, K, camera.cam_from_world)
        elif index % 3 == 2:
            camera = camera.resized(3 * camera.width // 4, 3 * camera.height // 4)
        mixed.append(camera)
    return mixed


def balls(per_object: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points [P, 3] and their object [P]: 0 the plane, 1..3 the balls."""
    generator = np.random.default_rng(seed)
    points = [np.c_[generator.uniform(-1.2, 1.2, (2 * per_object, 2)), np.zeros(2 * per_object)]]
    owner = [np.zeros(2 * per_object, dtype=int)]
    for index in range(3):
        angle = 2 * np.pi * index / 3
        direction = generator.normal(size=(per_object, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        center = np.array([0.45 * np.cos(angle), 0.45 * np.sin(angle), 0.3])
        points.append(center + 0.3 * direction)
        owner.append(np.full(per_object, index + 1))
    return np.concatenate(points), np.concatenate(owner)


def write_scene(
    root: Path,
    *,
    views: int = 8,
    width: int = 64,
    height: int = 48,
    test_every: int = 4,
    mixed: bool = False,
) -> tuple[Path, Path, Path]:
    """Write scene/, colmap/ and tracking/ below ``root``; return the three folders.

    With ``mixed``, the views are of three cameras (:func:`by_three_cameras`).
    """
    scene_dir, colmap_dir, tracking_dir = (root / n for n in ("scene", "colmap", "tracking"))
    cameras = ring_of_cameras(views, width, height)
    cameras = by_three_cameras(cameras) if mixed else cameras
    points, owner = balls()
    rasterizer = get_rasterizer("reference")
    generator = np.random.default_rng(1)
    shade = generator.uniform(0.8, 1.2, (len(points), 1))
    rgb = np.clip(COLORS[owner] * shade, 0, 1)
    one_hot = np.eye(4)[owner]
    spread = np.full((len(points), 3), 0.06)
    names, manifest = [], []
    for index, camera in enumerate(cameras):
        with torch.no_grad():
            rendering = rasterizer(
                *(
                    torch.tensor(a, dtype=torch.float32)
                    for a in (points, np.eye(4)[[0] * len(points)], spread)
                ),
                torch.full((len(points),), 0.95),
                torch.tensor((rgb - 0.5) / 0.28209479177387814, dtype=torch.float32)[:, None],
                torch.zeros(len(points), 15, 3),
                torch.tensor(one_hot, dtype=torch.float32),
                viewmat=torch.tensor(camera.cam_from_world, dtype=torch.float32),
                K=torch.tensor(camera.K, dtype=torch.float32),
                width=camera.width,
                height=camera.height,
                sh_degree=0,
            )
        test = index % test_every == 0
        for folder in (scene_dir, colmap_dir):
            write_image(folder / "images" / camera.name, rendering.color.numpy())
        ids = rendering.identity.argmax(dim=-1).numpy()
        write_id_map(scene_dir / "gt_ids" / f"{camera.stem}.png", ids)
        if not test:
            write_id_map(tracking_dir / "ids" / f"{camera.stem}.png", ids)
        names.append(camera.name)
        manifest.append(
            {
                "name": camera.name,
                "split": "test" if test else "train",
                "test_index": index // test_every if test else None,
                "width": camera.width,
                "height": camera.height,
            }
        )
    has = dict.fromkeys(("test_mask", "ground_truth", "object_mask", "sparse"), False)
    (scene_dir / "scene.json").write_text(
        json.dumps(
            {
                "name": "balls",
                "source": "folder",
                "views": manifest,
                "prompts": [],
                "has": has | {"gt_ids": True},
            }
        )
    )
    stems = [camera.stem for i, camera in enumerate(cameras) if i % test_every]
    objects = [{"id": i, "views": stems, "area_px": 100} for i in (1, 2, 3)]
    (tracking_dir / "objects.json").write_text(
        json.dumps({"backend": "precomputed", "num_ids": 3, "objects": objects})
    )
    write_colmap(colmap_dir, cameras, points, (rgb * 255).astype(np.uint8))
    return scene_dir, colmap_dir, tracking_dir


def write_colmap(folder: Path, cameras: list[Camera], points: np.ndarray, rgb: np.ndarray) -> None:
    """Write a PINHOLE model in which every camera observes every point inside its image."""
    import pycolmap

    model = pycolmap.Reconstruction()
    lenses = [
        (view.width, view.height, view.K[0, 0], view.K[1, 1], view.K[0, 2], view.K[1, 2])
        for view in cameras
    ]
    ids = {lens: index for index, lens in enumerate(dict.fromkeys(lenses), start=1)}
    for lens, camera_id in ids.items():
        camera = pycolmap.Camera(
            camera_id=camera_id,
            model="PINHOLE",
            width=lens[0],
            height=lens[1],
            params=list(lens[2:]),
        )
        model.add_camera_with_trivial_rig(camera)
    observations: list[list[tuple[int, int]]] = [[] for _ in points]
    for index, view in enumerate(cameras, start=1):
        inside = []
        projected = points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
        pixels = projected @ view.K.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        for point, (x, y) in enumerate(pixels):
            if projected[point, 2] > 0 and 0 <= x < view.width and 0 <= y < view.height:
                observations[point].append((index, len(inside)))
                inside.append((x, y))
        image = pycolmap.Image(
            image_id=index,
            name=view.name,
            camera_id=ids[lenses[index - 1]],
            keypoints=np.array(inside).reshape(-1, 2),
        )
        pose = pycolmap.Rigid3d(view.cam_from_world[:3])
        model.add_image_with_trivial_frame(image, pose)
    for xyz, color, track in zip(points, rgb, observations, strict=True):
        if len(track) >= 2:
            elements = pycolmap.Track([pycolmap.TrackElement(i, p) for i, p in track])
            model.add_point3D(xyz, elements, color)
    (folder / "sparse" / "0").mkdir(parents=True, exist_ok=True)
    model.write_binary(str(folder / "sparse" / "0"))
