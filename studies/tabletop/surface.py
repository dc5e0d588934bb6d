"""A tabletop's surfaces as points with exact owners, for scoring Gaussians in 3D."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from studies.options import TabletopConfig
from studies.tabletop.layout import arrange
from studies.tabletop.meshes import Mesh
from studies.tabletop.room import room_parts

SPACING = 0.002  # m between points, on average: finer than any Gaussian that training makes
_COARSE_SPACING = 0.02  # m, of the room beyond arm's length, where nothing else is near
_NEAR = 0.6  # m from the table's middle


def surface_points(config: TabletopConfig) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Sample all surfaces evenly.

    Args:
        config: The tabletop's parameters; its geometry depends on nothing else.

    Returns:
        Points [S, 3] in world coordinates, m, and the ID of the object that each belongs to, [S];
        0 is table and room.
    """
    rng = np.random.default_rng([config.seed, 6])
    points, owners = [], []
    for index, thing in enumerate(arrange(config)):
        for part in thing.parts:
            sampled = _sample(part.mesh, SPACING, rng)
            points.append(sampled)
            owners.append(np.full(len(sampled), index + 1, np.int32))
    for part in room_parts(np.random.default_rng([config.seed, 4]), config.texture_strength):
        for spacing, near in ((SPACING, True), (_COARSE_SPACING, False)):
            sampled = _sample(part.mesh, spacing, rng)
            sampled = sampled[(np.linalg.norm(sampled, axis=1) < _NEAR) == near]
            points.append(sampled)
            owners.append(np.zeros(len(sampled), np.int32))
    return np.concatenate(points), np.concatenate(owners)


def _sample(mesh: Mesh, spacing: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return points on a mesh, uniform by area, one per square of the spacing."""
    corners = mesh.vertices[mesh.faces]  # [F, 3, 3]
    sides = corners[:, 1:] - corners[:, :1]
    area = 0.5 * np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    count = max(1, round(area.sum() / spacing**2))
    face = rng.choice(len(area), size=count, p=area / area.sum())
    u, v = rng.random((2, count))
    flip = u + v > 1.0
    u, v = np.where(flip, 1.0 - u, u), np.where(flip, 1.0 - v, v)
    return corners[face, 0] + u[:, None] * sides[face, 0] + v[:, None] * sides[face, 1]
