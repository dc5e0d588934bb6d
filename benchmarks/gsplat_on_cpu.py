"""gsplat's own PyTorch functions in the place of its CUDA kernels, for machines without a GPU.

gsplat publishes slow PyTorch versions of its kernels (``gsplat.cuda._torch_impl``), with fewer
arguments. What they lack is added here: opacity-aware bounds as in ``ProjectionEWA3DGSFused.cu``,
packed results, ``absgrad``, the list of Gaussian-pixel pairs (CUDA only in
gsplat) and two helpers of nerfacc. Tests and ``benchmarks/gpu.py --smoke`` use them; tiny scenes
only.
"""

from __future__ import annotations

import sys
import types
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from gradiseg_core.splatting.rasterization.gsplat import Operations

MIN_ALPHA = 1.0 / 255.0


def operations() -> Operations:
    """Return the functions that the adapter takes in place of gsplat's CUDA code."""
    from gsplat.cuda import _torch_impl

    return Operations(
        project,
        lambda degree, dirs, coeffs, masks: _torch_impl._spherical_harmonics(degree, dirs, coeffs),
        isect_tiles,
        _torch_impl._isect_offset_encode,
        rasterize_to_pixels,
        device="cpu",
    )


def project(
    means: Tensor, covars: None, quats: Tensor, scales: Tensor, viewmats: Tensor, Ks: Tensor,
    width: int, height: int, *, eps2d: float, near_plane: float, far_plane: float,
    radius_clip: float, packed: bool, sparse_grad: bool, calc_compensations: bool,
    opacities: Tensor,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Stand in for ``fully_fused_projection``."""
    from gsplat.cuda import _torch_impl

    assert covars is None
    assert radius_clip == 0.0
    assert not calc_compensations
    assert not sparse_grad

    def run(means: Tensor, quats: Tensor, scales: Tensor) -> tuple[Tensor, ...]:
        matrices, _ = _torch_impl._quat_scale_to_covar_preci(quats, scales, compute_preci=False)
        return _torch_impl._fully_fused_projection(
            means, matrices, viewmats, Ks, width, height, eps2d, near_plane, far_plane
        )

    radii, means2d, depths, conics, _ = run(means, quats, scales)
    with torch.no_grad():
        # Wider than opacity-aware bounds, so that narrowing them afterwards is enough.
        xx, xy, yy = conics.unbind(-1)
        spread = torch.stack([yy, xx], dim=-1) / (xx * yy - xy * xy)[..., None]  # variances, px^2
        extent = torch.sqrt(2 * torch.log((opacities / MIN_ALPHA).clamp(min=1))).clamp(max=3.33)
        tight = torch.ceil(extent[None, :, None] * spread.sqrt())
        inside = (means2d + tight > 0) & (means2d - tight < means2d.new_tensor([width, height]))
        keep = (radii > 0).all(-1) & inside.all(-1) & (opacities >= MIN_ALPHA)
        radii = torch.where(keep[..., None], tight, 0.0).int()
    if not packed:
        return radii, means2d, depths, conics, None
    ids = (radii[0] > 0).all(-1).nonzero().squeeze(1)
    _, means2d, depths, conics, _ = run(means[ids], quats[ids], scales[ids])
    zeros = torch.zeros_like(ids, dtype=torch.int32)
    return zeros, zeros, ids.int(), radii[0, ids], means2d[0], depths[0], conics[0], None


def isect_tiles(
    means2d: Tensor, radii: Tensor, depths: Tensor, tile_size: int, tile_width: int,
    tile_height: int, *, packed: bool, n_images: int, image_ids: Tensor | None,
    gaussian_ids: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Stand in for ``isect_tiles`` of one image."""
    from gsplat.cuda import _torch_impl

    assert n_images == 1
    if packed:  # the lists then hold rows of the packed tensors
        assert image_ids is not None
        assert gaussian_ids is not None
        means2d, radii, depths = means2d[None], radii[None], depths[None]
    return _torch_impl._isect_tiles(means2d, radii, depths, tile_size, tile_width, tile_height)


def indices_in_range(
    range_start: int, range_end: int, transmittances: Tensor, means2d: Tensor, conics: Tensor,
    opacities: Tensor, image_width: int, image_height: int, tile_size: int,
    isect_offsets: Tensor, flatten_ids: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Stand in for ``rasterize_to_indices_in_range``: the contributing pairs, pixel by pixel."""
    assert range_start == 0  # one batch holds all
    tiles_y, tiles_x = isect_offsets.shape[-2:]
    ends = [*isect_offsets.flatten().tolist(), len(flatten_ids)]
    gaussians, pixels = [], []
    for tile in range(tiles_x * tiles_y):
        order = flatten_ids[ends[tile] : ends[tile + 1]].long()
        top, left = tile // tiles_x * tile_size, tile % tiles_x * tile_size
        rows, cols = torch.meshgrid(
            torch.arange(top, min(top + tile_size, image_height)),
            torch.arange(left, min(left + tile_size, image_width)),
            indexing="ij",
        )
        rows, cols = rows.reshape(-1), cols.reshape(-1)
        dx = cols[:, None] + 0.5 - means2d[0, order, 0]
        dy = rows[:, None] + 0.5 - means2d[0, order, 1]
        a, b, c = conics[0, order].unbind(-1)
        alpha = opacities[0, order] * torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
        alpha = alpha.clamp(max=0.999)
        counts = alpha >= MIN_ALPHA
        after = torch.cumprod(torch.where(counts, 1 - alpha, 1.0), dim=1)
        pixel, position = (counts & (after > 1e-4)).nonzero().unbind(-1)
        gaussians.append(order[position])
        pixels.append((rows * image_width + cols)[pixel])
    pixel = torch.cat(pixels)
    by_pixel = torch.argsort(pixel, stable=True)
    pixel = pixel[by_pixel]
    return torch.cat(gaussians)[by_pixel], pixel, torch.zeros_like(pixel)


def _weights(alphas: Tensor, ray_indices: Tensor, n_rays: int) -> tuple[Tensor, Tensor]:
    """Nerfacc's ``render_weight_from_alpha``: alpha_i times all earlier 1 - alpha of its ray."""
    logs = torch.log1p(-alphas)
    exclusive = torch.cumsum(logs, dim=0) - logs
    first = torch.searchsorted(ray_indices, torch.arange(n_rays)).clamp(max=len(alphas) - 1)
    transmittance = torch.exp(exclusive - exclusive[first][ray_indices])
    return alphas * transmittance, transmittance


def _along_rays(weights: Tensor, values: Tensor | None, ray_indices: Tensor, n_rays: int) -> Tensor:
    """Nerfacc's ``accumulate_along_rays``."""
    source = weights[:, None] if values is None else weights[:, None] * values
    return source.new_zeros(n_rays, source.shape[1]).index_add(0, ray_indices, source)


class _MarkAbsgrad(torch.autograd.Function):
    """Leaves a tensor as it is; in backward, notes the gradient's absolute value on it.

    gsplat sums absolute values over pixels. Here each value is the sum over pixels already, which
    is enough to test how the attribute travels, not its value.
    """

    @staticmethod
    def forward(ctx: Any, means2d: Tensor) -> Tensor:
        ctx.save_for_backward(means2d)
        return means2d.view_as(means2d)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (means2d,) = ctx.saved_tensors
        means2d.absgrad = gradient.abs()
        return gradient


def rasterize_to_pixels(
    means2d: Tensor, conics: Tensor, colors: Tensor, opacities: Tensor, image_width: int,
    image_height: int, tile_size: int, isect_offsets: Tensor, flatten_ids: Tensor, *,
    backgrounds: Tensor | None, packed: bool, absgrad: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Stand in for ``rasterize_to_pixels``."""
    from gsplat.cuda import _torch_impl, _wrapper

    if absgrad:
        means2d = _MarkAbsgrad.apply(means2d)
    if packed:
        means2d, conics, colors, opacities = (x[None] for x in (means2d, conics, colors, opacities))
    nerfacc = types.ModuleType("nerfacc")
    nerfacc.render_weight_from_alpha = _weights  # type: ignore[attr-defined]
    nerfacc.accumulate_along_rays = _along_rays  # type: ignore[attr-defined]
    with (
        mock.patch.dict(sys.modules, {"nerfacc": nerfacc}),
        mock.patch.object(_wrapper, "rasterize_to_indices_in_range", indices_in_range),
    ):
        return _torch_impl._rasterize_to_pixels(
            means2d, conics, colors, opacities, image_width, image_height, tile_size,
            isect_offsets, flatten_ids, backgrounds, batch_per_iter=1 << 20,
        )  # fmt: skip
