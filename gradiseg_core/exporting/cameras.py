"""Cameras for other programs: nerfstudio's ``transforms.json``, COLMAP's text files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.exporting.ply import write_points


def write_nerfstudio(
    folder: Path,
    cameras: Mapping[str, Camera],
    images: Path,
    splits: Mapping[str, str],
    points: NDArray[np.float64],
    colours: NDArray[np.uint8],
    *,
    y_up: bool = False,
) -> None:
    """Write ``transforms.json`` and ``points.ply``, as nerfstudio's data parser reads them.

    Poses are camera to world with OpenGL's camera axes. The world keeps the axes of the COLMAP
    model (nerfstudio's own converter turns it): cameras then fit the exported Gaussians.

    Args:
        folder: Folder to write.
        cameras: Undistorted views by name, user's world.
        images: Folder of the undistorted photographs; named relative to ``folder``.
        splits: ``train`` or ``test`` by name; empty where unknown.
        points: [P, 3] sparse points, user's world, from which splatfacto starts.
        colours: [P, 3].
        y_up: Whether the world is turned to y up and z back, as exported Gaussians then are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    relative = Path(os.path.relpath(images.resolve(), folder.resolve())).as_posix()
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    frames = []
    for name, camera in cameras.items():
        pose = np.linalg.inv(camera.cam_from_world) @ flip
        frames.append(
            {
                "file_path": f"{relative}/{name}",
                "fl_x": float(camera.K[0, 0]),
                "fl_y": float(camera.K[1, 1]),
                "cx": float(camera.K[0, 2]),
                "cy": float(camera.K[1, 2]),
                "w": camera.width,
                "h": camera.height,
                "transform_matrix": (flip @ pose if y_up else pose).tolist(),
            }
        )
    content: dict[str, Any] = {
        "camera_model": "OPENCV",
        **dict.fromkeys(("k1", "k2", "p1", "p2"), 0.0),  # photographs are undistorted
        "ply_file_path": "points.ply",
        "frames": frames,
    }
    for split in ("train", "test"):
        of_split = [f"{relative}/{name}" for name in cameras if splits.get(name) == split]
        if of_split:
            content[f"{split}_filenames"] = of_split
    if "test_filenames" in content:
        content["val_filenames"] = content["test_filenames"]
    (folder / "transforms.json").write_text(json.dumps(content, indent=1) + "\n")
    if y_up:
        points = points * np.array([1.0, -1.0, -1.0])
    write_points(folder / "points.ply", points, colours)


def write_colmap(folder: Path, model: Path) -> None:
    """Write a COLMAP model as text files; its binary files are those of stage `colmap`.

    Args:
        folder: Folder to write: ``cameras.txt``, ``images.txt``, ``points3D.txt`` and, from
            COLMAP 3.12 on, ``rigs.txt`` and ``frames.txt``.
        model: Folder of the binary model.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    folder.mkdir(parents=True, exist_ok=True)
    pycolmap.Reconstruction(str(model)).write_text(str(folder))
