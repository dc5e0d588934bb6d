"""A COLMAP model from exact cameras, so that tests and studies can do without SfM.

Points are surface points seen at pixel centres; each is projected into all views and observed
where that view's own rendering shows the same surface at the same depth. Binary format:
COLMAP documentation, "Output Format".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from gradiseg_core.cameras import Camera

_PINHOLE = 1  # COLMAP's model number
_DEPTH_TOLERANCE = 0.01  # relative: the neighbouring pixel centre on a slanted surface
_MARGIN_PX = 1.0


def write_sparse_model(
    folder: Path,
    cameras: Sequence[Camera],
    surfaces: Mapping[str, NDArray[np.float32]],
    id_maps: Mapping[str, NDArray[np.int32]],
    images: Mapping[str, NDArray[np.uint8]],
    num_points: int,
    *,
    seed: int,
) -> None:
    """Write ``cameras.bin``, ``images.bin`` and ``points3D.bin`` of one shared PINHOLE camera.

    Args:
        folder: Usually ``sparse/0``; made if absent.
        cameras: Exact cameras of all views, of one size and K.
        surfaces: Per view name: surface points at the pixel centres, [H, W, 3], m.
        id_maps: Per view name: object IDs there, [H, W].
        images: Per view name: [H, W, 3] uint8, for the points' colours.
        num_points: Points to sample; those seen in one view only are left out.
        seed: Draws the points.
    """
    rng = np.random.default_rng([seed, 5])
    points, colors, ids = _sample_points(cameras, surfaces, id_maps, images, num_points, rng)
    seen = [
        _visible(camera, surfaces[camera.name], id_maps[camera.name], points, ids)
        for camera in cameras
    ]
    count = np.sum([visible for visible, _ in seen], axis=0)
    keep = np.flatnonzero(count >= 2)
    new_index = np.full(len(points), -1)
    new_index[keep] = np.arange(len(keep))

    folder.mkdir(parents=True, exist_ok=True)
    first = cameras[0]
    with (folder / "cameras.bin").open("wb") as file:
        file.write(struct.pack("<QIiQQ", 1, 1, _PINHOLE, first.width, first.height))
        K = first.K
        file.write(struct.pack("<4d", K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
    tracks: list[list[tuple[int, int]]] = [[] for _ in keep]
    with (folder / "images.bin").open("wb") as file:
        file.write(struct.pack("<Q", len(cameras)))
        for image_id, (camera, (visible, xy)) in enumerate(
            zip(cameras, seen, strict=True), start=1
        ):
            observed = np.flatnonzero(visible & (new_index >= 0))
            x, y, z, w = Rotation.from_matrix(camera.cam_from_world[:3, :3]).as_quat()
            file.write(struct.pack("<I7d", image_id, w, x, y, z, *camera.cam_from_world[:3, 3]))
            file.write(struct.pack("<I", 1) + camera.name.encode() + b"\0")
            file.write(struct.pack("<Q", len(observed)))
            for slot, index in enumerate(observed):
                file.write(struct.pack("<ddq", *xy[index], int(new_index[index]) + 1))
                tracks[new_index[index]].append((image_id, slot))
    with (folder / "points3D.bin").open("wb") as file:
        file.write(struct.pack("<Q", len(keep)))
        for point_id, (index, track) in enumerate(zip(keep, tracks, strict=True), start=1):
            file.write(struct.pack("<Q3d3B", point_id, *points[index], *colors[index].tolist()))
            file.write(struct.pack("<dQ", 0.0, len(track)))
            for image_id, slot in track:
                file.write(struct.pack("<II", image_id, slot))


def _sample_points(
    cameras: Sequence[Camera],
    surfaces: Mapping[str, NDArray[np.float32]],
    id_maps: Mapping[str, NDArray[np.int32]],
    images: Mapping[str, NDArray[np.uint8]],
    num_points: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.int32]]:
    """Draw pixels of all views; small objects get more than their share by area."""
    points, colors, ids = [], [], []
    shares = np.full(len(cameras), num_points // len(cameras))
    shares[: num_points % len(cameras)] += 1
    for camera, share in zip(cameras, shares, strict=True):
        flat_ids = id_maps[camera.name].ravel()
        weight = 1.0 / np.sqrt(np.bincount(flat_ids).astype(np.float64).clip(min=1))[flat_ids]
        pixel = rng.choice(
            len(flat_ids), size=min(int(share), len(flat_ids)), replace=False,
            p=weight / weight.sum(),
        )  # fmt: skip
        points.append(surfaces[camera.name].reshape(-1, 3)[pixel].astype(np.float64))
        colors.append(images[camera.name].reshape(-1, 3)[pixel])
        ids.append(flat_ids[pixel])
    return np.concatenate(points), np.concatenate(colors), np.concatenate(ids)


def _visible(
    camera: Camera,
    surface_map: NDArray[np.float32],
    id_map: NDArray[np.int32],
    points: NDArray[np.float64],
    ids: NDArray[np.int32],
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which points the view shows, [P] bool, and where, [P, 2] px."""
    pose = camera.cam_from_world
    x_in_cam = points @ pose[:3, :3].T + pose[:3, 3]
    depth = x_in_cam[:, 2]
    projected = x_in_cam @ camera.K.T
    xy = projected[:, :2] / np.where(depth > 1e-6, depth, 1.0)[:, None]
    inside = (depth > 1e-6) & (xy >= _MARGIN_PX).all(axis=1)
    inside &= (xy <= np.array([camera.width, camera.height]) - _MARGIN_PX).all(axis=1)
    column, row = np.where(inside, xy.T, 0).astype(np.int64)
    surface = surface_map[row, column].astype(np.float64)
    surface_depth = surface @ pose[2, :3] + pose[2, 3]
    near = np.abs(surface_depth - depth) < _DEPTH_TOLERANCE * depth
    return inside & near & (id_map[row, column] == ids), xy
