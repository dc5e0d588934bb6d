"""The 2D identity loss of blended probabilities (beyond the paper).

Gaussian Grouping and the paper blend encodings and classify the blend, F(sum_i w_i e_i). A blend
of two encodings can lie in a third class's region, and F may learn regions that no single Gaussian
lies in, so that pixels come out right of Gaussians that are wrong. Here F classifies every Gaussian
and a pixel's probabilities are sum_i w_i F(e_i), as :mod:`gradiseg_core.splatting.labels` reads
them.

Only the IDs in a view's own mask need a probability for each pixel; all others together have what
is left to 1. So few channels are blended, and [H, W, C] never exists.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradiseg_core.splatting.losses.identity import IdentityClassifier
from gradiseg_core.splatting.losses.robust import wide_disagreement

GROUP = 32  # channels that are blended at once
PADDED = 16  # zeros fill them up to a multiple of it: rasterizers are compiled for few
_LEAST = 1e-6  # of a probability


def class_channels(
    identities: Tensor,  # [N, D]
    classifier: IdentityClassifier,
    ids: Tensor,  # [I]
) -> Tensor:
    """Return what to blend in place of encodings: every Gaussian's probabilities of some IDs.

    Where no Gaussian is, there is background: what pixels are short of a coverage of 1 belongs to
    ID 0. Its channel holds F_0 - 1, so that :func:`blended_loss` only has to add 1.

    Args:
        identities: [N, D] encodings.
        classifier: F.
        ids: [I] int64, the view's IDs, ascending.

    Returns:
        [N, I], differentiable with respect to encodings and F.
    """
    return classifier(identities).softmax(-1)[:, ids] - (ids == 0).to(identities.dtype)


def blended_loss(
    blended: Tensor,  # [H, W, I]
    labels: Tensor,  # [H, W]
    ids: Tensor,  # [I]
    num_classes: int,
    *,
    exponent: float = 0.0,
    width_px: int = 0,
    pixel_weights: Tensor | None = None,
) -> Tensor:
    """Return cross-entropy of blended probabilities against the mask's IDs, over ln(C).

    Args:
        blended: [H, W, I], the blend of :func:`class_channels`.
        labels: [H, W] integers, all of them among ``ids`` (not checked: on a GPU it would wait).
        ids: [I] int64, ascending.
        num_classes: C.
        exponent: q; weighs every pixel by the q-th power of its own ID's probability, as
            :func:`gradiseg_core.splatting.losses.robust.robust_identity_loss` does.
        width_px: Give the pixels of :func:`.robust.wide_disagreement` of that half width no weight.
            A pixel disagrees where another ID of the mask, or all IDs that the mask lacks together,
            are more probable than its own. 0 gives all theirs.
        pixel_weights: [H, W], 0 (ignored) or 1; the mean goes over those of 1. None: all.

    Returns:
        Scalar, the mean over the pixels; differentiable with respect to ``blended``.
    """
    probs = blended + (ids == 0).to(blended.dtype)
    column = torch.searchsorted(ids, labels.to(ids.dtype))
    own = probs.gather(-1, column[..., None])[..., 0].clamp(_LEAST, 1.0)
    losses = -own.log()
    if exponent or width_px:
        with torch.no_grad():
            weights = own**exponent
            if width_px:
                others = torch.maximum(probs.amax(-1), 1.0 - probs.sum(-1))
                disagreeing = own < others
                if pixel_weights is not None:
                    disagreeing &= pixel_weights > 0
                weights.masked_fill_(wide_disagreement(disagreeing, width_px), 0.0)
        losses = weights * losses
    if pixel_weights is None:
        return losses.mean() / math.log(num_classes)
    total = pixel_weights.sum().clamp(min=1.0)
    return (losses * pixel_weights).sum() / total / math.log(num_classes)
