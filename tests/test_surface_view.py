"""The picture of a surface from above shows its objects in their colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from docs.surface_view import surface_view
from gradiseg_core.cameras import Frame
from gradiseg_core.files.geometry import CUTS, SavedSurface, save_facts, save_surface
from gradiseg_core.files.palette import id_colors


def test_an_object_is_drawn_on_its_support(tmp_path: Path) -> None:
    x, y = (axis.ravel() for axis in np.mgrid[-1:1:81j, -1:1:81j])
    inside = np.hypot(x, y) < 0.4
    points = np.stack([x, y, np.where(inside, 0.2, 0.0)], axis=1)
    count = len(points)
    surface = SavedSurface(
        points=points,
        normals=np.tile(np.array([0, 0, 1], np.float32), (count, 1)),
        lab=np.tile(np.array([60, 0, 0], np.float32), (count, 1)),
        concavity=np.zeros(count, np.float32),
        index=np.zeros((count, 3), np.int64),
        edges=np.zeros((0, 2), np.int64),
        height=np.zeros(count, np.float32),
        in_support=~inside,
        supervoxels=np.zeros(count, np.int64),
        merges=np.zeros((0, 2), np.int64),
        costs=np.zeros(0),
        cuts=dict.fromkeys(CUTS, inside.astype(np.int32)),
        voxel=0.025,
    )
    save_surface(tmp_path, surface, Frame())
    plane = {"normal": [0.0, 0.0, 1.0], "offset": 0.0}
    save_facts(tmp_path, {"verdict": "found", "reason": None, "support": plane}, Frame())
    picture = surface_view(tmp_path)
    height, width = picture.shape[:2]
    colours, objects = picture[:, : width // 2], picture[:, width // 2 :]
    assert (colours[0, 0] == 255).all()
    assert np.ptp(colours[height // 2, width // 4].astype(int)) <= 2  # grey, as the Lab colour is
    middle = objects[height // 2, width // 4].astype(float)
    own = id_colors(2)[1].astype(float)
    assert np.dot(middle, own) / np.linalg.norm(middle) / np.linalg.norm(own) > 0.999
    grey = (np.ptp(objects, axis=-1) == 0) & (objects[..., 0] < 255)
    assert grey.mean() > 0.05
