"""Reading the cameras and points of a finished reconstruction.

A small reader of COLMAP's binary model files (`cameras.bin`, `images.bin`, `points3D.bin`, whose
layout is given in COLMAP's documentation, "Output Format"), so that the stages after `colmap` need
NumPy only. Cameras and points come in the frame that training works in
(:class:`gradiseg_core.cameras.Frame`): the model's own, except for models far from their origin or
in unusual units. Points are numbered 0..P-1
in the order of their COLMAP IDs in all functions here.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera, Frame
from gradiseg_core.errors import InputError
from gradiseg_core.files.manifest import by_name

_PINHOLE = 1  # COLMAP's model ID; parameters fx, fy, cx, cy
_NUM_PARAMS = {0: 3, 1: 4, 2: 4, 3: 5, 4: 8, 5: 8, 6: 12, 7: 5, 8: 4, 9: 5, 10: 12}
_POINT2D = np.dtype([("xy", "<f8", (2,)), ("point", "<u8")])
_NO_POINT = np.uint64(2**64 - 1)


class _ImageRecord(NamedTuple):
    name: str
    camera_id: int
    quat_wxyz: NDArray[np.float64]
    translation: NDArray[np.float64]
    keypoints: NDArray  # [n] of _POINT2D


class Observations(NamedTuple):
    """What the views saw of the sparse points.

    Attributes:
        views: Image name to (xy [n, 2] float64 px, point_index [n] int64 into the points that
            `load_points` returns).
        errors: Mean reprojection error of each point, [P] float64, px.
    """

    views: dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]
    errors: NDArray[np.float64]


def load_cameras(colmap_dir: Path) -> dict[str, Camera]:
    """Return the undistorted cameras by image name, sorted by name, in the training frame.

    Args:
        colmap_dir: Output folder of stage `colmap`.

    Raises:
        InputError: If the model is missing, damaged or not PINHOLE.
    """
    frame = Frame.load(colmap_dir)
    return {
        name: replace(camera, cam_from_world=frame.pose(camera.cam_from_world))
        for name, camera in load_user_cameras(colmap_dir).items()
    }


def load_user_cameras(colmap_dir: Path) -> dict[str, Camera]:
    """Return what `load_cameras` returns, in the user's world.

    Raises:
        InputError: If the model is missing, damaged or not PINHOLE.
    """
    intrinsics = _read_intrinsics(_file(colmap_dir, "cameras.bin"))
    cameras = {}
    for record in _in_order(_read_images(_file(colmap_dir, "images.bin"))):
        width, height, K = intrinsics[record.camera_id]
        pose = np.eye(4)
        pose[:3, :3] = rotation_matrix(record.quat_wxyz)
        pose[:3, 3] = record.translation
        cameras[record.name] = Camera(record.name, width, height, K, pose)
    return cameras


def load_points(colmap_dir: Path) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return the sparse points: xyz [P, 3] float64 in the training frame, rgb [P, 3] uint8.

    Raises:
        InputError: If the model is missing or damaged.
    """
    _, xyz, rgb, _ = _read_points(_file(colmap_dir, "points3D.bin"))
    return Frame.load(colmap_dir).points(xyz), rgb


def load_user_points(colmap_dir: Path) -> NDArray[np.float64]:
    """Return the sparse points [P, 3] in the user's world.

    Raises:
        InputError: If the model is missing or damaged.
    """
    return _read_points(_file(colmap_dir, "points3D.bin"))[1]


def load_observations(colmap_dir: Path) -> Observations:
    """Return which sparse points each view observed, and where in its image.

    Raises:
        InputError: If the model is missing or damaged.
    """
    ids, _, _, errors = _read_points(_file(colmap_dir, "points3D.bin"))
    views = {}
    for record in _in_order(_read_images(_file(colmap_dir, "images.bin"))):
        seen = record.keypoints[record.keypoints["point"] != _NO_POINT]
        index = np.searchsorted(ids, seen["point"]).astype(np.int64)
        views[record.name] = (seen["xy"].copy(), index)
    return Observations(views, errors)


def rotation_matrix(quat_wxyz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the [3, 3] rotation of a quaternion (w, x, y, z), normalised first."""
    w, x, y, z = quat_wxyz / np.linalg.norm(quat_wxyz)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _file(colmap_dir: Path, name: str) -> Path:
    path = Path(colmap_dir) / "sparse" / "0" / name
    if not path.is_file():
        raise InputError(f"{path} not found: run stage `colmap` for this scene first")
    return path


def _read_intrinsics(path: Path) -> dict[int, tuple[int, int, NDArray[np.float64]]]:
    data = path.read_bytes()
    cameras = {}
    try:
        (count,), offset = struct.unpack_from("<Q", data), 8
        for _ in range(count):
            camera_id, model, width, height = struct.unpack_from("<IiQQ", data, offset)
            num = _NUM_PARAMS.get(model, 0)
            params = struct.unpack_from(f"<{num}d", data, offset + 24)
            offset += 24 + 8 * num
            if model != _PINHOLE:
                raise InputError(
                    f"{path}: camera {camera_id} has COLMAP model {model}, expected PINHOLE "
                    "(undistorted); rerun stage `colmap`, which undistorts"
                )
            fx, fy, cx, cy = params
            K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
            cameras[camera_id] = (int(width), int(height), K)
    except struct.error as error:
        raise _damaged(path, error) from error
    return cameras


def _read_images(path: Path) -> list[_ImageRecord]:
    data = path.read_bytes()
    records = []
    try:
        (count,), offset = struct.unpack_from("<Q", data), 8
        for _ in range(count):
            _, *pose, camera_id = struct.unpack_from("<I7dI", data, offset)
            offset += 64
            end = data.index(b"\0", offset)
            name = data[offset:end].decode()
            (num,) = struct.unpack_from("<Q", data, end + 1)
            keypoints = np.frombuffer(data, _POINT2D, count=num, offset=end + 9)
            offset = end + 9 + num * _POINT2D.itemsize
            records.append(
                _ImageRecord(name, camera_id, np.array(pose[:4]), np.array(pose[4:]), keypoints)
            )
    except (struct.error, ValueError) as error:
        raise _damaged(path, error) from error
    return records


def _in_order(records: list[_ImageRecord]) -> list[_ImageRecord]:
    return sorted(records, key=lambda record: by_name(record.name))


def _read_points(
    path: Path,
) -> tuple[
    NDArray[np.uint64],  # IDs [P], ascending
    NDArray[np.float64],  # xyz [P, 3]
    NDArray[np.uint8],  # rgb [P, 3]
    NDArray[np.float64],  # errors [P]
]:
    data = path.read_bytes()
    try:
        (count,), offset = struct.unpack_from("<Q", data), 8
        ids = np.empty(count, np.uint64)
        xyz = np.empty((count, 3))
        rgb = np.empty((count, 3), np.uint8)
        errors = np.empty(count)
        for index in range(count):
            values = struct.unpack_from("<Q3d3BdQ", data, offset)
            ids[index], xyz[index], rgb[index] = values[0], values[1:4], values[4:7]
            errors[index] = values[7]
            offset += 51 + 8 * values[8]  # 8 bytes for each element of the track
    except struct.error as error:
        raise _damaged(path, error) from error
    order = np.argsort(ids)
    return ids[order], xyz[order], rgb[order], errors[order]


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is damaged or cut short ({error}); rerun stage `colmap`")
