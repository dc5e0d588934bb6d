"""Cameras of nerfstudio, instant-ngp and NeRF's Blender scenes: ``transforms.json``.

https://docs.nerf.studio/quickstart/data_conventions.html: ``transform_matrix`` is a camera-to-world
matrix whose camera has OpenGL's axes (x right, y up, z backward). Intrinsics stand at the top or in
a frame, as focal lengths in pixels or as angles of view. ``applied_transform`` is what nerfstudio
did to COLMAP's world; poses and points in the files have it already, so theirs is the user's world
and stays. ``scale``, ``offset`` and ``aabb_scale`` are instant-ngp's for its own training.

The cameras become a COLMAP model without points, as text, which stage ``colmap`` checks like any
other; points of a ``ply_file_path`` go beside it.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.config.photo_files import files_below, is_photo
from gradiseg_core.errors import InputError
from gradiseg_core.files.images import opened
from gradiseg_core.files.view_names import match_names

logger = logging.getLogger(__name__)

POINTS = "points3D.ply"

_OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
_FISHEYE = ("OPENCV_FISHEYE", "FISHEYE")
_PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
_LEANING = 1e-3  # by which a rotation may differ from an orthonormal matrix


@dataclass(frozen=True)
class GivenView:
    """One frame.

    Attributes:
        name: Its ``file_path``.
        model: COLMAP's camera model.
        size: Width and height, px.
        params: COLMAP's parameters of the model.
        cam_from_world: [4, 4], OpenCV's axes.
    """

    name: str
    model: str
    size: tuple[int, int]
    params: tuple[float, ...]
    cam_from_world: NDArray[np.float64]


def write_given_cameras(files: Sequence[Path], images: Path, folder: Path) -> list[str]:
    """Write the cameras of `transforms.json` as a COLMAP model; return the names of its images.

    Args:
        files: The files; frames of all of them are taken.
        images: Folder of the photographs, whose sizes count where the files name none.
        folder: Folder of the model to make: `cameras.txt`, `images.txt`, `points3D.txt` without
            points, and `points3D.ply` where the files name points.

    Raises:
        InputError: If a file is no JSON, or a frame lacks a pose, a focal length or a size.
    """
    views: list[GivenView] = []
    for file in files:
        try:
            views += read_transforms(file, images)
        except InputError as error:
            raise InputError(
                f"{error}. Repair it, or move it away to find the cameras from the photographs"
            ) from error
    twice = len(views) - len({view.name for view in views})
    if twice:
        raise InputError(f"{files[0]}: {twice} frames have the `file_path` of another one")
    folder.mkdir(parents=True, exist_ok=True)
    cameras: dict[tuple[Any, ...], int] = {}
    lines = []
    for number, view in enumerate(views, 1):
        key = (view.model, *view.size, *view.params)
        camera = cameras.setdefault(key, len(cameras) + 1)
        pose = [*_quaternion(view.cam_from_world[:3, :3]), *view.cam_from_world[:3, 3]]
        numbers = " ".join(f"{value:.17g}" for value in pose)
        lines.append(f"{number} {numbers} {camera} {view.name}\n\n")
    (folder / "images.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "cameras.txt").write_text(
        "".join(
            f"{camera} {model} {width} {height} {' '.join(f'{p:.17g}' for p in params)}\n"
            for (model, width, height, *params), camera in cameras.items()
        )
    )
    (folder / "points3D.txt").write_text("")
    _take_points(files, folder)
    logger.info(
        "%d cameras (%s) from %s",
        len(views),
        ", ".join(sorted({view.model for view in views})),
        ", ".join(map(str, files)),
    )
    return [view.name for view in views]


def read_transforms(file: Path, images: Path) -> list[GivenView]:
    """Return the frames of a `transforms.json`.

    Args:
        file: The file.
        images: Folder of the photographs, whose sizes count where the file names none.

    Raises:
        InputError: As :func:`write_given_cameras`.
    """
    content = _content(file)
    frames = content.get("frames")
    if not isinstance(frames, list) or not frames:
        raise InputError(f"{file} has no `frames`: it is no transforms.json of nerfstudio's kind")
    sizes: dict[str, tuple[int, int]] | None = None
    views = []
    for number, frame in enumerate(frames):
        name = frame.get("file_path") if isinstance(frame, dict) else None
        if not isinstance(name, str) or not name:
            raise InputError(f"{file}: frame {number} has no `file_path`")
        name = name.replace("\\", "/").removeprefix("./")
        where = f"{file}: frame {name}"
        facts = content | frame
        if not ("w" in facts and "h" in facts):
            if sizes is None:
                sizes = _sizes([str(one.get("file_path", "")) for one in frames], images)
            if name not in sizes:
                logger.warning("%s has no size (`w`, `h`) and no photograph: left out", where)
                continue
            facts |= {"w": sizes[name][0], "h": sizes[name][1]}
        pose = np.linalg.inv(_pose(frame.get("transform_matrix"), where))
        model, params = _intrinsics(facts, where)
        size = round(_number(facts, "w", where)), round(_number(facts, "h", where))
        views.append(GivenView(name, model, size, params, _OPENCV_FROM_OPENGL @ pose))
    if not views:
        raise InputError(
            f"{file}: none of its {len(frames)} frames is a photograph in {images} (for example "
            f"{frames[0].get('file_path')})"
        )
    return views


def _content(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{file} cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} is no transforms.json: it holds no object")
    return content


def _pose(matrix: Any, where: str) -> NDArray[np.float64]:
    """Return a camera-to-world matrix [4, 4] with a rotation of length 1."""
    try:
        pose = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        pose = np.empty(0)
    if pose.shape == (3, 4):
        pose = np.concatenate([pose, [[0.0, 0.0, 0.0, 1.0]]])
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise InputError(f"{where}: `transform_matrix` is no matrix of 4 x 4 finite numbers")
    axes = pose[:3, :3]
    scale = float(np.cbrt(np.linalg.det(axes)))
    if scale <= 0 or np.abs((axes / scale) @ (axes / scale).T - np.eye(3)).max() > _LEANING:
        raise InputError(
            f"{where}: the axes in `transform_matrix` are no rotation (mirrored, or not at right "
            "angles)"
        )
    U, _, Vt = np.linalg.svd(axes)
    pose = pose.copy()
    pose[:3, :3] = U @ Vt  # rounded numbers, and a scale that some programs leave in it, go
    return pose


def _intrinsics(facts: Mapping[str, Any], where: str) -> tuple[str, tuple[float, ...]]:
    """Return COLMAP's camera model and parameters."""
    width, height = _number(facts, "w", where), _number(facts, "h", where)
    if "fl_x" in facts:
        fx = _number(facts, "fl_x", where)
    elif "camera_angle_x" in facts:
        fx = 0.5 * width / math.tan(0.5 * _number(facts, "camera_angle_x", where))
    else:
        raise InputError(f"{where} has no focal length (`fl_x` or `camera_angle_x`)")
    if "fl_y" in facts:
        fy = _number(facts, "fl_y", where)
    elif "camera_angle_y" in facts and "fl_x" not in facts:
        fy = 0.5 * height / math.tan(0.5 * _number(facts, "camera_angle_y", where))
    else:
        fy = fx
    cx = _number(facts, "cx", where) if "cx" in facts else width / 2
    cy = _number(facts, "cy", where) if "cy" in facts else height / 2
    k1, k2, k3, k4, p1, p2 = (
        _number(facts, key, where) if facts.get(key) is not None else 0.0
        for key in ("k1", "k2", "k3", "k4", "p1", "p2")
    )
    kind = str(facts.get("camera_model", "OPENCV")).upper()
    base = (fx, fy, cx, cy)
    if kind in _FISHEYE or facts.get("is_fisheye"):
        return "OPENCV_FISHEYE", (*base, k1, k2, k3, k4)
    if kind not in _PERSPECTIVE or k4:
        what = f"`camera_model: {facts.get('camera_model')}`" if not k4 else "`k4`"
        raise InputError(
            f"{where}: {what} is not read here. Give the cameras as a COLMAP model (sparse/0/), or "
            "undistort the photographs first"
        )
    if k3:
        return "FULL_OPENCV", (*base, k1, k2, p1, p2, k3, 0.0, 0.0, 0.0)
    if k1 or k2 or p1 or p2:
        return "OPENCV", (*base, k1, k2, p1, p2)
    return "PINHOLE", base


