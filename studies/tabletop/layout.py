"""Arranging the things on the table without interpenetration.

Every thing occupies the convex hull of its plan (its vertices seen from above). Two things whose
hulls are disjoint cannot meet in space, so hulls alone decide; hosts (a bowl, a book) take
one guest each and are placed together with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from gradiseg_core.errors import ConfigError
from studies.options import TabletopConfig
from studies.tabletop.meshes import rotation
from studies.tabletop.objects import OBJECTS, Thing

Array = NDArray[np.float64]

REACH = (0.36, 0.45)  # m, from the first thing placed; the second if the first leaves no room
CONTACT_GAP = 0.0006  # m, between things that touch: no common triangles, no visible gap
_CLEARANCE = 0.0003  # m, below a thing, for the same reason
_STEP = 0.004  # m, of the search along a direction
_DIRECTIONS = 36


@dataclass(frozen=True)
class _Group:
    """Things that move together (a host and its guest)."""

    members: tuple[Thing, ...]

    @property
    def hull(self) -> Array:
        """Corners of the convex plan, counter-clockwise, [M, 2]."""
        plan = np.concatenate([thing.vertices[:, :2] for thing in self.members])
        return plan[ConvexHull(plan).vertices]

    def moved(self, matrix: Array, offset: Array) -> _Group:
        return _Group(tuple(thing.moved(matrix, offset) for thing in self.members))


def arrange(config: TabletopConfig) -> list[Thing]:
    """Build and place the objects.

    Returns:
        The things in world coordinates in the order of ``OBJECTS``; thing i has ID i + 1.

    Raises:
        ConfigError: If the objects do not fit on the table.
    """
    rng = np.random.default_rng([config.seed, 1])
    things = []
    for index, build in enumerate(OBJECTS[: config.objects]):
        surface_rng = np.random.default_rng([config.seed, 2, index])
        factor = 1.0 + config.size_variation * rng.uniform(-1.0, 1.0)
        things.append(build(surface_rng, config.texture_strength).scaled(factor))
    order = [thing.prompt for thing in things]

    groups = _seat_guests(things, rng)
    touching = np.zeros(len(groups), dtype=bool)
    touching[: round(config.touching * len(groups))] = True
    rng.shuffle(touching)
    placed: list[_Group] = []
    hulls: list[Array] = []
    for group_index in rng.permutation(len(groups)):
        gap = CONTACT_GAP if touching[group_index] else config.spacing * rng.uniform(0.5, 1.5)
        group = _place(groups[group_index], hulls, max(gap, CONTACT_GAP), rng)
        placed.append(group)
        hulls.append(group.hull)
    center = _middle(hulls)
    shift = np.array([-center[0], -center[1], _CLEARANCE])
    moved = [thing.moved(offset=shift) for group in placed for thing in group.members]
    return sorted(moved, key=lambda thing: order.index(thing.prompt))


def separation(first: Array, second: Array) -> float:
    """Return a lower bound of the distance of two convex polygons, m; negative if they overlap.

    The largest gap over all edge normals (separating axis theorem): exact in its sign, and in its
    value wherever an edge faces a corner.

    Args:
        first: Corners in order, [M, 2].
        second: Corners in order, [N, 2].
    """
    best = -np.inf
    for a, b in ((first, second), (second, first)):
        edges = np.roll(a, -1, axis=0) - a
        normals = np.stack([edges[:, 1], -edges[:, 0]], -1)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        reach = (a * normals).sum(1)  # outward: the corners are counter-clockwise
        best = max(best, float(((b @ normals.T).min(axis=0) - reach).max()))
    return best


def _seat_guests(things: list[Thing], rng: np.random.Generator) -> list[_Group]:
    wells = [thing for thing in things if thing.well]
    shelves = [thing for thing in things if thing.shelf and thing.goes == "table"]
    guest_of: dict[str, Thing] = {}
    for thing in things:
        hosts = {"well": wells, "shelf": shelves}.get(thing.goes, [])
        if hosts:
            host = hosts.pop(0)
            guest_of[host.prompt] = thing
    seated = {guest.prompt for guest in guest_of.values()}
    groups = []
    for thing in things:
        if thing.prompt in seated:
            continue
        guest = guest_of.get(thing.prompt)
        groups.append(_Group((thing,) if guest is None else (thing, _seat(thing, guest, rng))))
    return groups


def _seat(host: Thing, guest: Thing, rng: np.random.Generator) -> Thing:
    """Turn the guest and put it into the host's well or onto its shelf."""
    turned = guest.moved(rotation(2, float(rng.uniform(-28.0, 28.0))))
    if host.well:
        bottom, radius = host.well
        return turned.moved(offset=np.array([0, 0, _rest_height(turned.vertices, bottom, radius)]))
    assert host.shelf is not None
    height, half_x, half_y = host.shelf
    offset = np.array([*(rng.uniform(-0.12, 0.12, 2) * [half_x, half_y]), height + CONTACT_GAP])
    return turned.moved(offset=offset)


