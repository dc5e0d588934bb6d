"""Parts of space: what is connected, what is near, what lies in a hull.

Points are the centres of Gaussians, [N, 3] float64; a mask is [N] bool.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Neighbours of a point that it may be connected with.
_NEIGHBOURS = 8
#: Two neighbours are connected up to this many times the usual distance of neighbours.
_LINK = 3.0
#: A Gaussian of a lower opacity does not count for a thing's shape.
_FAINT = 0.1
#: A part of fewer than this share of the points is a floater.
FLOATER_SHARE = 0.02


def parts(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the connected part of every point, [N]; the largest is 0, the next 1, ...

    Neighbours are connected where they are not much farther from each other than is usual among
    these points, so that the result does not depend on the unit.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    count = len(points)
    if count < 3:
        return np.zeros(count, np.int64)
    near = min(_NEIGHBOURS, count - 1)
    distance, index = cKDTree(points).query(points, near + 1, workers=-1)
    distance, index = distance[:, 1:], index[:, 1:]
    linked = distance <= _LINK * np.median(distance[:, -1])
    start = np.repeat(np.arange(count), near).reshape(count, near)[linked]
    graph = coo_array((np.ones(len(start), np.int8), (start, index[linked])), (count, count))
    part = connected_components(graph, directed=False)[1]
    sizes = np.bincount(part)
    rank = np.empty(len(sizes), np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[part]


def largest_part(points: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest connected part of a mask."""
    kept = mask.copy()
    kept[mask] = parts(points[mask]) == 0
    return kept


def without_floaters(points: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask without its parts of less than :data:`FLOATER_SHARE` of its points."""
    part = parts(points[mask])
    kept = mask.copy()
    sizes = np.bincount(part, minlength=1)
    kept[mask] = sizes[part] >= max(FLOATER_SHARE * len(part), 1)
    return kept


def body(
    points: NDArray[np.float64], opacities: NDArray[np.float32], share: float = 0.1
) -> NDArray[np.bool_]:
    """Return which points of a thing, [n], are its body: what is faint or far off is not.

    Classes are learned, so that some Gaussians of a thing's class lie elsewhere in the scene.

    Args:
        points: [n, 3] centres of its Gaussians.
        opacities: [n] in 0..1.
        share: Of the solid points; a smaller connected part does not belong to the body.
    """
    solid = opacities >= _FAINT
    if solid.sum() < 4:
        return np.ones(len(points), bool)
    part = parts(points[solid])
    sizes = np.bincount(part)
    solid[solid] = (sizes >= min(share * len(part), sizes.max()))[part]  # the largest at least
    return solid


def grown(
    points: NDArray[np.float64], mask: NDArray[np.bool_], distance: float
) -> NDArray[np.bool_]:
    """Return a mask and all points up to a distance from its points."""
    from scipy.spatial import cKDTree

    if not mask.any() or mask.all() or distance <= 0:
        return mask.copy()
    low, high = points[mask].min(axis=0) - distance, points[mask].max(axis=0) + distance
    near = np.flatnonzero(~mask & ((points >= low) & (points <= high)).all(axis=1))
    result = mask.copy()
    if len(near):
        found, _ = cKDTree(points[mask]).query(
            points[near], distance_upper_bound=np.nextafter(distance, np.inf), workers=-1
        )
        result[near] = np.isfinite(found)
    return result


def shrunk(
    points: NDArray[np.float64], mask: NDArray[np.bool_], distance: float
) -> NDArray[np.bool_]:
    """Return a mask without its points up to a distance from the rest."""
    return ~grown(points, ~mask, distance)


def in_hull(
    points: NDArray[np.float64], mask: NDArray[np.bool_], outlier_factor: float = 1.0
) -> NDArray[np.bool_]:
    """Return a mask and all that lies in the convex hull of its points, outliers left out.

    An outlier is farther from the quartiles than ``outlier_factor`` times their distance, in any
    coordinate.

    Source: Gaussian Grouping, ``edit_object_removal.py``, ``points_inside_convex_hull``.
    """
    own = points[mask]
    if len(own) < 4:
        return mask.copy()
    low, high = np.quantile(own, [0.25, 0.75], axis=0)
    reach = outlier_factor * (high - low)
    core = own[((own >= low - reach) & (own <= high + reach)).all(axis=1)]
    return mask | within_hull(points, core)


def within_hull(points: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points lie in the convex hull of others; none where that is flat."""
    from scipy.spatial import ConvexHull, QhullError

    result = np.zeros(len(points), bool)
    try:
        planes = ConvexHull(corners).equations  # [F, 4], inside where <= 0
    except (QhullError, ValueError):  # flat or too few: nothing lies inside
        return result
    low, high = corners.min(axis=0), corners.max(axis=0)
    near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
    for chunk in np.array_split(near, max(1, len(near) // 50_000)):
        result[chunk] = (points[chunk] @ planes[:, :3].T + planes[:, 3] <= 1e-12).all(axis=1)
    return result
