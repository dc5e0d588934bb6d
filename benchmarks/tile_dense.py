"""A tile-dense rasterizer in plain PyTorch: what one writes without kernels, done well.

Every 16 x 16 tile evaluates all its Gaussians at all its pixels as dense tensors and leaves the
gradients to autograd. It serves as the baseline that can always run; the semantics are those of
``gradiseg_core.splatting.rasterization.interface``.
"""

from __future__ import annotations

import torch
from torch import Tensor

TILE = 16


def blend(
    means2d: Tensor,  # [N, 2]
    conics: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    features: Tensor,  # [N, C]
    depths: Tensor,  # [N]
    radii: Tensor,  # [N, 2]
    width: int,
    height: int,
) -> tuple[Tensor, Tensor]:
    """Return blended features [H, W, C] and the final transmittance [H, W]."""
    visible = (radii > 0).any(dim=1).nonzero()[:, 0]
    order = visible[torch.argsort(depths[visible].detach(), stable=True)]
    means2d, conics, opacities = means2d[order], conics[order], opacities[order]
    features = features[order]
    with torch.no_grad():
        low = means2d - radii[order]
        high = means2d + radii[order]
    offsets = torch.arange(TILE) + 0.5
    rows = []
    for y in range(0, height, TILE):
        in_row = ((high[:, 1] > y) & (low[:, 1] < y + TILE)).nonzero()[:, 0]
        tiles = []
        for x in range(0, width, TILE):
            hit = in_row[(high[in_row, 0] > x) & (low[in_row, 0] < x + TILE)]
            center, conic = means2d[hit], conics[hit]
            dx = (x + offsets)[None, None, :] - center[:, 0, None, None]  # [n, 1, TILE]
            dy = (y + offsets)[None, :, None] - center[:, 1, None, None]  # [n, TILE, 1]
            a, b, c = (conic[:, i, None, None] for i in range(3))
            sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
            alpha = (opacities[hit, None, None] * torch.exp(-sigma)).clamp(max=0.999)
            alpha = torch.where(alpha >= 1 / 255, alpha, 0.0).flatten(1)  # [n, TILE^2]
            after = torch.cumprod(1 - alpha, dim=0)
            alpha = torch.where(after > 1e-4, alpha, 0.0)
            after = torch.cumprod(torch.cat([torch.ones(1, TILE * TILE), 1 - alpha]), dim=0)
            blended = (alpha * after[:-1]).T @ features[hit]
            tiles.append(torch.cat([blended, after[-1, :, None]], dim=1).view(TILE, TILE, -1))
        rows.append(torch.cat(tiles, dim=1))
    image = torch.cat(rows)[:height, :width]
    return image[..., :-1], image[..., -1]
