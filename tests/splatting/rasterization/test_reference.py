"""The reference itself: gradcheck, hand-computed values, and gsplat's own PyTorch functions."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from gradiseg_core.splatting.rasterization import reference
from gradiseg_core.splatting.rasterization.registry import get_rasterizer
from tests.splatting.rasterization.scenes import Scene, make_scene, place, relative_error

WINDOW = 64  # side of the garden's crop, px


def test_gradcheck() -> None:
    scene = make_scene(5, width=6, height=5, dims=2, scale=0.4)
    scene.gaussians["opacities"] = scene.gaussians["opacities"].clamp(0.3, 0.8)
    names = list(scene.gaussians)

    def render(*leaves: torch.Tensor) -> tuple[torch.Tensor, ...]:
        arguments = dict(zip(names, leaves, strict=True))
        rendering = reference.rasterize(
            **arguments, **scene.camera, background=scene.background, with_depth=True
        )
        return rendering.color, rendering.identity, rendering.alpha

    leaves = [value.clone().requires_grad_() for value in scene.gaussians.values()]
    assert torch.autograd.gradcheck(render, leaves, eps=1e-7, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_gradcheck_with_a_share_of_the_identitys_gradient(share: float) -> None:
    """Finite differences of images whose identity moves ``share`` as much with the geometry."""
    scene = make_scene(4, width=6, height=5, dims=2, scale=0.4)
    scene.gaussians["opacities"] = scene.gaussians["opacities"].clamp(0.3, 0.8)
    names = list(scene.gaussians)
    start = [value.clone() for value in scene.gaussians.values()]
    with torch.no_grad():
        still = scene.render("reference", torch.float64)[0].identity

    class Render(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *leaves):
            ctx.save_for_backward(*leaves)
            arguments = dict(zip(names, leaves, strict=True))
            moved = reference.rasterize(**arguments, **scene.camera, background=scene.background)
            values_moved = not torch.equal(leaves[-1], start[-1])
            part = 1.0 if values_moved else share
            return moved.color, still + part * (moved.identity - still)

        @staticmethod
        def backward(ctx, *gradients):
            leaves = [leaf.detach().requires_grad_() for leaf in ctx.saved_tensors]
            with torch.enable_grad():
                rendering = reference.rasterize(
                    **dict(zip(names, leaves, strict=True)), **scene.camera,
                    background=scene.background, identity_geometry=share,
                )  # fmt: skip
            images = (rendering.color, rendering.identity)
            return torch.autograd.grad(images, leaves, gradients)

    assert names[-1] == "identities"
    leaves = [value.clone().requires_grad_() for value in start]
    assert torch.autograd.gradcheck(Render.apply, leaves, eps=1e-7, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_one_gaussian_by_hand(name: str) -> None:
    # On the axis at depth 2, focal length 10: sigma = 0.3 * 10 / 2 = 1.5 px, plus the 0.3 px^2.
    pixel = torch.tensor([1.0, 0.0])  # offset of pixel (5, 4) from the centre (4.5, 4.5)
    alpha = 0.8 * math.exp(-0.5 * float(pixel @ pixel) / (1.5**2 + 0.3))
    rendering = get_rasterizer(name)(
        means=torch.tensor([[0.0, 0.0, 2.0]]),
        quats=torch.tensor([[2.0, 0.0, 0.0, 0.0]]),  # any length
        scales=torch.full((1, 3), 0.3),
        opacities=torch.tensor([0.8]),
        sh0=torch.tensor([[[1.0, 0.0, -9.0]]]),
        shN=torch.zeros(1, 15, 3),
        identities=torch.tensor([[1.0, -2.0]]),
        viewmat=torch.eye(4),
        K=torch.tensor([[10.0, 0, 4.5], [0, 10.0, 4.5], [0, 0, 1]]),
        width=9,
        height=9,
        sh_degree=0,
        background=torch.tensor([0.0, 1.0, 0.0]),
        with_depth=True,
    )
    color = torch.tensor([0.5 + 0.28209479, 0.5, 0.0])  # the last one clamped at 0
    expected = alpha * color + (1 - alpha) * torch.tensor([0.0, 1.0, 0.0])
    torch.testing.assert_close(rendering.color[4, 5], expected)
    torch.testing.assert_close(rendering.identity[4, 5], alpha * torch.tensor([1.0, -2.0]))
    torch.testing.assert_close(rendering.alpha[4, 5], torch.tensor(alpha))
    torch.testing.assert_close(rendering.depth[4, 5], torch.tensor(2.0))
    # sqrt(2 ln(0.8 * 255)) = 3.26 sigmas of sqrt(2.55) = 1.60 px
    assert rendering.radii.tolist() == [6]
    torch.testing.assert_close(rendering.means2d, torch.tensor([[4.5, 4.5]]))


@pytest.mark.parametrize("name", ["cpu", "reference"])
@pytest.mark.parametrize("nearest", [0, 1])
def test_nearer_gaussian_hides_the_farther_one(name: str, nearest: int) -> None:
    scene = make_scene(2, width=9, height=9)
    depths = [2.0, 3.0] if nearest == 0 else [3.0, 2.0]
    place(scene, slice(0, 2), torch.tensor([[0, 0, z] for z in depths], dtype=torch.float64))
    scene.gaussians["opacities"][:] = 0.6
    scene.gaussians["scales"][:] = 100.0  # constant over the image
    rendering, _ = scene.render(name, torch.float32)
    near, far = (scene.gaussians["identities"][i].float() for i in (nearest, 1 - nearest))
    expected = 0.6 * near + 0.4 * 0.6 * far
    torch.testing.assert_close(rendering.identity[4, 4].detach(), expected, rtol=1e-3, atol=1e-3)
    expected_depth = torch.tensor((0.6 * 2 + 0.24 * 3) / 0.84)
    torch.testing.assert_close(rendering.depth[4, 4].detach(), expected_depth, rtol=1e-3, atol=0)


# gsplat's functions are imported where used: the package is a development dependency only.


def gsplat_functions():
    return pytest.importorskip(
        "gsplat.cuda._torch_impl", reason="needs gsplat (Python part): pip install gsplat"
    )


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spherical_harmonics_are_gsplats(degree: int) -> None:
    gsplat = gsplat_functions()
    directions = torch.nn.functional.normalize(torch.randn(50, 3).double(), dim=-1)
    coefficients = torch.randn(50, (degree + 1) ** 2, 3).double()
    theirs = gsplat._spherical_harmonics(degree, directions, coefficients)
    ours = (reference.sh_basis(directions, degree)[..., None] * coefficients).sum(dim=1)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-7)


def gsplat_projection(scene: Scene, gaussians: dict[str, torch.Tensor]):
    gsplat = gsplat_functions()
    covariances, _ = gsplat._quat_scale_to_covar_preci(
        gaussians["quats"], gaussians["scales"], compute_preci=False
    )
    camera = scene.camera
    dtype = gaussians["means"].dtype
    radii, means2d, depths, conics, _ = gsplat._fully_fused_projection(
        gaussians["means"],
        covariances,
        camera["viewmat"].to(dtype)[None],
        camera["K"].to(dtype)[None],
        camera["width"],
        camera["height"],
    )
    return radii[0], means2d[0], depths[0], conics[0]


def our_projection(scene: Scene, gaussians: dict[str, torch.Tensor]) -> reference.Projection:
    camera = scene.camera
    names = ("means", "quats", "scales", "opacities")
    return reference.project(
        *(gaussians[name] for name in names),
        camera["viewmat"],
        camera["K"],
        camera["width"],
        camera["height"],
    )


def test_projection_is_gsplats() -> None:
    scene = make_scene(300, scale=0.2)
    scene.gaussians["opacities"][:] = 1.0  # gsplat's PyTorch code bounds at 3.33 sigma always
    leaves = {k: v.clone().requires_grad_() for k, v in scene.gaussians.items()}
    their_leaves = {k: v.clone().requires_grad_() for k, v in scene.gaussians.items()}
    ours = our_projection(scene, leaves)
    radii, means2d, depths, conics = gsplat_projection(scene, their_leaves)
    seen = ours.visible
    assert seen.sum() > 200
    assert ((radii > 0).all(dim=-1) & ~seen).float().mean() < 0.01  # 3.33 against 3.329 sigma
    assert (radii[seen] - ours.radii[seen]).abs().max() <= 1
    pairs = ((ours.means2d, means2d), (ours.depths, depths), (ours.conics, conics))
    for a, b in pairs:
        torch.testing.assert_close(a[seen], b[seen], rtol=1e-9, atol=1e-9)
    weights = [torch.randn_like(a[seen]) for a, _ in pairs]
    sum((a[seen] * w).sum() for (a, _), w in zip(pairs, weights, strict=True)).backward()
    sum((b[seen] * w).sum() for (_, b), w in zip(pairs, weights, strict=True)).backward()
    for name in ("means", "quats", "scales"):
        assert relative_error(leaves[name].grad, their_leaves[name].grad) < 1e-9


def intersections(means2d, conics, opacities, order, width: int, height: int):
    """Return gsplat's lists of (Gaussian, pixel) pairs, front to back within a pixel."""
    rows, cols = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([cols, rows], dim=-1).reshape(-1, 2) + 0.5
    dx, dy = (pixels[:, None] - means2d[order][None]).unbind(-1)
    a, b, c = conics[order].unbind(-1)
    sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
    alpha = (opacities[order] * torch.exp(-sigma)).clamp(max=0.999)
    counts = alpha >= 1 / 255
    after = torch.cumprod(torch.where(counts, 1 - alpha, 1.0), dim=1)
    pixel, position = (counts & (after > 1e-4)).nonzero().unbind(-1)
    return order[position], pixel


