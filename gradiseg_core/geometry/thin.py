"""Wires, leaves and handles, which are too thin for the fused surface.

A voxel of free space that lies on such a thing hides what the surface has behind it, in every view
that would see it there: its pixels are unlike the surface. A voxel that is empty shows the surface
in most views. So the share of unlike views carves thin things, like a visual hull (Laurentini 1994)
without silhouettes. What is found belongs to the object that it is connected to, along the shortest
path, on which steps of colour count as length.

Lengths are in voxels, colours Lab with half the lightness.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.compute.cpu_runtime import kernel, run_queue, take
from gradiseg_core.files.geometry import Surface
from gradiseg_core.geometry.fusion import REFERENCE_PX
from gradiseg_core.geometry.labels import WEIGHTS, draw, halved_lab

logger = logging.getLogger(__name__)

#: Colours farther than this from the surface's are unlike it.
_UNLIKE = 8.0
#: Share of the views in which a voxel must be unlike what is behind it.
_SHARE = 0.75
#: A thing has one colour from all sides, and empty space many: this share of the views shows the
#: mean colour, to _SAME_LAB.
_ALIKE = 0.3
_SAME_LAB = 10.0
#: Views that must see what is behind it.
_MIN_VIEWS = 6
#: Farthest from an object's surface.
_REACH = 25.0
#: Lowest over the support, whose colour is not known to less than a voxel.
_LOWEST = 1.5
#: A voxel this near to the surface that it is seen before is the surface.
_BEFORE = 1.5
#: Longest gap between two voxels of one thing.
_GAP = 2.0
#: Fewer points than two voxels hold are noise.
_SPECK = 16
#: Steps of colour that count as a voxel of length.
_STEP_LAB = 10.0
#: Radius of the discs that are drawn.
DISC = 0.3
#: Most points for each node of the objects: more are no thin things, but a surface that is not the
#: photographs'. Twelve good scenes have 0.1 to 0.9, one that was trained too short 260. In a solid
#: heap every point has 128 pairs of _GAP, so that the limit also bounds memory.
_MOST = 3.0
_FEW = 20_000  # points that are never too many
_POINTS = 4096  # that a thread takes at a time
_SLAB = 8_000_000  # voxels whose distances are computed at a time, 50 bytes each
_CHUNK = 1 << 16  # voxels that are split at a time
_PAIRS = 1 << 20  # whose lengths are computed at a time


@dataclass(frozen=True)
class Thin:
    """Points of thin things.

    Attributes:
        points: [M, 3] float64, world.
        lab: [M, 3] float32, mean colour, lightness halved.
        object_of: [M] int32, from 1.
    """

    points: NDArray[np.float64]
    lab: NDArray[np.float32]
    object_of: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class _View:
    """What a view says of voxels before its surface.

    Attributes:
        camera: Of the size of the maps.
        unlike: [H, W] float32, difference from the surface's colour; -1 where none is drawn.
        depth: [H, W] float32, of the surface; 0 in ignored pixels.
        lab: [H, W, 3] float32, of the photograph.
    """

    camera: Camera
    unlike: NDArray[np.float32]
    depth: NDArray[np.float32]
    lab: NDArray[np.float32]


def find_thin(
    surface: Surface,
    object_of: NDArray[np.int32],
    up: tuple[NDArray[np.float64], float] | None,
    cameras: Sequence[Camera],
    photographs: Sequence[NDArray[np.uint8]],
    ignored: Sequence[NDArray[np.bool_] | None],
) -> Thin:
    """Return the points of thin things that are connected to objects.

    None are returned, and a warning says so, where there would be far too many: the surface is then
    not what the photographs show.

    Args:
        surface: N nodes.
        object_of: [N], 0: background.
        up: Normal and offset of the support plane; None: there is none.
        cameras: Per view, of the photographs' sizes.
        photographs: Per view [H, W, 3].
        ignored: Per view [H, W], pixels that say nothing; None: none.
    """
    views = [_seen(surface, *view) for view in zip(cameras, photographs, ignored, strict=True)]
    most = max(_FEW, int(_MOST * np.count_nonzero(object_of)))
    found, count = [(np.zeros((0, 3)), np.zeros((0, 3), np.float32))], 0
    for points, lab in _found(surface, object_of, up, views):
        found.append((points, lab))
        count += len(points)
        if count > most:
            logger.warning(
                "thin things such as wires are left out: more than %d points of free space look "
                "unlike the surface behind them, so the surface is poor. More iterations of stage "
                "`geometry` (geometry.iterations) or more photographs give a better one",
                most,
            )
            return Thin(*found[0], np.zeros(0, np.int32))
    points, lab = (np.concatenate(parts) for parts in zip(*found, strict=True))
    owner = _owners(points, lab, surface, object_of)
    return Thin(points[owner > 0], lab[owner > 0], owner[owner > 0])


def _found(
    surface: Surface,
    object_of: NDArray[np.int32],
    up: tuple[NDArray[np.float64], float] | None,
    views: Sequence[_View],
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float32]]]:
    """Yield carved points of one colour and their mean colours, [n, 3] each, some at a time."""
    voxel = surface.voxel
    widened = [replace(view, unlike=_widened(view.unlike)) for view in views]
    corners = 0.25 * voxel * (2.0 * np.array(list(np.ndindex(2, 2, 2))) - 1.0)
    for centres in _candidates(surface, object_of, up):
        carved = centres[_carved(centres, voxel, widened)]
        for first in range(0, len(carved), _CHUNK):
            points = (carved[first : first + _CHUNK, None] + corners).reshape(-1, 3)
            points = points[_carved(points, voxel, views)]
            lab = _mean_colours(points, voxel, views)
            one_colour = _share_alike(points, lab, voxel, views) >= _ALIKE
            yield points[one_colour], lab[one_colour]


def _seen(
    surface: Surface,
    camera: Camera,
    photograph: NDArray[np.uint8],
    ignored: NDArray[np.bool_] | None,
) -> _View:
    node, depth = draw(surface, camera, 1.0)
    lab = halved_lab(photograph)
    expected = surface.lab[node] * WEIGHTS
    unlike = np.empty(node.shape, np.float32)
    run_queue(_least_differences, -(-len(node) // 16), lab, expected, node, unlike)
    if ignored is not None:
        # As if the surface there were at the camera, and hid all else.
        unlike[ignored], depth[ignored] = -1.0, 0.0
    return _View(camera, unlike, depth, lab)


def _candidates(
    surface: Surface,
    object_of: NDArray[np.int32],
    up: tuple[NDArray[np.float64], float] | None,
) -> Iterator[NDArray[np.float64]]:
    """Yield the centres of voxels near objects and over the support, [n, 3], slab by slab."""
    from scipy.ndimage import distance_transform_edt

    nodes = object_of > 0
    if not nodes.any():
        return
    places = surface.points[nodes] / surface.voxel
    low = places.min(axis=0) - _REACH
    shape = np.ceil(places.max(axis=0) + _REACH - low).astype(int) + 1
    places = (places - low).round().astype(int)
    halo = int(_REACH)
    thickness = max(_SLAB // int(shape[1] * shape[2]) - 2 * halo, halo)
    if shape[0] <= thickness + 2 * halo:
        thickness = int(shape[0])  # all at once
    for first in range(0, int(shape[0]), thickness):
        last = min(first + thickness, int(shape[0]))
        in_reach = (places[:, 0] >= first - halo) & (places[:, 0] < last + halo)
        if not in_reach.any():
            continue
        inside = places[in_reach]
        start = (inside.min(axis=0) - halo).clip(0)
        free = np.ones(np.minimum(inside.max(axis=0) + halo + 1, shape) - start, bool)
        free[tuple((inside - start).T)] = False
        near = np.argwhere(distance_transform_edt(free) <= _REACH) + start
        near = near[(near[:, 0] >= first) & (near[:, 0] < last)]
        points = (near + low) * surface.voxel
        if up is not None:
            points = points[points @ up[0] - up[1] > _LOWEST * surface.voxel]
        yield points


def _widened(unlike: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the greatest difference of any pixel that a voxel may cover, [H, W]."""
    from scipy.ndimage import maximum_filter

    side = 2 * round(0.75 * max(unlike.shape) / REFERENCE_PX) + 1
    return np.where(unlike < 0, unlike, maximum_filter(unlike, side))