def _rest_height(vertices: Array, bottom: float, radius: float) -> float:
    """Return how far a body (lowest point z = 0) must rise to lie inside a sphere's lower half."""
    center_z = bottom + radius
    depth = np.sqrt(np.maximum((radius - CONTACT_GAP) ** 2 - (vertices[:, :2] ** 2).sum(1), 0.0))
    return float(max((center_z - depth - vertices[:, 2]).max(), bottom))


def _place(group: _Group, hulls: list[Array], gap: float, rng: np.random.Generator) -> _Group:
    """Move the group from the middle outwards, in the direction that keeps all closest together."""
    turned = group.moved(rotation(2, float(rng.uniform(0.0, 360.0))), np.zeros(3))
    hull = turned.hull
    anchor = hull.mean(axis=0)
    hull = hull - anchor
    best: Array | None = None
    best_score = np.inf
    start = rng.uniform(0.0, 2 * np.pi)
    for limit, turn in product(REACH, range(_DIRECTIONS)):
        if limit == REACH[1] and best is not None:
            break
        angle = start + 2 * np.pi * turn / _DIRECTIONS
        direction = np.array([np.cos(angle), np.sin(angle)])
        distance = _first_free(hull, direction, hulls, gap, limit)
        if distance is None:
            continue
        score = distance * rng.uniform(1.0, 1.25)  # not always the tightest: layouts vary
        if score < best_score:
            best, best_score = distance * direction, score
    if best is None:
        raise ConfigError(
            f"the objects do not fit on the table (no room for "
            f"'{group.members[0].prompt}'): lower the tabletop's spacing, size_variation or objects"
        )
    return turned.moved(np.eye(3), np.array([*(best - anchor), 0.0]))


def _first_free(
    hull: Array, direction: Array, hulls: list[Array], gap: float, limit: float
) -> float | None:
    reach = np.linalg.norm(hull, axis=1).max()
    circles = [(other.mean(axis=0), _radius(other)) for other in hulls]

    def free(distance: float) -> bool:
        offset = distance * direction
        return all(
            np.linalg.norm(center - offset)
            >= reach + radius + gap  # clearly apart: no need to look
            or separation(hull + offset, other) >= gap
            for other, (center, radius) in zip(hulls, circles, strict=True)
        )

    distance = 0.0
    while not free(distance):
        distance += _STEP
        if distance > limit:
            return None
    low, high = max(distance - _STEP, 0.0), distance
    for _ in range(8 if distance > 0 else 0):  # to 16 micrometres
        middle = 0.5 * (low + high)
        low, high = (low, middle) if free(middle) else (middle, high)
    if np.linalg.norm(hull + high * direction, axis=1).max() > limit:
        return None
    return high


def _radius(hull: Array) -> float:
    return float(np.linalg.norm(hull - hull.mean(axis=0), axis=1).max())


def _middle(hulls: list[Array]) -> Array:
    corners = np.concatenate(hulls)
    return 0.5 * (corners.min(axis=0) + corners.max(axis=0))
