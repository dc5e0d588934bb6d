"""Boxes in any direction, and the smallest ones around points.

Notation: a box is its centre c [3], axes A [3, 3] (rows, right-handed, of length 1) and size s [3];
x is inside where |A (x - c)| <= s / 2 in every coordinate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Box:
    """An oriented box.

    Attributes:
        centre: [3].
        axes: [3, 3], one axis a row.
        size: [3], edge lengths along the axes.
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    size: NDArray[np.float64]

    def contains(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which of the points [N, 3] are inside."""
        inside = np.abs((points - self.centre) @ self.axes.T) <= 0.5 * self.size
        return np.asarray(inside.all(axis=1))

    def corners(self) -> NDArray[np.float64]:
        """Return the eight corners, [8, 3]."""
        signs = np.stack(np.meshgrid(*[(-0.5, 0.5)] * 3, indexing="ij"), axis=-1).reshape(8, 3)
        return self.centre + (signs * self.size) @ self.axes

    def as_json(self) -> dict[str, Any]:
        """Return it as lists."""
        return {
            "centre": self.centre.tolist(),
            "axes": self.axes.tolist(),
            "size": self.size.tolist(),
        }


def box_around(
    points: NDArray[np.float64], up: NDArray[np.float64] | None = None, trim: float = 0.01
) -> Box:
    """Return a small box around points.

    Where it is known what is up, the box stands upright and has the smallest base; elsewhere its
    axes are the principal ones of the points, the longest first.

    Args:
        points: [N, 3], at least one.
        up: [3], or None.
        trim: Share of the points that may stick out at either end of an axis: a trained object
            drags a few Gaussians behind it that nobody sees.
    """
    axes = _principal(points) if up is None else _upright(points, up, trim)
    along = points @ axes.T
    low, high = np.quantile(along, [trim, 1.0 - trim], axis=0)
    return Box(0.5 * (low + high) @ axes, axes, high - low)


def _principal(points: NDArray[np.float64]) -> NDArray[np.float64]:
    offsets = points - points.mean(axis=0)
    axes = np.linalg.eigh(offsets.T @ offsets)[1].T[::-1]
    return axes if np.linalg.det(axes) > 0 else axes * np.array([[1.0], [1.0], [-1.0]])


def _upright(points: NDArray[np.float64], up: NDArray[np.float64], trim: float) -> NDArray:
    """Return axes [3, 3] of which the last is ``up`` and the others enclose the smallest base."""
    up = up / np.linalg.norm(up)
    flat = np.linalg.svd(up[None])[2][1:]
    places = points @ flat.T  # [N, 2]
    angles = np.arange(0.0, 0.5 * np.pi, np.pi / 180.0)
    turns = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    sample = places[:: max(1, len(places) // 2000)]
    areas = []
    for cosine, sine in turns:
        along = sample @ np.array([[cosine, -sine], [sine, cosine]])
        low, high = np.quantile(along, [trim, 1.0 - trim], axis=0)
        areas.append(np.prod(high - low))
    cosine, sine = turns[int(np.argmin(areas))]
    first = cosine * flat[0] + sine * flat[1]
    return np.stack([first, np.cross(up, first), up])
