"""Labels of the views from the objects of a surface, and what is known of every object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera, training_size
from gradiseg_core.files.geometry import Surface
from gradiseg_core.files.id_maps import resize_by_area
from gradiseg_core.geometry import backdrop, labels
from gradiseg_core.geometry.options import GeometryOptions


@dataclass(frozen=True)
class FoundObject:
    """One object.

    Attributes:
        id: Its ID in the maps, 1, 2, ...; the largest object has 1.
        size: Voxels of its surface.
        center: Mean of its points, world, [3].
        height: Of its top (98th percentile) over the support, world units.
        views: Views that show it.
    """

    id: int
    size: int
    center: NDArray[np.float64]
    height: float
    views: int


def label_view(
    surface: Surface,
    object_of: NDArray[np.int32],
    depth: NDArray[np.float32],
    camera: Camera,
    photograph: NDArray[np.uint8],
    options: GeometryOptions,
) -> NDArray[np.int32]:
    """Return the ID map of one view, of the photograph's size.

    Args:
        surface: N nodes.
        object_of: [N].
        depth: [h, w] the view's own.
        camera: Of the view, at any size.
        photograph: [H, W, 3].
        options: All parameters.
    """
    height, width = photograph.shape[:2]
    size = training_size(width, height, options.labels.longest_side, None)
    node, _ = labels.draw(surface, camera.resized(*size), options.labels.disc)
    drawn = labels.surface_labels(
        node, object_of, surface, depth, camera.resized(*size), options.labels
    )
    small = reduced(photograph, size)
    snapped = labels.snap(drawn, small, options.labels)
    away = backdrop.difference(surface, object_of, camera.resized(*size), small)
    return resize_by_area(backdrop.join_thin(snapped, away), (height, width))


def reduced(photograph: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a photograph [H, W, 3] at a size (width, height)."""
    from PIL import Image

    if (photograph.shape[1], photograph.shape[0]) == size:
        return photograph
    return np.asarray(Image.fromarray(photograph).resize(size, Image.Resampling.BOX))


def describe(
    ids: Sequence[NDArray[np.int32]],
    points: NDArray[np.float64],
    object_of: NDArray[np.int32],
    height: NDArray[np.float32],
    voxel: float,
) -> list[FoundObject]:
    """Return what is known of every object.

    Args:
        ids: Per view [H, W].
        points: [N, 3] of the surface, world.
        object_of: [N], 0: background.
        height: [N] over the support, voxels.
        voxel: Side of a voxel, world units.
    """
    count = int(object_of.max(initial=0))
    views = np.zeros(count + 1, np.int64)
    for view in ids:
        present = np.unique(view)
        views[present[present <= count]] += 1
    found = []
    for number in range(1, count + 1):
        nodes = object_of == number
        top = float(np.percentile(height[nodes], 98)) * voxel
        center = points[nodes].mean(axis=0)
        found.append(FoundObject(number, int(nodes.sum()), center, top, int(views[number])))
    return found
