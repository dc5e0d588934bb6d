"""What lies behind an object that was photographed from one side: a wall, closed as a support is.

1. Points that training views show right around the object, behind it and off its support, are put
   on a plane by RANSAC. Where no plane holds most of them, nothing is assumed of what is hidden.
2. The object's shadow on that plane, seen from every view, is where a hole can be.
3. The hole and its colours are found there as on the support (:mod:`.filling`). A hole without an
   end, at the border of what is looked at, has no surroundings to go by, and stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.editing.filling import Hole, find_hole, known_ground
from gradiseg_core.editing.painting import Painter
from gradiseg_core.editing.patches import local_ground
from gradiseg_core.editing.placing import Ground
from gradiseg_core.editing.removal import SHOWN, Sight

if TYPE_CHECKING:
    from gradiseg_core.editing.scene import Scene

#: Width of the ring around the object in a view, in square roots of its area; pixels next to the
#: object are mixtures.
_RING, _MIXED_PX = 0.25, 3
#: Share of what is behind the object that its plane must hold, of this many points at least.
_SHARE, _LEAST = 0.6, 50
#: A point is on the plane, and on the support, up to this share of the object's diagonal.
_NEAR, _SUPPORT = 0.03, 0.06
#: A shadow farther from the view than this many times the object's distance is on no wall.
_FAR = 4.0


def hole_behind(
    scene: Scene,
    removed: NDArray[np.float64],
    views: list[Sight],
    paint: Painter,
    support: Ground | None = None,
) -> Hole | None:
    """Return what a removal exposed of a plane behind it that no training view saw.

    Args:
        scene: Without the object, its support closed.
        removed: [n, 3] centres of what was removed, training frame.
        views: What training views showed of the object, before it was removed.
        paint: What makes the hole's colours of those around it.
        support: The plane that it stood on, training frame, where that was found; it is no wall,
            and neither is what most things stand on.
    """
    low, high = np.quantile(removed, [0.01, 0.99], axis=0)
    diagonal = float(np.linalg.norm(high - low))
    points = _behind(views, removed)
    for ground in filter(None, (support, known_ground(scene))):
        points = points[np.abs(ground.height(points)) > _SUPPORT * diagonal]
    wall = _plane(points, _NEAR * diagonal)
    if wall is None:
        return None
    shadow = shadow_on(wall, removed, views)
    if not len(shadow):
        return None
    hole, _ = find_hole(scene, shadow, views, paint, shadow=False, ground=wall)
    return hole if hole is not None and _ends(hole.cells) else None


def _behind(views: list[Sight], removed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points [n, 3] that views show around the object, farther than its middle."""
    from scipy.ndimage import binary_dilation

    found = [np.zeros((0, 3))]
    for view in views:
        shown = view.shows > SHOWN
        if not shown.any():
            continue
        width = _MIXED_PX + max(_MIXED_PX, round(_RING * float(np.sqrt(shown.sum()))))
        ring = binary_dilation(shown, iterations=width)
        ring &= ~binary_dilation(shown, iterations=_MIXED_PX) & (view.alpha > 0.9)
        pose = view.camera.cam_from_world
        ring &= view.depth > np.median(removed @ pose[2, :3] + pose[2, 3])
        rows, columns = np.nonzero(ring)
        pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1)
        in_camera = pixels @ np.linalg.inv(view.camera.K).T * view.depth[rows, columns, None]
        found.append((in_camera - pose[:3, 3]) @ pose[:3, :3])
    return np.concatenate(found)


def _plane(points: NDArray[np.float64], near: float) -> Ground | None:
    """Return the plane that most of the points are on; None where there is none."""
    if len(points) < _LEAST:
        return None
    plane = local_ground(points, np.ones(len(points)), near, None)
    if plane is None or (np.abs(plane.height(points)) < near).mean() < _SHARE:
        return None
    return plane


def shadow_on(
    plane: Ground, points: NDArray[np.float64], views: list[Sight]
) -> NDArray[np.float64]:
    """Return where the rays from all views through points [n, 3] meet a plane behind these."""
    found = [np.zeros((0, 3))]
    for view in views:
        eye = view.camera.center_in_world
        start, end = float(plane.height(eye)), plane.height(points)
        way = start / np.where(np.abs(start - end) < 1e-9, np.inf, start - end)
        behind = (way > 1.0) & (way < _FAR)
        found.append(eye + way[behind, None] * (points[behind] - eye))
    return np.concatenate(found)


def _ends(cells: NDArray[np.bool_]) -> bool:
    """Whether a hole, [rows, columns], lies within its patch."""
    return not (cells[[0, -1]].any() or cells[:, [0, -1]].any())
