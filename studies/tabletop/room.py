"""Table and room around the objects. Everything is textured: SfM needs features everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studies.tabletop import textures as tx
from studies.tabletop.meshes import Mesh, box, grid, merged
from studies.tabletop.objects import Part

FLOOR = -0.72  # m
CEILING = 1.75
HALF_WIDTH = 1.55
TABLE = (0.58, 0.52, 0.03)  # half length, half width, thickness, m


@dataclass(frozen=True)
class Light:
    """A rectangle that shines to its front.

    Attributes:
        corners: [4, 3], m, in order; the front is on the side from which the order is
            counter-clockwise.
        radiance: RGB, W / (m^2 sr).
    """

    corners: NDArray[np.float64]
    radiance: tuple[float, float, float]


def room_parts(rng: np.random.Generator, strength: float) -> list[Part]:
    """Return table, floor, walls and ceiling."""
    x, y, thickness = TABLE
    top = box(np.array([-x, -y, -thickness]), np.array([x, y, 0.0]))
    linen = tx.cloth(
        rng, (0.80, 0.76, 0.68), [(0.42, 0.5, 0.56), (0.62, 0.5, 0.42)], strength
    )  # fmt: skip
    legs = merged(
        *(
            box(
                np.array([sx * (x - 0.06) - 0.025, sy * (y - 0.06) - 0.025, FLOOR]),
                np.array([sx * (x - 0.06) + 0.025, sy * (y - 0.06) + 0.025, -thickness]),
            )
            for sx in (-1, 1)
            for sy in (-1, 1)
        )
    )
    w = HALF_WIDTH
    floor = _rectangle([-w, -w, FLOOR], [2 * w, 0, 0], [0, 2 * w, 0])
    ceiling = _rectangle([-w, -w, CEILING], [0, 2 * w, 0], [2 * w, 0, 0])
    height = [0.0, 0.0, CEILING - FLOOR]
    walls = [
        _rectangle([w, w, FLOOR], [-2 * w, 0, 0], height),
        _rectangle([-w, w, FLOOR], [0, -2 * w, 0], height),
        _rectangle([-w, -w, FLOOR], [2 * w, 0, 0], height),
        _rectangle([w, -w, FLOOR], [0, 2 * w, 0], height),
    ]
    return [
        Part(top, linen),
        Part(legs, tx.planks(rng, (0.5, 0.36, 0.24), strength, size=256, count=2)),
        Part(floor, tx.planks(rng, (0.52, 0.38, 0.26), strength, count=14)),
        Part(ceiling, tx.mottled(rng, (0.85, 0.84, 0.8), strength, contrast=0.04)),
        *(
            Part(mesh, texture)
            for mesh, texture in zip(walls, _wallpapers(rng, strength), strict=True)
        ),
    ]


def lights() -> list[Light]:
    """A warm lamp field under the ceiling and a cool window high in a wall."""
    z = CEILING - 0.01
    lamp = np.array([[-0.6, -0.5, z], [-0.6, 0.5, z], [0.6, 0.5, z], [0.6, -0.5, z]])
    x, low, high = HALF_WIDTH - 0.01, 0.55, 1.5
    window = np.array([[x, -0.75, low], [x, -0.75, high], [x, 0.75, high], [x, 0.75, low]])
    return [Light(lamp, (5.4, 4.8, 4.0)), Light(window, (4.2, 4.9, 5.6))]


def _wallpapers(rng: np.random.Generator, strength: float) -> list[NDArray[np.float64]]:
    brick = tx.tiles(rng, (0.62, 0.45, 0.38), (0.75, 0.72, 0.68), strength, rows=26, columns=12)
    sage = tx.speckled(
        rng, tx.mottled(rng, (0.56, 0.62, 0.55), strength, size=1024), (0.72, 0.74, 0.62), strength,
        count=900, radius=(3, 8),
    )  # fmt: skip
    plaster = tx.speckled(
        rng, tx.mottled(rng, (0.70, 0.66, 0.60), strength, size=1024), (0.48, 0.46, 0.5), strength,
        count=700, radius=(2, 6),
    )  # fmt: skip
    panels = tx.planks(rng, (0.70, 0.74, 0.78), strength, count=9)
    return [
        brick,
        tx.pictures(rng, sage, strength, 4),
        tx.pictures(rng, plaster, strength, 4),
        panels,
    ]


def _rectangle(origin: list[float], along_u: list[float], along_v: list[float]) -> Mesh:
    u, v = np.meshgrid([0.0, 1.0], [0.0, 1.0])
    return grid(
        np.asarray(origin) + u[..., None] * np.asarray(along_u) + v[..., None] * np.asarray(along_v)
    )
