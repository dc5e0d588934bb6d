"""What makes a pixel: blending weights by ID, and by Gaussian.

Notation: w_i(p) is the weight with which Gaussian i is blended into pixel p (Eq. 1, 2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.cameras import Camera
from gradiseg_core.editing.rendering import in_sight, part_of, rasterized
from gradiseg_core.files.trained import TrainedScene
from gradiseg_core.splatting.labels import CHANNELS
from gradiseg_core.splatting.rasterization.interface import Rasterizer


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

    The gradient of a blended feature with respect to a Gaussian's own is its weight, so one pass
    backwards sums up all of them.

    Args:
        trained: The Gaussians.
        regions: [H, W, R] weight of every pixel in every region, R at most 16.
        camera: View in the training frame, of size (W, H).
        rasterizer: Any implementation of the interface.
    """
    rows = in_sight(trained, camera)
    part = part_of(trained, rows)
    features = trained.means.new_zeros(len(rows), CHANNELS).requires_grad_()
    count = regions.shape[-1]
    padded = torch.nn.functional.pad(regions.to(trained.means), (0, CHANNELS - count))
    with torch.enable_grad():
        result = rasterized(part, camera, rasterizer, features)
        (weights,) = torch.autograd.grad(result.identity, features, padded)
    total = trained.means.new_zeros(len(trained.means), count)
    return total.index_copy(0, rows, weights[:, :count].detach())
