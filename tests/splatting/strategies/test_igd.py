"""Algorithm 1 on scenes worked out by hand."""

from __future__ import annotations

import torch

from gradiseg_core.config.parts import Igd
from gradiseg_core.splatting.gaussians import Gaussians
from gradiseg_core.splatting.parts import Schedule
from gradiseg_core.splatting.rasterization.interface import Rendering
from gradiseg_core.splatting.strategies.igd import IgdStrategy, axis_across_boundary
from tests.splatting.gaussians.made import make, step


def strategy(**options: object) -> IgdStrategy:
    return IgdStrategy(
        Igd(**options),  # type: ignore[arg-type]
        Schedule(30_000),
        prune_opacity=0.005,
        extent=10.0,
        generator=torch.Generator().manual_seed(0),
    )


def scene(count: int = 10) -> Gaussians:
    gaussians = make(count)
    gaussians.params["opacities"].data.fill_(2.0)
    gaussians.params["scales"].data.fill_(-2.0)
    return gaussians


def view(gaussians: Gaussians, visible: list[int] | None = None) -> Rendering:
    empty = torch.zeros(4, 4)
    radii = torch.tensor(visible or [1] * len(gaussians), dtype=torch.int32)
    return Rendering(empty[..., None], empty[..., None], empty, torch.zeros(len(radii), 2), radii)


def give_gradient(gaussians: Gaussians, norms: list[float]) -> None:
    """Set dL/de_i to a vector of norm ``norms[i]``."""
    gradient = torch.zeros_like(gaussians.params["identities"])
    gradient[:, 0], gradient[:, 1] = 0.6 * torch.tensor(norms), 0.8 * torch.tensor(norms)
    gaussians.params["identities"].grad = gradient


def test_monitor_adds_gradient_norms_and_splits_those_above_tau() -> None:
    gaussians = scene()
    igd = strategy(threshold="absolute", tau=1.0, max_growth=10.0, split="longest_axis")
    # Two iterations of 0.6 each exceed tau = 1 only together; one of 0.9 does not.
    for iteration, norms in ((12_099, [0.6, 0.9, 0.1] + [0.0] * 7), (12_100, [0.6] + [0.0] * 9)):
        give_gradient(gaussians, norms)
        igd.step_post_backward(iteration, gaussians, view(gaussians))
    torch.testing.assert_close(gaussians.statistics["identity_gradient"][0], torch.tensor(1.2))
    step(gaussians)
    parent = {n: p.detach()[0].clone() for n, p in gaussians.params.items()}
    assert not igd.step_post_optimizer(12_099, gaussians)  # not due
    assert igd.step_post_optimizer(12_100, gaussians)
    assert len(gaussians) == 11
    # Gradient resetting: the children start at zero, all others keep what they have.
    monitor = gaussians.statistics["identity_gradient"]
    torch.testing.assert_close(monitor[:2], torch.tensor([0.9, 0.1]))
    assert not monitor[-2:].any()
    # Children copy everything but position and scale, and have no moments.
    for name in ("identities", "sh0", "shN", "opacities", "quats"):
        for child in (-1, -2):
            assert torch.equal(gaussians.params[name][child], parent[name])
            assert not gaussians.first_moment(name)[child].any()
        assert gaussians.first_moment(name)[:9].any()
    middle = gaussians.params["means"][-2:].mean(dim=0)
    torch.testing.assert_close(middle, parent["means"])


def test_transparent_and_oversized_are_pruned_before() -> None:
    gaussians = scene()
    gaussians.params["opacities"].data[3] = -7.0
    gaussians.params["scales"].data[4, 1] = 0.5  # exp(0.5) > 0.1 x extent 10
    igd = strategy(threshold="absolute", tau=1.0)
    give_gradient(gaussians, [0.0, 0.0, 0.0, 5.0, 5.0] + [0.0] * 5)
    igd.step_post_backward(12_100, gaussians, view(gaussians))
    assert igd.step_post_optimizer(12_100, gaussians)
    assert len(gaussians) == 8


