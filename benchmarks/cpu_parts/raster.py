"""Projection with spherical harmonics, and blending, at 10,000 Gaussians, 320 x 240, 3 + 16."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks import tile_dense
from benchmarks.timing import Floor, Part
from gradiseg_core.cpu_runtime import get_threads, set_threads
from gradiseg_core.rasterization import cpu, reference
from gradiseg_core.rasterization.projection import ProjectAndColor, pack_camera

COUNT, WIDTH, HEIGHT, DIMS = 10_000, 320, 240, 16


@dataclass
class Splats:
    """A scene, and what projection makes of it."""

    gaussians: dict[str, Tensor]
    viewmat: Tensor
    K: Tensor
    projected: tuple[Tensor, ...]  # means2d, conics, depths, colors, radii
    v_image: Tensor  # [H, W, 3 + DIMS + 1], gradients of colour, identity, transmittance
    v_outputs: tuple[Tensor, ...]  # the same as three images


@functools.cache
def scene() -> Splats:
    """Return random Gaussians at the density of a trained scene (about 50 a pixel count)."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    focal = 0.9 * WIDTH
    K = torch.tensor([[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1]])
    z = 1.5 + 6.5 * uniform(COUNT)
    x = (uniform(COUNT) - 0.5) * 1.3 * WIDTH / focal * z
    y = (uniform(COUNT) - 0.5) * 1.3 * HEIGHT / focal * z
    gaussians = {
        "means": torch.stack([x, y, z], dim=1),
        "quats": normal(COUNT, 4),
        "scales": 0.042 * torch.exp(0.6 * normal(COUNT, 3)),
        "opacities": torch.sigmoid(1.5 * normal(COUNT)),
        "sh0": 0.5 * normal(COUNT, 1, 3),
        "shN": 0.2 * normal(COUNT, 15, 3),
        "identities": normal(COUNT, DIMS),
    }
    viewmat = torch.eye(4)
    six = [gaussians[k] for k in ("means", "quats", "scales", "opacities", "sh0", "shN")]
    projected = ProjectAndColor.apply(*six, pack_camera(viewmat, K, WIDTH, HEIGHT), 3)
    v_image = normal(HEIGHT, WIDTH, 3 + DIMS + 1)
    v_outputs = tuple(part.contiguous() for part in v_image.split((3, DIMS, 1), dim=-1))
    v_outputs = (*v_outputs[:2], v_outputs[2][..., 0].contiguous())
    return Splats(gaussians, viewmat, K, projected, v_image, v_outputs)


def _leaves(*tensors: Tensor) -> list[Tensor]:
    return [tensor.clone().requires_grad_() for tensor in tensors]


def project_codes() -> dict[str, Callable[[], object]]:
    """Return projection and colour, forward and backward, as kernels and in autograd."""
    data = scene()
    leaves = _leaves(
        *(data.gaussians[k] for k in ("means", "quats", "scales", "opacities", "sh0", "shN"))
    )
    means2d, conics, depths, colors, radii = data.projected
    weights = [torch.randn_like(t) for t in (means2d, conics, depths, colors)]
    seen = (radii > 0).any(dim=1)
    weights = [torch.where(seen.view(-1, *[1] * (w.ndim - 1)), w, 0.0) for w in weights]
    inputs = [leaf for i, leaf in enumerate(leaves) if i != 3]  # opacity only bounds

    def ours() -> object:
        camera = pack_camera(data.viewmat, data.K, WIDTH, HEIGHT)
        outputs = ProjectAndColor.apply(*leaves, camera, 3)
        return torch.autograd.grad(outputs[:4], inputs, weights)

    def autograd() -> object:
        means, quats, scales, opacities, sh0, shN = leaves
        view = (data.viewmat, data.K, WIDTH, HEIGHT)
        p = reference.project(means, quats, scales, opacities, *view)
        color = reference.colors_from_sh(means, sh0, shN, data.viewmat, 3)
        return torch.autograd.grad([p.means2d, p.conics, p.depths, color], inputs, weights)

    return {"ours": ours, "autograd": autograd}


def _run_ours(leaves: list[Tensor], data: Splats) -> object:
    """Blend forward and backward with the CPU core."""
    means2d, conics, colors, opacities, identities = leaves
    _, _, depths, _, radii = data.projected
    color, identity, transmittance = cpu.Blend.apply(
        means2d, conics, colors, opacities, identities, depths, radii, torch.zeros(3), WIDTH, HEIGHT
    )
    return torch.autograd.grad((color, identity, transmittance), leaves, data.v_outputs)


def _blend_leaves(data: Splats) -> list[Tensor]:
    means2d, conics, _, colors, _ = data.projected
    return _leaves(
        means2d, conics, colors, data.gaussians["opacities"], data.gaussians["identities"]
    )


def tile_dense_codes() -> dict[str, Callable[[], object]]:
    """Return blending, forward and backward, by the CPU core and tile by tile in PyTorch."""
    data = scene()
    leaves = _blend_leaves(data)
    _, _, depths, _, radii = data.projected

    def dense() -> object:
        means2d, conics, colors, opacities, identities = leaves
        features = torch.cat([colors, identities], dim=1)
        image, rest = tile_dense.blend(
            means2d, conics, opacities, features, depths, radii, WIDTH, HEIGHT
        )
        v = data.v_image
        return torch.autograd.grad((image, rest), leaves, (v[..., :-1], v[..., -1]))

    return {"ours": lambda: _run_ours(leaves, data), "tile-dense PyTorch": dense}