def accumulate_with_gsplat(monkeypatch, means2d, conics, opacities, features, order, size):
    """Blend with gsplat's ``accumulate``; its two helpers of nerfacc's are given here."""
    width, height = size
    gsplat = gsplat_functions()
    gaussian, pixel = intersections(
        means2d.detach(), conics.detach(), opacities.detach(), order, width, height
    )

    def render_weight_from_alpha(alphas, ray_indices, n_rays):
        # per ray: alpha_i prod_{j<i} (1 - alpha_j); rays are contiguous
        logs = torch.log1p(-alphas)
        inclusive = torch.cumsum(logs, dim=0)
        exclusive = inclusive - logs
        first = torch.searchsorted(ray_indices, torch.arange(n_rays))
        base = exclusive[first.clamp(max=len(alphas) - 1)]
        transmittance = torch.exp(exclusive - base[ray_indices])
        return alphas * transmittance, transmittance

    def accumulate_along_rays(weights, values, ray_indices, n_rays):
        source = weights[:, None] if values is None else weights[:, None] * values
        return torch.zeros(n_rays, source.shape[1], dtype=source.dtype).index_add(
            0, ray_indices, source
        )

    nerfacc = types.ModuleType("nerfacc")
    nerfacc.render_weight_from_alpha = render_weight_from_alpha
    nerfacc.accumulate_along_rays = accumulate_along_rays
    monkeypatch.setitem(sys.modules, "nerfacc", nerfacc)
    images = torch.zeros_like(gaussian)
    blended, alphas = gsplat.accumulate(
        means2d[None], conics[None], opacities[None], features[None],
        gaussian, pixel, images, width, height,
    )  # fmt: skip
    return blended[0], alphas[0, ..., 0]


