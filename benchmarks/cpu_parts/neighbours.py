"""Neighbour searches of L_3d: 1000 samples, 5 neighbours each."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.timing import Floor, Part
from gradiseg_core.splatting.neighbours.knn import GlobalKnn
from gradiseg_core.splatting.neighbours.la_knn import la_knn

SAMPLES, K = 1000, 5


def _scene(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return means, sample and directions of a made-up scene."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(count, 3, generator=generator)
    sample = torch.randperm(count, generator=generator)[:SAMPLES]
    directions = torch.randn(SAMPLES, 3, generator=generator)
    return means, sample, torch.nn.functional.normalize(directions, dim=-1)


def _ahead(count: int) -> Callable[[], dict[str, Callable[[], object]]]:
    """Compare Eq. 4 over all Gaussians."""

    def make() -> dict[str, Callable[[], object]]:
        scene = _scene(count)
        return {
            "ours": lambda: la_knn(*scene, K),
            "chunked PyTorch": lambda: la_knn(*scene, K, backend="torch"),
        }

    return make


def _ahead_floor(count: int) -> Callable[[], Floor]:
    return lambda: Floor(
        flop=7.0 * SAMPLES * count, note="three multiply-adds and a comparison a pair"
    )


def _global() -> dict[str, Callable[[], object]]:
    """Compare nearest neighbours among all, building included."""
    means, sample, _ = _scene(20_000)

    def by_distance_matrix() -> None:
        distances = torch.cdist(means[sample], means)
        distances[torch.arange(SAMPLES), sample] = torch.inf
        distances.topk(K, dim=1, largest=False)

    return {
        "ours": lambda: GlobalKnn(means).query(sample, K),
        "PyTorch distance matrix": by_distance_matrix,
    }


PARTS = [
    Part(
        name="LA-KNN, 20k Gaussians",
        make=_ahead(20_000),
        note="Eq. 4 over all Gaussians, 1000 samples, K = 5",
        floor=_ahead_floor(20_000),
    ),
    Part(
        name="LA-KNN, 1M Gaussians",
        make=_ahead(1_000_000),
        targets={"chunked PyTorch": 20.0},
        note="Eq. 4 over all Gaussians, 1000 samples, K = 5",
        floor=_ahead_floor(1_000_000),
        quick=False,
        max_rounds=5,
    ),
    Part(
        name="global KNN, 20k Gaussians",
        make=_global,
        note="1000 samples, K = 5, building the KD-tree included (training keeps it)",
    ),
]
