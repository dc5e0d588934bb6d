"""Makes one ID map of masks that overlap, as SAM's do: a handle, its mug, the table below.

Masks are laid over one another in an order, and each pixel takes the uppermost. An order of sizes
decides what an object is: with the largest on top, parts vanish in their wholes; with the smallest
on top, wholes are what their parts leave over. A mask that is mostly covered in this way is
dropped, since what is left of it is a fringe, not an object. Its pixels are then without a segment:
they are not given to the mask below, which lost them for the same reason.

This is what DEVA's demo does with SAM's masks, which Gaussian Grouping runs with small objects
suppressed (`largest`); without that option the demo prefers the smaller (`smallest`) and drops
nothing. It decides on masks reduced to a shorter side of 480 px, softened by the reduction; here
the masks are as sharp and as large as SAM gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rule = Literal["largest", "smallest", "confident"]


def flatten(
    mask: Callable[[int], NDArray[np.bool_]],
    areas: Sequence[float],
    scores: Sequence[float],
    shape: tuple[int, int],
    *,
    rule: Rule,
    min_visible: float,
    min_area: float,
) -> NDArray[np.int32]:  # [H, W]
    """Return the ID map of n overlapping masks.

    Args:
        mask: Gives the mask of an index 0..n-1, [H, W]. Masks are asked for one by one, so that
            hundreds of them need not lie in memory at once.
        areas: Area of each mask, px.
        scores: Confidence of each mask.
        shape: (H, W).
        rule: What lies on top: the `largest`, the `smallest`, or the most `confident` mask; the
            earlier of two equal ones.
        min_visible: A mask of which less than this share stays visible is dropped, 0..1. Of no
            effect with `smallest`, where a whole is rightly covered by its parts.
        min_area: A mask that shows fewer pixels is dropped.

    Returns:
        IDs 1..m in the order of the masks that are left, 0 where none lies.
    """
    count = len(areas)
    owner = np.zeros(shape, np.int32)
    for index in _bottom_to_top(np.asarray(areas), np.asarray(scores), rule).tolist():
        owner[mask(index)] = index + 1
    visible = np.bincount(owner.ravel(), minlength=count + 1)[1:]
    share = 0.0 if rule == "smallest" else min_visible
    keep = (visible > 0) & (visible >= min_area) & (visible >= share * np.asarray(areas))
    number = np.zeros(count + 1, np.int32)
    number[1:][keep] = np.arange(1, keep.sum() + 1)
    return number[owner]


def _bottom_to_top(areas: NDArray, scores: NDArray, rule: Rule) -> NDArray[np.int64]:
    key = {"largest": areas, "smallest": -areas, "confident": scores}[rule]
    return np.lexsort((-np.arange(len(key)), key))  # of two equal ones the earlier comes last
