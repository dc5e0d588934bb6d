"""Locally aware KNN (LA-KNN, Section 3.5, Eq. 4): neighbours ahead of a moving Gaussian.

Notation: a sample i at p_i moves along the unit direction u_i; ``d_j = (p_j - p_i) . u_i`` is how
far ahead of it Gaussian j lies. The neighbours of i are the k Gaussians j != i of smallest
``d_j > 0``: a half space, although the text of Figure 4 speaks of 180 degrees.

Read literally, Eq. 4 ranges over all Gaussians (``candidates="all"``) and prefers whatever lies in
the thin slab just ahead of p_i, however far to the side. "Local" in the name suggests a local
candidate set: ``candidates=<int>`` applies Eq. 4 within that many nearest Gaussians.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

BACKENDS = ("cpu", "torch")
_PAIRS = 1 << 24  # most sample-Gaussian pairs that the PyTorch backend holds at once


class Knn(Protocol):
    """What a search among all Gaussians offers; see :class:`.knn.GlobalKnn`."""

    def __len__(self) -> int: ...

    def update(self, means: Tensor) -> None:
        """Take over the centres, [N, 3]."""
        ...

    def query(self, sample: Tensor, k: int) -> Tensor:
        """Return the k nearest others of each sample, [M, k]; -1 where there are fewer."""
        ...


def la_knn(
    means: Tensor,  # [N, 3]
    sample: Tensor,  # [M]
    directions: Tensor,  # [M, 3]
    k: int,
    *,
    candidates: str | int = "all",
    knn: Knn | None = None,
    backend: str = "cpu",
) -> Tensor:
    """Return the k nearest Gaussians ahead of each sample (Eq. 4).

    Differences of centres are taken before the projection: the difference of two projections
    would lose what separates neighbours once a scene has millions of Gaussians.

    Args:
        means: [N, 3] centres, world units.
        sample: [M] int64, indices of Gaussians.
        directions: [M, 3] unit vectors (their length only scales d). A sample whose direction is
            zero or not finite has no neighbours.
        k: Neighbours a sample, at least 1.
        candidates: "all", or how many nearest Gaussians to choose among.
        knn: Finds those nearest Gaussians, in its own, possibly older, centres; not needed with
            "all".
        backend: "cpu" (streaming kernel; float32 filter, float64 decision) or "torch" (chunked,
            in the precision of ``means``). Both need memory for a part of the M x N pairs only.

    Returns:
        [M, k] int64, smallest d first; among equals the smaller index first with "all" (any order
        from the "torch" backend), the nearer one first among candidates. -1 where fewer than k lie
        ahead.

    Raises:
        ValueError: If shapes disagree, an index does not exist, k, ``candidates`` or the backend
            is invalid, or ``knn`` is missing or holds other Gaussians.
    """
    _check(means, sample, directions, k, candidates, backend)
    means, directions = means.detach(), usable(directions)
    if candidates != "all":
        if knn is None or len(knn) != len(means):
            raise ValueError(
                f"knn holds {0 if knn is None else len(knn)} Gaussians, means {len(means)}: call "
                "knn.update(means) after adding or removing Gaussians"
            )
        return among(means, sample, directions, k, knn.query(sample, int(candidates)))
    if backend == "torch":
        return _all_by_torch(means, sample, directions, k)
    from gradiseg_core.splatting.neighbours import _la_knn_kernel as kernel

    found = kernel.run(
        means.cpu().to(torch.float32).contiguous().numpy(),
        sample.cpu().numpy(),
        directions.cpu().to(torch.float32).contiguous().numpy(),
        k,
    )
    return torch.from_numpy(found).to(means.device)


def _ahead(points: Tensor, origins: Tensor, directions: Tensor) -> Tensor:
    """Return d = (p' - p) . u by broadcasting, infinite where p' does not lie ahead."""
    # One coordinate at a time: a third of the memory of the differences.
    d = (points[..., 0] - origins[..., 0]) * directions[..., 0]
    d += (points[..., 1] - origins[..., 1]) * directions[..., 1]
    d += (points[..., 2] - origins[..., 2]) * directions[..., 2]
    return d.masked_fill_(~(d > 0), torch.inf)


def usable(directions: Tensor) -> Tensor:
    """Return [M, 3] directions with NaN for those that are zero or not finite.

    NaN makes every comparison with d false: no neighbours.
    """
    directions = directions.detach()
    length = directions.norm(dim=-1, keepdim=True)
    return directions.masked_fill(~((length > 0) & length.isfinite()), np.nan)


def among(means: Tensor, sample: Tensor, directions: Tensor, k: int, near: Tensor) -> Tensor:
    """Apply Eq. 4 within each sample's candidates ``near`` [M, Q] (-1 where missing)."""
    d = _ahead(means[near.clamp(min=0)], means[sample][:, None], directions[:, None])  # [M, Q]
    d = d.masked_fill(near < 0, torch.inf)
    d, order = d.sort(dim=1, stable=True)
    found = torch.full((len(sample), k), -1, dtype=torch.int64, device=means.device)
    chosen = near.gather(1, order).masked_fill(d.isinf(), -1)[:, :k]
    found[:, : chosen.shape[1]] = chosen
    return found


def _all_by_torch(means: Tensor, sample: Tensor, directions: Tensor, k: int) -> Tensor:
    """Apply Eq. 4 among all Gaussians, keeping the k best of the chunks seen so far."""
    step = max(_PAIRS // max(len(sample), 1), k)
    origins = means[sample][:, None]  # [M, 1, 3]
    best = torch.full((len(sample), k), torch.inf, dtype=means.dtype, device=means.device)
    index = torch.full((len(sample), k), -1, dtype=torch.int64, device=means.device)
    for start in range(0, len(means), step):
        part = means[start : start + step]
        d = _ahead(part[None], origins, directions[:, None])  # [M, step]
        own = ((sample >= start) & (sample < start + len(part))).nonzero()[:, 0]
        d[own, sample[own] - start] = torch.inf
        d, nearest = d.topk(min(k, len(part)), dim=1, largest=False)
        index_in_part = (nearest + start).masked_fill(d.isinf(), -1)
        best, order = torch.cat([best, d], dim=1).sort(dim=1, stable=True)
        index = torch.cat([index, index_in_part], dim=1).gather(1, order)[:, :k]
        best = best[:, :k]
    return index


def _check(
    means: Tensor,
    sample: Tensor,
    directions: Tensor,
    k: int,
    candidates: str | int,
    backend: str,
) -> None:
    """Raise ValueError unless the arguments of :func:`la_knn` fit together."""
    check_shapes(means, sample, directions, k, candidates)
    if len(sample) and not (int(sample.min()) >= 0 and int(sample.max()) < len(means)):
        raise ValueError(
            f"samples {int(sample.min())}..{int(sample.max())} lie outside {len(means)} Gaussians"
        )
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; there are {', '.join(BACKENDS)}")


def check_shapes(
    means: Tensor, sample: Tensor, directions: Tensor, k: int, candidates: str | int
) -> None:
    """Raise ValueError where shapes or numbers are wrong, without looking at a tensor's values."""
    if means.dim() != 2 or means.shape[1] != 3:
        raise ValueError(f"expected means [N, 3], got {tuple(means.shape)}")
    if sample.dim() != 1 or directions.shape != (len(sample), 3):
        raise ValueError(
            "expected sample [M] and directions [M, 3], "
            f"got {tuple(sample.shape)} and {tuple(directions.shape)}"
        )
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if candidates != "all" and (not isinstance(candidates, int) or candidates < 1):
        raise ValueError(f'candidates must be "all" or a positive number, got {candidates!r}')
