"""The surface of stage `geometry` from above, in its colours and with its objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.color import lab2rgb

from gradiseg_core.cameras import Camera
from gradiseg_core.files.geometry import load_geometry
from gradiseg_core.files.palette import id_colors
from gradiseg_core.geometry.labels import draw

_WIDTH, _HEIGHT, _FOCAL = 640, 480, 620.0  # px
#: Radius of a point, voxels, so that there are no gaps.
_DISC = 0.8
#: Distance of the camera, in radii of what the objects take up.
_AWAY = 3.2


def surface_view(folder: Path) -> NDArray[np.uint8]:
    """Return the surface in its colours and, beside it, shaded with its objects, [H, 2 W, 3].

    Args:
        folder: Output folder of stage `geometry`, with objects and a support.
    """
    saved = load_geometry(folder)
    surface, objects = saved.surface, saved.surface.cuts["objects"]
    assert saved.support is not None, "objects stand on something"
    camera = _above(surface.points[objects > 0], saved.support.normal)
    node, _ = draw(surface, camera, _DISC)
    towards = camera.center_in_world - surface.points[objects > 0].mean(axis=0)
    light = surface.normals @ (towards / np.linalg.norm(towards))
    palette = id_colors(int(objects.max()) + 1).astype(np.float64)
    palette[0] = 170.0
    colours = (255.0 * lab2rgb(surface.lab[None])[0], palette[objects] * light.clip(0.15)[:, None])
    panels = []
    for colour in colours:
        panel = np.full((_HEIGHT, _WIDTH, 3), 255.0)
        panel[node >= 0] = colour[node[node >= 0]]
        panels.append(panel.astype(np.uint8))
    return np.concatenate(panels, axis=1)


def _above(points: NDArray[np.float64], up: NDArray[np.float64]) -> Camera:
    """Return a camera that looks down on points [n, 3] at 43 degrees."""
    middle = np.median(points, axis=0)
    radius = np.quantile(np.linalg.norm(points - middle, axis=1), 0.9)
    side = np.cross(up, [1.0, 0.0, 0.2])
    eye = middle + _AWAY * radius * (0.75 * up - 0.8 * side / np.linalg.norm(side))
    forward = (middle - eye) / np.linalg.norm(middle - eye)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ eye
    K = np.array([[_FOCAL, 0, _WIDTH / 2], [0, _FOCAL, _HEIGHT / 2], [0, 0, 1]])
    return Camera("above", _WIDTH, _HEIGHT, K, pose)
