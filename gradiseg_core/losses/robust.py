"""Weights that keep wrong masks from bending the scene (beyond the paper).

Cross-entropy's gradient at a pixel grows with the model's disagreement, so that the few views in
which an object is missed, merged or named otherwise pull hardest, and geometry gives way to them.
The generalised cross-entropy (Zhang and Sabuncu 2018) ``(1 - p^q) / q``, p the probability of the
mask's ID, has the gradient of cross-entropy times ``p^q``: with q = 0 it is cross-entropy, with
q = 1 the mean absolute error, which believes a label as far as the model does. Here it is that
weight, so that the fused identity head serves both.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradiseg_core.losses.identity import (
    IdentityClassifier,
    checked,
    identity_loss,
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
    backend: str = "cpu",
) -> Tensor:
    """Return the identity loss with every pixel weighted by ``p^q``, over ln(C).

    Its gradient is that of the generalised cross-entropy; its value is the weighted cross-entropy,
    smaller than the plain one.

    Args:
        features: [H, W, D] blended encodings.
        labels: [H, W] integers in 0..C-1.
        classifier: F.
        exponent: q, from 0 (plain cross-entropy) to 1.
        backend: As for :func:`gradiseg_core.losses.identity.identity_loss`.

    Returns:
        Scalar, differentiable with respect to features, weight and bias.

    Raises:
        ValueError: As :func:`gradiseg_core.losses.identity.identity_loss`.
    """
    if backend == "triton":  # its kernel has the probability at hand
        checked(features, labels, classifier, backend)
        return triton_loss(features, labels, classifier, exponent=exponent)
    weights = agreement(features, labels, classifier, exponent, backend=backend)
    loss = identity_loss(features, labels, classifier, pixel_weights=weights, backend=backend)
    return loss * weights.mean()  # undo the division by the sum of the weights


@torch.no_grad()
def agreement(
    features: Tensor,  # [H, W, D]
    labels: Tensor,  # [H, W]
    classifier: IdentityClassifier,
    exponent: float,
    *,
    backend: str | None = None,
) -> Tensor:
    """Return ``p^q`` for every pixel, [H, W], p being the probability of the pixel's own label.

    Args:
        features: [H, W, D] blended encodings.
        labels: [H, W] integers in 0..C-1.
        classifier: F.
        exponent: q, from 0 to 1.
        backend: As for :func:`gradiseg_core.losses.identity.label_probabilities`.

    Raises:
        ValueError: If a label has no class, or the encodings' length is not the classifier's.
    """
    own = label_probabilities(features, labels, classifier, backend=backend)
    return own.clamp_(min=_LEAST).pow_(exponent)
