from __future__ import annotations

import math

import pytest
import torch

from gradiseg_core.splatting.gaussians import PARAMETERS
from gradiseg_core.splatting.strategies.surgery import (
    clone,
    prune,
    rotation_matrices,
    shared_opacities,
    split_along_axis,
    split_by_sampling,
)
from tests.splatting.gaussians.made import make, step


def covariance(gaussians, index: int) -> torch.Tensor:
    rotation = rotation_matrices(gaussians.params["quats"].detach())[index]
    return rotation @ torch.diag(gaussians.scales.detach()[index] ** 2) @ rotation.T


def test_rotation_of_a_quarter_turn_about_z() -> None:
    half = math.sqrt(0.5)
    rotation = rotation_matrices(torch.tensor([[2 * half, 0.0, 0.0, 2 * half]]))[0]
    expected = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(rotation, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_halves_keep_mean_and_covariance_of_the_parent(axis: int) -> None:
    gaussians = make()
    mean = gaussians.params["means"][1].detach().clone()
    total = covariance(gaussians, 1)
    mask = torch.tensor([False, True, False, False, False])
    assert split_along_axis(gaussians, mask, torch.tensor([axis])) == 1
    assert len(gaussians) == 6
    means = gaussians.params["means"].detach()[4:]
    torch.testing.assert_close(means.mean(dim=0), mean)
    between = sum(torch.outer(m - mean, m - mean) for m in means) / 2
    torch.testing.assert_close(covariance(gaussians, 4) + between, total)
    # They lie on both sides along that axis, and differ in nothing else.
    for name in set(PARAMETERS) - {"means"}:
        assert torch.equal(gaussians.params[name][4], gaussians.params[name][5])


def test_children_start_without_moments_and_others_keep_theirs() -> None:
    gaussians = make()
    step(gaussians)
    moment = gaussians.first_moment("identities").clone()
    split_along_axis(gaussians, torch.tensor([True, False, False, False, False]), torch.tensor([0]))
    assert torch.equal(gaussians.first_moment("identities")[:4], moment[1:])
    assert not gaussians.first_moment("identities")[4:].any()


def test_sampled_children_follow_the_parent_and_shrink() -> None:
    gaussians = make(1)
    gaussians.params["scales"].data.copy_(torch.log(torch.tensor([[0.1, 1.0, 3.0]])))
    parent, total = gaussians.params["means"][0].detach().clone(), covariance(gaussians, 0)
    generator = torch.Generator().manual_seed(3)
    offsets = []
    for _ in range(1500):
        twin = make(1)
        for name in PARAMETERS:
            twin.params[name].data.copy_(gaussians.params[name].data)
        split_by_sampling(twin, torch.tensor([True]), 1.6, generator)
        offsets.append(twin.params["means"].detach() - parent)
    torch.testing.assert_close(twin.scales[0], torch.tensor([0.1, 1.0, 3.0]) / 1.6)
    spread = torch.cat(offsets)
    sampled = spread.T @ spread / len(spread)
    assert (sampled - total).norm() < 0.1 * total.norm()


def test_two_shared_opacities_blend_to_the_parents() -> None:
    opacities = torch.tensor([1e-9, 0.005, 0.3, 0.75, 0.999], dtype=torch.float64)
    child = shared_opacities(opacities.logit()).sigmoid()
    torch.testing.assert_close(1 - (1 - child) ** 2, opacities)
    assert child[3] == pytest.approx(0.5)


@pytest.mark.parametrize("rule", ["along_axis", "by_sampling"])
def test_children_share_the_opacity_when_asked_to(rule: str) -> None:
    gaussians = make()
    parent = gaussians.params["opacities"].detach()[0].sigmoid().item()
    mask = torch.tensor([True, False, False, False, False])
    if rule == "along_axis":
        split_along_axis(gaussians, mask, torch.tensor([0]), share_opacity=True)
    else:
        split_by_sampling(gaussians, mask, 1.6, torch.Generator(), share_opacity=True)
    children = gaussians.params["opacities"].detach()[-2:].sigmoid()
    torch.testing.assert_close(children, torch.full((2,), 1 - math.sqrt(1 - parent)))


def test_clone_and_prune_count() -> None:
    gaussians = make()
    assert clone(gaussians, torch.tensor([True, False, True, False, False])) == 2
    assert torch.equal(gaussians.params["means"][5:], gaussians.params["means"][[0, 2]])
    assert prune(gaussians, torch.zeros(7, dtype=torch.bool)) == 0
    assert prune(gaussians, torch.arange(7) < 3) == 3
    assert len(gaussians) == 4
