"""What makes a pixel: blending weights by ID, and by Gaussian.

Notation: w_i(p) is the weight with which Gaussian i is blended into pixel p (Eq. 1, 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.cameras import Camera
from gradiseg_core.editing.rendering import in_sight, part_of, rasterized
from gradiseg_core.files.trained import TrainedScene
from gradiseg_core.splatting.labels import CHANNELS
from gradiseg_core.splatting.rasterization.interface import Rasterizer, Rendering


@torch.no_grad()
def weights_by_id(
    trained: TrainedScene,
    ids: NDArray[np.int64],
    present: Sequence[int],
    camera: Camera,
    rasterizer: Rasterizer,
) -> NDArray[np.float32]:
    """Return the summed weight of the Gaussians of every ID at every pixel, [H, W, I].

    Args:
        trained: The Gaussians.
        ids: [N] ID of every Gaussian.
        present: The I IDs to look at.
        camera: View in the training frame.
        rasterizer: Any implementation of the interface.
    """
    of_gaussian = torch.from_numpy(ids).to(trained.means.device)
    blended = []
    for first in range(0, len(present), CHANNELS):
        group = present[first : first + CHANNELS]
        features = trained.means.new_zeros(len(ids), CHANNELS)
        for channel, index in enumerate(group):
            features[:, channel] = of_gaussian == index
        result = rasterized(trained, camera, rasterizer, features)
        blended.append(result.identity[..., : len(group)].cpu().numpy())
    return np.concatenate(blended, axis=-1)


def weights_by_gaussian(
    trained: TrainedScene,
    regions: Tensor,
    camera: Camera,
    rasterizer: Rasterizer,
) -> Tensor:
    """Return the weight of every Gaussian summed over the pixels of regions, [N, R].

    Args:
        trained: The Gaussians.
        regions: [H, W, R] weight of every pixel in every region, R at most 16.
        camera: View in the training frame, of size (W, H).
        rasterizer: Any implementation of the interface.
    """
    _, rows, weights = seen_and_weighed(trained, lambda _: regions, camera, rasterizer)
    total = trained.means.new_zeros(len(trained.means), regions.shape[-1])
    return total.index_copy(0, rows, weights)


def seen_and_weighed(
    trained: TrainedScene,
    regions: Callable[[Rendering], Tensor],
    camera: Camera,
    rasterizer: Rasterizer,
    mask: Tensor | None = None,
) -> tuple[Rendering, Tensor, Tensor]:
    """Render a view, and sum up what each Gaussian makes of regions that the rendering tells.

    The gradient of a blended feature with respect to a Gaussian's own is its weight, so one pass
    backwards sums up all of them, whatever the features are.

    Args:
        trained: The Gaussians.
        regions: Gives [H, W, R] weights of pixels, R at most 16.
        camera: View in the training frame.
        rasterizer: Any implementation of the interface.
        mask: [N] bool; the rendering's first channel is what these make of each pixel.

    Returns:
        The rendering with depth, the rows [n] of Gaussians that the view may show, and the sums
        [n, R] of their weights.
    """
    rows = in_sight(trained, camera)
    part = part_of(trained, rows)
    features = trained.means.new_zeros(len(rows), CHANNELS)
    if mask is not None:
        features[:, 0] = mask[rows].to(features)
    features.requires_grad_()
    with torch.enable_grad():
        result = rasterized(part, camera, rasterizer, features, with_depth=True)
        wanted = regions(result).to(trained.means)
        padded = torch.nn.functional.pad(wanted, (0, CHANNELS - wanted.shape[-1]))
        (weights,) = torch.autograd.grad(result.identity, features, padded)
    return result, rows, weights[:, : wanted.shape[-1]].detach()
