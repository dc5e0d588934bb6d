"""The baselines of ``benchmarks/cpu.py`` compute what the CPU core computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks import gsplat_reference, tile_dense
from gradiseg_core.splatting.rasterization import reference
from tests.splatting.rasterization.scenes import Scene, make_scene, relative_error


def by_gsplat(features: Tensor, p: reference.Projection, opacities: Tensor, size: tuple[int, int]):
    pairs = gsplat_reference.find_pairs(p.means2d, p.conics, opacities, p.depths, p.radii, *size)
    return gsplat_reference.blend(p.means2d, p.conics, opacities, features, *pairs, *size)[0]


def by_tiles(features: Tensor, p: reference.Projection, opacities: Tensor, size: tuple[int, int]):
    geometry = (p.means2d, p.conics, opacities)
    return tile_dense.blend(*geometry, features, p.depths, p.radii, *size)[0]


def image_and_gradients(scene: Scene, blend) -> list[Tensor]:
    """Return the rendering's colour and identity [H, W, C], and the gradients of its sine's sum."""
    if blend is None:
        rendering, leaves = scene.render("cpu", torch.float32, background=None, with_depth=False)
        image = torch.cat([rendering.color, rendering.identity], dim=-1)
    else:
        leaves = {k: v.float().requires_grad_() for k, v in scene.gaussians.items()}
        viewmat, K = (scene.camera[name].float() for name in ("viewmat", "K"))
        size = (scene.camera["width"], scene.camera["height"])
        geometry = (leaves[name] for name in ("means", "quats", "scales", "opacities"))
        projected = reference.project(*geometry, viewmat, K, *size)
        color = reference.colors_from_sh(leaves["means"], leaves["sh0"], leaves["shN"], viewmat, 3)
        features = torch.cat([color, leaves["identities"]], dim=1)
        image = blend(features, projected, leaves["opacities"], size)
    image.sin().sum().backward()
    return [image.detach(), *(leaf.grad for leaf in leaves.values())]


@pytest.mark.parametrize("blend", [by_gsplat, by_tiles])
@pytest.mark.parametrize("count", [150, 1])
def test_same_picture_and_gradients(blend, count: int) -> None:
    scene = make_scene(count, scale=0.15)
    ours = image_and_gradients(scene, None)
    theirs = image_and_gradients(scene, blend)
    assert ours[0].abs().max() > 0.1
    for a, b in zip(ours, theirs, strict=True):
        assert relative_error(a, b) < 2e-4