def check_against_gsplat(monkeypatch, scene: Scene, tolerance: float, renderer: str, dtype) -> None:
    """Compare a whole rendering and its gradients with gsplat's functions chained together."""
    gsplat = gsplat_functions()
    width, height = scene.camera["width"], scene.camera["height"]
    theirs = {k: v.clone().requires_grad_() for k, v in scene.gaussians.items()}
    _, means2d, depths, conics = gsplat_projection(scene, theirs)
    seen = our_projection(scene, scene.gaussians).visible.nonzero()[:, 0]
    order = seen[torch.argsort(depths[seen].detach(), stable=True)]
    viewmat = scene.camera["viewmat"]
    directions = theirs["means"] - (-viewmat[:3, :3].T @ viewmat[:3, 3])
    coefficients = torch.cat([theirs["sh0"], theirs["shN"]], dim=1)
    colors = gsplat._spherical_harmonics(scene.camera["sh_degree"], directions, coefficients)
    features = torch.cat([(colors + 0.5).clamp(min=0), theirs["identities"]], dim=1)
    blended, alphas = accumulate_with_gsplat(
        monkeypatch, means2d, conics, theirs["opacities"], features, order, (width, height)
    )
    color = blended[..., :3] + (1 - alphas[..., None]) * scene.background
    rendering, leaves = scene.render(renderer, dtype)
    pairs = (
        (rendering.color, color),
        (rendering.identity, blended[..., 3:]),
        (rendering.alpha, alphas),
    )
    generator = torch.Generator().manual_seed(3)
    ours_total, their_total = 0, 0
    for a, b in pairs:
        different = ((a.double() - b).abs() > 2 * tolerance).float().mean()
        assert different <= 2e-3  # alpha's threshold
        weights = torch.randn(b.shape, generator=generator, dtype=torch.float64)
        ours_total = ours_total + (a * weights.to(dtype)).sum()
        their_total = their_total + (b * weights).sum()
    ours_total.backward()
    their_total.backward()
    for name, leaf in leaves.items():
        assert relative_error(leaf.grad, theirs[name].grad) < tolerance, name


