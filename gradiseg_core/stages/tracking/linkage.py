"""Average linkage of masks by the co-association of the 3D points that they see.

Two points p, q are *co-associated* in a view where both are seen when one mask holds both. For two
clusters c, d of masks (each standing for the points its masks see, with weights),

    A(c, d) = sum_v sum_k n_c(v, k) n_d(v, k) / sum_v n_c(v) n_d(v)

is the weighted share of (point of c, point of d, view) in which the two points lie in one mask;
n_c(v, k) is the weight with which c's points are seen in mask k of view v, and n_c(v) its sum over
the masks of v. Both sums are bilinear, so the histograms of a merged cluster are the sums of its
parts' and A needs no pass over points (this is UPGMA on the points' co-association matrix,
"evidence accumulation", Fred & Jain 2005; MaskClustering, Yan et al. 2024, decides by the same
consensus of views but with hard containment).

What follows from the definition:

* two fragments of one view that are never seen whole elsewhere have A = 0: all views that see both
  say "different"; seen whole in more than half of the evidence they are joined;
* a mask that covers two objects in one view is outvoted by all other views;
* clusters that no view sees together are compared through the clusters between them.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gradiseg_core.stages.tracking.evidence import Links, Masks, Observations


def mask_histograms(
    masks: Masks,
    observations: Observations,
    num_points: int,
    num_views: int,
    links: Links | None = None,
) -> tuple[sparse.csr_array, NDArray[np.float64]]:
    """Count where each mask's points are seen.

    Args:
        masks: M masks.
        observations: All observations.
        num_points: P.
        num_views: V.
        links: Each counts, between two of its masks, as much as ``weight`` shared points.

    Returns:
        n: [M, M] sparse; n[m, k] = sum over points p of w(p, m) w(p, k).
        n_view: [M, V]; the same summed over the masks k of each view.
    """
    real = observations.mask >= 0
    weights = sparse.csr_array(
        (observations.weight[real], (observations.mask[real], observations.point[real])),
        shape=(len(masks), num_points),
    )
    if links is not None:
        linked = sparse.csr_array(
            (np.sqrt(links.weight), (links.mask, links.group)), shape=(len(masks), links.count)
        )
        weights = sparse.hstack([weights, linked], format="csr")
    shared = (weights @ weights.T).tocsr()
    shared.sort_indices()
    in_view = sparse.csr_array(
        (np.ones(len(masks)), (np.arange(len(masks)), masks.view)), shape=(len(masks), num_views)
    )
    return shared, (shared @ in_view).toarray()


def link(
    shared: sparse.csr_array, n_view: NDArray[np.float64], *, threshold: float, prior: float
) -> NDArray[np.int64]:
    """Cluster masks greedily, always joining the pair of clusters of largest affinity.

    Args:
        shared: [M, M] from `mask_histograms`.
        n_view: [M, V] from `mask_histograms`.
        threshold: Join while A >= threshold.
        prior: Evidence against joining that every pair starts with, in units of one fully seen
            pair of points in one view; it makes a single shared point weak evidence.

    Returns:
        [M] cluster of each mask, numbered by first member. Ties are broken by mask number, which
        depends on form alone, so any order of views or IDs gives the same clusters.
    """
    count = shared.shape[0]
    product = (shared @ shared.T).tocsr()
    product.sort_indices()
    totals = n_view.copy()
    near: list[dict[int, float]] = []
    for i in range(count):
        row = slice(product.indptr[i], product.indptr[i + 1])
        near.append(
            dict(zip(product.indices[row].tolist(), product.data[row].tolist(), strict=True))
        )
        near[i].pop(i, None)

    def candidates(i: int) -> list[tuple[int, float]]:
        """Return the clusters near i whose affinity reaches the threshold, with it."""
        others = np.fromiter(near[i].keys(), np.int64, len(near[i]))
        together = np.fromiter(near[i].values(), np.float64, len(near[i]))
        value = together / (totals[others] @ totals[i] + prior)
        good = np.flatnonzero(value >= threshold)
        return list(zip(others[good].tolist(), value[good].tolist(), strict=True))

    heap: list[tuple[float, int, int, int, int]] = []
    version = [0] * count
    for i in range(count):
        heap += [(-value, i, j, 0, 0) for j, value in candidates(i) if i < j]
    heapq.heapify(heap)
    parent = np.arange(count)
    alive = [True] * count
    while heap:
        _, i, j, version_i, version_j = heapq.heappop(heap)
        if not (alive[i] and alive[j] and version[i] == version_i and version[j] == version_j):
            continue
        alive[j] = False
        parent[parent == j] = i
        totals[i] += totals[j]
        del near[i][j]
        for other, value in near[j].items():
            if other == i:
                continue
            near[i][other] = near[i].get(other, 0.0) + value
            near[other][i] = near[i][other]
            del near[other][j]
        near[j] = {}
        version[i] += 1
        for other, value in candidates(i):
            low, high = min(i, other), max(i, other)
            heapq.heappush(heap, (-value, low, high, version[low], version[high]))
    return np.unique(parent, return_inverse=True)[1].astype(np.int64)
