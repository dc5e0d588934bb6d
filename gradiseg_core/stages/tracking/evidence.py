"""Evidence for association: which 3D point is seen in which mask, and how surely.

Notation, used by all modules of the `sfm` backend:

* m, n: masks (one segment of one view), numbered over all views in an order that depends on their
  form only; M masks, V views, P points.
* an observation (p, m, w): point p is seen in mask m with weight 0 < w <= 1. It is *direct* where
  SfM matched the point in m's view, and *reprojected* where the point was not detected there but
  its projection falls into m and nothing hides it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from gradiseg_core.cameras import Camera

NO_MASK = -1
#: Share of its depth by which a reprojected point may lie behind the detected points of the mask it
#: falls into and still count as visible; measured (studies/association.md).
DEPTH_TOLERANCE = 0.05


@dataclass(frozen=True)
class SegmentedView:
    """One view with its segments and the points that SfM detected in it.

    Attributes:
        camera: The undistorted view.
        segments: [H, W] integer, arbitrary per-view segment IDs; 0 = no mask.
        xy: [n, 2] px, where SfM detected points (pixel centres at +0.5).
        point_index: [n] int, which points they are.
    """

    camera: Camera
    segments: NDArray
    xy: NDArray[np.float64]
    point_index: NDArray[np.int64]


@dataclass(frozen=True)
class Masks:
    """All masks of all views, numbered 0..M-1.

    Attributes:
        maps: Per view [H, W] int32, the mask at each pixel; -1 where there is none.
        view: [M] int64, index of the mask's view.
        area: [M] int64, px.
        center: [M, 2] float64, mean pixel position (x, y), px.
        depth_px: Per view [H, W] float32, distance to the nearest mask boundary, px.
    """

    maps: list[NDArray[np.int32]]
    view: NDArray[np.int64]
    area: NDArray[np.int64]
    center: NDArray[np.float64]
    depth_px: list[NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.view)


@dataclass(frozen=True)
class Observations:
    """Point sightings as parallel arrays of length n.

    Attributes:
        point: [n] int64.
        view: [n] int64.
        mask: [n] int64; -1 where the pixel carries no mask.
        xy: [n, 2] float64, px.
        weight: [n] float64 in (0, 1].
        direct: [n] bool.
    """

    point: NDArray[np.int64]
    view: NDArray[np.int64]
    mask: NDArray[np.int64]
    xy: NDArray[np.float64]
    weight: NDArray[np.float64]
    direct: NDArray[np.bool_]


@dataclass(frozen=True)
class Links:
    """What a tracker says: groups of masks that it gave one ID, as parallel arrays of length n.

    A group is evidence of the same kind as a point that all of its masks see, without a place.

    Attributes:
        group: [n] int64, 0..count-1.
        mask: [n] int64, 0..M-1.
        weight: [n] float64 > 0, in points.
        count: Number of groups.
    """

    group: NDArray[np.int64]
    mask: NDArray[np.int64]
    weight: NDArray[np.float64]
    count: int


def number_masks(views: list[SegmentedView]) -> Masks:
    """Number the masks of all views by their form, so that the given IDs do not matter.

    Within a view, masks are ordered by area, then by centre.

    Args:
        views: Views in their canonical order (sorted by name).
    """
    maps, depths = [], []
    view_of: list[NDArray] = []
    areas: list[NDArray] = []
    centers: list[NDArray] = []
    offset = 0
    for index, view in enumerate(views):
        ids, flat = np.unique(view.segments, return_inverse=True)
        flat = flat.reshape(-1)
        height, width = view.segments.shape
        area = np.bincount(flat, minlength=len(ids))
        rows, columns = np.divmod(np.arange(height * width), width)
        cx = np.bincount(flat, columns + 0.5, minlength=len(ids)) / area
        cy = np.bincount(flat, rows + 0.5, minlength=len(ids)) / area
        real = np.flatnonzero(ids > 0)
        order = real[np.lexsort((cy[real], cx[real], area[real]))]
        number = np.full(len(ids), NO_MASK, dtype=np.int32)
        number[order] = offset + np.arange(len(order))
        maps.append(number[flat].reshape(height, width))
        depths.append(boundary_distance(maps[-1]))
        view_of.append(np.full(len(order), index, dtype=np.int64))
        areas.append(area[order])
        centers.append(np.stack([cx[order], cy[order]], axis=1))
        offset += len(order)
    return Masks(
        maps, np.concatenate(view_of), np.concatenate(areas), np.concatenate(centers), depths
    )


def boundary_distance(ids: NDArray) -> NDArray[np.float32]:
    """Return [H, W] distance of each pixel to the nearest pixel of another ID, px.

    The image border is not a boundary: an object that it cuts off continues beyond it.
    """
    edge = np.zeros(ids.shape, dtype=bool)
    across, down = ids[:, 1:] != ids[:, :-1], ids[1:] != ids[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    if not edge.any():
        return np.full(ids.shape, float(max(ids.shape)), dtype=np.float32)
    return distance_transform_edt(~edge).astype(np.float32)


def project(camera: Camera, xyz: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Return pixel positions [P, 2] (NaN behind the camera) and depths [P] of world points."""
    in_cam = xyz @ camera.cam_from_world[:3, :3].T + camera.cam_from_world[:3, 3]
    depth = in_cam[:, 2]
    front = depth > 1e-9
    homogeneous = in_cam @ camera.K.T
    with np.errstate(divide="ignore", invalid="ignore"):
        xy = homogeneous[:, :2] / homogeneous[:, 2:]
    xy[~front] = np.nan
    return xy, depth


