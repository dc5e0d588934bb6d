from __future__ import annotations

import numpy as np
import pytest
import torch

from gradiseg_core.cameras import Camera
from gradiseg_core.config.parts import NearPruning
from gradiseg_core.splatting.parts import Schedule
from gradiseg_core.splatting.strategies.near import NearPruningStrategy
from tests.splatting.gaussians.made import make


def camera(x: float) -> Camera:
    """A camera turned about its axis whose centre is (x, 0, -1)."""
    rotation = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, -rotation @ np.array([x, 0.0, -1.0])
    return Camera("a.png", 40, 30, np.eye(3), pose)


def strategy(ratio: float | None, iterations: int = 30_000) -> NearPruningStrategy:
    return NearPruningStrategy(
        NearPruning(ratio=ratio),
        Schedule(iterations),
        cameras=[camera(0.0), camera(4.0)],
        device=torch.device("cpu"),
    )


def scene():
    """Five Gaussians whose largest scales are 0.4 and whose nearest cameras are ever further."""
    gaussians = make()
    gaussians.params["scales"].data.copy_(torch.log(torch.tensor([0.1, 0.4, 0.2])).expand(5, 3))
    gaussians.params["means"].data.copy_(
        # Distances 0.5 and 0.7 from the second camera, 1 and 2 from the first, 10 from both.
        torch.tensor([[4, 0, -0.5], [4, 0.7, -1], [0, 0, 0], [0, -2, -1], [2, 0, 8.7979590]])
    )
    return gaussians


@pytest.mark.parametrize(("ratio", "kept"), [(0.9, 5), (0.6, 4), (0.5, 3), (0.3, 2), (0.03, 0)])
def test_what_is_large_for_its_distance_to_the_nearest_camera_goes(ratio: float, kept: int) -> None:
    gaussians = scene()
    means = gaussians.params["means"].detach().clone()
    assert strategy(ratio).step_post_optimizer(12_100, gaussians) == (kept < 5)
    assert torch.equal(gaussians.params["means"], means[5 - kept :])


def test_when() -> None:
    for step, prunes in ((11_900, False), (12_000, False), (12_150, False), (12_200, True)):
        assert strategy(0.5).step_post_optimizer(step, scene()) == prunes, step
    assert strategy(0.5).step_post_optimizer(30_000, scene())
    assert strategy(0.5, iterations=1000).step_post_optimizer(1000, scene())
    assert not strategy(None).step_post_optimizer(12_200, scene())
