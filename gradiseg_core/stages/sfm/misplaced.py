"""Cameras that contradict the matches of their photographs.

The mapper places a photograph by some of its matches, and what moves with the camera, repeats, or
lies in a plane can place it wrongly: the reprojection error of what it then keeps is small. Its
verified matches tell. They fit some geometry of each pair within COLMAP's 4 px, and those of the
photographs that it matches best fit the model's too; between a camera at a wrong place and others
many do not. Weak pairs say nothing: things that look alike make false ones in right models.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from gradiseg_core.stages.sfm.pairs import keypoints, verified

logger = logging.getLogger(__name__)

#: px from the epipolar lines, half of what COLMAP's verification allows.
FITS_PX = 2.0
#: A camera is wrong if, of its strongest pair and of its three strongest, a smaller share of the
#: matches fits, of the median of all cameras. Wrong ones were measured at 0.16 to 0.67, right ones
#: at 0.93 and more (studies/scenes.md).
_SHARE = 0.75
_STRONGEST = (1, 3)
_PRIOR = 5  # matches that fit, added to each camera's: few matches prove little
_LINK = 15  # matches that fit, by which two cameras hold together


@dataclass(frozen=True)
class Misplaced:
    """A camera at a wrong place.

    Attributes:
        name: The photograph's file name.
        share: Of its verified matches in its strongest pairs that fit where it was put; None where
            it had such matches only with others at wrong places.
        matches: How many there are.
    """

    name: str
    share: float | None
    matches: int


@dataclass(frozen=True)
class _Pair:
    fits: int
    matches: int


def take_out_misplaced(model: Any, database: Path) -> list[Misplaced]:
    """Take cameras out of a model that contradict the matches of their photographs.

    The worst goes first, and the others are judged without it: what one wrong camera matches is no
    fault of the others.

    Args:
        model: `pycolmap.Reconstruction`; changed.
        database: Its database.

    Returns:
        Those that were taken out, in that order.
    """
    names = {i: model.image(i).name for i in model.reg_image_ids()}
    found = _misplaced(names, _pairs(model, database))
    by_name = {name: image_id for image_id, name in names.items()}
    for one in found:
        model.deregister_frame(model.image(by_name[one.name]).frame_id)
    if found:
        logger.info(
            "cameras at wrong places, taken out: %s",
            ", ".join(
                f"{one.name} ({'no' if one.share is None else f'{one.share:.0%}'} of "
                f"{one.matches} matches fit)"
                for one in found
            ),
        )
    return found


def _misplaced(names: Mapping[int, str], pairs: Mapping[tuple[int, int], _Pair]) -> list[Misplaced]:
    left = set(names)
    found: list[Misplaced] = []
    while len(left) > 2:
        best = _strongest(left, pairs)
        if not best:
            break
        share = {i: (pair.fits + _PRIOR) / (pair.matches + _PRIOR) for i, pair in best.items()}
        typical = float(np.median(list(share.values())))
        worst = min(sorted(share), key=lambda i: share[i])
        if share[worst] >= _SHARE * typical:
            break
        pair = best[worst]
        found.append(Misplaced(names[worst], pair.fits / pair.matches, pair.matches))
        left.remove(worst)
    if not found:
        return []
    # Others may have been placed by those that went, alone.
    group = _largest_group(left, pairs)
    for image_id in sorted(left - group):
        count = sum(pair.matches for key, pair in pairs.items() if image_id in key)
        found.append(Misplaced(names[image_id], None, count))
    return found


def _strongest(left: set[int], pairs: Mapping[tuple[int, int], _Pair]) -> dict[int, _Pair]:
    """Return the strongest pair of each image, or its three strongest, whatever fits better."""
    own: dict[int, list[_Pair]] = {}
    for (first, second), pair in sorted(pairs.items()):
        if first in left and second in left:
            for image_id in (first, second):
                own.setdefault(image_id, []).append(pair)
    best = {}
    for image_id, of_image in own.items():
        of_image.sort(key=lambda pair: -pair.matches)
        sums = [
            _Pair(sum(p.fits for p in of_image[:k]), sum(p.matches for p in of_image[:k]))
            for k in _STRONGEST
        ]
        best[image_id] = max(sums, key=lambda pair: pair.fits / pair.matches)
    return best


def _largest_group(left: set[int], pairs: Mapping[tuple[int, int], _Pair]) -> set[int]:
    """Return the largest set of images that pairs with enough fitting matches hold together."""
    ids = np.array(sorted(left))
    links = [key for key, pair in pairs.items() if pair.fits >= _LINK and left.issuperset(key)]
    ends = np.searchsorted(ids, np.array(links, dtype=np.int64).reshape(-1, 2)).T
    graph = sparse.coo_array((np.ones(len(links)), tuple(ends)), shape=(len(ids), len(ids)))
    group = connected_components(graph, directed=False)[1]
    return set(ids[group == np.bincount(group).argmax()].tolist())


def _pairs(model: Any, database: Path) -> dict[tuple[int, int], _Pair]:
    """Return how many of the verified matches between registered images fit the model."""
    at = keypoints(database)
    images = {i: model.image(i) for i in model.reg_image_ids()}
    rays: dict[int, NDArray[np.float64]] = {}
    for image_id, image in images.items():
        seen = np.asarray(image.camera.cam_from_img(at[image_id])).reshape(-1, 2)
        rays[image_id] = np.concatenate([seen, np.ones((len(seen), 1))], axis=1)
    poses = {i: image.cam_from_world().matrix() for i, image in images.items()}
    found = {}
    for (first, second), matches in verified(database).items():
        if first not in images or second not in images:
            continue
        errors = epipolar_errors(
            poses[first], poses[second], rays[first][matches[:, 0]], rays[second][matches[:, 1]]
        )
        focal = min(images[i].camera.mean_focal_length() for i in (first, second))
        found[first, second] = _Pair(int((errors * focal <= FITS_PX).sum()), len(matches))
    return found


def epipolar_errors(
    first: NDArray[np.float64],  # [3, 4]
    second: NDArray[np.float64],  # [3, 4]
    x: NDArray[np.float64],  # [n, 3]
    y: NDArray[np.float64],  # [n, 3]
) -> NDArray[np.float64]:
    """Return the Sampson errors [n] of matches, in units of the image plane at distance 1.

    Args:
        first: cam_from_world of the one image.
        second: Of the other.
        x: Rays of the matched features in the one, (x, y, 1).
        y: In the other.
    """
    rotation = second[:, :3] @ first[:, :3].T
    a, b, c = second[:, 3] - rotation @ first[:, 3]
    essential = np.array([[0.0, -c, b], [c, 0.0, -a], [-b, a, 0.0]]) @ rotation
    lines, others = x @ essential.T, y @ essential
    slope = np.hypot(np.linalg.norm(lines[:, :2], axis=1), np.linalg.norm(others[:, :2], axis=1))
    errors: NDArray[np.float64] = np.abs((y * lines).sum(axis=1)) / np.maximum(slope, 1e-12)
    return np.where(np.isfinite(errors), errors, np.inf)
