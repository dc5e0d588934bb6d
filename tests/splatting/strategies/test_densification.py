from __future__ import annotations

import torch

from gradiseg_core.config.parts import Densification
from gradiseg_core.splatting.parts import Schedule
from gradiseg_core.splatting.strategies.densification import DensificationStrategy
from tests.splatting.gaussians.made import make, rendering_with


def strategy(until: int = 12_000, max_gaussians: int | None = None) -> DensificationStrategy:
    return DensificationStrategy(
        Densification(until=until),
        Schedule(30_000),
        max_gaussians=max_gaussians,
        extent=10.0,
        generator=torch.Generator().manual_seed(0),
    )


def scene():
    """Five opaque Gaussians: 0..2 small (scale 0.01), 3 and 4 large (0.5)."""
    gaussians = make()
    gaussians.params["opacities"].data.fill_(2.0)
    gaussians.params["scales"].data.copy_(
        torch.log(torch.tensor([0.01, 0.01, 0.01, 0.5, 0.5]))[:, None].repeat(1, 3)
    )
    return gaussians


def test_small_are_cloned_large_are_split_transparent_are_pruned() -> None:
    gaussians, densify = scene(), strategy()
    gaussians.params["opacities"].data[2] = -8.0
    # 1e-6 px of gradient in x is 1e-4 in half images of 200 px; the threshold is 2e-4.
    view = rendering_with([[3e-6, 0], [1e-6, 0], [0, 0], [0, 5e-6], [0, 0]], [1, 1, 1, 1, 0])
    densify.step_post_backward(600, gaussians, view)
    means = gaussians.params["means"].detach().clone()
    assert densify.step_post_optimizer(600, gaussians)
    kept = gaussians.params["means"].detach()
    assert len(gaussians) == 6  # 0, 1, 4, clone of 0, two children of 3
    assert torch.equal(kept[:3], means[[0, 1, 4]])
    assert torch.equal(kept[3], means[0])
    torch.testing.assert_close(gaussians.scales[4:], torch.full((2, 3), 0.5 / 1.6))
    assert not gaussians.statistics["grad2d"].any()


def test_gradients_are_averaged_over_the_views_that_saw_a_gaussian() -> None:
    gaussians, densify = scene(), strategy()
    strong, none = [[3e-6, 0.0]] + [[0.0, 0.0]] * 4, [[0.0, 0.0]] * 5
    densify.step_post_backward(598, gaussians, rendering_with(strong, [1, 1, 1, 1, 1]))
    densify.step_post_backward(599, gaussians, rendering_with(none, [0, 1, 1, 1, 1]))
    torch.testing.assert_close(gaussians.statistics["grad2d"][0], torch.tensor(3e-4))
    assert gaussians.statistics["seen"].tolist() == [1, 2, 2, 2, 2]
    densify.step_post_optimizer(600, gaussians)
    assert len(gaussians) == 6
    # The same gradient, seen a second time without any, averages to 1.5e-4: below the threshold.
    again, late = scene(), strategy()
    late.step_post_backward(598, again, rendering_with(strong, [1] * 5))
    late.step_post_backward(599, again, rendering_with(none, [1] * 5))
    late.step_post_optimizer(600, again)
    assert len(again) == 5


def test_growth_stops_at_the_cap_with_the_strongest() -> None:
    gaussians, densify = scene(), strategy(max_gaussians=6)
    view = rendering_with([[3e-6, 0], [9e-6, 0], [4e-6, 0], [5e-6, 0], [0, 0]], [1] * 5)
    densify.step_post_backward(600, gaussians, view)
    means = gaussians.params["means"].detach().clone()
    densify.step_post_optimizer(600, gaussians)
    assert len(gaussians) == 6
    assert torch.equal(gaussians.params["means"][5], means[1])


def test_oversized_are_pruned_only_after_the_first_opacity_reset() -> None:
    for step, expected in ((600, 5), (3100, 4)):
        gaussians, densify = scene(), strategy()
        gaussians.params["scales"].data[4] = torch.log(torch.tensor(1.5))
        densify.step_post_backward(step, gaussians, rendering_with([[0.0, 0.0]] * 5, [1] * 5))
        densify.step_post_optimizer(step, gaussians)
        assert len(gaussians) == expected


def test_opacities_are_reset_every_3000() -> None:
    gaussians, densify = scene(), strategy()
    gaussians.params["opacities"].data[0] = -6.0
    densify.step_post_backward(3000, gaussians, rendering_with([[0.0, 0.0]] * 5, [1] * 5))
    densify.step_post_optimizer(3000, gaussians)
    assert gaussians.opacities.max() <= 0.0100001
    assert len(gaussians) == 4  # sigmoid(-6) = 0.0025 was pruned, resets do not revive it


def test_nothing_happens_outside_the_window() -> None:
    gaussians, densify = scene(), strategy(until=10_000)
    view = rendering_with([[1.0, 0.0]] * 5, [1] * 5)
    for step in (400, 500, 650, 10_000, 12_000):
        gaussians.statistics.clear()
        densify.step_post_backward(step, gaussians, view)
        assert not densify.step_post_optimizer(step, gaussians)
    assert len(gaussians) == 5