@functools.cache
def _pairs() -> tuple[Tensor, Tensor]:
    """Return (Gaussian, pixel) of every contribution, front to back within ascending pixels."""
    data = scene()
    means2d, conics, depths, _, radii = data.projected
    seen = (radii > 0).any(dim=1).nonzero()[:, 0]
    order = seen[torch.argsort(depths[seen], stable=True)]
    a, b, c = conics[order].unbind(-1)
    gaussians, pixels = [], []
    for chunk in torch.arange(WIDTH * HEIGHT).split(2048):
        dx = (chunk % WIDTH + 0.5)[:, None] - means2d[order, 0]
        dy = (chunk // WIDTH + 0.5)[:, None] - means2d[order, 1]
        sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
        alpha = (data.gaussians["opacities"][order] * torch.exp(-sigma)).clamp(max=0.999)
        counts = alpha >= 1 / 255
        after = torch.cumprod(torch.where(counts, 1 - alpha, 1.0), dim=1)
        pixel, position = (counts & (after > 1e-4)).nonzero().unbind(-1)
        gaussians.append(order[position])
        pixels.append(chunk[pixel])
    return torch.cat(gaussians), torch.cat(pixels)


def _give_nerfacc() -> None:
    """Provide the two functions of nerfacc that gsplat's reference imports, in plain PyTorch."""

    def render_weight_from_alpha(alphas, ray_indices, n_rays):  # type: ignore[no-untyped-def]
        logs = torch.log1p(-alphas)
        inclusive = torch.cumsum(logs.double(), dim=0)
        exclusive = inclusive - logs
        first = torch.searchsorted(ray_indices, torch.arange(n_rays)).clamp(max=len(alphas) - 1)
        transmittance = torch.exp(exclusive - exclusive[first][ray_indices]).float()
        return alphas * transmittance, transmittance

    def accumulate_along_rays(weights, values, ray_indices, n_rays):  # type: ignore[no-untyped-def]
        source = weights[:, None] if values is None else weights[:, None] * values
        return torch.zeros(n_rays, source.shape[1]).index_add(0, ray_indices, source)

    if "nerfacc" not in sys.modules:
        module = types.ModuleType("nerfacc")
        module.render_weight_from_alpha = render_weight_from_alpha  # type: ignore[attr-defined]
        module.accumulate_along_rays = accumulate_along_rays  # type: ignore[attr-defined]
        sys.modules["nerfacc"] = module


def gsplat_codes() -> dict[str, Callable[[], object]]:
    """Return blending by the CPU core and by gsplat's PyTorch reference ``accumulate``.

    gsplat finds its (Gaussian, pixel) pairs with a CUDA kernel, so they are given to it for free.
    """
    from gsplat.cuda._torch_impl import accumulate

    _give_nerfacc()
    data = scene()
    leaves = _blend_leaves(data)
    gaussian, pixel = _pairs()

    def gsplat() -> object:
        means2d, conics, colors, opacities, identities = leaves
        features = torch.cat([colors, identities], dim=1)
        image, alpha = accumulate(
            means2d[None], conics[None], opacities[None], features[None],
            gaussian, pixel, torch.zeros_like(pixel), WIDTH, HEIGHT,
        )  # fmt: skip
        v = data.v_image
        return torch.autograd.grad((image[0], alpha[0, ..., 0]), leaves, (v[..., :-1], -v[..., -1]))

    return {"ours": lambda: _run_ours(leaves, data), "gsplat's PyTorch reference": gsplat}


def thread_codes() -> dict[str, Callable[[], object]]:
    """Return blending with all threads, and with one."""
    data = scene()
    leaves = _blend_leaves(data)

    def one() -> object:
        before = get_threads()
        set_threads(1)
        try:
            return _run_ours(leaves, data)
        finally:
            set_threads(before)

    return {"ours": lambda: _run_ours(leaves, data), "one thread": one}


def blend_floor() -> Floor:
    """Count the operations that every contribution needs, forward and backward."""
    contributions = len(_pairs()[0])
    channels = 3 + DIMS
    # forward: alpha (about 20, exp2 included), transmittance (2), blending (2 a channel)
    # backward: alpha again, product with the pixel's gradient and the features' gradients (2 each
    # a channel), alpha's gradient and six moments (about 25)
    per_contribution = (20 + 2 + 2 * channels) + (20 + 4 * channels + 25)
    return Floor(
        contributions * per_contribution,
        f"{contributions / 1e6:.2f} M contributions x {per_contribution} operations",
    )


PARTS = [
    Part(
        name="projection + spherical harmonics",
        make=project_codes,
        targets={"autograd": 8.0},
        note="forward and backward, 10k Gaussians, degree 3, against the same in PyTorch autograd.",
    ),
    Part(
        name="rasterizer, against tile-dense PyTorch",
        make=tile_dense_codes,
        targets={"tile-dense PyTorch": 35.0},
        note="sorting and blending, forward and backward, 10k @ 320x240, 19 channels.",
        floor=blend_floor,
        max_rounds=10,
        quick=False,
    ),
    Part(
        name="rasterizer, against gsplat's PyTorch reference",
        make=gsplat_codes,
        targets={"gsplat's PyTorch reference": 100.0},
        note="as above; gsplat's lists of (Gaussian, pixel) pairs are given to it for free.",
        quick=False,
        max_rounds=5,
    ),
    Part(
        name="rasterizer, two threads against one",
        make=thread_codes,
        targets={"one thread": 1.6},
        note="as above, with and without the second thread.",
    ),
]
