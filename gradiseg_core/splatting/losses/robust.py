"""Weights that keep wrong masks from bending the scene (beyond the paper).

Cross-entropy's gradient at a pixel grows with the model's disagreement, so that the few views in
which an object is missed, merged or named otherwise pull hardest, and geometry gives way to them.
The generalised cross-entropy (Zhang and Sabuncu 2018) ``(1 - p^q) / q``, p the probability of the
mask's ID, has the gradient of cross-entropy times ``p^q``: with q = 0 it is cross-entropy, with
q = 1 the mean absolute error, which believes a label as far as the model does. Here it is that
weight, so that the fused identity head serves both.

Along outlines every model doubts, whatever the masks; weighing those pixels down as well costs
boundaries. What goes wrong in whole objects shows as a region in which mask and model disagree that
is wide, not a seam. :func:`wide_disagreement` finds those, so that they can be left out and a small
q, or none, does for the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from gradiseg_core.splatting.losses.identity import (
    IdentityClassifier,
    checked,
    identity_loss,
    label_map,
    label_probabilities,
    triton_loss,
)

_LEAST = 1e-6  # of a probability, so that its power is no denormal number; as in the Triton kernel


def robust_identity_loss(
    features: Tensor,  # [H, W, D]
    labels: Tensor,  # [H, W]
    classifier: IdentityClassifier,
    exponent: float,
    *,
    width_px: int = 0,
    pixel_weights: Tensor | None = None,
    backend: str = "cpu",
    in_range: bool = False,
) -> Tensor:
    """Return the identity loss with every pixel weighted by ``p^q``, over ln(C).

    Its gradient is that of the generalised cross-entropy; its value is the weighted cross-entropy,
    smaller than the plain one.

    Args:
        features: [H, W, D] blended encodings.
        labels: [H, W] integers in 0..C-1.
        classifier: F.
        exponent: q, from 0 (plain cross-entropy) to 1.
        width_px: Give the pixels of :func:`wide_disagreement` of that half width no weight; 0 gives
            all theirs.
        pixel_weights: [H, W], 0 (ignored) or 1; the mean goes over those of 1. None: all.
        backend: As for :func:`gradiseg_core.splatting.losses.identity.identity_loss`.
        in_range: As for :func:`gradiseg_core.splatting.losses.identity.identity_loss`.

    Returns:
        Scalar, differentiable with respect to features, weight and bias.

    Raises:
        ValueError: As :func:`gradiseg_core.splatting.losses.identity.identity_loss`.
    """
    if backend == "triton" and not width_px:  # its kernel has the probability at hand
        checked(features, labels, classifier, backend, in_range=in_range)
        return triton_loss(features, labels, classifier, pixel_weights, exponent)
    weights = agreement(features, labels, classifier, exponent, backend=backend, in_range=in_range)
    if width_px:
        disagreeing = label_map(features, classifier, backend=backend) != labels
        if pixel_weights is not None:
            disagreeing &= pixel_weights > 0
        weights = weights.masked_fill_(wide_disagreement(disagreeing, width_px), 0.0)
    if pixel_weights is not None:
        weights = weights * pixel_weights
    loss = identity_loss(
        features, labels, classifier, pixel_weights=weights, backend=backend, in_range=True
    )
    # Undo the division by the sum of the weights.
    if pixel_weights is None:
        return loss * weights.mean()
    return loss * (weights.sum() / pixel_weights.sum().clamp(min=1.0))


def reach_px(shape: Sequence[int], share: float) -> int:
    """Return a share of the diagonal of an image of (height, width) in whole pixels.

    At least 1, unless the share is 0.
    """
    return max(1, round(share * math.hypot(*shape))) if share else 0


def wide_disagreement(disagreeing: Tensor, width_px: int) -> Tensor:
    """Return where a disagreement is wide: where a square of 2 width + 1 pixels fits into it.

    To the middles of those squares belongs what disagrees within twice the width, so that a
    region's ragged edge goes with it. What lies beyond the image counts as disagreeing: a region is
    not thin because the image's border cuts it.

    Args:
        disagreeing: [H, W] bool.
        width_px: Half width of the square, at least 1.

    Returns:
        [H, W] bool, a part of ``disagreeing``.
    """
    middles = 1.0 - _spread((~disagreeing).float()[None, None], width_px)
    return (_spread(middles, 2 * width_px)[0, 0] > 0) & disagreeing


def _spread(mask: Tensor, width_px: int) -> Tensor:
    """Return the greatest of [1, 1, H, W] values within a square around each."""
    side = 2 * width_px + 1
    rows = max_pool2d(mask, (side, 1), stride=1, padding=(width_px, 0))
    return max_pool2d(rows, (1, side), stride=1, padding=(0, width_px))


@torch.no_grad()
def agreement(
    features: Tensor,  # [H, W, D]
    labels: Tensor,  # [H, W]
    classifier: IdentityClassifier,
    exponent: float,
    *,
    backend: str | None = None,
    in_range: bool = False,
) -> Tensor:
    """Return ``p^q`` for every pixel, [H, W], p being the probability of the pixel's own label.

    Args:
        features: [H, W, D] blended encodings.
        labels: [H, W] integers in 0..C-1.
        classifier: F.
        exponent: q, from 0 to 1.
        backend: As for :func:`gradiseg_core.splatting.losses.identity.label_probabilities`.
        in_range: As for :func:`gradiseg_core.splatting.losses.identity.label_probabilities`.

    Raises:
        ValueError: If a label has no class, or the encodings' length is not the classifier's.
    """
    own = label_probabilities(features, labels, classifier, backend=backend, in_range=in_range)
    return own.clamp_(min=_LEAST).pow_(exponent)
