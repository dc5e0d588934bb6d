"""Eq. 4 on scenes done by hand, and against brute force in float64."""

from __future__ import annotations

import pytest
import torch

from gradiseg_core.compute.cpu_runtime import get_threads, set_threads
from gradiseg_core.splatting.neighbours.knn import GlobalKnn
from gradiseg_core.splatting.neighbours.la_knn import la_knn

BACKENDS = pytest.mark.parametrize("backend", ["cpu", "torch"])

# On the x axis, with one Gaussian far aside (5) and one exactly beside the origin (6).
SCENE = torch.tensor(
    [[0.0, 0, 0], [1, 0, 0], [-1, 0, 0], [4, 0, 0], [2, 0, 0], [0.5, 90, 0], [0, 1, 0]]
)
RIGHT, LEFT, UP = [1.0, 0, 0], [-1.0, 0, 0], [0.0, 1, 0]


def _directions(*rows):
    return torch.tensor(rows)


def _scene(count, samples, *, seed=0, scale=10.0):
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(count, 3, generator=generator) * scale
    sample = torch.randperm(count, generator=generator)[:samples]
    directions = torch.randn(samples, 3, generator=generator)
    return means, sample, torch.nn.functional.normalize(directions, dim=-1)


def _brute_force(means, sample, directions, k):
    """Return Eq. 4 literally, one pair after the other, in float64."""
    rows = []
    points = means.double()
    for i, u in zip(sample.tolist(), directions.double(), strict=True):
        d = (points - points[i]) @ u
        ahead = [(float(d[j]), j) for j in range(len(points)) if j != i and d[j] > 0]
        nearest = [j for _, j in sorted(ahead)[:k]]
        rows.append(nearest + [-1] * (k - len(nearest)))
    return torch.tensor(rows)


@BACKENDS
def test_direction_half_space_and_order(backend):
    sample = torch.tensor([0, 0, 0])
    found = la_knn(SCENE, sample, _directions(RIGHT, LEFT, UP), 3, backend=backend)
    # Ahead to the right in order of d: 5 (0.5, far aside as Eq. 4 literally has it), 1, 4; never 2
    # (behind), 6 (d = 0: beside) or 0 itself.
    assert found.tolist() == [[5, 1, 4], [2, -1, -1], [6, 5, -1]]


@BACKENDS
@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_k_and_fewer_than_k(backend, k):
    found = la_knn(SCENE, torch.tensor([0]), _directions(RIGHT), k, backend=backend)
    assert found.tolist() == [([5, 1, 4, 3] + [-1] * 2)[:k]]


def test_candidates_make_it_local():
    sample, right = torch.tensor([0]), _directions(RIGHT)
    # The four nearest are 1, 2, 6 and 4; the one far aside is not among them.
    tree = GlobalKnn(SCENE)
    found = la_knn(SCENE, sample, right, 3, candidates=4, knn=tree)
    assert found.tolist() == [[1, 4, -1]]
    everyone = la_knn(SCENE, sample, right, 3, candidates=6, knn=tree)
    assert everyone.tolist() == la_knn(SCENE, sample, right, 3).tolist()
    few = la_knn(SCENE, sample, right, 5, candidates=2, knn=tree)
    assert few.tolist() == [[1, -1, -1, -1, -1]]


@BACKENDS
def test_the_sample_and_its_duplicates_are_not_ahead(backend):
    means = torch.zeros(40, 3)
    means[30:, 0] = 1.0
    found = la_knn(means, torch.tensor([7, 35]), _directions(RIGHT, RIGHT), 4, backend=backend)
    assert set(found[0].tolist()) <= set(range(30, 40))
    assert len(set(found[0].tolist())) == 4
    assert found[1].tolist() == [-1] * 4


def test_equals_take_the_smaller_index():
    means = torch.zeros(40, 3)
    means[30:, 0] = 1.0
    assert la_knn(means, torch.tensor([7]), _directions(RIGHT), 4).tolist() == [[30, 31, 32, 33]]


@BACKENDS
@pytest.mark.parametrize("candidates", ["all", 4])
def test_no_direction_no_neighbours(backend, candidates):
    directions = _directions([0.0, 0, 0], [float("nan"), 0, 0], [0, float("inf"), 0])
    found = la_knn(
        SCENE, torch.tensor([0, 1, 2]), directions, 2,
        candidates=candidates, knn=GlobalKnn(SCENE), backend=backend,
    )  # fmt: skip
    assert found.tolist() == [[-1, -1]] * 3


