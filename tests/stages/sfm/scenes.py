"""A tiny room corner of three textured walls, rendered by ray casting, with known cameras."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pycolmap
from PIL import Image
from scipy.ndimage import map_coordinates

from gradiseg_core.cameras import Camera
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.stages.sfm.features import build_database

WIDTH, HEIGHT = 240, 180
TOP, LEFT, RIGHT = 120, 20, 100  # of the gripper, which reaches to the lower edge


def lens(model: str = "PINHOLE") -> pycolmap.Camera:
    params = {
        "PINHOLE": [230.0, 230.0, WIDTH / 2, HEIGHT / 2],
        "SIMPLE_RADIAL": [230.0, WIDTH / 2, HEIGHT / 2, -0.12],
    }[model]
    return pycolmap.Camera(model=model, width=WIDTH, height=HEIGHT, params=params, camera_id=1)


def look_at(center, target) -> np.ndarray:
    """Pose [4, 4], cam_from_world, OpenCV axes, world z up."""
    forward = np.asarray(target, float) - center
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, -rotation @ center
    return pose


def poses(count: int) -> list[np.ndarray]:
    turn = np.linspace(-0.5, 0.5, count)
    return [
        look_at([2.6 * np.cos(0.8 + a), 2.6 * np.sin(0.8 + a), 1.2 + 0.3 * a], [0.3, 0.3, 0.5])
        for a in turn
    ]


@lru_cache
def _textures(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(3):
        texture = np.zeros((512, 512, 3))
        for cells in (16, 64, 256):
            coarse = rng.random((cells, cells, 3))
            grid = np.linspace(0, cells - 1, 512)
            at = np.meshgrid(grid, grid, indexing="ij")
            texture += np.stack(
                [map_coordinates(coarse[..., c], at, order=1) for c in range(3)], axis=-1
            )
        result.append(texture / 3)
    return result


def render(
    camera: pycolmap.Camera, pose: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Photograph [H, W, 3] uint8 and wall IDs 1..3 [H, W] through any lens."""
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    at = np.stack([x.ravel(), y.ravel()], axis=1)
    rays = np.concatenate([camera.cam_from_img(at), np.ones((len(at), 1))], axis=1)
    direction = rays @ pose[:3, :3]
    center = -pose[:3, :3].T @ pose[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = -center / direction  # to the planes x = 0, y = 0, z = 0
    distance[~(distance > 0)] = np.inf
    wall = distance.argmin(axis=1)
    hit = center + direction * distance.min(axis=1)[:, None]
    image = np.zeros((len(at), 3))
    for index, texture in enumerate(_textures(seed)):
        uv = np.delete(hit[wall == index], index, axis=1)
        position = ((uv + 2.0) / 6.0 * 511).T
        for c in range(3):
            image[wall == index, c] = map_coordinates(
                texture[..., c], position, order=1, mode="wrap"
            )
    shape = (camera.height, camera.width)
    photograph = (image.clip(0, 1) * 255).round().astype(np.uint8).reshape(*shape, 3)
    return photograph, (wall + 1).astype(np.int32).reshape(shape)


def write_manifest(scene_dir: Path, names: list[str], test: tuple[str, ...] = ()) -> None:
    views, k = [], 0
    for name in sorted(names):
        with Image.open(scene_dir / "images" / name) as file:
            width, height = file.size
        is_test = name in test
        views.append(
            {
                "name": name,
                "split": "test" if is_test else "train",
                "test_index": k if is_test else None,
                "width": width,
                "height": height,
            }
        )
        k += is_test
    manifest = {"name": "corner", "source": "folder", "views": views, "prompts": [], "has": {}}
    (scene_dir / "scene.json").write_text(json.dumps(manifest))


def make_scene(
    scene_dir: Path, *, count: int = 8, model: str = "PINHOLE"
) -> tuple[dict[str, Camera], dict[str, np.ndarray]]:
    """Write a scene folder; return its true cameras (K without distortion) and wall IDs by name."""
    (scene_dir / "images").mkdir(parents=True)
    camera = lens(model)
    cameras, walls = {}, {}
    for index, pose in enumerate(poses(count)):
        name = f"view_{index}.png"
        photograph, walls[name] = render(camera, pose)
        Image.fromarray(photograph).save(scene_dir / "images" / name)
        cameras[name] = Camera(name, WIDTH, HEIGHT, camera.calibration_matrix(), pose)
    write_manifest(scene_dir, list(cameras), test=("view_0.png",))
    return cameras, walls


def noisy_scene(folder: Path, *, noise: float = 24.0, count: int = 8) -> dict[str, Camera]:
    """Write grainy photographs, of which two register without guided matching."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    cameras = {}
    for index, pose in enumerate(poses(count)):
        name = f"view_{index}.png"
        photograph, _ = render(lens(), pose)
        grainy = (photograph + rng.normal(0, noise, photograph.shape)).clip(0, 255)
        Image.fromarray(grainy.astype(np.uint8)).save(folder / "images" / name)
        cameras[name] = Camera(name, WIDTH, HEIGHT, lens().calibration_matrix(), pose)
    write_manifest(folder, list(cameras), test=("view_0.png",))
    return cameras


def put_gripper(folder: Path, *, textured: bool = True) -> None:
    """Put what moves with the camera into all photographs of a folder."""
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 255, (20, 20, 3)).repeat(5, axis=0).repeat(5, axis=1)
    gripper = tiles[: HEIGHT - TOP, : RIGHT - LEFT] if textured else np.full((60, 80, 3), 240)
    for index, path in enumerate(sorted(folder.iterdir())):
        image = np.asarray(Image.open(path)).astype(float)
        exposure = 1.0 - 0.01 * index
        added = rng.normal(0, 3, gripper.shape)
        image[TOP:, LEFT:RIGHT] = (gripper * exposure + added).clip(0, 255)
        Image.fromarray(image.astype(np.uint8)).save(path)


def matched_scene(folder: Path, config: ColmapConfig) -> tuple[Path, dict[str, Camera]]:
    """Write eight photographs to `folder/scene`; return their database of matches, and cameras."""
    cameras, _ = make_scene(folder / "scene", count=8)
    database = build_database(
        folder, folder / "scene" / "images", sorted(cameras), config,
        cameras=[sorted(cameras)], seed=0, threads=2,
    )  # fmt: skip
    return database, cameras


def write_sparse(
    folder: Path, camera: pycolmap.Camera, views: dict[str, np.ndarray], *, detected: bool = True
) -> None:
    """Write a COLMAP model by pycolmap: the given poses, and 60 points that every view sees.

    Without `detected`, no view has any point and the model has none.
    """
    rng = np.random.default_rng(0)
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(camera)
    xyz = rng.uniform([0.1, 0.1, 0.1], [0.8, 0.8, 0.8], (60, 3))
    for image_id, (name, pose) in enumerate(sorted(views.items()), 1):
        in_camera = xyz @ pose[:3, :3].T + pose[:3, 3]
        image = pycolmap.Image(
            name=name,
            camera_id=camera.camera_id,
            image_id=image_id,
            keypoints=camera.img_from_cam(in_camera) if detected else np.empty((0, 2)),
        )
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(pose[:3]))
    for index, point in enumerate(xyz if detected else ()):
        track = pycolmap.Track()
        for image_id in range(1, len(views) + 1):
            track.add_element(image_id, index)
        model.add_point3D(point, track, np.array([index, 2 * index, 255], np.uint8))
    model.update_point_3d_errors()
    folder.mkdir(parents=True, exist_ok=True)
    model.write_binary(folder)
