"""The CPU core against the float64 reference: forward and all gradients, ordinary and odd scenes.

Alpha's threshold at 1/255 and the stop at transmittance 1e-4 are jumps: a float32 value on the
other side of one changes a pixel by up to 1/255 of a Gaussian's feature. Pixels that differ by more
than rounding are therefore counted, and their share is bounded, instead of loosening tolerances.
"""

from __future__ import annotations

import pytest
import torch

from tests.splatting.rasterization.scenes import (
    PARAMETERS,
    Scene,
    make_scene,
    place,
    relative_error,
    weighted_sum,
)

FORWARD = 6e-5  # absolute; studies/cpu_core.md
GRADIENT = 3e-5  # relative L2; 4e-6 on larger scenes, small ones are less averaged
FLIPS = 2e-3  # share of pixels on the other side of a jump


def compare(
    scene: Scene, *, gradient: float = GRADIENT, forward: float = FORWARD, **changes: float
) -> None:
    """Check images, radii and gradients of one scene."""
    ours, our_leaves = scene.render("cpu", torch.float32, **changes)
    truth, true_leaves = scene.render("reference", torch.float64, **changes)
    height, width = scene.camera["height"], scene.camera["width"]
    dims = scene.gaussians["identities"].shape[1]
    assert ours.color.shape == (height, width, 3)
    assert ours.identity.shape == (height, width, dims)
    assert ours.alpha.shape == ours.depth.shape == (height, width)
    assert ours.radii.dtype == torch.int32
    different = (ours.radii != truth.radii).sum()  # ceil of a value at an integer
    assert different <= max(1, len(ours.radii) // 500)
    for name in ("color", "identity", "alpha"):
        difference = (getattr(ours, name).double() - getattr(truth, name)).abs()
        scale = max(1.0, float(getattr(truth, name).detach().abs().max()))
        per_pixel = difference.reshape(height * width, -1).amax(dim=1)
        assert (per_pixel > forward * scale).float().mean() <= FLIPS, name
        assert per_pixel.max() < 0.02 * scale, name
    covered = truth.alpha > 0.05  # depth divides by alpha
    difference = (ours.depth.double() - truth.depth)[covered].abs()
    assert (difference > 1e-3).float().mean() <= FLIPS if covered.any() else True
    weighted_sum(ours).backward()
    weighted_sum(truth).backward()
    assert relative_error(ours.means2d.grad, truth.means2d.grad) < gradient
    for name in PARAMETERS:
        true_gradient = true_leaves[name].grad
        if true_gradient is None:  # not used at all: shN at degree 0
            assert (our_leaves[name].grad == 0).all()
            continue
        error = relative_error(our_leaves[name].grad, true_gradient)
        assert error < gradient, f"{name}: {error:.1e}"


@pytest.mark.parametrize("seed", [0, 1])
def test_ordinary_scene(seed: int) -> None:
    compare(make_scene(seed=seed))


@pytest.mark.parametrize("dims", [8, 32])
def test_other_identity_sizes(dims: int) -> None:
    compare(make_scene(dims=dims))


@pytest.mark.parametrize("dims", [5, 16, 32])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_share_of_the_identitys_gradient(share: float, dims: int) -> None:
    compare(make_scene(dims=dims), identity_geometry=share)


def test_the_share_is_what_two_passes_would_give() -> None:
    """Images bit for bit; identities' gradient too; the geometry's without the identity's part."""
    scene = make_scene()
    generator = torch.Generator().manual_seed(3)

    def gradients(share: float, blended: tuple[str, ...]):
        rendering, leaves = scene.render("cpu", torch.float32, identity_geometry=share)
        generator.manual_seed(3)
        for name in ("color", "identity"):
            image = getattr(rendering, name)
            weights = torch.randn(image.shape, generator=generator)
            if name in blended:
                (image * weights).sum().backward(retain_graph=True)
        return rendering, leaves

    held, held_leaves = gradients(0.0, ("color", "identity"))
    whole, whole_leaves = gradients(1.0, ("color", "identity"))
    colour, colour_leaves = gradients(1.0, ("color",))
    assert torch.equal(held.color, whole.color)
    assert torch.equal(held.identity, whole.identity)
    assert torch.equal(held_leaves["identities"].grad, whole_leaves["identities"].grad)
    assert torch.equal(held.means2d.grad, colour.means2d.grad)
    for name in ("means", "quats", "scales", "opacities", "sh0", "shN"):
        assert torch.equal(held_leaves[name].grad, colour_leaves[name].grad), name
    assert not torch.equal(whole_leaves["means"].grad, colour_leaves["means"].grad)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (8, 8), (7, 17), (64, 16)])
def test_image_sizes(width: int, height: int) -> None:
    compare(make_scene(60, width=width, height=height, scale=0.3), gradient=1e-4)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_lower_sh_degrees(degree: int) -> None:
    scene = make_scene(80)
    scene.camera["sh_degree"] = degree
    compare(scene)


