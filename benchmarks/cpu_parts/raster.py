"""Projection with spherical harmonics, and blending, at 10,000 Gaussians, 320 x 240, 3 + 16."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks import gsplat_reference, tile_dense
from benchmarks.timing import Floor, Part
from gradiseg_core.compute.cpu_runtime import get_threads, set_threads
from gradiseg_core.splatting.rasterization import cpu, reference
from gradiseg_core.splatting.rasterization.projection import ProjectAndColor, pack_camera

COUNT, WIDTH, HEIGHT, DIMS = 10_000, 320, 240, 16
GSPLAT = "gsplat's PyTorch reference"


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
    """Return (Gaussian, pixel) of every contribution."""
    data = scene()
    means2d, conics, depths, _, radii = data.projected
    opacities = data.gaussians["opacities"]
    return gsplat_reference.find_pairs(means2d, conics, opacities, depths, radii, WIDTH, HEIGHT)


def gsplat_codes() -> dict[str, Callable[[], object]]:
    """Return blending by the CPU core and by gsplat's PyTorch reference ``accumulate``.

    What ``accumulate`` starts from, the list of (Gaussian, pixel) pairs, takes part of the time
    that our sorting into blocks takes. It is found within the timed region, and once ahead of it.
    """
    data = scene()
    leaves = _blend_leaves(data)
    _, _, depths, _, radii = data.projected
    given = _pairs()

    def blend(pairs: tuple[Tensor, Tensor]) -> object:
        means2d, conics, colors, opacities, identities = leaves
        features = torch.cat([colors, identities], dim=1)
        image, alpha = gsplat_reference.blend(
            means2d, conics, opacities, features, *pairs, WIDTH, HEIGHT
        )
        v = data.v_image
        return torch.autograd.grad((image, alpha), leaves, (v[..., :-1], -v[..., -1]))

    def find_and_blend() -> object:
        means2d, conics, _, opacities, _ = leaves
        return blend(
            gsplat_reference.find_pairs(means2d, conics, opacities, depths, radii, WIDTH, HEIGHT)
        )

    return {
        "ours": lambda: _run_ours(leaves, data),
        GSPLAT: find_and_blend,
        "the same, pairs for free": lambda: blend(given),
    }


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
        targets={GSPLAT: 100.0},
        note="as above. The target is read against gsplat's function with the pairs that it blends "
        "found in the timed region, as ours finds its lists; gsplat finds them by CUDA only, so "
        "this is our plain PyTorch. Free pairs: found ahead, the function alone.",
        packages=("gsplat",),
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
