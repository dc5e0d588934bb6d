"""What a view would show without objects, and pixels that show something else.

The nodes of the surface that belong to no object, seen from all other views, give the colour of the
background at each pixel, shadows included. It is known to 5 Lab units in nine of ten pixels, so
that leaves and wires too thin for the surface stand out of it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.files.geometry import Surface
from gradiseg_core.geometry.fusion import REFERENCE_PX
from gradiseg_core.geometry.labels import LIGHTNESS, draw

#: Difference from the background, Lab with half the lightness, of what is none; 13 to 20 are
#: alike on five scenes.
_OTHER_LAB = 16.0
#: Radius of the discs that the background is drawn with, voxels: without gaps.
_DISC = 1.0
#: Farthest that such pixels lie from the object that they join, px at 320 px; 5 to 10 are alike.
_REACH = 8.0
#: Fewer connected ones are noise, px at 320 px.
_MIN_PIXELS = 4.0


def difference(
    surface: Surface,
    object_of: NDArray[np.int32],
    camera: Camera,
    photograph: NDArray[np.uint8],
) -> NDArray[np.float64]:
    """Return how far each pixel's colour is from the background's, [H, W] Lab; 0 where unknown.

    Args:
        surface: N nodes.
        object_of: [N]; 0: background.
        camera: View, of the photograph's size.
        photograph: [H, W, 3].
    """
    from skimage.color import rgb2lab

    nodes = np.flatnonzero(object_of == 0)
    if len(nodes) == 0:
        return np.zeros(photograph.shape[:2])
    node, _ = draw(replace(surface, points=surface.points[nodes]), camera, _DISC)
    expected = surface.lab[nodes[node]]
    away = (rgb2lab(photograph) - expected) * (LIGHTNESS, 1.0, 1.0)
    return np.where(node >= 0, np.linalg.norm(away, axis=-1), 0.0)


def join_thin(labels: NDArray[np.int32], away: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the labels with pixels that are not background in the nearest object.

    Args:
        labels: [H, W]; 0: background.
        away: [H, W] from :func:`difference`.
    """
    from scipy.ndimage import distance_transform_edt, label

    if not (labels > 0).any():
        return labels
    scale = max(labels.shape) / REFERENCE_PX
    distance, nearest = distance_transform_edt(labels == 0, return_indices=True)
    other = (labels == 0) & (away > _OTHER_LAB) & (distance <= _REACH * scale)
    part, count = label(other, np.ones((3, 3)))
    size = np.bincount(part.ravel(), minlength=count + 1)
    joins = other & (size[part] >= _MIN_PIXELS * scale**2)
    return np.where(joins, labels[tuple(nearest)], labels).astype(np.int32)
