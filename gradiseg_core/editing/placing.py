"""What things stand on, and where they stand on it.

Points, lengths and planes are in the user's world.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera, Frame
from gradiseg_core.errors import InputError

#: Trials of RANSAC, and points that each is counted on.
_TRIALS, _SAMPLE = 500, 4000
#: Of Gaussians larger than this share of them, as much counts as of one that is as large.
_LARGE = 0.99
#: A point is on a plane up to this share of the size of what the cameras look at.
_NEAR_SHARE = 0.01
#: Share of a thing's points that may lie below its foot.
_FOOT = 0.03
#: A free place is looked for on this many circles, at this many places of each.
_STEPS, _TURNS = 10, 24
#: Other things are at least, and something to stand on at most, so many radii from it.
_CLEAR, _SUPPORTED = 1.2, 0.5


@dataclass(frozen=True)
class Ground:
    """A plane that things stand on: all x with normal @ x = offset.

    Attributes:
        normal: [3], unit length, up.
        offset: User's units.
        source: `geometry` where the stage of that name found it, else `estimated`.
    """

    normal: NDArray[np.float64]
    offset: float
    source: str

    def height(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far points [..., 3] lie above the plane."""
        return points @ self.normal - self.offset

    @property
    def axes(self) -> NDArray[np.float64]:
        """x, y and z of the plane, one a row [3, 3]; z is the normal.

        x is what is nearest to the world's x, or to its z where the plane faces x.
        """
        first = np.array([1.0, 0.0, 0.0])
        if abs(self.normal[0]) > 0.9:
            first = np.array([0.0, 0.0, 1.0])
        first = first - (first @ self.normal) * self.normal
        first = first / np.linalg.norm(first)
        return np.stack([first, np.cross(self.normal, first), self.normal])


