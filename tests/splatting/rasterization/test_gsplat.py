"""The gsplat adapter, with gsplat's own PyTorch functions in the place of its CUDA kernels."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import pytest
import torch

from gradiseg_core.errors import BackendUnavailableError
from gradiseg_core.splatting.rasterization import reference
from gradiseg_core.splatting.rasterization.gsplat import GsplatRasterizer
from gradiseg_core.splatting.rasterization.registry import get_rasterizer
from tests.splatting.rasterization.scenes import (
    PARAMETERS,
    Scene,
    make_scene,
    relative_error,
    weighted_sum,
)

MODES = [
    {"packed": False, "channels": "padded"},
    {"packed": False, "channels": "split"},
    {"packed": True, "channels": "padded"},
    {"packed": True, "channels": "split"},
]


@pytest.fixture(scope="module")
def operations():
    pytest.importorskip("gsplat", reason="needs gsplat (Python part): pip install gsplat")
    from benchmarks.gsplat_on_cpu import operations

    return operations()


def render(rasterizer, scene: Scene, **changes):
    leaves = {k: v.clone().requires_grad_() for k, v in scene.gaussians.items()}
    options = {"background": scene.background, "with_depth": True, **changes}
    return rasterizer(**leaves, **scene.camera, **options), leaves


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("degree", [0, 3])
def test_adapter_is_the_reference(operations, mode, degree) -> None:
    scene = make_scene(150, scale=0.1)
    scene.camera["sh_degree"] = degree
    ours, leaves = render(GsplatRasterizer(operations=operations, **mode), scene)
    truth, true_leaves = render(reference.rasterize, scene)
    assert (truth.radii == 0).any()  # some are culled, so that packed mode packs
    assert torch.equal(ours.radii, truth.radii)
    assert ours.radii.dtype == torch.int32
    for name in ("color", "identity", "alpha", "depth"):
        # gsplat's constants of the harmonics have 7 digits more or less
        torch.testing.assert_close(getattr(ours, name), getattr(truth, name), rtol=1e-6, atol=1e-6)
    seen = truth.radii > 0
    torch.testing.assert_close(ours.means2d[seen], truth.means2d[seen])
    weighted_sum(ours).backward()
    weighted_sum(truth).backward()
    assert ours.means2d.grad.shape == (150, 2)
    assert relative_error(ours.means2d.grad, truth.means2d.grad) < 1e-6
    assert (ours.means2d.grad[~seen] == 0).all()
    for name in PARAMETERS:
        got, expected = leaves[name].grad, true_leaves[name].grad
        if expected is None:
            assert (got == 0).all()  # shN at degree 0
            continue
        assert relative_error(got, expected) < 1e-6, name


def test_identities_alone_reach_geometry(operations) -> None:
    scene = make_scene(60, scale=0.1)
    for mode in MODES:
        ours, leaves = render(GsplatRasterizer(operations=operations, **mode), scene)
        truth, true_leaves = render(reference.rasterize, scene)
        for rendering in (ours, truth):
            rendering.identity.square().sum().backward()
        for name in ("means", "quats", "scales", "opacities", "identities"):
            assert true_leaves[name].grad.abs().sum() > 0
            assert relative_error(leaves[name].grad, true_leaves[name].grad) < 1e-6


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_share_of_the_identitys_gradient(operations, mode, share) -> None:
    scene = make_scene(60, scale=0.1)
    calls: list[int] = []

    def counted(*arguments, **options):
        calls.append(arguments[2].shape[-1])
        return operations.rasterize_to_pixels(*arguments, **options)

    projections: list[int] = []

    def projected(*arguments, **options):
        projections.append(1)
        return operations.project(*arguments, **options)

    watched = replace(operations, rasterize_to_pixels=counted, project=projected)
    rasterizer = GsplatRasterizer(operations=watched, **mode)
    ours, leaves = render(rasterizer, scene, identity_geometry=share)
    assert (calls, len(projections)) == ([4, 16], 1)  # colour and depth, identities
    truth, true_leaves = render(reference.rasterize, scene, identity_geometry=share)
    for name in ("color", "identity", "alpha", "depth"):
        torch.testing.assert_close(getattr(ours, name), getattr(truth, name), rtol=1e-6, atol=1e-6)
    weighted_sum(ours).backward()
    weighted_sum(truth).backward()
    assert relative_error(ours.means2d.grad, truth.means2d.grad) < 1e-6
    for name in PARAMETERS:
        got, expected = leaves[name].grad.to_dense(), true_leaves[name].grad
        assert relative_error(got, expected) < 1e-6, name


def nodes_behind(tensor: torch.Tensor) -> set[str]:
    """Return the names of all nodes of the graph behind a tensor."""
    names, left, seen = set(), [tensor.grad_fn], set()
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        names.add(node.name())
        left += [following for following, _ in node.next_functions]
    return names


@pytest.mark.parametrize("channels", ["padded", "split"])
def test_packed_mode_gathers_without_a_sort_in_its_backward_pass(operations, channels) -> None:
    """The gradient of values[ids] is index_put_(accumulate=True), which sorts on a GPU."""
    scene = make_scene(40)
    blended: list[torch.Tensor] = []

    # The stand-ins index in their own ways: the graph ends where they begin.
    def project(*arguments, **options):
        results = operations.project(*arguments, **options)
        return [r.detach().requires_grad_() if r is not None and r.is_floating_point() else r
                for r in results]  # fmt: skip

    def harmonics(degree, directions, coefficients, masks):
        return directions + coefficients[:, 0]

    def blend(*arguments, **options):
        blended.extend(arguments[:4])
        return operations.rasterize_to_pixels(*arguments, **options)

    watched = replace(
        operations, project=project, spherical_harmonics=harmonics, rasterize_to_pixels=blend
    )
    render(GsplatRasterizer(operations=watched, packed=True, channels=channels), scene)
    gathered = [nodes_behind(tensor) for tensor in blended]
    assert not any("IndexBackward0" in nodes for nodes in gathered)
    # Centres, opacities, colours and identities are gathered; conics are the projection's.
    calls = 1 if channels == "padded" else 2
    assert sum("IndexSelectBackward0" in nodes for nodes in gathered) == 3 * calls


def test_without_background_or_depth(operations) -> None:
    scene = make_scene(40)
    for mode in MODES:
        rasterizer = GsplatRasterizer(operations=operations, **mode)
        ours, _ = render(rasterizer, scene, background=None, with_depth=False)
        truth, _ = render(reference.rasterize, scene, background=None, with_depth=False)
        assert ours.depth is None
        torch.testing.assert_close(ours.color, truth.color, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(ours.identity, truth.identity, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", MODES[:2])
def test_colour_alone(operations, mode) -> None:
    scene = make_scene(40)
    scene.gaussians["identities"] = scene.gaussians["identities"][:, :0]
    ours, _ = render(GsplatRasterizer(operations=operations, **mode), scene, with_depth=False)
    truth, _ = render(reference.rasterize, scene, with_depth=False)
    assert ours.identity.shape == (*ours.alpha.shape, 0)
    torch.testing.assert_close(ours.color, truth.color, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("packed", [False, True])
def test_absgrad_reaches_every_gaussians_row_and_frees_the_graph(operations, packed) -> None:
    scene = make_scene(60, scale=0.1)
    rasterizer = GsplatRasterizer(
        operations=operations, packed=packed, absgrad=True, channels="padded"
    )
    rendering, _ = render(rasterizer, scene)
    weighted_sum(rendering).backward()
    # The stand-in's absolute gradient is that of the sum over pixels.
    torch.testing.assert_close(rendering.means2d.absgrad, rendering.means2d.grad.abs())
    assert (rendering.means2d.absgrad > 0).any()
    watched = weakref.ref(rendering.means2d)
    del rendering
    gc.collect()
    assert watched() is None


def test_without_gradients_nothing_is_recorded(operations) -> None:
    scene = make_scene(20)
    with torch.no_grad():
        rendering, _ = render(
            GsplatRasterizer(operations=operations, absgrad=True, channels="padded"), scene
        )
    assert not rendering.color.requires_grad


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match="absgrad needs channels"):
        GsplatRasterizer(absgrad=True, channels="split")


def test_tensors_elsewhere_are_named(operations) -> None:
    scene = make_scene(5)
    scene.gaussians["scales"] = scene.gaussians["scales"].to("meta")
    with pytest.raises(ValueError, match=r"scales: .*takes tensors on cpu, got meta"):
        render(GsplatRasterizer(operations=operations), scene)


def test_missing_gsplat_says_how_to_get_it(monkeypatch) -> None:
    from gradiseg_core.compute import gsplat_build
    from gradiseg_core.splatting.rasterization import gsplat

    gsplat.published.cache_clear()
    monkeypatch.setattr(gsplat_build, "installed_version", lambda: None)
    with pytest.raises(BackendUnavailableError, match=r"pip install \"gsplat==1\.5\.3\""):
        get_rasterizer("cuda")
    monkeypatch.setattr(gsplat_build, "installed_version", lambda: "1.6.0")
    with pytest.raises(BackendUnavailableError, match=r"gsplat 1\.6\.0 is installed"):
        get_rasterizer("cuda")


def test_missing_gpu_is_an_error(monkeypatch) -> None:
    from gradiseg_core.compute import gsplat_build
    from gradiseg_core.splatting.rasterization import gsplat

    gsplat.published.cache_clear()
    monkeypatch.setattr(gsplat_build, "installed_version", lambda: gsplat_build.VERSION)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendUnavailableError, match=r"finds none here; set train\.device"):
        get_rasterizer("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("mode", [*MODES, {"packed": False, "channels": "padded", "absgrad": True}])
def test_gpu_is_the_cpu_core(mode) -> None:
    """Tolerances: float32 with -use_fast_math; jumps at alpha's threshold are counted."""
    scene = make_scene(5000, width=317, height=203, scale=0.03)
    ours, our_leaves = scene.render("cpu", torch.float32)
    leaves = {k: v.float().cuda().requires_grad_() for k, v in scene.gaussians.items()}
    camera = {k: v.float().cuda() if torch.is_tensor(v) else v for k, v in scene.camera.items()}
    rendering = get_rasterizer("cuda", **mode)(
        **leaves, **camera, background=scene.background.float().cuda(), with_depth=True
    )
    for name in ("color", "identity", "alpha"):
        theirs = getattr(rendering, name).detach().cpu()
        difference = (theirs - getattr(ours, name).detach()).abs()
        per_pixel = difference.reshape(203 * 317, -1).amax(dim=1)
        assert (per_pixel > 5e-4).float().mean() < 5e-3, name
    assert (rendering.radii.cpu() - ours.radii).abs().max() <= 1
    weighted_sum(ours).backward()
    generator = torch.Generator().manual_seed(7)
    total = torch.zeros((), device="cuda")
    depth = rendering.depth * rendering.alpha
    for image in (rendering.color, rendering.identity, rendering.alpha, depth):
        weights = torch.randn(image.shape, generator=generator, dtype=torch.float64).float()
        total = total + (image * weights.cuda()).sum()
    total.backward()
    for name in PARAMETERS:
        error = relative_error(leaves[name].grad.cpu(), our_leaves[name].grad)
        assert error < 5e-3, f"{name}: {error:.1e}"
    assert relative_error(rendering.means2d.grad.cpu(), ours.means2d.grad) < 5e-3
    if mode.get("absgrad"):
        assert (rendering.means2d.absgrad >= rendering.means2d.grad.abs() * 0.999 - 1e-5).all()