def _carved(points: NDArray[np.float64], voxel: float, views: Sequence[_View]) -> NDArray[np.bool_]:
    """Return which points are unlike the surface behind them in most views, [n]."""
    seen, unlike = np.zeros(len(points), np.int32), np.zeros(len(points), np.int32)
    for view in views:
        run_queue(
            _vote, -(-len(points) // _POINTS), points, view.camera.K, view.camera.cam_from_world,
            view.unlike, view.depth, _BEFORE * voxel, _UNLIKE, seen, unlike,
        )  # fmt: skip
    return (seen >= _MIN_VIEWS) & (unlike >= _SHARE * seen)


def _mean_colours(
    points: NDArray[np.float64], voxel: float, views: Sequence[_View]
) -> NDArray[np.float32]:
    """Return the mean colour of points over the views that see them, [n, 3]."""
    total, number = np.zeros((len(points), 3), np.float32), np.zeros(len(points), np.int32)
    for view in views:
        run_queue(
            _add_colours, -(-len(points) // _POINTS), points, view.camera.K,
            view.camera.cam_from_world, view.lab, view.depth, _BEFORE * voxel, total, number,
        )  # fmt: skip
    return np.divide(total, np.maximum(number, 1)[:, None], dtype=np.float32)


def _share_alike(
    points: NDArray[np.float64],
    lab: NDArray[np.float32],
    voxel: float,
    views: Sequence[_View],
) -> NDArray[np.float64]:
    """Return the share of the views that show a point in about its mean colour, [n]."""
    alike, number = np.zeros(len(points), np.int32), np.zeros(len(points), np.int32)
    for view in views:
        run_queue(
            _count_alike, -(-len(points) // _POINTS), points, view.camera.K,
            view.camera.cam_from_world, view.lab, view.depth, _BEFORE * voxel, lab,
            np.float32(_SAME_LAB), alike, number,
        )  # fmt: skip
    return alike / np.maximum(number, 1)


def _owners(
    points: NDArray[np.float64],
    lab: NDArray[np.float32],
    surface: Surface,
    object_of: NDArray[np.int32],
) -> NDArray[np.int32]:
    """Return the object that each point is connected to by the shortest path, [n]; 0: none."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components, dijkstra
    from scipy.spatial import cKDTree

    nodes = np.flatnonzero(object_of)
    if len(points) == 0 or len(nodes) == 0:
        return np.zeros(len(points), np.int32)
    voxel, count = surface.voxel, len(points)
    among = cKDTree(points)
    pairs = among.query_pairs(_GAP * voxel, output_type="ndarray").astype(np.int32)
    # A point touches a node that is a voxel and a half away: nodes lie in the middle of a crust.
    apart, nearest = cKDTree(surface.points[nodes]).query(
        points, distance_upper_bound=1.5 * _GAP * voxel
    )
    touching = np.flatnonzero(np.isfinite(apart))
    ends = np.concatenate([pairs, np.stack([touching, count + nearest[touching]], axis=1)],
                          dtype=np.int32)  # fmt: skip
    del pairs
    place = np.concatenate([points, surface.points[nodes]])
    colour = np.concatenate([lab, surface.lab[nodes] * WEIGHTS])
    length = np.empty(len(ends))
    for first in range(0, len(ends), _PAIRS):  # all at once would take 150 bytes for each
        a, b = ends[first : first + _PAIRS].T
        apart_lab = np.linalg.norm(colour[a] - colour[b], axis=1) / _STEP_LAB + 1e-3
        length[first : first + _PAIRS] = np.linalg.norm(place[a] - place[b], axis=1) / voxel
        length[first : first + _PAIRS] += apart_lab
    graph = coo_array((length, tuple(ends.T)), (len(place),) * 2).tocsr()
    del ends, length
    sources = np.unique(count + nearest[touching])
    owner = np.zeros(count, np.int32)
    if len(sources):
        away, _, source = dijkstra(
            graph, directed=False, indices=sources, min_only=True, return_predecessors=True
        )
        reached = np.isfinite(away[:count])
        owner[reached] = object_of[nodes[source[:count][reached] - count]]
    among_points = graph[:count, :count]
    part = connected_components(among_points, directed=False)[1]
    owner[np.bincount(part)[part] < _SPECK] = 0
    return owner


def draw_thin(
    thin: Thin, surface: Surface, camera: Camera
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return which point every pixel shows, [H, W] (-1: none), and its depth (inf: none)."""
    return draw(replace(surface, points=thin.points), camera, DISC)


@kernel()
def _least_differences(queue, lab, expected, node, unlike):  # type: ignore[no-untyped-def]
    """Least difference from the expected colours of 3 x 3 pixels, for 16 rows; -1: unknown."""
    height, width = node.shape
    band = take(queue)
    while 16 * band < height:
        for row in range(16 * band, min(16 * band + 16, height)):
            for column in range(width):
                unlike[row, column] = -1.0
                if node[row, column] < 0:
                    continue
                least = np.float32(1e6)
                for y in range(max(row - 1, 0), min(row + 2, height)):
                    for x in range(max(column - 1, 0), min(column + 2, width)):
                        if node[y, x] < 0:
                            continue
                        square = np.float32(0.0)
                        for channel in range(3):
                            difference = lab[row, column, channel] - expected[y, x, channel]
                            square += difference * difference
                        least = min(least, square)
                unlike[row, column] = np.sqrt(least)
        band = take(queue)


@kernel()
def _pixel_before(points, n, K, pose, depth, before):  # type: ignore[no-untyped-def]
    """Return the row and column that a point is seen at before the surface; -1: nowhere."""
    x, y, z = points[n, 0], points[n, 1], points[n, 2]
    cz = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
    if cz <= 0.0:
        return -1, -1
    u = K[0, 0] * (pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]) / cz + K[0, 2]
    v = K[1, 1] * (pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]) / cz + K[1, 2]
    if not (u >= 0.0 and v >= 0.0 and u < depth.shape[1] and v < depth.shape[0]):
        return -1, -1
    if cz > depth[int(v), int(u)] - before:
        return -1, -1
    return int(v), int(u)


@kernel()
def _vote(queue, points, K, pose, differs, depth, before, limit, seen, unlike):  # type: ignore[no-untyped-def]
    """Count, for 4096 points, a view that sees the surface behind them, and unlike."""
    band = take(queue)
    while 4096 * band < points.shape[0]:
        for n in range(4096 * band, min(4096 * band + 4096, points.shape[0])):
            row, column = _pixel_before(points, n, K, pose, depth, before)
            if row < 0 or differs[row, column] < 0.0:
                continue
            seen[n] += 1
            if differs[row, column] > limit:
                unlike[n] += 1
        band = take(queue)


@kernel()
def _add_colours(queue, points, K, pose, lab, depth, before, total, number):  # type: ignore[no-untyped-def]
    """Add the colours of one view to 4096 points."""
    band = take(queue)
    while 4096 * band < points.shape[0]:
        for n in range(4096 * band, min(4096 * band + 4096, points.shape[0])):
            row, column = _pixel_before(points, n, K, pose, depth, before)
            if row < 0:
                continue
            number[n] += 1
            for channel in range(3):
                total[n, channel] += lab[row, column, channel]
        band = take(queue)


@kernel()
def _count_alike(queue, points, K, pose, lab, depth, before, mean, limit, alike, number):  # type: ignore[no-untyped-def]
    """Count, for 4096 points, a view that sees them, and in their mean colour."""
    band = take(queue)
    while 4096 * band < points.shape[0]:
        for n in range(4096 * band, min(4096 * band + 4096, points.shape[0])):
            row, column = _pixel_before(points, n, K, pose, depth, before)
            if row < 0:
                continue
            number[n] += 1
            square = np.float32(0.0)
            for channel in range(3):
                square += (lab[row, column, channel] - mean[n, channel]) ** 2
            if square < limit * limit:
                alike[n] += 1
        band = take(queue)
