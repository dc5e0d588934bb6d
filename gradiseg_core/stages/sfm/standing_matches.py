"""What stands still in all photographs, by its matches: a gripper that shakes, a blurred stamp.

:mod:`gradiseg_core.stages.sfm.standing` looks for edges at the same pixels, which a thing that
moves by some pixels with the camera has not. Its features still match in nearly every pair of
photographs, however far apart these are, and hardly move; those of the scene move, or have no
match. These features are taken out before the pairs are verified again: else they win many pairs,
and photographs get cameras, all of them wrong.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gradiseg_core.stages.sfm.pairs import keypoints

FEWEST = 6  # photographs
_ACROSS = 32  # cells along the longer side
#: px, and share of the longer side, that it may move: little, or, where hardly anything else moves
#: so little, more.
_STILL_PX, _STILL = 3.0, 0.006
_SHAKES_PX, _SHAKES = 6.0, 0.02
_ELSEWHERE = 0.05  # share of the matches elsewhere that may move as little, in the latter case
_MOSTLY = 0.4  # share of a cell's matches that do not move
_NEARLY_ALL = 0.6  # share of the pairs with at least `_IN_PAIR` such matches in a region
_IN_PAIR = 3
_SMALLEST, _LARGEST = 0.004, 0.6  # share of the picture


Size = tuple[int, int]
Pairs = dict[tuple[int, int], NDArray[np.int64]]


def find_standing_matches(database: Path) -> dict[Size, NDArray[np.bool_]]:
    """Return a coarse mask of what stands still, by the size of the photographs; often empty."""
    at, (sizes, pairs) = keypoints(database), _read(database)
    found = {}
    for size in sorted(set(sizes.values())):
        own = {pair: m for pair, m in pairs.items() if sizes[pair[0]] == sizes[pair[1]] == size}
        if len({image for pair in own for image in pair}) < FEWEST:
            continue
        matched = [(at[a][m[:, 0]], at[b][m[:, 1]]) for (a, b), m in own.items()]
        mask = standing_cells(matched, size)
        if mask is not None:
            found[size] = mask
    return found


def take_out(database: Path, masks: dict[Size, NDArray[np.bool_]]) -> list[tuple[int, int]]:
    """Take the features in the masks, and their matches, out of a database.

    The features must go too: a guided search would match them again.

    Returns:
        The pairs that have matches left; none is verified any more.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    at, (sizes, pairs) = keypoints(database), _read(database)
    keep = {}
    for image_id, xy in at.items():
        keep[image_id] = np.ones(len(xy), bool)
        if sizes[image_id] in masks and len(xy):
            row, col = _cells(xy, sizes[image_id])
            keep[image_id] = ~masks[sizes[image_id]][row, col]
    number = {image_id: np.cumsum(kept) - 1 for image_id, kept in keep.items()}
    db = pycolmap.Database.open(database)
    try:
        points = {image_id: np.asarray(db.read_keypoints(image_id)) for image_id in at}
        described = {image_id: db.read_descriptors(image_id) for image_id in at}
        for clear in (
            db.clear_two_view_geometries,
            db.clear_matches,
            db.clear_descriptors,
            db.clear_keypoints,
        ):
            clear()
        for image_id, kept in keep.items():
            db.write_keypoints(image_id, points[image_id][kept])
            features = described[image_id]
            left = np.ascontiguousarray(np.asarray(features.data)[kept])
            db.write_descriptors(image_id, pycolmap.FeatureDescriptors(features.type, left))
        left_pairs = []
        for (first, second), matches in pairs.items():
            both = keep[first][matches[:, 0]] & keep[second][matches[:, 1]]
            if not both.any():
                continue
            renumbered = np.stack(
                [number[first][matches[both, 0]], number[second][matches[both, 1]]], axis=1
            )
            db.write_matches(first, second, renumbered.astype(np.uint32))
            left_pairs.append((first, second))
    finally:
        db.close()
    return left_pairs


def _read(database: Path) -> tuple[dict[int, Size], Pairs]:
    """Return the size of every image, and the matches of every pair that has some."""
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    try:
        cameras = {camera.camera_id: camera for camera in db.read_all_cameras()}
        sizes = {
            image.image_id: (cameras[image.camera_id].width, cameras[image.camera_id].height)
            for image in db.read_all_images()
        }
        ids, matches = db.read_all_matches()
    finally:
        db.close()
    return sizes, {
        pycolmap.pair_id_to_image_pair(pair): np.asarray(found, dtype=np.int64).reshape(-1, 2)
        for pair, found in zip(ids, matches, strict=True)
        if len(found)
    }


def standing_cells(
    matched: list[tuple[NDArray[np.float64], NDArray[np.float64]]], size: tuple[int, int]
) -> NDArray[np.bool_] | None:
    """Return a coarse mask [rows, columns] of what stands still, or None.

    Args:
        matched: Of each pair of photographs, positions [n, 2] px of the matched features in both.
        size: Width and height of the photographs, px.
    """
    little = max(_STILL_PX, _STILL * max(size))
    found = _cells_within(matched, size, little)
    if found is not None:
        return found[0]
    found = _cells_within(matched, size, max(_SHAKES_PX, _SHAKES * max(size)))
    return None if found is None or found[1] > _ELSEWHERE else found[0]


def _cells_within(
    matched: list[tuple[NDArray[np.float64], NDArray[np.float64]]], size: Size, most_px: float
) -> tuple[NDArray[np.bool_], float] | None:
    """Return the cells whose matches move no more, and the share of such matches elsewhere."""
    shape = _shape(size)
    still, every = np.zeros(shape), np.zeros(shape)
    where = []
    for first, second in matched:
        row, col = _cells(first, size)
        np.add.at(every, (row, col), 1)
        stays = np.linalg.norm(first - second, axis=1) <= most_px
        np.add.at(still, (row[stays], col[stays]), 1)
        where.append((row[stays], col[stays]))
    # A match that moves is often a wrong one: smoothed, single cells do not decide.
    around = ndimage.uniform_filter(every, 3)
    share = ndimage.uniform_filter(still, 3) / np.maximum(around, 1e-9)
    likely = (share >= _MOSTLY) & (still > 0)
    labels, count = ndimage.label(ndimage.binary_closing(np.pad(likely, 1), np.ones((3, 3))))
    labels = labels[1:-1, 1:-1]
    found = np.zeros(shape, bool)
    for label in range(1, count + 1):
        region = labels == label
        seen = np.mean([region[row, col].sum() >= _IN_PAIR for row, col in where])
        if seen >= _NEARLY_ALL and region.mean() >= _SMALLEST:
            found |= region
    if not found.any() or found.mean() > _LARGEST:
        return None
    # Where things move inside, as on a turntable, they are no part of what stands around them.
    holes = ndimage.binary_fill_holes(found) & ((share >= _MOSTLY / 2) | (around == 0))
    mask = ndimage.binary_dilation(found | holes, np.ones((3, 3)))
    return mask, float(still[~mask].sum() / max(every[~mask].sum(), 1.0))


def _shape(size: tuple[int, int]) -> tuple[int, int]:
    cell = max(size) / _ACROSS
    return max(1, int(np.ceil(size[1] / cell))), max(1, int(np.ceil(size[0] / cell)))


def _cells(
    xy: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column of the cell of each position."""
    rows, columns = _shape(size)
    col, row = (xy // (max(size) / _ACROSS)).astype(np.int64).T
    return row.clip(0, rows - 1), col.clip(0, columns - 1)