def test_pruning_can_be_left_to_densification() -> None:
    gaussians = scene()
    gaussians.params["opacities"].data[3] = -7.0
    igd = strategy(threshold="absolute", tau=1.0, prune=False)
    give_gradient(gaussians, [0.0, 0.0, 0.0, 0.5, 5.0] + [0.0] * 5)
    igd.step_post_backward(12_100, gaussians, view(gaussians))
    assert igd.step_post_optimizer(12_100, gaussians)
    assert len(gaussians) == 11, "one split, none pruned"


def test_quantile_ranges_over_the_gaussians_in_view() -> None:
    gaussians = scene()
    igd = strategy(quantile=0.5, max_growth=10.0)
    give_gradient(gaussians, [1.0, 2.0, 3.0, 4.0] + [9.0] * 6)
    igd.step_post_backward(12_100, gaussians, view(gaussians, [1, 1, 1, 1] + [0] * 6))
    assert igd.select(gaussians).nonzero().flatten().tolist() == [2, 3]


def test_mean_monitor_divides_by_visits() -> None:
    gaussians = scene(2)
    igd = strategy(monitor="mean", threshold="absolute", tau=0.5, max_growth=10.0)
    for norms, visible in (([0.4, 0.7], [1, 1]), ([0.4, 0.0], [1, 0])):
        give_gradient(gaussians, norms)
        igd.step_post_backward(12_050, gaussians, view(gaussians, visible))
    assert igd.select(gaussians).tolist() == [False, True]


def test_growth_cap_keeps_the_strongest() -> None:
    gaussians = scene()
    igd = strategy(threshold="absolute", tau=0.5, max_growth=0.2)
    give_gradient(gaussians, [float(i + 1) for i in range(10)])
    igd.step_post_backward(12_100, gaussians, view(gaussians))
    assert igd.select(gaussians).nonzero().flatten().tolist() == [8, 9]
    igd.step_post_optimizer(12_100, gaussians)
    assert len(gaussians) == 12
    give_gradient(gaussians, [9.0] * 12)
    igd.step_post_backward(12_200, gaussians, view(gaussians))
    assert not igd.step_post_optimizer(12_200, gaussians)
    assert len(gaussians) == 12


def test_only_between_12000_and_15000() -> None:
    gaussians = scene()
    igd = strategy(threshold="absolute", tau=1e-9, max_growth=10.0)
    for iteration in (11_900, 12_000, 15_100, 20_000):
        give_gradient(gaussians, [1.0] * 10)
        igd.step_post_backward(iteration, gaussians, view(gaussians))
        assert not igd.step_post_optimizer(iteration, gaussians)
    assert "identity_gradient" not in gaussians.statistics
    give_gradient(gaussians, [1.0] * 10)
    igd.step_post_backward(15_000, gaussians, view(gaussians))
    assert igd.step_post_optimizer(15_000, gaussians)


def test_cut_lies_across_the_boundary_not_along_the_longest_axis() -> None:
    # Two objects left and right of the plane x = 0; Gaussian 0 straddles it and is longest along y.
    gaussians = scene(41)
    means = torch.zeros(41, 3)
    side = torch.arange(40) % 2 * 2.0 - 1.0
    spread = torch.rand(40, 3, generator=torch.Generator().manual_seed(1)) * 0.2 - 0.1
    means[1:] = spread + torch.stack([0.2 * side, torch.zeros(40), torch.zeros(40)], dim=1)
    gaussians.params["means"].data.copy_(means)
    gaussians.params["quats"].data.copy_(torch.tensor([1.0, 0, 0, 0]).repeat(41, 1))
    gaussians.params["scales"].data[0] = torch.log(torch.tensor([0.1, 0.15, 0.05]))
    encodings = torch.zeros(41, 16)
    encodings[1:, 0] = side
    gaussians.params["identities"].data.copy_(encodings)
    mask = torch.zeros(41, dtype=torch.bool)
    mask[0] = True
    assert axis_across_boundary(gaussians, mask).tolist() == [0]
    # Where all neighbours agree there is no boundary: the longest axis it is.
    gaussians.params["identities"].data.fill_(1.0)
    assert axis_across_boundary(gaussians, mask).tolist() == [1]
