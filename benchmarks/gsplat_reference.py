"""Blending by gsplat's own PyTorch reference, with the pairs that it needs found in PyTorch too.

gsplat's ``accumulate`` blends given (Gaussian, pixel) pairs; gsplat finds those with a CUDA kernel
only. :func:`find_pairs` is the same in plain PyTorch. Two ways were timed (10,000 Gaussians,
320 x 240, 3.47 million pairs, one thread of an AMD EPYC of family 26): dense tiles of 16 x 16, as
here, 0.32 s; every Gaussian's bounding box expanded by ``repeat_interleave`` and sorted by pixel,
0.87 s.
"""

from __future__ import annotations

import sys
import types

import torch
from torch import Tensor

TILE = 16


@torch.no_grad()
def find_pairs(
    means2d: Tensor,  # [N, 2]
    conics: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    depths: Tensor,  # [N]
    radii: Tensor,  # [N, 2]
    width: int,
    height: int,
) -> tuple[Tensor, Tensor]:
    """Return Gaussian [P] and pixel [P] of every contribution: by pixels, front to back in each.

    A pair contributes when alpha is at least 1/255 and the transmittance behind it over 1e-4.
    Pixels ascend within each tile, and come tile by tile.
    """
    visible = (radii > 0).any(dim=1).nonzero()[:, 0]
    order = visible[torch.argsort(depths[visible], stable=True)]
    center, opacity = means2d[order], opacities[order]
    a, b, c = conics[order].unbind(dim=1)
    low, high = center - radii[order], center + radii[order]
    gaussians, pixels = [], []
    for y0 in range(0, height, TILE):
        y = torch.arange(y0, min(y0 + TILE, height))
        in_row = ((high[:, 1] > y0) & (low[:, 1] < y0 + TILE)).nonzero()[:, 0]
        for x0 in range(0, width, TILE):
            x = torch.arange(x0, min(x0 + TILE, width))
            hit = in_row[(high[in_row, 0] > x0) & (low[in_row, 0] < x0 + TILE)]
            dx = (x + 0.5)[None, :, None] - center[hit, 0]  # [1, TILE, n]
            dy = (y + 0.5)[:, None, None] - center[hit, 1]  # [TILE, 1, n]
            sigma = 0.5 * (a[hit] * dx * dx + c[hit] * dy * dy) + b[hit] * dx * dy
            alpha = (opacity[hit] * torch.exp(-sigma)).clamp(max=0.999).flatten(0, 1)
            alpha = torch.where(alpha >= 1 / 255, alpha, 0.0)  # [TILE^2, n]
            after = torch.cumprod(1 - alpha, dim=1)
            pixel, position = ((alpha > 0) & (after > 1e-4)).nonzero().unbind(dim=1)
            gaussians.append(order[hit[position]])
            pixels.append((y[:, None] * width + x).flatten()[pixel])
    return torch.cat(gaussians), torch.cat(pixels)


def blend(
    means2d: Tensor,  # [N, 2]
    conics: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    features: Tensor,  # [N, C]
    gaussian: Tensor,  # [P]
    pixel: Tensor,  # [P]
    width: int,
    height: int,
) -> tuple[Tensor, Tensor]:
    """Return blended features [H, W, C] and the sum of weights [H, W] by gsplat's function."""
    from gsplat.cuda._torch_impl import accumulate

    _give_nerfacc()
    image, alpha = accumulate(
        means2d[None], conics[None], opacities[None], features[None],
        gaussian, pixel, torch.zeros_like(pixel), width, height,
    )  # fmt: skip
    return image[0], alpha[0, ..., 0]


def _give_nerfacc() -> None:
    """Provide the two functions of nerfacc that gsplat's reference imports, in plain PyTorch.

    Like nerfacc's, they need the pairs of a pixel to follow each other, and no order of pixels.
    """

    def render_weight_from_alpha(alphas, ray_indices, n_rays):  # type: ignore[no-untyped-def]
        logs = torch.log1p(-alphas)
        inclusive = torch.cumsum(logs.double(), dim=0)
        exclusive = inclusive - logs
        begins = torch.cat([torch.ones(1, dtype=torch.bool), ray_indices[1:] != ray_indices[:-1]])
        first = begins[: len(alphas)].nonzero()[:, 0]
        in_front = exclusive.new_zeros(n_rays).index_copy(0, ray_indices[first], exclusive[first])
        transmittance = torch.exp(exclusive - in_front[ray_indices]).float()
        return alphas * transmittance, transmittance

    def accumulate_along_rays(weights, values, ray_indices, n_rays):  # type: ignore[no-untyped-def]
        source = weights[:, None] if values is None else weights[:, None] * values
        return torch.zeros(n_rays, source.shape[1]).index_add(0, ray_indices, source)

    if "nerfacc" not in sys.modules:
        module = types.ModuleType("nerfacc")
        module.render_weight_from_alpha = render_weight_from_alpha  # type: ignore[attr-defined]
        module.accumulate_along_rays = accumulate_along_rays  # type: ignore[attr-defined]
        sys.modules["nerfacc"] = module
