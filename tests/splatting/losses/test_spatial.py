"""Eq. 3 against a direct double loop."""

from __future__ import annotations

import math

import pytest
import torch

from gradiseg_core.splatting.losses.identity import IdentityClassifier
from gradiseg_core.splatting.terms.spatial import neighbour_kl


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(3)
    head = IdentityClassifier(7, 4, generator=generator).double()
    identities = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    sample = torch.tensor([3, 0, 11])
    neighbours = torch.tensor([[1, 2], [5, -1], [-1, -1]])
    return identities, head, sample, neighbours


def test_equals_a_double_loop(problem):
    identities, head, sample, neighbours = problem
    weight, bias = head.weight.detach(), head.bias.detach()
    total, pairs = 0.0, 0
    for row, i in enumerate(sample.tolist()):
        p = torch.softmax(weight @ identities[i] + bias, 0)
        for j in neighbours[row].tolist():
            if j >= 0:
                q = torch.softmax(weight @ identities[j] + bias, 0)
                total += sum(float(p[c]) * math.log(float(p[c] / q[c])) for c in range(7))
                pairs += 1
    loss = neighbour_kl(identities, head, sample, neighbours)
    assert loss.item() == pytest.approx(total / pairs / 7, rel=1e-12)


def test_gradients_reach_both_sides_and_the_head(problem):
    identities, head, sample, neighbours = problem
    identities.requires_grad_()
    neighbour_kl(identities, head, sample, neighbours).backward()
    touched = identities.grad.abs().sum(1) > 0
    assert touched.nonzero()[:, 0].tolist() == [0, 1, 2, 3, 5]
    assert head.weight.grad.abs().max() > 0


def test_stop_target_leaves_the_neighbours_alone(problem):
    identities, head, sample, neighbours = problem
    identities.requires_grad_()
    full = neighbour_kl(identities, head, sample, neighbours)
    stopped = neighbour_kl(identities, head, sample, neighbours, stop_target=True)
    assert stopped.item() == full.item()
    stopped.backward()
    touched = identities.grad.abs().sum(1) > 0
    assert touched.nonzero()[:, 0].tolist() == [0, 3]


def test_passes_gradcheck(problem):
    identities, head, sample, neighbours = problem
    assert torch.autograd.gradcheck(
        lambda e: neighbour_kl(e, head, sample, neighbours),
        identities.requires_grad_(),
    )


def test_equal_encodings_cost_nothing_and_vanishing_classes_stay_finite(problem):
    identities, head, sample, neighbours = problem
    same = identities[:1].expand(12, 4)
    assert neighbour_kl(same, head, sample, neighbours).item() == pytest.approx(0.0, abs=1e-15)
    extreme = (identities.float() * 1e4).requires_grad_()
    loss = neighbour_kl(extreme, head.float(), sample, neighbours)
    loss.backward()
    assert math.isfinite(loss.item())
    assert loss.item() > 0
    assert extreme.grad.isfinite().all()


def test_no_valid_pair_is_zero_with_a_gradient(problem):
    identities, head, sample, neighbours = problem
    identities.requires_grad_()
    loss = neighbour_kl(identities, head, sample, torch.full_like(neighbours, -1))
    loss.backward()
    assert loss.item() == 0.0
    assert identities.grad.abs().max() == 0.0


def test_a_row_is_needed_for_every_sample(problem):
    identities, head, sample, neighbours = problem
    with pytest.raises(ValueError, match=r"neighbours \[M, K\]"):
        neighbour_kl(identities, head, sample, neighbours[:2])