@pytest.mark.parametrize(
    ("count", "samples", "k"), [(2, 2, 3), (33, 33, 5), (2500, 40, 5), (9000, 17, 8)]
)
@BACKENDS
def test_equals_brute_force(backend, count, samples, k):
    means, sample, directions = _scene(count, samples)
    expected = _brute_force(means, sample, directions, k)
    if backend == "torch":
        means, directions = means.double(), directions.double()
    assert torch.equal(la_knn(means, sample, directions, k, backend=backend), expected)


def test_the_filter_loses_nothing_far_from_the_origin_or_beside_outliers():
    means, sample, directions = _scene(3000, 30)
    shifted = means + torch.tensor([3e4, -2e4, 1e4])
    expected = _brute_force(shifted, sample, directions, 5)
    assert torch.equal(la_knn(shifted, sample, directions, 5), expected)
    means[5] = torch.tensor([1e7, 0.0, 0.0])
    expected = _brute_force(means, sample, directions, 5)
    assert torch.equal(la_knn(means, sample, directions, 5), expected)
    tiny = means * 1e-3
    assert torch.equal(
        la_knn(tiny, sample, directions, 5), _brute_force(tiny, sample, directions, 5)
    )


@pytest.mark.parametrize("falling", [False, True])
def test_sorted_scenes(falling):
    means, sample, directions = _scene(6000, 12)
    means = means[means[:, 0].argsort(descending=falling)].contiguous()
    directions[:] = torch.tensor(RIGHT)
    expected = _brute_force(means, sample, directions, 5)
    assert torch.equal(la_knn(means, sample, directions, 5), expected)


def test_a_lost_gaussian_is_nobodys_neighbour():
    means, sample, directions = _scene(500, 10)
    lost = next(i for i in range(500) if i not in set(sample.tolist()))
    means[lost] = float("nan")
    found = la_knn(means, sample, directions, 5)
    assert torch.equal(found, _brute_force(means, sample, directions, 5))
    assert (found != lost).all()


def test_torch_backend_agrees_over_chunks(monkeypatch):
    means, sample, directions = _scene(700, 20)
    monkeypatch.setattr("gradiseg_core.splatting.neighbours.la_knn._PAIRS", 20 * 64)
    found = la_knn(means.double(), sample, directions.double(), 5, backend="torch")
    assert torch.equal(found, _brute_force(means, sample, directions, 5))


def test_candidates_equal_brute_force_within_the_nearest():
    means, sample, directions = _scene(400, 25)
    tree = GlobalKnn(means)
    near = tree.query(sample, 30)
    found = la_knn(means, sample, directions, 5, candidates=30, knn=tree)
    for row, i in enumerate(sample.tolist()):
        members = torch.cat([torch.tensor([i]), near[row]])
        local = _brute_force(means[members], torch.tensor([0]), directions[row : row + 1], 5)[0]
        assert found[row].tolist() == [int(members[j]) if j >= 0 else -1 for j in local]


def test_threads_do_not_change_the_answer():
    means, sample, directions = _scene(5000, 70)
    before = get_threads()
    try:
        set_threads(1)
        one = la_knn(means, sample, directions, 5)
        set_threads(2)
        two = la_knn(means, sample, directions, 5)
    finally:
        set_threads(before)
    assert torch.equal(one, two)


def test_wrong_input_is_refused():
    sample, right = torch.tensor([0]), _directions(RIGHT)
    with pytest.raises(ValueError, match="outside 7 Gaussians"):
        la_knn(SCENE, torch.tensor([7]), right, 2)
    with pytest.raises(ValueError, match=r"directions \[M, 3\]"):
        la_knn(SCENE, sample, right[0], 2)
    with pytest.raises(ValueError, match="at least 1"):
        la_knn(SCENE, sample, right, 0)
    with pytest.raises(ValueError, match="'some'"):
        la_knn(SCENE, sample, right, 2, candidates="some")
    with pytest.raises(ValueError, match="unknown backend"):
        la_knn(SCENE, sample, right, 2, backend="gpu")
    with pytest.raises(ValueError, match="knn holds 3"):
        la_knn(SCENE, sample, right, 2, candidates=3, knn=GlobalKnn(SCENE[:3]))
    with pytest.raises(ValueError, match="knn holds 0"):
        la_knn(SCENE, sample, right, 2, candidates=3)
