"""How well objects can be put together from segments, measured against known objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SegmentQuality:
    """Measures of one view.

    Attributes:
        achievable_iou: For each object ID, the largest IoU that a union of segments reaches.
        fragments: For each object ID, the number of segments that cover 90 % of the area of all
            segments that lie mostly in it (0: there are none).
        undersegmentation: Undersegmentation error, 0 (none) .. 1: pixels that a segment gives to
            another object, the smaller side of every overlap (Neubert and Protzel, 2012).
        achievable_accuracy: Share of pixels that are right if every segment takes the object that
            it overlaps most; pixels without a segment count as wrong.
        segments: Number of segments.
    """

    achievable_iou: dict[int, float]
    fragments: dict[int, int]
    undersegmentation: float
    achievable_accuracy: float
    segments: int


def measure(
    segments: NDArray,  # [H, W] integer
    objects: NDArray,  # [H, W] integer
    *,
    min_object_px: int = 100,
) -> SegmentQuality:
    """Measure the segments of one view against its true object IDs.

    Args:
        segments: Segment IDs, 0 = no segment.
        objects: True IDs, 0 = surroundings (counts in the two whole-image measures only).
        min_object_px: Objects that show fewer pixels are not measured one by one.

    Raises:
        ValueError: If the two maps differ in size.
    """
    if segments.shape != objects.shape:
        raise ValueError(f"maps differ in size: {segments.shape} and {objects.shape}")
    ids, column = np.unique(objects, return_inverse=True)
    rows = int(segments.max()) + 1
    flat = segments.ravel().astype(np.int64) * len(ids) + column.ravel()
    overlap = np.bincount(flat, minlength=rows * len(ids)).reshape(rows, len(ids))
    areas = overlap.sum(axis=1)
    real, real_areas = overlap[1:], areas[1:]
    iou, fragments = {}, {}
    for index, object_id in enumerate(ids.tolist()):
        total = int(overlap[:, index].sum())
        if object_id == 0 or total < min_object_px:
            continue
        iou[object_id] = _best_union(real[:, index], real_areas, total)
        fragments[object_id] = _fragments(real[:, index], real_areas)
    return SegmentQuality(
        iou,
        fragments,
        float(np.minimum(real, real_areas[:, None] - real).sum() / (2 * objects.size)),
        float(real.max(axis=1, initial=0).sum() / objects.size),
        int((real_areas > 0).sum()),
    )


def _best_union(inside: NDArray, areas: NDArray, total: int) -> float:
    """Return the largest IoU of a union of segments with an object of `total` px.

    Segments are added in the order of their purity, and the best union is one of these prefixes:
    adding a segment raises the IoU exactly when its inside : outside ratio exceeds the IoU so far.
    """
    touching = inside > 0
    if not touching.any():
        return 0.0
    inside, areas = inside[touching], areas[touching]
    order = np.argsort(-inside / areas, kind="stable")
    intersection = inside[order].cumsum()
    union = total + (areas - inside)[order].cumsum()
    return float((intersection / union).max())


def _fragments(inside: NDArray, areas: NDArray) -> int:
    mostly = np.sort(inside[2 * inside > areas])[::-1]
    if not mostly.size:
        return 0
    return int(np.searchsorted(mostly.cumsum(), 0.9 * mostly.sum()) + 1)
