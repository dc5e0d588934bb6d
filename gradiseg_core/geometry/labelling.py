"""Labels of the views from the objects of a surface, and what is known of every object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera, training_size
from gradiseg_core.files.geometry import Surface
from gradiseg_core.files.id_maps import resize_by_area
from gradiseg_core.geometry import labels
from gradiseg_core.geometry.labels import WEIGHTS, halved_lab
from gradiseg_core.geometry.options import GeometryOptions
from gradiseg_core.geometry.outlines import decide
from gradiseg_core.geometry.thin import Thin, draw_thin, find_thin

#: Radius of the discs that colours are drawn with, voxels.
_WITHOUT_GAPS = 1.0


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
    thin: Thin,
    depth: NDArray[np.float32],
    camera: Camera,
    photograph: NDArray[np.uint8],
    options: GeometryOptions,
    ignored: NDArray[np.bool_] | None = None,
) -> NDArray[np.int32]:
    """Return the ID map of one view, of the photograph's size.

    Args:
        surface: N nodes.
        object_of: [N].
        thin: What the surface lacks.
        depth: [h, w] the view's own.
        camera: Of the view, at any size.
        photograph: [H, W, 3].
        options: All parameters.
        ignored: Of :func:`label_size`, pixels of the photograph that say nothing: labels there are
            as drawn. None: there are none.
    """
    height, width = photograph.shape[:2]
    size = label_size(width, height, options)
    at_size = camera.resized(*size)
    node, near = labels.draw(surface, at_size, options.labels.disc)
    drawn = labels.surface_labels(node, object_of, surface, depth, at_size, options.labels)
    point, point_depth = draw_thin(thin, surface, at_size)
    in_front = (point >= 0) & (point_depth < near)
    shown = expected_colours(surface, np.arange(len(surface)), at_size)
    behind = expected_colours(surface, np.flatnonzero(object_of == 0), at_size)
    if len(thin):
        drawn = np.where(in_front, thin.object_of[point], drawn)
        shown = np.where(in_front[..., None], thin.lab[point], shown)
    lab = halved_lab(reduced(photograph, size))
    core = labels.cores(drawn, options.labels)
    found = decide(drawn, core, lab, shown, behind, ignored)
    return resize_by_area(found, (height, width))


def thin_parts(
    surface: Surface,
    object_of: NDArray[np.int32],
    up: tuple[NDArray[np.float64], float] | None,
    cameras: Sequence[Camera],
    photographs: Sequence[NDArray[np.uint8]],
    options: GeometryOptions,
    ignored: Sequence[NDArray[np.bool_] | None] | None = None,
) -> Thin:
    """Return what the surface lacks of the objects (:func:`.thin.find_thin`).

    Args:
        surface: N nodes.
        object_of: [N], 0: background.
        up: Normal and offset of the support plane; None: there is none.
        cameras: Per view, at any size.
        photographs: Per view [H, W, 3].
        options: Size at which labels are drawn.
        ignored: Per view, of :func:`label_size`, pixels that say nothing, or None; None: none
            anywhere.
    """
    sizes = [label_size(image.shape[1], image.shape[0], options) for image in photographs]
    return find_thin(
        surface,
        object_of,
        up,
        [camera.resized(*size) for camera, size in zip(cameras, sizes, strict=True)],
        [reduced(image, size) for image, size in zip(photographs, sizes, strict=True)],
        ignored or [None] * len(photographs),
    )


def label_size(width: int, height: int, options: GeometryOptions) -> tuple[int, int]:
    """Return the size, (width, height), at which a photograph is labelled."""
    return training_size(width, height, options.labels.longest_side, None)


def expected_colours(
    surface: Surface, nodes: NDArray[np.int64], camera: Camera
) -> NDArray[np.float32]:
    """Return the colours that some nodes of the surface show, [H, W, 3]; NaN where they are not.

    Args:
        surface: N nodes.
        nodes: [n], those that are drawn.
        camera: At the size to draw.
    """
    if len(nodes) == 0:
        return np.full((camera.height, camera.width, 3), np.nan, np.float32)
    node, _ = labels.draw(replace(surface, points=surface.points[nodes]), camera, _WITHOUT_GAPS)
    colours = surface.lab[nodes[node]] * WEIGHTS
    return np.where(node[..., None] >= 0, colours, np.float32(np.nan))


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
