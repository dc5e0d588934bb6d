"""Tracks for a model that has points and poses but does not say which view saw which point.

Such models come from known poses (a robot, a LiDAR, a renderer): `points2D` is empty. A view is
taken to see a point if the point projects into the image and no other point near it there lies
clearly in front of it. The photographs then tell whether the points lie on surfaces: colours along
a track must agree better than those of points drawn by chance.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.files.images import read_image

logger = logging.getLogger(__name__)

_IN_CELL = 4  # average points in a cell, so that one is on the front surface
_MOST_CELLS = 4096  # per view: limits the observations of a dense cloud
_KEPT_IN_CELL = 2
_DEPTH_TOLERANCE = 0.05  # relative depth by which a visible point may lie behind its cell's first
_SAME_COLOR = 25.0  # grey levels from the track's median in a channel; beyond, the point is hidden
_MOST_SPREAD = 0.8  # spread of colours along tracks, relative to all; 1 is chance


def add_tracks(model: Any, image_dir: Path) -> bool:
    """Give the model's points tracks by projection; its cameras may have any lens.

    Args:
        model: `pycolmap.Reconstruction` without observations; changed where tracks are found.
        image_dir: Folder of the photographs.

    Returns:
        Whether the points have tracks now. If not, a warning says why, and the model is unchanged.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    ids = np.array(sorted(model.points3D), dtype=np.uint64)
    xyz = np.array([model.points3D[int(i)].xyz for i in ids])
    seen: dict[int, tuple[NDArray, NDArray]] = {}  # image ID -> points [n], xy [n, 2]
    colors = {}
    for image_id in sorted(model.reg_image_ids()):
        image = model.image(image_id)
        camera = image.camera
        pose = image.cam_from_world().matrix()
        points, xy = visible(
            xyz @ pose[:, :3].T + pose[:, 3], camera.img_from_cam, camera.width, camera.height
        )
        seen[image_id] = (points, xy)
        column, row = xy.astype(np.int64).T
        colors[image_id] = read_image(image_dir / image.name)[row, column].astype(np.float64)
    tracked = _views(seen, len(ids)) >= 2
    if not tracked.any():
        logger.warning("no point of the model lies in two views: its points have no tracks")
        return False
    spread = color_spread([(p[tracked[p]], colors[i][tracked[p]]) for i, (p, _) in seen.items()])
    if spread > _MOST_SPREAD:
        logger.warning(
            "the model has points without tracks, and their colours in the photographs agree no "
            "better than by chance (spread %.2f of all, at most %.2f asked for): the points do not "
            "lie on surfaces, or the poses are not those of these photographs. Training can start "
            "from them, association by `sfm` cannot",
            spread,
            _MOST_SPREAD,
        )
        return False
    # With few points occlusion by depth is coarse; the photographs are more exact.
    middle = median_colors([(p, colors[i]) for i, (p, _) in seen.items()], len(ids))
    for image_id, (points, xy) in seen.items():
        same = np.abs(colors[image_id] - middle[points]).max(axis=1, initial=0.0) <= _SAME_COLOR
        seen[image_id] = points[same], xy[same]
    views = _views(seen, len(ids))
    tracked = views >= 2
    for image_id, (points, xy) in seen.items():
        keep = tracked[points]
        image = model.image(image_id)
        known = len(image.points2D)  # detections without a point, which stay
        image.points2D.extend([pycolmap.Point2D(at) for at in xy[keep]])
        for index, point in enumerate(ids[points[keep]], known):
            model.add_observation(int(point), pycolmap.TrackElement(image_id, index))
    model.update_point_3d_errors()
    logger.info(
        "the model has points without tracks: %d of %d got one by projection into %.1f views on "
        "average (spread of colours along them: %.2f of all)",
        tracked.sum(),
        len(ids),
        views[tracked].mean(),
        spread,
    )
    return True


def _views(seen: dict[int, tuple[NDArray, NDArray]], count: int) -> NDArray[np.int64]:
    """Return how many views see each point, [P]."""
    return np.bincount(np.concatenate([p for p, _ in seen.values()]), minlength=count)


def visible(
    in_camera: NDArray[np.float64],  # [P, 3]
    project: Any,
    width: int,
    height: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the points that a view sees, [n] indices, and where, [n, 2] px.

    Args:
        in_camera: Points in the camera's frame.
        project: Camera points [n, 3] to pixels [n, 2], NaN where they have none.
        width: Width of the image, px.
        height: Height of the image, px.
    """
    front = np.flatnonzero(in_camera[:, 2] > 1e-9)
    xy = np.asarray(project(in_camera[front]), dtype=np.float64).reshape(-1, 2)
    with np.errstate(invalid="ignore"):
        inside = (xy >= 0).all(axis=1) & (xy[:, 0] < width) & (xy[:, 1] < height)
    points, xy = front[inside], xy[inside]
    if len(points) == 0:
        return points, xy
    depth = in_camera[points, 2]
    cells = min(max(1, len(points) // _IN_CELL), _MOST_CELLS)
    side = float(np.sqrt(width * height / cells))
    column, row = (xy // side).astype(np.int64).T
    cell = row * (int(width // side) + 1) + column
    order = np.lexsort((depth, cell))
    start = np.r_[True, np.diff(cell[order]) > 0]
    first = np.flatnonzero(start)[np.cumsum(start) - 1]  # the nearest point in each one's cell
    rank = np.arange(len(order)) - first
    nearest = depth[order][first]
    keep = (depth[order] <= nearest * (1 + _DEPTH_TOLERANCE)) & (rank < _KEPT_IN_CELL * _IN_CELL)
    kept = np.sort(order[keep])
    return points[kept], xy[kept]


def color_spread(observed: list[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> float:
    """Return the variance of colours within tracks over that of all; 1 is chance.

    Args:
        observed: Of each view, points [n] and their colours [n, 3].
    """
    points = np.concatenate([p for p, _ in observed])
    colors = np.concatenate([c for _, c in observed])
    _, points = np.unique(points, return_inverse=True)
    count = np.bincount(points)
    within = total = 0.0
    for channel in colors.T:
        mean = np.bincount(points, channel) / count
        # A track of n views has n - 1 degrees of freedom: chance gives 1 at any length.
        within += float(((channel - mean[points]) ** 2).sum()) / max(1, int((count - 1).sum()))
        total += float(channel.var())
    return within / total if total > 0 else 1.0


def median_colors(
    observed: list[tuple[NDArray[np.int64], NDArray[np.float64]]], count: int
) -> NDArray[np.float64]:
    """Return the (lower) median colour of each of `count` points, [P, 3]; 0 where nobody saw it.

    Args:
        observed: Of each view, points [n] and their colours [n, 3].
        count: Number of points.
    """
    points = np.concatenate([p for p, _ in observed])
    colors = np.concatenate([c for _, c in observed])
    number = np.bincount(points, minlength=count)
    at = np.cumsum(number) - number + (number - 1) // 2
    result = np.zeros((count, 3))
    for channel in range(3):
        ordered = colors[np.lexsort((colors[:, channel], points)), channel]
        result[number > 0, channel] = ordered[at[number > 0]]
    return result
