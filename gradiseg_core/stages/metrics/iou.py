"""Intersection over union of binary masks and of their boundaries.

Notation: G is the true mask, P the predicted one, both [H, W]. The boundary of a mask is the part
that d erosions by a 3 x 3 square remove, with d = round(ratio x image diagonal). Everything outside
the image counts as empty, so a mask that the image border cuts has a boundary there.

Source: Boundary IoU (Cheng et al. 2021) with one boundary width for both masks, as in Gaussian
Grouping's evaluation of LERF-Mask. A quotient 0 / 0 is NaN; the aggregation decides how it counts
(:mod:`gradiseg_core.stages.metrics.aggregation`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def iou(
    prediction: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    ignored: NDArray[np.bool_] | None = None,
) -> float:
    """Return |P and G| / |P or G| over the pixels that are not ignored; NaN when both are empty.

    Raises:
        TypeError: If a mask is not boolean (a 0/255 mask must be thresholded first).
        ValueError: If the shapes differ.
    """
    _check(prediction, truth)
    if ignored is not None:
        prediction, truth = prediction & ~ignored, truth & ~ignored
    union = np.count_nonzero(prediction | truth)
    return np.count_nonzero(prediction & truth) / union if union else float("nan")


def boundary_width(height: int, width: int, ratio: float = 0.02) -> int:
    """Return d, px: ``ratio`` x image diagonal, rounded half to even, at least 1."""
    return max(1, round(ratio * float(np.sqrt(height**2 + width**2))))


def boundary(mask: NDArray[np.bool_], width_px: int) -> NDArray[np.bool_]:
    """Return the pixels of ``mask`` that ``width_px`` erosions by a 3 x 3 square remove.

    They equal one erosion by a square of side 2 d + 1, which separates into two minimum filters, so
    the cost does not grow with d.
    """
    from scipy.ndimage import minimum_filter1d

    eroded = mask.astype(np.uint8)
    for axis in (0, 1):
        eroded = minimum_filter1d(eroded, 2 * width_px + 1, axis=axis, mode="constant", cval=0)
    return mask & (eroded == 0)


def boundary_iou(
    prediction: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    ratio: float = 0.02,
    ignored: NDArray[np.bool_] | None = None,
) -> float:
    """Return the IoU of the two masks' boundaries; NaN when both are empty.

    In ignored pixels the truth is taken to be the prediction, so that neither has a boundary of its
    own along them; boundaries inside them do not count.

    Args:
        prediction: P.
        truth: G.
        ratio: Boundary width as a share of the image diagonal.
        ignored: [H, W]; None: none.

    Raises:
        TypeError: If a mask is not boolean.
        ValueError: If the shapes differ.
    """
    _check(prediction, truth)
    width_px = boundary_width(truth.shape[0], truth.shape[1], ratio)
    if ignored is not None:
        truth = np.where(ignored, prediction, truth)
    return iou(boundary(prediction, width_px), boundary(truth, width_px), ignored)


def _check(prediction: NDArray, truth: NDArray) -> None:
    if prediction.dtype != np.bool_ or truth.dtype != np.bool_:
        raise TypeError(f"masks must be boolean, got {prediction.dtype} and {truth.dtype}")
    if prediction.shape != truth.shape:
        raise ValueError(f"masks differ in shape: {prediction.shape} and {truth.shape}")
