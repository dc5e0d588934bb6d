"""Photographs from one place: the camera turned and did not move, so that nothing has a depth.

The mapper finds cameras all the same: an orbit around things that are not there, with a small
reprojection error. The matches tell. Between two photographs from one place, features move as a
rotation moves them, x' = K R K^-1 x, however near they are. Here the rotation of each pair and one
focal length for all are fitted to the verified matches, and what is left is measured.

Notation: p pairs of n matches each; a and b are the positions of the features in the two
photographs, in units of the focal length that the database assumes, from the middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.stages.sfm.pairs import keypoints, verified

#: What is left, in widths of the picture, below which nothing moved but the camera's direction:
#: 0.0014 at most where the camera turned within a fifteenth of the distance of what it sees; 0.0038
#: within a fifth, where the mapper still fails. Captures of scenes: 0.017 and more.
ONE_PLACE = 0.003
NEARLY = 0.006
_FEWEST_MATCHES = 30
_FEWEST_PAIRS = 3
_MOST_PAIRS, _MATCHES = 48, 100  # looked at
_QUANTILE = 0.9  # of the pairs: neighbours of a video hardly move against one another
#: Times the assumed focal length. The best of a turning camera lies well inside; the longest lens
#: explains any motion along a flat scene, the shortest hides what it leaves.
_FOCALS = np.geomspace(0.4, 2.5, 23)
_INSIDE = (0.45, 2.0)
_DISTORTIONS = np.linspace(-0.15, 0.15, 7)  # k of x_seen = x (1 + k r^2)
_WORTH = 0.02  # only below this are lenses with distortion tried
_ROUNDS = 4  # of reweighting: single matches are wrong


@dataclass(frozen=True)
class Turning:
    """What is left of the matches' motion after a rotation.

    Attributes:
        left: In widths of the picture: the median of a pair's matches, and of the pairs the one
            that 90 % do not exceed.
        pairs: How many pairs were looked at.
    """

    left: float
    pairs: int


def turning_only(database: Path) -> Turning | None:
    """Return what is left where a turning camera explains the matches; None where none does.

    Args:
        database: COLMAP's database of verified matches.
    """
    found = _matches(database)
    if found is None:
        return None
    a, b, widths = found
    scores = [_left(a, b, widths, focal, 0.0) for focal in _FOCALS]
    best = int(np.argmin(scores))
    if scores[best] > _WORTH or not _INSIDE[0] < _FOCALS[best] < _INSIDE[1]:
        return None
    left = min(
        _left(a, b, widths, focal, k)
        for focal in _FOCALS[max(0, best - 3) : best + 4]
        for k in _DISTORTIONS
    )
    return Turning(left, len(a)) if left < NEARLY else None


def _matches(
    database: Path,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None:
    """Return a and b [p, n, 2] of pairs with many matches, and the pictures' widths [p]."""
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    try:
        by_id = {camera.camera_id: camera for camera in db.read_all_cameras()}
        cameras = {image.image_id: by_id[image.camera_id] for image in db.read_all_images()}
    finally:
        db.close()
    pairs = [item for item in verified(database).items() if len(item[1]) >= _FEWEST_MATCHES]
    if len(pairs) < _FEWEST_PAIRS:
        return None
    spread = np.unique(np.linspace(0, len(pairs) - 1, _MOST_PAIRS).round().astype(int))
    at = keypoints(database)
    rng = np.random.default_rng(0)
    sides: tuple[list[NDArray[np.float64]], ...] = ([], [])
    widths = []
    for ids, matches in (pairs[i] for i in spread):
        some = matches[rng.choice(len(matches), _MATCHES)]
        for image_id, indices, side in zip(ids, some.T, sides, strict=True):
            camera = cameras[image_id]
            middle = np.array([camera.width, camera.height]) / 2
            side.append((at[image_id][indices] - middle) / camera.mean_focal_length())
        widths.append(
            max(
                max(cameras[i].width, cameras[i].height) / cameras[i].mean_focal_length()
                for i in ids
            )
        )
    return np.stack(sides[0]), np.stack(sides[1]), np.array(widths)


def _left(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    widths: NDArray[np.float64],
    focal: float,
    k: float,
) -> float:
    """Return what the rotations of a focal length and a distortion leave, in widths."""
    x, y = _rays(a, focal, k), _rays(b, focal, k)
    weights = np.ones(x.shape[:2])
    for _ in range(_ROUNDS):
        rotations = _rotations(x, y, weights)
        error = np.linalg.norm(np.einsum("pij,pnj->pni", rotations, x) - y, axis=-1) * focal
        typical = np.maximum(np.median(error, axis=1, keepdims=True), 1e-9)
        weights = 1.0 / (error / typical + 0.3)
    return float(np.quantile(typical[:, 0] / widths, _QUANTILE))


def _rays(at: NDArray[np.float64], focal: float, k: float) -> NDArray[np.float64]:
    """Return unit rays [p, n, 3] of positions [p, n, 2], without the distortion."""
    seen = at / focal
    seen = seen / (1.0 + k * (seen**2).sum(axis=-1, keepdims=True))
    rays = np.concatenate([seen, np.ones((*seen.shape[:2], 1))], axis=-1)
    unit: NDArray[np.float64] = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    return unit


def _rotations(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the rotations [p, 3, 3] that bring rays x nearest to y (Kabsch 1976)."""
    U, _, Vt = np.linalg.svd(np.einsum("pn,pni,pnj->pij", weights, y, x))
    signs = np.ones((len(U), 3))
    signs[:, 2] = np.linalg.det(U @ Vt)
    rotations: NDArray[np.float64] = np.einsum("pij,pj,pjk->pik", U, signs, Vt)
    return rotations
