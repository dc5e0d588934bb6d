"""Toy scenes in the layouts of LERF-Mask and Mip-NeRF 360, under the names that the paper has.

The balls of :mod:`tests.synthetic`: photographs, cameras and IDs agree exactly.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from gradiseg_core.files.id_maps import read_id_map, write_id_map
from gradiseg_core.files.masks import write_mask
from tests import synthetic

#: Prompts of the paper's Table 5 -> the ball that stands for the object: 1 red, 2 green, 3 blue.
FIGURINES = {"red apple": 1, "green apple": 2, "old camera": 3}
TEATIME = {"apple": 1, "plate": 2}


def lerf_mask(
    folder: Path, prompts: Mapping[str, int], *, views: int = 8, annotated: tuple[int, ...] = (0, 1)
) -> Path:
    """Write a scene in LERF-Mask's layout, every fourth view a test view.

    Beside it lies ``<folder>_ids``, the IDs of all views, as a tracker that sees the test views
    hands them over; those of ``object_mask/`` are black there, as in the published data.

    Args:
        folder: Folder to make.
        prompts: Prompt -> ID.
        views: Number of photographs.
        annotated: Test views with masks.
    """
    scene, colmap, _ = synthetic.write_scene(folder / "parts", views=views)
    shutil.copytree(scene / "images", folder / "images")
    shutil.copytree(colmap / "sparse", folder / "sparse")
    (folder / "images_train").mkdir()
    for index, path in enumerate(sorted((folder / "images").iterdir())):
        ids = read_id_map(scene / "gt_ids" / path.name)
        write_id_map(folder.with_name(f"{folder.name}_ids") / path.name, ids)
        k, rest = divmod(index, 4)
        write_id_map(folder / "object_mask" / path.name, ids if rest else np.zeros_like(ids))
        if rest:
            shutil.copy2(path, folder / "images_train")
        elif k in annotated:
            for prompt, number in prompts.items():
                write_mask(folder / "test_mask" / str(k) / f"{prompt}.png", ids == number)
    shutil.rmtree(folder / "parts")
    return folder


def mipnerf360(folder: Path, *, views: int = 9, factor: int = 8) -> Path:
    """Write a scene in Mip-NeRF 360's layout: reduced images, cameras of the full size.

    Beside it lies ``<folder>_ids``, the IDs of all views.
    """
    scene, _, _ = synthetic.write_scene(folder / "parts", views=views)
    shutil.copytree(scene / "images", folder / f"images_{factor}")
    shutil.copytree(scene / "gt_ids", folder.with_name(f"{folder.name}_ids"))
    shutil.rmtree(folder / "parts")
    cameras = [
        replace(
            camera,
            width=camera.width * factor,
            height=camera.height * factor,
            K=camera.K * [[factor], [factor], [1]],
        )
        for camera in synthetic.ring_of_cameras(views, 64, 48)
    ]
    points, owner = synthetic.balls()
    colours = (255 * synthetic.COLORS[owner]).astype(np.uint8)
    synthetic.write_colmap(folder, cameras, points, colours)
    return folder