def test_behind_camera_and_around_the_near_plane() -> None:
    scene = make_scene()
    place(scene, slice(0, 40), torch.randn(40, 3).double() * torch.tensor([1.0, 1.0, -1.0]))
    near = torch.tensor([[0.0, 0.0, 0.0099], [0.001, 0.0, 0.0], [0.0, 0.0, -3.0]])
    place(scene, slice(40, 43), near.double())
    ours, leaves = scene.render("cpu", torch.float32)
    assert (ours.radii[40:43] == 0).all()
    compare(scene)
    weighted_sum(ours).backward()
    for name in PARAMETERS:
        assert (leaves[name].grad[40:43] == 0).all()
        assert leaves[name].grad.isfinite().all()
    assert (ours.means2d.grad[40:43] == 0).all()


def test_off_screen() -> None:
    scene = make_scene(40)
    aside = torch.tensor([[30.0, 0.0, 2.0], [0.0, -30.0, 2.0], [-9.0, 9.0, 1.0]]).double()
    place(scene, slice(0, 3), aside)
    ours, _ = scene.render("cpu", torch.float32)
    assert (ours.radii[:3] == 0).all()
    compare(scene)


def test_huge_gaussians() -> None:
    scene = make_scene(60)
    scene.gaussians["scales"][:8] = 20.0  # cover everything, tails beyond the frustum
    scene.gaussians["scales"][8:12, 0] = 2.0  # needles, 25 to 1; float32 limits longer ones
    compare(scene, gradient=1e-4)


def test_tiny_gaussians() -> None:
    scene = make_scene(300)
    scene.gaussians["scales"] *= 1e-5  # only the low-pass filter gives them a size
    compare(scene)


def test_opaque_stacks() -> None:
    scene = make_scene(200, scale=0.5)
    scene.gaussians["opacities"][:] = 0.9999  # capped at 0.999: pixels stop after two
    compare(scene, gradient=1e-4)
    truth, _ = scene.render("reference", torch.float64)
    assert truth.alpha.max() > 0.998


def test_faint_gaussians_are_culled() -> None:
    scene = make_scene(50)
    scene.gaussians["opacities"][:25] = 0.0039  # under 1/255
    ours, _ = scene.render("cpu", torch.float32)
    assert (ours.radii[:25] == 0).all()
    compare(scene, gradient=1e-4)


def test_equal_depths_keep_their_order() -> None:
    scene = make_scene(40, scale=0.4)
    place(scene, slice(0, 40), torch.tensor([[0.0, 0.0, 3.0]]).double().expand(40, 3))
    compare(scene, gradient=1e-4)


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_no_gaussians(name: str) -> None:
    scene = make_scene(0)
    rendering, leaves = scene.render(name, torch.float32)
    assert torch.equal(rendering.color, scene.background.float().expand(37, 53, 3))
    assert (rendering.alpha == 0).all()
    assert (rendering.depth == 0).all()
    weighted_sum(rendering).backward()
    assert leaves["means"].grad is None or leaves["means"].grad.shape == (0, 3)


def test_nothing_visible() -> None:
    scene = make_scene(10)
    place(scene, slice(0, 10), torch.tensor([[0.0, 0.0, -5.0]]).double().expand(10, 3))
    ours, leaves = scene.render("cpu", torch.float32)
    assert (ours.alpha == 0).all()
    weighted_sum(ours).backward()
    assert (leaves["opacities"].grad == 0).all()


def test_not_a_number_is_culled() -> None:
    scene = make_scene(20)
    scene.gaussians["means"][0] = float("nan")
    scene.gaussians["scales"][1] = float("nan")
    scene.gaussians["opacities"][2] = float("nan")
    ours, _ = scene.render("cpu", torch.float32)
    assert (ours.radii[:3] == 0).all()
    assert ours.color.isfinite().all()


def test_black_background_is_the_default() -> None:
    scene = make_scene(30)
    black, _ = scene.render("cpu", torch.float32, background=None)
    given, _ = scene.render("cpu", torch.float32, background=torch.zeros(3))
    assert torch.equal(black.color, given.color)


def test_without_depth() -> None:
    scene = make_scene(30)
    without, _ = scene.render("cpu", torch.float32, with_depth=False)
    with_depth, _ = scene.render("cpu", torch.float32)
    assert without.depth is None
    assert torch.equal(without.color, with_depth.color)


@pytest.mark.parametrize("output", ["color", "identity", "alpha", "depth"])
def test_each_output_alone(output: str) -> None:
    scene = make_scene(60)
    ours, our_leaves = scene.render("cpu", torch.float32)
    truth, true_leaves = scene.render("reference", torch.float64)
    if output == "depth":
        ours.depth, truth.depth = ours.depth * ours.alpha, truth.depth * truth.alpha
    getattr(ours, output)[3:30, 5:40].square().sum().backward()
    getattr(truth, output)[3:30, 5:40].square().sum().backward()
    for name in ("means", "quats", "scales", "opacities"):
        assert relative_error(our_leaves[name].grad, true_leaves[name].grad) < GRADIENT, name