def rotation(degrees: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return the rotation [3, 3] around the fixed axes x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    around_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    around_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    around_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return around_z @ around_y @ around_x


def turn_to(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shortest rotation [3, 3] from one direction to another."""
    from scipy.spatial.transform import Rotation

    axis = np.cross(start, end)
    sine, cosine = np.linalg.norm(axis), start @ end
    if sine < 1e-9:
        axis = np.linalg.svd(start[None])[2][1]
        return np.eye(3) if cosine > 0 else Rotation.from_rotvec(np.pi * axis).as_matrix()
    return Rotation.from_rotvec(np.arctan2(sine, cosine) * axis / sine).as_matrix()


def foot(points: NDArray[np.float64], ground: Ground) -> NDArray[np.float64]:
    """Return the middle of what a thing stands on, [3]: below the middle of its footprint."""
    along = points @ ground.axes.T
    low, high = np.quantile(along, [_FOOT, 1.0 - _FOOT], axis=0)
    middle = np.array([0.5 * (low[0] + high[0]), 0.5 * (low[1] + high[1]), low[2]])
    return middle @ ground.axes


def free_place(
    middle: NDArray[np.float64],
    radius: float,
    things: NDArray[np.float64],
    support: NDArray[np.float64],
    ground: Ground,
) -> NDArray[np.float64] | None:
    """Return the place nearest to the middle where a thing touches no other one.

    Args:
        middle: [3], where it would stand best, user's units.
        radius: Of the circle that its footprint fits in, user's units.
        things: [N, 3] points of what stands there.
        support: [M, 3] points of the background.
        ground: What things stand on; a place must have support below its middle.

    Returns:
        [3] on the ground; None where there is none within ten steps of ``radius``.
    """
    from scipy.spatial import cKDTree

    flat = ground.axes[:2]
    low = support[np.abs(ground.height(support)) < radius]
    if not len(low):
        return None
    occupied = cKDTree(things @ flat.T) if len(things) else None
    below = cKDTree(low @ flat.T)
    turns = np.linspace(0.0, 2.0 * np.pi, _TURNS, endpoint=False)
    around = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    rings = [np.zeros((1, 2)), *(step * radius * around for step in range(1, _STEPS + 1))]
    for place in middle @ flat.T + np.concatenate(rings):
        if below.query(place)[0] > _SUPPORTED * radius:
            continue
        if occupied is None or occupied.query(place)[0] > _CLEAR * radius:
            return place @ flat + ground.offset * ground.normal
    return None


def saved_ground(folder: Path | None, frame: Frame) -> Ground | None:
    """Return the support plane that stage `geometry` found; None where it did not run or failed.

    Raises:
        InputError: If `geometry.json` is damaged.
    """
    path = None if folder is None else folder / "geometry.json"
    if path is None or not path.is_file():
        return None
    try:
        plane: Any = json.loads(path.read_text(encoding="utf-8"))["support"]
        if plane is None:
            return None
        normal = np.array(plane["normal"], float)
        # The file is in the user's units, less the offset of the frame.
        return Ground(normal, float(plane["offset"]) + normal @ np.array(frame.offset), "geometry")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); run stage `geometry` again") from error


def estimated_ground(
    points: NDArray[np.float64],
    opacities: NDArray[np.float32],
    surface: NDArray[np.float64],
    cameras: list[Camera],
    frame: Frame,
    seed: int = 0,
) -> Ground | None:
    """Return the plane that holds most surface of what the cameras look at.

    There may be more Gaussians in a patterned thing on the table than in the table. Planes that
    cameras are on both sides of do not count. Source: Fischler and Bolles 1981.

    Args:
        points: [N, 3] centres, user's world.
        opacities: [N], 0..1.
        surface: [N], how much each covers.
        cameras: In the training frame.
        frame: Of training.
        seed: Of the trials.

    Returns:
        The plane, its normal on the side of the cameras; None without cameras or points.
    """
    if len(cameras) < 2:
        return None
    eyes = np.stack([camera.center_in_world for camera in cameras])
    eyes = eyes / frame.scale + np.array(frame.offset)
    axes = np.stack([camera.cam_from_world[2, :3] for camera in cameras])
    target = meeting(eyes, axes)
    reach = float(np.median(np.linalg.norm(eyes - target, axis=1)))
    looked_at = (np.linalg.norm(points - target, axis=1) < 0.7 * reach) & (opacities > 0.5)
    candidates = points[looked_at]
    if len(candidates) < 10:
        return None
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(candidates))[:_SAMPLE]
    sample, weights = candidates[rows], surface[looked_at][rows]
    weights = np.minimum(weights, np.quantile(weights, _LARGE))
    near = _NEAR_SHARE * reach
    best, plane = 0.0, None
    trials = generator.choice(len(sample), (_TRIALS, 3), p=weights / weights.sum())
    for a, b, c in sample[trials]:
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal)
        if length < 1e-9 * reach**2:
            continue
        normal = normal / length
        above = np.sign((eyes - a) @ normal)
        if abs(above.sum()) < 0.9 * len(eyes):
            continue
        agree = float(weights[np.abs((sample - a) @ normal) < near].sum())
        if agree > best:
            best, plane = agree, (a, normal * np.sign(above.sum()))
    if plane is None:
        return None
    point, normal = plane
    point, normal = refined_plane(candidates, point, normal, near, rounds=5, least=3)
    return Ground(normal, float(point @ normal), "estimated")


def refined_plane(
    points: NDArray[np.float64],
    point: NDArray[np.float64],
    normal: NDArray[np.float64],
    near: float,
    *,
    rounds: int,
    least: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit a plane by least squares to what lies near it, again and again.

    Args:
        points: [N, 3], any unit.
        point: [3], on the plane to begin with.
        normal: [3], unit length; the fitted one keeps its side.
        near: Points up to this far from the plane count, the points' unit.
        rounds: How often it is fitted.
        least: It stays as it is where fewer points are near.

    Returns:
        A point of the plane and its normal, [3] each.
    """
    for _ in range(rounds):
        on = points[np.abs((points - point) @ normal) < near]
        if len(on) < least:
            break
        point = on.mean(axis=0)
        fitted = np.linalg.eigh((on - point).T @ (on - point))[1][:, 0]
        normal = fitted if fitted @ normal > 0 else -fitted
    return point, normal


def meeting(eyes: NDArray[np.float64], axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the point nearest to all optical axes; for parallel ones, one before the cameras."""
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    total = across.sum(axis=0)
    if np.linalg.eigvalsh(total)[0] < 1e-3 * len(eyes):
        return (eyes + axes).mean(axis=0)
    return np.linalg.solve(total, np.einsum("nij,nj->i", across, eyes))
