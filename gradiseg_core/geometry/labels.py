"""ID maps of views: the segmented surface drawn.

A label here is -1 (unknown), 0 (background) or an object's ID.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.compute.cpu_runtime import kernel
from gradiseg_core.files.geometry import Surface
from gradiseg_core.geometry.fusion import REFERENCE_PX, unproject
from gradiseg_core.geometry.options import LabelOptions

_UNKNOWN = -1
#: Differences of lightness count this much: shading changes it.
LIGHTNESS = 0.5
#: Weights of L, a and b.
WEIGHTS = np.array([LIGHTNESS, 1.0, 1.0], np.float32)


def halved_lab(photograph: NDArray) -> NDArray[np.float32]:
    """Return the CIELAB colours of an RGB image [..., 3], lightness halved."""
    from skimage.color import rgb2lab

    return (rgb2lab(photograph) * WEIGHTS).astype(np.float32)


def draw(
    surface: Surface, camera: Camera, disc: float
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return which node every pixel shows, [H, W] (-1: none), and its depth, [H, W] (inf: none).

    Args:
        surface: Nodes, drawn as discs.
        camera: View, at the size to draw.
        disc: Radius of the discs, voxels.
    """
    pose = camera.cam_from_world
    in_camera = surface.points @ pose[:3, :3].T + pose[:3, 3]
    node = np.full((camera.height, camera.width), -1, np.int32)
    depth = np.full((camera.height, camera.width), np.inf, np.float32)
    _draw(in_camera, camera.K, disc * surface.voxel, node, depth)
    return node, depth


def surface_labels(
    node: NDArray[np.int32],
    object_of: NDArray[np.int32],
    surface: Surface,
    depth: NDArray[np.float32],
    camera: Camera,
    options: LabelOptions,
) -> NDArray[np.int32]:
    """Return the labels that the surface gives to a view, [H, W].

    Args:
        node: [H, W] from :func:`draw`.
        object_of: [N] object of every node; 0: background.
        surface: N nodes.
        depth: [h, w] the view's own depth, world units; 0: nothing there. May be smaller.
        camera: View, at the size of ``node``.
        options: Distance of background.
    """
    from scipy.spatial import cKDTree

    labels = np.where(node >= 0, object_of[node], _UNKNOWN).astype(np.int32)
    rows, columns = np.nonzero(node < 0)
    if len(rows) == 0:
        return labels
    near = depth[rows * depth.shape[0] // node.shape[0], columns * depth.shape[1] // node.shape[1]]
    full = np.zeros(node.shape)
    full[rows, columns] = near
    points = unproject(full, camera)[rows, columns]
    far = np.ones(len(rows), bool)
    objects = surface.points[object_of > 0]
    if len(objects):
        limit = options.background_distance * surface.voxel
        # Half a voxel more or less does not matter here, and most pixels are far from everything.
        box = ((points > objects.min(axis=0) - limit) & (points < objects.max(axis=0) + limit)).all(
            axis=1
        )
        distance, _ = cKDTree(objects).query(points[box], distance_upper_bound=limit)
        far[box] = ~np.isfinite(distance)
    labels[rows[far | (near <= 0)], columns[far | (near <= 0)]] = 0
    return labels


def cores(labels: NDArray[np.int32], options: LabelOptions) -> NDArray[np.bool_]:
    """Return the pixels that are well inside of their label, [H, W]: thin labels are eroded less.

    Args:
        labels: [H, W]; -1: unknown.
        options: How far outlines may move.
    """
    from scipy.ndimage import distance_transform_edt

    reach = options.erosion * max(labels.shape) / REFERENCE_PX
    found = np.zeros(labels.shape, bool)
    for label in np.unique(labels[labels != _UNKNOWN]):
        # Of the label's bounding box and a pixel around it, which hold the nearest other pixel; the
        # frame is no outline.
        rows = np.flatnonzero((labels == label).any(axis=1))
        columns = np.flatnonzero((labels == label).any(axis=0))
        box = np.s_[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2]
        own = labels[box] == label
        inside = distance_transform_edt(own)
        limit = min(reach, np.quantile(inside[own], 1.0 - options.min_core) - 0.5)
        found[box] |= own & (inside > limit)
    return found


def take_over(
    maps: Sequence[NDArray[np.int32]], others: Sequence[NDArray[np.int32]], min_share: float
) -> list[NDArray[np.int32]]:
    """Return maps with the IDs of another tracker that geometry calls background.

    Flat things are no geometry. Where the other tracker's ID lies in the background to the given
    share, over all views, it becomes a new ID there; elsewhere geometry's IDs stay.

    Args:
        maps: Per view [H, W] geometry's IDs; 0: background.
        others: Per view [H, W] the other's IDs, of the same sizes; 0: none.
        min_share: Share of an ID's pixels that must be background.
    """
    size = 1 + max((int(ids.max(initial=0)) for ids in others), default=0)
    area, free = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for ids, other in zip(maps, others, strict=True):
        area += np.bincount(other.ravel(), minlength=size)
        free += np.bincount(other[ids == 0], minlength=size)
    taken = (area > 0) & (free >= min_share * area)
    taken[0] = False
    new = np.zeros(size, np.int32)
    first = 1 + max((int(ids.max(initial=0)) for ids in maps), default=0)
    new[taken] = first + np.arange(taken.sum())
    return [
        np.where(ids == 0, new[other], ids).astype(np.int32)
        for ids, other in zip(maps, others, strict=True)
    ]


@kernel()
def _draw(in_camera, K, radius, node, depth):  # type: ignore[no-untyped-def]
    """Draw discs with a depth buffer; of equally near ones the first stays."""
    height, width = node.shape
    for n in range(in_camera.shape[0]):
        z = in_camera[n, 2]
        if z <= radius:
            continue
        u = K[0, 0] * in_camera[n, 0] / z + K[0, 2] - 0.5  # 0 at the first pixel's centre
        v = K[1, 1] * in_camera[n, 1] / z + K[1, 2] - 0.5
        reach = max(K[0, 0] * radius / z, 0.71)  # it covers at least the pixel that it lies in
        if not (u > -reach and v > -reach and u < width - 1 + reach and v < height - 1 + reach):
            continue
        for row in range(max(0, int(np.ceil(v - reach))), min(height - 1, int(v + reach)) + 1):
            for column in range(
                max(0, int(np.ceil(u - reach))), min(width - 1, int(u + reach)) + 1
            ):
                if (row - v) ** 2 + (column - u) ** 2 <= reach * reach and z < depth[row, column]:
                    depth[row, column] = z
                    node[row, column] = n
