"""Global neighbours against brute force."""

from __future__ import annotations

import pytest
import torch

from gradiseg_core.splatting.neighbours.knn import GlobalKnn


def test_equals_brute_force():
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(300, 3, generator=generator)
    sample = torch.randperm(300, generator=generator)[:40]
    distances = torch.cdist(means[sample].double(), means.double())
    distances[torch.arange(40), sample] = torch.inf
    expected = distances.argsort(dim=1)[:, :6]
    assert torch.equal(GlobalKnn(means).query(sample, 6), expected)


def test_a_line_by_hand():
    means = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0], [7, 0, 0]])
    found = GlobalKnn(means).query(torch.tensor([2, 0, 3]), 2)
    assert found.tolist() == [[1, 0], [1, 2], [2, 1]]


def test_duplicates_are_neighbours_and_never_the_sample():
    means = torch.zeros(50, 3)
    means[40:] += 5.0
    sample = torch.arange(50)
    found = GlobalKnn(means).query(sample, 4)
    assert (found != sample[:, None]).all()
    assert all(len(set(row)) == 4 for row in found.tolist())
    assert (found[:40] < 40).all()
    assert (found[40:] >= 40).all()


def test_fewer_others_than_asked_for_are_padded():
    means = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]])
    knn = GlobalKnn(means)
    assert knn.query(torch.tensor([0]), 5).tolist() == [[1, 2, -1, -1, -1]]
    assert GlobalKnn(means[:1]).query(torch.tensor([0]), 2).tolist() == [[-1, -1]]
    assert knn.query(torch.tensor([], dtype=torch.int64), 2).shape == (0, 2)


def test_the_tree_is_kept_until_updated():
    means = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]])
    knn = GlobalKnn(means)
    means[2] = torch.tensor([0.1, 0.0, 0.0])
    assert knn.query(torch.tensor([0]), 1).tolist() == [[1]]
    knn.update(means)
    assert knn.query(torch.tensor([0]), 1).tolist() == [[2]]
    assert len(knn) == 3


def test_wrong_use_is_refused():
    knn = GlobalKnn()
    with pytest.raises(ValueError, match="call update"):
        knn.query(torch.tensor([0]), 1)
    knn.update(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="outside the tree of 3"):
        knn.query(torch.tensor([3]), 1)
    with pytest.raises(ValueError, match="at least 1"):
        knn.query(torch.tensor([0]), 0)
    with pytest.raises(ValueError, match="Gaussian 1 has no finite centre"):
        knn.update(torch.tensor([[0.0, 0, 0], [float("nan"), 0, 0]]))
    with pytest.raises(ValueError, match=r"\[N, 3\]"):
        knn.update(torch.zeros(3, 2))