def pixels_at(xy: NDArray, shape: tuple[int, int]) -> tuple[NDArray, NDArray, NDArray]:
    """Return (rows, columns) of pixels that hold the positions, and which lie in the image."""
    with np.errstate(invalid="ignore"):
        inside = (xy[:, 0] >= 0) & (xy[:, 0] < shape[1]) & (xy[:, 1] >= 0) & (xy[:, 1] < shape[0])
    safe = np.where(inside[:, None], xy, 0.0).astype(np.int64)
    return safe[:, 1], safe[:, 0], inside


def observe(
    views: list[SegmentedView],
    masks: Masks,
    xyz: NDArray[np.float64],
    *,
    boundary_px: float,
    reproject_angle_rad: float,
    depth_tolerance: float,
    reprojected_weight: float,
) -> Observations:
    """Collect direct and reprojected observations of all points in all views.

    A point is reprojected into a view where SfM did not detect it when (1) the view looks at it
    from within ``reproject_angle_rad`` of a direction from which it was detected, so that it does
    not lie on the far side of its own surface, and (2) the detected point nearest to its projection
    within the same mask is not clearly in front of it.

    Args:
        views: Views in canonical order.
        masks: Their masks.
        xyz: [P, 3] points, world units.
        boundary_px: Distance from a mask's boundary at which an observation has full weight, px.
        reproject_angle_rad: Largest angle to a detecting direction; 0 turns reprojection off.
        depth_tolerance: Relative depth by which a point may lie behind its neighbour.
        reprojected_weight: Weight of a reprojected observation relative to a direct one.
    """
    directions = _detecting_directions(views, xyz)
    parts = []
    for index, view in enumerate(views):
        xy, depth = project(view.camera, xyz)
        detected = np.zeros(len(xyz), dtype=bool)
        detected[view.point_index] = True
        keep = np.flatnonzero(detected)
        where = np.full((len(xyz), 2), np.nan)
        where[view.point_index] = view.xy
        parts.append(_sight(masks, index, keep, where[keep], boundary_px, 1.0, direct=True))
        if reproject_angle_rad <= 0.0:
            continue
        rows, columns, inside = pixels_at(xy, view.segments.shape)
        candidates = np.flatnonzero(inside & ~detected)
        near = _seen_from_near(directions, view.camera, xyz, candidates, reproject_angle_rad)
        candidates = candidates[near]
        mask_at = masks.maps[index][rows[candidates], columns[candidates]]
        hidden = _hidden(
            parts[-1].xy,
            depth[keep],
            parts[-1].mask,
            xy[candidates],
            depth[candidates],
            mask_at,
            depth_tolerance,
        )
        candidates = candidates[~hidden]
        parts.append(
            _sight(
                masks,
                index,
                candidates,
                xy[candidates],
                boundary_px,
                reprojected_weight,
                direct=False,
            )
        )
    return Observations(
        *(
            np.concatenate([getattr(part, field) for part in parts])
            for field in ("point", "view", "mask", "xy", "weight", "direct")
        )
    )


def _sight(
    masks: Masks,
    index: int,
    points: NDArray,
    xy: NDArray,
    boundary_px: float,
    scale: float,
    *,
    direct: bool,
) -> Observations:
    """Read masks and weights at positions of one view; detections never fall off the frame."""
    height, width = masks.maps[index].shape
    columns = np.clip(xy[:, 0].astype(np.int64), 0, width - 1)
    rows = np.clip(xy[:, 1].astype(np.int64), 0, height - 1)
    weight = np.minimum(1.0, (masks.depth_px[index][rows, columns] + 0.5) / boundary_px) * scale
    return Observations(
        points,
        np.full(len(points), index, dtype=np.int64),
        masks.maps[index][rows, columns].astype(np.int64),
        xy,
        weight.astype(np.float64),
        np.full(len(points), direct),
    )


def _detecting_directions(views: list[SegmentedView], xyz: NDArray) -> tuple[NDArray, NDArray]:
    """Return (point index [n], unit direction point -> camera [n, 3]) of all detections."""
    points = np.concatenate([view.point_index for view in views])
    rays = np.concatenate([view.camera.center_in_world - xyz[view.point_index] for view in views])
    order = np.argsort(points, kind="stable")
    rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    return points[order], rays[order]


def _seen_from_near(
    directions: tuple[NDArray, NDArray],
    camera: Camera,
    xyz: NDArray,
    candidates: NDArray,
    angle_rad: float,
) -> NDArray[np.bool_]:
    """Tell for which candidates some detecting direction lies within the angle of the camera."""
    points, rays = directions
    toward = camera.center_in_world - xyz
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    cosine = np.einsum("ij,ij->i", rays, toward[points])
    best = np.full(len(xyz), -1.0)
    np.maximum.at(best, points, cosine)
    return best[candidates] >= np.cos(angle_rad)


def _hidden(
    known_xy: NDArray,
    known_depth: NDArray,
    known_mask: NDArray,
    xy: NDArray,
    depth: NDArray,
    mask: NDArray,
    tolerance: float,
) -> NDArray[np.bool_]:
    """Tell which candidates lie behind the nearest detected point of the mask they fall into."""
    hidden = np.zeros(len(xy), dtype=bool)
    for m in np.unique(mask):
        known = np.flatnonzero(known_mask == m)
        asked = np.flatnonzero(mask == m)
        if len(known) == 0:
            continue
        _, nearest = cKDTree(known_xy[known]).query(xy[asked])
        hidden[asked] = known_depth[known[nearest]] < depth[asked] * (1.0 - tolerance)
    return hidden
