"""The neighbour searches for centres on a GPU.

Both are brute force, which suits a GPU: the samples are few (1,000), so that all distances at 3
million Gaussians are 3e9 pairs of some ten operations, and nothing has to be built when Gaussians
move. The kernels let the host go on: a sample that does not exist, which to see the host would have
to wait, has no neighbours. Where Triton cannot run, PyTorch does the same in chunks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradiseg_core.compute.triton_runtime import runs_on
from gradiseg_core.splatting.neighbours.la_knn import among, check_shapes, la_knn, usable

MOST = 64  # neighbours that the kernel finds, which stay in registers; more are PyTorch's
PADDING = 512  # centres come in multiples of it; the kernel loads whole blocks
_PAIRS = 1 << 24  # most sample-Gaussian pairs that PyTorch holds at once


class CudaKnn:
    """Exact nearest neighbours among all centres; :class:`.knn.GlobalKnn` without a tree.

    Distances are squared in float32, from differences; among equal ones the smaller index comes
    first. A centre that is not finite is nobody's neighbour and has none.
    """

    def __init__(self) -> None:
        """Set up; :meth:`update` must follow."""
        self._count, self._columns = 0, torch.empty(3, 0)

    def __len__(self) -> int:
        """Return the number of centres."""
        return self._count

    def update(self, means: Tensor) -> None:
        """Copy the centres, [N, 3] in world units.

        Raises:
            ValueError: If the shape is wrong.
        """
        if means.dim() != 2 or means.shape[1] != 3:
            raise ValueError(f"expected means [N, 3], got {tuple(means.shape)}")
        self._count, self._columns = len(means), columns(means)

    def query(self, sample: Tensor, k: int) -> Tensor:
        """Return the nearest other Gaussians of each sample, nearest first.

        Args:
            sample: [M] int64, indices of Gaussians.
            k: Neighbours a sample, at least 1.

        Returns:
            [M, k] int64; -1 where there are fewer than k others.

        Raises:
            ValueError: If there are no centres, or k is not positive.
        """
        if len(self) == 0:
            raise ValueError("CudaKnn has no centres yet: call update(means) first")
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if k <= MOST and runs_on(self._columns.device):
            from gradiseg_core.splatting.neighbours import _stream_triton

            return _stream_triton.search(self._columns, sample, k)
        return nearest_by_torch(self._columns[:, : self._count].T, sample, k)


def la_knn_cuda(
    means: Tensor,
    sample: Tensor,
    directions: Tensor,
    k: int,
    *,
    candidates: str | int = "all",
) -> Tensor:
    """Return the k nearest Gaussians ahead of each sample (Eq. 4).

    Distances are float32, from differences. Candidates are sought among the centres as they are
    now; on a CPU a tree may be some iterations old.

    Args:
        means: [N, 3] centres, world units.
        sample: [M] int64, indices of Gaussians.
        directions: [M, 3]; a sample whose direction is zero or not finite has no neighbours.
        k: Neighbours a sample, at least 1.
        candidates: "all", or how many nearest Gaussians to choose among.

    Returns:
        [M, k] int64, smallest d first, among equals the smaller index first ("all") or the nearer
        one (candidates). -1 where fewer than k lie ahead.

    Raises:
        ValueError: If shapes disagree, or k or ``candidates`` is invalid.
    """
    check_shapes(means, sample, directions, k, candidates)
    means, directions = means.detach(), usable(directions)
    if candidates != "all":
        knn = CudaKnn()
        knn.update(means)
        near = knn.query(sample, min(int(candidates), max(len(means) - 1, 1)))
        return among(means, sample, directions, k, near)
    if k <= MOST and runs_on(means.device):
        from gradiseg_core.splatting.neighbours import _stream_triton

        return _stream_triton.search(columns(means), sample, k, directions)
    return la_knn(means, sample, directions, k, backend="torch")


def columns(means: Tensor) -> Tensor:
    """Return a copy of [N, 3] centres as the kernel takes them.

    Returns:
        [3, N rounded up to :data:`PADDING`] float32: neighbouring threads read adjacent numbers.
        Beyond N stands NaN, which is nobody's neighbour.
    """
    count = len(means)
    result = torch.empty(3, -(-count // PADDING) * PADDING, device=means.device)
    result[:, :count] = means.detach().T
    result[:, count:] = torch.nan
    return result


def nearest_by_torch(means: Tensor, sample: Tensor, k: int) -> Tensor:
    """Return what :meth:`CudaKnn.query` does, by PyTorch in chunks of the Gaussians.

    Args:
        means: [N, 3].
        sample: [M] int64, valid.
        k: Neighbours a sample.

    Returns:
        [M, k] int64; equals in any order.
    """
    step = max(_PAIRS // max(len(sample), 1), k)
    origins = means[sample]
    best = torch.full((len(sample), k), torch.inf, dtype=means.dtype, device=means.device)
    index = torch.full((len(sample), k), -1, dtype=torch.int64, device=means.device)
    for start in range(0, len(means), step):
        part = means[start : start + step]
        # One coordinate at a time, and differences before squares: cdist's matrix product would
        # lose near neighbours far from the origin.
        d = (part[:, 0] - origins[:, :1]).square_()
        d += (part[:, 1] - origins[:, 1:2]).square_()
        d += (part[:, 2] - origins[:, 2:]).square_()
        own = sample[:, None] == torch.arange(start, start + len(part), device=sample.device)
        d.masked_fill_(own | ~d.isfinite(), torch.inf)
        d, nearest = d.topk(min(k, len(part)), dim=1, largest=False)
        found = (nearest + start).masked_fill(d.isinf(), -1)
        best, order = torch.cat([best, d], dim=1).sort(dim=1, stable=True)
        index = torch.cat([index, found], dim=1).gather(1, order)[:, :k]
        best = best[:, :k]
    return index
