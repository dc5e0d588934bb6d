"""Neighbour searches on whichever device the Gaussians are."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from gradiseg_core.splatting.neighbours.knn import GlobalKnn


class Knn(Protocol):
    """What both global searches offer; see :class:`.knn.GlobalKnn`."""

    def __len__(self) -> int: ...

    def update(self, means: Tensor) -> None:
        """Take over the centres, [N, 3]."""
        ...

    def query(self, sample: Tensor, k: int) -> Tensor:
        """Return the k nearest others of each sample, [M, k]; -1 where there are fewer."""
        ...


def make_knn(device: torch.device) -> Knn:
    """Return a global search for centres on ``device``."""
    if device.type == "cuda":
        from gradiseg_core.splatting.neighbours.cuda import CudaKnn

        return CudaKnn()
    return GlobalKnn()


def searches_a_tree(device: torch.device, candidates: str | int) -> bool:
    """Return whether :func:`neighbours_ahead` uses a global search, which must then be current."""
    return device.type == "cpu" and candidates != "all"


def neighbours_ahead(
    means: Tensor, sample: Tensor, directions: Tensor, k: int, *, candidates: str | int, knn: Knn
) -> Tensor:
    """Apply Eq. 4 on whichever device the centres are; see :func:`.la_knn.la_knn`.

    ``knn`` is looked at only where :func:`searches_a_tree`.
    """
    if means.device.type == "cuda":
        from gradiseg_core.splatting.neighbours.cuda import la_knn_cuda

        return la_knn_cuda(means, sample, directions, k, candidates=candidates)
    from gradiseg_core.splatting.neighbours.la_knn import la_knn

    tree = knn if isinstance(knn, GlobalKnn) and searches_a_tree(means.device, candidates) else None
    return la_knn(means, sample, directions, k, candidates=candidates, knn=tree)
