"""Projection, colour, lists and blending, by gsplat's kernels as the adapter calls them."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor

from benchmarks.gpu_parts.scenes import GpuScene
from benchmarks.gpu_parts.timing import Limit, Results
from gradiseg_core.splatting.rasterization.gsplat import (
    PROJECTION,
    TILE,
    GsplatRasterizer,
    Operations,
)

_F = 4  # bytes of a float32


def project(run: Operations, scene: GpuScene, leaves: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """Project all Gaussians: radii, means2d, depths, conics, each [1, N, ...]."""
    names = ("means", "quats", "scales", "opacities")
    means, quats, scales, opacities = (leaves[name] for name in names)
    return run.project(
        means, None, quats, scales, scene.viewmat[None], scene.K[None], scene.width, scene.height,
        **PROJECTION, packed=False, sparse_grad=False, calc_compensations=False,
        opacities=opacities,
    )[:4]  # fmt: skip


def lists(run: Operations, scene: GpuScene, projected: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Return the tiles' offsets and the sorted Gaussians in them."""
    radii, means2d, depths, _ = projected
    tiles = ceil(scene.width / TILE), ceil(scene.height / TILE)
    _, keys, flat = run.isect_tiles(
        means2d, radii, depths, TILE, *tiles, packed=False, n_images=1, image_ids=None,
        gaussian_ids=None,
    )  # fmt: skip
    offsets = run.isect_offset_encode(keys, 1, *tiles)
    return offsets.reshape(1, tiles[1], tiles[0]), flat


def measure(results: Results, run: Operations, scene: GpuScene) -> None:
    """Measure every step of a pass, and whole passes forward and backward."""
    count, pixels = len(scene), scene.pixels
    leaves = scene.leaves()
    geometry = [leaves[name] for name in ("means", "quats", "scales")]

    def projection() -> object:
        _, means2d, depths, conics = project(run, scene, leaves)
        outputs = (means2d, depths, conics)
        return torch.autograd.grad(outputs, geometry, [torch.ones_like(o) for o in outputs])

    moved = count * _F * (11 + 8 + 11 + 8 + 6 + 10)
    note = "parameters and results read and written once forward, once backward, gradients once"
    results.measure("projection", scene.name, "gsplat", projection, Limit(moved, note=note))

    with torch.no_grad():
        projected = tuple(part.detach() for part in project(run, scene, leaves))
    visible = (projected[0][0] > 0).all(dim=-1)

    def colour() -> object:
        coefficients = torch.cat([leaves["sh0"], leaves["shN"]], dim=1)
        colors = run.spherical_harmonics(3, leaves["means"], coefficients, masks=visible)
        inputs = [leaves["sh0"], leaves["shN"], leaves["means"]]
        return torch.autograd.grad(colors, inputs, torch.ones_like(colors))

    moved = count * _F * (48 * 3 + 3 * 4)
    note = "coefficients read twice, their gradients written once; joining them costs more"
    results.measure("colour", scene.name, "gsplat", colour, Limit(moved, note=note))

    offsets, flat = lists(run, scene, projected)
    sort = Limit(len(flat) * 12 * 2, note=f"{len(flat)} pairs of 12 bytes written and read once")
    results.measure("lists", scene.name, "gsplat", lambda: lists(run, scene, projected), sort)

    for code, blend in _blends(run, scene, projected, (offsets, flat)).items():
        channels = 3 if code == "colour alone" else 19
        # Each pair is looked at by the 256 pixels of its tile: the exponential and the blending
        # forward, twice that backward.
        flop = len(flat) * TILE * TILE * (14 + 2 * channels) * 3
        moved = (pixels * _F * (channels + 1) * 2) + len(flat) * _F * (6 + channels) * 2
        note = "every pair at every pixel of its tile, no early stop: may be beaten"
        results.measure("blending", scene.name, code, blend, Limit(moved, flop, note))

    for code, whole in whole_passes(run, scene).items():
        results.measure("whole pass", scene.name, code, whole)


def _blends(
    run: Operations, scene: GpuScene, projected: tuple[Tensor, ...], tiles: tuple[Tensor, Tensor]
) -> dict[str, Callable[[], object]]:
    _, means2d, _, conics = projected
    count = len(scene)
    means2d, conics = means2d.clone().requires_grad_(), conics.clone().requires_grad_()
    opacities = scene.gaussians["opacities"][None].clone().requires_grad_()
    features = torch.rand(1, count, 19, device=means2d.device)

    def code(*parts: Tensor) -> Callable[[], object]:
        leaves = [part.clone().requires_grad_() for part in parts]

        def blend() -> object:
            images = []
            for leaf in leaves:
                images += run.rasterize_to_pixels(
                    means2d, conics, leaf, opacities, scene.width, scene.height, TILE, *tiles,
                    backgrounds=None, packed=False, absgrad=False,
                )  # fmt: skip
            inputs = [means2d, conics, opacities, *leaves]
            return torch.autograd.grad(images, inputs, [torch.ones_like(i) for i in images])

        return blend

    color, identity = features[..., :3].contiguous(), features[..., 3:].contiguous()
    return {
        "colour alone": code(color),
        "19 padded to 32": code(features),
        "3 and 16": code(color, identity),
    }


def whole_passes(run: Operations, scene: GpuScene) -> dict[str, Callable[[], object]]:
    """Return whole passes: ours in three ways, colour alone, and two passes."""
    leaves = scene.leaves()
    order = [name for name in leaves if name != "identities"] + ["identities"]
    inputs = [leaves[name] for name in order]

    def ours(**options: object) -> Callable[[], object]:
        rasterizer = GsplatRasterizer(operations=run, **options)  # type: ignore[arg-type]

        def render() -> object:
            rendering = rasterizer(**leaves, **scene.camera, sh_degree=3)
            images = (rendering.color, rendering.identity)
            return torch.autograd.grad(images, inputs, [torch.ones_like(i) for i in images])

        return render

    def colour() -> object:
        image = colour_pass(run, scene, leaves)
        return torch.autograd.grad(image, inputs[:-1], torch.ones_like(image))

    def twice() -> object:
        images = (colour_pass(run, scene, leaves), identity_pass(run, scene, leaves))
        return torch.autograd.grad(images, inputs, [torch.ones_like(i) for i in images])

    return {
        "padded": ours(channels="padded"),
        "split": ours(channels="split"),
        "split, packed": ours(channels="split", packed=True),
        "colour alone": colour,
        "two passes": twice,
    }


def colour_pass(run: Operations, scene: GpuScene, leaves: dict[str, Tensor]) -> Tensor:
    """Render colour and nothing else."""
    without = leaves | {"identities": leaves["identities"][:, :0].detach()}
    return GsplatRasterizer(operations=run)(**without, **scene.camera, sh_degree=3).color


def identity_pass(run: Operations, scene: GpuScene, leaves: dict[str, Tensor]) -> Tensor:
    """Render identities in a pass of their own, as a rasterizer of features would."""
    projected = project(run, scene, leaves)
    with torch.no_grad():
        tiles = lists(run, scene, tuple(part.detach() for part in projected))
    _, means2d, _, conics = projected
    image, _ = run.rasterize_to_pixels(
        means2d, conics, leaves["identities"][None], leaves["opacities"][None], scene.width,
        scene.height, TILE, *tiles, backgrounds=None, packed=False, absgrad=False,
    )  # fmt: skip
    return image[0]