def _number(facts: Mapping[str, Any], key: str, where: str) -> float:
    try:
        value = float(facts[key])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: `{key}` is no finite number: {facts[key]!r}")
    return value


def _sizes(names: Iterable[str], images: Path) -> dict[str, tuple[int, int]]:
    """Return width and height, px, of the photographs as stored, by frame."""
    inner = {str(path.relative_to(images)): path for path in files_below(images) if is_photo(path)}
    wanted = [name.replace("\\", "/").removeprefix("./") for name in names]
    sizes = {}
    for name, found in match_names(wanted, {one: one for one in inner}).items():
        with opened(inner[found]) as photograph:
            sizes[name] = photograph.size
    return sizes


def _take_points(files: Sequence[Path], folder: Path) -> None:
    for file in files:
        named = _content(file).get("ply_file_path")
        if not named:
            continue
        points = file.parent / str(named).replace("\\", "/")
        if points.is_file():
            shutil.copyfile(points, folder / POINTS)
            return
        logger.warning("%s names the points %s, which are not there", file, points)


def _quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quaternion (w, x, y, z) of a rotation [3, 3].

    It is the eigenvector of Bar-Itzhack's matrix ("New method for extracting the quaternion from a
    rotation matrix", 2000) with the largest eigenvalue, which has no special cases.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    K = np.array(
        [
            [xx - yy - zz, 0.0, 0.0, 0.0],
            [yx + xy, yy - xx - zz, 0.0, 0.0],
            [zx + xz, zy + yz, zz - xx - yy, 0.0],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    x, y, z, w = np.linalg.eigh(K / 3.0)[1][:, -1]
    return np.array([w, x, y, z])
