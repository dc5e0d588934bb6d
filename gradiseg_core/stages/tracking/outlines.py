"""Visual hulls: the region of space that an object's outlines allow it to occupy.

Smooth objects give SfM few points, but their masks have outlines. The region of space whose
projections fall into an object's masks in most views (a soft visual hull; Laurentini 1994) bounds
the object without any texture. Projected into one view, it says which pixels the object can cover
there, also where its mask is missing, unlinked or merged with another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter
from scipy.spatial import cKDTree

from gradiseg_core.files.id_maps import sample_cells
from gradiseg_core.stages.tracking.evidence import (
    Masks,
    Observations,
    SegmentedView,
    pixels_at,
    project,
)

#: Voxels along each side of an object's cube.
GRID = 24
#: The cube is this much larger than the object's apparent size.
MARGIN = 1.5
#: A voxel belongs to the hull if it falls into the object's mask in this share of its views.
MIN_AGREEMENT = 0.75
#: ... and if at least this many views show it there,
MIN_VIEWS = 3
#: which are at least this share of the views that frame it (nothing is hidden in most views;
#: without this, what lies under the table would belong to every hull).
MIN_SEEN = 0.5
#: Outlines are compared on a grid whose shorter side has about this many cells.
CELLS = 240


@dataclass(frozen=True)
class Outlines:
    """Projected hulls.

    Attributes:
        stride: Pixels per cell of the coarse grid.
        label: Per view [h, w] int32, the label whose hull is in front; -1 where there is none.
        depth: Per view [h, w], depth of that hull; inf where there is none.
        bounded: [C] bool, labels that have a hull.
    """

    stride: int
    label: list[NDArray[np.int32]]
    depth: list[NDArray[np.float64]]
    bounded: NDArray[np.bool_]


def coarse_stride(views: list[SegmentedView]) -> int:
    """Return the pixels per cell of the grid that outlines are compared on."""
    return max(1, round(min(views[0].segments.shape) / CELLS))


def known_depth(
    views: list[SegmentedView],
    masks: Masks,
    seen: Observations,
    xyz: NDArray[np.float64],
    stride: int,
) -> list[NDArray[np.float64]]:
    """Give each cell the depth of the nearest point seen in the same mask; inf without any."""
    maps = []
    for index, view in enumerate(views):
        mask = sample_cells(masks.maps[index], stride)
        rows, columns = np.nonzero(mask >= 0)
        here = np.flatnonzero((seen.view == index) & (seen.mask >= 0))
        _, depth = project(view.camera, xyz[seen.point[here]])
        front = np.full(mask.shape, np.inf)
        cells = np.stack([columns, rows], axis=1) * stride + stride / 2
        cell_mask = mask[rows, columns]
        for m in np.unique(seen.mask[here]):
            points = here[seen.mask[here] == m]
            asked = np.flatnonzero(cell_mask == m)
            if len(asked):
                _, nearest = cKDTree(seen.xy[points]).query(cells[asked])
                front[rows[asked], columns[asked]] = depth[seen.mask[here] == m][nearest]
        maps.append(front)
    return maps


def outlines(
    views: list[SegmentedView],
    masks: Masks,
    front: list[NDArray[np.float64]],
    xyz: NDArray[np.float64],
    cluster: NDArray[np.int64],
    point_label: NDArray[np.int64],
    *,
    num_labels: int,
    depth_tolerance: float,
) -> Outlines:
    """Build the hull of every bounded object and project all hulls into all views.

    An object has a hull if it has a mask in at least `MIN_VIEWS` views, in most of which the mask
    does not touch the frame (what is cut off has no outline), and at least one point.

    Args:
        views: V views.
        masks: M masks.
        front: Per view [h, w] from `known_depth` at `coarse_stride`.
        xyz: [P, 3] points.
        cluster: [M] label of each mask.
        point_label: [P] label of each point; -1 for none.
        num_labels: C.
        depth_tolerance: Relative depth by which something in the way must be nearer.
    """
    stride = coarse_stride(views)
    mask_maps = [sample_cells(ids, stride) for ids in masks.maps]
    label_maps = [np.append(cluster, -1)[ids] for ids in mask_maps]  # -1 picks the last
    bounded = np.zeros(num_labels, dtype=bool)
    shape = mask_maps[0].shape
    nearest = [np.full(shape, np.inf) for _ in views]
    label = [np.full(shape, -1, dtype=np.int32) for _ in views]
    for c in range(num_labels):
        points = xyz[point_label == c]
        present = [v for v, ids in enumerate(label_maps) if (ids == c).any()]
        whole = [v for v in present if not _touches_frame(label_maps[v] == c)]
        if len(points) == 0 or len(whole) < MIN_VIEWS or 2 * len(whole) < len(present):
            continue
        hull, side = _hull(
            views, label_maps, front, points, whole, present, c, stride, depth_tolerance
        )
        bounded[c] = len(hull) > 0
        for v, view in enumerate(views):
            depth = _splat(view, hull, side, shape, stride)
            closer = depth < nearest[v]
            nearest[v][closer] = depth[closer]
            label[v][closer] = c
    return Outlines(stride, label, nearest, bounded)


def _touches_frame(inside: NDArray[np.bool_]) -> bool:
    return bool(inside[0].any() or inside[-1].any() or inside[:, 0].any() or inside[:, -1].any())


def _hull(
    views: list[SegmentedView],
    label_maps: list[NDArray],
    front: list[NDArray],
    points: NDArray,
    whole: list[int],
    present: list[int],
    c: int,
    stride: int,
    depth_tolerance: float,
) -> tuple[NDArray[np.float64], float]:
    """Return the voxel centres of the hull [n, 3] and the voxel's side, world units."""
    center = np.median(points, axis=0)
    sizes = []
    for v in whole:
        rows, columns = np.nonzero(label_maps[v] == c)
        extent = max(np.ptp(rows), np.ptp(columns)) + 1
        _, depth = project(views[v].camera, center[None])
        sizes.append(extent * stride * abs(depth[0]) / views[v].camera.K[0, 0])
    side = float(np.quantile(sizes, 0.9)) * MARGIN / GRID
    axis = (np.arange(GRID) + 0.5 - GRID / 2) * side
    voxels = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3) + center
    hits = np.zeros(len(voxels))
    valid = np.zeros(len(voxels))
    framed = np.zeros(len(voxels))
    for v in present:
        xy, depth = project(views[v].camera, voxels)
        rows, columns, inside = pixels_at(xy / stride, label_maps[v].shape)
        at = label_maps[v][rows, columns]
        hit = inside & (at == c)
        # Another object's points nearer than the voxel: the view cannot tell.
        covered = (at != c) & (front[v][rows, columns] < depth * (1.0 - depth_tolerance))
        hits += hit
        valid += inside & (depth > 0) & ~covered & (at >= 0)
        framed += inside & (depth > 0) & (at >= 0)
    keep = (hits >= MIN_VIEWS) & (hits >= MIN_AGREEMENT * valid) & (hits >= MIN_SEEN * framed)
    return voxels[keep], side


def _splat(
    view: SegmentedView, voxels: NDArray, side: float, shape: tuple[int, int], stride: int
) -> NDArray[np.float64]:
    """Return the nearest depth of the voxels in each cell, [h, w]; inf where there is none."""
    depth_map = np.full(shape, np.inf)
    if len(voxels) == 0:
        return depth_map
    xy, depth = project(view.camera, voxels)
    rows, columns, inside = pixels_at(xy / stride, shape)
    inside &= depth > 0
    if not inside.any():
        return depth_map
    np.minimum.at(depth_map, (rows[inside], columns[inside]), depth[inside])
    size_px = side * view.camera.K[0, 0] / float(np.median(depth[inside]))
    # A voxel covers its own cell and reaches half its size further.
    return minimum_filter(depth_map, size=2 * int(np.ceil(size_px / stride / 2)) + 1)
