"""Neighbour searches on whichever device the Gaussians are.

A search among all Gaussians (L_3d before LA-KNN takes over, IGD) is a tree on a CPU and brute force
on a GPU (:mod:`.cuda`). Eq. 4 is in :mod:`.la_knn`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from gradiseg_core.compute.cpu_runtime import get_threads

if TYPE_CHECKING:
    from gradiseg_core.splatting.neighbours.la_knn import Knn


class GlobalKnn:
    """A KD-tree over the Gaussians' centres that is kept until told otherwise.

    Centres move little between two densifications, so that the tree (and the centres it was built
    from) may be used for many iterations. It must be updated whenever Gaussians are added, removed
    or reordered, because neighbours are indices.
    """

    def __init__(self, means: Tensor | None = None) -> None:
        """Build the tree when ``means`` [N, 3] is given; otherwise :meth:`update` must follow."""
        self._tree: cKDTree | None = None
        self._points: NDArray[np.float64] = np.empty((0, 3))
        if means is not None:
            self.update(means)

    def __len__(self) -> int:
        """Return the number of centres in the tree."""
        return len(self._points)

    def update(self, means: Tensor) -> None:
        """Rebuild the tree from the centres, [N, 3] in world units.

        Raises:
            ValueError: If the shape is wrong or a centre is not finite.
        """
        if means.dim() != 2 or means.shape[1] != 3:
            raise ValueError(f"expected means [N, 3], got {tuple(means.shape)}")
        points = means.detach().cpu().numpy().astype(np.float64)
        if not np.isfinite(points).all():
            bad = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
            raise ValueError(f"Gaussian {bad} has no finite centre: {points[bad].tolist()}")
        self._points = points
        self._tree = cKDTree(points)

    def query(self, sample: Tensor, k: int) -> Tensor:
        """Return the nearest other Gaussians of each sample, nearest first.

        A sample is left out of its own neighbours by its index, not by its distance: Gaussians
        that lie exactly on it (children of a clone) are neighbours.

        Args:
            sample: [M] int64, indices of Gaussians.
            k: Neighbours a sample, at least 1.

        Returns:
            [M, k] int64 on the device of ``sample``; -1 where there are fewer than k others.

        Raises:
            ValueError: If there is no tree, or an index lies outside it (rebuild it after
                densification), or k is not positive.
        """
        if self._tree is None:
            raise ValueError("GlobalKnn has no tree yet: call update(means) first")
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        chosen = sample.detach().cpu().numpy()
        count = len(self._points)
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < count):
            raise ValueError(
                f"samples {chosen.min()}..{chosen.max()} lie outside the tree of {count} "
                "Gaussians: call update(means) after adding or removing Gaussians"
            )
        found = min(k + 1, count)
        nearest = np.empty((len(chosen), k), dtype=np.int64)
        nearest[:] = -1
        if found > 1 and len(chosen):
            workers = get_threads()
            _, index = self._tree.query(self._points[chosen], k=found, workers=workers)
            # Stable: moves the sample itself last and keeps the order of the others. Among many
            # duplicates the sample may not be found at all; then the farthest one goes.
            order = np.argsort(index == chosen[:, None], axis=1, kind="stable")
            others = np.take_along_axis(index, order, axis=1)[:, : found - 1]
            nearest[:, : found - 1] = others
        return torch.from_numpy(nearest).to(sample.device)


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