@pytest.mark.parametrize(
    ("renderer", "dtype", "tolerance"),
    [("reference", torch.float64, 1e-6), ("cpu", torch.float32, 5e-5)],
)
def test_rendering_is_gsplats(monkeypatch, renderer, dtype, tolerance) -> None:
    scene = make_scene(150, scale=0.1)
    check_against_gsplat(monkeypatch, scene, tolerance, renderer, dtype)


def garden_scene(folder: Path, count: int) -> Scene:
    """Return points of Mip-NeRF 360's garden as Gaussians of about the points' spacing."""
    data = np.load(folder / "garden_points.npz")
    generator = torch.Generator().manual_seed(0)
    pick = torch.randperm(len(data["means3d"]), generator=generator)[:count]
    factor = WINDOW / int(data["width"])
    height = round(int(data["height"]) * factor)
    K = torch.from_numpy(data["Ks"][0]).double()
    K[:2] *= factor
    colors = torch.from_numpy(data["colors"]).double()[pick] / 255
    gaussians = {
        "means": torch.from_numpy(data["means3d"]).double()[pick],
        "quats": torch.randn(count, 4, generator=generator).double(),
        "scales": 0.02 * torch.exp(0.5 * torch.randn(count, 3, generator=generator).double()),
        "opacities": torch.sigmoid(torch.randn(count, generator=generator).double()),
        "sh0": ((colors - 0.5) / reference.SH_C0)[:, None],
        "shN": 0.05 * torch.randn(count, 15, 3, generator=generator).double(),
        "identities": torch.randn(count, 16, generator=generator).double(),
    }
    camera = {
        "viewmat": torch.from_numpy(data["viewmats"][0]).double(),
        "K": K,
        "width": WINDOW,
        "height": height,
        "sh_degree": 3,
    }
    gaussians = {k: v.float().double() for k, v in gaussians.items()}
    camera = {k: v.float().double() if torch.is_tensor(v) else v for k, v in camera.items()}
    return Scene(gaussians, camera, torch.ones(3, dtype=torch.float64))


def test_garden(shared_data: Path, monkeypatch) -> None:
    scene = garden_scene(shared_data, 4000)
    check_against_gsplat(monkeypatch, scene, 5e-5, "cpu", torch.float32)
