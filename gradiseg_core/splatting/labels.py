"""Labels of pixels from blended probabilities of single Gaussians.

Notation: classifier F, encodings e_i, blending weights w_i of a pixel (Eq. 2). Gaussian Grouping
and the paper classify the blend, F(sum_i w_i e_i). Where two objects meet, the blend of their
encodings can lie in the region of a third class, and a seam of a foreign label appears. Here every
Gaussian is classified and the probabilities are blended, sum_i w_i F(e_i): only what some Gaussian
of the pixel believes can win.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gradiseg_core.splatting.losses.identity import IdentityClassifier

CHANNELS = 16  # classes blended in one pass: a size that all rasterizers are compiled for
KEPT = 4  # most probable classes kept of a pixel: no more can exceed Gaussian Grouping's 0.2
_CHUNK = 65536  # Gaussians classified at once


@torch.no_grad()
def most_probable(
    identities: Tensor,
    classifier: IdentityClassifier,
    blend: Callable[[Tensor], tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor]:
    """Blend the probabilities of all classes and keep each pixel's most probable ones.

    Classes are blended in groups, so that [H, W, C] never exists.

    Args:
        identities: [N, D] encodings.
        classifier: F.
        blend: Renders one view with [N, 16] values in place of encodings, to [H, W, 16], and to
            alpha [H, W].

    Returns:
        [H, W, K] int64 classes and [H, W, K] probabilities, K = min(4, C), the largest first. What
        no Gaussian covers is background (ID 0).
    """
    num_classes = classifier.num_classes
    best: Tensor | None = None
    classes: Tensor | None = None
    for first in range(0, num_classes, CHANNELS):
        count = min(CHANNELS, num_classes - first)
        values = identities.new_zeros(len(identities), CHANNELS)
        for start in range(0, len(identities), _CHUNK):
            rows = slice(start, start + _CHUNK)
            chosen = classifier(identities[rows]).softmax(-1)[:, first : first + count]
            values[rows, :count] = chosen
        blended, alpha = blend(values)
        blended = blended[..., :count]
        if first == 0:
            blended[..., 0] += 1.0 - alpha
        names = torch.arange(first, first + count, device=blended.device).expand(blended.shape)
        if best is not None and classes is not None:
            blended, names = torch.cat([best, blended], -1), torch.cat([classes, names], -1)
        best, order = blended.topk(min(KEPT, blended.shape[-1]), dim=-1)
        classes = names.gather(-1, order)
    assert best is not None
    assert classes is not None
    return classes, best
